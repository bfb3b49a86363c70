//! The PES packet header.
//!
//! Spec: ITU-T H.222.0 2.4.3.6 and 2.4.3.7.
//! Shape: prefix 0 0 1, stream id (8), length (16), flags (16), length of what follows (8), PTS and
//! DTS in 5 bytes each.
//! Units: 90 kHz in 33 bits that wrap; the values here are unrolled.

use crate::writer::Writer;

/// Bytes of a header at most.
pub const PES_HEADER_LEN_MAX: usize = FIXED_LEN + 2 * TIMESTAMP_LEN;
/// Bytes of payload at most where the length must be told, which only video may leave out.
pub const PAYLOAD_LEN_MAX: usize = u16::MAX as usize - (PES_HEADER_LEN_MAX - COUNTED_FROM);

const FIXED_LEN: usize = 9;
/// The length field counts what follows it.
const COUNTED_FROM: usize = 6;
const TIMESTAMP_LEN: usize = 5;

/// The first PES header of an access unit; it has but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PesHeader {
    /// `stream_id`.
    pub stream_id: u8,
    /// Presentation time.
    pub pts: i64,
    /// Decode time; `None` if it is the same.
    pub dts: Option<i64>,
    /// Bytes of payload that follow.
    pub payload_len: usize,
}

impl PesHeader {
    /// Bytes of the header.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        FIXED_LEN + TIMESTAMP_LEN + if self.dts.is_some() { TIMESTAMP_LEN } else { 0 }
    }

    /// Writes it. The length is told whenever it fits, so that a reader need not wait for the next
    /// packet to know that this one is complete.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let counted = self.encoded_len() - COUNTED_FROM + self.payload_len;
        writer.u24(1);
        writer.u8(self.stream_id);
        writer.u16(u16::try_from(counted).unwrap_or(0));
        // Marker bits, and `data_alignment_indicator`: an access unit begins here.
        writer.u8(0x84);
        let timestamps = self.encoded_len() - FIXED_LEN;
        writer.u8(if self.dts.is_some() { 0xc0 } else { 0x80 });
        writer.u8(u8::try_from(timestamps).expect("two timestamps"));
        match self.dts {
            Some(dts) => {
                encode_timestamp(3, self.pts, writer);
                encode_timestamp(1, dts, writer);
            }
            None => encode_timestamp(2, self.pts, writer),
        }
    }
}

/// Four bits of prefix, then 3, 15 and 15 bits, each with a marker bit behind it.
fn encode_timestamp(prefix: u8, ticks: i64, writer: &mut Writer<'_>) {
    let ticks = ticks.rem_euclid(1 << 33).cast_unsigned();
    let value = u64::from(prefix) << 36
        | (ticks >> 30 & 0x7) << 33
        | 1 << 32
        | (ticks >> 15 & 0x7fff) << 17
        | 1 << 16
        | (ticks & 0x7fff) << 1
        | 1;
    let [_, _, _, bytes @ ..] = value.to_be_bytes();
    writer.put(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn encoded(header: &PesHeader) -> Vec<u8> {
        let mut bytes = vec![0; header.encoded_len()];
        header.encode(&mut Writer::new(&mut bytes));
        bytes
    }

    #[test]
    fn headers_with_one_time_and_two() {
        let video = PesHeader { stream_id: 0xe0, pts: 90_000, dts: Some(0), payload_len: 100 };
        assert_eq!(
            encoded(&video),
            [0, 0, 1, 0xe0, 0, 113, 0x84, 0xc0, 10, 0x31, 0, 5, 0xbf, 0x21, 0x11, 0, 1, 0, 1]
        );
        let audio = PesHeader { stream_id: 0xc0, pts: (1 << 33) - 1, dts: None, payload_len: 0 };
        assert_eq!(
            encoded(&audio),
            [0, 0, 1, 0xc0, 0, 8, 0x84, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff]
        );
        let wrapped = PesHeader { pts: 1 << 33, ..audio };
        assert_eq!(encoded(&wrapped)[9..], [0x21, 0, 1, 0, 1]);
    }

    #[test]
    fn a_length_that_does_not_fit_is_left_out() {
        let header = |payload_len| PesHeader { stream_id: 0xe0, pts: 0, dts: Some(0), payload_len };
        assert_eq!(encoded(&header(PAYLOAD_LEN_MAX))[4..6], [0xff, 0xff]);
        assert_eq!(encoded(&header(PAYLOAD_LEN_MAX + 1))[4..6], [0, 0]);
    }
}
