//! Passphrases: what peers of SRT encrypt a stream with, by direction.
//!
//! They cannot be hashed, as keys are made of them: the store, the file and what is exported have
//! them in plain, everything else shows [`MASK`] instead, which stands for the one that is set when
//! it comes back.

use std::collections::BTreeMap;

use codecs::srt::Passphrase;
use dataplane::control::Intent;
use serde::de::{self, Deserializer};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::addresses;
use super::fault::Fault;
use super::spec::Traits;

/// The field of a stream, and of a template.
pub(crate) const FIELD: &str = "srt_passphrase";
/// Stands for one that is not shown; no passphrase is as short.
pub(crate) const MASK: &str = "***";
/// Bytes of one at most.
const BYTES_MAX: usize = 80;
const EXPECTED: &str = "expected a passphrase of 10 to 80 bytes, \"\" for none, or an object of \
                        publish and play, each with one";

/// The passphrases of a stream; a direction of which nothing is said has that of `srt.passphrase`.
///
/// Shape in JSON: a text for both directions, or an object of `publish` and `play`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passphrases {
    publish: Option<Passphrase>,
    play: Option<Passphrase>,
}

impl Passphrases {
    /// That of `intent`.
    #[must_use]
    pub const fn of(&self, intent: Intent) -> Option<&Passphrase> {
        match intent {
            Intent::Publish => self.publish.as_ref(),
            Intent::Play => self.play.as_ref(),
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
    pub fn or(self, base: &Self) -> Self {
        let or = |own: Option<Passphrase>, base: &Option<_>| own.or_else(|| base.clone());
        Self { publish: or(self.publish, &base.publish), play: or(self.play, &base.play) }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        let both = [&self.publish, &self.play].into_iter().flatten();
        both.map(|passphrase| passphrase.as_bytes().len()).sum()
    }
}

/// Hides the passphrases of a description, and the secrets in the addresses of SRT peers.
pub(crate) fn mask(description: &mut Value) {
    addresses::mask(description);
    let Some(said) = description.get_mut(FIELD) else { return };
    let hide = |said: &mut Value| {
        if said.is_string() {
            *said = MASK.into();
        }
    };
    match said {
        Value::Object(each) => each.values_mut().for_each(hide),
        both => hide(both),
    }
}

/// Puts those back that `description` has masked, out of what is `known`.
///
/// Errors: the mask stands for nothing.
pub(super) fn unmask(description: &mut Value, known: Option<&Traits>) -> Result<(), Fault> {
    addresses::unmask(description, known)?;
    let known = |intent, field: &str| {
        let set = known.and_then(|known| known.srt_passphrase.of(intent)).and_then(shown);
        let message = "*** keeps one that is set, and none is; write the passphrase itself";
        set.ok_or_else(|| Fault::new("invalid_value", field, message))
    };
    let is_masked = |said: &Value| said.as_str() == Some(MASK);
    let directions = [("publish", Intent::Publish), ("play", Intent::Play)];
    match description.get_mut(FIELD) {
        Some(Value::Object(each)) => {
            for (name, intent) in directions {
                if let Some(said) = each.get_mut(name).filter(|said| is_masked(said)) {
                    *said = known(intent, &format!("{FIELD}.{name}"))?.into();
                }
            }
        }
        Some(both) if is_masked(both) => {
            let set = directions.map(|(name, intent)| Some((name, known(intent, FIELD).ok()?)));
            // Which of them it stands for is known only where it is one, for both.
            let [Some((_, publish)), Some((_, play))] = set else {
                return known(Intent::Connect, FIELD).map(drop);
            };
            if publish != play {
                let message = "there is one of publish and another of play; name each";
                return Err(Fault::new("invalid_value", FIELD, message));
            }
            *both = publish.into();
        }
        _ => {}
    }
    Ok(())
}

/// A passphrase as text; those that were text once always are.
fn shown(passphrase: &Passphrase) -> Option<String> {
    std::str::from_utf8(passphrase.as_bytes()).ok().map(str::to_owned)
}

/// Reads one; an empty text is none.
///
/// Errors: it is too short or too long.
pub(crate) fn parse(text: &str) -> Result<Option<Passphrase>, codecs::Error> {
    match text {
        "" => Ok(None),
        text => Passphrase::new(text.as_bytes()).map(Some),
    }
}

impl Serialize for Passphrases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { publish, play } = self;
        if publish == play {
            return publish.as_ref().and_then(shown).unwrap_or_default().serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for (name, said) in [("publish", publish), ("play", play)] {
            if let Some(text) = said.as_ref().and_then(shown) {
                map.serialize_entry(name, &text)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Passphrases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Both(String),
            Each(BTreeMap<String, Option<String>>),
        }
        // No error repeats what may be the secret.
        let wrong = || de::Error::custom(EXPECTED);
        let read = |text: String| parse(&text).map_err(|_| wrong());
        match Said::deserialize(deserializer).map_err(|_| wrong())? {
            Said::Both(text) => {
                let both = read(text)?;
                Ok(Self { publish: both.clone(), play: both })
            }
            Said::Each(mut each) => {
                let mut take = |name| read(each.remove(name).flatten().unwrap_or_default());
                let said = Self { publish: take("publish")?, play: take("play")? };
                if each.is_empty() { Ok(said) } else { Err(wrong()) }
            }
        }
    }
}

impl ToSchema for Passphrases {}

impl PartialSchema for Passphrases {
    fn schema() -> RefOr<Schema> {
        let text = |what: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(BYTES_MAX));
            text.description(Some(what.to_owned()))
        };
        let each = ObjectBuilder::new()
            .property("publish", text("What publishers encrypt with."))
            .property("play", text("What players encrypt with."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let what = "What peers of SRT encrypt with, 10 to 80 bytes, for both directions or for \
                    each, instead of srt.passphrase. It is shown as ***, which keeps what is set.";
        OneOfBuilder::new().item(text("Both.")).item(each).description(Some(what)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "correct horse";
    const OTHER: &str = "b\"{ = }\\ é secret";

    fn read(value: Value) -> Result<Passphrases, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_text_and_an_object_say_it() {
        for (value, publish, play, written) in [
            (json!(ONE), ONE, ONE, json!(ONE)),
            (json!({"publish": ONE, "play": ONE}), ONE, ONE, json!(ONE)),
            (json!({"publish": ONE}), ONE, "", json!({"publish": ONE})),
            (json!({"play": OTHER, "publish": null}), "", OTHER, json!({"play": OTHER})),
            (
                json!({"publish": ONE, "play": OTHER}),
                ONE,
                OTHER,
                json!({"publish": ONE, "play": OTHER}),
            ),
            (json!(""), "", "", json!("")),
            (json!({}), "", "", json!("")),
        ] {
            let said = read(value.clone()).unwrap();
            assert_eq!(said.of(Intent::Publish), parse(publish).unwrap().as_ref(), "{value}");
            assert_eq!(said.of(Intent::Play), parse(play).unwrap().as_ref(), "{value}");
            assert_eq!(serde_json::to_value(&said).unwrap(), written);
            assert_eq!(read(written).unwrap(), said);
            assert_eq!(said.is_empty(), publish.is_empty() && play.is_empty());
        }
    }

    #[test]
    fn what_is_wrong_is_refused_and_never_repeated() {
        for value in [
            json!("too short"),
            json!("long".repeat(21)),
            json!({"publish": "too short"}),
            json!({"publish": ONE, "watch": ONE}),
            json!([ONE]),
            json!({"publish": [ONE]}),
            json!(7),
        ] {
            let error = read(value.clone()).unwrap_err().to_string();
            assert!(error.contains("10 to 80 bytes"), "{value}: {error}");
            assert!(!error.contains("short") && !error.contains(ONE), "{value}: {error}");
        }
        let said = format!("{:?}", read(json!(ONE)).unwrap());
        assert!(!said.contains(ONE), "{said}");
    }

    #[test]
    fn a_direction_without_one_takes_that_of_the_template() {
        let base = read(json!({"publish": ONE, "play": ONE})).unwrap();
        let own = read(json!({"play": OTHER})).unwrap().or(&base);
        assert_eq!(serde_json::to_value(own).unwrap(), json!({"publish": ONE, "play": OTHER}));
        assert_eq!(Passphrases::default().or(&base), base);
    }

    #[test]
    fn what_is_masked_is_put_back_or_refused() {
        let back = |value: Value, known: Option<&Passphrases>| {
            let mut value = json!({ FIELD: value });
            let traits =
                |known: &Passphrases| Traits { srt_passphrase: known.clone(), ..Traits::default() };
            unmask(&mut value, known.map(traits).as_ref()).map(|()| value[FIELD].take())
        };
        for said in [json!(ONE), json!({"play": OTHER}), json!({"publish": ONE, "play": OTHER})] {
            let known = read(said.clone()).unwrap();
            let mut shown = json!({ FIELD: said, "name": ONE });
            mask(&mut shown);
            let text = shown.to_string();
            assert!(text.contains(MASK) && !text.contains("secret"), "{text}");
            assert_eq!(shown["name"], ONE);
            assert_eq!(back(shown[FIELD].take(), Some(&known)).unwrap(), said);
        }
        let both = read(json!({"publish": ONE, "play": OTHER})).unwrap();
        let play = read(json!({"play": ONE})).unwrap();
        for (value, known, field) in [
            (json!(MASK), None, FIELD),
            (json!(MASK), Some(&both), FIELD),
            (json!(MASK), Some(&play), FIELD),
            (json!({"publish": MASK, "play": MASK}), Some(&play), "srt_passphrase.publish"),
        ] {
            let fault = back(value.clone(), known).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_value", field), "{value}");
        }
        for plain in [json!({}), json!(null), json!({"play": 7}), json!("other passphrase")] {
            assert_eq!(back(plain.clone(), Some(&both)).unwrap(), plain);
        }
    }
}
