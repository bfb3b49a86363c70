//! Idle players: allowed to play a stream that nobody publishes, they wait for it.
//!
//! ```text
//!   allowed, nobody publishes --> idle --the stream begins--> asked for anew --> plays, or refused
//!                                 ^  |                                             |
//!                                 |  +-- time, kick, the peer's own end --> over   |
//!                                 +------ the stream ends (RTMP, if told to) ------+
//! ```
//!
//! Nobody holds anything for an idle player but its own shard: the home of a stream that begins
//! says so to every shard, if anybody waits anywhere. A word may cross an answer on its way, so the
//! streams that are waited for are asked for again, a few at a time.
//!
//! An RTMP player is heard and pinged meanwhile. A request of HTTP and a call of SRT have no other
//! word than their answer: they wait for a bounded time. Of HTTP only the end is heard, and of SRT
//! only that the call is repeated (`calls.rs`).
//!
//! It holds no place of a player, and none is kept for it: whether its shard has room for it is
//! asked when it begins to play.
//!
//! Limits: `idle_players_max` of the process, `idle_players_per_ip_max` of an address; `idle_play`
//! of those who are told to wait, `play_wait` of everybody else, [`UNHEARD_WAIT_MAX`] for HTTP and
//! SRT; [`CHECKS`] streams are asked for again at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::asked::Asked;
use super::message::Message;
use super::shard::Shard;
use crate::control::CloseReason;
use crate::ids::{ShardId, StreamName};
use crate::session::{Command, Refusal};

/// How long a request of HTTP, or a call of SRT, waits for its stream at most.
const UNHEARD_WAIT_MAX: Duration = Duration::from_secs(60);
/// Streams that one round of housekeeping asks for again.
const CHECKS: usize = 8;

/// Who waits for which stream. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Idle {
    waiting: BTreeMap<StreamName, Waiting>,
    /// Streams that began, whose players have their turn.
    began: VecDeque<StreamName>,
    /// The stream that was asked for again last.
    checked: Option<StreamName>,
}

/// Who waits for one stream.
#[derive(Debug, Default)]
struct Waiting {
    /// Connections, the one that has waited longest first.
    slots: VecDeque<u32>,
    /// So many of the first waited when the stream began, and have yet to ask for it.
    due: usize,
}

impl Idle {
    fn add(&mut self, stream: StreamName, slot: u32) {
        self.waiting.entry(stream).or_default().slots.push_back(slot);
    }

    fn remove(&mut self, stream: &StreamName, slot: u32) {
        let Some(waiting) = self.waiting.get_mut(stream) else { return };
        if let Some(at) = waiting.slots.iter().position(|&waits| waits == slot) {
            waiting.slots.remove(at);
            waiting.due -= usize::from(at < waiting.due);
        }
        if waiting.slots.is_empty() {
            self.waiting.remove(stream);
        }
    }

    /// A stream began: everybody who waits for it has his turn.
    fn began(&mut self, stream: &StreamName) {
        let Some(waiting) = self.waiting.get_mut(stream) else { return };
        waiting.due = waiting.slots.len();
        if !self.began.contains(stream) {
            self.began.push_back(stream.clone());
        }
    }

    /// True if somebody's stream began and he has not had his turn.
    pub(super) fn has_due(&self) -> bool {
        !self.began.is_empty()
    }

    /// Takes the next one whose stream began. Who waits for it again does so behind all others, and
    /// has no turn before it begins again.
    pub(super) fn next_due(&mut self) -> Option<u32> {
        loop {
            let stream = self.began.front()?;
            let waiting = self.waiting.get_mut(stream).filter(|waiting| waiting.due > 0);
            let slot = waiting.and_then(|waiting| {
                waiting.due -= 1;
                waiting.slots.pop_front()
            });
            if slot.is_some() {
                if self.waiting.get(stream).is_some_and(|waiting| waiting.slots.is_empty()) {
                    self.waiting.remove(stream);
                }
                return slot;
            }
            self.began.pop_front();
        }
    }

    /// Takes one who waits for the next stream in turn.
    fn next(&mut self) -> Option<u32> {
        let after = self.checked.take().map_or(Bound::Unbounded, Bound::Excluded);
        let (stream, waiting) = self.waiting.range_mut((after, Bound::Unbounded)).next()?;
        let (stream, slot) = (stream.clone(), waiting.slots.pop_back());
        waiting.due = waiting.due.min(waiting.slots.len());
        if waiting.slots.is_empty() {
            self.waiting.remove(&stream);
        }
        self.checked = Some(stream);
        slot
    }
}

impl Shard {
    /// The home of a stream answered a play by a refusal: the player hears it, or waits.
    pub(super) fn play_refused(&mut self, slot: u32, refusal: Refusal) {
        let Some(asked) = self.connections.get(slot).and_then(|c| c.asked.as_ref()) else { return };
        match refusal {
            Refusal::NotFound if asked.waits || !self.config.session.play_wait.is_zero() => {
                self.wait_for_stream(slot);
            }
            // Who waits already is asked for again.
            Refusal::Overloaded if asked.idle => self.wait_for_stream(slot),
            _ => self.refuse(slot, refusal),
        }
    }

