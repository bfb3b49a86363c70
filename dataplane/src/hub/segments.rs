//! The segments of a stream: cut for every stream, listed and shown where somebody asks.
//!
//! The cuts need times alone and are made all the time, so that the log of packets, whenever it is
//! opened, is filled with the segments that the ring still holds. Whoever reads packets live needs
//! no list: what it would hold is held only while segments are used.

use codecs::codec_string;
use codecs::media::{Codec, TrackKind};
use codecs::mpegts::Framing;
use codecs::time::MediaTime;

use super::{Hub, Shown, Sink, Subscriber, Track, Tracks};
use crate::config::{HlsConfig, HlsMode};
use crate::error::Error;
use crate::log::{LogLimits, Succession};
use crate::segment::{
    ListTerms, Mark, Numbering, Program, Segment, SegmentList, Segmenter, Tags, render,
};
use crate::session::{AccessUnit, LogKey, TrackId, Use};

/// A segment that begins with a unit, and the one that ended there.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    number: u64,
    finished: Option<Segment>,
}

/// The segments that one log holds.
#[derive(Debug)]
pub(super) struct LogSegments {
    list: SegmentList,
    /// Kept without a request.
    always: bool,
    /// There are viewers.
    viewed: bool,
    /// Begins with the next unit that finds room.
    due: Option<Begun>,
    /// Who uses them changed since a window was shown.
    changed: bool,
}

impl LogSegments {
    fn new(config: &HlsConfig) -> Self {
        Self {
            list: SegmentList::new(ListTerms::from(config)),
            always: config.mode == HlsMode::Always,
            viewed: false,
            due: None,
            changed: true,
        }
    }

    pub(super) const fn always(&self) -> bool {
        self.always
    }

    pub(super) const fn are_used(&self) -> bool {
        self.always || self.viewed
    }

    /// There are viewers, or there are none any more.
    pub(super) const fn view(&mut self, viewed: bool) {
        self.changed |= self.viewed != viewed;
        self.viewed = viewed;
    }

    /// The unit that comes next begins a segment; the log's next byte is `head`.
    pub(super) fn expect(&mut self, begun: Begun, head: u64) {
        if let Some(empty) = self.due.replace(begun) {
            // None of its units found room.
            self.list.begin(empty.number, head, empty.finished.as_ref());
        }
    }

    pub(super) const fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// A unit was packaged: what is due begins at its offset.
    pub(super) fn begin(&mut self, at: u64) {
        if let Some(due) = self.due.take() {
            self.list.begin(due.number, at, due.finished.as_ref());
        }
    }

    pub(super) fn end(&mut self, head: u64, finished: Option<&Segment>) {
        self.begin(head);
        self.list.end(head, finished);
    }

    pub(super) fn lose_before(&mut self, tail: u64) {
        self.list.lose_before(tail);
    }

    pub(super) fn hold_from(&self) -> Option<u64> {
        self.list.hold_from().filter(|_| self.are_used())
    }

    pub(super) fn newest_from(&self) -> Option<u64> {
        self.list.newest_from().filter(|_| self.are_used())
    }
}

/// The tracks of the segments, and their codecs.
type Carried = [Option<(TrackId, Codec)>; 2];

/// Where a stream is cut. Lives on: the home shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct StreamSegments {
    segmenter: Segmenter,
    carried: Carried,
    /// A playlist was shown whose segments do not all begin with a keyframe.
    dependent: bool,
    /// The number of the first segment that nobody was told of.
    untold: u64,
}

impl StreamSegments {
    pub(super) fn new(config: &HlsConfig, numbering: Numbering) -> Self {
        let segmenter = Segmenter::new(config, numbering);
        Self { segmenter, carried: [None; 2], dependent: false, untold: numbering.segment }
    }

    /// The target duration in seconds of a playlist that lists `segment` alone.
    pub(super) fn target(&self, segment: &Segment) -> u32 {
        self.segmenter.target(std::iter::once(segment))
    }

    /// The numbers that follow what was used.
    pub(super) const fn numbering(&self) -> Numbering {
        self.segmenter.numbering()
    }

