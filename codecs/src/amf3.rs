//! AMF3, the value format behind AMF0's avmplus switch.
//!
//! Spec: Action Message Format AMF 3 (Adobe, 2013).
//! Shape: one marker byte, then the value; lengths, counts and references share the variable
//! 29-bit integer U29.
//! In/Out: decodes to [`amf0::Value`](crate::amf0::Value), the one value type of the crate.
//! Limits: those of AMF0, counted together with the message around.
//! Not here: vectors, dictionaries and externalizable objects, whose layout only their class knows.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::Error;
use crate::amf0::{Budget, Limits, Value};
use crate::reader::Reader;

const UNDEFINED: u8 = 0x00;
const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INTEGER: u8 = 0x04;
const DOUBLE: u8 = 0x05;
const STRING: u8 = 0x06;
const XML_DOCUMENT: u8 = 0x07;
const DATE: u8 = 0x08;
const ARRAY: u8 = 0x09;
const OBJECT: u8 = 0x0a;
const XML: u8 = 0x0b;
const BYTE_ARRAY: u8 = 0x0c;

/// Decodes one value with tables of its own and tells how many bytes it took.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Invalid`] for a reference to nothing, [`Error::Unsupported`] for
/// vectors, dictionaries and externalizable objects, [`Error::TooLarge`] over `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<(Value, usize), Error> {
    decode_within(bytes, &mut Budget::new(limits), 0)
}

/// Decodes one value of a message whose budget is already in use.
pub(crate) fn decode_within(
    bytes: &[u8],
    budget: &mut Budget,
    depth: usize,
) -> Result<(Value, usize), Error> {
    let mut decoder = Decoder {
        bytes,
        reader: Reader::new(bytes),
        budget,
        strings: Vec::new(),
        complex: Vec::new(),
        traits: Vec::new(),
        replaying: false,
    };
    let value = decoder.value(depth)?;
    Ok((value, decoder.at()))
}

/// Appends a byte array with its marker.
pub(crate) fn encode_byte_array(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(BYTE_ARRAY);
    let len = u32::try_from(bytes.len()).expect("the limits keep a value far below 256 MiB");
    encode_u29(len << 1 | 1, out);
    out.extend_from_slice(bytes);
}

fn encode_u29(value: u32, out: &mut Vec<u8>) {
    // All but the last byte carry 7 bits and a flag; a fourth byte carries 8.
    let septet = |shift: u32| (value >> shift & 0x7f).to_be_bytes()[3];
    let low = value.to_be_bytes()[3];
    match value {
        0..0x80 => out.push(low),
        0x80..0x4000 => out.extend_from_slice(&[septet(7) | 0x80, septet(0)]),
        0x4000..0x20_0000 => {
            out.extend_from_slice(&[septet(14) | 0x80, septet(7) | 0x80, septet(0)]);
        }
        _ => out.extend_from_slice(&[septet(22) | 0x80, septet(15) | 0x80, septet(8) | 0x80, low]),
    }
}

/// The members that all objects of a class share.
struct Traits {
    class: Range<usize>,
    names: Vec<Range<usize>>,
    dynamic: bool,
}

struct Decoder<'a, 'b> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    budget: &'b mut Budget,
    /// Where each string stands, in order of appearance.
    strings: Vec<Range<usize>>,
    /// Where each object, array, date, XML and byte array starts, at its marker.
    complex: Vec<usize>,
    traits: Vec<Rc<Traits>>,
    /// True while a referenced value is decoded again: the tables have its parts already.
    replaying: bool,
}

/// A U29 whose low bit tells a reference from what follows in line.
enum Handle {
    Reference(usize),
    Inline(usize),
}

