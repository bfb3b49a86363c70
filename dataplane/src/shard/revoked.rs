//! Viewers who may not go on: the numbers of those whose tokens are no good any more, because they
//! were kicked or the control plane said no.
//!
//! Shape: sets of [`WAYS`] words, found by the number that a word is; 0 if it is empty.
//!
//! A token that was revoked never becomes good again, however many were: where a set is full, the
//! one that was given first makes room, and from then on no token that was given as early is taken
//! unless its view goes on. Whoever shows such a one is led to the playlist of renditions, where he
//! is asked about and given another. So nothing is swept, and memory is bounded.
//!
//! A token that was given a moment ago has no view yet, and is taken as it is. But whoever is
//! thrown out may have several: after that, those that were given so far are asked about.
//!
//! Viewers that are known by their address have no token to lose, and are asked about whenever no
//! view of theirs goes on: they are forgotten after a while.
//!
//! Limits: [`SETS`] times [`WAYS`] numbers of the node.
//!
//! Lives on: every shard. Crosses by: atomics, one look for each request.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use codecs::time::WallTime;

use crate::ids::SessionId;
use crate::session::view_token::{age_seconds, given_second, is_by_address};

const SETS: usize = 1 << 13;
const WAYS: usize = 8;
/// Shards that revoke in the same set at the same time may each have to look again.
const TRIES: usize = 2 * WAYS;
/// A token without a view is taken for this long after it was given.
const FRESH_SECONDS: u64 = 60;

/// The table. See the module.
#[derive(Debug)]
pub(crate) struct RevokedViews {
    words: Box<[AtomicU64]>,
    /// Tokens that were given in this second or before are taken only for a view that goes on.
    floor: AtomicU64,
    /// Tokens that were given before are asked about until their view begins, in ms.
    trusted_from: AtomicI64,
}

impl Default for RevokedViews {
    fn default() -> Self {
        Self {
            words: (0..SETS * WAYS).map(|_| AtomicU64::new(0)).collect(),
            floor: AtomicU64::new(0),
            trusted_from: AtomicI64::new(0),
        }
    }
}

impl RevokedViews {
    /// True if the token of `id` is no good any more.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.set_of(id).iter().any(|word| word.load(Ordering::Acquire) == id.0)
    }

    /// True if the token of `id` cannot be told any more from those that were revoked.
    pub(super) fn is_doubtful(&self, id: SessionId) -> bool {
        !is_by_address(id) && given_second(id) <= self.floor.load(Ordering::Acquire)
    }

    /// True if the token of `id` was given a moment ago, and nobody was thrown out since.
    pub(super) fn trusts(&self, id: SessionId, wall: WallTime) -> bool {
        let Some(age) = age_seconds(id, wall) else { return false };
        let from = self.trusted_from.load(Ordering::Acquire);
        // Numbers tell whole seconds: one of the second in which somebody was thrown out is none.
        let since = wall.as_unix_millis() / 1_000 - from / 1_000;
        age <= FRESH_SECONDS && i64::try_from(age).is_ok_and(|age| age < since)
    }

    /// Tokens that were given until `wall` are asked about until their view begins.
    pub(super) fn doubt_given(&self, wall: WallTime) {
        self.trusted_from.fetch_max(wall.as_unix_millis(), Ordering::AcqRel);
    }

    /// No token of `id` is good from now on.
    pub(super) fn revoke(&self, id: SessionId) {
        let set = self.set_of(id);
        for _ in 0..TRIES {
            if self.has(id) {
                return;
            }
            let load = |word: &AtomicU64| word.load(Ordering::Acquire);
            let oldest =
                set.iter().map(|word| (load(word), word)).min_by_key(|(held, _)| age(*held));
            let Some((held, word)) = oldest else { break };
            if held != 0 && !is_by_address(SessionId(held)) {
                // Before it goes, so that no look falls between.
                self.floor.fetch_max(given_second(SessionId(held)), Ordering::AcqRel);
            }
            let taken = word.compare_exchange(held, id.0, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return;
            }
        }
        // Too many at once: everybody as old is led to another token.
        self.floor.fetch_max(given_second(id), Ordering::AcqRel);
    }

    /// A viewer that is known by its address may come again.
    pub(super) fn forget(&self, id: SessionId) {
        for word in self.set_of(id) {
            // Whether it was still there makes no difference.
            let _ = word.compare_exchange(id.0, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    fn set_of(&self, id: SessionId) -> &[AtomicU64] {
        let mixed = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = (mixed >> 32) as usize & (SETS - 1);
        &self.words[set * WAYS..][..WAYS]
    }
}

/// Which word makes room first: an empty one, one of a viewer without a token, the oldest.
const fn age(held: u64) -> (u8, u64) {
    let id = SessionId(held);
    match held {
        0 => (0, 0),
        _ if is_by_address(id) => (1, 0),
        _ => (2, given_second(id)),
    }
}

#[cfg(test)]
mod tests {
    use codecs::time::WallTime;

    use super::*;
    use crate::ids::ShardId;
    use crate::session::view_token::{ViewIds, id_by_address};

    #[test]
    fn who_was_revoked_stays_so_however_many_follow() {
        let revoked = RevokedViews::default();
        let mut ids = ViewIds::default();
        let wall = |second: i64| WallTime::from_unix_millis((1_800_000_000 + second) * 1_000);
        let all: Vec<_> = (0..2 * SETS * WAYS)
            .map(|n| ids.next(ShardId(n as u16 % 3), wall(n as i64 / 100)))
            .collect();
        let fresh = ids.next(ShardId(0), wall(9_999));
        assert!(!revoked.has(all[0]) && !revoked.is_doubtful(all[0]));
        for &id in &all {
            revoked.revoke(id);
            assert!(revoked.has(id));
        }
        assert!(all.iter().all(|&id| revoked.has(id) || revoked.is_doubtful(id)));
        assert!(!revoked.has(fresh) && !revoked.is_doubtful(fresh));
    }

    #[test]
    fn a_fresh_token_is_trusted_until_somebody_is_thrown_out() {
        let revoked = RevokedViews::default();
        let mut ids = ViewIds::default();
        let wall = |ms: i64| WallTime::from_unix_millis(1_800_000_000_000 + ms);
        let mut given = |ms| ids.next(ShardId(0), wall(ms));
        let (first, same, later) = (given(0), given(4_900), given(5_100));
        for (ms, trusted) in [(-1, false), (0, true), (60_999, true), (61_000, false)] {
            assert_eq!(revoked.trusts(first, wall(ms)), trusted, "{ms}");
        }
        revoked.doubt_given(wall(4_950));
        // Another shard is told a little later, and its turn began before.
        revoked.doubt_given(wall(4_940));
        for ms in [4_950, 5_100, 9_000, 60_000] {
            assert!(!revoked.trusts(first, wall(ms)) && !revoked.trusts(same, wall(ms)), "{ms}");
        }
        assert!(revoked.trusts(later, wall(6_000)));
    }

    #[test]
    fn who_is_known_by_address_makes_room_first_and_is_forgotten() {
        let revoked = RevokedViews::default();
        let guest = id_by_address(ShardId(0), 7);
        revoked.revoke(guest);
        revoked.revoke(guest);
        assert!(revoked.has(guest) && !revoked.is_doubtful(guest));
        revoked.forget(guest);
        assert!(!revoked.has(guest));
        (0..2 * (SETS * WAYS) as u64).for_each(|n| revoked.revoke(id_by_address(ShardId(0), n)));
        assert_eq!(revoked.floor.load(Ordering::Relaxed), 0, "no token is doubted for them");
    }
}
