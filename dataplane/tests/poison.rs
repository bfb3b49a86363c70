//! Readers on another shard never see a page that was freed under them.
//!
//! Two threads stand for two shards: one writes a log into a pool that is hardly larger than the
//! log, the other follows it with 1,000 cursors, most of which stall most of the time. Freed pages
//! are overwritten at once, and the content of each byte is told by its offset.
#![cfg(not(loom))]

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use codecs::mpegts::{Continuity, PACKET_LEN};
use codecs::time::{MediaTime, WallTime};
use dataplane::ids::ShardId;
use dataplane::log::{
    EntryKind, EntryMeta, Epochs, GROUP_BYTES_MAX, Gc, Lapped, Log, LogLimits, LogWriter,
    RangeList, SealReason,
};
use dataplane::segment::{ListTerms, Program, Segment, SegmentList, Tags, Window, render};
use dataplane::shard::wake::Wakes;
use dataplane::slab::{POISON, PageClass, Pool, Region, RegionConfig};

const HOME: ShardId = ShardId(0);
const READER: ShardId = ShardId(1);
const CURSORS: usize = 1_000;
const ENTRIES: u64 = 20_000;
const ENTRIES_PER_GOP: u64 = 25;
/// Cursors that get a send in one turn: their addresses are held until the end of the turn.
const SENDS_PER_TURN: usize = 16;
const LIMITS: LogLimits = LogLimits {
    bytes_max: 256 << 10,
    retain: MediaTime::from_millis(600_000),
    gop_bytes_max: 256 << 10,
    held_bytes_max: 0,
};

