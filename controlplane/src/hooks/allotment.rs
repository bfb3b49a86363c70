//! Allotment: the bytes that the queues of all hooks have together.
//!
//! ```text
//!   | hook a | hook b           | hook c (its receiver is dead)          | free |
//!   |<- part ->|<- part ->|<- part ->|        each may borrow what is free
//! ```
//!
//! When they hold more, the hook that holds the most gives up its oldest events until the rest
//! fits. So one that keeps to its part of the whole never loses any to another, whatever that one
//! is sent and however slow its receiver is. What is under way cannot be given up: no hook has more
//! than half of its part there.
//!
//! Units: bytes of memory: an event's JSON and [`RECORD_BYTES`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hook::Hook;
use super::ledger::Shared;

/// Bytes of all queues together, unless they are told.
pub(crate) const QUEUES_BYTES_MAX: u64 = 16 << 20;
/// What an event takes beside its JSON: its parcel, its places in its room, and a lane of its own.
pub(super) const RECORD_BYTES: u64 = 512;
/// One of so many shares of a hook's part may be under way before a further batch waits.
const UNDER_WAY_SHARE: u64 = 4;
/// One of so many shares of the whole is what requests under way take beside: each is as large as
/// its batch, of which the last may begin just below the bound.
pub(crate) const REQUESTS_SHARE: u64 = UNDER_WAY_SHARE / 2;
/// Events that are given up before others have their turn on the control thread.
const GIVEN_UP_PER_TURN: usize = 4_096;

/// What one hook has of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes that nobody takes from it.
    pub(super) bytes: u64,
    /// Bytes that it may have beside those that it holds, if all take alike.
    pub(super) free: u64,
}

impl Part {
    /// Bytes that it may still take, if it holds so many.
    pub(super) fn left(self, held: u64) -> u64 {
        self.bytes.saturating_sub(held).max(self.free)
    }
}

/// Bytes of a batch at most, and those under way from which on no further batch goes, of a hook
/// with that part.
pub(super) const fn under_way_max(part: u64) -> u64 {
    part / UNDER_WAY_SHARE
}

impl Shared {
    /// What all queues have together from now on.
    pub(super) fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.allot();
        // Whoever has too much now gives it up at the next turn.
        self.settled.notify_one();
    }

    /// Tells each hook its part of the whole; hooks came or went.
    pub(super) fn allot(&self) {
        let hooks = self.hooks();
        let part = self.bytes_max.load(Ordering::Relaxed) / (hooks.len().max(1) as u64);
        hooks.values().for_each(|hook| hook.set_part(part));
    }

    /// What each of `hooks` has, as things are.
    pub(super) fn part(&self, hooks: &[Arc<Hook>]) -> Part {
        let (all, bytes_max) = (hooks.len().max(1) as u64, self.bytes_max.load(Ordering::Relaxed));
        // What strangers cause takes no room here, so that they cannot hold up anybody.
        let held: u64 = hooks.iter().map(|hook| hook.work().queue.admitted().weight()).sum();
        Part { bytes: bytes_max / all, free: bytes_max.saturating_sub(held) / all }
    }

    /// Has the hooks that hold the most give up their oldest events until all fit; true if more is
    /// to be given up.
    pub(super) fn make_room(&self) -> bool {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let mut held: Vec<_> =
            self.hooks().values().map(|hook| (hook.weight(), Arc::clone(hook))).collect();
        let mut total: u64 = held.iter().map(|(weight, _)| weight).sum();
        for _ in 0..GIVEN_UP_PER_TURN {
            if total <= bytes_max {
                return false;
            }
            let Some(most) = held.iter_mut().max_by_key(|(weight, _)| *weight) else {
                return false;
            };
            let freed = most.1.give_up_oldest();
            if freed == 0 {
                // All of it is under way: the others have what they need.
                most.0 = 0;
                if held.iter().all(|(weight, _)| *weight == 0) {
                    return false;
                }
                continue;
            }
            most.0 -= freed;
            total -= freed;
        }
        true
    }
}
