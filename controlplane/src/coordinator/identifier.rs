//! Identifier: what a channel, and the key of a channel, may look like.

use dataplane::ids::STREAM_NAME_BYTES_MAX;

/// Bytes of a channel or key at most: a channel is the name of a stream.
pub const ID_BYTES_MAX: usize = STREAM_NAME_BYTES_MAX;

/// True if `text` is `[A-Za-z0-9_-]+` of at most `bytes_max` bytes.
///
/// So it is safe in a header, a path and a line of text: nothing is ever escaped.
#[must_use]
pub fn is_identifier(text: &str, bytes_max: usize) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= bytes_max && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_safe_letters_within_their_length() {
        for good in ["cam7", "a", "A_b-9", "-", &"x".repeat(128)] {
            assert!(is_identifier(good, ID_BYTES_MAX), "{good}");
        }
        for bad in ["", "a/b", "a b", "a.b", "ü", "a\r\nx: y", "a\0", &"x".repeat(129)] {
            assert!(!is_identifier(bad, ID_BYTES_MAX), "{bad}");
        }
        assert!(is_identifier("abcd", 4) && !is_identifier("abcde", 4));
    }
}
