//! The `Basic` scheme of `Authorization`: user and password, in base64.
//!
//! Spec: RFC 7617 2; RFC 4648 4.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Error;
use crate::reader::Reader;

const WHAT: &str = "http.basic";

/// Decodes what stands behind `Basic`: user, a colon, and the password, which may have more colons.
///
/// The padding may be missing, as clients leave it out.
///
/// # Errors
/// [`Error::Invalid`] for a letter that is none of base64, a last group that is too short, a result
/// without a colon, with a control letter, or that is not UTF-8.
pub fn basic_credentials(text: &str) -> Result<String, Error> {
    let invalid = |value: usize| Error::Invalid { what: WHAT, value: value as u64 };
    let bare = text.trim_end_matches('=');
    if text.len() - bare.len() > 2 || bare.len() % 4 == 1 {
        return Err(invalid(text.len()));
    }
    let mut decoded = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut r = Reader::new(bare.as_bytes());
    while !r.is_empty() {
        bits = bits << 6 | u32::from(digit(r.u8(WHAT)?)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [_, _, _, byte] = (bits >> held).to_be_bytes();
            decoded.push(byte);
        }
    }
    let decoded =
        String::from_utf8(decoded).map_err(|error| invalid(error.utf8_error().valid_up_to()))?;
    match decoded.contains(':') && !decoded.contains(char::is_control) {
        true => Ok(decoded),
        false => Err(invalid(decoded.len())),
    }
}

fn digit(byte: u8) -> Result<u8, Error> {
    match byte {
        b'A'..=b'Z' => Ok(byte - b'A'),
        b'a'..=b'z' => Ok(byte - b'a' + 26),
        b'0'..=b'9' => Ok(byte - b'0' + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => Err(Error::Invalid { what: WHAT, value: u64::from(byte) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_and_password_are_decoded() {
        for (text, decoded) in [
            // The examples of RFC 7617 2 and 2.1.
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin:open sesame")),
            ("dGVzdDoxMjPCow==", Some("test:123\u{a3}")),
            ("dGVzdDoxMjPCow", Some("test:123\u{a3}")),
            ("Og==", Some(":")),
            ("YTpiOmM=", Some("a:b:c")),
            ("", None),
            ("YQ==", None),
            ("YTpi====", None),
            ("YTpiY", None),
            ("YTpi YTpi", None),
            ("YTp_", None),
            ("=YTpi", None),
            ("YToA", None),
            ("YTr/", None),
            ("YToK", None),
        ] {
            assert_eq!(basic_credentials(text).ok().as_deref(), decoded, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_decodes_or_is_refused(text in any::<String>()) {
            let _ = basic_credentials(&text);
        }
    }
}
