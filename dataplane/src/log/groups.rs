//! The packets of a log in groups of a datagram each, by number.
//!
//! What is sent in datagrams is numbered and may be asked for again: this is the table from the
//! number to the bytes, so that a second sending is a second read of the log. Only logs of packets
//! have it. A group has seven packets at most; it is closed early where the log is published, so
//! that nothing waits for what comes next, and before each join point, so that a player can begin
//! with a whole group. The groups cover the log without a gap, and each is within it as a whole.
//!
//! Shape of a slot: (packets << 61 | offset), time.
//! Units: offsets are bytes since the log began; the time is the decode time of the entry that the
//! first byte belongs to, raised to that of the group before.
//! Limits: as many groups as the log's bytes fill, and one for each of its entries; they are cut
//! off with the bytes that they begin with. Why no reader sees a page of another time is told in
//! [`super`]: the table is one more [`PageRing`], read in the same order.

use codecs::mpegts::PACKET_LEN;
use codecs::time::MediaTime;
use core::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;
use super::epoch::Gc;
use super::page_ring::PageRing;
use super::pages::Pages;
use super::reader::Log;

use crate::slab::{Exhausted, PageClass, Pool};

/// Packets of a group at most: what fits the payload of a datagram on any path.
pub const GROUP_PACKETS_MAX: u64 = 7;
/// Bytes of a group at most.
pub const GROUP_BYTES_MAX: u64 = GROUP_PACKETS_MAX * PACKET_LEN as u64;

/// Bytes of one packed group in a table page.
pub(super) const GROUP_SLOT_BYTES: usize = 16;
/// Groups of one table page, as a power of two.
pub(super) const GROUPS_PER_PAGE_SHIFT: u32 = 9;
const OFFSET_BITS: u32 = 61;

/// Packets that are sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number, counted from the start of the log.
    pub number: u64,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes, whole packets.
    pub len: u32,
    /// When.
    pub time: MediaTime,
}

impl Group {
    /// The first byte behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    fn store(&self, slot: &[AtomicU64; 2]) {
        let packets = u64::from(self.len) / PACKET_LEN as u64;
        slot[0].store(packets << OFFSET_BITS | self.offset, Ordering::Relaxed);
        slot[1].store(self.time.as_nanos().cast_unsigned(), Ordering::Relaxed);
    }

    pub(super) fn load(number: u64, slot: &[AtomicU64; 2]) -> Self {
        let [place, time] = [&slot[0], &slot[1]].map(|word| word.load(Ordering::Relaxed));
        Self {
            number,
            offset: place & ((1 << OFFSET_BITS) - 1),
            len: u32::try_from((place >> OFFSET_BITS) * PACKET_LEN as u64)
                .expect("three bits of packets"),
            time: MediaTime::from_nanos(time.cast_signed()),
        }
    }
}

/// Closes groups as the log grows.
#[derive(Debug)]
pub(super) struct GroupWriter {
    pages: Pages,
    /// Groups that are closed.
    closed: u64,
    /// The first byte that no closed group has.
    begun: u64,
    /// The time of that byte.
    time: MediaTime,
}

impl GroupWriter {
    pub(super) fn new() -> Self {
        Self { pages: Pages::default(), closed: 0, begun: 0, time: MediaTime::from_nanos(i64::MIN) }
    }

    /// Goes on where `self` stopped, in the table of another log.
    pub(super) fn go_on(&self) -> Self {
        let first = self.closed >> GROUPS_PER_PAGE_SHIFT;
        Self { pages: Pages::from_number(first), ..*self }
    }

    /// The number of the next group.
    pub(super) const fn next_number(&self) -> u64 {
        self.closed
    }

    /// Table pages that it holds.
    pub(super) const fn pages(&self) -> u64 {
        self.pages.len()
    }

    /// Makes room for every group that an open entry may close which ends at `head`.
    pub(super) fn reserve(&mut self, log: &Log, pool: &Pool, head: u64) -> Result<(), Exhausted> {
        let ring = ring_of(log);
        // One is closed before a join point, and one where the log is published.
        let most = self.closed + (head - self.begun) / GROUP_BYTES_MAX + 2;
        self.pages.reach(ring.page_number(most), ring, pool, PageClass::Small)
    }

