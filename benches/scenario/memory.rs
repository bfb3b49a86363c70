//! The memory of one shard: pages, and what waits until they may be used again.

use codecs::time::MediaTime;
use dataplane::ids::ShardId;
use dataplane::log::{Epochs, Gc, LogLimits};
use dataplane::session::AccessUnit;
use dataplane::slab::{AuWriter, PageClass, Pool, Region, RegionConfig};

use super::stream::Frame;

const HOME: ShardId = ShardId(0);

/// What the log of a stream of 2 Mb/s keeps here: about six seconds.
pub(super) const LIMITS: LogLimits = LogLimits {
    bytes_max: 4 << 20,
    retain: MediaTime::from_millis(6_000),
    gop_bytes_max: 2 << 20,
    held_bytes_max: 0,
};

/// Pages of one shard, which is awake.
pub(super) struct Memory {
    pub(super) pool: Pool,
    pub(super) gc: Gc,
    pub(super) epochs: Epochs,
    writer: AuWriter,
}

impl Memory {
    pub(super) fn new() -> Self {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 512,
            small_pages_per_shard: 512,
            poison: false,
        };
        let (_, mut pools) = Region::map(&config).expect("a few pages");
        let pool = pools.remove(0);
        let epochs = Epochs::new(1);
        epochs.enter(HOME);
        Self { gc: Gc::new(&pool), pool, epochs, writer: AuWriter::new() }
    }

    /// The frame as an access unit, `second` seconds after the first ones.
    pub(super) fn unit(&mut self, frame: &Frame, second: u32) -> AccessUnit {
        let appended = self.writer.append(&self.pool, PageClass::Large, &frame.payload);
        appended.expect("the pool holds more than a second");
        let payload = self.writer.finish(&self.pool);
        AccessUnit {
            track: 0,
            codec: frame.codec,
            dts: time(frame, second),
            cts: MediaTime::ZERO,
            keyframe: frame.keyframe,
            payload,
        }
    }

    /// The end of a turn: what nobody reads any more is free again.
    pub(super) fn turn(&mut self) {
        self.epochs.advance(HOME);
        self.gc.collect(&self.epochs, &self.pool);
    }
}

/// When a frame is decoded in the second of that number.
pub(super) fn time(frame: &Frame, second: u32) -> MediaTime {
    MediaTime::from_millis(i64::from(second) * 1_000 + i64::from(frame.ms))
}
