//! Headers of packets.
//!
//! Spec: draft-sharabayko-srt 3, 3.1, 3.2.
//! Shape: 16 bytes. Data: 0, number (31 bits); position (2), in order (1), key (2), retransmitted
//! (1), message (26); timestamp; destination. Control: 1, type (15), subtype (16); information of
//! the type; timestamp; destination.
//! Units: timestamps are microseconds since the connection began, modulo 2^32: about 71 minutes.

use super::control::ControlType;
use super::{MessageNumber, SeqNumber, SocketId};
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of every header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a packet at most: Ethernet's 1500 without the headers of IPv4 and UDP.
pub const PACKET_BYTES_MAX: usize = 1_472;
/// Bytes of a payload at most.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - HEADER_BYTES;

const CONTROL: u32 = 0x8000_0000;
const IN_ORDER: u32 = 1 << 29;
const RETRANSMITTED: u32 = 1 << 26;

/// The header of any packet; what follows is its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Payload follows.
    Data(DataHeader),
    /// What the type says follows.
    Control(ControlHeader),
}

/// The header of a data packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// Its number.
    pub sequence: SeqNumber,
    /// Where it stands in its message.
    pub position: Position,
    /// The message may not overtake others.
    pub in_order: bool,
    /// What its payload is encrypted with.
    pub key: Option<KeySlot>,
    /// It was sent before.
    pub retransmitted: bool,
    /// Its message.
    pub message: MessageNumber,
    /// When it was given to the sender.
    pub timestamp: u32,
    /// The receiver.
    pub destination: SocketId,
}

/// The header of a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlHeader {
    /// What it is.
    pub kind: ControlType,
    /// What the type puts there: the number of an ACK, a message's, an error.
    pub info: u32,
    /// When it was sent.
    pub timestamp: u32,
    /// The receiver.
    pub destination: SocketId,
}

/// Where a packet stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// Neither its begin nor its end.
    Middle,
    /// Its end.
    Last,
    /// Its begin.
    First,
    /// The whole message: every packet of live mode.
    Only,
}

/// One of the two keys that a direction may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySlot {
    /// The first key, and every second one after it.
    Even,
    /// The others.
    Odd,
}

impl KeySlot {
    /// The key that follows this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }
}

