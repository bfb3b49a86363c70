//! From values to bytes.

use alloc::string::String;
use alloc::vec::Vec;

use super::Value;
use super::marker::{
    AVMPLUS, BOOLEAN, DATE, ECMA_ARRAY, LONG_STRING, NULL, NUMBER, OBJECT, OBJECT_END,
    STRICT_ARRAY, STRING, TYPED_OBJECT, UNDEFINED, UNSUPPORTED, XML,
};
use crate::amf3;

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
