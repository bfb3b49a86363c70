//! Viewers of HLS that the node knows: who asked for a playlist of a stream a moment ago.
//!
//! A viewer is only requests, on any connection to any shard. Without room new viewers are refused
//! while those who view go on, so it must be known who is which: a stream and an address that were
//! served lately are known. Whoever shares the address of a known viewer is taken for it; the caps
//! per address bound how many that can be. Where viewers are told apart, their numbers are known
//! instead.
//!
//! Shape: a table of [`SETS`] sets of [`WAYS`] words, indexed by a keyed hash; a word is 32 bits
//! more of the hash and the second of the last request, 0 if nobody made one. Who is noted takes
//! the place of who was silent longest, so nothing is swept, locked or allocated; a place that was
//! lost makes a viewer new, once.
//!
//! Units: seconds of the monotonic clock, from 1 at the first look at the table. The calendar may
//! be set back, which would make everybody new at once. Shards begin their turns at different
//! times, so a request may be newer than `now`: that is no silence.
//!
//! Lives on: every shard. Crosses by: atomics, once for each playlist.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::ids::{SessionId, StreamName};
use crate::session::view_token::asked_as;

const SETS: usize = 1 << 14;
const WAYS: usize = 4;
/// A viewer that asked for no playlist for this long is a new one.
const KNOWN_SECONDS: u32 = 30;

/// The table. See the module.
#[derive(Debug)]
pub(crate) struct KnownViewers {
    hasher: RandomState,
    origin: OnceLock<Instant>,
    words: Box<[AtomicU64]>,
}

/// Names a viewer in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ViewerId(u64);

impl Default for KnownViewers {
    fn default() -> Self {
        let words = (0..SETS * WAYS).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: RandomState::new(), origin: OnceLock::new(), words }
    }
}

impl KnownViewers {
    /// The name of who views `stream` from `peer`.
    pub(super) fn id(&self, stream: &StreamName, peer: IpAddr) -> ViewerId {
        ViewerId(self.hasher.hash_one((stream.as_str(), peer.to_canonical())))
    }

    /// The name of the viewer of this number.
    pub(super) fn id_of_view(&self, view: SessionId) -> ViewerId {
        ViewerId(self.hasher.hash_one(asked_as(view).0))
    }

    /// True if the viewer asked for a playlist lately.
    pub(super) fn is_known(&self, viewer: ViewerId, now: Instant) -> bool {
        let second = self.second(now);
        let asked = |word: u64| second.saturating_sub(word as u32) <= KNOWN_SECONDS;
        let mut words = self.set(viewer).iter().map(|word| word.load(Ordering::Relaxed));
        words.any(|word| word != 0 && tag(word) == tag(viewer.0) && asked(word))
    }

    /// The viewer asks for a playlist.
    pub(super) fn note(&self, viewer: ViewerId, now: Instant) {
        let (set, second) = (self.set(viewer), self.second(now));
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let own = set.iter().find(|word| tag(load(word)) == tag(viewer.0));
        let place = own.or_else(|| set.iter().min_by_key(|word| load(word) as u32));
        if let Some(place) = place {
            place.store(u64::from(tag(viewer.0)) << 32 | u64::from(second), Ordering::Relaxed);
        }
    }

    /// Seconds since the table was looked at first, from 1 on.
    fn second(&self, now: Instant) -> u32 {
        let origin = self.origin.get_or_init(|| now);
        1 + now.saturating_duration_since(*origin).as_secs() as u32
    }

    fn set(&self, viewer: ViewerId) -> &[AtomicU64] {
        let set = viewer.0 as usize % SETS;
        &self.words[set * WAYS..][..WAYS]
    }
}

const fn tag(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_asked_lately_is_known_by_stream_and_address() {
        let viewers = KnownViewers::default();
        let origin = origin();
        let at = |seconds| origin + Duration::from_secs(seconds);
        let [news, cam] = ["news", "cam"].map(|name| StreamName::parse(name).unwrap());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let id = viewers.id(&news, one);
        assert!(!viewers.is_known(id, at(0)));
        viewers.note(id, at(0));
        assert!(viewers.is_known(viewers.id(&news, "::ffff:192.0.2.1".parse().unwrap()), at(30)));
        assert!(!viewers.is_known(viewers.id(&cam, one), at(0)));
        assert!(!viewers.is_known(viewers.id(&news, "192.0.2.2".parse().unwrap()), at(0)));
        assert!(!viewers.is_known(id, at(31)), "it was silent for too long");
        viewers.note(id, at(40));
        assert!(viewers.is_known(id, at(60)));
    }

    #[test]
    fn who_was_silent_longest_makes_room() {
        let viewers = KnownViewers::default();
        let origin = origin();
        let at = |seconds| origin + Duration::from_secs(seconds);
        let of_one_set = |n: u64| ViewerId((n + 1) << 32);
        for n in 0..5 {
            viewers.note(of_one_set(n), at(n));
        }
        let known = (0..5).filter(|&n| viewers.is_known(of_one_set(n), at(6)));
        assert_eq!(known.collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn who_asks_at_the_same_time_takes_no_place_that_another_has() {
        let viewers = KnownViewers::default();
        let now = origin();
        let of_one_set = |n: u64| ViewerId((n + 1) << 32);
        (0..4).for_each(|n| viewers.note(of_one_set(n), now));
        assert!((0..4).all(|n| viewers.is_known(of_one_set(n), now)));
    }

    #[test]
    fn a_shard_whose_turn_began_earlier_knows_who_asked_another() {
        let viewers = KnownViewers::default();
        let earlier = origin();
        let viewer = ViewerId(1 << 32);
        viewers.note(ViewerId(2 << 32), earlier);
        viewers.note(viewer, earlier + Duration::from_secs(1));
        assert!(viewers.is_known(viewer, earlier));
        // And who asked later is not taken for who was silent longest.
        (3..5).for_each(|n| viewers.note(ViewerId(n << 32), earlier));
        viewers.note(ViewerId(5 << 32), earlier);
        assert!(viewers.is_known(viewer, earlier));
    }
}