    /// Another publisher begins.
    pub(super) fn begin_source(&mut self) {
        self.segmenter.expect_break();
    }

    /// The tracks are these from now on; `news` is one that changed.
    pub(super) fn set_tracks(
        &mut self,
        tracks: &Tracks,
        shown: Shown,
        news: Option<(TrackKind, TrackId)>,
    ) {
        let carried = KINDS.map(|kind| {
            let track = carried_of(tracks, shown, kind)?;
            Some((track.id, track.codec))
        });
        let told = news.is_some_and(|(kind, id)| {
            carried.iter().flatten().any(|&(track, codec)| track == id && codec.kind() == kind)
        });
        if told || carried != self.carried {
            self.segmenter.expect_break();
        }
        self.carried = carried;
    }

    fn carries(&self, kind: TrackKind) -> Option<TrackId> {
        self.carried.iter().flatten().find(|(_, codec)| codec.kind() == kind).map(|&(id, _)| id)
    }

    /// The first unit to fill a log from, so that it holds every whole segment from `unit` on.
    pub(super) fn first_since(&self, unit: u64) -> Option<u64> {
        self.segmenter.first_since(unit)
    }

    /// The segment that begins with the unit `unit`.
    pub(super) fn begun_by(&self, unit: u64) -> Option<Begun> {
        let number = self.segmenter.begun_by(unit)?;
        let before = number.checked_sub(1).and_then(|before| self.segmenter.segment(before));
        Some(Begun { number, finished: before.copied() })
    }
}

const KINDS: [TrackKind; 2] = [TrackKind::Video, TrackKind::Audio];

/// The track of a kind, if packets can carry it.
fn carried_of(tracks: &Tracks, shown: Shown, kind: TrackKind) -> Option<&Track> {
    let track = tracks.chosen_of(kind, shown.of(kind)?)?;
    Framing::of(track.codec, track.config.as_ref()).is_ok().then_some(track)
}

impl Hub {
    /// Decides whether a segment begins with `unit`, which is not in the ring yet.
    pub(super) fn cut(&mut self, unit: &AccessUnit, sink: &mut Sink<'_>) -> Option<Begun> {
        let kind = unit.codec.kind();
        let off = self.config.hls.mode == HlsMode::Off;
        if off || self.segments.carries(kind) != Some(unit.track) {
            return None;
        }
        let stalled = |id| self.ring.pictures_stalled(id, unit.dts);
        let pictures = self.segments.carries(TrackKind::Video).is_some_and(|id| !stalled(id));
        let number = self.ring.next_number();
        let segmenter = &mut self.segments.segmenter;
        let gops_cut = segmenter.gops_cut();
        let begins = segmenter.push(&Mark {
            kind,
            dts: unit.dts,
            keyframe: unit.keyframe,
            pictures: pictures || kind == TrackKind::Video,
            unit: number,
            wall: sink.wall,
        });
        sink.counters.gops_cut += segmenter.gops_cut() - gops_cut;
        if !begins {
            return None;
        }
        sink.counters.segments_begun += 1;
        let open = self.logs.iter().any(|log| log.key() == LogKey::SEGMENTS);
        if self.config.hls.mode == HlsMode::Always && !open && !sink.pool.is_low() {
            self.open_log(LogKey::SEGMENTS, sink);
        }
        let begun = self.segments.begun_by(number);
        if let Some(finished) = begun.and_then(|begun| begun.finished) {
            self.segment_finished(&finished);
        }
        begun
    }

    /// Numbers and durations of the segments that were finished since this was asked last, in their
    /// order; none if they are not `wanted`. Those that were forgotten since are left out.
    pub fn take_finished_segments(&mut self, wanted: bool) -> Vec<(u64, MediaTime)> {
        let StreamSegments { segmenter, untold, .. } = &mut self.segments;
        let finished = segmenter.finished_from(*untold);
        let next = finished.clone().next_back().map(|last| last.number + 1);
        // CONTROL: a segment a few seconds; an empty list takes no memory.
        let taken = finished.filter(|_| wanted).map(|one| (one.number, one.duration)).collect();
        *untold = next.unwrap_or(*untold);
        taken
    }

