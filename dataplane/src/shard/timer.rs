//! Timers: a hierarchical wheel of one-millisecond ticks.
//!
//! Shape: seven wheels of 64 slots; a slot of level `n` spans `64^n` ticks. A timer lies on the
//! level of the highest bit in which its tick differs from now, and comes down as time passes.
//!
//! ```text
//!   level 0: 64 slots of 1 ms | level 1: 64 of 64 ms | level 2: 64 of 4 s | ...
//! ```
//!
//! Units: `Instant` outside, ticks since the wheel was made inside. A timer never fires early, and
//! at most one tick late.
//! Limits: a fixed number of timers; all memory is taken when the wheel is made.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Wheels; together they span 139 years.
const LEVELS: usize = 7;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const TICK: Duration = Duration::from_millis(1);
const TICK_MAX: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
/// The list of timers that have come due.
const DUE: usize = LEVELS * SLOTS;
const NONE: u32 = u32::MAX;

/// A timer of a [`TimerWheel`]; stale once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: NonZeroU32,
}

/// Pending timers, each with a key for its owner.
///
/// Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub struct TimerWheel<K> {
    start: Instant,
    /// The tick that the levels are laid out for.
    now: u64,
    nodes: Vec<Node<K>>,
    free: u32,
    len: usize,
    capacity: usize,
    lists: Box<[List]>,
    /// Per level, which slots have timers.
    occupied: [u64; LEVELS],
}

#[derive(Debug)]
struct Node<K> {
    key: K,
    tick: u64,
    generation: NonZeroU32,
    /// The list that it is in; `None` in the free list.
    list: Option<u16>,
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

impl<K: Copy> TimerWheel<K> {
    /// A wheel for at most `capacity` timers that begins at `now`.
    #[must_use]
    pub fn new(now: Instant, capacity: usize) -> Self {
        let empty = List { head: NONE, tail: NONE };
        let capacity = capacity.min(NONE as usize);
        Self {
            start: now,
            now: 0,
            nodes: Vec::with_capacity(capacity),
            free: NONE,
            len: 0,
            capacity,
            lists: vec![empty; LEVELS * SLOTS + 1].into_boxed_slice(),
            occupied: [0; LEVELS],
        }
    }

    /// Sets a timer; `None` if the wheel is full.
    pub fn insert(&mut self, at: Instant, key: K) -> Option<TimerId> {
        let tick = self.tick_of(at);
        let slot = self.take_node(key, tick)?;
        self.place(slot);
        Some(TimerId { slot, generation: self.nodes[slot as usize].generation })
    }

    /// Moves a timer to another time; false if it is stale.
    pub fn replace(&mut self, id: TimerId, at: Instant) -> bool {
        let tick = self.tick_of(at);
        if !self.is_pending(id) {
            return false;
        }
        if self.nodes[id.slot as usize].tick != tick {
            self.unlink(id.slot);
            self.nodes[id.slot as usize].tick = tick;
            self.place(id.slot);
        }
        true
    }