impl Decoder<'_, '_> {
    const fn at(&self) -> usize {
        self.bytes.len() - self.reader.remaining()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.budget.element()?;
        let start = self.at();
        let marker = self.reader.u8("amf3.marker")?;
        match marker {
            UNDEFINED => Ok(Value::Undefined),
            NULL => Ok(Value::Null),
            FALSE => Ok(Value::Boolean(false)),
            TRUE => Ok(Value::Boolean(true)),
            INTEGER => {
                let raw = self.u29()?;
                // 29 bits in two's complement.
                Ok(Value::Number(f64::from((raw << 3).cast_signed() >> 3)))
            }
            DOUBLE => Ok(Value::Number(self.reader.f64("amf3.double")?)),
            STRING => {
                let range = self.string()?;
                Ok(Value::String(self.text(range)?))
            }
            XML_DOCUMENT | DATE | ARRAY | OBJECT | XML | BYTE_ARRAY => {
                self.complex(marker, start, depth)
            }
            _ => Err(Error::Unsupported { what: "amf3.marker", value: u64::from(marker) }),
        }
    }

    fn complex(&mut self, marker: u8, start: usize, depth: usize) -> Result<Value, Error> {
        let inline = match self.handle()? {
            Handle::Reference(index) => return self.reference(index, depth),
            Handle::Inline(inline) => inline,
        };
        if !self.replaying {
            self.complex.push(start);
        }
        match marker {
            DATE => Ok(Value::Date { unix_ms: self.reader.f64("amf3.date")?, zone_minutes: 0 }),
            ARRAY => self.array(inline, depth),
            OBJECT => self.object(inline, depth),
            BYTE_ARRAY => {
                let bytes = self.reader.bytes(inline, "amf3.byte_array")?;
                self.budget.copied(bytes.len())?;
                Ok(Value::ByteArray(bytes.into()))
            }
            _ => {
                let bytes = self.reader.bytes(inline, "amf3.xml")?;
                Ok(Value::Xml(self.budget.text(bytes)?))
            }
        }
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, Error> {
        self.budget.nest(depth)?;
        let mut members = Vec::new();
        self.named_members(&mut members, depth)?;
        // Each element takes a byte at least.
        if count > self.reader.remaining() {
            return Err(Error::Truncated { what: "amf3.array" });
        }
        self.budget.elements_ahead(count)?;
        if members.is_empty() {
            let mut elements = Vec::with_capacity(count);
            for _ in 0..count {
                elements.push(self.value(depth + 1)?);
            }
            return Ok(Value::StrictArray(elements));
        }
        for index in 0..count {
            members.push((index.to_string(), self.value(depth + 1)?));
        }
        Ok(Value::EcmaArray(members))
    }

    fn object(&mut self, inline: usize, depth: usize) -> Result<Value, Error> {
        self.budget.nest(depth)?;
        let traits = self.traits(inline)?;
        let mut members = Vec::with_capacity(traits.names.len());
        for name in &traits.names {
            let name = self.text(name.clone())?;
            members.push((name, self.value(depth + 1)?));
        }
        if traits.dynamic {
            self.named_members(&mut members, depth)?;
        }
        if traits.class.is_empty() {
            return Ok(Value::Object(members));
        }
        Ok(Value::TypedObject { class: self.text(traits.class.clone())?, members })
    }

    /// Bit 0 of `inline`: the traits follow in line. Bit 1: externalizable. Bit 2: dynamic. Then
    /// the count of sealed members, or the reference if the traits do not follow.
    fn traits(&mut self, inline: usize) -> Result<Rc<Traits>, Error> {
        if inline & 1 == 0 {
            let index = inline >> 1;
            let invalid = Error::Invalid { what: "amf3.traits", value: index as u64 };
            return self.traits.get(index).cloned().ok_or(invalid);
        }
        if inline & 2 != 0 {
            return Err(Error::Unsupported { what: "amf3.externalizable", value: inline as u64 });
        }
        let class = self.string()?;
        let count = inline >> 3;
        // Each name takes a byte at least, and each is followed by a value.
        if count > self.reader.remaining() {
            return Err(Error::Truncated { what: "amf3.traits" });
        }
        self.budget.elements_ahead(count)?;
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            names.push(self.string()?);
        }
        let traits = Rc::new(Traits { class, names, dynamic: inline & 4 != 0 });
        if !self.replaying {
            self.traits.push(Rc::clone(&traits));
        }
        Ok(traits)
    }