/// The byte at `offset`: the same for 64 bytes, then something else, never the poison.
fn content(offset: u64) -> u8 {
    let hash = (offset / 64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let byte = (hash >> 56) as u8;
    if byte == POISON { byte + 1 } else { byte }
}

/// A small seeded generator: the run is the same but for the interleaving of the threads.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

struct Shared {
    epochs: Epochs,
    wakes: Wakes,
}

/// What the writing shard saw.
struct Written {
    bytes: u64,
    /// Entries that found no page, because the reader still held the epoch.
    exhausted: u64,
    evicted: u64,
}

fn write(
    shared: &Shared,
    pool: &Pool,
    log: &mut LogWriter,
    gc: &mut Gc,
    reader: &JoinHandle<Read>,
) -> Written {
    let mut dice = Dice(0x5EED);
    let (mut offset, mut exhausted, mut number) = (0, 0, 0);
    let mut list = SegmentList::new(ListTerms { listed: 3, kept: 3 });
    shared.epochs.enter(HOME);
    // A reader that has failed would hold its epoch for ever.
    while number < ENTRIES && !reader.is_finished() {
        let len = PACKET_LEN as u64 * (1 + dice.below(48));
        let bytes: Vec<u8> = (offset..offset + len).map(content).collect();
        log.begin();
        if log.put(pool, &bytes).is_ok() {
            let meta = EntryMeta {
                dts: MediaTime::from_millis(i64::try_from(number).expect("a small number") * 20),
                kind: EntryKind::Video,
                join: number % ENTRIES_PER_GOP == 0,
                config_version: 0,
                segment: false,
                continuity: Continuity::from_bits(number),
            };
            log.end(pool, meta).expect("the index has room for every entry of the ring");
            (offset, number) = (offset + len, number + 1);
        } else {
            log.abandon(pool);
            exhausted += 1;
            thread::yield_now();
        }
        if number % ENTRIES_PER_GOP == 0 {
            show_segments(log, gc, &mut list, number / ENTRIES_PER_GOP);
        }
        if log.publish() && shared.wakes.mark(READER, 0) {
            reader.thread().unpark();
        }
        log.evict(gc);
        list.lose_before(log.log().tail());
        shared.epochs.advance(HOME);
        gc.collect(&shared.epochs, pool);
    }
    log.seal(SealReason::Ended, None);
    if shared.wakes.mark(READER, 0) {
        reader.thread().unpark();
    }
    shared.epochs.sleep(HOME);
    Written { bytes: offset, exhausted, evicted: log.counters().entries_evicted }
}

/// A GOP is a segment: another begins where the log ends, and a window takes the place of the last.
fn show_segments(log: &mut LogWriter, gc: &mut Gc, list: &mut SegmentList, number: u64) {
    let finished = Segment {
        number: number.saturating_sub(1),
        period: 1,
        discontinuity: false,
        start: MediaTime::ZERO,
        duration: MediaTime::from_millis(500),
        wall: WallTime::default(),
        independent: true,
        pictures: 25,
        first_unit: number,
    };
    list.begin(number, log.head(), Some(&finished));
    list.lose_before(log.log().tail());
    list.settle(1, origin());
    let tags = Tags { target_s: 1, independent: true };
    log.show_window(gc, render(list, tags, &Program::default()));
}

#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
fn origin() -> Instant {
    Instant::now()
}

/// Looks at a window that was taken at the begin of a turn, at its end.
fn windows(log: &Log, window: &Window, seen: &mut Read) {
    let text = std::str::from_utf8(window.media.body()).expect("a text");
    let newest = window.segments.last().expect("a window has segments");
    assert!(text.starts_with("#EXTM3U\n"), "{text}");
    assert!(text.ends_with(&format!("\nseg.{}.ts\n", newest.number)), "{text}");
    let mut list = RangeList::new();
    for segment in &window.segments {
        assert!(segment.to <= log.committed(), "all of it is published");
        if let Ok(bytes) = log.ranges(segment.from, segment.to, &mut list) {
            assert_eq!(check(&list, segment.from), bytes);
            seen.segments += 1;
        }
    }
}

/// What the reading shard saw.
#[derive(Default)]
struct Read {
    bytes: u64,
    laps: u64,
    sleeps: u64,
    groups: u64,
    segments: u64,
}

/// Takes the addresses for one send of `cursor`, or moves it to the newest join point.
fn take(log: &Log, cursor: u64, most: u64, list: &mut RangeList) -> Result<u64, u64> {
    match log.ranges(cursor, cursor + most, list) {
        Ok(bytes) => Ok(bytes),
        Err(Lapped) => Err(log.newest_join().map_or_else(|| log.committed(), |entry| entry.offset)),
    }
}

/// Reads the bytes behind the addresses, as a kernel does in the submit of a turn.
fn check(list: &RangeList, from: u64) -> u64 {
    let mut at = from;
    for range in list.as_slice() {
        // SAFETY: the list was filled in this turn, and the shard's epoch has not advanced.
        let bytes = unsafe { range.as_slice() };
        for &byte in bytes {
            assert_eq!(byte, content(at), "at {at}, sent from {from}");
            at += 1;
        }
    }
    at - from
}

/// Reads some groups from `number` on, which begins at `offset`; the place to go on from.
fn groups(log: &Log, (mut number, mut offset): (u64, u64), seen: &mut Read) -> (u64, u64) {
    let mut list = RangeList::new();
    for _ in 0..SENDS_PER_TURN {
        let Some(group) = log.group(number) else {
            let tail = log.groups_tail();
            if number >= tail {
                break;
            }
            seen.laps += 1;
            (number, offset) = (tail, log.group(tail).map_or(u64::MAX, |group| group.offset));
            continue;
        };
        assert_eq!(group.number, number);
        assert!(offset == u64::MAX || group.offset == offset, "{group:?} begins at {offset}");
        assert!((1..=GROUP_BYTES_MAX).contains(&u64::from(group.len)), "{group:?}");
        assert!(group.end() <= log.committed(), "the bytes of a group are there before it");
        let entry = log.entry_containing(group.offset);
        if let Some(entry) = entry.filter(|entry| entry.offset > group.offset) {
            panic!("{entry:?} does not contain {group:?}");
        }
        if log.ranges(group.offset, group.end(), &mut list).is_ok() {
            assert_eq!(check(&list, group.offset), u64::from(group.len));
        }
        seen.groups += 1;
        (number, offset) = (number + 1, group.end());
    }
    (number, offset)
}

fn follow(shared: &Shared, log: &Log) -> Read {
    let mut dice = Dice(0xD1CE);
    let mut cursors = vec![0_u64; CURSORS];
    let mut sends = [(0_usize, 0_u64, RangeList::new()); SENDS_PER_TURN];
    let mut seen = Read::default();
    let mut place = (0, 0);
    shared.epochs.enter(READER);
    loop {
        shared.wakes.drain(READER, |_| ());
        let ended = log.sealed().is_some();
        let committed = log.committed();
        let window = log.window();
        let mut queued = 0;
        for _ in 0..SENDS_PER_TURN {
            let at = usize::try_from(dice.below(CURSORS as u64)).expect("below CURSORS");
            let most = 1 + dice.below(64 << 10);
            match take(log, cursors[at], most, &mut sends[queued].2) {
                Ok(bytes) => {
                    (sends[queued].0, sends[queued].1) = (at, cursors[at]);
                    cursors[at] += bytes;
                    queued += 1;
                }
                Err(join) => {
                    cursors[at] = join;
                    seen.laps += 1;
                }
            }
        }
        place = groups(log, place, &mut seen);
        // The addresses of one turn are used only now, when the writer has gone on.
        for (at, from, list) in &sends[..queued] {
            seen.bytes += check(list, *from);
            assert!(cursors[*at] <= committed.max(log.committed()));
        }
        if let Some(window) = window {
            windows(log, &window, &mut seen);
        }
        if ended {
            break;
        }
        // Every cursor that is awake has read everything: a real shard would wait, so wait too.
        let idle = log.committed() == committed;
        if idle && shared.wakes.prepare_sleep(READER, || log.sealed().is_some()) {
            seen.sleeps += 1;
            shared.epochs.sleep(READER);
            thread::park();
            shared.epochs.enter(READER);
            shared.wakes.woke(READER);
        } else {
            shared.epochs.advance(READER);
        }
    }
    drain(log, &cursors, &mut seen);
    shared.epochs.sleep(READER);
    seen
}

/// After the end every cursor reads what is left, to the last byte.
fn drain(log: &Log, cursors: &[u64], seen: &mut Read) {
    let mut list = RangeList::new();
    for &cursor in cursors {
        let mut at = cursor;
        loop {
            match take(log, at, 64 << 10, &mut list) {
                Ok(0) => break,
                Ok(bytes) => {
                    seen.bytes += check(&list, at);
                    at += bytes;
                }
                Err(join) => {
                    at = join;
                    seen.laps += 1;
                }
            }
        }
        assert_eq!(at, log.committed());
    }
}

#[test]
fn stalled_cursors_never_see_a_poisoned_page() {
    // The log itself, its open entry, and very little for what waits in limbo.
    let config = RegionConfig {
        shards: 1,
        large_pages_per_shard: 7,
        small_pages_per_shard: 12,
        poison: true,
    };
    let (_, mut pools) = Region::map(&config).unwrap();
    let pool = pools.remove(0);
    let mut writer = LogWriter::of_packets(&pool, LIMITS);
    let mut gc = Gc::new(&pool);
    let shared = Arc::new(Shared { epochs: Epochs::new(2), wakes: Wakes::new(2, 1) });
    let reader = thread::spawn({
        let (shared, log) = (Arc::clone(&shared), Arc::clone(writer.log()));
        move || follow(&shared, &log)
    });
    let written = write(&shared, &pool, &mut writer, &mut gc, &reader);
    let read = reader.join().unwrap();
    assert!(read.bytes > written.bytes / 100 && read.laps > 0, "readers did read, and were lapped");
    assert!(read.segments > 100, "windows were read: {}", read.segments);
    assert!(read.groups > 1_000, "the table was read: {}", read.groups);
    assert!(written.evicted > ENTRIES / 2 && pool.usage(PageClass::Large).peak <= 7);
    writer.close(&pool, &mut gc);
    gc.collect(&shared.epochs, &pool);
    assert_eq!(gc.waiting(), 0);
    assert_eq!(pool.usage(PageClass::Large).in_use + pool.usage(PageClass::Small).in_use, 0);
    println!(
        "{} bytes written, {} read, {} laps, {} sleeps, {} times no page",
        written.bytes, read.bytes, read.laps, read.sleeps, written.exhausted
    );
}
