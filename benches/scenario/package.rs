//! Packaging: access units to entries of a log, for each format.

use dataplane::log::{EntryKind, EntryMeta, LogWriter};
use dataplane::package::{Packaged, Packager, PacketPackager};
use dataplane::session::{AccessUnit, Dialect, Format, LogKey};

use super::Scenario;
use super::memory::{LIMITS, Memory, time};
use super::stream::{Frame, SECOND_BYTES, config, second};

/// Chunks of RTMP as the server sends them.
const CHUNK_BYTES: u32 = 60_000;

enum Framing {
    Messages(Packager),
    Packets(Box<PacketPackager>),
}

struct Package {
    memory: Memory,
    log: Option<LogWriter>,
    framing: Framing,
    frames: Vec<Frame>,
    units: Vec<AccessUnit>,
    seconds: u32,
}

/// RTMP chunks.
pub(super) fn rtmp() -> Box<dyn Scenario> {
    messages(Format::Rtmp)
}

/// FLV tags.
pub(super) fn flv() -> Box<dyn Scenario> {
    messages(Format::Flv)
}

fn messages(format: Format) -> Box<dyn Scenario> {
    let key = LogKey { format, dialect: Dialect::Native, track: 0 };
    let memory = Memory::new();
    let log = LogWriter::new(&memory.pool, LIMITS);
    Box::new(Package::new(memory, log, Framing::Messages(Packager::new(key, CHUNK_BYTES))))
}

/// Transport packets.
pub(super) fn mpegts() -> Box<dyn Scenario> {
    let memory = Memory::new();
    let log = LogWriter::of_packets(&memory.pool, LIMITS);
    let mut packager = PacketPackager::default();
    let configs = [codecs::media::Codec::H264, codecs::media::Codec::Aac].map(config);
    packager.set_tracks(configs.iter().map(|config| (config.codec, Some(config))));
    Box::new(Package::new(memory, log, Framing::Packets(Box::new(packager))))
}

impl Package {
    fn new(mut memory: Memory, log: LogWriter, framing: Framing) -> Self {
        let frames = second();
        let units = frames.iter().map(|frame| memory.unit(frame, 0)).collect();
        Self { memory, log: Some(log), framing, frames, units, seconds: 0 }
    }
}

impl Scenario for Package {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn prepare(&mut self) {
        if let Some(log) = &mut self.log {
            log.evict(&mut self.memory.gc);
        }
        self.memory.turn();
        for (unit, frame) in self.units.iter_mut().zip(&self.frames) {
            unit.dts = time(frame, self.seconds);
        }
        self.seconds += 1;
    }

    fn run(&mut self) {
        let Self { memory: Memory { pool, .. }, log: Some(log), framing, units, .. } = self else {
            return;
        };
        for unit in units.iter() {
            let kind = EntryKind::from(unit.codec.kind());
            let join = unit.keyframe && kind == EntryKind::Video;
            let meta = EntryMeta { join, ..EntryMeta::plain(kind, unit.dts, 0) };
            match framing {
                Framing::Messages(packager) => {
                    packager.unit(log, pool, unit, meta).expect("the pool has room");
                }
                Framing::Packets(packager) => {
                    let packaged = packager.unit(log, pool, unit, meta);
                    assert_eq!(packaged, Ok(Packaged::Whole));
                }
            }
            log.publish();
        }
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.close(&self.memory.pool, &mut self.memory.gc);
        }
        self.units.drain(..).for_each(|unit| self.memory.pool.release(unit.payload));
    }
}
