//! The transport packet, as it is read.
//!
//! Spec: ITU-T H.222.0 2.4.3.2 to 2.4.3.5.
//! Errors: none; a packet that contradicts itself says so, and has no payload then.

use super::framer::RawPacket;
use crate::mpegts::packet::{Adaptation, HEADER_LEN, Pid};
use crate::reader::Reader;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportPacket<'a> {
    /// Where it belongs.
    pub pid: Pid,
    /// `payload_unit_start_indicator`.
    pub start: bool,
    /// `transport_error_indicator`: nothing in it can be believed.
    pub damaged: bool,
    /// The payload is encrypted.
    pub scrambled: bool,
    /// `continuity_counter`.
    pub counter: u8,
    /// It has a payload, be it empty.
    pub has_payload: bool,
    /// The adaptation field is longer than its packet, or the packet has neither part.
    pub malformed: bool,
    /// What the adaptation field says.
    pub adaptation: Adaptation,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> TransportPacket<'a> {
    /// Reads a packet.
    #[must_use]
    pub fn parse(raw: &'a RawPacket) -> Self {
        let [_, first, second, flags, ..] = *raw;
        let mut packet = Self {
            pid: Pid::new(u16::from_be_bytes([first, second])),
            start: first & 0x40 != 0,
            damaged: first & 0x80 != 0,
            scrambled: flags & 0xc0 != 0,
            counter: flags & 0x0f,
            has_payload: flags & 0x10 != 0,
            malformed: flags & 0x30 == 0,
            adaptation: Adaptation::default(),
            payload: &[],
        };
        let mut body = Reader::new(raw.get(HEADER_LEN..).unwrap_or_default());
        if flags & 0x20 != 0 {
            let what = "mpegts.adaptation";
            let field = body.u8(what).and_then(|len| body.bytes(usize::from(len), what));
            match field {
                Ok(field) => packet.adaptation = read_adaptation(field),
                Err(_) => packet.malformed = true,
            }
        }
        if packet.has_payload && !packet.malformed {
            packet.payload = body.rest();
        }
        packet
    }
}

fn read_adaptation(field: &[u8]) -> Adaptation {
    let Some((&flags, rest)) = field.split_first() else { return Adaptation::default() };
    let pcr = rest.first_chunk::<6>().filter(|_| flags & 0x10 != 0).map(|bytes| {
        let [a, b, c, d, e, f] = *bytes;
        let bits = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        // 33 bits of 90 kHz, six reserved, nine of 27 MHz.
        (bits >> 15) * 300 + (bits & 0x1ff)
    });
    Adaptation { discontinuity: flags & 0x80 != 0, random_access: flags & 0x40 != 0, pcr }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpegts::packet::PACKET_LEN;

    fn raw(head: &[u8]) -> RawPacket {
        let mut raw = [0xaa; PACKET_LEN];
        raw[..head.len()].copy_from_slice(head);
        raw
    }

    #[test]
    fn headers_and_fields_are_read() {
        let plain = raw(&[0x47, 0x41, 0x00, 0x1f]);
        let packet = TransportPacket::parse(&plain);
        assert_eq!((packet.pid.get(), packet.counter, packet.payload.len()), (0x100, 15, 184));
        assert!(packet.start && packet.has_payload && !packet.scrambled && !packet.damaged);
        let clock = raw(&[0x47, 0x9f, 0xff, 0xf0, 7, 0xd0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x2b]);
        let packet = TransportPacket::parse(&clock);
        let pcr = Some((1 << 33) * 300 - 1);
        let adaptation = Adaptation { discontinuity: true, random_access: true, pcr };
        assert_eq!((packet.adaptation, packet.payload.len()), (adaptation, 176));
        assert!(packet.damaged && packet.scrambled && packet.pid == Pid::NULL);
    }

    #[test]
    fn contradictions_are_told() {
        for (flags, len, malformed, payload) in [
            (0x00, 0, true, 0),
            (0x20, 183, false, 0),
            (0x20, 184, true, 0),
            (0x30, 0, false, 183),
            (0x30, 183, false, 0),
            (0x30, 255, true, 0),
            // A clock is announced and there is no room for it.
            (0x30, 3, false, 180),
        ] {
            let bytes = raw(&[0x47, 1, 0, flags, len, 0x10]);
            let packet = TransportPacket::parse(&bytes);
            assert_eq!((packet.malformed, packet.payload.len()), (malformed, payload), "{len}");
            assert_eq!(packet.adaptation.pcr.is_some(), len > 6 && !malformed, "{len}");
        }
    }
}
