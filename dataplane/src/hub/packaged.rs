//! One packaged log of a stream, with those who read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::media::TrackKind;
use codecs::time::MediaTime;

use super::relayed::Relayed;
use super::segments::{Begun, LogSegments};
use super::shown::{Missing, Shown};
use super::{Sink, Subscriber, Tracks};
use crate::control::LogStatus;
use crate::log::{
    EntryKind, EntryMeta, Gc, Log, LogLimits, LogWriter, Preamble, PreambleItem, SealReason,
    Succession,
};
use crate::metrics::ShardCounters;
use crate::package::{Packaged, Packager, PacketPackager};
use crate::segment::{Segment, Window};
use crate::session::{AccessUnit, Format, LogKey, Use};
use crate::slab::Pool;

/// Stream time between join points where no video marks them.
pub(super) const AUDIO_JOIN_STEP: MediaTime = MediaTime::from_millis(1_000);

/// One packaged log and its readers. Lives on: the home shard. Crosses by: never; readers hold the
/// [`Log`].
#[derive(Debug)]
pub struct HubLog {
    pub(super) packager: Packager,
    shown: Shown,
    /// What frames units into packets; in logs of packets alone.
    pub(super) packets: Option<Box<PacketPackager>>,
    /// What takes packets as they came; in the log of those alone.
    pub(super) relayed: Option<Box<Relayed>>,
    pub(super) writer: LogWriter,
    /// The sealed logs that it goes on from, while somebody may still begin or ask there.
    before: Option<Succession>,
    /// Shards with players, and the slot that each of them watches.
    pub(super) readers: Vec<Subscriber>,
    /// Shards with viewers of its segments, and the slot that each of them watches.
    pub(super) viewers: Vec<Subscriber>,
    idle_since: Option<Instant>,
    last_join: Option<MediaTime>,
    /// A picture is missing: those that follow cannot be decoded before the next keyframe.
    missing: Option<Missing>,
    /// A window was shown that its readers have not heard of.
    window_shown: bool,
    /// Its source stopped or gave way to another, and its readers have not heard of it.
    pub(super) stopped: bool,
    /// The segments in it; in the log that they are ranges of.
    pub(super) segments: Option<Box<LogSegments>>,
    pub(super) entries: u64,
    bytes: u64,
}

impl HubLog {
    /// An empty log.
    #[must_use]
    pub fn new(
        packager: Packager,
        shown: Shown,
        limits: LogLimits,
        preamble: Preamble,
        sink: &mut Sink<'_>,
    ) -> Self {
        let packets = packager.key().format == Format::MpegTs;
        let open = if packets { LogWriter::of_packets } else { LogWriter::new };
        let mut writer = open(sink.pool, limits);
        let relayed = (packager.key() == LogKey::RELAYED).then(Box::<Relayed>::default);
        let own = relayed.as_ref().map(|relayed| relayed.preamble());
        writer.set_preamble(sink.gc, own.unwrap_or(preamble));
        Self {
            packager,
            relayed,
            shown,
            packets: packets.then(Box::default),
            writer,
            before: None,
            readers: Vec::new(),
            viewers: Vec::new(),
            idle_since: Some(sink.now),
            last_join: None,
            missing: None,
            window_shown: false,
            stopped: false,
            segments: None,
            entries: 0,
            bytes: 0,
        }
    }

    /// Its format and dialect.
    #[must_use]
    pub const fn key(&self) -> LogKey {
        self.packager.key()
    }

    /// Its framing.
    #[must_use]
    pub const fn packager(&self) -> Packager {
        self.packager
    }

    /// The tracks that it holds.
    #[must_use]
    pub const fn shown(&self) -> Shown {
        self.shown
    }

    /// It holds other tracks from now on; what it held until now.
    pub fn show(&mut self, shown: Shown) -> Shown {
        let before = std::mem::replace(&mut self.shown, shown);
        if before.video.is_some() && before.video != shown.video {
            self.missing = Some(Missing::Switched);
        }
        before
    }

    /// The readers' side.
    #[must_use]
    pub const fn log(&self) -> &Arc<Log> {
        self.writer.log()
    }

    /// Reading shards, and the slots that each of them watches.
    pub fn readers(&self) -> impl Iterator<Item = &Subscriber> {
        self.readers.iter().chain(&self.viewers)
    }

