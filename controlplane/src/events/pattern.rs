//! Pattern: which events somebody wants to hear of.

use std::fmt;

use dataplane::ids::{STREAM_NAME_BYTES_MAX, StreamName};
use dataplane::shard::placement::matches;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::Kind;

/// Names of kinds: one of them, `group.*` for all of a group, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern(String);

impl TypePattern {
    /// Parses a pattern; `None` if no kind has such a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pattern = Self(text.to_owned());
        let known = Kind::NAMES.into_iter().any(|name| pattern.matches(name));
        known.then_some(pattern)
    }

    /// True if `name` is one of these.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix(".*") {
            Some(group) => name.split_once('.').is_some_and(|(of, _)| of == group),
            None => self.0 == "*" || self.0 == name,
        }
    }
}

/// Names of streams, in which `*` stands for any letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPattern(String);

impl StreamPattern {
    /// Parses a pattern; `None` if no stream can have such a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-/*".contains(c);
        let whole = !text.is_empty() && text.len() <= STREAM_NAME_BYTES_MAX;
        (whole && text.chars().all(legal)).then(|| Self(text.to_owned()))
    }

    /// True if `stream` is one of these.
    #[must_use]
    pub fn matches(&self, stream: &StreamName) -> bool {
        matches(&self.0, stream.as_str())
    }
}

/// Shows, writes and reads a pattern as its text.
macro_rules! as_text {
    ($kind:ident, $what:literal) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                let error = || serde::de::Error::custom(format!("{text:.60?} is no {}", $what));
                Self::parse(&text).ok_or_else(error)
            }
        }
    };
}

as_text!(TypePattern, "type of event, `group.*` or `*`");
as_text!(StreamPattern, "name of a stream or pattern of one");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_one_a_group_or_all() {
        for (pattern, name, expected) in [
            ("*", "stream.started", true),
            ("stream.*", "stream.started", true),
            ("stream.*", "session.opened", false),
            ("stream.started", "stream.started", true),
            ("stream.started", "stream.stopped", false),
        ] {
            let matches = TypePattern::parse(pattern).unwrap().matches(name);
            assert_eq!(matches, expected, "{pattern} {name}");
        }
        for bad in ["", "stream", "stream.", "stream.begun", "st*", ".*", "none.*"] {
            assert_eq!(TypePattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_are_texts_of_json() {
        let list: Vec<TypePattern> = serde_json::from_str(r#"["*","push.*"]"#).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), r#"["*","push.*"]"#);
        let error = serde_json::from_str::<TypePattern>(r#""no""#).unwrap_err().to_string();
        assert!(error.starts_with("\"no\" is no type of event"), "{error}");
        let stream: StreamPattern = serde_json::from_str(r#""news/*""#).unwrap();
        assert!(stream.matches(&StreamName::parse("news/1").unwrap()));
        assert!(!stream.matches(&StreamName::parse("sport/1").unwrap()));
        for bad in ["", "a b", "../x", &"x".repeat(129)] {
            assert_eq!(StreamPattern::parse(bad), None, "{bad}");
        }
    }
}
