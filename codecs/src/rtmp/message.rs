//! RTMP messages: their header, and the bodies that are not AMF or media.
//!
//! Spec: RTMP 1.0 sections 5.4, 6.1 and 7.1.
//! Shape: control bodies are big-endian integers; a user control body is a 16-bit event and its
//! data; an aggregate is a run of FLV tags.
//! Units: timestamps are milliseconds in 32 bits that wrap.

use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// A chunk stream id, from 2 to 65599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Csid(u32);

impl Csid {
    /// Control messages.
    pub const CONTROL: Self = Self(2);
    /// Commands.
    pub const COMMAND: Self = Self(3);
    /// Audio, in what we send.
    pub const AUDIO: Self = Self(4);
    /// Data messages, in what we send.
    pub const DATA: Self = Self(5);
    /// Video, in what we send.
    pub const VIDEO: Self = Self(6);
    /// The largest id.
    pub const MAX: Self = Self(65_599);

    /// From a number, if it is in range.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        if id >= 2 && id <= Self::MAX.0 { Some(Self(id)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

macro_rules! message_kinds {
    ($($(#[$doc:meta])* $name:ident = $wire:literal),* $(,)?) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MessageKind {
            $($(#[$doc])* $name,)*
            /// A type that no specification knows.
            Unknown(u8),
        }

        impl MessageKind {
            /// From the type id on the wire.
            #[must_use]
            pub const fn from_wire(wire: u8) -> Self {
                match wire {
                    $($wire => Self::$name,)*
                    _ => Self::Unknown(wire),
                }
            }

            /// The type id on the wire.
            #[must_use]
            pub const fn to_wire(self) -> u8 {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Unknown(wire) => wire,
                }
            }
        }
    };
}

message_kinds! {
    /// New chunk size of the sender.
    SetChunkSize = 1,
    /// Drop the partial message of a chunk stream.
    Abort = 2,
    /// Bytes received so far.
    Acknowledgement = 3,
    /// An event of [`UserControl`].
    UserControl = 4,
    /// How often the sender wants acknowledgements.
    WindowAckSize = 5,
    /// How much the receiver of this may have unacknowledged.
    SetPeerBandwidth = 6,
    /// An audio tag body.
    Audio = 8,
    /// A video tag body.
    Video = 9,
    /// Data values behind a format byte.
    DataAmf3 = 15,
    /// A shared object event behind a format byte.
    SharedObjectAmf3 = 16,
    /// A command behind a format byte.
    CommandAmf3 = 17,
    /// Data values.
    DataAmf0 = 18,
    /// A shared object event.
    SharedObjectAmf0 = 19,
    /// A command.
    CommandAmf0 = 20,
    /// Several messages in one.
    Aggregate = 22,
}

/// What comes with every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// The chunk stream that carries it.
    pub csid: Csid,
    /// Absolute time in milliseconds; wraps.
    pub timestamp: u32,
    /// Bytes of the body, 24 bits.
    pub len: u32,
    /// What it is.
    pub kind: MessageKind,
    /// The message stream that it belongs to.
    pub msid: u32,
}

/// How a peer bandwidth is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerBandwidthLimit {
    /// Use this window.
    Hard,
    /// Use this window or the one in force, whichever is smaller.
    Soft,
    /// Hard if the previous limit was hard, otherwise to be ignored.
    Dynamic,
}

/// A protocol control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// New chunk size of the sender; [`ChunkReader::set_chunk_size`] checks it.
    ///
    /// [`ChunkReader::set_chunk_size`]: super::ChunkReader::set_chunk_size
    SetChunkSize(u32),
    /// Drop the partial message of this chunk stream.
    Abort(Csid),
    /// Bytes received so far; wraps.
    Acknowledgement(u32),
    /// Bytes between acknowledgements.
    WindowAckSize(u32),
    /// Bytes that may be unacknowledged.
    SetPeerBandwidth {
        /// The window in bytes.
        size: u32,
        /// How it is meant.
        limit: PeerBandwidthLimit,
    },
}

impl Control {
    /// The longest body.
    pub const LEN_MAX: usize = 5;

