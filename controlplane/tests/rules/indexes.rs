//! A folder's `mod.rs` holds documentation, modules and re-exports only.
//!
//! Not here: folders of tests, where `mod.rs` is how several binaries share a module.

use super::Checkout;

/// Statements in a `mod.rs` that are neither `mod` nor `use`.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    for file in
        checkout.rust().filter(|file| file.path.contains("/src/") && file.path.ends_with("/mod.rs"))
    {
        let mut statement = String::new();
        for (number, line) in file.code_lines() {
            let line = line.trim();
            if statement.is_empty() && line.starts_with("#") && line.ends_with(']') {
                continue;
            }
            statement.push_str(line);
            if !line.ends_with(';') && !line.ends_with('}') {
                continue;
            }
            if !is_index(&statement) {
                found.push(format!("{}:{number}: `{statement}` has a file of its own", file.path));
            }
            statement.clear();
        }
    }
    found
}

fn is_index(statement: &str) -> bool {
    let mut rest = statement;
    if let Some(public) = rest.strip_prefix("pub") {
        rest = match public.strip_prefix('(') {
            Some(scope) => scope.split_once(')').map_or("", |(_, after)| after),
            None => public,
        };
    }
    let rest = rest.trim_start();
    rest.starts_with("use ") || (rest.starts_with("mod ") && rest.ends_with(';'))
}

#[cfg(test)]
mod tests {
    use super::is_index;

    #[test]
    fn modules_and_re_exports_are_an_index() {
        assert!(is_index("pub mod tag;"));
        assert!(is_index("pub(crate) use tag::{A,B};"));
        assert!(!is_index("pub fn parse() {}"));
        assert!(!is_index("mod inline { }"));
    }
}
