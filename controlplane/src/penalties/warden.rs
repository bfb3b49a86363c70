//! Warden: what the control plane knows of those who guess and of those who come too often.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dataplane::config::AddrRange;
use dataplane::control::{Turn, Turned};
use dataplane::rates::{Penalties, Rate, address_of};

use super::book::{Begun, Book};
use super::keeping::Snapshot;
use super::rules::Access;
use super::shares::{BUCKETS, Shares};
use super::sums::{Sum, Sums};
use crate::config::listener_name;
use crate::counts::Counts;
use crate::security::{Happened, Record, SecurityLog};

/// What is around an address calls the API as often as so many addresses.
const PREFIX_SHARES: u64 = 4;

/// Somebody may not do what he wants.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Who.
    pub peer: IpAddr,
    /// Where he came.
    pub listener: &'static str,
    /// How he speaks.
    pub proto: &'static str,
    /// What he named, unless that is a secret.
    pub stream: Option<&'a str>,
    /// Why.
    pub reason: &'static str,
    /// It was a guess: what he showed for it is no good, and never was.
    pub guess: Option<u32>,
}

/// A penalty in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Who is refused.
    pub whose: AddrRange,
    /// Since when.
    pub began: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// Penalties, this one included, that are not forgotten.
    pub strikes: u32,
    /// Guesses.
    pub guesses: u64,
    /// Connections and questions refused since it began.
    pub refused: u64,
    /// What the last guess was.
    pub reason: Cow<'static, str>,
}

/// The warden; clones are one.
///
/// Lives on: the control thread; the lock is never waited for.
#[derive(Clone, Debug, Default)]
pub struct Warden(Arc<Mutex<Desk>>);

#[derive(Debug)]
struct Desk {
    access: Access,
    book: Book,
    table: Arc<Penalties>,
    hasher: RandomState,
    calls: Shares,
    connects: Shares,
    sums: Sums,
    log: SecurityLog,
    /// Penalties began or ended since they were kept.
    changed: bool,
    begun: [u64; 2],
    refusals: u64,
    api_failures: u64,
    calls_limited: u64,
    callers_refused: u64,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            access: Access::default(),
            book: Book::default(),
            table: Arc::default(),
            hasher: RandomState::new(),
            calls: Shares::default(),
            connects: Shares::default(),
            sums: Sums::default(),
            log: SecurityLog::default(),
            changed: false,
            begun: [0; 2],
            refusals: 0,
            api_failures: 0,
            calls_limited: 0,
            callers_refused: 0,
        }
    }
}

impl Warden {
    /// Bytes of the buckets of those who connect to the API and call it.
    pub const BUCKET_BYTES: u64 = (4 * BUCKETS * size_of::<u64>()) as u64;

    /// Whoever is refused is written to `table`, where the shards see it.
    #[must_use]
    pub fn new(table: Arc<Penalties>) -> Self {
        Self(Arc::new(Mutex::new(Desk { table, ..Desk::default() })))
    }

    /// Judges by `access` from now on. Penalties stay, unless there are to be none.
    pub fn set_access(&self, access: Access) {
        let mut desk = self.desk();
        if !access.penalties.enabled {
            let all: Vec<_> = desk.book.penalties().map(|(whose, ..)| *whose).collect();
            for whose in all {
                desk.table.end(&whose);
                desk.tell_end(whose, "disabled", Instant::now());
            }
            desk.book = Book::default();
            desk.changed = true;
        }
        desk.access = access;
    }

    /// Writes the security log there from now on. Nobody waits for its disk.
    pub fn log_to(&self, path: Option<&Path>, bytes_max: u64) {
        self.desk().log.write_to(path, bytes_max);
    }

    /// Whether lines of the security log are lost because its disk does not answer; `None` if it is
    /// as it was at the last question.
    pub fn log_hangs(&self) -> Option<bool> {
        self.desk().log.hangs()
    }

    /// What was shown, so that it is known again and tells nobody anything.
    pub fn shown(&self, what: impl Hash) -> u32 {
        self.desk().hasher.hash_one(what) as u32
    }

    /// Somebody was refused by a verdict.
    pub fn refused(&self, refused: &Refused<'_>, now: Instant) {
        let mut desk = self.desk();
        desk.refusals += 1;
        let record = Record {
            listener: Some(refused.listener),
            proto: Some(refused.proto),
            stream: refused.stream,
            reason: Some(refused.reason),
            ..Record::once(Happened::AuthRefused, refused.peer)
        };
        desk.log.write(&record, now);
        if let Some(shown) = refused.guess {
            desk.guessed(refused.peer, (shown, refused.reason), refused.listener, now);
        }
    }