    /// An entry ended, and there is room.
    pub(super) fn entry(&mut self, log: &Log, entry: &Entry) {
        debug_assert_eq!(u64::from(entry.len) % PACKET_LEN as u64, 0, "whole packets");
        if entry.join {
            self.close_to(log, entry.offset);
        }
        if self.begun == entry.offset {
            self.time = self.time.max(entry.dts);
        }
        while entry.end() - self.begun >= GROUP_BYTES_MAX {
            self.close(log, GROUP_BYTES_MAX);
            self.time = self.time.max(entry.dts);
        }
    }

    /// The log is published up to `end`.
    pub(super) fn publish(&mut self, log: &Log, end: u64) {
        self.close_to(log, end);
        ring_of(log).commit(self.closed);
    }

    /// The log is cut off below `offset`, which is published.
    pub(super) fn cut(&mut self, log: &Log, offset: u64, gc: &mut Gc) {
        let ring = ring_of(log);
        let mut tail = ring.tail();
        while log.group(tail).is_some_and(|group| group.offset < offset) {
            tail += 1;
        }
        ring.cut(tail);
        self.pages.retire_below(ring.page_number(tail), ring, gc);
    }

    /// Gives every page back; all groups were cut off.
    pub(super) fn end(&mut self, log: &Log, gc: &mut Gc) {
        self.pages.retire_below(u64::MAX, ring_of(log), gc);
    }

    /// Closes what is left before `end`, where an entry ends: less than a whole group.
    fn close_to(&mut self, log: &Log, end: u64) {
        if end > self.begun {
            self.close(log, end - self.begun);
        }
    }

    fn close(&mut self, log: &Log, len: u64) {
        let (number, ring) = (self.closed, ring_of(log));
        let group = Group {
            number,
            offset: self.begun,
            len: u32::try_from(len).expect("GROUP_BYTES_MAX at most"),
            time: self.time,
        };
        group.store(log.group_slot(ring, ring.slot(ring.page_number(number)), number));
        self.closed += 1;
        self.begun += len;
    }
}

