//! Keyring: which static keys open which streams.

use dataplane::control::{AuthorizeRequest, Intent};
use dataplane::shard::placement::matches;
use subtle::Choice;

use super::key_hash::KeyHash;

/// Keys at most: each that fits a stream's name is compared at each question.
pub const KEYS_MAX: usize = 1_024;

/// What a key is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allows {
    /// Publish and play.
    #[default]
    Both,
    /// Publish alone.
    Publish,
    /// Play alone.
    Play,
}

impl Allows {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Both, Self::Publish, Self::Play].into_iter().find(|allows| allows.name() == word)
    }

    const fn covers(self, intent: Intent) -> bool {
        match intent {
            Intent::Publish => matches!(self, Self::Both | Self::Publish),
            Intent::Play => matches!(self, Self::Both | Self::Play),
            Intent::Connect => false,
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRule {
    /// The streams, in which `*` stands for any run of letters.
    pub pattern: String,
    /// What may be done with them.
    pub allows: Allows,
    /// The key.
    pub key: KeyHash,
}

/// True if one of `rules` opens what `request` asks for. All that fit are compared, so that the
/// time taken does not tell which one it was.
pub(super) fn admits(rules: &[KeyRule], request: &AuthorizeRequest) -> bool {
    let fits = |rule: &&KeyRule| {
        rule.allows.covers(request.intent) && matches(&rule.pattern, request.stream.as_str())
    };
    let hits = rules.iter().filter(fits).map(|rule| rule.key.compare(&request.key.0));
    hits.fold(Choice::from(0), |any, hit| any | hit).into()
}

/// True if `shown` is the key of one of `rules`, whatever it opens. All are compared, so that the
/// time taken does not tell which one it was.
pub(super) fn lists(rules: &[KeyRule], shown: &str) -> bool {
    let hits = rules.iter().map(|rule| rule.key.compare(shown));
    hits.fold(Choice::from(0), |any, hit| any | hit).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::request;

    #[test]
    fn a_key_opens_its_streams_in_its_direction() {
        let rule = |pattern: &str, allows, key| KeyRule {
            pattern: pattern.to_owned(),
            allows,
            key: KeyHash::make(key).unwrap(),
        };
        let rules = [
            rule("news/*", Allows::Publish, "p"),
            rule("news/*", Allows::Play, "v"),
            rule("*", Allows::Both, "master"),
        ];
        for (intent, stream, key, expected) in [
            (Intent::Publish, "news/1", "p", true),
            (Intent::Publish, "news/1", "v", false),
            (Intent::Play, "news/1", "v", true),
            (Intent::Play, "news/1", "p", false),
            (Intent::Publish, "sport", "p", false),
            (Intent::Publish, "sport", "master", true),
            (Intent::Play, "news/1", "master", true),
            (Intent::Play, "news/1", "", false),
            (Intent::Connect, "news", "master", false),
        ] {
            let admitted = admits(&rules, &request(intent, stream, key));
            assert_eq!(admitted, expected, "{intent:?} {stream} {key}");
        }
        assert!(!admits(&[], &request(Intent::Play, "news/1", "master")));
    }
}
