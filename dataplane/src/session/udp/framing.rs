//! What of a datagram is transport stream: all of it, or the payload of RTP.

use codecs::mpegts::PACKET_LEN;
use codecs::rtp::RtpPacket;

/// The first byte of a packet.
const SYNC_BYTE: u8 = 0x47;

/// Packets of RTP up to this many numbers before the newest are late (RFC 3550, appendix A.1); of
/// others their sender began again.
const LATE_MAX: u16 = 100;
/// Up to this many may be missing; beyond that their sender began again.
const MISSING_MAX: u16 = 4_096;

/// How a sender puts the packets of its stream into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As they are. Where a datagram begins need not be where a packet does: ffmpeg without
    /// `pkt_size` cuts the stream at 1,472 bytes.
    Bare,
    /// Behind a header of RTP.
    Rtp {
        /// Whose packets they are, and the number of the newest.
        newest: Option<(u32, u16)>,
    },
}

/// What a datagram brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A piece of the stream.
    Next {
        /// The piece.
        bytes: &'a [u8],
        /// Packets of RTP that are missing before it.
        missing: u16,
    },
    /// A packet of RTP that is late, or came before.
    Late,
    /// Nothing: it is not RTP, and its sender speaks that, or it is of another source.
    Foreign,
}

impl Framing {
    /// What a sender does whose datagram begins with a packet; `None` if this one does not.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Option<Self> {
        if begins_with_packet(datagram) {
            return Some(Self::Bare);
        }
        let packet = RtpPacket::parse(datagram).ok()?;
        begins_with_packet(packet.payload).then_some(Self::Rtp { newest: None })
    }

    /// The transport stream of a datagram. What is missing shows in the stream itself, too.
    pub fn payload<'a>(&mut self, datagram: &'a [u8]) -> Payload<'a> {
        let Self::Rtp { newest } = self else {
            return Payload::Next { bytes: datagram, missing: 0 };
        };
        let Ok(packet) = RtpPacket::parse(datagram) else { return Payload::Foreign };
        let mut missing = 0;
        if let Some((source, newest)) = *newest {
            if source != packet.source {
                return Payload::Foreign;
            }
            if newest.wrapping_sub(packet.sequence) < LATE_MAX {
                return Payload::Late;
            }
            let ahead = packet.sequence.wrapping_sub(newest).wrapping_sub(1);
            missing = if ahead < MISSING_MAX { ahead } else { 0 };
        }
        *newest = Some((packet.source, packet.sequence));
        Payload::Next { bytes: packet.payload, missing }
    }

    /// True if a datagram of the same sender is of another stream than those before it: RTP tells
    /// (SSRC).
    #[must_use]
    pub fn is_of_another(&self, datagram: &[u8]) -> bool {
        let Self::Rtp { newest: Some((source, _)) } = self else { return false };
        RtpPacket::parse(datagram).is_ok_and(|packet| packet.source != *source)
    }
}

fn begins_with_packet(bytes: &[u8]) -> bool {
    bytes.len() >= PACKET_LEN && bytes.first() == Some(&SYNC_BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(fill: u8) -> Vec<u8> {
        let mut packet = vec![fill; PACKET_LEN];
        packet[0] = SYNC_BYTE;
        packet
    }

    fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        [&[0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn the_first_packet_tells_how_a_sender_speaks() {
        assert_eq!(Framing::of(&packet(0)), Some(Framing::Bare));
        assert_eq!(Framing::of(&rtp(7, &packet(0))), Some(Framing::Rtp { newest: None }));
        for (name, datagram) in [
            ("nothing", Vec::new()),
            ("less than a packet", packet(0)[..PACKET_LEN - 1].to_vec()),
            ("the middle of a packet", packet(0)[1..].to_vec()),
            ("RTP of something else", rtp(7, &[0; PACKET_LEN])),
            ("a header of RTP", rtp(7, b"")),
        ] {
            assert_eq!(Framing::of(&datagram), None, "{name}");
        }
    }

    #[test]
    fn bare_datagrams_may_begin_anywhere() {
        let bytes = &b"the end of a packet"[..];
        assert_eq!(Framing::Bare.payload(bytes), Payload::Next { bytes, missing: 0 });
    }

    #[test]
    fn another_source_of_rtp_is_told() {
        let mut framing = Framing::Rtp { newest: None };
        let one = rtp(7, &packet(0));
        let mut other = one.clone();
        other[11] = 2;
        assert!(!framing.is_of_another(&other), "nothing came yet");
        framing.payload(&one);
        assert!(framing.is_of_another(&other) && !framing.is_of_another(&one));
        assert_eq!(framing.payload(&other), Payload::Foreign);
        assert!(!framing.is_of_another(&packet(0)), "it is no RTP");
        assert!(!Framing::Bare.is_of_another(&other));
    }

    #[test]
    fn what_is_late_or_came_before_is_passed_over() {
        let mut framing = Framing::Rtp { newest: None };
        for (sequence, missing) in [
            (u16::MAX, Some(0)),
            (u16::MAX, None),
            (0, Some(0)),
            (2, Some(1)),
            (1, None),
            (u16::MAX, None),
            (3, Some(0)),
            (4_099, Some(4_095)),
            (4_000, None),
            // A sender that began again: beyond what may be missing, or before what may be late.
            (40_000, Some(0)),
            (39_900, Some(0)),
        ] {
            let datagram = rtp(sequence, b"media");
            let expected =
                missing.map_or(Payload::Late, |missing| Payload::Next { bytes: b"media", missing });
            assert_eq!(framing.payload(&datagram), expected, "{sequence}");
        }
        assert_eq!(framing.payload(&packet(1)), Payload::Foreign, "it is no RTP");
    }
}
