//! RTP packets: the header that is put before media in datagrams.
//!
//! Spec: RFC 3550 section 5.1, and 5.3.1 for the extension; RFC 2250 for MPEG-TS as payload.
//! Shape: `V(2) P(1) X(1) CC(4) | M(1) PT(7) | sequence number(16) | timestamp(32) | SSRC(32)`,
//! `CC` sources of 32 bits, with `X` an extension of a 16-bit id and a 16-bit count of words, then
//! the payload, of which the last byte counts what is padding if `P` is set.
//! Errors: [`Error::Truncated`], [`Error::Unsupported`] for another version, [`Error::Invalid`] for
//! padding that is longer than the packet.
//! Not here: order, loss and clocks, which are their reader's.

use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// The payload type of MPEG-TS (RFC 3551 section 6). Encoders choose others, too.
pub const PAYLOAD_TYPE_MPEG_TS: u8 = 33;

/// The one version there is.
const VERSION: u8 = 2;

/// A packet. In/Out: the payload is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// What its payload type makes of it.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: u8,
    /// Counts packets, and wraps.
    pub sequence: u16,
    /// Ticks of the payload type's clock, which wrap.
    pub timestamp: u32,
    /// Whose packet it is.
    pub source: u32,
    /// The payload, without its padding.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// It is no packet of RTP.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8("rtp.version")?;
        if first >> 6 != VERSION {
            return Err(Error::Unsupported { what: "rtp.version", value: u64::from(first >> 6) });
        }
        let second = reader.u8("rtp.payload_type")?;
        let sequence = reader.u16("rtp.sequence")?;
        let timestamp = reader.u32("rtp.timestamp")?;
        let source = reader.u32("rtp.ssrc")?;
        reader.bytes(4 * usize::from(first & 0x0f), "rtp.csrc")?;
        if first & 0x10 != 0 {
            reader.u16("rtp.extension.id")?;
            let words = reader.u16("rtp.extension.length")?;
            reader.bytes(4 * usize::from(words), "rtp.extension")?;
        }
        let rest = reader.rest();
        let padding = if first & 0x20 == 0 { 0 } else { padding(rest)? };
        let payload = rest.get(..rest.len() - padding).unwrap_or_default();
        let (marker, payload_type) = (second & 0x80 != 0, second & 0x7f);
        Ok(Self { marker, payload_type, sequence, timestamp, source, payload })
    }
}

/// What is written before a payload: nothing of a list of sources, an extension or padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// What its payload type makes of it.
    pub marker: bool,
    /// What the payload is: 7 bits.
    pub payload_type: u8,
    /// Counts packets, and wraps.
    pub sequence: u16,
    /// Ticks of the payload type's clock, which wrap.
    pub timestamp: u32,
    /// Whose packet it is.
    pub source: u32,
}

impl RtpHeader {
    /// Bytes of it.
    pub const BYTES: usize = 12;

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        Self::BYTES
    }

    /// Writes it.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(VERSION << 6);
        writer.u8(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        writer.u16(self.sequence);
        writer.u32(self.timestamp);
        writer.u32(self.source);
    }
}

/// Bytes of padding at the end of `rest`, the one that counts them included.
fn padding(rest: &[u8]) -> Result<usize, Error> {
    let what = "rtp.padding";
    let &count = rest.last().ok_or(Error::Truncated { what })?;
    let padding = usize::from(count);
    if padding == 0 || padding > rest.len() {
        return Err(Error::Invalid { what, value: u64::from(count) });
    }
    Ok(padding)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// `first`, marked, payload type 33, sequence number 0x1234, then `rest`.
    fn datagram(first: u8, rest: &[u8]) -> Vec<u8> {
        [&[first, 0xa1, 0x12, 0x34, 0, 0, 0, 7, 0, 0, 0, 9][..], rest].concat()
    }

    #[test]
    fn the_payload_lies_between_header_and_padding() {
        for (name, bytes) in [
            ("plain", datagram(0x80, b"media")),
            ("padded", datagram(0xa0, b"media\0\0\x03")),
            ("two sources", datagram(0x82, b"11112222media")),
            ("an extension", datagram(0x90, b"\xbe\xde\0\x011234media")),
            ("all of it", datagram(0xb1, b"1111\0\0\0\x02abcdefghmedia\x01")),
        ] {
            let packet = RtpPacket::parse(&bytes).unwrap();
            let expected = RtpPacket {
                marker: true,
                payload_type: PAYLOAD_TYPE_MPEG_TS,
                sequence: 0x1234,
                timestamp: 7,
                source: 9,
                payload: b"media",
            };
            assert_eq!(packet, expected, "{name}");
        }
        assert_eq!(RtpPacket::parse(&datagram(0x80, b"")).unwrap().payload, b"");
        assert_eq!(RtpPacket::parse(&datagram(0xa0, b"\x01")).unwrap().payload, b"");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (marker, payload_type) in [(false, PAYLOAD_TYPE_MPEG_TS), (true, 127)] {
            let (sequence, timestamp, source) = (0xfffe, 0x8000_0001, 0x1234_5678);
            let header = RtpHeader { marker, payload_type, sequence, timestamp, source };
            let mut bytes = [0; RtpHeader::BYTES + 5];
            let mut writer = Writer::new(&mut bytes);
            header.encode(&mut writer);
            assert_eq!(writer.written(), header.encoded_len());
            writer.put(b"media");
            let expected =
                RtpPacket { marker, payload_type, sequence, timestamp, source, payload: b"media" };
            assert_eq!(RtpPacket::parse(&bytes), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_packet_is_told_apart() {
        let version = |value| Error::Unsupported { what: "rtp.version", value };
        let padding = |value| Error::Invalid { what: "rtp.padding", value };
        let truncated = |what| Error::Truncated { what };
        for (bytes, error) in [
            (vec![], truncated("rtp.version")),
            (vec![0x47; 188], version(1)),
            (vec![0xff; 188], version(3)),
            (datagram(0xa0, b""), truncated("rtp.padding")),
            (datagram(0xa0, b"ab\0"), padding(0)),
            (datagram(0xa0, b"ab\x04"), padding(4)),
            (datagram(0x8f, b"media"), truncated("rtp.csrc")),
            (datagram(0x90, b"\0\0\xff\xffmedia"), truncated("rtp.extension")),
        ] {
            assert_eq!(RtpPacket::parse(&bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_cut_header_is_truncated_wherever_it_is_cut() {
        let whole = datagram(0x91, b"1111\0\0\0\x01abcd");
        for len in 0..whole.len() {
            let error = RtpPacket::parse(&whole[..len]).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{len}: {error}");
        }
        assert_eq!(RtpPacket::parse(&whole).unwrap().payload, b"");
    }
}
