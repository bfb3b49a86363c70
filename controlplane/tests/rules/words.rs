//! The repository speaks of the product alone: no trackers, no machine's paths, no promises.

use super::Checkout;

/// Written in halves, so that this file passes its own rule.
const WORDS: [(&str, &str); 13] = [
    (concat!("crates", ".io"), "a registry's host"),
    (concat!("pypi", ".org"), "a registry's host"),
    (concat!("npmjs", "."), "a registry's host"),
    (concat!("debian", ".org"), "a registry's host"),
    (concat!("/wor", "k/"), "a path of one machine"),
    (concat!("/roo", "t/"), "a path of one machine"),
    (concat!("/hom", "e/"), "a path of one machine"),
    (concat!("TO", "DO"), "an open end"),
    (concat!("FIX", "ME"), "an open end"),
    (concat!("todo", "!("), "an open end"),
    (concat!("unimpl", "emented!("), "an open end"),
    (concat!("#[ign", "ore"), "a test that does not run"),
    (concat!("dbg", "!("), "a trace of debugging"),
];

/// Lock files name the registry in a form that their tool prescribes.
const EXEMPT: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// Words that do not belong in a repository.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    for file in &checkout.files {
        if EXEMPT.iter().any(|name| file.path.ends_with(name)) {
            continue;
        }
        for (at, line) in file.lines.iter().enumerate() {
            for (word, what) in WORDS.iter().filter(|(word, _)| line.contains(word)) {
                found.push(format!("{}:{}: `{word}` is {what}", file.path, at + 1));
            }
            if names_an_issue(line) {
                found.push(format!("{}:{}: names an entry of a tracker", file.path, at + 1));
            }
        }
    }
    found
}

/// The word for an entry and a number, with or without `#`; or the number in parentheses.
fn names_an_issue(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let digit = |text: &str| text.trim_start_matches('#').starts_with(|c: char| c.is_ascii_digit());
    ["issue ", "issues ", "pr ", "ticket "].iter().any(|word| {
        lower.match_indices(word).any(|(at, _)| {
            let starts_word = at == 0 || !lower.as_bytes()[at - 1].is_ascii_alphanumeric();
            starts_word && digit(&lower[at + word.len()..])
        })
    }) || lower.match_indices("(#").any(|(at, _)| digit(&lower[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::names_an_issue;

    #[test]
    fn trackers_are_found_and_prose_is_not() {
        assert!(names_an_issue(concat!("see iss", "ue 12")));
        assert!(names_an_issue(concat!("mends it (", "#45)")));
        assert!(names_an_issue(concat!("PR ", "#3")));
        assert!(!names_an_issue("the reissue of a session"));
        assert!(!names_an_issue("color: #93a1b3"));
    }
}
