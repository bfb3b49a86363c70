//! How a packet follows the one before it on its PID.
//!
//! Spec: ITU-T H.222.0 2.4.3.3 (`continuity_counter`), 2.4.3.5 (`discontinuity_indicator`).

use super::framer::RawPacket;
use super::packet::TransportPacket;

/// Bytes of a packet's end by which it is known again.
const TAIL_LEN: usize = 16;

/// The verdict on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// As it should.
    Well,
    /// It repeats the packet before it, which is allowed once.
    AsDuplicate,
    /// Its counter goes on from somewhere else, and it says so.
    AsAnnounced,
    /// So many packets are missing, or sixteen more of them.
    Behind {
        /// How many.
        lost: u8,
    },
}

/// The counter of one PID.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    last: Option<u8>,
    duplicated: bool,
    tail: [u8; TAIL_LEN],
}

impl Counter {
    /// Judges a packet by the one before it.
    pub(super) fn follow(&mut self, packet: &TransportPacket<'_>, raw: &RawPacket) -> Follows {
        let follows = self.judge(packet, raw);
        self.duplicated = follows == Follows::AsDuplicate;
        self.last = Some(packet.counter);
        if let Some(tail) = raw.last_chunk() {
            self.tail = *tail;
        }
        follows
    }

    fn judge(&self, packet: &TransportPacket<'_>, raw: &RawPacket) -> Follows {
        let Some(last) = self.last else { return Follows::Well };
        let step = u8::from(packet.has_payload);
        let lost = packet.counter.wrapping_sub(last + step) & 0x0f;
        if lost == 0 {
            return Follows::Well;
        }
        let repeats =
            packet.has_payload && packet.counter == last && raw.last_chunk() == Some(&self.tail);
        if repeats && !self.duplicated {
            return Follows::AsDuplicate;
        }
        if packet.adaptation.discontinuity && !repeats {
            return Follows::AsAnnounced;
        }
        Follows::Behind { lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpegts::packet::PACKET_LEN;

    #[test]
    fn counters_tell_what_is_missing() {
        let raw = |counter: u8, flags: u8, fill: u8| {
            let mut raw = [fill; PACKET_LEN];
            raw[..6].copy_from_slice(&[0x47, 1, 0, 0x20 | flags | counter, 1, 0]);
            raw
        };
        const PAYLOAD: u8 = 0x10;
        let lost = |lost| Follows::Behind { lost };
        // Counter, flags, fill, announced, verdict.
        let table = [
            (14, PAYLOAD, 1, false, Follows::Well),
            (15, PAYLOAD, 2, false, Follows::Well),
            (15, 0, 2, false, Follows::Well),
            (0, PAYLOAD, 3, false, Follows::Well),
            (0, PAYLOAD, 3, false, Follows::AsDuplicate),
            (0, PAYLOAD, 3, false, lost(15)),
            (1, PAYLOAD, 4, false, Follows::Well),
            (1, PAYLOAD, 5, false, lost(15)),
            (4, PAYLOAD, 5, false, lost(2)),
            (9, PAYLOAD, 5, true, Follows::AsAnnounced),
            (3, 0, 5, true, Follows::AsAnnounced),
            (4, PAYLOAD, 6, false, Follows::Well),
            (2, 0, 6, false, lost(14)),
        ];
        let mut counter = Counter::default();
        for (at, (value, flags, fill, announced, follows)) in table.into_iter().enumerate() {
            let mut raw = raw(value, flags, fill);
            raw[5] = if announced { 0x80 } else { 0 };
            let packet = TransportPacket::parse(&raw);
            assert_eq!(counter.follow(&packet, &raw), follows, "row {at}");
        }
    }
}
