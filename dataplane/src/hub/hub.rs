//! One stream: from the publisher's units to the packaged logs.

use std::time::{Duration, Instant};

use codecs::media::TrackKind;
use codecs::time::{MediaTime, WallTime};

use super::packaged::AUDIO_JOIN_STEP;
use super::readiness::Readiness;
use super::segments::{Begun, StreamSegments};
use super::timeline::{Repair, Timeline};
use super::{HubLog, Publisher, Shown, Source, Subscriber, Tracks, UnitRing};
use crate::config::StreamConfig;
use crate::control::{LogStatus, Protocol};
use crate::error::Error;
use crate::ids::{SecretDigest, StreamId, StreamName};
use crate::log::{
    EntryKind, EntryMeta, Gc, PREAMBLES_MAX, PreambleItem, PreambleKind, SealReason, Succession,
};
use crate::metrics::ShardCounters;
use crate::package::Packager;
use crate::segment::Numbering;
use crate::session::mpegts::TransportProgram;
use crate::session::{AccessUnit, LogKey, TrackId, Use};
use crate::slab::Pool;

/// Packaged logs of one stream at most: every format and dialect of every track that there may be,
/// and of some that there were.
pub(super) const LOGS_MAX: usize = 64;

/// Where a hub's work goes: the shard's memory and counters.
#[derive(Debug)]
pub struct Sink<'a> {
    /// The home shard's pages.
    pub pool: &'a Pool,
    /// Where retired pages wait for their epoch.
    pub gc: &'a mut Gc,
    /// The shard's counters.
    pub counters: &'a mut ShardCounters,
    /// The turn's clock.
    pub now: Instant,
    /// The turn's calendar.
    pub wall: WallTime,
}

/// One stream. Lives on: the home shard. Crosses by: never; its logs are read from every shard.
#[derive(Debug)]
pub struct Hub {
    pub(super) name: StreamName,
    pub(super) config: StreamConfig,
    chunk_bytes: u32,
    publisher: Publisher,
    protocol: Protocol,
    id: Option<StreamId>,
    key: Option<SecretDigest>,
    pub(super) tracks: Tracks,
    pub(super) metadata: Option<Vec<u8>>,
    pub(super) config_version: u32,
    /// Number of the unit before which the configuration last changed.
    pub(super) config_changed_at: u64,
    pub(super) timeline: Timeline,
    pub(super) ring: UnitRing,
    pub(super) logs: Vec<HubLog>,
    /// What the publisher's transport stream has.
    pub(super) transport: Option<Box<TransportProgram>>,
    began: Instant,
    pub(super) last_media: Instant,
    pub(super) source_began: Option<MediaTime>,
    pub(super) silent_checked: bool,
    pub(super) segments: StreamSegments,
    pub(super) readiness: Readiness,
    units: u64,
    /// Its first unit was noticed: see [`Self::has_just_begun`].
    has_begun: bool,
    bytes: u64,
    repaired: u64,
}

impl Hub {
    /// A stream that `source` begins; its segments are numbered from `numbering` on.
    #[must_use]
    pub fn new(
        name: StreamName,
        config: &StreamConfig,
        chunk_bytes: u32,
        tracks_max: usize,
        source: Source,
        numbering: Numbering,
        now: Instant,
    ) -> Self {
        Self {
            name,
            config: *config,
            chunk_bytes,
            publisher: source.publisher,
            protocol: source.protocol,
            id: source.id,
            key: source.key,
            tracks: Tracks::new(tracks_max),
            metadata: None,
            config_version: 0,
            config_changed_at: 0,
            timeline: Timeline::new(config.jump_max, tracks_max),
            ring: UnitRing::new(config.bytes_max, config.retain),
            logs: Vec::new(),
            transport: None,
            began: now,
            last_media: now,
            source_began: None,
            silent_checked: false,
            segments: StreamSegments::new(&config.hls, numbering),
            readiness: Readiness::default(),
            units: 0,
            has_begun: false,
            bytes: 0,
            repaired: 0,
        }
    }

