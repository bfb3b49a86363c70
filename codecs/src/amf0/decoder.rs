//! From bytes to values.

use alloc::string::String;
use alloc::vec::Vec;

use super::marker::{
    AVMPLUS, BOOLEAN, DATE, ECMA_ARRAY, LONG_STRING, NULL, NUMBER, OBJECT, OBJECT_END, REFERENCE,
    STRICT_ARRAY, STRING, TYPED_OBJECT, UNDEFINED, UNSUPPORTED, XML,
};
use super::{Budget, Limits, Value};
use crate::reader::Reader;
use crate::{Error, amf3};

/// Decodes one value and tells how many bytes it took.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Invalid`] for a marker or reference that cannot stand there,
/// [`Error::Unsupported`] for movie clips and record sets, [`Error::TooLarge`] over `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(Value, usize), Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let value = decoder.value(0)?;
    Ok((value, decoder.at()))
}

/// Decodes values up to the end; the limits hold for all of them together.
///
/// # Errors
/// As [`decode`].
pub fn decode_all(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    // Script tags of FLV files may close with an object end of their own.
    while !matches!(decoder.reader.rest(), [] | [0, 0, OBJECT_END]) {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    budget: Budget,
    /// Where each container starts, in order, for references to it.
    containers: Vec<usize>,
    /// True while a referenced container is decoded again: it is not a new one.
    replaying: bool,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        Self {
            bytes,
            reader: Reader::new(bytes),
            budget: Budget::new(limits),
            containers: Vec::new(),
            replaying: false,
        }
    }

    const fn at(&self) -> usize {
        self.bytes.len() - self.reader.remaining()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.budget.element()?;
        let start = self.at();
        let marker = self.reader.u8("amf0.marker")?;
        if matches!(marker, OBJECT | ECMA_ARRAY | STRICT_ARRAY | TYPED_OBJECT) {
            self.budget.nest(depth)?;
            if !self.replaying {
                self.containers.push(start);
            }
        }
        match marker {
            NUMBER => Ok(Value::Number(self.reader.f64("amf0.number")?)),
            BOOLEAN => Ok(Value::Boolean(self.reader.u8("amf0.boolean")? != 0)),
            STRING => Ok(Value::String(self.short_text()?)),
            LONG_STRING => Ok(Value::String(self.long_text()?)),
            XML => Ok(Value::Xml(self.long_text()?)),
            OBJECT => Ok(Value::Object(self.members(depth)?)),
            ECMA_ARRAY => {
                // The count is a hint at best: FFmpeg and librtmp both write wrong ones.
                self.reader.u32("amf0.ecma_array.count")?;
                Ok(Value::EcmaArray(self.members(depth)?))
            }
            STRICT_ARRAY => self.strict_array(depth),
            TYPED_OBJECT => {
                let class = self.short_text()?;
                Ok(Value::TypedObject { class, members: self.members(depth)? })
            }
            DATE => Ok(Value::Date {
                unix_ms: self.reader.f64("amf0.date")?,
                zone_minutes: self.reader.i16("amf0.date.zone")?,
            }),
            NULL => Ok(Value::Null),
            UNDEFINED => Ok(Value::Undefined),
            UNSUPPORTED => Ok(Value::Unsupported),
            REFERENCE => self.reference(depth),
            AVMPLUS => {
                let (value, used) =
                    amf3::decode_within(self.reader.rest(), &mut self.budget, depth)?;
                self.reader.bytes(used, "amf0.avmplus")?;
                Ok(value)
            }
            OBJECT_END => Err(Error::Invalid { what: "amf0.marker", value: u64::from(marker) }),
            _ => Err(Error::Unsupported { what: "amf0.marker", value: u64::from(marker) }),
        }
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let len = self.reader.u16("amf0.string.len")?;
        let bytes = self.reader.bytes(usize::from(len), "amf0.string")?;
        self.budget.text(bytes)
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let len = self.reader.u32("amf0.long_string.len")?;
        let bytes = self.reader.bytes(len as usize, "amf0.long_string")?;
        self.budget.text(bytes)
    }

    fn members(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            match self.reader.rest() {
                // Some muxers leave the end marker of onMetaData out, or half of it.
                [] => return Ok(members),
                [0, 0] => {
                    self.reader.u16("amf0.object_end")?;
                    return Ok(members);
                }
                [0, 0, OBJECT_END, ..] => {
                    self.reader.u24("amf0.object_end")?;
                    return Ok(members);
                }
                _ => {
                    let key = self.short_text()?;
                    members.push((key, self.value(depth + 1)?));
                }
            }
        }
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value, Error> {
        let count = self.reader.u32("amf0.strict_array.count")? as usize;
        // Each element takes a byte at least.
        if count > self.reader.remaining() {
            return Err(Error::Truncated { what: "amf0.strict_array" });
        }
        self.budget.elements_ahead(count)?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.value(depth + 1)?);
        }
        Ok(Value::StrictArray(elements))
    }

    /// Decodes the referenced container again from its bytes. A reference to a container that is
    /// still open runs into the depth limit.
    fn reference(&mut self, depth: usize) -> Result<Value, Error> {
        self.budget.nest(depth)?;
        let index = self.reader.u16("amf0.reference")?;
        let invalid = Error::Invalid { what: "amf0.reference", value: u64::from(index) };
        let start = *self.containers.get(usize::from(index)).ok_or(invalid)?;
        let here = (self.reader, self.replaying);
        self.reader = Reader::new(self.bytes.get(start..).ok_or(invalid)?);
        self.replaying = true;
        let value = self.value(depth + 1);
        (self.reader, self.replaying) = here;
        value
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::encode;
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Value>, Error> {
        decode_all(bytes, &Limits::default())
    }

    fn one(bytes: &[u8]) -> Result<Value, Error> {
        let (value, used) = decode(bytes, &Limits::default())?;
        assert_eq!(used, bytes.len(), "the whole value is consumed");
        Ok(value)
    }

    #[test]
    fn table_holds_both_ways() {
        let member = |value| vec![("a".into(), value)];
        let table: [(&str, &[u8], Value); 13] = [
            ("number", b"\x00\x3f\xf0\0\0\0\0\0\0", Value::Number(1.0)),
            ("true", b"\x01\x01", Value::Boolean(true)),
            ("string", b"\x02\0\x04live", "live".into()),
            ("empty string", b"\x02\0\0", "".into()),
            ("object", b"\x03\0\x01a\x05\0\0\x09", Value::Object(member(Value::Null))),
            ("null", b"\x05", Value::Null),
            ("undefined", b"\x06", Value::Undefined),
            (
                "ecma array",
                b"\x08\0\0\0\x01\0\x01a\x01\0\0\0\x09",
                Value::EcmaArray(member(Value::Boolean(false))),
            ),
            (
                "strict array",
                b"\x0a\0\0\0\x02\x05\x06",
                Value::StrictArray(vec![Value::Null, Value::Undefined]),
            ),
            (
                "date",
                b"\x0b\x40\0\0\0\0\0\0\0\xff\xc4",
                Value::Date { unix_ms: 2.0, zone_minutes: -60 },
            ),
            ("unsupported", b"\x0d", Value::Unsupported),
            ("xml", b"\x0f\0\0\0\x04<a/>", Value::Xml("<a/>".into())),
            (
                "typed object",
                b"\x10\0\x01C\0\x01a\x05\0\0\x09",
                Value::TypedObject { class: "C".into(), members: member(Value::Null) },
            ),
        ];
        for (name, bytes, value) in table {
            assert_eq!(one(bytes).as_ref(), Ok(&value), "{name}");
            let mut out = Vec::new();
            encode(&value, &mut out);
            assert_eq!(out, bytes, "{name}");
        }
    }

    #[test]
    fn long_strings_decode_to_strings() {
        assert_eq!(one(b"\x0c\0\0\0\x02ab"), Ok("ab".into()));
        let text = Value::String("x".repeat(70_000));
        let mut out = Vec::new();
        encode(&text, &mut out);
        assert_eq!(out[0], LONG_STRING);
        assert_eq!(one(&out), Ok(text));
    }

    #[test]
    fn latin_1_is_replaced() {
        assert_eq!(one(b"\x02\0\x02\xe9t"), Ok("\u{fffd}t".into()));
    }

    #[test]
    fn a_key_that_grew_by_replacement_is_cut_when_encoded() {
        let mut out = Vec::new();
        encode(&Value::object([("\u{fffd}".repeat(30_000), Value::Null)]), &mut out);
        let value = one(&out).unwrap();
        assert_eq!(value.members()[0].0.len(), 65_535);
    }

    #[test]
    fn ecma_array_count_is_advisory() {
        for count in [0, 7, u32::MAX] {
            let mut bytes = vec![ECMA_ARRAY];
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.extend_from_slice(b"\0\x01a\x05\0\0\x09");
            assert_eq!(one(&bytes), Ok(Value::EcmaArray(vec![("a".into(), Value::Null)])));
        }
    }

    #[test]
    fn a_missing_end_marker_ends_with_the_data() {
        let expected = Ok(vec![Value::EcmaArray(vec![("a".into(), Value::Null)])]);
        for end in [&b""[..], b"\0\0", b"\0\0\x09"] {
            let bytes = [b"\x08\0\0\0\x01\0\x01a\x05", end].concat();
            assert_eq!(all(&bytes), expected);
        }
    }

    #[test]
    fn a_closing_object_end_is_no_value() {
        assert_eq!(all(b"\x02\0\x01a\x05\0\0\x09"), Ok(vec!["a".into(), Value::Null]));
    }

    #[test]
    fn an_empty_key_is_a_key_unless_the_end_marker_follows() {
        assert_eq!(one(b"\x03\0\0\x05\0\0\x09"), Ok(Value::object([("", Value::Null)])));
    }

    #[test]
    fn a_reference_repeats_the_container() {
        let object = Value::object([("a", Value::Boolean(true))]);
        assert_eq!(
            all(b"\x03\0\x01a\x01\x01\0\0\x09\x07\0\0\x05"),
            Ok(vec![object.clone(), object, Value::Null])
        );
    }

    #[test]
    fn a_repeated_container_is_not_counted_again() {
        // An array in an array, a reference to the outer one, then a third container.
        let bytes = b"\x0a\0\0\0\x01\x0a\0\0\0\0\x07\0\0\x0a\0\0\0\x01\x05\x07\0\x02";
        let third = Value::StrictArray(vec![Value::Null]);
        assert_eq!(all(bytes).unwrap()[3], third);
    }

    #[test]
    fn a_reference_to_nothing_is_invalid() {
        let invalid = Error::Invalid { what: "amf0.reference", value: 1 };
        assert_eq!(all(b"\x0a\0\0\0\0\x07\0\x01"), Err(invalid));
    }

    #[test]
    fn a_container_that_holds_itself_hits_the_depth_limit() {
        let error = all(b"\x0a\0\0\0\x01\x07\0\0").unwrap_err();
        assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }), "{error}");
    }

    #[test]
    fn references_cannot_multiply_text() {
        let mut bytes = vec![STRICT_ARRAY, 0, 0, 0, 1, LONG_STRING, 0, 1, 0, 0];
        bytes.resize(bytes.len() + 0x1_0000, b'x');
        for _ in 0..100 {
            bytes.extend_from_slice(&[REFERENCE, 0, 0]);
        }
        let error = all(&bytes).unwrap_err();
        assert!(matches!(error, Error::TooLarge { what: "amf.string_bytes", .. }), "{error}");
    }

    #[test]
    fn references_cannot_multiply_values() {
        // Each array holds the previous one ten times.
        let mut bytes = vec![STRICT_ARRAY, 0, 0, 0, 1, NULL];
        for level in 0..10 {
            bytes.extend_from_slice(&[STRICT_ARRAY, 0, 0, 0, 10]);
            for _ in 0..10 {
                bytes.extend_from_slice(&[REFERENCE, 0, level]);
            }
        }
        let error = all(&bytes).unwrap_err();
        assert!(matches!(error, Error::TooLarge { what: "amf.elements", .. }), "{error}");
    }

    #[test]
    fn a_strict_array_longer_than_the_data_fails_before_allocating() {
        let error = Error::Truncated { what: "amf0.strict_array" };
        assert_eq!(one(b"\x0a\xff\xff\xff\xff\x05"), Err(error));
    }

    #[test]
    fn a_strict_array_over_the_limit_fails_before_its_elements() {
        let mut bytes = vec![STRICT_ARRAY, 0, 0, 8, 0];
        bytes.resize(5 + 2048, NULL);
        let error = Error::TooLarge { what: "amf.elements", value: 2049, max: 1024 };
        assert_eq!(one(&bytes), Err(error));
    }

    #[test]
    fn depth_is_limited_whatever_the_nest_is_made_of() {
        let nests: [&[u8]; 4] =
            [b"\x0a\0\0\0\x01", b"\x03\0\x01a", b"\x08\0\0\0\0\0\x01a", b"\x10\0\0\0\x01a"];
        for nest in nests {
            let mut bytes = nest.repeat(16);
            bytes.push(NULL);
            assert!(all(&bytes).is_ok(), "16 levels are allowed");
            let deep = nest.repeat(100_000);
            for depth_max in [16, usize::MAX] {
                let limits = Limits { depth_max, elements_max: usize::MAX, ..Limits::default() };
                let error = decode_all(&deep, &limits).unwrap_err();
                assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }), "{error}");
            }
        }
    }

    #[test]
    fn elements_are_limited_over_the_whole_message() {
        let error = all(&[NULL; 1025]).unwrap_err();
        assert!(matches!(error, Error::TooLarge { what: "amf.elements", .. }), "{error}");
    }

    #[test]
    fn markers_that_are_no_value_are_refused() {
        for (marker, unsupported) in [(0x04, true), (0x09, false), (0x0e, true), (0x12, true)] {
            let (what, value) = ("amf0.marker", u64::from(marker));
            let unsupported_error = Error::Unsupported { what, value };
            let invalid = Error::Invalid { what, value };
            assert_eq!(one(&[marker]), Err(if unsupported { unsupported_error } else { invalid }));
        }
    }

    #[test]
    fn the_avmplus_marker_switches_for_one_value() {
        assert_eq!(
            all(b"\x11\x04\x05\x02\0\x01a\x11\x06\x03b"),
            Ok(vec![Value::Number(5.0), "a".into(), "b".into()])
        );
        let bytes = Value::ByteArray(vec![1, 2, 3]);
        let mut out = Vec::new();
        encode(&bytes, &mut out);
        assert_eq!(out, b"\x11\x0c\x07\x01\x02\x03");
        assert_eq!(one(&out), Ok(bytes));
    }

    fn values() -> impl Strategy<Value = Value> {
        let number = prop_oneof![Just(0.0), -1e9..1e9_f64];
        let leaf = prop_oneof![
            number.prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
            (-1e15..1e15_f64, any::<i16>())
                .prop_map(|(unix_ms, zone_minutes)| Value::Date { unix_ms, zone_minutes }),
            ".{0,20}".prop_map(Value::Xml),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::ByteArray),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let members = prop::collection::vec(("[a-z]{0,8}", inner.clone()), 0..6);
            prop_oneof![
                members.clone().prop_map(Value::Object),
                members.clone().prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
                ("[A-Z]{1,5}", members)
                    .prop_map(|(class, members)| Value::TypedObject { class, members }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(value in values()) {
            let mut out = Vec::new();
            encode(&value, &mut out);
            prop_assert_eq!(decode(&out, &Limits::default()), Ok((value, out.len())));
        }

        #[test]
        fn truncation_and_flips_never_panic(
            value in values(),
            cut in any::<prop::sample::Index>(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut out = Vec::new();
            encode(&value, &mut out);
            let _ = all(&out[..cut.index(out.len())]);
            let bit = bit.index(out.len() * 8);
            out[bit / 8] ^= 1 << (bit % 8);
            let _ = all(&out);
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(0_u8..0x14, 0..400)) {
            let _ = all(&bytes);
        }
    }
}
