//! Verdicts: who was allowed to view what, so that the control plane is not asked per segment.
//!
//! ```text
//!   allowed --> fresh -- its time is over, or everybody is to be asked about --> stale
//!                 ^                                                               |  |
//!                 +------- yes, asked while the viewer is served -----------------+  |
//!                                                                                    v
//!                  a no, a kick, its stated end, no answer for too long --> forgotten
//! ```
//!
//! A viewer of HLS asks every few seconds, on any connection. What the control plane allowed is
//! remembered for a while, for the same stream, secrets, page and address only; refusals are not,
//! and neither are streams that do not exist. What is stale still lets in who was let in before,
//! while the control plane is asked behind his back: a control plane that is slow, or stands, stops
//! nobody who views. What the control plane allowed until a moment is let in until then only,
//! stale or not, and so is what lets nobody in after it: who comes then is asked about, and so is
//! every request of those who are not told apart. Only keyed hashes are kept, no secrets.
//!
//! Limits: as many verdicts as there may be connections, over all shards; the oldest goes. A stale
//! one is taken for `hls.verdict_stale` at most.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::{HlsConfig, ListenerNumber};
use crate::ids::StreamName;
use crate::session::Credentials;

/// The control plane is asked about one view again after this at the earliest.
const HOLDS_MIN: Duration = Duration::from_secs(1);

/// Names one question by what is shown, and by what is shown and from where: 64 bits each that
/// nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Permit([u64; 2]);

/// What was allowed. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Verdicts {
    keys: [RandomState; 2],
    allowed: HashMap<Permit, Allowed>,
    /// Each once, in the order in which they were given or looked at last; among them some that
    /// are gone, so that a no looks for nothing. Twice `max` at most.
    order: VecDeque<Looked>,
    max: usize,
    /// How many were remembered so far.
    given: u64,
    /// Changes whenever something is withdrawn: what was asked before is not remembered.
    epoch: u32,
}

/// What the control plane allowed a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leave {
    /// The name that the control plane answered with.
    pub stream: StreamName,
    /// The control plane said that it holds for a while only.
    pub timed: bool,
    /// It is over then, whoever can be asked.
    pub until: Option<Instant>,
    /// It lets nobody in after that.
    pub entry: Option<Instant>,
}

/// For how long the control plane allowed a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    /// It is asked again after this; if nothing is said, when something changes.
    pub holds: Option<Duration>,
    /// What was shown is good until then, and is taken no longer, whoever can be asked.
    pub until: Option<Instant>,
    /// What was shown lets in until then. A view that began by it goes on.
    pub entry: Option<Instant>,
}

/// A place in the order of what is remembered.
#[derive(Debug)]
struct Looked {
    permit: Permit,
    number: u64,
    /// Its end at that time.
    until: Instant,
}

#[derive(Debug)]
struct Allowed {
    leave: Leave,
    /// Which of those that were remembered it is: one that is gone may be allowed anew.
    number: u64,
    until: Instant,
    /// An answer is awaited until then.
    asked: Option<Instant>,
}

/// What is remembered of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered<'a> {
    pub leave: &'a Leave,
    /// The control plane is to be asked again.
    pub stale: bool,
}

impl Permit {
    /// A few of its bits, for a place that has no room for more.
    pub(super) const fn print(self) -> u32 {
        self.0[1] as u32
    }

    /// A few bits of what is shown, from wherever.
    pub(super) const fn shown(self) -> u32 {
        self.0[0] as u32
    }

    #[cfg(test)]
    pub(super) const fn of_test(shown: u64, question: u64) -> Self {
        Self([shown, question])
    }
}

impl Verdicts {
    /// None yet, and at most `max`. Questions have the same name on every shard with these `keys`.
    pub(super) fn new(max: usize, keys: [RandomState; 2]) -> Self {
        Self {
            keys,
            allowed: HashMap::new(),
            order: VecDeque::new(),
            max: max.max(1),
            given: 0,
            epoch: 0,
        }
    }

    /// The name of the question whether `peer`, who came by `listener`, may view `stream` with what
    /// it showed.
    pub(super) fn permit(
        &self,
        stream: &StreamName,
        shown: &Credentials,
        (peer, listener): (IpAddr, ListenerNumber),
    ) -> Permit {
        let Credentials { key, login, query, url: _, referer } = shown;
        let shown = (&*key.0, &*login.0, &*query.0, referer.as_deref());
        let shown = (stream.as_str(), shown, listener);
        let question = (shown, peer.to_canonical());
        Permit([self.keys[0].hash_one(shown), self.keys[1].hash_one(question)])
    }

