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