    /// A shard reads from now on.
    pub fn add_reader(&mut self, reader: Subscriber, usage: Use) {
        let readers = match usage {
            Use::Live => &mut self.readers,
            Use::Segments => &mut self.viewers,
        };
        readers.retain(|known| known.shard != reader.shard);
        readers.push(reader);
        self.idle_since = None;
        self.count_viewers();
    }

    /// A shard reads no longer.
    pub fn remove_reader(&mut self, reader: Subscriber, now: Instant) {
        let before = self.readers.len() + self.viewers.len();
        self.readers.retain(|&known| known != reader);
        self.viewers.retain(|&known| known != reader);
        if before == self.readers.len() + self.viewers.len() {
            return;
        }
        if self.readers().next().is_none() {
            self.idle_since = Some(now);
        }
        self.count_viewers();
    }

    fn count_viewers(&mut self) {
        let viewed = !self.viewers.is_empty();
        if let Some(segments) = &mut self.segments {
            segments.view(viewed);
        }
    }

    /// Lists its segments from now on.
    pub(super) fn list_segments(&mut self, segments: LogSegments) {
        self.segments = Some(Box::new(segments));
    }

    /// Its segments.
    pub(super) fn segments_mut(&mut self) -> Option<&mut LogSegments> {
        self.segments.as_deref_mut()
    }

    /// True if playlists of its segments are shown, as soon as one is finished.
    #[must_use]
    pub fn serves_segments(&self) -> bool {
        self.segments.as_ref().is_some_and(|segments| segments.are_used())
    }

    /// True if it is kept without a reader.
    #[must_use]
    pub fn is_kept_always(&self) -> bool {
        let passes = self.relayed.as_ref().is_some_and(|relayed| relayed.passes());
        passes || self.segments.as_ref().is_some_and(|segments| segments.always())
    }

    /// Shows a window in place of the one before, or none.
    pub(super) fn show_window(&mut self, window: Option<Window>, gc: &mut Gc) {
        self.writer.show_window(gc, window);
        self.window_shown = true;
    }

    /// The stream ended, and its last segment with it.
    pub(super) fn end_segments(&mut self, finished: Option<&Segment>) {
        let head = self.writer.head();
        if let Some(segments) = &mut self.segments {
            segments.end(head, finished);
        }
    }

    /// True if nobody has read it for `idle`.
    #[must_use]
    pub fn is_idle(&self, idle: Duration, now: Instant) -> bool {
        self.idle_since.is_some_and(|since| now.saturating_duration_since(since) >= idle)
    }

    /// What joins begin with from now on.
    pub fn set_preamble(&mut self, preamble: Preamble, sink: &mut Sink<'_>) {
        if self.relayed.is_some() {
            // Its versions are its own.
            return;
        }
        self.writer.set_preamble(sink.gc, preamble);
    }

    /// The tracks that it holds are these from now on.
    pub fn set_tracks(&mut self, tracks: &Tracks) {
        let Some(packets) = &mut self.packets else { return };
        let shown = self.shown;
        let kinds = [TrackKind::Video, TrackKind::Audio].into_iter();
        let held = kinds.filter_map(|kind| tracks.chosen_of(kind, shown.of(kind)?));
        packets.set_tracks(held.map(|track| (track.codec, track.config.as_ref())));
    }

