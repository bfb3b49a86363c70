//! A packaged log: appending, reading as players do, and taking pages back.

use std::hint::black_box;
use std::sync::Arc;

use dataplane::log::{EntryKind, EntryMeta, Log, LogWriter, RangeList};

use super::Scenario;
use super::memory::{LIMITS, Memory, time};
use super::stream::{Frame, SECOND_BYTES, second};

/// A player gets so many bytes in one send at most.
const SEND_BYTES: u64 = 64 * 1024;

/// A log and all that it needs.
struct Stream {
    memory: Memory,
    writer: Option<LogWriter>,
    frames: Vec<Frame>,
    seconds: u32,
}

impl Stream {
    fn new() -> Self {
        let memory = Memory::new();
        let writer = Some(LogWriter::new(&memory.pool, LIMITS));
        Self { memory, writer, frames: second(), seconds: 0 }
    }

    /// A log whose window is full.
    fn full() -> Self {
        let mut stream = Self::new();
        for _ in 0..20 {
            stream.append();
            stream.reclaim();
        }
        stream
    }

    fn log(&self) -> &Arc<Log> {
        self.writer.as_ref().expect("it is taken at the end alone").log()
    }

    /// One second more.
    fn append(&mut self) {
        let writer = self.writer.as_mut().expect("it is taken at the end alone");
        for frame in &self.frames {
            let dts = time(frame, self.seconds);
            let kind = EntryKind::from(frame.codec.kind());
            let join = frame.keyframe && kind == EntryKind::Video;
            writer.begin();
            writer.put(&self.memory.pool, &frame.payload).expect("the pool has room");
            let meta = EntryMeta { join, ..EntryMeta::plain(kind, dts, 0) };
            writer.end(&self.memory.pool, meta).expect("the index has room");
            writer.publish();
        }
        self.seconds += 1;
    }

    /// What is too old leaves, and its pages are free.
    fn reclaim(&mut self) {
        let writer = self.writer.as_mut().expect("it is taken at the end alone");
        writer.evict(&mut self.memory.gc);
        self.memory.turn();
    }

    /// Reads the whole window as one player that is far behind; the bytes.
    fn read(&self) -> u64 {
        let log = self.log();
        let (mut at, end, mut ranges) = (log.tail(), log.committed(), RangeList::new());
        let begin = at;
        while at < end {
            let entry = log.entry_containing((at + SEND_BYTES).min(end) - 1);
            let to = entry.map_or(end, |entry| entry.end());
            let len = log.ranges(at, to, &mut ranges).expect("nothing is cut off meanwhile");
            black_box(ranges.as_slice());
            at += len;
        }
        end - begin
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.close(&self.memory.pool, &mut self.memory.gc);
        }
    }
}

struct Append(Stream);

/// A second of entries.
pub(super) fn append() -> Box<dyn Scenario> {
    Box::new(Append(Stream::full()))
}

impl Scenario for Append {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn prepare(&mut self) {
        self.0.reclaim();
    }

    fn run(&mut self) {
        self.0.append();
    }
}

struct Read(Stream);

/// The window, in ranges for sends of 64 KiB.
pub(super) fn read() -> Box<dyn Scenario> {
    Box::new(Read(Stream::full()))
}

impl Scenario for Read {
    fn run(&mut self) {
        assert!(self.0.read() > SECOND_BYTES);
    }
}

struct Reclaim(Stream);

/// A second of entries leaves, and its pages go back to their pool.
pub(super) fn reclaim() -> Box<dyn Scenario> {
    Box::new(Reclaim(Stream::full()))
}

impl Scenario for Reclaim {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn prepare(&mut self) {
        self.0.append();
    }

    fn run(&mut self) {
        self.0.reclaim();
    }
}
