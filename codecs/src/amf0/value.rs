//! The value itself, and convenient ways in and out of it.

use alloc::string::String;
use alloc::vec::Vec;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name() {
        let value = Value::object([("a", Value::from(1.0)), ("b", "x".into()), ("a", true.into())]);
        assert_eq!(value.get("a").and_then(Value::as_f64), Some(1.0));
        assert_eq!(value.get("b").and_then(Value::as_str), Some("x"));
        assert_eq!(value.get("c"), None);
        assert_eq!(Value::Null.get("a"), None);
        assert_eq!(Value::from(true).as_bool(), Some(true));
    }

    #[test]
    fn numbers_saturate() {
        for (number, integer) in [(-1.0, 0), (1.9, 1), (1e20, u32::MAX), (f64::NAN, 0)] {
            assert_eq!(Value::from(number).as_u32(), Some(integer));
        }
        assert_eq!(Value::Null.as_u32(), None);
    }
}
