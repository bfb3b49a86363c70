//! A stream id as it travels.
//!
//! Spec: draft-sharabayko-srt 3.2.1.3.
//! Shape: the text in words of 32 bits, each with its bytes turned round, filled up with zeros.

use alloc::vec::Vec;

use crate::Error;

/// Bytes of a stream id at most.
pub const STREAM_ID_BYTES_MAX: usize = 512;

/// Reads the body of the extension.
///
/// # Errors
/// [`Error::TooLarge`]; [`Error::Invalid`] if nothing is in it: whoever has no stream id sends no
/// extension.
pub fn decode_stream_id(body: &[u8]) -> Result<Vec<u8>, Error> {
    if body.len() > STREAM_ID_BYTES_MAX {
        let (value, max) = (body.len() as u64, STREAM_ID_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "srt.stream_id", value, max });
    }
    let mut text: Vec<u8> = turn_words(body).collect();
    let len = text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    if len == 0 {
        return Err(Error::Invalid { what: "srt.stream_id", value: body.len() as u64 });
    }
    text.truncate(len);
    Ok(text)
}

/// The body of the extension; what is over [`STREAM_ID_BYTES_MAX`] is left out.
#[must_use]
pub fn encode_stream_id(text: &[u8]) -> Vec<u8> {
    let mut body = text.get(..STREAM_ID_BYTES_MAX).unwrap_or(text).to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    body.chunks_mut(4).for_each(<[u8]>::reverse);
    body
}

/// The bytes in the order in which they are read.
pub(super) fn turn_words(body: &[u8]) -> impl Iterator<Item = u8> {
    body.chunks(4).flat_map(|word| word.iter().rev().copied())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn words_are_turned_round() {
        for (text, body) in
            [(&b"live"[..], &b"evil"[..]), (b"#!::r=a", b"::!#\0a=r"), (b"abcde", b"dcba\0\0\0e")]
        {
            assert_eq!(encode_stream_id(text), body);
            assert_eq!(decode_stream_id(body).as_deref(), Ok(text));
        }
        assert_eq!(decode_stream_id(&encode_stream_id(&[b'x'; 600])).unwrap().len(), 512);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let empty = |value| Err(Error::Invalid { what: "srt.stream_id", value });
        assert_eq!(decode_stream_id(b""), empty(0));
        assert_eq!(decode_stream_id(&[0; 8]), empty(8));
        let error = Error::TooLarge { what: "srt.stream_id", value: 516, max: 512 };
        assert_eq!(decode_stream_id(&vec![b'a'; 516]), Err(error));
    }
}
