//! Licences and sources of everything that is built, judged by `.deny.toml`.

use std::process::Command;

use super::Checkout;

/// Packages with a licence that is not allowed, or from anywhere but the one registry.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let allowed = allowed(checkout);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .current_dir(&checkout.root)
        .output()
        .expect("cargo runs, it started this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(source) = package["source"].as_str() else { continue };
        if !source.starts_with(concat!("registry+https://github.com/rust-lang/crates", ".io-index"))
        {
            found.push(format!("{name}: comes from {source}"));
        }
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &allowed) {
            found.push(format!("{name}: licence `{licence}` is not allowed"));
        }
    }
    found
}

/// The platform that tests are built for: what other platforms would need is not downloaded.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("the compiler runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("the compiler names its host").to_owned()
}

/// The quoted strings of `allow = [...]`.
fn allowed(checkout: &Checkout) -> Vec<String> {
    let file = checkout.files.iter().find(|file| file.path == ".deny.toml");
    let text = file.expect(".deny.toml is in the checkout").lines.join("\n");
    let (_, list) = text.split_once("allow = [").expect("licences are listed");
    let (list, _) = list.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Judges an SPDX expression; `/` is the old spelling of `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let judged = alternatives(&mut words, allowed);
    judged && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut judged = conjunction(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        judged |= conjunction(words, allowed);
    }
    judged
}

fn conjunction(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut judged = licence(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        judged &= licence(words, allowed);
    }
    judged
}

fn licence(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let judged = alternatives(words, allowed);
        return words.next_if_eq(&")").is_some() && judged;
    }
    let Some(name) = words.next() else { return false };
    let mut name = name.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_are_judged_by_their_grammar() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH X".to_owned()];
        for (expression, verdict) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR ISC) AND MIT", true),
            ("Apache-2.0 WITH X OR GPL-3.0", true),
            ("Apache-2.0", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), verdict, "{expression}");
        }
    }
}