    /// What is remembered, `stale_max` after it ended at most.
    pub(super) fn find(
        &self,
        permit: Permit,
        stale_max: Duration,
        now: Instant,
    ) -> Option<Remembered<'_>> {
        let allowed = self.allowed.get(&permit)?;
        if allowed.leave.ends().is_some_and(|end| end <= now) {
            return None;
        }
        let stale = allowed.until <= now;
        let past = now.saturating_duration_since(allowed.until);
        (!stale || past < stale_max).then_some(Remembered { leave: &allowed.leave, stale })
    }

    /// True if the caller is to ask again: nobody else does until `patience` is over.
    pub(super) fn is_to_ask(&mut self, permit: Permit, patience: Duration, now: Instant) -> bool {
        let Some(allowed) = self.allowed.get_mut(&permit) else { return false };
        let free = allowed.asked.is_none_or(|until| until <= now);
        if free {
            allowed.asked = Some(now + patience);
        }
        free
    }

    /// The number of what was withdrawn so far.
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Remembers for `time` what was allowed, if nothing was withdrawn since the `epoch` in which
    /// it was asked for.
    pub(super) fn allow(
        &mut self,
        permit: Permit,
        leave: Leave,
        epoch: u32,
        (now, time): (Instant, Duration),
    ) {
        if epoch != self.epoch || time.is_zero() {
            return;
        }
        let until = now + time;
        if let Some(allowed) = self.allowed.get_mut(&permit) {
            *allowed = Allowed { leave, number: allowed.number, until, asked: None };
            return;
        }
        self.make_room();
        let number = self.given;
        self.given += 1;
        self.allowed.insert(permit, Allowed { leave, number, until, asked: None });
        self.order.push_back(Looked { permit, number, until });
    }

    /// The oldest goes where a place is needed; what was renewed since it was looked at has its
    /// turn later.
    fn make_room(&mut self) {
        if self.order.len() >= 2 * self.max {
            // Half of them are gone at least, each by a no that looked for nothing.
            self.forget_gone();
        }
        while self.allowed.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            let Looked { permit, number, until: looked } = oldest;
            match self.allowed.get(&permit).filter(|allowed| allowed.number == number) {
                Some(&Allowed { until, .. }) if until > looked => {
                    self.order.push_back(Looked { permit, number, until });
                }
                Some(_) => drop(self.allowed.remove(&permit)),
                None => {}
            }
        }
    }

    /// The order has places of what is remembered only.
    fn forget_gone(&mut self) {
        let Self { allowed, order, .. } = self;
        order.retain(|looked| {
            allowed.get(&looked.permit).is_some_and(|allowed| allowed.number == looked.number)
        });
    }

    /// Everybody is to be asked about again, those too whose question is not answered yet.
    pub(super) fn doubt_all(&mut self, now: Instant) {
        self.epoch = self.epoch.wrapping_add(1);
        for allowed in self.allowed.values_mut() {
            allowed.until = allowed.until.min(now);
            allowed.asked = None;
        }
    }

    /// What was allowed to so many viewers is not any more.
    pub(super) fn withdraw(&mut self, whose: impl Fn(&Leave) -> bool) {
        self.epoch = self.epoch.wrapping_add(1);
        let before = self.allowed.len();
        self.allowed.retain(|_, allowed| !whose(&allowed.leave));
        if self.allowed.len() < before {
            self.forget_gone();
        }
    }

    /// The control plane said no. Its place in the order is left: many may be told no at once.
    pub(super) fn deny(&mut self, permit: Permit) {
        self.allowed.remove(&permit);
    }
}

impl Leave {
    /// The name that was granted, and how long that is good.
    pub(super) const fn of(stream: StreamName, term: Term) -> Self {
        Self { stream, timed: term.holds.is_some(), until: term.until, entry: term.entry }
    }

    /// When nobody is let in by it any more.
    fn ends(&self) -> Option<Instant> {
        self.until.into_iter().chain(self.entry).min()
    }
}

impl Term {
    /// What was said, for no less than it is to hold, and no longer than what was shown is good.
    pub(super) fn bounded(self, hls: &HlsConfig, now: Instant) -> Self {
        let left = self.until.map(|until| until.saturating_duration_since(now));
        let holds = self.holds.map(|holds| holds.max(least_hold(hls)));
        Self { holds: left.into_iter().chain(holds).min(), ..self }
    }

    /// To be asked about again soon.
    pub(super) fn soon(hls: &HlsConfig, until: Option<Instant>, now: Instant) -> Self {
        Self { holds: Some(Duration::ZERO), until, entry: None }.bounded(hls, now)
    }

    /// How long it is remembered, which is `time` at most.
    pub(super) fn remembered(self, time: Duration, now: Instant) -> Duration {
        let ends = self.until.into_iter().chain(self.entry);
        let left = ends.map(|end| end.saturating_duration_since(now));
        left.chain(self.holds).fold(time, Duration::min)
    }
}

