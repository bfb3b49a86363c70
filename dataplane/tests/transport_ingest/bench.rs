//! A session's ingest without a session, and all that it tells.

use std::time::{Duration, Instant};

use codecs::media::{Codec, TrackKind};
use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;
use dataplane::session::mpegts::Ingest;
use dataplane::session::{AccessUnit, Event, TrackId};
use dataplane::slab::{PageClass, Pool, Region, RegionConfig};

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Config { track: TrackId, codec: Codec, record: Vec<u8> },
    Metadata(Vec<u8>),
    Unit(Unit),
    Dropped(&'static str),
}

/// A unit; its times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) track: TrackId,
    pub(crate) codec: Codec,
    pub(crate) dts: i64,
    pub(crate) cts: i64,
    pub(crate) keyframe: bool,
    pub(crate) bytes: Vec<u8>,
}

/// Pages of a shard.
pub(crate) fn pool(large: u32, small: u32) -> Pool {
    let config = RegionConfig {
        shards: 1,
        large_pages_per_shard: large,
        small_pages_per_shard: small,
        poison: true,
    };
    Region::map(&config).unwrap().1.remove(0)
}

/// Pages in use.
pub(crate) fn in_use(pool: &Pool) -> u32 {
    pool.usage(PageClass::Large).in_use + pool.usage(PageClass::Small).in_use
}

/// Bytes of pages in use.
pub(crate) fn bytes_in_use(pool: &Pool) -> usize {
    let bytes = |class: PageClass| pool.usage(class).in_use as usize * class.bytes() as usize;
    bytes(PageClass::Large) + bytes(PageClass::Small)
}

/// An ingest with its pages and its clock.
pub(crate) struct Bench {
    pub(crate) ingest: Ingest,
    pub(crate) pool: Pool,
    start: Instant,
    /// The time on the wall.
    pub(crate) wall_ms: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), &Limits::default(), pool(64, 64))
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to start from")]
    pub(crate) fn with(settings: Settings, limits: &Limits, pool: Pool) -> Self {
        Self { ingest: Ingest::new(settings, limits), pool, start: Instant::now(), wall_ms: 0 }
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.wall_ms)
    }

    /// What bytes say, which come in pieces of a datagram.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Told> {
        self.feed_in(bytes, 1_316)
    }

    pub(crate) fn feed_in(&mut self, bytes: &[u8], step: usize) -> Vec<Told> {
        let mut told = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(event) = self.ingest.feed(self.now(), &mut piece, &self.pool) {
                told.extend(self.told(event));
            }
            assert!(piece.is_empty(), "all is taken");
        }
        told
    }

    /// What was left to say; every page comes back.
    pub(crate) fn end(mut self) -> Vec<Told> {
        self.ingest.finish(self.now(), &self.pool);
        let mut told = Vec::new();
        while let Some(event) = self.ingest.poll() {
            told.extend(self.told(event));
        }
        self.ingest.close(&self.pool);
        assert_eq!(in_use(&self.pool), 0, "every page came back");
        told
    }

    /// What is told of units; of packets and programs nothing is.
    pub(crate) fn told(&self, event: Event) -> Option<Told> {
        Some(match event {
            Event::Program(_) => return None,
            Event::Relay(run) => {
                self.pool.release(run.packets);
                return None;
            }
            Event::Config { track, codec, record, .. } => Told::Config { track, codec, record },
            Event::Metadata { body, .. } => Told::Metadata(body),
            Event::MediaDropped { reason } => Told::Dropped(reason),
            Event::Media(unit) => {
                let AccessUnit { track, codec, dts, cts, keyframe, payload } = unit;
                let bytes = self.pool.chunks(&payload).flatten().copied().collect();
                self.pool.release(payload);
                let (dts, cts) = (dts.as_millis(), cts.as_millis());
                Told::Unit(Unit { track, codec, dts, cts, keyframe, bytes })
            }
            other => panic!("{other:?}"),
        })
    }
}

/// All that a stream tells, from its start to its end.
pub(crate) fn all(bytes: &[u8]) -> Vec<Told> {
    let mut bench = Bench::new();
    let mut told = bench.feed(bytes);
    told.extend(bench.end());
    told
}

pub(crate) fn units(told: &[Told]) -> Vec<&Unit> {
    told.iter()
        .filter_map(|told| match told {
            Told::Unit(unit) => Some(unit),
            _ => None,
        })
        .collect()
}

pub(crate) fn of_kind(told: &[Told], kind: TrackKind) -> Vec<&Unit> {
    units(told).into_iter().filter(|unit| unit.codec.kind() == kind).collect()
}

pub(crate) fn configs(told: &[Told]) -> Vec<(TrackId, Codec, &[u8])> {
    told.iter()
        .filter_map(|told| match told {
            Told::Config { track, codec, record } => Some((*track, *codec, record.as_slice())),
            _ => None,
        })
        .collect()
}

pub(crate) fn dropped(told: &[Told]) -> Vec<&'static str> {
    told.iter()
        .filter_map(|told| match told {
            Told::Dropped(reason) => Some(*reason),
            _ => None,
        })
        .collect()
}

/// What was told, each in a letter: metadata, configurations, pictures (keyframes large), sound,
/// drops.
pub(crate) fn shape(told: &[Told]) -> String {
    let letter = |told: &Told| match told {
        Told::Metadata(_) => 'm',
        Told::Config { .. } => 'c',
        Told::Unit(unit) if unit.codec.kind() == TrackKind::Audio => 'a',
        Told::Unit(unit) if unit.keyframe => 'V',
        Told::Unit(_) => 'v',
        Told::Dropped(_) => 'x',
    };
    told.iter().map(letter).collect()
}
