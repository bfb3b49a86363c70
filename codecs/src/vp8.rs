//! VP8: the header of a keyframe.
//!
//! Spec: RFC 6386 9.1.
//!
//! Shape: frame tag (24 bits, little-endian: not a keyframe, version, shown, size of the first
//! partition), for a keyframe the start code 9d 01 2a, then width and height with 2 bits of scaling
//! above 14 bits each.

use crate::Error;
use crate::reader::Reader;

const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
const SIZE_MASK: u16 = 0x3fff;

/// What a keyframe says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeHeader {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

impl KeyframeHeader {
    /// Parses the start of a frame; `None` if it is no keyframe.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for another start code or an empty picture.
    pub fn parse(frame: &[u8]) -> Result<Option<Self>, Error> {
        let mut r = Reader::new(frame);
        let [tag, ..] = r.array::<3>("vp8.frame_tag")?;
        if tag & 1 != 0 {
            return Ok(None);
        }
        let start_code = r.array::<3>("vp8.start_code")?;
        if start_code != START_CODE {
            let [a, b, c] = start_code;
            let value = u64::from(u32::from_be_bytes([0, a, b, c]));
            return Err(Error::Invalid { what: "vp8.start_code", value });
        }
        let width = u16::from_le_bytes(r.array("vp8.width")?) & SIZE_MASK;
        let height = u16::from_le_bytes(r.array("vp8.height")?) & SIZE_MASK;
        if width == 0 || height == 0 {
            return Err(Error::Invalid { what: "vp8.size", value: 0 });
        }
        Ok(Some(Self { width, height }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_tell_their_size() {
        let frame = [0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 0x41, 0xb4, 0x80, 9];
        let header = KeyframeHeader { width: 320, height: 180 };
        assert_eq!(KeyframeHeader::parse(&frame), Ok(Some(header)), "whatever the scaling");
        for len in 0..10 {
            assert!(matches!(KeyframeHeader::parse(&frame[..len]), Err(Error::Truncated { .. })));
        }
        assert_eq!(KeyframeHeader::parse(&[0x11, 2, 0]), Ok(None));
        let with = |at: usize, value: u8| {
            let mut bytes = frame;
            bytes[at] = value;
            KeyframeHeader::parse(&bytes).map(|_| ())
        };
        let invalid = |what, value| Err(Error::Invalid { what, value });
        assert_eq!(with(4, 2), invalid("vp8.start_code", 0x009d_022a));
        assert_eq!(with(8, 0), invalid("vp8.size", 0));
    }
}
