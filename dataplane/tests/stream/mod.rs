//! A stream without a node: one hub, its memory, and clocks that the test moves.
#![allow(dead_code, reason = "every test takes what it needs")]

mod packets;

pub(crate) use packets::packets;

use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::media::Codec;
use codecs::time::{MediaTime, WallTime};
use dataplane::config::StreamConfig;
use dataplane::control::Protocol;
use dataplane::error::Error;
use dataplane::hub::{Hub, Publisher, Sink, Source, Subscriber};
use dataplane::ids::{ShardId, StreamName};
use dataplane::log::{Epochs, Gc, Log};
use dataplane::metrics::ShardCounters;
use dataplane::segment::{Numbering, Window};
use dataplane::session::{AccessUnit, LogKey};
use dataplane::slab::{AuWriter, PageClass, Pool, Region, RegionConfig};

/// 640 x 480, constrained baseline.
pub(crate) const AVCC: &[u8] = &[
    1, 66, 0xc0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80, 1, 0, 4, 0x68,
    0xce, 0x3c, 0x80,
];
/// The same, as another encoder says it.
pub(crate) const OTHER_AVCC: &[u8] = &[
    1, 66, 0xc0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80, 1, 0, 4, 0x68,
    0xce, 0x3c, 0x81,
];
/// AAC-LC, 44.1 kHz, stereo.
pub(crate) const ASC: &[u8] = &[0x12, 0x10];

const HOME: ShardId = ShardId(0);
pub(crate) const READER: Subscriber = reader(0);

/// Who watches the slot `slot` at home.
pub(crate) const fn reader(slot: u32) -> Subscriber {
    Subscriber { shard: HOME, slot, number: 0 }
}

/// One stream and its publisher.
pub(crate) struct Stream {
    pub(crate) pool: Pool,
    pub(crate) gc: Gc,
    pub(crate) epochs: Epochs,
    pub(crate) counters: ShardCounters,
    pub(crate) now: Instant,
    pub(crate) wall: WallTime,
    pub(crate) hub: Hub,
    writer: AuWriter,
    numbering: Numbering,
}

#[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
fn origin() -> Instant {
    Instant::now()
}

impl Stream {
    pub(crate) fn new(config: &StreamConfig) -> Self {
        let wall = WallTime::from_unix_millis(1_790_000_000_000);
        let region = RegionConfig {
            shards: 1,
            large_pages_per_shard: 2_048,
            small_pages_per_shard: 2_048,
            poison: true,
        };
        let pool = Region::map(&region).unwrap().1.remove(0);
        let epochs = Epochs::new(1);
        epochs.enter(HOME);
        let now = origin();
        let numbering = Numbering::at(wall);
        let hub = Self::hub(config, numbering, now);
        let (gc, counters, writer) = (Gc::new(&pool), ShardCounters::default(), AuWriter::new());
        Self { pool, gc, epochs, counters, now, wall, hub, writer, numbering }
    }

