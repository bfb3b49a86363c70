//! Request targets: percent encoding and query pairs.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Error;
use crate::reader::Reader;

/// Decodes percent-encoded text once; `+` stays as it is.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Invalid`] for a `%` without two hexadecimal digits;
/// [`Error::Invalid`] for a result with a NUL or that is not UTF-8.
pub fn percent_decode(text: &str) -> Result<String, Error> {
    const WHAT: &str = "http.target.escape";
    let mut decoded = Vec::with_capacity(text.len());
    let mut r = Reader::new(text.as_bytes());
    while !r.is_empty() {
        let byte = match r.u8(WHAT)? {
            b'%' => {
                let [high, low] = r.array(WHAT)?;
                hex_digit(high)? << 4 | hex_digit(low)?
            }
            plain => plain,
        };
        if byte == 0 {
            return Err(Error::Invalid { what: WHAT, value: 0 });
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|error| Error::Invalid {
        what: "http.target.utf8",
        value: error.utf8_error().valid_up_to() as u64,
    })
}

fn hex_digit(byte: u8) -> Result<u8, Error> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Error::Invalid { what: "http.target.escape", value: u64::from(byte) }),
    }
}

/// Iterates over the pairs of a query, both parts still percent-encoded.
///
/// A part without `=` is a key with an empty value; empty parts are passed over.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn escapes_decode_once() {
        let table = [
            ("/live/a", Some("/live/a")),
            ("", Some("")),
            ("%2f%2E", Some("/.")),
            ("%252e", Some("%2e")),
            ("a+b", Some("a+b")),
            ("%c3%A9", Some("é")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
            ("%00", None),
            ("%c3", None),
        ];
        for (text, decoded) in table {
            assert_eq!(percent_decode(text).ok().as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn queries_split_into_raw_pairs() {
        let table: [(&str, &[(&str, &str)]); 5] = [
            ("", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("key=a=b", &[("key", "a=b")]),
            ("&&flag&", &[("flag", "")]),
            ("x=%26", &[("x", "%26")]),
        ];
        for (query, pairs) in table {
            assert_eq!(query_pairs(query).collect::<Vec<_>>(), pairs, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_being_escaped(text in "[^\0]*") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(percent_decode(&escaped), Ok(text));
        }
    }
}