    /// Takes a timer back; its key, or `None` if it is stale.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        if !self.is_pending(id) {
            return None;
        }
        self.unlink(id.slot);
        Some(self.give_node(id.slot))
    }

    /// True until the timer fires or is cancelled.
    #[must_use]
    pub fn is_pending(&self, id: TimerId) -> bool {
        let node = self.nodes.get(id.slot as usize);
        node.is_some_and(|node| node.generation == id.generation && node.list.is_some())
    }

    /// True if a pending timer fires for a deadline of `at`, or before it.
    #[must_use]
    pub fn fires_by(&self, id: TimerId, at: Instant) -> bool {
        self.is_pending(id) && self.nodes[id.slot as usize].tick <= self.tick_of(at)
    }

    /// Moves time on to `now`; what came due is then taken with [`Self::pop`].
    pub fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.start).as_millis();
        let target = u64::try_from(passed).unwrap_or(TICK_MAX).min(TICK_MAX);
        while let Some((tick, list)) = self.next_slot().filter(|&(tick, _)| tick <= target) {
            self.now = self.now.max(tick);
            self.empty_slot(list);
        }
        self.now = self.now.max(target);
    }

    /// The next timer that came due, earlier ticks first: when its tick was, and its key.
    pub fn pop(&mut self) -> Option<(Instant, K)> {
        let slot = self.lists[DUE].head;
        if slot == NONE {
            return None;
        }
        self.unlink(slot);
        let at = self.start + Duration::from_millis(self.nodes[slot as usize].tick);
        Some((at, self.give_node(slot)))
    }

    /// When to advance next: no timer is due before, and some may still not be due then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let tick = if self.lists[DUE].head == NONE { self.next_slot()?.0 } else { self.now };
        Some(self.start + Duration::from_millis(tick))
    }

    /// Pending timers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if no timer is pending.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first tick at which nobody can say that `at` has not passed.
    fn tick_of(&self, at: Instant) -> u64 {
        let wait = at.saturating_duration_since(self.start);
        let ticks = wait.as_nanos().div_ceil(TICK.as_nanos());
        u64::try_from(ticks).unwrap_or(TICK_MAX).min(TICK_MAX)
    }

    /// Puts an unlinked node where its tick belongs.
    fn place(&mut self, slot: u32) {
        let tick = self.nodes[slot as usize].tick;
        if tick <= self.now {
            self.link(slot, DUE);
            return;
        }
        let highest = u64::BITS - 1 - (tick ^ self.now).leading_zeros();
        let level = (highest / SLOT_BITS) as usize;
        let within = (tick >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
        self.occupied[level] |= 1 << within;
        self.link(slot, level * SLOTS + within);
    }

    /// The first slot with timers, and the tick at which it is emptied.
    fn next_slot(&self) -> Option<(u64, usize)> {
        // A lower level lies wholly before the next slot of a higher one. Slots before the hand are
        // empty on every level, because what they held came down when the hand passed.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let within = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * SLOT_BITS;
        let lap = self.now >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        Some((lap + ((within as u64) << shift), level * SLOTS + within))
    }

    /// Takes all timers of a slot to where they belong now: due, or a lower level.
    fn empty_slot(&mut self, list: usize) {
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        let mut slot = self.lists[list].head;
        self.lists[list] = List { head: NONE, tail: NONE };
        while slot != NONE {
            let next = self.nodes[slot as usize].next;
            self.place(slot);
            slot = next;
        }
    }

    fn link(&mut self, slot: u32, list: usize) {
        let tail = self.lists[list].tail;
        let node = &mut self.nodes[slot as usize];
        node.list = Some(u16::try_from(list).expect("lists are counted in 16 bits"));
        (node.prev, node.next) = (tail, NONE);
        match tail {
            NONE => self.lists[list].head = slot,
            tail => self.nodes[tail as usize].next = slot,
        }
        self.lists[list].tail = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let node = &mut self.nodes[slot as usize];
        let list = usize::from(node.list.take().expect("a pending timer is in a list"));
        let (prev, next) = (node.prev, node.next);
        match prev {
            NONE => self.lists[list].head = next,
            prev => self.nodes[prev as usize].next = next,
        }
        match next {
            NONE => self.lists[list].tail = prev,
            next => self.nodes[next as usize].prev = prev,
        }
        if list != DUE && self.lists[list].head == NONE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn take_node(&mut self, key: K, tick: u64) -> Option<u32> {
        let slot = if self.free != NONE {
            let slot = self.free;
            let node = &mut self.nodes[slot as usize];
            self.free = node.next;
            (node.key, node.tick) = (key, tick);
            slot
        } else if self.nodes.len() < self.capacity {
            let slot = u32::try_from(self.nodes.len()).expect("fewer than NONE");
            self.nodes.push(Node {
                key,
                tick,
                generation: NonZeroU32::MIN,
                list: None,
                prev: NONE,
                next: NONE,
            });
            slot
        } else {
            return None;
        };
        self.len += 1;
        Some(slot)
    }

    fn give_node(&mut self, slot: u32) -> K {
        let node = &mut self.nodes[slot as usize];
        node.generation = node.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        node.next = self.free;
        self.free = slot;
        self.len -= 1;
        node.key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn wheel(capacity: usize) -> (Instant, TimerWheel<u32>) {
        #[expect(clippy::disallowed_methods, reason = "any instant does as the origin of a test")]
        let start = Instant::now();
        (start, TimerWheel::new(start, capacity))
    }

    fn pops(wheel: &mut TimerWheel<u32>) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop()).map(|(_, key)| key).collect()
    }

    #[test]
    fn a_timer_fires_neither_early_nor_twice() {
        let (start, mut wheel) = wheel(4);
        let id = wheel.insert(start + Duration::from_micros(1_500), 7).unwrap();
        wheel.advance(start + Duration::from_micros(1_999));
        assert_eq!(wheel.pop(), None);
        wheel.advance(start + Duration::from_millis(2));
        assert!(wheel.is_pending(id) && wheel.fires_by(id, start + Duration::from_millis(2)));
        assert!(!wheel.fires_by(id, start + Duration::from_millis(1)));
        assert_eq!(wheel.pop(), Some((start + Duration::from_millis(2), 7)));
        assert_eq!(wheel.pop(), None);
        assert!(!wheel.is_pending(id) && wheel.cancel(id).is_none() && !wheel.replace(id, start));
    }

    #[test]
    fn a_full_wheel_refuses_and_a_stale_handle_names_nobody() {
        let (start, mut wheel) = wheel(1);
        let first = wheel.insert(start, 1).unwrap();
        assert_eq!(wheel.insert(start, 2), None);
        assert_eq!(wheel.cancel(first), Some(1));
        let second = wheel.insert(start, 2).unwrap();
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(wheel.next_deadline(), Some(start));
        assert_eq!(pops(&mut wheel), [2]);
        assert!(!wheel.is_pending(second) && wheel.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Replace(usize, u64),
        Cancel(usize),
        Advance(u64),
        ToDeadline,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let far = || prop_oneof![0_u64..5, 0_u64..200, 0_u64..20_000, 0_u64..1 << 33];
        let op = prop_oneof![
            4 => far().prop_map(Op::Insert),
            1 => (any::<usize>(), far()).prop_map(|(n, t)| Op::Replace(n, t)),
            1 => any::<usize>().prop_map(Op::Cancel),
            2 => prop_oneof![0_u64..5, 0_u64..300, 0_u64..1 << 30].prop_map(Op::Advance),
            3 => Just(Op::ToDeadline),
        ];
        prop::collection::vec(op, 1..200)
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(ops in ops()) {
            let (start, mut wheel) = wheel(64);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut ids: Vec<(u32, TimerId)> = Vec::new();
            let (mut now, mut key) = (0_u64, 0_u32);
            for op in ops {
                match op {
                    Op::Insert(after) => {
                        key += 1;
                        let id = wheel.insert(start + Duration::from_millis(now + after), key);
                        prop_assert_eq!(id.is_some(), model.len() < 64);
                        if let Some(id) = id {
                            model.insert(key, now + after);
                            ids.push((key, id));
                        }
                    }
                    Op::Replace(n, after) if !ids.is_empty() => {
                        let (key, id) = ids[n % ids.len()];
                        let moved = wheel.replace(id, start + Duration::from_millis(now + after));
                        prop_assert_eq!(moved, model.contains_key(&key));
                        model.entry(key).and_modify(|t| *t = now + after);
                    }
                    Op::Cancel(n) if !ids.is_empty() => {
                        let (key, id) = ids[n % ids.len()];
                        let was = model.remove(&key).map(|_| key);
                        prop_assert_eq!(wheel.cancel(id), was);
                    }
                    Op::Replace(..) | Op::Cancel(_) => {}
                    Op::Advance(by) => now += by,
                    Op::ToDeadline => {
                        let Some(next) = wheel.next_deadline() else { continue };
                        let next = u64::try_from((next - start).as_millis()).unwrap();
                        let soonest = *model.values().min().unwrap();
                        prop_assert!(next <= soonest.max(now));
                        now = now.max(next);
                    }
                }
                wheel.advance(start + Duration::from_millis(now));
                let mut fired = pops(&mut wheel);
                fired.sort_unstable();
                let due: Vec<_> =
                    model.iter().filter(|&(_, &t)| t <= now).map(|(&k, _)| k).collect();
                model.retain(|_, &mut t| t > now);
                prop_assert_eq!(fired, due);
                prop_assert_eq!(wheel.len(), model.len());
            }
        }

        #[test]
        fn following_the_deadlines_reaches_every_timer(after in 1_u64..1 << 41) {
            let (start, mut wheel) = wheel(1);
            wheel.insert(start + Duration::from_millis(after), 1);
            for turn in 0.. {
                prop_assert!(turn < LEVELS);
                let next = wheel.next_deadline().unwrap();
                wheel.advance(next);
                if wheel.pop().is_some() {
                    prop_assert_eq!(next, start + Duration::from_millis(after));
                    break;
                }
            }
        }
    }
}
