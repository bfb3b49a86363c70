//! A whole stream: units through the timeline into three packaged logs, segments cut on the way.

use std::time::{Duration, Instant};

use codecs::media::Codec;
use codecs::time::{MediaTime, WallTime};
use dataplane::config::StreamConfig;
use dataplane::control::Protocol;
use dataplane::hub::{Hub, Publisher, Sink, Source, Subscriber};
use dataplane::ids::{ShardId, StreamName};
use dataplane::metrics::ShardCounters;
use dataplane::segment::Numbering;
use dataplane::session::{AccessUnit, Dialect, Format, LogKey};

use super::Scenario;
use super::memory::Memory;
use super::stream::{Frame, SECOND_BYTES, config, second};

const READER: Subscriber = Subscriber { shard: ShardId(0), slot: 0, number: 0 };
const START_UNIX_MS: i64 = 1_790_000_000_000;

struct ThreeLogs {
    memory: Memory,
    hub: Option<Hub>,
    counters: ShardCounters,
    frames: Vec<Frame>,
    units: Vec<AccessUnit>,
    start: Instant,
    seconds: u32,
}

/// A second of a stream that is watched over RTMP, HTTP-FLV and HLS.
pub(super) fn three_logs() -> Box<dyn Scenario> {
    let (memory, start) = (Memory::new(), Instant::now());
    let name = StreamName::parse("live/cam").expect("a legal name");
    let numbering = Numbering::at(WallTime::from_unix_millis(START_UNIX_MS));
    let source = Source::new(Publisher::Demo, Protocol::Demo);
    let hub = Hub::new(name, &StreamConfig::default(), 60_000, 8, source, numbering, start);
    let (frames, units) = (second(), Vec::new());
    let counters = ShardCounters::default();
    let mut stream =
        ThreeLogs { memory, hub: Some(hub), counters, frames, units, start, seconds: 0 };
    stream.with(|hub, sink| {
        for codec in [Codec::H264, Codec::Aac] {
            let record = config(codec).record;
            hub.set_config(0, codec, &record, MediaTime::ZERO, sink).expect("a legal record");
        }
        for format in [Format::Rtmp, Format::Flv] {
            let key = LogKey { format, dialect: Dialect::Native, track: 0 };
            hub.subscribe(key, READER, sink).expect("a format of the stream");
        }
    });
    // There is something to cut before a viewer of segments comes.
    stream.prepare();
    stream.run();
    stream.with(|hub, sink| hub.subscribe_segments(READER, sink).map(drop)).expect("as above");
    Box::new(stream)
}

impl ThreeLogs {
    fn with<T>(&mut self, act: impl FnOnce(&mut Hub, &mut Sink<'_>) -> T) -> T {
        let now = self.start + Duration::from_secs(self.seconds.into());
        let wall = WallTime::from_unix_millis(START_UNIX_MS + i64::from(self.seconds) * 1_000);
        let Memory { pool, gc, .. } = &mut self.memory;
        let sink = &mut Sink { pool, gc, counters: &mut self.counters, now, wall };
        act(self.hub.as_mut().expect("it is taken at the end alone"), sink)
    }
}

impl Scenario for ThreeLogs {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn prepare(&mut self) {
        let Self { memory, frames, units, seconds, .. } = self;
        units.extend(frames.iter().map(|frame| memory.unit(frame, *seconds)));
    }

    fn run(&mut self) {
        let mut units = std::mem::take(&mut self.units);
        self.with(|hub, sink| {
            for unit in units.drain(..) {
                assert!(hub.push(unit, sink), "there is room");
                hub.evict(sink);
                hub.show_windows(sink);
                hub.logs_mut().iter_mut().for_each(|log| _ = log.publish());
            }
        });
        self.memory.turn();
        (self.units, self.seconds) = (units, self.seconds + 1);
    }
}

impl Drop for ThreeLogs {
    fn drop(&mut self) {
        let Some(hub) = self.hub.take() else { return };
        let Self { memory: Memory { pool, gc, .. }, counters, start, units, .. } = self;
        units.drain(..).for_each(|unit| pool.release(unit.payload));
        let wall = WallTime::from_unix_millis(START_UNIX_MS);
        let sink = &mut Sink { pool, gc, counters, now: *start, wall };
        let logs = hub.end(sink);
        logs.into_iter().for_each(|log| log.close(pool, sink.gc));
    }
}