    /// The stream's name.
    #[must_use]
    pub const fn name(&self) -> &StreamName {
        &self.name
    }

    /// Who delivers.
    #[must_use]
    pub const fn publisher(&self) -> Publisher {
        self.publisher
    }

    /// How it is published.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Its publication.
    #[must_use]
    pub const fn id(&self) -> Option<StreamId> {
        self.id
    }

    /// What the key of its publisher can be compared by; the demo clip has none.
    #[must_use]
    pub const fn key(&self) -> Option<SecretDigest> {
        self.key
    }

    /// When the stream began.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// When the last unit came.
    #[must_use]
    pub const fn last_media(&self) -> Instant {
        self.last_media
    }

    /// The tracks.
    #[must_use]
    pub const fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// (units, payload bytes, repaired timestamps) since the stream began.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64, u64) {
        (self.units, self.bytes, self.repaired)
    }

    /// The logs in use, for publishing.
    pub fn logs_mut(&mut self) -> &mut [HubLog] {
        &mut self.logs
    }

    /// How many logs are in use.
    #[must_use]
    pub const fn logs_in_use(&self) -> usize {
        self.logs.len()
    }

    /// Who reads its logs.
    pub fn readers(&self) -> impl Iterator<Item = Subscriber> {
        self.logs.iter().flat_map(HubLog::readers).copied()
    }

    /// The logs in use, for the API.
    #[must_use]
    pub fn log_status(&self) -> Vec<LogStatus> {
        self.logs.iter().map(HubLog::status).collect()
    }

    /// A publisher takes the stream over or returns within the grace time: the publication goes on,
    /// unless it was the demo clip's.
    pub fn begin_source(&mut self, source: &Source, now: Instant) {
        if self.publisher == Publisher::Demo || self.id.is_none() {
            self.id = source.id;
            self.begin_publication();
        }
        self.publisher = source.publisher;
        self.protocol = source.protocol;
        self.key = source.key;
        self.last_media = now;
        self.timeline.expect_new_source();
        self.tracks.begin_source();
        self.segments.begin_source();
        self.transport = None;
        self.logs.iter_mut().for_each(HubLog::expect_source);
        self.source_began = None;
        self.silent_checked = false;
    }

    /// The stream came to another shard, where `publisher` delivers.
    pub(super) const fn arrive(&mut self, publisher: Publisher) {
        self.publisher = publisher;
    }

    /// The publisher is gone; players stay for the grace time, and are sent what waits for more.
    pub fn lose_source(&mut self, now: Instant) {
        self.publisher = Publisher::Lost(now);
        self.logs.iter_mut().for_each(HubLog::lose_source);
    }

    /// Players who come from now on begin at the next join point; what is kept of segments stays.
    pub fn clear_joins(&mut self) {
        self.ring.forget_keyframes();
        self.logs.iter_mut().for_each(HubLog::give_up_join);
    }

    /// Relays a data message.
    pub fn push_data(&mut self, body: Vec<u8>, sink: &mut Sink<'_>) {
        let Some(dts) = self.timeline.newest() else { return };
        let item = PreambleItem { kind: PreambleKind::Metadata, body };
        let meta = EntryMeta::plain(EntryKind::Data, dts, self.config_version);
        for log in &mut self.logs {
            log.append_message(&item, meta, sink);
        }
    }

    /// Takes one access unit: timeline, logs, ring; false if no page was left for a log.
    pub fn push(&mut self, mut unit: AccessUnit, sink: &mut Sink<'_>) -> bool {
        let kind = unit.codec.kind();
        let known = self.tracks.ensure(unit.track, unit.codec);
        let usable = known.as_ref().is_some_and(|(track, _)| !track.lacks_config());
        let Some((track, changed)) = known.filter(|_| usable) else {
            sink.counters.units_dropped_malformed += 1;
            sink.pool.release(unit.payload);
            return true;
        };
        let wall = sink.now.saturating_duration_since(self.began);
        let wall = MediaTime::from_nanos(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX));
        let learned = track.learn(&unit, sink.pool);
        let placed = self.timeline.place((kind, unit.track), unit.dts, wall);
        count_repair(placed.repair, &mut self.repaired, sink.counters);
        // A raised decode time must not move the picture: presentation stays where it was.
        if placed.repair == Repair::Raised && kind == TrackKind::Video {
            let offset = self.timeline.offset_of((kind, unit.track));
            unit.cts = (unit.dts + offset + unit.cts - placed.dts).max(MediaTime::ZERO);
        }
        unit.dts = placed.dts;
        track.account(unit.dts, unit.payload.len() as u64);
        let speaks = std::mem::take(&mut track.silent);
        if changed || speaks {
            let news = (speaks || learned).then_some((kind, unit.track));
            self.config_changed(news, unit.dts, sink);
        } else if learned {
            self.format_learned(sink);
        } else if self.source_began.is_none() {
            // What the publisher before said of its tracks is no longer true.
            (0..self.logs.len()).for_each(|at| self.renew_preamble(at, sink));
        }
        self.last_media = sink.now;
        self.units += 1;
        self.bytes += unit.payload.len() as u64;
        sink.counters.units_received += 1;
        sink.counters.unit_bytes_received += unit.payload.len() as u64;
        self.hide_silent_tracks(&unit, sink);
        let begun = self.cut(&unit, sink);
        let kept = self.package(&unit, begun, sink);
        self.ring.push(unit, sink.pool);
        kept
    }

    /// False while it cannot be told whether the stream has a track of that number: encoders
    /// announce all of theirs before the first unit.
    #[must_use]
    pub fn knows_track(&self, wanted: TrackId) -> bool {
        self.units > 0 || self.tracks.offers(wanted)
    }

    /// True once, after the first unit: who waited for its tracks can be answered.
    pub const fn has_just_begun(&mut self) -> bool {
        self.units > 0 && !std::mem::replace(&mut self.has_begun, true)
    }

    /// The log of `key`, created and filled from the newest keyframe on if nobody used it yet.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the stream has no track of its number, none that the format carries,
    /// or `LOGS_MAX` logs.
    pub fn subscribe(
        &mut self,
        key: LogKey,
        reader: Subscriber,
        sink: &mut Sink<'_>,
    ) -> Result<Succession, Error> {
        let key = self.live_key(key);
        if key == LogKey::RELAYED
            && let Some(at) = self.open_relayed(sink)
        {
            self.logs[at].add_reader(reader, Use::Live);
            return Ok(self.logs[at].logs());
        }
        self.subscribe_as(key, Use::Live, reader, sink)
    }

    pub(super) fn subscribe_as(
        &mut self,
        key: LogKey,
        usage: Use,
        reader: Subscriber,
        sink: &mut Sink<'_>,
    ) -> Result<Succession, Error> {
        let at = match self.logs.iter().position(|log| log.key() == key) {
            Some(at) => at,
            None if !self.offers(key) => return Err(Error::Rejected("no_track")),
            None if self.logs.len() >= LOGS_MAX => return Err(Error::Rejected("logs")),
            None => self.open_log(key, sink),
        };
        self.logs[at].add_reader(reader, usage);
        Ok(self.logs[at].logs())
    }

    /// True if a log of `key` would hold anything that players of it ask for.
    fn offers(&self, key: LogKey) -> bool {
        let shown = self.shown(key);
        let carried = |kind| {
            let track = self.tracks.chosen_of(kind, shown.of(kind)?)?;
            Some(Packager::carries(key.format, track.codec, track.config.as_ref()))
        };
        let carried = [carried(TrackKind::Video), carried(TrackKind::Audio)];
        let in_vain = carried.contains(&Some(false)) && !carried.contains(&Some(true));
        // A track that is not known yet may come soon after the first one.
        self.tracks.offers(key.track) && !(self.silent_checked && in_vain)
    }

    /// A shard reads the log of `key` no longer.
    pub fn unsubscribe(&mut self, key: LogKey, reader: Subscriber, sink: &mut Sink<'_>) {
        let relayed = key == LogKey::SEGMENTS;
        let is_of =
            |log: &&mut HubLog| log.key() == key || (relayed && log.key() == LogKey::RELAYED);
        for log in self.logs.iter_mut().filter(is_of) {
            log.remove_reader(reader, sink.now);
        }
        self.show_windows(sink);
    }

    /// Lets go of sealed logs in which nobody begins any more: a stream that pauses evicts nothing.
    pub fn leave_sealed_logs(&mut self) {
        self.logs.iter_mut().for_each(HubLog::leave_before);
    }

    /// Drops logs that nobody has read for the idle time; true if any was.
    pub fn drop_idle_logs(&mut self, sink: &mut Sink<'_>) -> bool {
        self.drop_log_idle_for(self.config.idle_log, false, sink)
    }

    fn drop_log_idle_for(&mut self, idle: Duration, pressed: bool, sink: &mut Sink<'_>) -> bool {
        let now = sink.now;
        let spent = |log: &HubLog| log.is_idle(idle, now) && (pressed || !log.is_kept_always());
        let Some(at) = self.logs.iter().position(spent) else { return false };
        self.logs.swap_remove(at).end(SealReason::Idle).close(sink.pool, sink.gc);
        true
    }

    /// Drops what the windows no longer need; called once per turn in which units came.
    pub fn evict(&mut self, sink: &mut Sink<'_>) {
        for log in &mut self.logs {
            sink.counters.gops_oversized += log.evict(sink.gc);
        }
    }

    /// Bytes of units and logs.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let logs = self.logs.iter().map(|log| log.log().committed() - log.log().tail());
        self.ring.bytes() + logs.sum::<u64>()
    }

    /// Bytes of what it holds beside pages: the table of units, and what players are told first, in
    /// each log as often as a log may keep it.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        let told = self.metadata.as_ref().map_or(0, Vec::capacity) + self.tracks.told_bytes();
        let versions = PREAMBLES_MAX.min(self.config_version as usize + 1);
        let relayed = self.transport.as_ref().map_or(0, |program| program.buffer_bytes())
            + self.logs.iter().map(HubLog::buffer_bytes).sum::<usize>();
        self.ring.table_bytes() + told * (1 + versions * self.logs.len()) + relayed
    }

    /// Closes the logs that nobody reads, at once.
    pub fn drop_unread_logs(&mut self, sink: &mut Sink<'_>) {
        while self.drop_log_idle_for(Duration::ZERO, true, sink) {}
    }

    /// Answers a pool under pressure: what lies before the newest GOP goes; false if nothing did.
    pub fn relieve(&mut self, sink: &mut Sink<'_>) -> bool {
        let mut any = self.ring.shrink(sink.pool);
        for log in &mut self.logs {
            any |= log.shrink(sink.gc);
        }
        any
    }

    /// Answers an exhausted pool that nothing else has helped: even the newest GOP goes, and the
    /// stream recovers at its next keyframe.
    pub fn forget(&mut self, sink: &mut Sink<'_>) {
        self.ring.clear(sink.pool);
        self.logs.iter_mut().for_each(|log| log.forget(sink.gc));
    }

    /// The stream is over: its logs are sealed for their readers to drain.
    pub fn end(mut self, sink: &mut Sink<'_>) -> Vec<HubLog> {
        self.ring.clear(sink.pool);
        self.end_segments(sink);
        self.logs.into_iter().map(|log| log.end(SealReason::Ended)).collect()
    }

    /// A log in which nothing is.
    pub(super) fn empty_log(&self, key: LogKey, sink: &mut Sink<'_>) -> HubLog {
        let limits = self.log_limits(key);
        let packager = Packager::new(key, self.chunk_bytes);
        let shown = self.shown(key);
        let mut log = HubLog::new(packager, shown, limits, self.preamble(packager, shown), sink);
        log.set_tracks(&self.tracks);
        log
    }

    pub(super) fn open_log(&mut self, key: LogKey, sink: &mut Sink<'_>) -> usize {
        let shown = self.shown(key);
        let mut log = self.empty_log(key, sink);
        let segments = self.log_segments(key);
        let listed = segments.is_some();
        segments.into_iter().for_each(|segments| log.list_segments(segments));
        // Units before the last change of configuration would follow the wrong preamble.
        let video = shown.video.filter(|&id| match self.timeline.newest() {
            Some(now) => !self.ring.pictures_stalled(id, now),
            None => true,
        });
        let from = if let Some(id) = video {
            self.ring.newest_keyframe(id).filter(|&at| at >= self.config_changed_at)
        } else {
            let since = self.timeline.newest().map(|newest| newest - AUDIO_JOIN_STEP);
            since.map(|since| self.ring.first_since(since).max(self.config_changed_at))
        };
        let whole = self.config_changed_at.max(self.ring.first_number());
        let segment = self.segments.first_since(whole).filter(|_| listed);
        if let Some(from) = from.into_iter().chain(segment).min() {
            let held = |unit: &AccessUnit| shown.of(unit.codec.kind()) == Some(unit.track);
            log.foresee(self.ring.from(from).filter(|unit| held(unit)));
            for (number, unit) in (from..).zip(self.ring.from(from)) {
                if held(unit) {
                    let begun = self.segments.begun_by(number);
                    log.append_unit(unit, video.is_some(), self.config_version, begun, sink);
                }
            }
        }
        // Nobody reads it yet.
        log.publish().for_each(drop);
        // A GOP that is too large for joiners is so for the first one, too.
        sink.counters.gops_oversized += log.evict(sink.gc);
        self.logs.push(log);
        self.logs.len() - 1
    }

    /// Hands a unit to the logs that hold its track.
    fn package(&mut self, unit: &AccessUnit, begun: Option<Begun>, sink: &mut Sink<'_>) -> bool {
        let kind = unit.codec.kind();
        let mut kept = true;
        for log in &mut self.logs {
            let shown = log.shown();
            if shown.of(kind) != Some(unit.track) {
                continue;
            }
            // Where pictures come, players begin at one.
            let stalled = |id| self.ring.pictures_stalled(id, unit.dts);
            let video = kind == TrackKind::Video || shown.video.is_some_and(|id| !stalled(id));
            kept &= log.append_unit(unit, video, self.config_version, begun, sink);
        }
        kept
    }

    /// The tracks that a log of `key` holds now.
    pub(super) fn shown(&self, key: LogKey) -> Shown {
        let id = |kind| self.tracks.chosen_of(kind, key.track).map(|track| track.id);
        Shown { video: id(TrackKind::Video), audio: id(TrackKind::Audio) }
    }
}