    /// Pairs of name and value up to the empty name.
    fn named_members(
        &mut self,
        members: &mut Vec<(String, Value)>,
        depth: usize,
    ) -> Result<(), Error> {
        loop {
            let name = self.string()?;
            if name.is_empty() {
                return Ok(());
            }
            let name = self.text(name)?;
            members.push((name, self.value(depth + 1)?));
        }
    }

    /// Decodes the referenced value again from its bytes. A reference to a value that is still
    /// open runs into the depth limit.
    fn reference(&mut self, index: usize, depth: usize) -> Result<Value, Error> {
        self.budget.nest(depth)?;
        let invalid = Error::Invalid { what: "amf3.reference", value: index as u64 };
        let start = *self.complex.get(index).ok_or(invalid)?;
        let here = (self.reader, self.replaying);
        self.reader = Reader::new(self.bytes.get(start..).ok_or(invalid)?);
        self.replaying = true;
        let value = self.value(depth + 1);
        (self.reader, self.replaying) = here;
        value
    }

    /// Where a string stands: in line or, by reference, earlier. The empty string is never in the
    /// table.
    fn string(&mut self) -> Result<Range<usize>, Error> {
        match self.handle()? {
            Handle::Reference(index) => {
                let invalid = Error::Invalid { what: "amf3.string", value: index as u64 };
                self.strings.get(index).cloned().ok_or(invalid)
            }
            Handle::Inline(len) => {
                let start = self.at();
                self.reader.bytes(len, "amf3.string")?;
                let range = start..start + len;
                if len > 0 && !self.replaying {
                    self.strings.push(range.clone());
                }
                Ok(range)
            }
        }
    }

    fn text(&mut self, range: Range<usize>) -> Result<String, Error> {
        let bytes = self.bytes.get(range).ok_or(Error::Truncated { what: "amf3.string" })?;
        self.budget.text(bytes)
    }

    fn handle(&mut self) -> Result<Handle, Error> {
        let raw = self.u29()?;
        let rest = (raw >> 1) as usize;
        Ok(if raw & 1 == 0 { Handle::Reference(rest) } else { Handle::Inline(rest) })
    }

    fn u29(&mut self) -> Result<u32, Error> {
        let mut value = 0;
        for _ in 0..3 {
            let byte = self.reader.u8("amf3.u29")?;
            value = value << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.reader.u8("amf3.u29")?))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use proptest::prelude::*;

    fn one(bytes: &[u8]) -> Result<Value, Error> {
        let (value, used) = decode(bytes, &Limits::default())?;
        assert_eq!(used, bytes.len(), "the whole value is consumed");
        Ok(value)
    }

    #[test]
    fn simple_values() {
        let table: [(&[u8], Value); 12] = [
            (b"\x00", Value::Undefined),
            (b"\x01", Value::Null),
            (b"\x02", Value::Boolean(false)),
            (b"\x03", Value::Boolean(true)),
            (b"\x04\x7f", Value::Number(127.0)),
            (b"\x04\x81\x00", Value::Number(128.0)),
            (b"\x05\x3f\xf0\0\0\0\0\0\0", Value::Number(1.0)),
            (b"\x06\x05ab", "ab".into()),
            (b"\x07\x09<a/>", Value::Xml("<a/>".into())),
            (b"\x0b\x09<a/>", Value::Xml("<a/>".into())),
            (b"\x08\x01\x40\0\0\0\0\0\0\0", Value::Date { unix_ms: 2.0, zone_minutes: 0 }),
            (b"\x0c\x05\x01\x02", Value::ByteArray(vec![1, 2])),
        ];
        for (bytes, value) in table {
            assert_eq!(one(bytes), Ok(value), "{bytes:x?}");
        }
    }

    #[test]
    fn integers_have_a_sign() {
        for (bytes, number) in [
            (b"\x04\xff\xff\xff\xff", -1.0),
            (b"\x04\xc0\x80\x80\x00", -268_435_456.0),
            (b"\x04\xbf\xff\xff\xff", 268_435_455.0),
        ] {
            assert_eq!(one(bytes), Ok(Value::Number(number)));
        }
    }