impl Header {
    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::TooLarge`] if it is longer than [`PACKET_BYTES_MAX`];
    /// [`Error::Invalid`] for a data packet that is encrypted with both keys at once, which a
    /// packet of key material says and no data can be.
    pub fn parse(datagram: &[u8]) -> Result<Self, Error> {
        if datagram.len() > PACKET_BYTES_MAX {
            let (value, max) = (datagram.len() as u64, PACKET_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "srt.packet", value, max });
        }
        let mut reader = Reader::new(datagram);
        let first = reader.u32("srt.header")?;
        let second = reader.u32("srt.header")?;
        let timestamp = reader.u32("srt.header")?;
        let destination = SocketId(reader.u32("srt.header")?);
        if first & CONTROL != 0 {
            let kind = ControlType::from_wire(first);
            return Ok(Self::Control(ControlHeader { kind, info: second, timestamp, destination }));
        }
        let position = match second >> 30 {
            0 => Position::Middle,
            1 => Position::Last,
            2 => Position::First,
            _ => Position::Only,
        };
        let key = match (second >> 27) & 3 {
            0 => None,
            1 => Some(KeySlot::Even),
            2 => Some(KeySlot::Odd),
            both => return Err(Error::Invalid { what: "srt.data.key", value: both.into() }),
        };
        Ok(Self::Data(DataHeader {
            sequence: SeqNumber::new(first),
            position,
            in_order: second & IN_ORDER != 0,
            key,
            retransmitted: second & RETRANSMITTED != 0,
            message: MessageNumber::new(second),
            timestamp,
            destination,
        }))
    }

    /// The receiver.
    #[must_use]
    pub const fn destination(&self) -> SocketId {
        match self {
            Self::Data(header) => header.destination,
            Self::Control(header) => header.destination,
        }
    }
}

impl DataHeader {
    /// Appends [`HEADER_BYTES`].
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let position = match self.position {
            Position::Middle => 0,
            Position::Last => 1,
            Position::First => 2,
            Position::Only => 3,
        };
        let key = match self.key {
            None => 0,
            Some(KeySlot::Even) => 1,
            Some(KeySlot::Odd) => 2,
        };
        let in_order = if self.in_order { IN_ORDER } else { 0 };
        let retransmitted = if self.retransmitted { RETRANSMITTED } else { 0 };
        writer.u32(self.sequence.get());
        writer.u32(position << 30 | in_order | key << 27 | retransmitted | self.message.get());
        writer.u32(self.timestamp);
        writer.u32(self.destination.0);
    }
}

impl ControlHeader {
    /// Appends [`HEADER_BYTES`].
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(CONTROL | self.kind.to_wire());
        writer.u32(self.info);
        writer.u32(self.timestamp);
        writer.u32(self.destination.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: Header) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut writer = Writer::new(&mut bytes);
        match header {
            Header::Data(header) => header.encode(&mut writer),
            Header::Control(header) => header.encode(&mut writer),
        }
        bytes
    }

    const DATA: DataHeader = DataHeader {
        sequence: SeqNumber::new(0x1234_5678),
        position: Position::Only,
        in_order: false,
        key: None,
        retransmitted: false,
        message: MessageNumber::new(1),
        timestamp: 0xfedc_ba98,
        destination: SocketId(0x0badcafe),
    };

    #[test]
    fn headers_are_read_and_written_alike() {
        let control = |kind, info| {
            Header::Control(ControlHeader {
                kind,
                info,
                timestamp: 7,
                destination: SocketId(0x0102_0304),
            })
        };
        let tail = *b"\xfe\xdc\xba\x98\x0b\xad\xca\xfe";
        let short = *b"\0\0\0\x07\x01\x02\x03\x04";
        let table: [(Header, [u8; 8], [u8; 8]); 8] = [
            (Header::Data(DATA), *b"\x12\x34\x56\x78\xc0\0\0\x01", tail),
            (
                Header::Data(DataHeader {
                    position: Position::First,
                    in_order: true,
                    key: Some(KeySlot::Odd),
                    retransmitted: true,
                    message: MessageNumber::new(MessageNumber::MAX),
                    ..DATA
                }),
                *b"\x12\x34\x56\x78\xb7\xff\xff\xff",
                tail,
            ),
            (
                Header::Data(DataHeader {
                    position: Position::Last,
                    key: Some(KeySlot::Even),
                    ..DATA
                }),
                *b"\x12\x34\x56\x78\x48\0\0\x01",
                tail,
            ),
            (
                Header::Data(DataHeader { position: Position::Middle, ..DATA }),
                *b"\x12\x34\x56\x78\0\0\0\x01",
                tail,
            ),
            (control(ControlType::Handshake, 0), *b"\x80\0\0\0\0\0\0\0", short),
            (control(ControlType::Ack, 9), *b"\x80\x02\0\0\0\0\0\x09", short),
            (control(ControlType::KeyRequest, 0), *b"\xff\xff\0\x03\0\0\0\0", short),
            (control(ControlType::Unknown(0x0009_0001), 0), *b"\x80\x09\0\x01\0\0\0\0", short),
        ];
        for (header, head, tail) in table {
            let bytes: [u8; HEADER_BYTES] = [head, tail].concat().try_into().unwrap();
            assert_eq!(encoded(header), bytes);
            assert_eq!(Header::parse(&bytes), Ok(header));
            for cut in 0..HEADER_BYTES {
                let truncated = Err(Error::Truncated { what: "srt.header" });
                assert_eq!(Header::parse(&bytes[..cut]), truncated, "{cut}");
            }
        }
    }

    #[test]
    fn no_data_has_two_keys() {
        let mut bytes = encoded(Header::Data(DATA));
        bytes[4] |= 0x18;
        assert_eq!(Header::parse(&bytes), Err(Error::Invalid { what: "srt.data.key", value: 3 }));
        let long = [0; PACKET_BYTES_MAX + 1];
        assert!(matches!(Header::parse(&long), Err(Error::TooLarge { .. })));
        assert!(Header::parse(&long[1..]).is_ok());
        assert_eq!((KeySlot::Even.other(), KeySlot::Odd.other()), (KeySlot::Odd, KeySlot::Even));
    }
}
