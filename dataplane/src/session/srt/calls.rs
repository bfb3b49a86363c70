//! The calls that a listener remembers: who waits for a verdict, and what the others were told.
//!
//! Limits: [`CALLS_MAX`] calls, a few of them from one host, an IPv4 address or an IPv6 /64. Where
//! there are too many, refusals are forgotten first: their callers are refused again.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use codecs::srt::{RejectReason, SocketId};

/// Calls that are remembered at most.
pub const CALLS_MAX: usize = 4_096;
/// How long an answered call is remembered: a caller repeats itself until it hears the answer.
const ANSWERED: Duration = Duration::from_secs(5);
/// How long a call may wait for its answer.
const WAITING: Duration = Duration::from_secs(30);

/// A caller's address and socket.
pub(super) type Call = (SocketAddr, SocketId);

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Waiting,
    Accepted(SocketId),
    Refused(RejectReason),
}

/// Until when a call is remembered; the count tells calls of one moment apart.
type Deadline = (Instant, u64);

/// The table.
#[derive(Debug)]
pub(super) struct Calls {
    per_host_max: usize,
    answers: HashMap<Call, (Answer, Deadline)>,
    hosts: HashMap<IpAddr, usize>,
    count: u64,
    refused: BTreeMap<Deadline, Call>,
    others: BTreeMap<Deadline, Call>,
}

impl Calls {
    pub(super) fn new(per_host_max: usize) -> Self {
        Self {
            per_host_max,
            answers: HashMap::new(),
            hosts: HashMap::new(),
            count: 0,
            refused: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, call: &Call) -> Option<Answer> {
        self.answers.get(call).map(|(answer, _)| *answer)
    }

    /// True if another call of that peer may be remembered; makes room for it if need be.
    pub(super) fn has_room(&mut self, now: Instant, peer: SocketAddr) -> bool {
        self.forget(now);
        if self.hosts.get(&host(peer)).is_some_and(|count| *count >= self.per_host_max) {
            return false;
        }
        if self.answers.len() >= CALLS_MAX {
            let oldest = self.refused.first_key_value().map(|(_, call)| *call);
            oldest.into_iter().for_each(|call| self.remove(&call));
        }
        self.answers.len() < CALLS_MAX
    }

    /// Remembers what a caller was told last.
    pub(super) fn remember(&mut self, now: Instant, call: Call, answer: Answer) {
        self.remove(&call);
        self.count += 1;
        let wait = if answer == Answer::Waiting { WAITING } else { ANSWERED };
        let deadline = (now + wait, self.count);
        self.deadlines(answer).insert(deadline, call);
        *self.hosts.entry(host(call.0)).or_default() += 1;
        self.answers.insert(call, (answer, deadline));
    }

    /// Forgets the calls that were answered a while ago, or never.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some(call) = self.first().filter(|((until, _), _)| *until <= now) {
            self.remove(&call.1);
        }
    }

    /// When there is something to forget.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.first().map(|((until, _), _)| until)
    }

    fn first(&self) -> Option<(Deadline, Call)> {
        let firsts = [self.refused.first_key_value(), self.others.first_key_value()];
        firsts.into_iter().flatten().min_by_key(|(at, _)| **at).map(|(at, call)| (*at, *call))
    }

    const fn deadlines(&mut self, answer: Answer) -> &mut BTreeMap<Deadline, Call> {
        match answer {
            Answer::Refused(_) => &mut self.refused,
            Answer::Waiting | Answer::Accepted(_) => &mut self.others,
        }
    }

    fn remove(&mut self, call: &Call) {
        let Some((answer, deadline)) = self.answers.remove(call) else { return };
        self.deadlines(answer).remove(&deadline);
        let host = host(call.0);
        if let Some(count) = self.hosts.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}

/// Whose address it is: all of an IPv6 /64 belong to one.
fn host(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clock::epoch;

    fn call(host: usize, socket: u32) -> Call {
        let [.., high, low] = host.to_be_bytes();
        (([192, 0, high, low], 4_000).into(), SocketId(socket))
    }

    #[test]
    fn one_host_has_its_share_and_no_more() {
        let now = epoch();
        let mut calls = Calls::new(3);
        let peers = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for (at, (one, other, is_same)) in [
            ("192.0.2.1:4000", "192.0.2.1:4001", true),
            ("192.0.2.1:4000", "[::ffff:192.0.2.1]:9", true),
            ("192.0.2.1:4000", "192.0.2.2:4000", false),
            ("[2001:db8:0:1::1]:4", "[2001:db8:0:1:ffff::2]:5", true),
            ("[2001:db8:0:1::1]:4", "[2001:db8:0:2::1]:4", false),
        ]
        .into_iter()
        .enumerate()
        {
            let now = now + Duration::from_secs(100) * u32::try_from(at).unwrap();
            for socket in 1..=3 {
                assert!(calls.has_room(now, peers(one)), "{one}");
                calls.remember(now, (peers(one), SocketId(socket)), Answer::Waiting);
            }
            assert!(!calls.has_room(now, peers(one)), "{one}");
            assert_eq!(calls.has_room(now, peers(other)), !is_same, "{one} {other}");
        }
    }

    #[test]
    fn refusals_make_room_and_those_who_wait_do_not() {
        let now = epoch();
        let mut calls = Calls::new(1);
        let refused = Answer::Refused(RejectReason::NOT_FOUND);
        for at in 0..CALLS_MAX {
            assert!(calls.has_room(now, call(at, 1).0));
            let answer = if at == 5 || at == 9 { refused } else { Answer::Waiting };
            calls.remember(now, call(at, 1), answer);
        }
        for at in [5, 9] {
            assert_eq!(calls.get(&call(at, 1)), Some(refused));
            let fresh = call(CALLS_MAX + at, 1);
            assert!(calls.has_room(now, fresh.0));
            assert_eq!(calls.get(&call(at, 1)), None, "it is the oldest refusal");
            calls.remember(now, fresh, Answer::Accepted(SocketId(7)));
        }
        assert!(!calls.has_room(now, call(CALLS_MAX + 100, 1).0));
        assert_eq!(calls.answers.len(), CALLS_MAX);
        assert_eq!(calls.next_timeout(), Some(now + ANSWERED));
        calls.forget(now + ANSWERED);
        assert_eq!(calls.answers.len(), CALLS_MAX - 2);
        assert_eq!(calls.next_timeout(), Some(now + WAITING));
        calls.forget(now + WAITING);
        assert!(calls.answers.is_empty() && calls.hosts.is_empty() && calls.others.is_empty());
        assert_eq!(calls.next_timeout(), None);
    }

    #[test]
    fn an_answer_replaces_the_one_before() {
        let now = epoch();
        let mut calls = Calls::new(1);
        calls.remember(now, call(1, 1), Answer::Waiting);
        calls.remember(now, call(1, 1), Answer::Refused(RejectReason::NOT_FOUND));
        assert_eq!((calls.refused.len(), calls.others.len()), (1, 0));
        assert_eq!(calls.hosts.values().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(calls.next_timeout(), Some(now + ANSWERED));
    }
}
