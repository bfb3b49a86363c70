//! Penalties: ranges that are refused until a moment, as every shard sees them.
//!
//! Shape: sets of [`WAYS`] entries, found by a keyed hash of the range, of which the rest is the
//! entry's tag; 64 bits with a secret key, so that nobody is taken for another. The control plane
//! alone writes, one change at a time; it holds the book of whose penalty is why.
//!
//! ```text
//!   write:  until = 0 -> tag -> until        read:  tag? -> until -> tag still?
//! ```
//!
//! A set that is full loses the penalty that ends first: with [`PENALTIES_MAX`] of them in
//! [`SETS`] sets that happens to about one in ten thousand.
//!
//! Lives on: every shard. Crosses by: atomics.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::block::{address_of, prefix_of};
use super::origin::Origin;
use crate::config::AddrRange;

/// Penalties that the table is made for.
pub const PENALTIES_MAX: usize = 4_096;
const SETS: usize = 2_048;
const WAYS: usize = 8;

#[derive(Debug, Default)]
struct Entry {
    tag: AtomicU64,
    /// Nanoseconds of the origin; 0 if it is nobody's.
    until: AtomicU64,
}

/// The table. See the module.
#[derive(Debug)]
pub struct Penalties {
    origin: Origin,
    hasher: RandomState,
    entries: Box<[Entry]>,
}

impl Default for Penalties {
    fn default() -> Self {
        let entries = (0..SETS * WAYS).map(|_| Entry::default()).collect();
        Self { origin: Origin::default(), hasher: RandomState::new(), entries }
    }
}

impl Penalties {
    /// Bytes of the table.
    pub const BYTES: usize = SETS * WAYS * size_of::<Entry>();

    /// How much longer `peer` is refused, for its address or what is around it.
    #[must_use]
    pub fn left(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        self.left_of(&address_of(peer), now).max(self.left_of(&prefix_of(peer), now))
    }

    /// How much longer that range is.
    #[must_use]
    pub fn left_of(&self, whose: &AddrRange, now: Instant) -> Option<Duration> {
        let (now, until) = (self.origin.nanos(now), self.until(whose));
        (until > now).then(|| Duration::from_nanos(until - now))
    }

    /// Refuses `whose` for so long from now on. Called by one thread at a time.
    pub fn begin(&self, whose: &AddrRange, lasts: Duration, now: Instant) {
        let until = self.origin.nanos_after(now, lasts);
        let (set, tag) = self.place(whose);
        let load = |entry: &&Entry| entry.until.load(Ordering::Relaxed);
        let own = set.iter().find(|entry| entry.tag.load(Ordering::Relaxed) == tag);
        if let Some(own) = own {
            own.until.store(until, Ordering::Release);
            return;
        }
        let entry = set.iter().min_by_key(load).expect("a set has entries");
        entry.until.store(0, Ordering::Release);
        entry.tag.store(tag, Ordering::Release);
        entry.until.store(until, Ordering::Release);
    }

    /// Refuses `whose` no longer. Called by one thread at a time.
    pub fn end(&self, whose: &AddrRange) {
        let (set, tag) = self.place(whose);
        let own = set.iter().find(|entry| entry.tag.load(Ordering::Relaxed) == tag);
        if let Some(entry) = own {
            entry.until.store(0, Ordering::Release);
        }
    }

    fn until(&self, whose: &AddrRange) -> u64 {
        let (set, tag) = self.place(whose);
        let is_own = |entry: &Entry| entry.tag.load(Ordering::Acquire) == tag;
        let own = set.iter().find(|entry| is_own(entry));
        let until = own.map(|entry| (entry, entry.until.load(Ordering::Acquire)));
        // The entry may have become another's between the looks.
        until.filter(|(entry, _)| is_own(entry)).map_or(0, |(_, until)| until)
    }

    fn place(&self, whose: &AddrRange) -> (&[Entry], u64) {
        let tag = self.hasher.hash_one(whose);
        let set = (tag >> 32) as usize % SETS;
        (&self.entries[set * WAYS..][..WAYS], tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn some_moment() -> Instant {
        Instant::now()
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_penalty_holds_for_its_range_and_its_time() {
        let (penalties, now) = (Penalties::default(), some_moment());
        let second = Duration::from_secs(1);
        assert_eq!(penalties.left(peer("192.0.2.1"), now), None);
        penalties.begin(&address_of(peer("192.0.2.1")), 10 * second, now);
        assert_eq!(penalties.left(peer("::ffff:192.0.2.1"), now + second), Some(9 * second));
        assert_eq!(penalties.left(peer("192.0.2.2"), now), None);
        assert_eq!(penalties.left(peer("192.0.2.1"), now + 10 * second), None);
        // The longer one of the two counts.
        penalties.begin(&prefix_of(peer("192.0.2.1")), 20 * second, now);
        for (from, left) in [("192.0.2.1", 20), ("192.0.2.9", 20), ("192.0.3.1", 0)] {
            let left = Some(left * second).filter(|left| !left.is_zero());
            assert_eq!(penalties.left(peer(from), now), left, "{from}");
        }
        penalties.end(&prefix_of(peer("192.0.2.1")));
        assert_eq!(penalties.left(peer("192.0.2.9"), now), None);
        assert_eq!(penalties.left(peer("192.0.2.1"), now), Some(10 * second));
        // One that begins anew replaces itself.
        penalties.begin(&address_of(peer("192.0.2.1")), 30 * second, now);
        assert_eq!(penalties.left(peer("192.0.2.1"), now), Some(30 * second));
        penalties.end(&address_of(peer("192.0.2.1")));
        assert_eq!(penalties.left(peer("192.0.2.1"), now), None);
        let six = peer("2001:db8::1");
        penalties.begin(&address_of(six), second, now);
        assert!(penalties.left(peer("2001:db8::2"), now).is_some());
        assert!(penalties.left(peer("2001:db8:0:1::2"), now).is_none());
    }

    #[test]
    fn the_table_holds_what_it_was_made_for() {
        let (penalties, now) = (Penalties::default(), some_moment());
        let of = |n: u32| IpAddr::from(n.to_be_bytes());
        let lasts = |n: u32| Duration::from_secs(60 + u64::from(n));
        let all = PENALTIES_MAX as u32;
        // The longest come first: where a set is full, later and shorter ones make room.
        for n in (0..all).rev() {
            penalties.begin(&address_of(of(n)), lasts(n), now);
        }
        let held = (0..all).filter(|&n| penalties.left(of(n), now) == Some(lasts(n))).count();
        assert!(held > PENALTIES_MAX - 40, "{held}");
        assert_eq!((all..2 * all).filter(|&n| penalties.left(of(n), now).is_some()).count(), 0);
    }

    #[test]
    fn who_looks_while_entries_change_takes_nobody_for_another() {
        let (penalties, now) = (Penalties::default(), some_moment());
        let stays = peer("198.51.100.1");
        penalties.begin(&address_of(stays), Duration::from_secs(86_400), now);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..200_000_u32 {
                    let whose = address_of(IpAddr::from((n % 60_000).to_be_bytes()));
                    penalties.begin(&whose, Duration::from_secs(60), now);
                }
            });
            let mut looks = 0_u64;
            while !writer.is_finished() || looks == 0 {
                assert!(penalties.left(stays, now).is_some());
                assert_eq!(penalties.left(peer("203.0.113.9"), now), None);
                looks += 1;
            }
        });
    }
}
