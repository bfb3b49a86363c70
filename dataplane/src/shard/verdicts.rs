//! Verdicts: who was allowed to view what, so that the control plane is not asked per segment.
//!
//! A viewer of HLS asks every few seconds, on any connection. What the control plane allowed is
//! remembered for a while, for the same stream, secret and address only; refusals are not, and
//! neither are streams that do not exist. Whoever gets a token for it had to show the same query
//! and page as well, on which the verdict may have rested. Only keyed hashes are kept, no secrets.
//!
//! Limits: as many verdicts as there may be connections, over all shards; the oldest goes, and each
//! is asked for again after its time. All are forgotten when the configuration changes and when
//! anybody is kicked.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::ListenerNumber;
use crate::ids::StreamName;
use crate::session::Credentials;

/// Names one question: 128 bits that nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Permit([u64; 2]);

/// What was allowed. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Verdicts {
    keys: [RandomState; 2],
    allowed: HashMap<Permit, Allowed>,
    /// In the order in which they were given.
    order: VecDeque<(Permit, Instant)>,
    max: usize,
}

#[derive(Debug)]
struct Allowed {
    /// The name that the control plane answered with.
    stream: StreamName,
    until: Instant,
}

impl Verdicts {
    /// None yet, and at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            allowed: HashMap::new(),
            order: VecDeque::new(),
            max: max.max(1),
        }
    }

    /// The name of the question whether `peer`, who came by `listener`, may view `stream` with what
    /// it showed.
    ///
    /// Where nobody is told apart the children of a playlist carry the key alone, so no more than
    /// that names the question.
    pub(super) fn permit(
        &self,
        stream: &StreamName,
        shown: &Credentials,
        told_apart: bool,
        (peer, listener): (IpAddr, ListenerNumber),
    ) -> Permit {
        let Credentials { key, query, url: _, referer } = shown;
        let more = told_apart.then(|| (&*query.0, referer.as_deref()));
        let question = (stream.as_str(), &*key.0, more, peer.to_canonical(), listener);
        Permit([0, 1].map(|n| self.keys[n].hash_one(question)))
    }

    /// The stream that was allowed, while that holds.
    pub(super) fn find(&self, permit: Permit, now: Instant) -> Option<&StreamName> {
        let allowed = self.allowed.get(&permit)?;
        (now < allowed.until).then_some(&allowed.stream)
    }

    /// Remembers for `time` that `stream` was allowed.
    pub(super) fn allow(
        &mut self,
        permit: Permit,
        stream: StreamName,
        now: Instant,
        time: Duration,
    ) {
        while let Some(&(oldest, until)) = self.order.front()
            && (until <= now || self.allowed.len() >= self.max)
        {
            self.order.pop_front();
            if self.allowed.get(&oldest).is_some_and(|allowed| allowed.until == until) {
                self.allowed.remove(&oldest);
            }
        }
        let until = now + time;
        self.allowed.insert(permit, Allowed { stream, until });
        self.order.push_back((permit, until));
    }

    /// Everybody is asked about anew, those too whose question is not answered yet: what they are
    /// remembered by means nothing any more.
    pub(super) fn forget(&mut self) {
        self.keys = [RandomState::new(), RandomState::new()];
        self.allowed = HashMap::new();
        self.order = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Secret;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn shown(key: &str, query: &str, referer: Option<&str>) -> Credentials {
        let referer = referer.map(Into::into);
        Credentials {
            key: Secret(key.into()),
            query: Secret(query.into()),
            referer,
            ..Default::default()
        }
    }

    fn permit(verdicts: &Verdicts, stream: &str, key: &str, peer: &str) -> Permit {
        let from = (peer.parse().unwrap(), ListenerNumber(0));
        verdicts.permit(&name(stream), &shown(key, "", None), false, from)
    }

    #[test]
    fn who_gets_a_token_showed_the_query_and_page_that_were_judged() {
        let verdicts = Verdicts::new(8);
        let of = |shown: &Credentials, told_apart| {
            let from = ("192.0.2.1".parse().unwrap(), ListenerNumber(0));
            verdicts.permit(&name("a"), shown, told_apart, from)
        };
        let signed = shown("k", "sig=1", Some("http://page/"));
        for other in [shown("k", "sig=2", Some("http://page/")), shown("k", "sig=1", None)] {
            assert_ne!(of(&signed, true), of(&other, true));
            assert_eq!(of(&signed, false), of(&other, false));
        }
    }

    const TIME: Duration = Duration::from_secs(30);

    #[test]
    fn a_verdict_is_for_one_stream_secret_and_address() {
        let now = origin();
        let mut verdicts = Verdicts::new(8);
        let asked = permit(&verdicts, "a", "k", "192.0.2.1");
        verdicts.allow(asked, name("b"), now, TIME);
        assert_eq!(verdicts.find(asked, now), Some(&name("b")), "it may be renamed");
        assert_eq!(permit(&verdicts, "a", "k", "::ffff:192.0.2.1"), asked);
        for (stream, key, peer) in
            [("b", "k", "192.0.2.1"), ("a", "l", "192.0.2.1"), ("a", "k", "192.0.2.2")]
        {
            assert_eq!(verdicts.find(permit(&verdicts, stream, key, peer), now), None);
        }
        let other = ("192.0.2.1".parse().unwrap(), ListenerNumber(1));
        let by_other = verdicts.permit(&name("a"), &shown("k", "", None), false, other);
        assert_eq!(verdicts.find(by_other, now), None, "each listener has rules of its own");
        assert_eq!(verdicts.find(asked, now + TIME), None, "its time is over");
        verdicts.forget();
        assert_eq!(verdicts.find(asked, now), None);
    }

    #[test]
    fn the_oldest_goes_and_what_was_renewed_stays() {
        let now = origin();
        let mut verdicts = Verdicts::new(3);
        let of = |n: u32| Permit([n.into(), 0]);
        for n in 0..3 {
            verdicts.allow(of(n), name("a"), now, TIME);
        }
        verdicts.allow(of(0), name("a"), now + TIME / 2, TIME);
        for n in 3..100 {
            verdicts.allow(of(n), name("a"), now + TIME / 2, TIME);
            assert!(verdicts.allowed.len() <= 3 && verdicts.order.len() <= 4, "after {n}");
        }
        let late = now + 4 * TIME;
        verdicts.allow(of(0), name("a"), late, TIME);
        assert_eq!((verdicts.allowed.len(), verdicts.order.len()), (1, 1));
        assert!(verdicts.find(of(0), late + TIME / 2).is_some());
    }
}