/// How long what the control plane says of a viewer holds at least.
fn least_hold(hls: &HlsConfig) -> Duration {
    hls.verdict.max(HOLDS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Secret;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn verdicts_of(max: usize) -> Verdicts {
        Verdicts::new(max, [RandomState::new(), RandomState::new()])
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
        verdicts.permit(&name(stream), &shown(key, "", None), from(peer))
    }

    fn from(peer: &str) -> (IpAddr, ListenerNumber) {
        (peer.parse().unwrap(), ListenerNumber(0))
    }

    fn leave(stream: &str) -> Leave {
        Leave { stream: name(stream), timed: false, until: None, entry: None }
    }

    const TIME: Duration = Duration::from_secs(30);
    const STALE: Duration = Duration::from_secs(300);

    #[test]
    fn a_verdict_is_for_one_stream_secret_page_and_address() {
        let now = origin();
        let mut verdicts = verdicts_of(8);
        let asked = permit(&verdicts, "a", "k", "192.0.2.1");
        verdicts.allow(asked, leave("b"), 0, (now, TIME));
        let found = verdicts.find(asked, STALE, now).unwrap();
        assert_eq!((found.leave.stream.as_str(), found.stale), ("b", false), "it may be renamed");
        assert_eq!(permit(&verdicts, "a", "k", "::ffff:192.0.2.1"), asked);
        for (stream, key, peer) in
            [("b", "k", "192.0.2.1"), ("a", "l", "192.0.2.1"), ("a", "k", "192.0.2.2")]
        {
            assert_eq!(verdicts.find(permit(&verdicts, stream, key, peer), STALE, now), None);
        }
        for other in [shown("k", "sig=2", None), shown("k", "", Some("http://page/"))] {
            let other = verdicts.permit(&name("a"), &other, from("192.0.2.1"));
            assert_eq!(verdicts.find(other, STALE, now), None);
        }
        let other = ("192.0.2.1".parse().unwrap(), ListenerNumber(1));
        let by_other = verdicts.permit(&name("a"), &shown("k", "", None), other);
        assert_eq!(verdicts.find(by_other, STALE, now), None, "each listener has its own rules");
        verdicts.deny(asked);
        assert_eq!(verdicts.find(asked, STALE, now), None);
    }

    #[test]
    fn what_is_stale_is_taken_while_one_asks_and_not_for_ever() {
        let now = origin();
        let mut verdicts = verdicts_of(8);
        let asked = permit(&verdicts, "a", "k", "192.0.2.1");
        verdicts.allow(asked, leave("a"), 0, (now, TIME));
        let stale = |verdicts: &Verdicts, at| verdicts.find(asked, STALE, at).map(|f| f.stale);
        assert_eq!(stale(&verdicts, now), Some(false));
        assert_eq!(stale(&verdicts, now + TIME), Some(true));
        assert!(verdicts.is_to_ask(asked, TIME, now + TIME));
        assert!(!verdicts.is_to_ask(asked, TIME, now + TIME));
        assert!(verdicts.is_to_ask(asked, TIME, now + 2 * TIME), "there was no answer");
        assert_eq!(stale(&verdicts, now + TIME + STALE), None);
        verdicts.allow(asked, leave("a"), 0, (now + 2 * TIME, TIME));
        assert_eq!(stale(&verdicts, now + 2 * TIME), Some(false));
        verdicts.doubt_all(now + 2 * TIME);
        assert_eq!(stale(&verdicts, now + 2 * TIME), Some(true));
        // An answer to a question of before is not remembered.
        verdicts.allow(asked, leave("a"), 0, (now + 2 * TIME, TIME));
        assert_eq!(stale(&verdicts, now + 2 * TIME), Some(true));
        // Nothing is remembered where nothing is to be.
        let other = permit(&verdicts, "a", "l", "192.0.2.1");
        verdicts.allow(other, leave("a"), verdicts.epoch(), (now, Duration::ZERO));
        assert_eq!(verdicts.find(other, STALE, now), None);
    }

    #[test]
    fn a_kick_withdraws_what_it_names_and_no_more() {
        let now = origin();
        let mut verdicts = verdicts_of(8);
        for (stream, peer) in [("a", "192.0.2.1"), ("a", "192.0.2.2"), ("b", "192.0.2.1")] {
            let asked = permit(&verdicts, stream, "k", peer);
            verdicts.allow(asked, leave(stream), 0, (now, TIME));
        }
        let epoch = verdicts.epoch();
        verdicts.withdraw(|left| left.stream == name("a"));
        let knows = |verdicts: &Verdicts, stream, peer| {
            verdicts.find(permit(verdicts, stream, "k", peer), STALE, now).is_some()
        };
        assert!(!knows(&verdicts, "a", "192.0.2.1") && !knows(&verdicts, "a", "192.0.2.2"));
        assert!(knows(&verdicts, "b", "192.0.2.1"));
        let asked = permit(&verdicts, "a", "k", "192.0.2.1");
        verdicts.allow(asked, leave("a"), epoch, (now, TIME));
        assert!(!knows(&verdicts, "a", "192.0.2.1"), "it was asked before the kick");
        assert_eq!((verdicts.allowed.len(), verdicts.order.len()), (1, 1));
    }

    #[test]
    fn the_oldest_goes_and_what_was_renewed_stays() {
        let now = origin();
        let mut verdicts = verdicts_of(3);
        let of = |n: u64| Permit::of_test(n, n);
        let allow = |verdicts: &mut Verdicts, n, at| {
            verdicts.allow(of(n), leave("a"), 0, (at, TIME));
            assert!(verdicts.allowed.len() <= 3);
            assert_eq!(verdicts.order.len(), verdicts.allowed.len(), "after {n}");
        };
        for n in 0..3 {
            allow(&mut verdicts, n, now);
        }
        allow(&mut verdicts, 0, now + TIME / 2);
        allow(&mut verdicts, 3, now + TIME / 2);
        let known = |verdicts: &Verdicts, n| verdicts.find(of(n), STALE, now).is_some();
        assert_eq!([0, 1, 2, 3].map(|n| known(&verdicts, n)), [true, false, true, true]);
        for n in 4..100 {
            allow(&mut verdicts, n, now + TIME);
        }
        assert_eq!([97, 98, 99].map(|n| known(&verdicts, n)), [true; 3]);
    }

    #[test]
    fn what_was_refused_leaves_an_order_that_is_bounded() {
        let now = origin();
        let mut verdicts = verdicts_of(3);
        let of = |n: u64| Permit::of_test(n, n);
        let known = |verdicts: &Verdicts, n| verdicts.find(of(n), STALE, now).is_some();
        verdicts.allow(of(1), leave("a"), 0, (now, TIME));
        for _ in 0..100 {
            verdicts.allow(of(2), leave("a"), 0, (now, TIME));
            assert!(verdicts.order.len() <= 6 && known(&verdicts, 1) && known(&verdicts, 2));
            verdicts.deny(of(2));
            assert!(!known(&verdicts, 2));
        }
        // The places of what is gone make nobody else go, and what came anew is not the oldest.
        for n in [3, 2, 4] {
            verdicts.allow(of(n), leave("a"), 0, (now, TIME));
        }
        assert_eq!([1, 2, 3, 4].map(|n| known(&verdicts, n)), [false, true, true, true]);
    }

    #[test]
    fn nothing_is_taken_past_its_stated_end() {
        let now = origin();
        let mut verdicts = verdicts_of(3);
        let asked = permit(&verdicts, "a", "k", "192.0.2.1");
        let ends = Leave { until: Some(now + 2 * TIME), ..leave("a") };
        verdicts.allow(asked, ends, 0, (now, TIME));
        let stale = |verdicts: &Verdicts, at| verdicts.find(asked, STALE, at).map(|f| f.stale);
        assert_eq!(stale(&verdicts, now + TIME), Some(true));
        assert_eq!(stale(&verdicts, now + 2 * TIME), None);
        let closes = Leave { entry: Some(now + 2 * TIME), ..leave("a") };
        verdicts.allow(asked, closes, 0, (now, TIME));
        assert_eq!([TIME, 2 * TIME].map(|at| stale(&verdicts, now + at)), [Some(true), None]);
        let hls = HlsConfig { verdict: TIME, ..HlsConfig::default() };
        let term = |holds, until: Option<Duration>| {
            let until = until.map(|until| now + until);
            Term { holds, until, entry: None }.bounded(&hls, now)
        };
        for (holds, until, remembered) in [
            (None, None, TIME),
            (Some(TIME / 2), None, TIME),
            (Some(4 * TIME), None, TIME),
            (None, Some(TIME / 3), TIME / 3),
            (Some(TIME), Some(TIME / 3), TIME / 3),
            (Some(TIME), Some(9 * TIME), TIME),
        ] {
            assert_eq!(term(holds, until).remembered(TIME, now), remembered, "{holds:?} {until:?}");
        }
        let closes = Term { entry: Some(now + TIME / 2), ..Term::default() }.bounded(&hls, now);
        assert_eq!((closes.holds, closes.remembered(TIME, now)), (None, TIME / 2));
        assert_eq!(Term::soon(&hls, None, now).holds, Some(TIME));
        assert_eq!(Term::soon(&hls, Some(now + TIME / 3), now).holds, Some(TIME / 3));
    }
}
