//! Entity tags in conditional requests.
//!
//! Spec: RFC 9110 8.8.3 (entity tags), 13.1.2 (`If-None-Match`), 13.1.5 (`If-Range`).
//!
//! Not here: dates. A server that tells no modification date ignores conditions about one.

/// True if the value of an `If-None-Match` field names `etag`, or anything at all with `*`.
///
/// Tags are compared weakly. What stands behind a malformed tag is not read: no match only costs
/// an answer in full.
#[must_use]
pub fn none_match_names(value: &str, etag: &str) -> bool {
    if value.trim() == "*" {
        return true;
    }
    let mut rest = value;
    while let Some((tag, after)) = next_tag(rest) {
        if tag == opaque(etag) {
            return true;
        }
        rest = after;
    }
    false
}

/// True if the value of an `If-Range` field lets a range of the representation `etag` be sent: it
/// is that tag, and both are strong. A date never is.
#[must_use]
pub fn if_range_names(value: &str, etag: &str) -> bool {
    let value = value.trim();
    value.starts_with('"') && value == etag
}

/// A tag without its mark of weakness, quotes included.
fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

/// The first tag of a list, quotes included and without its mark, and what follows it.
fn next_tag(list: &str) -> Option<(&str, &str)> {
    let list = list.trim_start_matches([' ', '\t', ',']);
    let tag = opaque(list);
    let inner = tag.strip_prefix('"')?;
    // A comma within the quotes belongs to the tag; a quote cannot.
    let (text, _) = inner.split_once('"')?;
    Some(tag.split_at(text.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_compared_weakly() {
        for (value, names) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            (" * ", true),
            ("\"b\", \"a\"", true),
            ("\"b\",W/\"a\" , \"c\"", true),
            (",, \"a\"", true),
            ("\"b\"", false),
            ("\"A\"", false),
            ("a", false),
            ("\"a", false),
            ("\"b,\"a\"", false),
            ("\"x, \\\"a\\\"\"", false),
            ("w/\"a\"", false),
            ("*, \"b\"", false),
            ("", false),
        ] {
            assert_eq!(none_match_names(value, "\"a\""), names, "{value}");
        }
        assert!(none_match_names("\"a\"", "W/\"a\""));
    }

    #[test]
    fn a_range_wants_the_very_same_tag() {
        for (value, names) in [
            ("\"a\"", true),
            (" \"a\" ", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"b\"", false),
            ("Sat, 29 Oct 1994 19:43:31 GMT", false),
            ("", false),
        ] {
            assert_eq!(if_range_names(value, "\"a\""), names, "{value}");
        }
        assert!(!if_range_names("W/\"a\"", "W/\"a\""), "weak tags name no bytes");
    }

    proptest! {
        #[test]
        fn any_value_is_read_to_its_end(value in "[\"W/*, a\\\\é]{0,40}") {
            let named = none_match_names(&value, "\"a\"");
            prop_assert!(!named || value.contains("\"a\"") || value.trim() == "*");
            prop_assert_eq!(if_range_names(&value, "\"a\""), value.trim() == "\"a\"");
        }
    }
}
