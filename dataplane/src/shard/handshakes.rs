//! Handshakes of SRT: how many are heard, since anybody can send them, and in anybody's name.
//!
//! Shape: a first one costs a hash and an answer of its size, a conclusion costs two hashes and,
//! with a good cookie, a session. Of each kind so many are heard in a turn: those beyond are
//! dropped unread, before they delay media, and whoever means one sends it again. First ones are
//! answered no more often than their address, and what is around it, may connect: somebody in whose
//! name they are sent gets no more than that.
//! Limits: [`HEARD_PER_TURN_MAX`]; `connects_per_ip_per_second_max` and
//! `connects_per_prefix_per_second_max`, counted beside connections.

use std::net::IpAddr;

use codecs::srt::{HEADER_BYTES, Handshake, HandshakeKind};

use super::shard::Shard;

/// Handshakes of one kind that are heard in a turn: each takes some microseconds.
const HEARD_PER_TURN_MAX: u32 = 128;

/// What was heard in this turn. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    turn: u64,
    first: u32,
    conclusions: u32,
}

impl Handshakes {
    /// Counts one of that turn; false if there were enough.
    const fn hear(&mut self, turn: u64, is_conclusion: bool) -> bool {
        if self.turn != turn {
            *self = Self { turn, first: 0, conclusions: 0 };
        }
        let heard = if is_conclusion { &mut self.conclusions } else { &mut self.first };
        let has_room = *heard < HEARD_PER_TURN_MAX;
        if has_room {
            *heard += 1;
        }
        has_room
    }
}

impl Shard {
    /// True if a handshake of `peer`, or whoever says so, is to be heard.
    pub(super) fn hears_handshake(&mut self, peer: IpAddr, is_conclusion: bool) -> bool {
        let Self { handshakes, shared, config, counters, now, .. } = self;
        let is_heard = handshakes.hear(counters.turns, is_conclusion)
            // Who shows a cookie is who it says, and is counted when it comes in.
            && (is_conclusion
                || config.limits.is_exempt(peer)
                || shared.greets.take(peer, &config.limits, *now).is_ok());
        counters.srt_handshakes_dropped += u64::from(!is_heard);
        is_heard
    }
}

/// True if that datagram is, or would be, a conclusion.
pub(super) fn is_conclusion(datagram: &[u8]) -> bool {
    let handshake = Handshake::parse(datagram.get(HEADER_BYTES..).unwrap_or_default());
    matches!(handshake, Ok((handshake, _)) if handshake.kind == HandshakeKind::Conclusion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_share_of_a_turn() {
        let mut handshakes = Handshakes::default();
        let mut heard = |turn, is_conclusion| {
            (0..1_000).filter(|_| handshakes.hear(turn, is_conclusion)).count()
        };
        let max = HEARD_PER_TURN_MAX as usize;
        assert_eq!((heard(1, false), heard(1, false)), (max, 0));
        assert_eq!((heard(1, true), heard(1, true)), (max, 0), "a flood of one leaves the other");
        assert_eq!((heard(2, false), heard(2, true)), (max, max));
    }
}