    /// Reads the body of a message of that kind.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a kind that is no control message and for a
    /// chunk stream that cannot exist.
    pub fn parse(kind: MessageKind, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let number = reader.u32("rtmp.control")?;
        Ok(match kind {
            MessageKind::SetChunkSize => Self::SetChunkSize(number),
            MessageKind::Abort => {
                let value = u64::from(number);
                let invalid = Error::Invalid { what: "rtmp.control.abort", value };
                Self::Abort(Csid::new(number).ok_or(invalid)?)
            }
            MessageKind::Acknowledgement => Self::Acknowledgement(number),
            MessageKind::WindowAckSize => Self::WindowAckSize(number),
            MessageKind::SetPeerBandwidth => Self::SetPeerBandwidth {
                size: number,
                // Old clients leave the type out; a wrong one asks for nothing that matters.
                limit: match reader.rest() {
                    [0, ..] => PeerBandwidthLimit::Hard,
                    [1, ..] => PeerBandwidthLimit::Soft,
                    _ => PeerBandwidthLimit::Dynamic,
                },
            },
            other => {
                let value = u64::from(other.to_wire());
                return Err(Error::Invalid { what: "rtmp.control.kind", value });
            }
        })
    }

    /// The kind of message that carries it.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::SetChunkSize(_) => MessageKind::SetChunkSize,
            Self::Abort(_) => MessageKind::Abort,
            Self::Acknowledgement(_) => MessageKind::Acknowledgement,
            Self::WindowAckSize(_) => MessageKind::WindowAckSize,
            Self::SetPeerBandwidth { .. } => MessageKind::SetPeerBandwidth,
        }
    }

    /// Bytes of the body.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        if matches!(self, Self::SetPeerBandwidth { .. }) { 5 } else { 4 }
    }

    /// Writes the body.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match *self {
            Self::SetChunkSize(number)
            | Self::Acknowledgement(number)
            | Self::WindowAckSize(number) => writer.u32(number),
            Self::Abort(csid) => writer.u32(csid.get()),
            Self::SetPeerBandwidth { size, limit } => {
                writer.u32(size);
                writer.u8(match limit {
                    PeerBandwidthLimit::Hard => 0,
                    PeerBandwidthLimit::Soft => 1,
                    PeerBandwidthLimit::Dynamic => 2,
                });
            }
        }
    }
}

/// An event of a user control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The message stream is usable.
    StreamBegin(u32),
    /// Playback of the message stream is over.
    StreamEof(u32),
    /// The message stream has no more data for now.
    StreamDry(u32),
    /// The player's buffer.
    SetBufferLength {
        /// The message stream.
        msid: u32,
        /// Its length in milliseconds.
        ms: u32,
    },
    /// The message stream is a recording.
    StreamIsRecorded(u32),
    /// Asks for a [`Self::PingResponse`] with the same time.
    PingRequest(u32),
    /// Answers a [`Self::PingRequest`].
    PingResponse(u32),
    /// Asks the player to prove itself.
    SwfVerifyRequest,
    /// Answers [`Self::SwfVerifyRequest`]; the proof is not kept.
    SwfVerifyResponse,
    /// The server's buffer ran empty.
    BufferEmpty(u32),
    /// The server's buffer is full again.
    BufferReady(u32),
    /// An event that no specification knows.
    Unknown(u16),
}

impl UserControl {
    /// The longest body that [`Self::encode`] writes.
    pub const LEN_MAX: usize = 10;

    /// Reads the body of a user control message.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let event = reader.u16("rtmp.user_control.event")?;
        let mut number = || {
            // gortmp sends the event without its stream id: stream 0 then.
            if reader.is_empty() { Ok(0) } else { reader.u32("rtmp.user_control.data") }
        };
        Ok(match event {
            0 => Self::StreamBegin(number()?),
            1 => Self::StreamEof(number()?),
            2 => Self::StreamDry(number()?),
            3 => Self::SetBufferLength { msid: number()?, ms: number()? },
            4 => Self::StreamIsRecorded(number()?),
            6 => Self::PingRequest(number()?),
            7 => Self::PingResponse(number()?),
            0x1a => Self::SwfVerifyRequest,
            0x1b => Self::SwfVerifyResponse,
            0x1f => Self::BufferEmpty(number()?),
            0x20 => Self::BufferReady(number()?),
            _ => Self::Unknown(event),
        })
    }

    const fn parts(&self) -> (u16, Option<u32>, Option<u32>) {
        match *self {
            Self::StreamBegin(msid) => (0, Some(msid), None),
            Self::StreamEof(msid) => (1, Some(msid), None),
            Self::StreamDry(msid) => (2, Some(msid), None),
            Self::SetBufferLength { msid, ms } => (3, Some(msid), Some(ms)),
            Self::StreamIsRecorded(msid) => (4, Some(msid), None),
            Self::PingRequest(time) => (6, Some(time), None),
            Self::PingResponse(time) => (7, Some(time), None),
            Self::SwfVerifyRequest => (0x1a, None, None),
            Self::SwfVerifyResponse => (0x1b, None, None),
            Self::BufferEmpty(msid) => (0x1f, Some(msid), None),
            Self::BufferReady(msid) => (0x20, Some(msid), None),
            Self::Unknown(event) => (event, None, None),
        }
    }

    /// Bytes of the body.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self.parts() {
            (_, None, _) => 2,
            (_, Some(_), None) => 6,
            (_, Some(_), Some(_)) => 10,
        }
    }

    /// Writes the body.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let (event, first, second) = self.parts();
        writer.u16(event);
        for number in [first, second].into_iter().flatten() {
            writer.u32(number);
        }
    }
}

