//! Frame headers and masks.
//!
//! Shape: FIN, three reserved bits and the opcode; the mask bit and 7 bits of length, of which 126
//! and 127 announce 16 and 64 more bits; the masking key of a client.

use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of a header at most.
pub const HEADER_BYTES_MAX: usize = 14;
/// Bytes of a header without a masking key at most.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;
/// Bytes of the payload of a control frame at most.
pub const CONTROL_BYTES_MAX: usize = 125;

const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of the message that was begun.
    Continuation,
    /// The first frame of a text message.
    Text,
    /// The first frame of a binary message.
    Binary,
    /// The end of a direction.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or only says that the peer is there.
    Pong,
}

impl Opcode {
    const ALL: [(u8, Self); 6] = [
        (0, Self::Continuation),
        (1, Self::Text),
        (2, Self::Binary),
        (8, Self::Close),
        (9, Self::Ping),
        (10, Self::Pong),
    ];

    fn from_wire(wire: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|(code, _)| *code == wire).map(|(_, opcode)| opcode)
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// True for close, ping and pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The message ends with this frame.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The masking key, which every frame of a client has and none of a server.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

impl FrameHeader {
    /// Reads a header and tells its length; `None` asks for more bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for reserved bits and opcodes, for a length that is not in its shortest
    /// form or has its highest bit set, and for a control frame that is fragmented or too long.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        match Self::read(&mut Reader::new(bytes)) {
            Ok(header) => Ok(Some((header, header.encoded_len()))),
            Err(Error::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        const LEN: &str = "websocket.frame.len";
        let invalid = |what, value| Err(Error::Invalid { what, value });
        let first = reader.u8("websocket.frame.opcode")?;
        if first & 0x70 != 0 {
            return invalid("websocket.frame.reserved", first.into());
        }
        let Some(opcode) = Opcode::from_wire(first & 0x0f) else {
            return invalid("websocket.frame.opcode", first.into());
        };
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return invalid("websocket.frame.control_fragment", first.into());
        }
        let second = reader.u8(LEN)?;
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return invalid("websocket.frame.control_len", short.into());
        }
        let (len, least) = match short {
            LEN_16 => (reader.u16(LEN)?.into(), u64::from(LEN_16)),
            LEN_64 => (reader.u64(LEN)?, 1 << 16),
            short => (short.into(), 0),
        };
        if len < least || len >> 63 != 0 {
            return invalid(LEN, len);
        }
        let masked = second & 0x80 != 0;
        let mask = if masked { Some(reader.array("websocket.frame.mask")?) } else { None };
        Ok(Self { fin, opcode, mask, len })
    }

    /// Bytes of the header.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let len = match self.len {
            0..126 => 2,
            126..0x1_0000 => 4,
            _ => 10,
        };
        len + if self.mask.is_some() { 4 } else { 0 }
    }

    /// Writes the header; the payload follows it, masked by the caller if there is a key.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(u8::from(self.fin) << 7 | self.opcode.to_wire());
        let masked = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len), _) if len < LEN_16 => writer.u8(masked | len),
            (_, Ok(len)) => {
                writer.u8(masked | LEN_16);
                writer.u16(len);
            }
            _ => {
                writer.u8(masked | LEN_64);
                writer.u64(self.len);
            }
        }
        if let Some(mask) = self.mask {
            writer.put(&mask);
        }
    }
}

/// Masks or unmasks bytes of a payload that begin where the key does.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn encoded(header: &FrameHeader) -> Vec<u8> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let mut writer = Writer::new(&mut bytes);
        header.encode(&mut writer);
        let written = writer.written();
        bytes[..written].to_vec()
    }

    #[test]
    fn headers_both_ways() {
        let frame = |fin, opcode, mask, len| FrameHeader { fin, opcode, mask, len };
        let key = Some([1, 2, 3, 4]);
        let table = [
            (frame(true, Opcode::Binary, None, 0), vec![0x82, 0]),
            (frame(false, Opcode::Text, None, 125), vec![0x01, 125]),
            (frame(true, Opcode::Continuation, None, 126), vec![0x80, 126, 0, 126]),
            (frame(true, Opcode::Binary, None, 65_535), vec![0x82, 126, 0xff, 0xff]),
            (frame(true, Opcode::Binary, None, 65_536), vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (frame(true, Opcode::Ping, key, 5), vec![0x89, 0x85, 1, 2, 3, 4]),
            (frame(true, Opcode::Pong, None, 0), vec![0x8a, 0]),
            (frame(true, Opcode::Close, key, 125), vec![0x88, 0xfd, 1, 2, 3, 4]),
            (
                frame(true, Opcode::Binary, key, u64::MAX >> 1),
                vec![0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4],
            ),
        ];
        for (header, bytes) in table {
            assert_eq!(encoded(&header), bytes);
            assert_eq!(header.encoded_len(), bytes.len());
            assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, bytes.len()))));
            for len in 0..bytes.len() {
                assert_eq!(FrameHeader::parse(&bytes[..len]), Ok(None), "{len} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_the_protocol_forbids() {
        let table: [(&[u8], &str); 12] = [
            (&[0xc2], "websocket.frame.reserved"),
            (&[0xa2], "websocket.frame.reserved"),
            (&[0x92], "websocket.frame.reserved"),
            (&[0x83], "websocket.frame.opcode"),
            (&[0x87], "websocket.frame.opcode"),
            (&[0x8b], "websocket.frame.opcode"),
            (&[0x09], "websocket.frame.control_fragment"),
            (&[0x08, 0x80], "websocket.frame.control_fragment"),
            (&[0x89, 0xfe], "websocket.frame.control_len"),
            (&[0x82, 0xfe, 0, 125], "websocket.frame.len"),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "websocket.frame.len"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "websocket.frame.len"),
        ];
        for (bytes, field) in table {
            let refused = FrameHeader::parse(bytes);
            assert!(
                matches!(refused, Err(Error::Invalid { what, .. }) if what == field),
                "{bytes:x?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_mask_is_its_own_inverse() {
        let mut bytes = *b"Hello";
        unmask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(bytes, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        unmask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&bytes, b"Hello");
    }
}