fn ring_of(log: &Log) -> &PageRing {
    log.groups.as_ref().expect("a log of packets has a table")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::ShardId;
    use crate::log::{EntryKind, EntryMeta, Epochs, LogLimits, LogWriter};
    use crate::slab::{Region, RegionConfig};

    const HOME: ShardId = ShardId(0);
    const LIMITS: LogLimits = LogLimits {
        bytes_max: 192 << 10,
        retain: MediaTime::from_millis(2_000),
        gop_bytes_max: 128 << 10,
        held_bytes_max: 0,
    };

    struct Bench {
        pool: Pool,
        gc: Gc,
        epochs: Epochs,
        writer: LogWriter,
        log: Arc<Log>,
        /// (offset, join) of every entry.
        entries: Vec<(u64, bool)>,
    }

    impl Bench {
        fn new(small: u32) -> Self {
            let config = RegionConfig {
                shards: 1,
                large_pages_per_shard: 16,
                small_pages_per_shard: small,
                poison: true,
            };
            let pool = Region::map(&config).unwrap().1.remove(0);
            let writer = LogWriter::of_packets(&pool, LIMITS);
            let epochs = Epochs::new(1);
            epochs.enter(HOME);
            let (gc, log) = (Gc::new(&pool), Arc::clone(writer.log()));
            Self { pool, gc, epochs, writer, log, entries: Vec::new() }
        }

        fn entry(&mut self, packets: usize, join: bool, ms: i64) -> bool {
            let offset = self.writer.head();
            let dts = MediaTime::from_millis(ms);
            let meta = EntryMeta { join, ..EntryMeta::plain(EntryKind::Video, dts, 0) };
            self.writer.begin();
            let put = self.writer.put(&self.pool, &vec![0x47; packets * PACKET_LEN]);
            let done = put.and_then(|()| self.writer.end(&self.pool, meta)).is_ok();
            if done {
                self.entries.push((offset, join));
            } else {
                self.writer.abandon(&self.pool);
            }
            done
        }

        fn turn(&mut self) {
            self.writer.evict(&mut self.gc);
            self.epochs.advance(HOME);
            self.gc.collect(&self.epochs, &self.pool);
        }

        /// Every group that is kept, checked against each other and the log.
        fn groups(&self) -> Vec<Group> {
            let numbers = self.log.groups_tail()..self.log.groups_committed();
            let groups: Vec<_> = numbers.map(|n| self.log.group(n).expect("kept")).collect();
            assert_eq!(self.log.group(self.log.groups_committed()), None);
            if let (Some(first), Some(last)) = (groups.first(), groups.last()) {
                assert!(first.offset >= self.log.tail(), "no group begins before the log");
                assert!(first.offset - self.log.tail() < GROUP_BYTES_MAX, "and hardly after");
                assert_eq!(last.end(), self.log.committed());
                assert_eq!(self.log.group(first.number.wrapping_sub(1)), None);
            } else {
                assert_eq!(self.log.tail(), self.log.committed());
            }
            for group in &groups {
                assert!(group.len > 0 && u64::from(group.len) <= GROUP_BYTES_MAX);
                assert_eq!(group.len as usize % PACKET_LEN, 0);
                let inside = group.offset + 1..group.end();
                let joins =
                    self.entries.iter().filter(|(offset, join)| *join && inside.contains(offset));
                assert_eq!(joins.count(), 0, "a join point is where a group begins");
                for at in [group.offset, group.end() - 1] {
                    assert_eq!(self.log.group_containing(at), Some(*group));
                }
            }
            for pair in groups.windows(2) {
                assert_eq!(pair[0].end(), pair[1].offset, "neither gap nor overlap");
                assert!(pair[0].time <= pair[1].time);
            }
            groups
        }

        fn end(self) {
            let Self { pool, mut gc, epochs, writer, log, .. } = self;
            writer.close(&pool, &mut gc);
            epochs.sleep(HOME);
            gc.collect(&epochs, &pool);
            for class in [PageClass::Large, PageClass::Small] {
                assert_eq!(pool.usage(class).in_use, 0, "{class:?}");
            }
            assert_eq!((log.group(0), log.group_containing(0)), (None, None));
        }
    }

    #[test]
    fn groups_are_full_until_something_closes_them() {
        let mut bench = Bench::new(16);
        assert!(bench.entry(17, true, 100));
        bench.writer.publish();
        assert!(bench.entry(2, false, 90));
        assert!(bench.entry(1, false, 140));
        assert!(bench.entry(9, true, 180));
        assert!(bench.entry(5, false, 220));
        assert_eq!(bench.log.groups_committed(), 3, "the rest is not published");
        bench.writer.publish();
        let found: Vec<_> = bench
            .groups()
            .iter()
            .map(|group| (group.len as usize / PACKET_LEN, group.time.as_millis()))
            .collect();
        let expected = [(7, 100), (7, 100), (3, 100), (3, 100), (7, 180), (7, 180)];
        assert_eq!(found, expected);
        bench.end();
    }

    #[test]
    fn a_log_of_other_things_has_no_groups() {
        let bench = Bench::new(4);
        let writer = LogWriter::new(&bench.pool, LIMITS);
        let log = writer.log();
        assert_eq!((log.groups_tail(), log.groups_committed()), (0, 0));
        assert_eq!((log.group(0), log.group_containing(0)), (None, None));
        bench.end();
    }

    #[test]
    fn without_a_page_for_the_table_an_entry_is_abandoned() {
        let mut bench = Bench::new(1);
        assert!(!bench.entry(1, true, 0), "the index took the only page");
        bench.writer.publish();
        assert_eq!(bench.groups(), []);
        bench.end();
    }

    #[derive(Clone, Debug)]
    enum Op {
        Entry { packets: usize, join: bool, step_ms: i64 },
        Publish,
        Shrink,
        Forget,
    }

    fn op() -> impl Strategy<Value = Op> {
        let packets = prop_oneof![8 => 1_usize..4, 3 => 1_usize..40, 1 => 40_usize..500];
        prop_oneof![
            12 => (packets, prop::bool::weighted(0.1), -40_i64..80)
                .prop_map(|(packets, join, step_ms)| Op::Entry { packets, join, step_ms }),
            5 => Just(Op::Publish),
            1 => Just(Op::Shrink),
            1 => Just(Op::Forget),
        ]
    }

    proptest! {
        #[test]
        fn groups_cover_the_log_whatever_happens_to_it(
            ops in prop::collection::vec(op(), 1..400), small in 2_u32..6,
        ) {
            let mut bench = Bench::new(small);
            let mut ms = 0;
            for op in ops {
                match op {
                    Op::Entry { packets, join, step_ms } => {
                        ms += step_ms;
                        bench.entry(packets, join, ms);
                    }
                    Op::Publish => {
                        bench.writer.publish();
                        bench.turn();
                        bench.groups();
                    }
                    Op::Shrink => _ = bench.writer.shrink(&mut bench.gc, None),
                    Op::Forget => bench.writer.forget(&mut bench.gc),
                }
            }
            bench.writer.publish();
            bench.groups();
            bench.end();
        }
    }
}