/// The messages inside an aggregate.
///
/// Their timestamps are relative to each other: the first has the aggregate's own. They belong to
/// the aggregate's message stream, whatever their own field says. Ends after the first error.
#[derive(Clone, Debug)]
pub struct AggregateMessages<'a> {
    reader: Reader<'a>,
    header: MessageHeader,
    first_timestamp: Option<u32>,
}

impl<'a> AggregateMessages<'a> {
    /// Starts at the first message of the body.
    #[must_use]
    pub const fn new(body: &'a [u8], header: &MessageHeader) -> Self {
        Self { reader: Reader::new(body), header: *header, first_timestamp: None }
    }

    fn message(&mut self) -> Result<(MessageHeader, &'a [u8]), Error> {
        let wire = self.reader.u8("rtmp.aggregate.kind")?;
        let kind = MessageKind::from_wire(wire);
        if kind == MessageKind::Aggregate {
            let value = u64::from(wire);
            return Err(Error::Invalid { what: "rtmp.aggregate.kind", value });
        }
        let len = self.reader.u24("rtmp.aggregate.len")?;
        let low = self.reader.u24("rtmp.aggregate.timestamp")?;
        let high = self.reader.u8("rtmp.aggregate.timestamp")?;
        self.reader.u24("rtmp.aggregate.msid")?;
        let body = self.reader.bytes(len as usize, "rtmp.aggregate.body")?;
        // The last back pointer may be missing.
        if !self.reader.is_empty() {
            self.reader.u32("rtmp.aggregate.back_pointer")?;
        }
        let timestamp = u32::from(high) << 24 | low;
        let first = *self.first_timestamp.get_or_insert(timestamp);
        let timestamp = self.header.timestamp.wrapping_add(timestamp.wrapping_sub(first));
        Ok((MessageHeader { timestamp, len, kind, ..self.header }, body))
    }
}