    /// Looks at units before they are appended.
    pub fn foresee<'a>(&mut self, units: impl Iterator<Item = &'a AccessUnit>) {
        if let Some(packets) = &mut self.packets {
            packets.foresee(units);
        }
    }

    /// Makes what was appended visible; the readers to wake: players if there was anything or its
    /// source stopped, viewers if there is another window.
    pub fn publish(&mut self) -> impl Iterator<Item = &Subscriber> {
        let published = self.writer.publish() | std::mem::take(&mut self.stopped);
        let window_shown = std::mem::take(&mut self.window_shown);
        let players = self.readers.iter().filter(move |_| published || window_shown);
        players.chain(self.viewers.iter().filter(move |_| window_shown))
    }

    /// Drops what the window no longer needs; the join points that were given up.
    pub fn evict(&mut self, gc: &mut Gc) -> u64 {
        let before = self.writer.counters().joins_lost;
        self.writer.hold(self.segments.as_ref().and_then(|segments| segments.hold_from()));
        self.writer.evict(gc);
        self.keep_newest_gop(gc);
        self.lose_segments();
        self.leave_before();
        self.writer.counters().joins_lost - before
    }

    /// Drops what lies before the newest join point, and before the newest finished segment if
    /// there are requests for it; true if there was anything.
    pub fn shrink(&mut self, gc: &mut Gc) -> bool {
        let least = self.segments.as_ref().and_then(|segments| segments.newest_from());
        let any = self.writer.shrink(gc, least);
        self.lose_segments();
        any
    }

    /// Drops everything that is published.
    pub fn forget(&mut self, gc: &mut Gc) {
        self.writer.forget(gc);
        self.lose_segments();
    }

    fn lose_segments(&mut self) {
        let own = || self.writer.log().tail();
        let tail = self.before.as_ref().map_or_else(own, Succession::tail);
        if let Some(segments) = &mut self.segments {
            segments.lose_before(tail);
        }
    }

    /// True if no shard can read it any more.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        Arc::strong_count(self.log()) == 1
    }

    /// The log, and the sealed ones before it that a new reader may need.
    #[must_use]
    pub fn logs(&self) -> Succession {
        let own = || Succession::new(Arc::clone(self.log()));
        self.before.clone().unwrap_or_else(own)
    }

    /// Nobody begins before the next join point.
    pub(super) fn give_up_join(&mut self) {
        self.writer.give_up_join();
    }

    /// No new reader will come: the sealed logs before it are for those who read them.
    pub fn forget_before(&mut self) {
        self.before = None;
    }

    /// Lets go of the sealed logs before it in which nobody begins and no segment lies any more.
    pub(super) fn leave_before(&mut self) {
        let Some(before) = &mut self.before else { return };
        let own = self.writer.log();
        let begins = match before.newest_join() {
            Some(entry) if !before.joins_newest() => entry.offset,
            _ => own.start(),
        };
        let held = self.segments.as_ref().and_then(|segments| segments.hold_from());
        before.leave_before(held.map_or(begins, |from| from.min(begins)));
        if Arc::ptr_eq(before.first(), own) {
            self.before = None;
        }
    }

    /// Seals it with a log that goes on from it, which is written from now on, and returns the
    /// writer of the sealed one.
    #[must_use]
    pub(super) fn hand_on(&mut self, preamble: Preamble, sink: &mut Sink<'_>) -> LogWriter {
        let mut next = self.writer.successor(sink.pool);
        let own = self.relayed.as_ref().map(|relayed| relayed.preamble());
        next.set_preamble(sink.gc, own.unwrap_or(preamble));
        self.writer.seal(SealReason::Moved, Some(Arc::clone(next.log())));
        let sealed = std::mem::replace(&mut self.writer, next);
        self.before.get_or_insert_with(|| Succession::new(Arc::clone(sealed.log())));
        sealed
    }

    /// It is written with the pages of `pool` from now on.
    pub(super) fn settle(&self, pool: &Pool) {
        self.writer.settle_at(pool);
    }

    /// Seals it for its readers to drain.
    #[must_use]
    pub fn end(mut self, reason: SealReason) -> Self {
        self.writer.publish();
        self.writer.seal(reason, None);
        self
    }

    /// Says of a log that ended where the stream goes on.
    pub fn seal(&mut self, reason: SealReason) {
        self.writer.seal(reason, None);
    }

    /// Gives every page back.
    pub fn close(self, pool: &Pool, gc: &mut Gc) {
        self.writer.close(pool, gc);
    }

    /// Packages one access unit, if what it follows is there; false if no page was left.
    ///
    /// `begun` is the segment that begins with it.
    pub fn append_unit(
        &mut self,
        unit: &AccessUnit,
        has_video: bool,
        config_version: u32,
        begun: Option<Begun>,
        sink: &mut Sink<'_>,
    ) -> bool {
        if !self.frames_units(sink) {
            return true;
        }
        let head = self.writer.head();
        if let (Some(segments), Some(begun)) = (&mut self.segments, begun) {
            segments.expect(begun, head);
        }
        let kind = unit.codec.kind();
        if self.packets.as_ref().is_some_and(|packets| !packets.carries(unit.codec)) {
            sink.counters.units_left_out_ts += 1;
            return true;
        }
        if let Some(missing) = self.missing
            && kind == TrackKind::Video
            && !unit.keyframe
        {
            missing.count(sink.counters);
            return true;
        }
        let has_video = has_video && self.packets.as_ref().is_none_or(|ts| ts.has_video());
        let join = if has_video {
            kind == TrackKind::Video && unit.keyframe
        } else {
            self.last_join.is_none_or(|last| unit.dts - last >= AUDIO_JOIN_STEP)
        };
        let (at, config_version) = match &mut self.relayed {
            Some(relayed) => (relayed.place_unit(unit.dts, sink.now), relayed.version()),
            None => (unit.dts, config_version),
        };
        let meta = EntryMeta::plain(EntryKind::from(kind), at, config_version);
        let segment = self.segments.as_ref().is_some_and(|segments| segments.is_due());
        let meta = EntryMeta { join, segment, ..meta };
        let before = self.writer.head();
        let packaged = match &mut self.packets {
            Some(packets) => packets.unit(&mut self.writer, sink.pool, unit, meta),
            None => (self.packager.unit(&mut self.writer, sink.pool, unit, meta))
                .map(|()| Packaged::Whole),
        };
        match packaged {
            Ok(Packaged::LeftOut) => {
                self.lack(kind, Missing::LeftOut, sink.counters);
                true
            }
            Ok(Packaged::Whole) => {
                if join {
                    self.last_join = Some(unit.dts);
                }
                if kind == TrackKind::Video {
                    self.missing = None;
                }
                if let Some(segments) = &mut self.segments {
                    segments.begin(self.writer.newest_offset());
                }
                self.count_entry(before, sink.counters);
                true
            }
            Err(_) => {
                self.lack(kind, Missing::Memory, sink.counters);
                false
            }
        }
    }

    /// True if units are framed for it; where they are from now on, that is told first.
    fn frames_units(&mut self, sink: &mut Sink<'_>) -> bool {
        let Self { relayed: Some(relayed), packets: Some(packets), writer, .. } = self else {
            return true;
        };
        if relayed.awaits_source() && relayed.begin_units(packets, writer, sink) {
            self.missing = Some(Missing::Switched);
            self.last_join = None;
        }
        self.relayed.as_ref().is_some_and(|relayed| relayed.frames())
    }

    /// A unit is not in the log; pictures may refer to it.
    const fn lack(&mut self, kind: TrackKind, why: Missing, counters: &mut ShardCounters) {
        why.count(counters);
        if matches!(kind, TrackKind::Video) && self.missing.is_none() {
            self.missing = Some(why);
        }
    }

    /// Packages a configuration, metadata or a data message.
    pub fn append_message(&mut self, item: &PreambleItem, meta: EntryMeta, sink: &mut Sink<'_>) {
        if !self.packager.has_messages() {
            return;
        }
        let before = self.writer.head();
        match self.packager.message(&mut self.writer, sink.pool, item, meta) {
            Ok(()) => self.count_entry(before, sink.counters),
            Err(_) => sink.counters.units_dropped_memory += 1,
        }
    }

    fn reader_shards(&self) -> u32 {
        let also = |of: &&Subscriber| self.readers.iter().all(|known| known.shard != of.shard);
        let shards = self.readers.len() + self.viewers.iter().filter(also).count();
        u32::try_from(shards).unwrap_or(u32::MAX)
    }

    /// What the API shows.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        LogStatus {
            format: self.key().name(),
            track: self.key().track,
            reader_shards: self.reader_shards(),
            entries: self.entries,
            bytes: self.bytes,
            held_bytes: self.log().committed() - self.log().tail(),
        }
    }

    /// An entry of packets that came was appended.
    pub(super) fn count_relayed(&mut self, sink: &mut Sink<'_>) {
        self.count_entry(self.writer.newest_offset(), sink.counters);
    }

    /// Bytes beside its record and its pages.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.relayed.as_ref().map_or(0, |relayed| relayed.buffer_bytes())
    }

    const fn count_entry(&mut self, before: u64, counters: &mut ShardCounters) {
        let bytes = self.writer.head() - before;
        self.entries += 1;
        self.bytes += bytes;
        match self.key().format {
            Format::Rtmp => {
                counters.entries_packaged_rtmp += 1;
                counters.bytes_packaged_rtmp += bytes;
            }
            Format::Flv => {
                counters.entries_packaged_flv += 1;
                counters.bytes_packaged_flv += bytes;
            }
            Format::MpegTs => {
                counters.entries_packaged_ts += 1;
                counters.bytes_packaged_ts += bytes;
            }
        }
    }
}
