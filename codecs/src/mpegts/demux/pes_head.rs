//! The PES packet header, as it is read.
//!
//! Spec: ITU-T H.222.0 2.4.3.6 and 2.4.3.7.
//! Shape: see [`crate::mpegts::pes`]; what stands behind the times is passed over.
//! Limits: [`PES_HEAD_LEN_MAX`].

use crate::Error;
use crate::reader::Reader;

/// Bytes of a header at most.
pub const PES_HEAD_LEN_MAX: usize = FIXED_LEN + u8::MAX as usize;

/// Prefix, stream id and length.
const START_LEN: usize = 6;
const FIXED_LEN: usize = 9;

/// The times of a PES packet, 33 bits that wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Stamps {
    pub(super) pts: Option<u64>,
    /// `None` if it is the same.
    pub(super) dts: Option<u64>,
}

/// The header of a PES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PesHead {
    pub(super) stamps: Stamps,
    /// Bytes of payload; `None` if they last until the next packet begins.
    pub(super) payload_len: Option<usize>,
    /// The payload is encrypted.
    pub(super) scrambled: bool,
    /// `data_alignment_indicator`: a frame begins with the payload.
    pub(super) aligned: bool,
}

/// Bytes of the header that must be there before more of it can be told.
pub(super) fn wanted_len(gathered: &[u8]) -> usize {
    match gathered {
        &[_, _, _, stream_id, ..] if !has_flags(stream_id) => START_LEN,
        &[_, _, _, _, _, _, _, _, len, ..] => FIXED_LEN + usize::from(len),
        // The stream id decides whether there are flags.
        [_, _, _, _, ..] => FIXED_LEN,
        _ => START_LEN,
    }
}

/// False for the streams whose packets are nothing but their payload, padding among them.
const fn has_flags(stream_id: u8) -> bool {
    !matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff)
}

impl PesHead {
    /// Parses a whole header.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Error> {
        let mut r = Reader::new(head);
        let prefix = r.u24("mpegts.pes.prefix")?;
        if prefix != 1 {
            return Err(Error::Invalid { what: "mpegts.pes.prefix", value: u64::from(prefix) });
        }
        let stream_id = r.u8("mpegts.pes.stream_id")?;
        let counted = r.u16("mpegts.pes.length")?;
        if !has_flags(stream_id) {
            let value = u64::from(stream_id);
            return Err(Error::Unsupported { what: "mpegts.pes.stream_id", value });
        }
        let [flags, kinds, len] = r.array("mpegts.pes.flags")?;
        if flags & 0xc0 != 0x80 {
            return Err(Error::Invalid { what: "mpegts.pes.flags", value: u64::from(flags) });
        }
        let mut fields = Reader::new(r.bytes(usize::from(len), "mpegts.pes.fields")?);
        // Times that the header has no room for are not there.
        let mut stamp = |bit: u8| {
            let there = kinds & bit != 0;
            there.then(|| fields.array("mpegts.pes.time").ok()).flatten().map(timestamp)
        };
        let stamps = Stamps { pts: stamp(0x80), dts: stamp(0x40) };
        let own_len = FIXED_LEN - START_LEN + usize::from(len);
        let payload_len = match usize::from(counted) {
            0 => None,
            counted => Some(
                counted
                    .checked_sub(own_len)
                    .ok_or(Error::Invalid { what: "mpegts.pes.length", value: counted as u64 })?,
            ),
        };
        let (scrambled, aligned) = (flags & 0x30 != 0, flags & 0x04 != 0);
        Ok(Self { stamps: stamps.or_decoded(), payload_len, scrambled, aligned })
    }
}

impl Stamps {
    /// A decode time without a presentation time is forbidden and says nothing.
    fn or_decoded(self) -> Self {
        Self { dts: self.dts.filter(|_| self.pts.is_some()), ..self }
    }
}

/// 3, 15 and 15 bits, each with a marker bit behind it that encoders are known to forget.
fn timestamp(bytes: [u8; 5]) -> u64 {
    let [a, b, c, d, e] = bytes.map(u64::from);
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpegts::pes::PesHeader;
    use crate::writer::Writer;
    use alloc::vec;

    #[test]
    fn written_headers_are_read() {
        let table = [
            (0, None, 100),
            (90_000, Some(0), 0xffff),
            ((1 << 33) - 1, Some((1 << 33) - 2), 7),
            (0x1_5555_5555, Some(0x0_aaaa_aaaa), 65_000),
        ];
        for (pts, dts, payload_len) in table {
            let header = PesHeader { stream_id: 0xe0, pts, dts, payload_len };
            let mut bytes = vec![0; header.encoded_len()];
            header.encode(&mut Writer::new(&mut bytes));
            for len in 0..bytes.len() {
                assert!(wanted_len(&bytes[..len]) > len, "{len}");
                assert!(PesHead::parse(&bytes[..len]).is_err());
            }
            assert_eq!(wanted_len(&bytes), bytes.len());
            let head = PesHead::parse(&bytes).unwrap();
            let stamps = Stamps { pts: Some(pts.unsigned_abs()), dts: dts.map(i64::unsigned_abs) };
            let payload_len = Some(payload_len).filter(|&len| len < 65_000 + 1);
            assert_eq!(head, PesHead { stamps, payload_len, scrambled: false, aligned: true });
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let good = [0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0];
        assert_eq!(PesHead::parse(&good).unwrap().payload_len, None);
        for (at, value) in [(0, 1), (2, 2), (3, 0xbe), (3, 0xff), (5, 2), (6, 0)] {
            let mut bytes = good;
            bytes[at] = value;
            assert!(PesHead::parse(&bytes).is_err(), "byte {at}");
        }
        let padding = [0, 0, 1, 0xbe, 0, 9];
        assert_eq!(wanted_len(&padding), padding.len());
        // No room for the times that are announced, and a decode time alone.
        let short = [0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 5, 0x21, 0, 1, 0, 3];
        assert_eq!(PesHead::parse(&short).unwrap().stamps, Stamps { pts: Some(1), dts: None });
        let alone = [0, 0, 1, 0xe0, 0, 0, 0xb0, 0x40, 5, 0x21, 0, 1, 0, 3];
        let head = PesHead::parse(&alone).unwrap();
        assert_eq!((head.stamps, head.scrambled), (Stamps::default(), true));
    }
}
