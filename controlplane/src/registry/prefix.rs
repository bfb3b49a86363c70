//! Prefix: which undeclared streams are streams of a template.
//!
//! A prefix covers the names below it, segment by segment: `news` covers `news/a` and neither
//! `newsroom` nor `news` itself. `live/` before a name is not a part of it (`rtmp://h/live/a` is
//! the
//! stream `a`), so it is none of a prefix either: `live/news` is `news`, and `live` alone, which
//! would be left with nothing, covers every name. The longest prefix wins.

use std::fmt;

use dataplane::ids::StreamName;
use serde::{Serialize, Serializer};

/// Prefixes of a template at most.
pub(super) const PREFIXES_MAX: usize = 64;
/// What addresses may say before a name.
const APP: &str = "live";

/// A prefix; the empty one covers every name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// Reads a prefix; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_suffix('/').unwrap_or(text);
        StreamName::parse(text)?;
        let below = text.strip_prefix(APP).and_then(|rest| match rest {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        });
        Some(Self(below.unwrap_or(text).to_owned()))
    }

    /// The segments.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// True if some names are below both, and neither is the one that covers every name: that one
    /// is for what no other prefix covers.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let below = |one: &str, other: &str| {
            one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match (self.0.as_str(), other.0.as_str()) {
            ("", "") => true,
            ("", _) | (_, "") => false,
            (one, other) => below(one, other) || below(other, one),
        }
    }

    /// What could cover `name`, the longest first.
    pub(super) fn candidates(name: &StreamName) -> impl Iterator<Item = &str> {
        let name = name.as_str();
        let borders = name.rmatch_indices('/').map(|(at, _)| &name[..at]);
        borders.chain(std::iter::once(""))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { APP } else { &self.0 })
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    #[test]
    fn live_is_no_part_of_a_name() {
        for (text, shown) in [
            ("news", "news"),
            ("news/", "news"),
            ("live/news", "news"),
            ("live", "live"),
            ("live/", "live"),
            ("lives", "lives"),
            ("a/live", "a/live"),
        ] {
            assert_eq!(prefix(text).to_string(), shown);
            assert_eq!(prefix(&prefix(text).to_string()), prefix(text));
        }
        for wrong in ["", "/", "/a", "a//b", "a//", "a b", &"x".repeat(129)] {
            assert_eq!(Prefix::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn prefixes_overlap_at_borders_of_segments() {
        for (one, other, overlap) in [
            ("news", "news", true),
            ("news", "live/news/", true),
            ("news", "news/a", true),
            ("news", "newsroom", false),
            ("news/a", "news/b", false),
            ("live", "news", false),
            ("live", "live", true),
        ] {
            assert_eq!(prefix(one).overlaps(&prefix(other)), overlap, "{one} {other}");
            assert_eq!(prefix(other).overlaps(&prefix(one)), overlap, "{one} {other}");
        }
    }

    #[test]
    fn the_longest_candidate_comes_first() {
        let name = StreamName::parse("a/b/c").unwrap();
        assert_eq!(Prefix::candidates(&name).collect::<Vec<_>>(), ["a/b", "a", ""]);
    }
}
