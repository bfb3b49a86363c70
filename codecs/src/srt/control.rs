//! What control packets say.
//!
//! Spec: draft-sharabayko-srt 3.2.
//! Shape: an ACK ends after its number (light), after the free buffer (small, 16 bytes) or after
//! the rate of bytes (full, 28 bytes). Packets that say nothing carry a word of padding or none.

use super::packet::ControlHeader;
use super::{LossRanges, SeqNumber};
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of an ACK's body at most.
pub const ACK_BYTES_MAX: usize = 28;

/// The type and subtype of a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// Opens a connection.
    Handshake,
    /// The sender lives.
    KeepAlive,
    /// What arrived.
    Ack,
    /// What did not.
    Nak,
    /// A warning that UDT knew.
    Congestion,
    /// The end of a connection.
    Shutdown,
    /// An ACK arrived.
    AckAck,
    /// What will not be sent again.
    DropRequest,
    /// The peer's application failed.
    PeerError,
    /// The handshake of versions before 1.3, once data flows.
    HsRequest,
    /// Its answer.
    HsResponse,
    /// New keys.
    KeyRequest,
    /// Their answer.
    KeyResponse,
    /// The low 31 bits of the first word of something else.
    Unknown(u32),
}

impl ControlType {
    const KNOWN: [(u32, Self); 13] = [
        (0x0000_0000, Self::Handshake),
        (0x0001_0000, Self::KeepAlive),
        (0x0002_0000, Self::Ack),
        (0x0003_0000, Self::Nak),
        (0x0004_0000, Self::Congestion),
        (0x0005_0000, Self::Shutdown),
        (0x0006_0000, Self::AckAck),
        (0x0007_0000, Self::DropRequest),
        (0x0008_0000, Self::PeerError),
        (0x7fff_0001, Self::HsRequest),
        (0x7fff_0002, Self::HsResponse),
        (0x7fff_0003, Self::KeyRequest),
        (0x7fff_0004, Self::KeyResponse),
    ];

    /// The subtype counts for the user-defined type alone.
    pub(super) fn from_wire(word: u32) -> Self {
        let word = word & 0x7fff_ffff;
        let significant = if word >> 16 == 0x7fff { word } else { word & 0x7fff_0000 };
        let known = Self::KNOWN.into_iter().find(|(wire, _)| *wire == significant);
        known.map_or(Self::Unknown(word), |(_, kind)| kind)
    }

    pub(super) fn to_wire(self) -> u32 {
        if let Self::Unknown(word) = self {
            return word & 0x7fff_ffff;
        }
        let known = Self::KNOWN.into_iter().find(|(_, kind)| *kind == self);
        known.map_or(0, |(wire, _)| wire)
    }
}

/// A control packet of a connection that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// A handshake again: the peer missed an answer. Its body is read by
    /// [`Handshake::parse`](super::Handshake::parse).
    Handshake(&'a [u8]),
    /// The sender lives.
    KeepAlive,
    /// What arrived.
    Ack(Ack),
    /// What did not.
    Nak(LossRanges<'a>),
    /// A warning that UDT knew.
    Congestion,
    /// The end of the connection.
    Shutdown,
    /// The ACK of that number arrived.
    AckAck(u32),
    /// What will not be sent again.
    DropRequest(DropRequest),
    /// The peer's application failed, for the reason of that number.
    PeerError(u32),
    /// New keys, to be read as [`KeyMaterial`](super::KeyMaterial).
    KeyRequest(&'a [u8]),
    /// The answer to new keys.
    KeyResponse(&'a [u8]),
    /// Something that is ignored.
    Unknown(ControlType),
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The number of the ACK, which is acknowledged itself unless it is 0: that of a light one,
    /// and of a small one as the specification has it.
    pub number: u32,
    /// The first packet that did not arrive.
    pub next: SeqNumber,
    /// What a light ACK leaves out.
    pub report: Option<AckReport>,
}

/// What the receiver of data knows of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AckReport {
    /// The time of a way there and back, in microseconds.
    pub rtt_us: u32,
    /// How much it varies.
    pub rtt_variance_us: u32,
    /// Packets that the receiver has room for.
    pub buffer_free: u32,
    /// Packets, the link's capacity in packets, and bytes a second; a small ACK leaves them out.
    pub rates: Option<[u32; 3]>,
}

/// What will not be sent again; whether it lies in what is waited for is for the session to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRequest {
    /// The number of the message, 0 for whatever the packets belong to.
    pub message: u32,
    /// The first packet.
    pub first: SeqNumber,
    /// The last packet, not before the first.
    pub last: SeqNumber,
}

impl<'a> Control<'a> {
    /// Reads the body of a control packet.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a range that ends before it begins.
    pub fn parse(header: &ControlHeader, body: &'a [u8]) -> Result<Self, Error> {
        Ok(match header.kind {
            ControlType::Handshake => Self::Handshake(body),
            ControlType::KeepAlive => Self::KeepAlive,
            ControlType::Ack => Self::Ack(Ack::parse(header.info, body)?),
            ControlType::Nak => Self::Nak(LossRanges::new(body)),
            ControlType::Congestion => Self::Congestion,
            ControlType::Shutdown => Self::Shutdown,
            ControlType::AckAck => Self::AckAck(header.info),
            ControlType::DropRequest => Self::DropRequest(DropRequest::parse(header.info, body)?),
            ControlType::PeerError => Self::PeerError(header.info),
            ControlType::KeyRequest => Self::KeyRequest(body),
            ControlType::KeyResponse => Self::KeyResponse(body),
            kind => Self::Unknown(kind),
        })
    }
}

impl Ack {
    fn parse(number: u32, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let next = SeqNumber::new(reader.u32("srt.ack.next")?);
        if reader.remaining() < 12 {
            return Ok(Self { number, next, report: None });
        }
        let mut report = AckReport {
            rtt_us: reader.u32("srt.ack.rtt")?,
            rtt_variance_us: reader.u32("srt.ack.rtt_variance")?,
            buffer_free: reader.u32("srt.ack.buffer_free")?,
            rates: None,
        };
        if reader.remaining() >= 12 {
            report.rates = Some([
                reader.u32("srt.ack.packets")?,
                reader.u32("srt.ack.capacity")?,
                reader.u32("srt.ack.bytes")?,
            ]);
        }
        Ok(Self { number, next, report: Some(report) })
    }

    /// Bytes of the body.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.report.map_or(4, |report| report.rates.map_or(16, |_| ACK_BYTES_MAX))
    }

    /// Appends the body; the number stands in the header.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.next.get());
        let Some(report) = self.report else { return };
        writer.u32(report.rtt_us);
        writer.u32(report.rtt_variance_us);
        writer.u32(report.buffer_free);
        for rate in report.rates.iter().flatten() {
            writer.u32(*rate);
        }
    }
}