    /// A caller showed the API something wrong, which is of that kind.
    pub fn api_failed(
        &self,
        peer: IpAddr,
        (shown, kind): (u32, &'static str),
        listener: &'static str,
        now: Instant,
    ) {
        let mut desk = self.desk();
        desk.api_failures += 1;
        let record = Record {
            listener: Some(listener),
            proto: Some("http"),
            reason: Some(kind),
            ..Record::once(Happened::ApiAuthFailed, peer)
        };
        desk.log.write(&record, now);
        desk.guessed(peer, (shown, kind), listener, now);
    }

    /// Whether `peer` may call the API now; what is around it may not if it shows something.
    ///
    /// # Errors
    /// Not now; after that time it may.
    pub fn call(
        &self,
        peer: IpAddr,
        (listener, may_guess): (&'static str, bool),
        now: Instant,
    ) -> Result<(), Duration> {
        let mut desk = self.desk();
        if desk.is_free(peer) {
            return Ok(());
        }
        if let Some(left) = desk.left(peer, may_guess, now) {
            desk.turn_away(address_of(peer), listener, "penalty", now);
            return Err(left);
        }
        let rate = desk.access.calls;
        let around = Rate {
            per_second: rate.per_second.saturating_mul(PREFIX_SHARES),
            burst: rate.burst.saturating_mul(PREFIX_SHARES),
        };
        let taken = desk.calls.take(peer, [rate, around], now);
        taken.inspect_err(|_| desk.limit(peer, (listener, "api_calls"), now))
    }

    /// Whether a connection to the API from `peer` is taken at all. Whoever speaks for others is
    /// judged when he says for whom.
    #[must_use]
    pub fn admits(&self, peer: IpAddr, listener: &'static str, now: Instant) -> bool {
        let mut desk = self.desk();
        if desk.is_free(peer) {
            return true;
        }
        if desk.left(peer, false, now).is_some() {
            desk.turn_away(address_of(peer), listener, "penalty", now);
            return false;
        }
        let rates = [desk.access.connects, desk.access.prefix_connects];
        let taken = desk.connects.take(peer, rates, now);
        taken.inspect_err(|_| desk.limit(peer, (listener, "api_connects"), now)).is_ok()
    }

    /// True if `peer`, who would publish, may ask nothing for now.
    #[must_use]
    pub fn shuts_out(&self, peer: IpAddr, listener: &'static str, now: Instant) -> bool {
        let mut desk = self.desk();
        let is_shut_out = !desk.is_free(peer) && desk.left(peer, true, now).is_some();
        if is_shut_out {
            let whose = address_of(peer);
            desk.book.refused(&whose, 1);
            desk.sum(Happened::RateLimited, whose, (Some(listener), "penalty"), 1, now);
        }
        is_shut_out
    }

    /// Whose `peer` is, unless it is bound by nothing.
    #[must_use]
    pub fn bound(&self, peer: IpAddr) -> Option<AddrRange> {
        (!self.desk().is_free(peer)).then(|| address_of(peer))
    }

    /// True if `peer` is believed about its clients.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.desk().access.is_proxy(peer)
    }

    /// A shard turned some away.
    pub fn turned_away(&self, turned: &[Turned], now: Instant) {
        let mut desk = self.desk();
        for &Turned { whose, listener, why, count } in turned {
            let event = match why {
                Turn::Malformed => Happened::Malformed,
                Turn::Penalty | Turn::Rate | Turn::PrefixRate => Happened::RateLimited,
            };
            if let (Turn::Penalty, Some(whose)) = (why, whose) {
                desk.book.refused(&whose, count);
            }
            let listener = whose.map(|_| listener_name(listener));
            let sum = Sum { event, whose, listener, reason: why.name() };
            desk.sums.add(sum, count, now);
        }
    }

    /// The penalties in force, those that end first in front.
    #[must_use]
    pub fn penalties(&self, now: Instant) -> Vec<Penalty> {
        let (desk, wall) = (self.desk(), SystemTime::now());
        let penalty = |(whose, row, until): (&AddrRange, &super::book::Row, Instant)| Penalty {
            whose: *whose,
            began: wall - now.saturating_duration_since(row.began),
            until: wall + until.saturating_duration_since(now),
            strikes: row.strikes,
            guesses: row.guesses,
            refused: row.refused,
            reason: row.reason.clone(),
        };
        desk.book.penalties().map(penalty).collect()
    }

    /// Lifts a penalty, and forgets what led to it; false if there is none.
    #[must_use]
    pub fn lift(&self, whose: &AddrRange, now: Instant) -> bool {
        let mut desk = self.desk();
        let lifted = desk.book.lift(whose);
        if lifted {
            desk.table.end(whose);
            desk.tell_end(*whose, "lifted", now);
            desk.changed = true;
        }
        lifted
    }

    /// What is to be kept, if it is not what was kept last.
    pub(super) fn changed(&self, now: Instant) -> Option<Snapshot> {
        let mut desk = self.desk();
        let changed = std::mem::take(&mut desk.changed);
        changed.then(|| Snapshot::of(&desk.book, now))
    }

    /// What was to be kept is not.
    pub(super) fn change(&self) {
        self.desk().changed = true;
    }

    /// Goes on with what was kept, as far as it is not forgotten; how many penalties are in force.
    pub(super) fn restore(&self, kept: Snapshot, now: Instant) -> usize {
        let mut desk = self.desk();
        if !desk.access.penalties.enabled {
            desk.changed = true;
            return 0;
        }
        let before = desk.book.len();
        for (kept, is_over) in kept.rows() {
            let restored = kept.restored(is_over, &desk.access, now);
            let Some((whose, row, left)) = restored else { continue };
            let refuses = row.refuses();
            if desk.book.restore(whose, row, now + left) && refuses {
                desk.table.begin(&whose, left, now);
            }
        }
        desk.book.len() - before
    }

    /// Does what time alone makes due.
    pub fn tick(&self, now: Instant) {
        let mut desk = self.desk();
        let rules = desk.access.penalties;
        for whose in desk.book.tick(&rules, now) {
            desk.tell_end(whose, "time", now);
            desk.changed = true;
        }
        for (Sum { event, whose, listener, reason }, count) in desk.sums.take(now) {
            let (proto, stream, until) = (None, None, None);
            let reason = Some(reason);
            let record = Record { event, whose, listener, proto, stream, reason, count, until };
            desk.log.write(&record, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let desk = self.desk();
        [desk.book.due(), desk.sums.due()].into_iter().flatten().min()
    }

    /// What it counts.
    pub fn count(&self, into: &mut Counts) {
        let desk = self.desk();
        into.gauge("penalties", "Addresses and prefixes that are refused.", desk.book.len() as f64);
        let [addresses, prefixes] = desk.begun;
        into.counter_by(
            "penalties_begun_total",
            "Penalties that began, of single addresses and of prefixes.",
            "of",
            [("address", addresses), ("prefix", prefixes)],
        );
        let help = "Refused verdicts, and calls of the API without a valid token.";
        let refusals = [("media", desk.refusals), ("api", desk.api_failures)];
        into.counter_by("credentials_refused_total", help, "by", refusals);
        let help = "Calls and connections of the API refused: they came too often, or during a \
                    penalty.";
        let refused = [("rate", desk.calls_limited), ("penalty", desk.callers_refused)];
        into.counter_by("api_calls_refused_total", help, "reason", refused);
        let [written, lost] = desk.log.counts();
        let help = "Lines of the security log, and those left out: too many, or the disk failed.";
        into.counter_by(
            "security_lines_total",
            help,
            "as",
            [("written", written), ("left_out", lost)],
        );
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing that could panic is done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// True if `peer` is bound by nothing: it speaks for others, or nobody knows who it is.
    fn is_free(&self, peer: IpAddr) -> bool {
        self.access.is_exempt(peer) || self.access.is_proxy(peer) || peer.is_unspecified()
    }

    /// How much longer `peer` is refused; if it `may_guess`, for what is around it, too.
    fn left(&self, peer: IpAddr, may_guess: bool, now: Instant) -> Option<Duration> {
        match may_guess {
            true => self.table.left(peer, now),
            false => self.table.left_of(&address_of(peer), now),
        }
    }

    /// `peer` came too often.
    fn limit(
        &mut self,
        peer: IpAddr,
        (listener, reason): (&'static str, &'static str),
        now: Instant,
    ) {
        self.calls_limited += 1;
        self.sum(Happened::RateLimited, address_of(peer), (Some(listener), reason), 1, now);
    }

    fn guessed(
        &mut self,
        peer: IpAddr,
        guess: (u32, &'static str),
        listener: &'static str,
        now: Instant,
    ) {
        if !self.access.penalties.enabled || self.is_free(peer) {
            return;
        }
        let rules = self.access.penalties;
        let begun = self.book.guessed(peer, guess, &rules, now);
        self.changed |= !begun.is_empty();
        for whose in self.book.crowded_out() {
            self.table.end(&whose);
            self.tell_end(whose, "room", now);
            self.changed = true;
        }
        for Begun { whose, lasts, guesses } in begun {
            self.table.begin(&whose, lasts, now);
            self.begun[usize::from(whose != address_of(peer))] += 1;
            tracing::warn!(
                whose = %whose,
                reason = guess.1,
                seconds = lasts.as_secs(),
                "a penalty begins: too many guesses"
            );
            let record = Record {
                event: Happened::PenaltyBegun,
                whose: Some(whose),
                listener: Some(listener),
                proto: None,
                stream: None,
                reason: Some(guess.1),
                count: guesses,
                until: SystemTime::now().checked_add(lasts),
            };
            self.log.write(&record, now);
        }
    }

    fn turn_away(
        &mut self,
        whose: AddrRange,
        listener: &'static str,
        reason: &'static str,
        now: Instant,
    ) {
        self.callers_refused += 1;
        self.book.refused(&whose, 1);
        self.sum(Happened::RateLimited, whose, (Some(listener), reason), 1, now);
    }

    fn sum(
        &mut self,
        event: Happened,
        whose: AddrRange,
        (listener, reason): (Option<&'static str>, &'static str),
        count: u64,
        now: Instant,
    ) {
        self.sums.add(Sum { event, whose: Some(whose), listener, reason }, count, now);
    }

    fn tell_end(&mut self, whose: AddrRange, reason: &'static str, now: Instant) {
        let record = Record {
            event: Happened::PenaltyEnded,
            whose: Some(whose),
            listener: None,
            proto: None,
            stream: None,
            reason: Some(reason),
            count: 1,
            until: None,
        };
        self.log.write(&record, now);
    }
}

#[cfg(test)]
mod tests {
    use dataplane::config::ListenerNumber;
    use dataplane::rates::prefix_of;

    use super::*;

    fn refused(peer: &str, guess: Option<u32>) -> Refused<'static> {
        let peer = peer.parse().unwrap();
        let (listener, proto) = ("rtmp", "rtmp");
        let stream = Some("news");
        Refused { peer, listener, proto, stream, reason: "forbidden", guess }
    }

    fn strict() -> Access {
        let mut access = Access::default();
        access.penalties.guesses_max = 3;
        access.calls = Rate { per_second: 1, burst: 2 };
        access.proxies = vec![AddrRange { addr: [10, 0, 0, 1].into(), bits: 32 }];
        access
    }

    #[test]
    fn who_guesses_is_in_the_table_of_the_shards_until_the_end() {
        let (table, now) = (Arc::<Penalties>::default(), Instant::now());
        let warden = Warden::new(Arc::clone(&table));
        warden.set_access(strict());
        let of = |peer: &str| peer.parse::<IpAddr>().unwrap();
        for guess in 0..9 {
            // Not those who may do anything, not those who speak for others, not refusals alone.
            warden.refused(&refused("127.0.0.1", Some(guess)), now);
            warden.refused(&refused("10.0.0.1", Some(guess)), now);
            warden.refused(&refused("192.0.2.9", None), now);
        }
        assert!(warden.penalties(now).is_empty());
        for guess in 0..2 {
            warden.refused(&refused("192.0.2.1", Some(guess)), now);
        }
        let token = (warden.shown("a token"), "api_token");
        warden.api_failed(of("192.0.2.1"), token, "control", now);
        assert_eq!(table.left(of("192.0.2.1"), now), Some(Duration::from_secs(60)));
        assert!(!warden.admits(of("192.0.2.1"), "control", now));
        assert!(warden.admits(of("192.0.2.2"), "control", now));
        let turned = Turned {
            whose: Some(address_of(of("192.0.2.1"))),
            listener: ListenerNumber(1),
            why: Turn::Penalty,
            count: 7,
        };
        warden.turned_away(&[turned], now);
        let listed = warden.penalties(now);
        assert_eq!(listed.len(), 1);
        let Penalty { strikes, guesses, refused, ref reason, .. } = listed[0];
        assert_eq!((strikes, guesses, refused, &**reason), (1, 3, 8, "api_token"));
        // Its time is over.
        let later = now + Duration::from_secs(61);
        warden.tick(later);
        assert!(warden.penalties(later).is_empty() && table.left(of("192.0.2.1"), later).is_none());
        // One that is lifted is over at once, and what led to it is forgotten.
        for guess in 10..13 {
            warden.refused(&super::tests::refused("192.0.2.1", Some(guess)), later);
        }
        let whose = address_of(of("192.0.2.1"));
        assert_eq!(table.left(of("192.0.2.1"), later), Some(Duration::from_secs(120)));
        assert!(warden.lift(&whose, later) && !warden.lift(&whose, later));
        assert_eq!(table.left(of("192.0.2.1"), later), None);
        // Without penalties there are none.
        for guess in 20..23 {
            warden.refused(&super::tests::refused("192.0.2.1", Some(guess)), later);
        }
        assert_eq!(warden.penalties(later).len(), 1);
        let mut access = strict();
        access.penalties.enabled = false;
        warden.set_access(access);
        assert!(warden.penalties(later).is_empty() && table.left(of("192.0.2.1"), later).is_none());
    }

    #[test]
    fn a_penalty_of_a_prefix_is_for_who_shows_something() {
        let (table, now) = (Arc::<Penalties>::default(), Instant::now());
        let warden = Warden::new(Arc::clone(&table));
        let of: IpAddr = "192.0.2.1".parse().unwrap();
        table.begin(&prefix_of(of), Duration::from_secs(9), now);
        assert!(warden.admits(of, "control", now));
        assert_eq!(warden.call(of, ("control", false), now), Ok(()));
        assert_eq!(warden.call(of, ("control", true), now), Err(Duration::from_secs(9)));
        assert!(warden.shuts_out(of, "attached", now));
        table.begin(&address_of(of), Duration::from_secs(5), now);
        assert!(!warden.admits(of, "control", now));
        assert_eq!(warden.call(of, ("control", false), now), Err(Duration::from_secs(5)));
        assert!(!warden.shuts_out([0, 0, 0, 0].into(), "attached", now));
    }

    #[test]
    fn connections_to_the_api_come_at_their_rate() {
        let (warden, now) = (Warden::default(), Instant::now());
        let mut access = strict();
        access.connects = Rate { per_second: 1, burst: 2 };
        access.prefix_connects = Rate { per_second: 1, burst: 5 };
        warden.set_access(access);
        let admits = |peer: &str, at| warden.admits(peer.parse().unwrap(), "control", at);
        let let_in = |peer: &str| (0..9).filter(|_| admits(peer, now)).count();
        // Not who speaks for others or is exempt; whatever is around an address has its share.
        let found = ["127.0.0.1", "10.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(let_in);
        assert_eq!(found, [9, 9, 2, 2, 1]);
        assert!(!admits("192.0.2.1", now));
        assert!(admits("192.0.2.1", now + Duration::from_secs(1)));
        assert!(admits("198.51.100.1", now));
        // Calls are counted by themselves.
        assert_eq!(warden.call([192, 0, 2, 3].into(), ("control", true), now), Ok(()));
    }

    #[test]
    fn calls_are_let_through_at_their_rate() {
        let (warden, now) = (Warden::default(), Instant::now());
        warden.set_access(strict());
        let of = |peer: &str| peer.parse::<IpAddr>().unwrap();
        let call = |peer: &str, at: Instant| warden.call(of(peer), ("control", true), at);
        for _ in 0..50 {
            assert_eq!(call("127.0.0.1", now), Ok(()));
        }
        assert_eq!([call("192.0.2.1", now), call("192.0.2.1", now)], [Ok(()), Ok(())]);
        assert_eq!(call("192.0.2.1", now), Err(Duration::from_secs(1)));
        // What is around it has four times as much.
        let spread = (2..200).filter(|last| call(&format!("192.0.2.{last}"), now).is_ok()).count();
        assert_eq!(spread, 8 - 2);
        assert_eq!(call("192.0.2.1", now + Duration::from_secs(1)), Ok(()));
        assert_eq!(call("198.51.100.1", now), Ok(()));
    }
}
