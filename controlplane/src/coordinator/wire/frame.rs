//! Frame: the text of one message.
//!
//! Shape: lines of UTF-8. The first is the type, in capitals; then `Name: value` each, names in any
//! letters, spaces around both ignored; after an empty line a body, which no message has use for.
//! Nothing is escaped, so that no value has a control character.
//! Errors: [`Flaw`]; a line without a colon is ignored, as the programs of the family do.
//! Limits: [`FRAME_BYTES_MAX`], [`PARAMS_MAX`], [`VALUE_BYTES_MAX`], [`WORD_BYTES_MAX`].

use std::collections::BTreeMap;
use std::fmt;

/// Bytes of a frame at most.
pub const FRAME_BYTES_MAX: usize = 8 << 10;
/// Parameters of a frame at most.
pub const PARAMS_MAX: usize = 32;
/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 2_048;

/// Bytes of the value of a short parameter at most: a channel, a key, a number.
pub const WORD_BYTES_MAX: usize = 160;

/// Why a text is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is too long.
    #[error("a frame has {FRAME_BYTES_MAX} bytes at most")]
    Long,
    /// It has too many parameters.
    #[error("a frame has {PARAMS_MAX} parameters at most")]
    Crowded,
    /// A value is too long.
    #[error("the value of {0} is too long, has control characters, or is none of those it may be")]
    Value(&'static str),
    /// A parameter is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// A type and its parameters. The newest of two of the same name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    kind: String,
    params: BTreeMap<String, String>,
}

impl Frame {
    /// A frame of that type, without parameters.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_ascii_uppercase(), params: BTreeMap::new() }
    }

    /// The same with one parameter more. Control characters of its value are left out: the line
    /// ends where it should.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string().replace(char::is_control, "");
        self.params.insert(name.to_owned(), value);
        self
    }

    /// Reads a text.
    ///
    /// Errors: it is longer, or has more in it, than a frame may have.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        if text.len() > FRAME_BYTES_MAX {
            return Err(Flaw::Long);
        }
        let mut lines = text.split('\n');
        let kind = lines.next().unwrap_or_default().trim().to_ascii_uppercase();
        let mut params = BTreeMap::new();
        for line in lines.map(str::trim).take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            if params.len() >= PARAMS_MAX {
                return Err(Flaw::Crowded);
            }
            params.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok(Self { kind, params })
    }

    /// The type, in capitals.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The value of a parameter, empty if there is none.
    ///
    /// Errors: it is longer than a value may be, or has a control character.
    pub fn value(&self, name: &'static str) -> Result<&str, Flaw> {
        let value = self.params.get(&name.to_ascii_lowercase());
        let value = value.map_or("", String::as_str);
        if value.len() > VALUE_BYTES_MAX || value.contains(char::is_control) {
            return Err(Flaw::Value(name));
        }
        Ok(value)
    }

    /// The same of one that is short.
    ///
    /// Errors: as [`Self::value`], or it is longer than that.
    pub fn word(&self, name: &'static str) -> Result<&str, Flaw> {
        self.value(name).and_then(|value| match value.len() {
            0..=WORD_BYTES_MAX => Ok(value),
            _ => Err(Flaw::Value(name)),
        })
    }

    /// The value of a parameter that must be there.
    ///
    /// Errors: as [`Self::value`], or it is empty.
    pub fn needed(&self, name: &'static str) -> Result<&str, Flaw> {
        match self.value(name)? {
            "" => Err(Flaw::Missing(name)),
            value => Ok(value),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        for (name, value) in &self.params {
            write!(f, "\n{name}: {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_read_as_the_family_writes_it() {
        for text in [
            "PUBLISH-END\nStream-Channel: cam7\nStream-ID: 12",
            "publish-end\r\nstream-channel:cam7\r\nSTREAM-ID :  12 \r\n\r\nStream-ID: of a body",
            " Publish-End \nno colon here\nStream-ID: 11\nStream-Channel:\tcam7\nStream-ID: 12\n",
        ] {
            let frame = Frame::parse(text).unwrap();
            assert_eq!(frame.kind(), "PUBLISH-END", "{text}");
            assert_eq!(frame.needed("Stream-Channel"), Ok("cam7"), "{text}");
            assert_eq!(frame.needed("Stream-ID"), Ok("12"), "{text}");
            assert_eq!(frame.value("Request-ID"), Ok(""));
            assert_eq!(frame.needed("Request-ID"), Err(Flaw::Missing("Request-ID")));
        }
        let uri = Frame::parse("X\nUri: rtmp://[::1]:1935/a/b").unwrap();
        assert_eq!(uri.value("Uri"), Ok("rtmp://[::1]:1935/a/b"), "only the first colon splits");
        assert_eq!(Frame::parse("").unwrap().kind(), "");
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert_eq!(Frame::parse(&"x".repeat(FRAME_BYTES_MAX + 1)), Err(Flaw::Long));
        let params = |count: usize| (0..count).map(|n| format!("\nn{n}: v")).collect::<String>();
        assert!(Frame::parse(&format!("X{}", params(PARAMS_MAX))).is_ok());
        assert_eq!(Frame::parse(&format!("X{}", params(PARAMS_MAX + 1))), Err(Flaw::Crowded));
        let long = Frame::parse(&format!("X\nA: {}", "v".repeat(VALUE_BYTES_MAX + 1))).unwrap();
        assert_eq!(long.value("A"), Err(Flaw::Value("A")));
        for value in ["a\rb", "a\0b", "a\u{1b}[2Jb", "a\u{85}b"] {
            let frame = Frame::parse(&format!("X\nA: {value}")).unwrap();
            assert_eq!(frame.value("A"), Err(Flaw::Value("A")), "{value:?}");
        }
    }

    #[test]
    fn no_value_begins_a_line_of_its_own() {
        let frame = Frame::new("error").with("Error-Message", "a\nStream-ID: 1\r\n\r\nb");
        assert_eq!(frame.to_string(), "ERROR\nError-Message: aStream-ID: 1b");
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            kind in "[A-Z][A-Z-]{0,20}",
            params in prop::collection::btree_map("[a-z][a-z-]{0,9}", "[!-~]{1,40}", 0..PARAMS_MAX),
        ) {
            let frame = params.iter().fold(Frame::new(&kind), |frame, (name, value)| {
                frame.with(name, value)
            });
            prop_assert_eq!(Frame::parse(&frame.to_string()), Ok(frame));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,300}") {
            if let Ok(frame) = Frame::parse(&text) {
                let _ = frame.value("Stream-ID");
            }
        }
    }
}
