//! Where streams are that are not on the shard which the map gives them.
//!
//! The map's home of a name knows, for as long as the stream lives, where it was moved. Every other
//! shard that a stream has left remembers for a while where it went, for letters that were on their
//! way, and so does the map's home when the stream has ended elsewhere: its last segments can still
//! be asked for there.
//!
//! ```text
//!   map's home:    (here) --moved--> There <--> Moving --ended--> Ended --time--> forgotten
//!                    ^-----------------+ moved back
//!   other shards:  left --> Forward --time--> forgotten
//! ```
//!
//! Limits: one place per living stream at its map's home, `streams_max` in all; the others bounded
//! by the moves of [`FORWARDED`], which the control plane orders one by one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::{ShardId, StreamName};
use crate::session::Use;

/// How long a shard that a stream has left sends letters after it.
pub(super) const FORWARDED: Duration = Duration::from_secs(10);

/// What a shard knows of a stream that is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It lives there.
    There,
    /// It lives there, and was ordered to move on.
    Moving,
    /// It went there, and letters for it are sent after it until then.
    Forward(Instant),
    /// It ended there; its segments may be asked for until then.
    Ended(Instant),
}

/// What an order to move a stream finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It lives on that shard, which is to be told.
    There(ShardId),
    /// It is being moved.
    Busy,
    /// Nobody knows it.
    Nowhere,
}

/// The streams of the map's home that are elsewhere, and those that left this shard lately.
///
/// Lives on: each shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Away {
    places: HashMap<StreamName, (ShardId, State)>,
}

impl Away {
    /// Where the stream lives, or went.
    pub(super) fn find(&self, stream: &StreamName) -> Option<ShardId> {
        let (at, state) = self.places.get(stream)?;
        (!matches!(state, State::Ended(_))).then_some(*at)
    }

    /// As [`Self::find`], for a use that a stream which ended may still serve.
    pub(super) fn find_for(&self, stream: &StreamName, usage: Use) -> Option<ShardId> {
        let (at, state) = self.places.get(stream)?;
        let ended = matches!(state, State::Ended(_));
        (!ended || usage == Use::Segments).then_some(*at)
    }

    /// Where the stream ended, which is forgotten.
    pub(super) fn take_ended(&mut self, stream: &StreamName) -> Option<ShardId> {
        let ended = matches!(self.places.get(stream)?, (_, State::Ended(_)));
        ended.then(|| self.places.remove(stream)).flatten().map(|(at, _)| at)
    }

    /// The stream is ordered to move.
    pub(super) fn order(&mut self, stream: &StreamName) -> Found {
        match self.places.get_mut(stream) {
            Some((_, State::Moving)) => Found::Busy,
            Some((at, state @ State::There)) => {
                *state = State::Moving;
                Found::There(*at)
            }
            _ => Found::Nowhere,
        }
    }

    /// The stream left this shard, its home in the map, for `to`, and has not arrived.
    pub(super) fn leave_home(&mut self, stream: StreamName, to: ShardId) {
        self.places.insert(stream, (to, State::Moving));
    }

    /// The stream left this shard, which is not its home in the map, for `to`.
    pub(super) fn leave(&mut self, stream: StreamName, to: ShardId, now: Instant) {
        self.places.insert(stream, (to, State::Forward(now + FORWARDED)));
    }

    /// The stream is here.
    pub(super) fn arrive(&mut self, stream: &StreamName) {
        self.places.remove(stream);
    }

    /// A move of the stream is over; `at` is where it is, if it moved.
    pub(super) fn settle(&mut self, stream: &StreamName, at: Option<ShardId>) {
        if let Some((place, state @ State::Moving)) = self.places.get_mut(stream) {
            *place = at.unwrap_or(*place);
            *state = State::There;
        }
    }

    /// The stream ended on `at`; its segments may be asked for there until `shown`.
    pub(super) fn end(&mut self, stream: &StreamName, at: ShardId, shown: Option<Instant>) {
        let known = self.places.get(stream).is_some_and(|(place, _)| *place == at);
        match shown {
            Some(until) if known => {
                self.places.insert(stream.clone(), (at, State::Ended(until)));
            }
            _ if known => drop(self.places.remove(stream)),
            _ => {}
        }
    }

    /// Forgets what was to be known until `now`.
    pub(super) fn keep(&mut self, now: Instant) {
        self.places.retain(|_, (_, state)| match state {
            State::There | State::Moving => true,
            State::Forward(until) | State::Ended(until) => *until > now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: ShardId = ShardId(1);

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn name() -> StreamName {
        StreamName::parse("news/1").unwrap()
    }

    #[test]
    fn the_maps_home_lets_one_move_at_a_time() {
        let (mut away, name) = (Away::default(), name());
        assert_eq!(away.order(&name), Found::Nowhere);
        away.leave_home(name.clone(), FAR);
        assert_eq!((away.find(&name), away.order(&name)), (Some(FAR), Found::Busy));
        away.settle(&name, Some(FAR));
        assert_eq!(away.order(&name), Found::There(FAR));
        assert_eq!(away.order(&name), Found::Busy);
        away.settle(&name, Some(ShardId(2)));
        assert_eq!(away.find(&name), Some(ShardId(2)));
        away.arrive(&name);
        assert_eq!(away.find(&name), None);
    }

    #[test]
    fn a_stream_that_ended_elsewhere_is_known_for_its_segments_alone() {
        let (mut away, name, now) = (Away::default(), name(), origin());
        away.leave_home(name.clone(), FAR);
        away.settle(&name, Some(FAR));
        away.end(&name, ShardId(2), None);
        assert_eq!(away.find(&name), Some(FAR), "it ended on a shard that it had left");
        away.end(&name, FAR, Some(now + FORWARDED));
        assert_eq!(away.find(&name), None);
        assert_eq!(away.find_for(&name, Use::Live), None);
        assert_eq!(away.find_for(&name, Use::Segments), Some(FAR));
        assert_eq!(away.order(&name), Found::Nowhere);
        away.keep(now + FORWARDED);
        assert_eq!(away.take_ended(&name), None);
    }

    #[test]
    fn a_shard_that_was_left_forwards_for_a_while() {
        let (mut away, name, now) = (Away::default(), name(), origin());
        away.leave(name.clone(), FAR, now);
        assert_eq!((away.find(&name), away.order(&name)), (Some(FAR), Found::Nowhere));
        away.keep(now + FORWARDED / 2);
        assert_eq!(away.find(&name), Some(FAR));
        away.keep(now + FORWARDED);
        assert_eq!(away.find(&name), None);
    }
}
