//! Starters: who waited for an answer, or for a stream, and has his turn to begin.
//!
//! ```text
//!   a home shard answered -----> group, in the order in which they asked --+-> plays, or waits
//!   a stream's window is shown -> group -----------------------------------+-> is answered
//!   a stream began ------------> those who wait for it (`idle.rs`) --------+-> asks
//! ```
//!
//! Thousands may wait for one stream. They begin one after the other, for a share of each turn, and
//! everybody else is heard and sent his frames meanwhile.
//!
//! Whoever takes back his question on the way is left out. A reader is kept until the last of its
//! group has begun.
//!
//! Limits: who waits is one of `connections_max`, once.

use std::collections::VecDeque;

use super::shard::Shard;
use super::turn::Round;
use crate::session::{Refusal, Use};

/// Those whose turn comes. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Starters(VecDeque<Group>);

/// Those who waited for the same thing.
#[derive(Debug)]
struct Group {
    /// Connections, the next one first.
    slots: VecDeque<u32>,
    start: Start,
}

/// What they are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// They play from this reader.
    Play { reader: u32 },
    /// They are answered from this reader; if its log is closed, the home is asked that is known
    /// then, if they `may_ask`.
    View { reader: u32, may_ask: bool },
    /// They asked for this use, and there is no log for it.
    Refuse { refusal: Refusal, usage: Use },
}

impl Start {
    const fn reader(self) -> Option<u32> {
        match self {
            Self::Play { reader } | Self::View { reader, .. } => Some(reader),
            Self::Refuse { .. } => None,
        }
    }
}

impl Starters {
    fn put(&mut self, slots: Vec<u32>, start: Start) {
        self.0.push_back(Group { slots: slots.into(), start });
    }

    /// The next one, or the end of a group.
    fn next(&mut self) -> Option<(Option<u32>, Start)> {
        let group = self.0.front_mut()?;
        let (slot, start) = (group.slots.pop_front(), group.start);
        if slot.is_none() {
            self.0.pop_front();
        }
        Some((slot, start))
    }

    /// A connection does not ask any more.
    pub(super) fn forget(&mut self, slot: u32) {
        for group in &mut self.0 {
            if let Some(at) = group.slots.iter().position(|&waits| waits == slot) {
                group.slots.remove(at);
            }
        }
    }

    /// True if a group begins with this reader.
    fn have(&self, reader: u32) -> bool {
        self.0.iter().any(|group| group.start.reader() == Some(reader))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Shard {
    /// All of `slots` have their turn, in this order.
    pub(super) fn let_start(&mut self, slots: Vec<u32>, start: Start) {
        // A play that ends while the others are being started must not drop the reader.
        if let Some(reader) = start.reader().and_then(|reader| self.readers.get_mut(reader)) {
            reader.starting = true;
        }
        self.starters.put(slots, start);
    }

    /// Lets those who waited begin, for a share of a turn.
    pub(super) fn start_some(&mut self) {
        let mut round = Round::default();
        while let Some((slot, start)) = self.starters.next() {
            match slot {
                Some(slot) => self.start_one(slot, start),
                None => self.started_all(start),
            }
            if round.is_over() {
                return;
            }
        }
        while let Some(slot) = self.idle.next_due() {
            self.subscribe(slot);
            if round.is_over() {
                return;
            }
        }
    }

    /// True if somebody's turn is yet to come.
    pub(super) fn has_starters(&self) -> bool {
        !self.starters.is_empty() || self.idle.has_due()
    }

    fn start_one(&mut self, slot: u32, start: Start) {
        match start {
            Start::Play { reader } => self.start_playing(slot, reader),
            Start::View { reader, may_ask } => self.answer_viewer(slot, reader, may_ask),
            Start::Refuse { refusal, usage: Use::Live } => self.play_refused(slot, refusal),
            Start::Refuse { refusal, usage: Use::Segments } => self.refuse(slot, refusal),
        }
    }

    /// The last one of a group has begun: its reader stays for those who use it.
    fn started_all(&mut self, start: Start) {
        let Some(slot) = start.reader().filter(|&reader| !self.starters.have(reader)) else {
            return;
        };
        let Some(reader) = self.readers.get_mut(slot) else { return };
        reader.starting = false;
        match reader.usage {
            Use::Live => self.drop_unused_reader(slot),
            Use::Segments => self.drop_idle_viewers_of(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rig::{self, Rig};
    use super::*;

    const WAITING: u64 = 200;
    /// Four looks at such a clock are more than a round.
    const LOOK: Duration = Duration::from_micros(250);
    /// What the rounds of a turn have time for by that clock.
    const TURN_MAX: u64 = 64;

    fn started(shard: &Shard) -> u64 {
        shard.counters.plays_started
    }

    #[test]
    fn each_of_a_group_has_its_turn_but_who_takes_back_its_question() {
        let mut starters = Starters::default();
        let refuse = Start::Refuse { refusal: Refusal::NotFound, usage: Use::Live };
        starters.put(vec![7, 8, 9], Start::Play { reader: 1 });
        starters.put(vec![3], refuse);
        starters.forget(8);
        starters.forget(3);
        assert!(starters.have(1) && !starters.have(3));
        let turns: Vec<_> = std::iter::from_fn(|| starters.next()).collect();
        let play = Start::Play { reader: 1 };
        let told = [(Some(7), play), (Some(9), play), (None, play), (None, refuse)];
        assert_eq!(turns, told);
        assert!(starters.is_empty() && !starters.have(1));
    }

    #[test]
    fn those_who_wait_for_a_stream_begin_over_several_turns() {
        let mut config = rig::config(0);
        config.session.play_wait = Duration::from_secs(60);
        let mut rig = Rig::new(&config);
        rig.ask(WAITING as usize, "/demo.flv");
        rig.turn_until(&[0], |rig| rig.counters().players_idle == WAITING);
        rig.begin_stream(0);
        rig::each_look_takes(LOOK);
        let most = rig.most_in_a_turn(WAITING, started);
        assert!((1..=TURN_MAX).contains(&most), "a turn started {most} players");
        assert_eq!((rig.counters().players_idle, rig.counters().players), (0, WAITING));
    }

    #[test]
    fn those_who_wait_for_an_answer_begin_over_several_turns() {
        let mut rig = Rig::new(&rig::config(1));
        rig.begin_stream(1);
        rig.ask(WAITING as usize, "/demo.flv");
        // The home does not answer before all of them have asked.
        rig.turn_until(&[0], |rig| rig.asked() == WAITING);
        rig.turn(1);
        rig::each_look_takes(LOOK);
        let most = rig.most_in_a_turn(WAITING, started);
        assert!((1..=TURN_MAX).contains(&most), "a turn started {most} players");
        assert_eq!(rig.counters().players, WAITING);
    }

    #[test]
    fn those_whose_stream_is_not_there_are_refused_over_several_turns() {
        let mut rig = Rig::new(&rig::config(1));
        rig.ask(WAITING as usize, "/demo.flv");
        rig.turn_until(&[0], |rig| rig.asked() == WAITING);
        rig.turn(1);
        rig::each_look_takes(LOOK);
        let most = rig.most_in_a_turn(WAITING, |shard| shard.counters.plays_refused);
        assert!((1..=TURN_MAX).contains(&most), "a turn refused {most} players");
    }
}
