//! Where in an access unit a stamp can stand.
//!
//! Spec: ITU-T H.264 7.4.1.2.3 and H.265 7.4.2.4.4: a delimiter, if there is one, is the first NAL
//! unit; SEI stands between it and the slices.

use codecs::media::Codec;
use codecs::{h264, hevc, nal};

use crate::content::Content;
use crate::stamp::{STAMP_LEN, Stamp};

/// Where a picture's stamp stands, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StampPlace {
    pub(super) stamping: Stamping,
    /// Bytes of the tag body before it.
    pub(super) at: usize,
    /// The bytes behind it.
    pub(super) content: Content,
}

/// How stamps look in a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamping {
    codec: Codec,
    /// Bytes of the length before a NAL unit.
    length_size: u8,
}

impl Stamping {
    /// The way of a track with this decoder configuration record; `None` if its codec has no SEI.
    pub(super) fn of(codec: Codec, record: &[u8]) -> Option<Self> {
        let at = match codec {
            Codec::H264 => 4,
            Codec::Hevc => 21,
            _ => return None,
        };
        let length_size = (record.get(at)? & 3) + 1;
        Some(Self { codec, length_size })
    }

    /// How many bytes of an access unit stand before the stamp; `None` if it makes no sense.
    pub(super) fn place(self, access_unit: &[u8]) -> Option<usize> {
        let first = nal::length_prefixed(access_unit, self.length_size).ok()?.next()?.ok()?;
        let is_delimiter = match self.codec {
            Codec::H264 => h264::NalType::of(first) == Some(h264::NalType::AUD),
            _ => hevc::NalType::of(first) == Some(hevc::NalType::AUD),
        };
        Some(if is_delimiter { usize::from(self.length_size) + first.len() } else { 0 })
    }

    /// Appends the stamp as a NAL unit behind its length.
    pub(super) fn put(self, stamp: Stamp, out: &mut Vec<u8>) {
        let hevc = self.codec == Codec::Hevc;
        let len = (STAMP_LEN + usize::from(hevc)) as u32;
        out.extend_from_slice(&len.to_be_bytes()[4 - usize::from(self.length_size)..]);
        if hevc {
            out.extend_from_slice(&stamp.encode_hevc());
        } else {
            out.extend_from_slice(&stamp.encode());
        }
    }
}
