//! The mark in every published frame: when it was sent, which one it is, and what follows.
//!
//! Spec: ITU-T H.264 7.3.2.3 and D.1.7 (user data unregistered SEI).
//!
//! Shape: SEI NAL unit header, payload type 5, its length, a UUID, send time and sequence number
//! as 16 hexadecimal digits each, length and CRC of the bytes of the access unit behind this NAL
//! unit as 8 each, the stop bit. As text there is nothing in it that would need emulation
//! prevention.
//!
//! Units: nanoseconds of the monotonic clock, so both ends must run on one machine.

use codecs::reader::Reader;

use crate::content::Content;

const UUID: [u8; 16] = *b"grandstand-stamp";

/// The header of a NAL unit of HEVC with SEI ahead of the pictures.
const HEVC_SEI: [u8; 2] = [39 << 1, 1];

const H264_DELIMITER: u8 = 9;
const HEVC_DELIMITER: u8 = 35;

/// Bytes of an access unit delimiter with its length, of HEVC, where it is longer.
pub const DELIMITER_LEN_MAX: usize = 4 + 3;

/// Bytes of the NAL unit of H.264.
pub const STAMP_LEN: usize = 3 + SEI_LEN + 1;

/// Bytes of its payload: a UUID and digits.
const SEI_LEN: usize = 16 + 16 + 16 + 8 + 8;

/// When a frame was sent, which one it is, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was given to the socket, in nanoseconds of the monotonic clock.
    pub sent_ns: u64,
    /// Its number, from 0.
    pub sequence: u64,
    /// The bytes of the access unit behind the stamp.
    pub content: Content,
}

impl Stamp {
    /// The NAL unit.
    #[must_use]
    pub fn encode(self) -> [u8; STAMP_LEN] {
        let mut unit = [0x80; STAMP_LEN];
        unit[..3].copy_from_slice(&[6, 5, SEI_LEN as u8]);
        unit[3..19].copy_from_slice(&UUID);
        put_hex(&mut unit[19..35], self.sent_ns);
        put_hex(&mut unit[35..51], self.sequence);
        put_hex(&mut unit[51..59], u64::from(self.content.len));
        put_hex(&mut unit[59..67], u64::from(self.content.crc));
        unit
    }

    /// The NAL unit of HEVC, whose header has two bytes.
    ///
    /// Spec: ITU-T H.265 7.3.1.2 and D.2.7.
    #[must_use]
    pub fn encode_hevc(self) -> [u8; STAMP_LEN + 1] {
        let mut unit = [0; STAMP_LEN + 1];
        unit[..2].copy_from_slice(&HEVC_SEI);
        unit[2..].copy_from_slice(&self.encode()[1..]);
        unit
    }

    /// Reads the stamp at the start of a length-prefixed access unit, or behind its delimiter;
    /// tells how many bytes end with it.
    #[must_use]
    pub fn find(access_unit: &[u8]) -> Option<(Self, usize)> {
        let mut r = Reader::new(access_unit);
        let mut len = r.u32("stamp.len").ok()? as usize;
        let is_delimiter = match (len, r.rest()) {
            (2, [header, ..]) => header & 0x1f == H264_DELIMITER,
            (3, [header, ..]) => header >> 1 == HEVC_DELIMITER,
            _ => false,
        };
        if is_delimiter {
            r.bytes(len, "stamp.delimiter").ok()?;
            len = r.u32("stamp.len").ok()? as usize;
        }
        let end = access_unit.len() - r.rest().len() + len;
        let stamp = Self::parse(r.rest())?;
        (len == STAMP_LEN || len == STAMP_LEN + 1).then_some((stamp, end))
    }

    /// Reads a stamp at the start of a NAL unit, of H.264 or HEVC.
    #[must_use]
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let unit = if unit.starts_with(&HEVC_SEI) { &unit[1..] } else { unit };
        let unit = unit.first_chunk::<STAMP_LEN>()?;
        let is_ours = matches!(unit[..2], [1 | 6, 5]) && usize::from(unit[2]) == SEI_LEN;
        if !is_ours || unit[3..19] != UUID {
            return None;
        }
        let number = |digits| u32::try_from(hex(digits)?).ok();
        let content = Content { len: number(&unit[51..59])?, crc: number(&unit[59..67])? };
        Some(Self { sent_ns: hex(&unit[19..35])?, sequence: hex(&unit[35..51])?, content })
    }
}

fn put_hex(digits: &mut [u8], value: u64) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (4 * at) & 0xf) as usize];
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn access_unit(stamp: Stamp) -> Vec<u8> {
        [&u32::try_from(STAMP_LEN).unwrap().to_be_bytes()[..], &stamp.encode()].concat()
    }

    #[test]
    fn other_access_units_have_none() {
        let unit = access_unit(Stamp { sent_ns: 1, sequence: 2, content: Content::of(b"3") });
        assert_eq!(Stamp::find(&unit[..unit.len() - 1]), None);
        for at in [3, 4, 10, 30, 50, 60, 70] {
            let mut other = unit.clone();
            other[at] ^= 0x80;
            assert_eq!(Stamp::find(&other), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn stamps_return(
            (sent_ns, sequence) in any::<(u64, u64)>(),
            (len, crc) in any::<(u32, u32)>(),
        ) {
            let stamp = Stamp { sent_ns, sequence, content: Content { len, crc } };
            let unit = access_unit(stamp);
            prop_assert_eq!(Stamp::find(&unit), Some((stamp, unit.len())));
            let unit = [&[0, 0, 0, 69][..], &stamp.encode_hevc()].concat();
            prop_assert_eq!(Stamp::find(&unit), Some((stamp, unit.len())));
            let unit = [&[0, 0, 0, 3, 70, 1, 80], &unit[..]].concat();
            prop_assert_eq!(Stamp::find(&unit), Some((stamp, unit.len())));
            let unit = [&[0, 0, 0, 2, 9, 240][..], &access_unit(stamp)].concat();
            prop_assert_eq!(Stamp::find(&unit), Some((stamp, unit.len())));
            prop_assert!(!stamp.encode().windows(2).any(|pair| pair == [0, 0]));
        }
    }
}
