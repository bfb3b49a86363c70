//! Ways: how those are judged who come by one listener, or to one stream, where that differs from
//! what is so elsewhere.

use std::collections::BTreeMap;

use serde::de::{self, Deserializer};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use dataplane::control::Intent;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder};
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::mode::Mode;
use super::modes::Modes;

/// Modes by direction; a direction of which nothing is said is judged as elsewhere.
///
/// Shape in JSON: a word or a list of words for both directions, or an object of `publish` and
/// `play`, each one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// How publishers are judged.
    pub publish: Option<Modes>,
    /// How players are judged.
    pub play: Option<Modes>,
}

impl Ways {
    /// Both directions alike.
    #[must_use]
    pub const fn both(modes: Modes) -> Self {
        Self { publish: Some(modes), play: Some(modes) }
    }

    /// What is said of `intent`; nothing is ever said of a connection alone.
    #[must_use]
    pub const fn of(&self, intent: Intent) -> Option<Modes> {
        match intent {
            Intent::Publish => self.publish,
            Intent::Play => self.play,
            Intent::Connect => None,
        }
    }

    /// Nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.publish.is_none() && self.play.is_none()
    }

    /// Where this says nothing, `base` does.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self { publish: self.publish.or(base.publish), play: self.play.or(base.play) }
    }

    /// True if `mode` is one of those that are said.
    #[must_use]
    pub fn contains(&self, mode: Mode) -> bool {
        [self.publish, self.play].into_iter().flatten().any(|modes| modes.contains(mode))
    }
}

/// What is wrong with a list, for a person.
pub(crate) const EXPECTED: &str = "modes in the order in which they are tried: \"signed\", \
                                   \"jwt\", \"keys\", and at the end \"open\", \"callback\" or \
                                   \"coordinator\"";

impl Serialize for Modes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Mode::name))
    }
}

impl<'de> Deserialize<'de> for Modes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            One(String),
            Many(Vec<String>),
        }
        let wrong = || de::Error::custom(format_args!("expected {EXPECTED}"));
        let words = match Said::deserialize(deserializer).map_err(|_| wrong())? {
            Said::One(word) => vec![word],
            Said::Many(words) => words,
        };
        let modes: Option<Vec<_>> = words.iter().map(|word| Mode::parse(word)).collect();
        modes.and_then(|modes| Self::new(&modes)).ok_or_else(wrong)
    }
}

impl Serialize for Ways {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.publish, self.play) {
            (Some(publish), Some(play)) if publish == play => publish.serialize(serializer),
            (publish, play) => {
                let mut map = serializer.serialize_map(None)?;
                for (name, modes) in [("publish", publish), ("play", play)] {
                    if let Some(modes) = modes {
                        map.serialize_entry(name, &modes)?;
                    }
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Ways {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A structure of two fields would be read from a list of two words, too.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Both(Modes),
            Each(BTreeMap<String, Modes>),
        }
        let wrong = || {
            de::Error::custom(format_args!(
                "expected {EXPECTED}; or an object of publish and play, each with them"
            ))
        };
        match Said::deserialize(deserializer).map_err(|_| wrong())? {
            Said::Both(modes) => Ok(Self::both(modes)),
            Said::Each(mut each) => {
                let ways = Self { publish: each.remove("publish"), play: each.remove("play") };
                if each.is_empty() { Ok(ways) } else { Err(wrong()) }
            }
        }
    }
}

impl ToSchema for Ways {}

impl PartialSchema for Ways {
    fn schema() -> RefOr<Schema> {
        let direction = |what| modes().description(Some(what));
        let each = ObjectBuilder::new()
            .property("publish", direction("How publishers are judged."))
            .property("play", direction("How players are judged."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let said = "Modes in the order in which they are tried, for both directions or for each.";
        modes().item(each).description(Some(said)).into()
    }
}

/// A word, or a list of them.
fn modes() -> OneOfBuilder {
    let word = || {
        let words = Mode::ALL.into_iter().map(Mode::name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
    };
    let list = ArrayBuilder::new().items(word()).min_items(Some(1));
    OneOfBuilder::new().item(word()).item(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_word_a_list_and_an_object_say_it() {
        let (keys, open) = (Modes::only(Mode::Keys), Modes::only(Mode::Open));
        let both = Modes::new(&[Mode::Signed, Mode::Keys]).unwrap();
        for (value, ways, written) in [
            (json!("keys"), Ways::both(keys), json!(["keys"])),
            (json!(["signed", "keys"]), Ways::both(both), json!(["signed", "keys"])),
            (
                json!({"publish": "keys", "play": ["open"]}),
                Ways { publish: Some(keys), play: Some(open) },
                json!({"publish": ["keys"], "play": ["open"]}),
            ),
            (
                json!({"play": "open"}),
                Ways { publish: None, play: Some(open) },
                json!({"play": ["open"]}),
            ),
            (json!({}), Ways::default(), json!({})),
        ] {
            let read: Ways = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(read, ways, "{value}");
            assert_eq!(serde_json::to_value(read).unwrap(), written);
            assert_eq!(serde_json::from_value::<Ways>(written).unwrap(), ways);
        }
        for value in [
            json!("opne"),
            json!([]),
            json!(["open", "keys"]),
            json!({"publish": "x"}),
            json!({"connect": "open"}),
            json!(1),
        ] {
            assert!(serde_json::from_value::<Ways>(value.clone()).is_err(), "{value}");
        }
        let base = Ways { publish: Some(keys), play: None };
        assert_eq!(Ways { publish: None, play: Some(open) }.or(base).publish, Some(keys));
        assert_eq!(Ways::both(open).or(base), Ways::both(open));
    }
}
