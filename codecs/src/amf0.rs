//! AMF0, the value format of RTMP commands and of `onMetaData`.
//!
//! Spec: Action Message Format AMF 0 (Adobe, 2007).
//! Shape: one marker byte, then the value; big-endian throughout.
//! In/Out: values are owned, because commands outlive the bytes that carried them.
//! Limits: [`Limits`] bounds nesting, values and text of one message, so that neither a deep nest
//! nor a reference to a large value costs more than the bytes that a peer really sent.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reader::Reader;
use crate::{Error, amf3};

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;
const AVMPLUS: u8 = 0x11;

/// No limit of a caller lets the decoder nest deeper than this: it is recursive.
const DEPTH_CEILING: usize = 64;

/// A value of AMF0, and of the part of AMF3 that has a counterpart here.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A string of any length; invalid UTF-8 of the peer is replaced.
    String(String),
    /// An anonymous object.
    Object(Vec<(String, Self)>),
    /// An associative array.
    EcmaArray(Vec<(String, Self)>),
    /// A dense array.
    StrictArray(Vec<Self>),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// A date.
    Date {
        /// Milliseconds since the Unix epoch.
        unix_ms: f64,
        /// The reserved time zone field.
        zone_minutes: i16,
    },
    /// An object of a registered class.
    TypedObject {
        /// The class alias.
        class: String,
        /// Its members.
        members: Vec<(String, Self)>,
    },
    /// An XML document.
    Xml(String),
    /// Bytes, which only AMF3 can carry.
    ByteArray(Vec<u8>),
    /// The marker for what the sender could not serialise.
    Unsupported,
}

/// What one message may cost to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside each other; 64 at most, whatever is set.
    pub depth_max: usize,
    /// Values in one message, at any depth.
    pub elements_max: usize,
    /// Bytes of text, names of members among it, in one message.
    pub string_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 16, elements_max: 1024, string_bytes_max: 1 << 20 }
    }
}

/// What one message may still cost; shared by both formats when one switches to the other.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    elements: usize,
    string_bytes: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limits = Limits { depth_max: limits.depth_max.min(DEPTH_CEILING), ..*limits };
        Self { limits, elements: 0, string_bytes: 0 }
    }

    /// Accounts for one value.
    pub(crate) fn element(&mut self) -> Result<(), Error> {
        self.elements += 1;
        within("amf.elements", self.elements, self.limits.elements_max)
    }

    /// Fails before an allocation for `count` values that the limit would refuse one by one.
    pub(crate) fn elements_ahead(&self, count: usize) -> Result<(), Error> {
        within("amf.elements", self.elements.saturating_add(count), self.limits.elements_max)
    }

    /// Accounts for a container at `depth`, 0 being a value of the message itself.
    pub(crate) fn nest(&self, depth: usize) -> Result<(), Error> {
        within("amf.depth", depth.saturating_add(1), self.limits.depth_max)
    }

    /// Accounts for bytes that are copied out of the message.
    pub(crate) fn copied(&mut self, len: usize) -> Result<(), Error> {
        self.string_bytes = self.string_bytes.saturating_add(len);
        within("amf.string_bytes", self.string_bytes, self.limits.string_bytes_max)
    }

    /// Copies text out. Flash-era encoders on Windows send Latin-1, so a bad byte is replaced
    /// rather than refused.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Result<String, Error> {
        self.copied(bytes.len())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn within(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if value > max {
        return Err(Error::TooLarge { what, value: value as u64, max: max as u64 });
    }
    Ok(())
}

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

/// Appends one value.
///
/// A [`Value::ByteArray`] is written behind the switch to AMF3, where alone it exists.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[BOOLEAN, u8::from(*boolean)]),
        Value::String(text) if u16::try_from(text.len()).is_ok() => {
            out.push(STRING);
            encode_key(text, out);
        }
        Value::String(text) => {
            out.push(LONG_STRING);
            encode_long(text, out);
        }
        Value::Xml(text) => {
            out.push(XML);
            encode_long(text, out);
        }
        Value::Object(members) => {
            out.push(OBJECT);
            encode_members(members, out);
        }
        Value::EcmaArray(members) => {
            out.push(ECMA_ARRAY);
            out.extend_from_slice(&length(members.len()).to_be_bytes());
            encode_members(members, out);
        }
        Value::StrictArray(elements) => {
            out.push(STRICT_ARRAY);
            out.extend_from_slice(&length(elements.len()).to_be_bytes());
            for element in elements {
                encode(element, out);
            }
        }
        Value::TypedObject { class, members } => {
            out.push(TYPED_OBJECT);
            encode_key(class, out);
            encode_members(members, out);
        }
        Value::Date { unix_ms, zone_minutes } => {
            out.push(DATE);
            out.extend_from_slice(&unix_ms.to_be_bytes());
            out.extend_from_slice(&zone_minutes.to_be_bytes());
        }
        Value::ByteArray(bytes) => {
            out.push(AVMPLUS);
            amf3::encode_byte_array(bytes, out);
        }
        Value::Null => out.push(NULL),
        Value::Undefined => out.push(UNDEFINED),
        Value::Unsupported => out.push(UNSUPPORTED),
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("the limits keep a value far below 4 GiB")
}

fn encode_members(members: &[(String, Value)], out: &mut Vec<u8>) {
    for (key, value) in members {
        encode_key(key, out);
        encode(value, out);
    }
    out.extend_from_slice(&[0, 0, OBJECT_END]);
}

/// Replacing bad UTF-8 may have grown a name beyond its 16-bit length: the tail is cut off.
fn encode_key(key: &str, out: &mut Vec<u8>) {
    let key = &key[..key.floor_char_boundary(usize::from(u16::MAX))];
    let len = u16::try_from(key.len()).expect("cut to 16 bits above");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(key.as_bytes());
}

fn encode_long(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&length(text.len()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

impl Value {
    /// An object of the given members.
    #[must_use]
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The members of an object, typed object or ECMA array; empty for everything else.
    #[must_use]
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members)
            | Self::EcmaArray(members)
            | Self::TypedObject { members, .. } => members,
            _ => &[],
        }
    }

    /// The first member of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The value of a number.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A number as an integer: the fraction is cut, what is out of range saturates, NaN is 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as documented")]
    pub const fn as_u32(&self) -> Option<u32> {
        if let Self::Number(number) = self { Some(*number as u32) } else { None }
    }

    /// The value of a boolean.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        if let Self::Boolean(boolean) = self { Some(*boolean) } else { None }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
