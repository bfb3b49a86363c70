//! The calls that a listener remembers: who waits for a verdict, and what the others were told.
//!
//! Who waits is remembered for as long as it is judged; whoever judges it says when that is over.
//! Limits: so many that wait as the table is made for, and [`CALLS_MAX`] that were answered. Where
//! there are more, refusals are forgotten first: their callers are refused again. After them go
//! those who were let in longest ago, who have heard it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codecs::srt::{RejectReason, SocketId};

/// Answered calls that are remembered at most.
pub const CALLS_MAX: usize = 4_096;
/// How long an answered call is remembered: a caller repeats itself until it hears the answer.
const ANSWERED: Duration = Duration::from_secs(5);

/// A caller's address and socket.
pub(super) type Call = (SocketAddr, SocketId);

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet; where it is judged, if that was said.
    Waiting(Option<u32>),
    Accepted(SocketId),
    Refused(RejectReason),
}

/// Until when a call is remembered; the count tells calls of one moment apart.
type Deadline = (Instant, u64);

/// The table.
#[derive(Debug)]
pub(super) struct Calls {
    waiting_max: usize,
    waiting: usize,
    answers: HashMap<Call, (Answer, Deadline)>,
    count: u64,
    refused: BTreeMap<Deadline, Call>,
    accepted: BTreeMap<Deadline, Call>,
}

impl Calls {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self {
            waiting_max,
            waiting: 0,
            answers: HashMap::new(),
            count: 0,
            refused: BTreeMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, call: &Call) -> Option<Answer> {
        self.answers.get(call).map(|(answer, _)| *answer)
    }

    /// True if another call may wait.
    pub(super) const fn has_room(&self) -> bool {
        self.waiting < self.waiting_max
    }

    /// Remembers what a caller was told last.
    pub(super) fn remember(&mut self, now: Instant, call: Call, answer: Answer) {
        self.forget(now);
        self.remove(&call);
        self.count += 1;
        let deadline = (now + ANSWERED, self.count);
        if let Answer::Waiting(_) = answer {
            self.waiting += 1;
        } else {
            self.make_room();
        }
        if let Some(deadlines) = self.deadlines(answer) {
            deadlines.insert(deadline, call);
        }
        self.answers.insert(call, (answer, deadline));
    }

    /// Says where a call that waits is judged.
    pub(super) fn judged_at(&mut self, call: &Call, at: Option<u32>) {
        if let Some((Answer::Waiting(judge), _)) = self.answers.get_mut(call) {
            *judge = at;
        }
    }

    /// Nobody judges a call that waits any more.
    pub(super) fn give_up(&mut self, call: &Call) {
        if let Some(Answer::Waiting(_)) = self.get(call) {
            self.remove(call);
        }
    }

    /// Forgets the calls that were answered a while ago.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some(call) = self.first().filter(|((until, _), _)| *until <= now) {
            self.remove(&call.1);
        }
    }

    /// When there is something to forget.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.first().map(|((until, _), _)| until)
    }

    fn make_room(&mut self) {
        while self.refused.len() + self.accepted.len() >= CALLS_MAX {
            let refusal = self.refused.first_key_value();
            let oldest = refusal.or_else(|| self.accepted.first_key_value());
            let Some(call) = oldest.map(|(_, call)| *call) else { return };
            self.remove(&call);
        }
    }

    fn first(&self) -> Option<(Deadline, Call)> {
        let firsts = [self.refused.first_key_value(), self.accepted.first_key_value()];
        firsts.into_iter().flatten().min_by_key(|(at, _)| **at).map(|(at, call)| (*at, *call))
    }

    const fn deadlines(&mut self, answer: Answer) -> Option<&mut BTreeMap<Deadline, Call>> {
        match answer {
            Answer::Waiting(_) => None,
            Answer::Refused(_) => Some(&mut self.refused),
            Answer::Accepted(_) => Some(&mut self.accepted),
        }
    }

    fn remove(&mut self, call: &Call) {
        let Some((answer, deadline)) = self.answers.remove(call) else { return };
        match self.deadlines(answer) {
            Some(deadlines) => drop(deadlines.remove(&deadline)),
            None => self.waiting -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    const REFUSED: Answer = Answer::Refused(RejectReason::NOT_FOUND);

    fn call(host: usize, socket: u32) -> Call {
        let [.., high, low] = host.to_be_bytes();
        (([192, 0, high, low], 4_000).into(), SocketId(socket))
    }

    #[test]
    fn those_who_wait_are_bounded_and_wait_until_they_are_given_up() {
        let now = epoch();
        let mut calls = Calls::new(2);
        for socket in [1, 2] {
            assert!(calls.has_room());
            calls.remember(now, call(1, socket), Answer::Waiting(None));
        }
        assert!(!calls.has_room());
        calls.judged_at(&call(1, 1), Some(7));
        calls.forget(now + 100 * ANSWERED);
        assert_eq!(calls.get(&call(1, 1)), Some(Answer::Waiting(Some(7))));
        assert_eq!(calls.next_timeout(), None);
        calls.give_up(&call(1, 1));
        assert_eq!((calls.get(&call(1, 1)), calls.has_room()), (None, true));
        // Who was answered is not given up, and is judged nowhere.
        calls.remember(now, call(1, 2), Answer::Accepted(SocketId(5)));
        calls.give_up(&call(1, 2));
        calls.judged_at(&call(1, 2), Some(7));
        assert_eq!(calls.get(&call(1, 2)), Some(Answer::Accepted(SocketId(5))));
        assert_eq!(calls.waiting, 0);
    }

    #[test]
    fn refusals_make_room_and_then_those_who_were_let_in_first() {
        let now = epoch();
        let mut calls = Calls::new(1);
        calls.remember(now, call(60_000, 1), Answer::Waiting(None));
        for at in 0..CALLS_MAX {
            let answer = if at == 5 || at == 9 { REFUSED } else { Answer::Accepted(SocketId(7)) };
            calls.remember(now, call(at, 1), answer);
        }
        for (at, gone) in [5, 9, 0, 1].into_iter().enumerate() {
            assert!(calls.get(&call(gone, 1)).is_some());
            calls.remember(now, call(CALLS_MAX + at, 1), Answer::Accepted(SocketId(7)));
            assert_eq!(calls.get(&call(gone, 1)), None);
        }
        assert_eq!(calls.get(&call(60_000, 1)), Some(Answer::Waiting(None)), "it was told nothing");
        assert_eq!(calls.answers.len(), CALLS_MAX + 1);
        assert_eq!(calls.next_timeout(), Some(now + ANSWERED));
        calls.forget(now + ANSWERED);
        assert_eq!(calls.answers.len(), 1);
        assert!(calls.accepted.is_empty() && calls.refused.is_empty());
    }

    #[test]
    fn an_answer_replaces_the_one_before() {
        let now = epoch();
        let mut calls = Calls::new(1);
        for answer in [Answer::Waiting(None), Answer::Accepted(SocketId(3)), REFUSED] {
            calls.remember(now, call(1, 1), answer);
            assert_eq!(calls.get(&call(1, 1)), Some(answer));
        }
        assert_eq!((calls.waiting, calls.accepted.len(), calls.refused.len()), (0, 0, 1));
        assert_eq!(calls.next_timeout(), Some(now + ANSWERED));
    }
}