    /// A player waits until its stream begins.
    fn wait_for_stream(&mut self, slot: u32) {
        let Self { connections, shared, config, counters, idle, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let heard = connection.session.idles();
        let Some(asked) = connection.asked.as_mut() else { return };
        if asked.idle {
            idle.add(asked.stream.clone(), slot);
            return;
        }
        if let Err(limit) = shared.caps.enter_idle(&connection.admission, &config.limits) {
            counters.limit(limit);
            self.refuse(slot, Refusal::Full);
            return;
        }
        let time = if asked.waits { config.session.idle_play } else { config.session.play_wait };
        asked.deadline = *now + if heard { time } else { time.min(UNHEARD_WAIT_MAX) };
        asked.idle = true;
        idle.add(asked.stream.clone(), slot);
        counters.players_idle += 1;
        shared.caps.established(&mut connection.admission);
        let span = connection.span();
        span.in_scope(|| tracing::info!("player waits for its stream"));
        self.tell_waiting(slot);
        if heard {
            self.tell(slot, Command::PlayIdle);
            self.feed_parked(slot);
        }
        self.arm(slot);
        self.rearm(slot);
    }

    /// The stream of a player ended and everything of it is sent: true if the player waits for the
    /// next one of that name.
    pub(super) fn wait_again(&mut self, slot: u32) -> bool {
        if self.draining.is_some() {
            return false;
        }
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let waits = connection.session.idles();
        let Some(again) = connection
            .playing_mut()
            .and_then(|playing| playing.again.take_if(|asked| asked.waits && waits))
        else {
            return false;
        };
        let entered = self.shared.caps.enter_idle(&connection.admission, &self.config.limits);
        if let Err(limit) = entered {
            self.counters.limit(limit);
            return false;
        }
        self.stop_playing(slot, CloseReason::StreamEnded);
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let deadline = self.now + self.config.session.idle_play;
        connection.asked = Some(Box::new(Asked { idle: true, deadline, ..*again }));
        self.counters.players_idle += 1;
        self.tell(slot, Command::PlayIdle);
        // The next one may have begun while this player drained the last.
        self.subscribe(slot);
        self.rearm(slot);
        true
    }

    /// Takes the question of a connection, and what it counted in.
    pub(super) fn take_asked(&mut self, slot: u32) -> Option<Box<Asked>> {
        let connection = self.connections.get_mut(slot)?;
        let asked = connection.asked.take()?;
        self.starters.forget(slot);
        if asked.idle {
            self.idle.remove(&asked.stream, slot);
            self.shared.caps.leave_idle(&connection.admission);
            self.counters.players_idle -= 1;
        }
        Some(asked)
    }

    /// A stream begins here: whoever waits for it on any shard is told.
    pub(super) fn tell_idle(&mut self, stream: &StreamName) {
        if !self.shared.caps.has_idle() {
            return;
        }
        let me = self.id;
        let shards = u16::try_from(self.shared.shards()).expect("shards are at most 64");
        for shard in (0..shards).map(ShardId).filter(|&shard| shard != me) {
            self.post(shard, Message::Began(stream.clone()));
        }
        self.stream_began(stream);
    }

    /// A stream began, here or elsewhere: whoever waits for it asks for it when it has its turn.
    pub(super) fn stream_began(&mut self, stream: &StreamName) {
        self.idle.began(stream);
    }

    /// Asks again for some of the streams that are waited for.
    pub(super) fn check_idle(&mut self) {
        for _ in 0..CHECKS.min(self.idle.waiting.len()) {
            if let Some(slot) = self.idle.next() {
                self.subscribe(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_checked_in_turn_by_one_of_those_who_wait() {
        let mut idle = Idle::default();
        let [a, b] = ["a", "b"].map(|name| StreamName::parse(name).unwrap());
        for (stream, slot) in [(&a, 1), (&a, 2), (&b, 3)] {
            idle.add(stream.clone(), slot);
        }
        assert_eq!(idle.next(), Some(2));
        idle.add(a.clone(), 2);
        assert_eq!(idle.next(), Some(3));
        idle.add(b.clone(), 3);
        assert_eq!(idle.next(), None, "the round is over");
        idle.remove(&a, 1);
        idle.remove(&a, 7);
        assert_eq!(idle.next(), Some(2));
        idle.remove(&b, 3);
        assert_eq!((idle.next(), idle.waiting.len()), (None, 0));
    }

    #[test]
    fn those_who_waited_when_a_stream_began_have_one_turn_each() {
        let mut idle = Idle::default();
        let [a, b] = ["a", "b"].map(|name| StreamName::parse(name).unwrap());
        for slot in 1..=4 {
            idle.add(a.clone(), slot);
        }
        idle.add(b.clone(), 9);
        assert!(!idle.has_due());
        idle.began(&a);
        idle.began(&a);
        assert_eq!(idle.next_due(), Some(1));
        // It is not there after all, and somebody new comes; another one leaves.
        idle.add(a.clone(), 1);
        idle.add(a.clone(), 5);
        idle.remove(&a, 3);
        assert_eq!((idle.next_due(), idle.next_due()), (Some(2), Some(4)));
        assert_eq!((idle.next_due(), idle.has_due()), (None, false));
        assert_eq!(idle.waiting[&a].slots, [1, 5]);
        // Nobody is left of those who waited.
        idle.began(&b);
        idle.remove(&b, 9);
        assert!(idle.has_due());
        assert_eq!((idle.next_due(), idle.has_due()), (None, false));
    }
}
