//! Strict: descriptions as JSON, in which a list stands for no object.
//!
//! A structure is read from a list of its fields in their order as well, by whoever derives how it
//! is read: a list would say something of each stream that no document of the API tells.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A value whose objects are objects.
pub(super) struct Strict(pub(super) Value);

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(list) => {
                let mut list = SeqDeserializer::new(list.into_iter().map(Self));
                let read = visitor.visit_seq(&mut list)?;
                list.end().map(|()| read)
            }
            Value::Object(object) => {
                let members = object.into_iter().map(|(name, value)| (name, Self(value)));
                let mut members = MapDeserializer::new(members);
                let read = visitor.visit_map(&mut members)?;
                members.end().map(|()| read)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::read;
    use super::super::spec::Traits;
    use serde_json::json;

    #[test]
    fn a_list_stands_for_no_object_wherever_it_is() {
        for (value, field) in [
            (json!({ "quota": [5] }), "quota"),
            (json!({ "protocols": [] }), "protocols"),
            (json!({ "inputs": [["publish://"]] }), "inputs[0]"),
            (json!({ "inputs": [{ "url": "publish://", "net": [1] }] }), "inputs[0].net"),
            (json!({ "transcoder": { "video": [true] } }), "transcoder.video"),
            (json!({ "transcoder": { "video": { "profiles": [[]] } } }), {
                "transcoder.video.profiles[0]"
            }),
            (json!([]), ""),
        ] {
            let fault = read::<Traits>(value.clone()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_value", field), "{value}");
            assert!(fault.message.contains("sequence"), "{fault}");
        }
    }

    #[test]
    fn everything_else_is_read_as_it_is() {
        let value = json!({
            "name": "a", "tags": ["b"], "auth": { "play": "open" },
            "quota": { "players_max": null, "bytes_over": "close" },
            "inputs": [{ "url": "publish://", "headers": { "a": "b" }, "pids": [1, 2] }],
            "transcoder": { "global": { "fps": 25 }, "video": { "profiles": [{ "bframes": 2 }] } },
        });
        let plain: Traits = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(read::<Traits>(value).unwrap(), plain);
    }
}
