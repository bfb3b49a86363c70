//! Files are named by a noun of the field; the top level is fixed.

use std::fs;

use super::Checkout;

const NO_NOUNS: [&str; 9] =
    ["util", "utils", "helper", "helpers", "common", "misc", "part2", "stuff", "extra"];

const TOP_LEVEL: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "README.md",
    "benches",
    "codecs",
    "controlplane",
    "dataplane",
    "loadtest",
];

/// What building and running leaves there; `.gitignore` names it too.
const LEFT_BEHIND: [&str; 2] = ["target", "grandstand-data"];

/// Files whose name says nothing.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let folders_and_stems = |path: &str| -> bool {
        path.trim_end_matches(".rs").split('/').any(|part| NO_NOUNS.contains(&part))
    };
    checkout
        .rust()
        .filter(|file| folders_and_stems(&file.path))
        .map(|file| format!("{}: named after no noun of the field", file.path))
        .collect()
}

/// Names that do not belong at the top.
pub(crate) fn top_level(checkout: &Checkout) -> Vec<String> {
    fs::read_dir(&checkout.root)
        .expect("the checkout is readable")
        .map(|entry| entry.expect("an entry is readable").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !LEFT_BEHIND.contains(&name.as_str()))
        .map(|name| format!("{name}: not one of {TOP_LEVEL:?}"))
        .collect()
}