impl<'a> Iterator for AggregateMessages<'a> {
    type Item = Result<(MessageHeader, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let message = self.message();
        if message.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn kinds_keep_their_number() {
        for wire in 0..=255 {
            assert_eq!(MessageKind::from_wire(wire).to_wire(), wire);
        }
        assert_eq!(MessageKind::from_wire(22), MessageKind::Aggregate);
        assert_eq!(MessageKind::from_wire(7), MessageKind::Unknown(7));
    }

    #[test]
    fn csids_have_a_range() {
        assert_eq!([0, 1, 65_600, u32::MAX].map(Csid::new), [None; 4]);
        assert_eq!([2, 65_599].map(Csid::new), [Some(Csid::CONTROL), Some(Csid::MAX)]);
    }

    #[test]
    fn control_table_holds_both_ways() {
        let limit = |size, limit| Control::SetPeerBandwidth { size, limit };
        let table: [(&[u8], Control); 7] = [
            (&[0, 0, 16, 0], Control::SetChunkSize(4096)),
            (&[0, 0, 0, 6], Control::Abort(Csid::VIDEO)),
            (&[255, 255, 255, 255], Control::Acknowledgement(u32::MAX)),
            (&[0, 38, 37, 160], Control::WindowAckSize(2_500_000)),
            (&[0, 38, 37, 160, 0], limit(2_500_000, PeerBandwidthLimit::Hard)),
            (&[0, 38, 37, 160, 1], limit(2_500_000, PeerBandwidthLimit::Soft)),
            (&[0, 38, 37, 160, 2], limit(2_500_000, PeerBandwidthLimit::Dynamic)),
        ];
        for (bytes, control) in table {
            assert_eq!(Control::parse(control.kind(), bytes), Ok(control));
            let mut out = [0; Control::LEN_MAX];
            let mut writer = Writer::new(&mut out);
            control.encode(&mut writer);
            assert_eq!(writer.written(), control.encoded_len());
            assert_eq!(out[..control.encoded_len()], *bytes);
            assert!(Control::parse(control.kind(), &bytes[..3]).is_err());
        }
    }

    #[test]
    fn a_peer_bandwidth_without_type_is_dynamic() {
        let limit = PeerBandwidthLimit::Dynamic;
        for body in [&[0, 0, 0, 1][..], &[0, 0, 0, 1, 9]] {
            assert_eq!(
                Control::parse(MessageKind::SetPeerBandwidth, body),
                Ok(Control::SetPeerBandwidth { size: 1, limit })
            );
        }
    }

    #[test]
    fn an_abort_of_an_impossible_stream_is_invalid() {
        let error = Error::Invalid { what: "rtmp.control.abort", value: 1 };
        assert_eq!(Control::parse(MessageKind::Abort, &[0, 0, 0, 1]), Err(error));
        assert!(Control::parse(MessageKind::Video, &[0; 4]).is_err());
    }

    #[test]
    fn user_control_table_holds_both_ways() {
        let table: [(&[u8], UserControl); 12] = [
            (&[0, 0, 0, 0, 0, 1], UserControl::StreamBegin(1)),
            (&[0, 1, 0, 0, 0, 1], UserControl::StreamEof(1)),
            (&[0, 2, 0, 0, 0, 1], UserControl::StreamDry(1)),
            (
                &[0, 3, 0, 0, 0, 1, 0, 0, 11, 184],
                UserControl::SetBufferLength { msid: 1, ms: 3000 },
            ),
            (&[0, 4, 0, 0, 0, 1], UserControl::StreamIsRecorded(1)),
            (&[0, 6, 0, 0, 0, 9], UserControl::PingRequest(9)),
            (&[0, 7, 0, 0, 0, 9], UserControl::PingResponse(9)),
            (&[0, 0x1a], UserControl::SwfVerifyRequest),
            (&[0, 0x1b], UserControl::SwfVerifyResponse),
            (&[0, 0x1f, 0, 0, 0, 1], UserControl::BufferEmpty(1)),
            (&[0, 0x20, 0, 0, 0, 1], UserControl::BufferReady(1)),
            (&[0, 0x40], UserControl::Unknown(0x40)),
        ];
        for (bytes, event) in table {
            assert_eq!(UserControl::parse(bytes), Ok(event));
            let mut out = [0; UserControl::LEN_MAX];
            let mut writer = Writer::new(&mut out);
            event.encode(&mut writer);
            assert_eq!(writer.written(), event.encoded_len());
            assert_eq!(out[..event.encoded_len()], *bytes);
        }
    }

    #[test]
    fn a_user_control_without_its_stream_id_means_stream_0() {
        assert_eq!(UserControl::parse(&[0, 0]), Ok(UserControl::StreamBegin(0)));
        for body in [&[][..], &[0], &[0, 0, 1], &[0, 6, 0, 0, 0]] {
            assert!(matches!(UserControl::parse(body), Err(Error::Truncated { .. })));
        }
    }

    fn aggregate(timestamp: u32, len: usize) -> MessageHeader {
        let (kind, len) = (MessageKind::Aggregate, u32::try_from(len).unwrap());
        MessageHeader { csid: Csid::VIDEO, timestamp, len, kind, msid: 1 }
    }

    #[test]
    fn aggregate_times_are_relative_to_the_first() {
        let body = b"\x08\0\0\x01\0\0\x64\x01\0\0\x07a\0\0\0\x0c\
            \x09\0\0\x02\0\0\x6e\x01\0\0\x07bb\0\0\0\x0d\
            \x08\0\0\0\0\0\x5f\x01\0\0\x07";
        let header = aggregate(u32::MAX - 4, body.len());
        let messages: Vec<_> = AggregateMessages::new(body, &header).collect();
        let message = |timestamp, kind, body: &'static [u8]| {
            let len = u32::try_from(body.len()).unwrap();
            Ok((MessageHeader { timestamp, kind, len, ..header }, body))
        };
        assert_eq!(
            messages,
            vec![
                message(u32::MAX - 4, MessageKind::Audio, b"a"),
                message(5, MessageKind::Video, b"bb"),
                message(u32::MAX - 9, MessageKind::Audio, b""),
            ]
        );
    }

    #[test]
    fn a_broken_aggregate_ends_after_its_error() {
        let nested = b"\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
        let lying = b"\x08\xff\xff\xff\0\0\0\0\0\0\0a";
        for body in [&nested[..], lying, b"\x08", b"\x08\0\0\0\0\0\0\0\0\0\0\0"] {
            let header = aggregate(0, body.len());
            let messages: Vec<_> = AggregateMessages::new(body, &header).collect();
            assert!(matches!(messages[..], [Err(_)]), "{messages:?}");
        }
    }
}