    /// The log of segments, for a shard that has viewers from now on.
    ///
    /// # Errors
    /// [`Error::Rejected`] if there is no HLS.
    pub fn subscribe_segments(
        &mut self,
        reader: Subscriber,
        sink: &mut Sink<'_>,
    ) -> Result<Succession, Error> {
        if self.config.hls.mode == HlsMode::Off {
            return Err(Error::Rejected("not_found"));
        }
        let log = self.subscribe_as(LogKey::SEGMENTS, Use::Segments, reader, sink)?;
        self.show_windows(sink);
        Ok(log)
    }

    /// The numbers that follow those of this stream.
    #[must_use]
    pub const fn numbering(&self) -> Numbering {
        self.segments.numbering()
    }

    /// What a new log of `key` keeps.
    pub(super) fn log_limits(&self, key: LogKey) -> LogLimits {
        let held = key == LogKey::SEGMENTS && self.config.hls.mode != HlsMode::Off;
        LogLimits {
            bytes_max: self.config.bytes_max,
            retain: self.config.retain,
            gop_bytes_max: self.config.gop_bytes_max,
            held_bytes_max: if held { self.config.hls.bytes_max } else { 0 },
        }
    }

    /// The list of a new log of `key`.
    pub(super) fn log_segments(&self, key: LogKey) -> Option<LogSegments> {
        let listed = key == LogKey::SEGMENTS && self.config.hls.mode != HlsMode::Off;
        listed.then(|| LogSegments::new(&self.config.hls))
    }

    /// Shows what changed of the segments since it was shown last.
    pub fn show_windows(&mut self, sink: &mut Sink<'_>) {
        let publication = self.id();
        let Self { logs, segments: stream, tracks, .. } = self;
        for log in logs {
            let shown = log.shown();
            let Some(segments) = log.segments_mut() else { continue };
            if !segments.are_used() {
                if std::mem::take(&mut segments.changed) {
                    log.show_window(None, sink.gc);
                }
                continue;
            }
            if !segments.list.has_changed() && !segments.changed {
                continue;
            }
            segments.changed = false;
            let list = &mut segments.list;
            let mut window = None;
            if list.listed_segments().next().is_some() {
                let target_s = stream.segmenter.fix_target(list.listed_segments());
                list.settle(target_s, sink.now);
                stream.dependent |= list.listed_segments().any(|segment| !segment.independent);
                let tags = Tags { target_s, independent: !stream.dependent };
                window = render(list, tags, &program(tracks, shown));
                if let Some(window) = &mut window {
                    window.publication = publication;
                }
                sink.counters.windows_shown += 1;
            }
            log.show_window(window, sink.gc);
        }
    }

    /// The log that they are in from now on shows nothing yet: what was shown is shown again.
    pub(super) fn show_windows_anew(&mut self, sink: &mut Sink<'_>) {
        for log in &mut self.logs {
            if let Some(segments) = log.segments_mut() {
                segments.changed |= segments.are_used();
            }
        }
        self.show_windows(sink);
    }

    /// The last segment ends with the stream.
    pub fn end_segments(&mut self, sink: &mut Sink<'_>) {
        let finished = self.segments.segmenter.end();
        self.logs.iter_mut().for_each(|log| log.end_segments(finished.as_ref()));
        self.show_windows(sink);
    }
}

/// What a playlist says of the tracks.
fn program(tracks: &Tracks, shown: Shown) -> Program {
    let carried = || KINDS.into_iter().filter_map(|kind| carried_of(tracks, shown, kind));
    let strings = carried().map(|t| codec_string::of_track(t.codec, t.config.as_ref()));
    let codecs = strings.collect::<Option<Vec<_>>>().unwrap_or_default().join(",");
    let pictures = carried().find(|track| track.codec.kind() == TrackKind::Video);
    let video = pictures.and_then(|track| track.config.as_ref()?.video);
    Program {
        codecs,
        resolution: video.map(|video| (video.width, video.height)),
        fps_milli: video.and_then(|video| video.fps_milli),
        pictures: pictures.is_some(),
    }
}