    fn hub(config: &StreamConfig, numbering: Numbering, now: Instant) -> Hub {
        let name = StreamName::parse("a/b").unwrap();
        Hub::new(
            name,
            config,
            60_000,
            8,
            Source::new(Publisher::Demo, Protocol::Demo),
            numbering,
            now,
        )
    }

    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut Hub, &mut Sink<'_>) -> T) -> T {
        let Self { pool, gc, counters, now, wall, hub, .. } = self;
        act(hub, &mut Sink { pool, gc, counters, now: *now, wall: *wall })
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.now += Duration::from_millis(u64::try_from(ms).unwrap());
        self.wall = self.wall.after(MediaTime::from_millis(ms));
    }

    pub(crate) fn configure(&mut self, codec: Codec, record: &[u8]) {
        self.with(|hub, sink| hub.set_config(0, codec, record, MediaTime::ZERO, sink)).unwrap();
    }

    pub(crate) fn returns(&mut self) {
        let now = self.now;
        self.hub.begin_source(&Source::new(Publisher::Demo, Protocol::Demo), now);
    }

    /// A unit of `bytes` bytes at `ms` of the publisher's clock, and the turn that it comes in.
    pub(crate) fn unit(&mut self, codec: Codec, ms: i64, keyframe: bool, bytes: usize) {
        let mut payload = vec![0x5a; bytes.max(8)];
        if matches!(codec, Codec::H264) {
            let len = u32::try_from(payload.len() - 4).unwrap();
            payload[..4].copy_from_slice(&len.to_be_bytes());
            payload[4] = if keyframe { 0x65 } else { 0x41 };
        }
        self.push(codec, ms, keyframe, &payload);
    }

    /// A frame of MPEG-1 layer III, 128 kb/s and 48 kHz, at `ms`.
    pub(crate) fn sound_of_layer_iii(&mut self, ms: i64) {
        let mut payload = vec![0; 384];
        payload[..4].copy_from_slice(&[0xff, 0xfb, 0x94, 0xc4]);
        self.push(Codec::Mp3, ms, true, &payload);
    }

    fn push(&mut self, codec: Codec, ms: i64, keyframe: bool, payload: &[u8]) {
        self.writer.append(&self.pool, PageClass::Large, payload).unwrap();
        let payload = self.writer.finish(&self.pool);
        let (dts, cts) = (MediaTime::from_millis(ms), MediaTime::ZERO);
        let unit = AccessUnit { track: 0, codec, dts, cts, keyframe, payload };
        assert!(self.with(|hub, sink| hub.push(unit, sink)), "there is room");
        self.turn();
    }

    /// What a shard does at the end of a turn.
    pub(crate) fn turn(&mut self) {
        self.with(|hub, sink| {
            hub.evict(sink);
            hub.show_windows(sink);
        });
        self.hub.logs_mut().iter_mut().for_each(|log| _ = log.publish());
        self.epochs.advance(HOME);
        self.gc.collect(&self.epochs, &self.pool);
    }

    pub(crate) fn subscribe(&mut self, key: LogKey) -> Result<Arc<Log>, Error> {
        let logs = self.with(|hub, sink| hub.subscribe(key, READER, sink));
        logs.map(|logs| Arc::clone(logs.newest()))
    }

    /// A viewer of segments comes.
    pub(crate) fn watch(&mut self) -> Arc<Log> {
        let logs = self.with(|hub, sink| hub.subscribe_segments(READER, sink)).unwrap();
        Arc::clone(logs.newest())
    }

    /// The stream ends and begins anew under its name.
    pub(crate) fn begin_anew(&mut self, config: &StreamConfig) {
        self.numbering = Numbering::at(self.wall).or_later(self.hub.numbering());
        let fresh = Self::hub(config, self.numbering, self.now);
        let Self { pool, gc, counters, now, wall, hub, .. } = self;
        let sink = &mut Sink { pool, gc, counters, now: *now, wall: *wall };
        let logs = std::mem::replace(hub, fresh).end(sink);
        logs.into_iter().for_each(|log| log.close(pool, gc));
    }

    /// Everything is given back.
    pub(crate) fn end(self) {
        let Self { pool, mut gc, mut counters, now, wall, writer, hub, epochs, .. } = self;
        let sink = &mut Sink { pool: &pool, gc: &mut gc, counters: &mut counters, now, wall };
        let logs = hub.end(sink);
        logs.into_iter().for_each(|log| log.close(&pool, sink.gc));
        writer.close(&pool);
        epochs.sleep(HOME);
        gc.collect(&epochs, &pool);
        for class in [PageClass::Large, PageClass::Small] {
            assert_eq!(pool.usage(class).in_use, 0, "a page was lost");
        }
    }
}

/// The window that a log shows now.
pub(crate) fn window(log: &Log) -> Option<Window> {
    log.window().map(|window| (*window).clone())
}

/// The bytes of a log from `from` to `to`.
pub(crate) fn bytes(log: &Log, from: u64, to: u64) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(to - from).unwrap()];
    assert_eq!(log.read(from, &mut out), Ok(out.len()), "all of it is there");
    out
}