    #[test]
    fn arrays_are_dense_or_associative() {
        assert_eq!(
            one(b"\x09\x05\x01\x04\x01\x04\x02"),
            Ok(Value::StrictArray(vec![1.0.into(), 2.0.into()]))
        );
        assert_eq!(
            one(b"\x09\x03\x03a\x03\x01\x04\x02"),
            Ok(Value::EcmaArray(vec![("a".into(), true.into()), ("0".into(), 2.0.into())]))
        );
    }

    #[test]
    fn objects_are_sealed_dynamic_and_typed() {
        let sealed =
            Value::TypedObject { class: "C".into(), members: vec![("a".into(), Value::Null)] };
        assert_eq!(one(b"\x0a\x13\x03C\x03a\x01"), Ok(sealed));
        assert_eq!(one(b"\x0a\x0b\x01\x03a\x03\x01"), Ok(Value::object([("a", true.into())])));
    }

    #[test]
    fn strings_traits_and_objects_are_referenced() {
        // An array of: an object of class C with a sealed member; another by its traits; the
        // string "C" by reference; the first object by reference.
        let bytes = b"\x09\x09\x01\x0a\x13\x03C\x03a\x04\x01\x0a\x01\x04\x02\x06\x00\x0a\x02";
        let object = |number: f64| Value::TypedObject {
            class: "C".into(),
            members: vec![("a".into(), number.into())],
        };
        assert_eq!(
            one(bytes),
            Ok(Value::StrictArray(vec![object(1.0), object(2.0), "C".into(), object(1.0)]))
        );
    }

    #[test]
    fn a_replayed_value_leaves_the_tables_alone() {
        // An array of: the array ["x"], a reference to it, then strings 0 and 1.
        let bytes = b"\x09\x0b\x01\x09\x03\x01\x06\x03x\x09\x02\x06\x03y\x06\x00\x06\x02";
        let inner = Value::StrictArray(vec!["x".into()]);
        assert_eq!(
            one(bytes),
            Ok(Value::StrictArray(vec![inner.clone(), inner, "y".into(), "x".into(), "y".into()]))
        );
    }

    #[test]
    fn references_to_nothing_are_invalid() {
        for (bytes, what, value) in [
            (b"\x06\x02", "amf3.string", 1),
            (b"\x09\x04", "amf3.reference", 2),
            (b"\x0a\x0d", "amf3.traits", 3),
        ] {
            assert_eq!(one(bytes), Err(Error::Invalid { what, value }));
        }
    }

    #[test]
    fn an_array_that_holds_itself_hits_the_depth_limit() {
        let error = one(b"\x09\x03\x01\x09\x00").unwrap_err();
        assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }), "{error}");
    }

    #[test]
    fn deep_nests_hit_the_depth_limit() {
        for nest in [&b"\x09\x03\x01"[..], b"\x0a\x0b\x01\x03a"] {
            let error = one(&nest.repeat(100_000)).unwrap_err();
            assert!(matches!(error, Error::TooLarge { what: "amf.depth", .. }), "{error}");
        }
    }

    #[test]
    fn counts_beyond_the_data_fail_before_allocating() {
        for bytes in [&b"\x09\xff\xff\xff\xff\x01"[..], b"\x0a\xff\xff\xff\xfb\x01"] {
            assert!(one(bytes).is_err());
        }
        assert_eq!(one(b"\x0c\xff\xff\xff\xff"), Err(Error::Truncated { what: "amf3.byte_array" }));
    }

    #[test]
    fn what_only_its_class_knows_is_unsupported() {
        for bytes in [&b"\x0a\x07\x03C"[..], b"\x0d\x03", b"\x10\x03", b"\x11\x03"] {
            assert!(matches!(one(bytes), Err(Error::Unsupported { .. })), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn u29_round_trips(value in 0_u32..1 << 29) {
            let mut out = vec![INTEGER];
            encode_u29(value, &mut out);
            let signed = f64::from((value << 3).cast_signed() >> 3);
            prop_assert_eq!(one(&out), Ok(Value::Number(signed)));
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(0_u8..0x14, 0..400)) {
            let _ = decode(&bytes, &Limits::default());
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes, &Limits::default());
        }
    }
}