const fn count_repair(repair: Repair, repaired: &mut u64, counters: &mut ShardCounters) {
    match repair {
        Repair::None => return,
        Repair::Raised => {}
        Repair::Jumped => counters.timeline_jumps += 1,
    }
    *repaired += 1;
    counters.timestamps_repaired += 1;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::Log;
    use crate::session::{Dialect, Format};
    use crate::slab::{AuWriter, PageClass, Region, RegionConfig};
    use codecs::media::Codec;

    const KEY: LogKey = LogKey { format: Format::Flv, dialect: Dialect::LegacyIds, track: 0 };
    const READER: Subscriber = Subscriber { shard: crate::ids::ShardId(0), slot: 0, number: 0 };
    const AVCC: &[u8] = &[
        1, 66, 0xc0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80, 1, 0, 4,
        0x68, 0xce, 0x3c, 0x80,
    ];

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// A hub, its memory, and what a publisher does to it.
    struct Bench {
        pool: Pool,
        gc: Gc,
        counters: ShardCounters,
        now: Instant,
        writer: AuWriter,
        hub: Hub,
    }

    impl Bench {
        fn new() -> Self {
            let region = RegionConfig {
                shards: 1,
                large_pages_per_shard: 16,
                small_pages_per_shard: 16,
                poison: true,
            };
            let pool = Region::map(&region).unwrap().1.remove(0);
            let now = origin();
            let config = StreamConfig { bytes_max: 512 << 10, ..StreamConfig::default() };
            let publisher = Source::new(Publisher::Demo, Protocol::Demo);
            let name = StreamName::parse("test").unwrap();
            let numbering = Numbering::default();
            let hub = Hub::new(name, &config, 4_096, 8, publisher, numbering, now);
            let (gc, counters) = (Gc::new(&pool), ShardCounters::default());
            Self { gc, pool, counters, now, writer: AuWriter::new(), hub }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut Hub, &mut Sink<'_>) -> T) -> T {
            let Self { pool, gc, counters, now, hub, .. } = self;
            let wall = WallTime::default();
            act(hub, &mut Sink { pool, gc, counters, now: *now, wall })
        }

        fn configure(&mut self, codec: Codec, record: &[u8]) {
            self.configure_track(0, codec, record);
        }

        fn configure_track(&mut self, id: TrackId, codec: Codec, record: &[u8]) {
            let dts = MediaTime::ZERO;
            self.with(|hub, sink| hub.set_config(id, codec, record, dts, sink)).unwrap();
        }

        fn unit(&mut self, codec: Codec, ms: i64, keyframe: bool) {
            self.unit_of(0, codec, ms, keyframe);
        }

        fn unit_of(&mut self, track: TrackId, codec: Codec, ms: i64, keyframe: bool) {
            assert!(self.try_unit(track, codec, ms, keyframe, 10));
        }

        /// False if there was no page for the unit or for its entry.
        fn try_unit(
            &mut self,
            track: TrackId,
            codec: Codec,
            ms: i64,
            keyframe: bool,
            bytes: usize,
        ) -> bool {
            let bytes = vec![7; bytes];
            if self.writer.append(&self.pool, PageClass::Large, &bytes).is_err() {
                self.writer.abort(&self.pool);
                return false;
            }
            let payload = self.writer.finish(&self.pool);
            let (dts, cts) = (MediaTime::from_millis(ms), MediaTime::ZERO);
            let unit = AccessUnit { track, codec, dts, cts, keyframe, payload };
            let kept = self.with(|hub, sink| hub.push(unit, sink));
            self.publish();
            kept
        }

        fn collect(&mut self) {
            self.gc.collect(&crate::log::Epochs::new(1), &self.pool);
        }

        fn publish(&mut self) {
            self.with(Hub::evict);
            self.hub.logs_mut().iter_mut().for_each(|log| _ = log.publish());
        }

        fn log(&mut self) -> Arc<Log> {
            self.log_of(0).unwrap()
        }

        fn log_of(&mut self, track: TrackId) -> Result<Arc<Log>, Error> {
            let key = LogKey { track, ..KEY };
            let logs = self.with(|hub, sink| hub.subscribe(key, READER, sink));
            logs.map(|logs| Arc::clone(logs.newest()))
        }

        fn end(self) {
            let Self { pool, mut gc, mut counters, now, writer, hub } = self;
            let wall = WallTime::default();
            let (gc, counters) = (&mut gc, &mut counters);
            let mut sink = Sink { pool: &pool, gc, counters, now, wall };
            let logs = hub.end(&mut sink);
            logs.into_iter().for_each(|log| log.close(&pool, sink.gc));
            writer.close(&pool);
            gc.collect(&crate::log::Epochs::new(1), &pool);
            assert_eq!(pool.usage(PageClass::Large).in_use, 0);
        }
    }

    const ASC: &[u8] = &[0x12, 0x10];

    #[test]
    fn sound_is_joined_while_announced_pictures_do_not_come() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        bench.configure(Codec::Aac, ASC);
        let log = bench.log();
        (0..100).for_each(|number| bench.unit(Codec::Aac, number * 25, true));
        let join = log.newest_join().expect("players of sound join");
        assert_eq!(log.preamble(join.config_version).unwrap().items.len(), 1);
        bench.unit(Codec::H264, 2_500, true);
        let join = log.newest_join().expect("players of both join");
        assert_eq!(join.dts, MediaTime::from_millis(2_500));
        assert_eq!(log.preamble(join.config_version).unwrap().items.len(), 2);
        let headers = (0..log.entries_committed()).filter_map(|number| log.entry(number));
        let told = headers.filter(|entry| entry.kind == EntryKind::Config).count();
        assert_eq!(told, 1, "who is there learns of the pictures");
        bench.end();
    }

    #[test]
    fn pictures_that_stall_do_not_hold_joins_back() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        bench.configure(Codec::Aac, ASC);
        let log = bench.log();
        bench.unit(Codec::H264, 0, true);
        (0..1_200).for_each(|number| bench.unit(Codec::Aac, number * 25, true));
        let join = log.newest_join().expect("sound is joined");
        assert!(join.dts >= MediaTime::from_millis(28_900), "not {:?}", join.dts);
        let oldest = log.entry_containing(log.tail()).unwrap();
        assert!(oldest.dts >= MediaTime::from_millis(19_000), "not {:?}", oldest.dts);
        bench.end();
    }

    #[test]
    fn a_publisher_of_large_pictures_recovers_from_an_empty_pool() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        let log = bench.log();
        let (mut lost, mut joins) = (0, 0);
        for number in 0..200_i64 {
            let keyframe = number % 25 == 0;
            if !bench.try_unit(0, Codec::H264, number * 40, keyframe, 90_000) {
                lost += 1;
                if !bench.with(Hub::relieve) {
                    bench.with(Hub::forget);
                }
            }
            bench.collect();
            if keyframe && number >= 50 {
                joins += u32::from(
                    log.newest_join()
                        .is_some_and(|join| join.dts == MediaTime::from_millis(number * 40)),
                );
            }
        }
        assert!(lost > 0, "the pool is too small for a GOP");
        assert!(joins >= 4, "most keyframes are places to join again: {joins} of 6");
        assert!(bench.counters.units_dropped_memory > lost, "pictures wait for a keyframe");
        bench.end();
    }

    #[test]
    fn metadata_each_second_leaves_the_gop_joinable() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        bench.unit(Codec::H264, 0, true);
        let early = bench.log();
        for second in 1..20_u8 {
            bench.with(|hub, sink| {
                hub.set_metadata(vec![second], MediaTime::from_millis(0), sink);
            });
            bench.unit(Codec::H264, i64::from(second) * 100, false);
        }
        let other = LogKey { format: Format::Rtmp, ..KEY };
        let late =
            bench.with(|hub, sink| hub.subscribe(other, READER, sink)).unwrap().newest().clone();
        for log in [early, late] {
            let join = log.newest_join().expect("the keyframe is kept");
            let preamble = log.preamble(join.config_version).expect("its preamble, too");
            assert_eq!(preamble.items[0].body, [19], "with the newest metadata");
        }
        bench.end();
    }

    /// (kind, time) of every entry.
    fn entries(log: &Log) -> Vec<(EntryKind, i64)> {
        let entries = (0..log.entries_committed()).filter_map(|number| log.entry(number));
        entries.map(|entry| (entry.kind, entry.dts.as_millis())).collect()
    }

    #[test]
    fn a_log_holds_its_tracks_from_their_own_keyframe_on() {
        let mut bench = Bench::new();
        for id in [0, 1] {
            bench.configure_track(id, Codec::H264, AVCC);
        }
        bench.configure(Codec::Aac, ASC);
        for number in 0..10 {
            bench.unit_of(0, Codec::H264, number * 40, number % 5 == 0);
            bench.unit_of(1, Codec::H264, number * 40 + 1, number % 8 == 2);
            bench.unit_of(0, Codec::Aac, number * 40 + 2, true);
        }
        let log = bench.log_of(1).unwrap();
        let kept = entries(&log);
        assert_eq!(kept[0], (EntryKind::Video, 81), "its own keyframe");
        assert!(kept.iter().all(|&(kind, ms)| (kind == EntryKind::Audio) == (ms % 40 == 2)));
        assert_eq!(kept.len(), 16);
        assert!(matches!(bench.log_of(2), Err(Error::Rejected("no_track"))));
        assert_eq!(bench.hub.log_status().len(), 1, "no log for what is not there");
        bench.end();
    }

    #[test]
    fn a_log_falls_back_to_the_default_track_and_returns() {
        let mut bench = Bench::new();
        for id in [0, 1] {
            bench.configure_track(id, Codec::H264, AVCC);
            bench.unit_of(id, Codec::H264, 0, true);
        }
        let log = bench.log_of(1).unwrap();
        let source = Source::new(Publisher::Demo, Protocol::Demo);
        bench.with(|hub, sink| hub.begin_source(&source, sink.now));
        bench.publish();
        let before = log.entries_committed();
        for number in 0..100 {
            bench.unit(Codec::H264, number * 40, number % 50 == 0);
        }
        let since = |log: &Log, from: u64| entries(log).split_off(usize::try_from(from).unwrap());
        let fallen = since(&log, before);
        assert_eq!(fallen[0].0, EntryKind::Config, "{fallen:?}");
        assert_eq!(fallen.len(), 51, "from the keyframe on which the other track was given up");
        let before = log.entries_committed();
        bench.unit_of(1, Codec::H264, 4_000, false);
        bench.unit(Codec::H264, 4_000, true);
        bench.unit_of(1, Codec::H264, 4_040, true);
        let kinds: Vec<_> = since(&log, before).iter().map(|&(kind, _)| kind).collect();
        assert_eq!(kinds, [EntryKind::Config, EntryKind::Video]);
        bench.end();
    }

    #[test]
    fn an_ended_track_is_shown_no_more_and_comes_back() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        bench.unit(Codec::H264, 0, true);
        bench.unit(Codec::Mp3, 0, true);
        let log = bench.log();
        let shown = |bench: &Bench| bench.hub.shown(KEY);
        assert_eq!(shown(&bench).audio, Some(0));
        let version = bench.hub.config_version;
        bench.with(|hub, sink| hub.end_track(TrackKind::Audio, 0, sink));
        assert_eq!((shown(&bench).audio, bench.hub.config_version), (None, version + 1));
        bench.with(|hub, sink| hub.end_track(TrackKind::Video, 0, sink));
        assert_eq!(shown(&bench).video, Some(0), "the last one stays");
        bench.unit(Codec::H264, 40, true);
        bench.unit(Codec::Mp3, 40, true);
        assert_eq!((shown(&bench).audio, bench.hub.config_version), (Some(0), version + 2));
        drop(log);
        bench.end();
    }

    #[test]
    fn what_a_unit_tells_leaves_the_gop_joinable() {
        let mut bench = Bench::new();
        bench.configure(Codec::H264, AVCC);
        bench.configure(Codec::Mp3, &[]);
        bench.unit(Codec::H264, 0, true);
        let bytes = [&[0xff, 0xfb, 0x90, 0x64][..], &[0; 20]].concat();
        bench.writer.append(&bench.pool, PageClass::Large, &bytes).unwrap();
        let payload = bench.writer.finish(&bench.pool);
        let (dts, cts) = (MediaTime::from_millis(10), MediaTime::ZERO);
        let unit = AccessUnit { track: 0, codec: Codec::Mp3, dts, cts, keyframe: true, payload };
        assert!(bench.with(|hub, sink| hub.push(unit, sink)));
        bench.publish();
        let rates = bench.hub.tracks().status();
        let rate = rates.iter().find_map(|track| track.config.as_ref()?.audio);
        assert_eq!(rate.map(|audio| audio.sample_rate), Some(44_100), "it was learned");
        let join = bench.log().newest_join().map(|join| join.dts);
        assert_eq!(join, Some(MediaTime::ZERO), "the keyframe before it can be joined");
        bench.end();
    }
}
