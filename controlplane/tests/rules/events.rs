//! Every kind of event is sent, tested and explained, so that none is a promise alone.

use super::{Checkout, TextFile};

/// Where kinds are declared.
const DECLARED: &str = "controlplane/src/events/kind.rs";
/// Where they are sent.
const SENT: &str = "controlplane/src/";

/// Kinds that nobody sends, tests or explains.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let file = |path: &str| checkout.files.iter().find(|file| file.path == path);
    let kinds = file(DECLARED).map(declared).unwrap_or_default();
    let readme = file("README.md").map(|file| file.lines.join("\n")).unwrap_or_default();
    let mut found = Vec::new();
    if kinds.len() < 20 {
        found.push(format!("{DECLARED}: the declarations of kinds are not where they were"));
    }
    for (name, variant) in &kinds {
        let made = format!("Kind::{variant} {{");
        if !checkout.rust().any(|file| sends(file, &made)) {
            found.push(format!("{DECLARED}: {name}: nobody sends it"));
        }
        let quoted = [format!("\"{name}\""), format!(": {name}\\n"), format!("\"{name} ")];
        if !checkout.rust().any(|file| tests(file, &quoted)) {
            found.push(format!("{DECLARED}: {name}: no test names it"));
        }
        if !explains(&readme, name) {
            found.push(format!("README.md: {name}: the table of events lacks it"));
        }
    }
    found
}

/// The names and variants that a file declares, as `"group.word" Variant {`.
fn declared(file: &TextFile) -> Vec<(String, String)> {
    let kind = |line: &String| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\" ")?;
        let variant = rest.split(' ').next()?;
        (name.contains('.') && rest.contains('{')).then(|| (name.to_owned(), variant.to_owned()))
    };
    file.lines.iter().filter_map(kind).collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn sends(file: &TextFile, made: &str) -> bool {
    let product = file.path.starts_with(SENT) && file.path != DECLARED && !is_test(&file.path);
    product && file.product_lines().any(|(_, line)| line.contains(made))
}

fn tests(file: &TextFile, quoted: &[String]) -> bool {
    let from = match is_test(&file.path) {
        true => 0,
        false => file.product_lines().count(),
    };
    let names = |line: &String| quoted.iter().any(|name| line.contains(name.as_str()));
    file.path != DECLARED && file.lines[from..].iter().any(names)
}

/// True if a row of the table of events has the group and the word.
fn explains(readme: &str, name: &str) -> bool {
    let Some((group, word)) = name.split_once('.') else { return false };
    let (group, word) = (format!("`{group}.`"), format!("`{word}`"));
    readme.lines().any(|line| {
        let row =
            line.starts_with("| ") && line.split('|').nth(1).is_some_and(|c| c.contains(&group));
        row && line.contains(&word)
    })
}
