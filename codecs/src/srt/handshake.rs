//! The body of a handshake, before its extensions.
//!
//! Spec: draft-sharabayko-srt 3.2.1 and 4.3.
//! Shape: 48 bytes: version (32), encryption (16), extension (16), first number (32), MTU (32),
//! flow window (32), type (32), socket (32), cookie (32), address of the receiver (128).

use core::net::IpAddr;

use super::{RejectReason, SeqNumber, SocketId};
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes without extensions.
pub const HANDSHAKE_BYTES: usize = 48;

/// The version of UDT and of SRT before 1.3, and of everybody's first handshake.
pub const VERSION_4: u32 = 4;
/// The version of SRT from 1.3 on.
pub const VERSION_5: u32 = 5;

/// The extension field of the answer to an induction: it tells SRT from UDT.
pub const HSV5_MAGIC: u16 = 0x4a17;
/// The extension field of a conclusion that has the handshake extension.
pub const HS_FLAG: u16 = 1;
/// ... that has key material.
pub const KM_FLAG: u16 = 2;
/// ... that has other extensions, as a stream id.
pub const CONFIG_FLAG: u16 = 4;

/// What a handshake asks for or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    /// Two callers meet.
    WaveAHand,
    /// The caller asks for a cookie.
    Induction,
    /// The caller shows it and says what it wants; or the listener grants it.
    Conclusion,
    /// Two callers agree.
    Agreement,
    /// A handshake is over.
    Done,
    /// The connection is refused.
    Rejected(RejectReason),
}

impl HandshakeKind {
    const CONCLUSION: u32 = u32::MAX;
    const AGREEMENT: u32 = u32::MAX - 1;
    const DONE: u32 = u32::MAX - 2;

    fn from_wire(wire: u32) -> Result<Self, Error> {
        Ok(match wire {
            0 => Self::WaveAHand,
            1 => Self::Induction,
            Self::CONCLUSION => Self::Conclusion,
            Self::AGREEMENT => Self::Agreement,
            Self::DONE => Self::Done,
            other => Self::Rejected(
                RejectReason::from_wire(other)
                    .ok_or(Error::Invalid { what: "srt.handshake.type", value: other.into() })?,
            ),
        })
    }

    const fn to_wire(self) -> u32 {
        match self {
            Self::WaveAHand => 0,
            Self::Induction => 1,
            Self::Conclusion => Self::CONCLUSION,
            Self::Agreement => Self::AGREEMENT,
            Self::Done => Self::DONE,
            Self::Rejected(reason) => reason.to_wire(),
        }
    }
}

/// A handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The version that is spoken.
    pub version: u32,
    /// The length of keys in units of 8 bytes, 0 for none said.
    pub encryption: u16,
    /// In an induction a constant, in a conclusion which extensions follow; in version 4 the type
    /// of the socket.
    pub extension: u16,
    /// The number of the first data packet, the same in both directions.
    pub initial_sequence: SeqNumber,
    /// Bytes of an IP packet at most.
    pub mtu: u32,
    /// Packets under way at most.
    pub flow_window: u32,
    /// What is asked for or answered.
    pub kind: HandshakeKind,
    /// The sender's socket.
    pub socket: SocketId,
    /// What proves that the caller receives at its address.
    pub cookie: u32,
    /// The address of the receiver, see [`peer_addr`].
    pub peer_addr: [u8; 16],
}

impl Handshake {
    /// Reads a handshake and gives the bytes of its extensions.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] for a type that is none and for a first number
    /// that no packet can have.
    pub fn parse(body: &[u8]) -> Result<(Self, &[u8]), Error> {
        let mut reader = Reader::new(body);
        let version = reader.u32("srt.handshake.version")?;
        let encryption = reader.u16("srt.handshake.encryption")?;
        let extension = reader.u16("srt.handshake.extension")?;
        let first = reader.u32("srt.handshake.initial_sequence")?;
        if first > SeqNumber::MAX {
            let value = first.into();
            return Err(Error::Invalid { what: "srt.handshake.initial_sequence", value });
        }
        let handshake = Self {
            version,
            encryption,
            extension,
            initial_sequence: SeqNumber::new(first),
            mtu: reader.u32("srt.handshake.mtu")?,
            flow_window: reader.u32("srt.handshake.flow_window")?,
            kind: HandshakeKind::from_wire(reader.u32("srt.handshake.type")?)?,
            socket: SocketId(reader.u32("srt.handshake.socket")?),
            cookie: reader.u32("srt.handshake.cookie")?,
            peer_addr: reader.array("srt.handshake.peer_addr")?,
        };
        Ok((handshake, reader.rest()))
    }