impl DropRequest {
    /// Bytes of the body.
    pub const BYTES: usize = 8;

    fn parse(message: u32, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let first = SeqNumber::new(reader.u32("srt.drop_request.first")?);
        let last = SeqNumber::new(reader.u32("srt.drop_request.last")?);
        if last.since(first) < 0 {
            let value = last.get().into();
            return Err(Error::Invalid { what: "srt.drop_request.last", value });
        }
        Ok(Self { message, first, last })
    }

    /// Appends the body; the message stands in the header.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.first.get());
        writer.u32(self.last.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srt::{Header, SocketId};

    fn read(kind: ControlType, info: u32, body: &[u8]) -> Result<Control<'_>, Error> {
        let header = ControlHeader { kind, info, timestamp: 0, destination: SocketId(1) };
        Control::parse(&header, body)
    }

    #[test]
    fn an_ack_of_any_length_says_what_it_has() {
        let report = AckReport { rtt_us: 1, rtt_variance_us: 2, buffer_free: 3, rates: None };
        let next = SeqNumber::new(9);
        let full = AckReport { rates: Some([4, 5, 6]), ..report };
        let words = [9_u32, 1, 2, 3, 4, 5, 6];
        let bytes = words.map(u32::to_be_bytes).concat();
        for (len, report) in [(4, None), (16, Some(report)), (28, Some(full))] {
            let ack = Ack { number: 7, next, report };
            assert_eq!(ack.encoded_len(), len);
            assert_eq!(read(ControlType::Ack, 7, &bytes[..len]), Ok(Control::Ack(ack)));
            let mut written = [0; ACK_BYTES_MAX];
            ack.encode(&mut Writer::new(&mut written));
            assert_eq!(written[..len], bytes[..len]);
        }
        for len in 0..=28 {
            let ack = read(ControlType::Ack, 7, &bytes[..len]);
            assert_eq!(ack.is_err(), len < 4, "{len}");
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let body = |first: u32, last: u32| [first.to_be_bytes(), last.to_be_bytes()].concat();
        let wrapped = body(SeqNumber::MAX, 2);
        let request = DropRequest {
            message: 5,
            first: SeqNumber::new(SeqNumber::MAX),
            last: SeqNumber::new(2),
        };
        let parsed = read(ControlType::DropRequest, 5, &wrapped);
        assert_eq!(parsed, Ok(Control::DropRequest(request)));
        let mut written = [0; DropRequest::BYTES];
        request.encode(&mut Writer::new(&mut written));
        assert_eq!(written, *wrapped);
        for body in [body(2, 1), body(2, SeqNumber::MAX), body(0, 0x4000_0000)] {
            assert!(read(ControlType::DropRequest, 0, &body).is_err(), "{body:?}");
        }
        assert!(read(ControlType::DropRequest, 0, &wrapped[..7]).is_err());
    }

    #[test]
    fn every_type_is_known_by_its_word() {
        for (wire, kind) in ControlType::KNOWN {
            assert_eq!(ControlType::from_wire(0x8000_0000 | wire), kind);
            assert_eq!(kind.to_wire(), wire);
            let body = [0; 8];
            assert!(read(kind, 3, &body).is_ok(), "{kind:?}");
        }
        assert_eq!(ControlType::from_wire(0x0001_0055), ControlType::KeepAlive);
        let other = ControlType::Unknown(0x7fff_0009);
        assert_eq!(ControlType::from_wire(0xffff_0009), other);
        assert_eq!(read(other, 0, &[]), Ok(Control::Unknown(other)));
        assert_eq!(read(ControlType::KeepAlive, 0, &[]), Ok(Control::KeepAlive));
        let mut bytes = [0; 16];
        bytes[0] = 0x80;
        assert!(matches!(Header::parse(&bytes), Ok(Header::Control(_))));
    }
}