    /// Appends [`HANDSHAKE_BYTES`].
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.version);
        writer.u16(self.encryption);
        writer.u16(self.extension);
        writer.u32(self.initial_sequence.get());
        writer.u32(self.mtu);
        writer.u32(self.flow_window);
        writer.u32(self.kind.to_wire());
        writer.u32(self.socket.0);
        writer.u32(self.cookie);
        writer.put(&self.peer_addr);
    }
}

/// An address as libsrt writes it: words of 32 bits, each with its bytes turned round.
#[must_use]
pub fn peer_addr(addr: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match addr.to_canonical() {
        IpAddr::V4(v4) => {
            for (slot, octet) in bytes.iter_mut().zip(v4.octets().iter().rev()) {
                *slot = *octet;
            }
        }
        IpAddr::V6(v6) => {
            bytes = v6.octets();
            bytes.chunks_mut(4).for_each(<[u8]>::reverse);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Handshake = Handshake {
        version: VERSION_4,
        encryption: 0,
        extension: 2,
        initial_sequence: SeqNumber::new(0x0102_0304),
        mtu: 1500,
        flow_window: 8192,
        kind: HandshakeKind::Induction,
        socket: SocketId(0x1122_3344),
        cookie: 0,
        peer_addr: [0; 16],
    };

    #[test]
    fn handshakes_are_read_and_written_alike() {
        let call = b"\0\0\0\x04\0\0\0\x02\x01\x02\x03\x04\0\0\x05\xdc\0\0\x20\0\0\0\0\x01\
            \x11\x22\x33\x44\0\0\0\0\x01\0\0\x7f\0\0\0\0\0\0\0\0\0\0\0\0";
        let addr = peer_addr(IpAddr::from([127, 0, 0, 1]));
        let call_value = Handshake { peer_addr: addr, ..CALL };
        let mut kinds = 0;
        for (wire, kind) in [
            (0, HandshakeKind::WaveAHand),
            (1, HandshakeKind::Induction),
            (u32::MAX, HandshakeKind::Conclusion),
            (u32::MAX - 1, HandshakeKind::Agreement),
            (u32::MAX - 2, HandshakeKind::Done),
            (2409, HandshakeKind::Rejected(RejectReason::CONFLICT)),
        ] {
            let mut bytes = *call;
            bytes[20..24].copy_from_slice(&wire.to_be_bytes());
            let value = Handshake { kind, ..call_value };
            assert_eq!(Handshake::parse(&bytes), Ok((value, &[][..])));
            let mut written = [0; HANDSHAKE_BYTES];
            value.encode(&mut Writer::new(&mut written));
            assert_eq!(written, bytes);
            kinds += 1;
        }
        assert_eq!(kinds, 6);
        for cut in 0..HANDSHAKE_BYTES {
            assert!(matches!(Handshake::parse(&call[..cut]), Err(Error::Truncated { .. })));
        }
        let longer = [&call[..], b"more"].concat();
        assert_eq!(Handshake::parse(&longer), Ok((call_value, &b"more"[..])));
    }

    #[test]
    fn what_no_handshake_says_is_refused() {
        let mut bytes = [0; HANDSHAKE_BYTES];
        CALL.encode(&mut Writer::new(&mut bytes));
        let mut odd = bytes;
        odd[20..24].copy_from_slice(&999_u32.to_be_bytes());
        let invalid = |what, value| Err(Error::Invalid { what, value });
        assert_eq!(Handshake::parse(&odd), invalid("srt.handshake.type", 999));
        let mut odd = bytes;
        odd[8] = 0x80;
        let first = 0x8002_0304;
        assert_eq!(Handshake::parse(&odd), invalid("srt.handshake.initial_sequence", first));
    }

    #[test]
    fn addresses_are_turned_round_word_by_word() {
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let expected = [0xb8, 0x0d, 0x01, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(peer_addr(v6), expected);
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert_eq!(peer_addr(mapped)[..5], [3, 2, 1, 10, 0]);
    }
}
