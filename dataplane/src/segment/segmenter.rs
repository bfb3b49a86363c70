//! The segmenter: where segments begin. It sees the times of units and never a byte.
//!
//! A segment begins, the first that fits decides:
//! 1. with the stream's first keyframe, or its first sound where there are no pictures;
//! 2. after a break: other tracks or configurations, a publisher that returned, a gap that no
//!    segment may span. The segment begins a new period;
//! 3. with a keyframe, or any sound where there are no pictures, `segment` after the last;
//! 4. with an earlier keyframe, if a group of pictures as long as the longest of late would make
//!    the segment too long otherwise, or if this segment began without one: so hardly a group is
//!    cut that the target duration allows;
//! 5. with any unit, if the segment would become too long before the next one.
//!
//! **The target duration** is fixed when the first playlist is shown, at twice the segment or the
//! longest group of pictures until then. Until then `gop_max` is the bound. A segment may last
//! half a second longer, because playlists round (RFC 8216 4.3.3.1).
//!
//! **Time.** Segments of a period lie end to end on the stream's timeline, so durations add up to
//! it. A gap belongs to no segment. A unit that comes late does not move a segment's end.
//!
//! Units: [`MediaTime`]. Limits: 32 finished segments are remembered.

use std::collections::VecDeque;

use codecs::media::TrackKind;
use codecs::time::{MediaTime, WallTime};

use super::Numbering;
use crate::config::HlsConfig;

/// Finished segments that are remembered: those whose units a stream still keeps, and more.
const RECENT_MAX: usize = 32;

/// What rounding to whole seconds allows beyond the target duration, and the least that a keyframe
/// ends: two such segments never exceed what one is allowed.
const ROUNDING: MediaTime = MediaTime::from_millis(499);
/// The shortest segment where a break follows at once: time goes on in each.
const SHORTEST: MediaTime = MediaTime::from_millis(1);
/// A unit is taken to last this long before two of them are known.
const FIRST_STEP: MediaTime = MediaTime::from_millis(20);
/// How far sound runs ahead of its pictures before it is a pause of the pictures.
const SKEW_MAX: MediaTime = MediaTime::from_millis(1_000);
/// A wall clock that is further ahead than this was set: the stream follows at once.
const WALL_AHEAD_MAX_MS: i64 = 10_000;
/// How far the wall clock is from the stream's time before it is followed: units come in bursts.
const WALL_JITTER_MS: i64 = 100;
/// How far one segment follows a wall clock that runs differently.
const WALL_SLEW_MS: i64 = 5;

/// A finished segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number; the next one has the next.
    pub number: u64,
    /// The number of its period.
    pub period: u64,
    /// It is the first of its period, and not the first of the stream.
    pub discontinuity: bool,
    /// Its place on the stream's timeline.
    pub start: MediaTime,
    /// How long it lasts.
    pub duration: MediaTime,
    /// When its first unit was live.
    pub wall: WallTime,
    /// Its pictures begin with a keyframe, or there are none.
    pub independent: bool,
    /// Its pictures.
    pub pictures: u32,
    /// The number of its first unit in the stream.
    pub first_unit: u64,
}

/// What the segmenter is told of a unit.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Pictures or sound.
    pub kind: TrackKind,
    /// Decode time on the stream's timeline.
    pub dts: MediaTime,
    /// Decoding may start here.
    pub keyframe: bool,
    /// Pictures come, so that segments begin with a keyframe.
    pub pictures: bool,
    /// The unit's number in the stream.
    pub unit: u64,
    /// The turn's wall clock.
    pub wall: WallTime,
}

impl Mark {
    /// True for the kind whose time decides: pictures, where they come.
    fn leads(&self) -> bool {
        self.pictures == (self.kind == TrackKind::Video)
    }
}

/// The segment that units go to.
#[derive(Clone, Copy, Debug)]
struct Open {
    number: u64,
    discontinuity: bool,
    start: MediaTime,
    wall: WallTime,
    /// Its first picture is a keyframe; `None` before there is one.
    begins_clean: Option<bool>,
    pictures: u32,
    first_unit: u64,
}

/// The longest of the last 16 to 32 groups of pictures.
#[derive(Clone, Copy, Debug, Default)]
struct RecentGops {
    /// Of the last 16 that are complete, and of those that follow.
    longest: [MediaTime; 2],
    seen: u8,
}

impl RecentGops {
    fn see(&mut self, gop: MediaTime) {
        if self.seen == 16 {
            (self.longest, self.seen) = ([self.longest[1], MediaTime::ZERO], 0);
        }
        self.longest[1] = self.longest[1].max(gop);
        self.seen += 1;
    }

    fn longest(&self) -> MediaTime {
        self.longest[0].max(self.longest[1])
    }
}

/// Why a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    First,
    Break,
    Due,
    TooLong,
}

/// Decides for one stream. Lives on: the home shard. Crosses by: never.
#[derive(Debug)]
pub struct Segmenter {
    config: HlsConfig,
    /// The number of the segment after the open one, and the period in force.
    next: Numbering,
    open: Option<Open>,
    recent: VecDeque<Segment>,
    target_s: Option<u32>,
    longest_gop: MediaTime,
    recent_gops: RecentGops,
    keyframe_at: Option<MediaTime>,
    newest: MediaTime,
    /// The newest unit of the kind that decides: pictures, where they come.
    leading: MediaTime,
    /// The last two steps of `leading`: one alone may be a pause.
    steps: [MediaTime; 2],
    broken: bool,
    gops_cut: u64,
}

impl Segmenter {
    /// Nothing cut yet; numbers begin at `numbering`.
    #[must_use]
    pub fn new(config: &HlsConfig, numbering: Numbering) -> Self {
        Self {
            config: *config,
            next: numbering,
            open: None,
            recent: VecDeque::with_capacity(RECENT_MAX),
            target_s: None,
            longest_gop: MediaTime::ZERO,
            recent_gops: RecentGops::default(),
            keyframe_at: None,
            newest: MediaTime::ZERO,
            leading: MediaTime::ZERO,
            steps: [FIRST_STEP; 2],
            broken: false,
            gops_cut: 0,
        }
    }

    /// Takes the next unit; true if a segment begins with it.
    pub fn push(&mut self, mark: &Mark) -> bool {
        let cause = self.cause(mark);
        if let Some(cause) = cause {
            self.begin(mark, cause);
        }
        if self.open.is_some() {
            self.account(mark);
        }
        cause.is_some()
    }

    /// A period ends here: with the next unit another begins.
    ///
    /// A stream that has hardly begun, where the first sound only tells that there is any, begins
    /// anew instead: nobody saw what came before.
    pub fn expect_break(&mut self) {
        let newest = self.newest;
        let young = |open: &Open| newest - open.start < ROUNDING;
        if self.recent.is_empty() && self.open.as_ref().is_some_and(young) {
            self.open = None;
            self.next.segment -= 1;
        }
        self.broken = self.open.is_some();
    }

    /// The stream ends: its last segment is finished.
    pub fn end(&mut self) -> Option<Segment> {
        let end = self.natural_end();
        let finished = self.finish(end);
        self.open = None;
        finished
    }

    /// The finished segment with this number, if it is still remembered.
    #[must_use]
    pub fn segment(&self, number: u64) -> Option<&Segment> {
        let at = self.recent.binary_search_by_key(&number, |segment| segment.number).ok()?;
        self.recent.get(at)
    }

    /// The finished segments from this number on that are still remembered.
    pub fn finished_from(&self, number: u64) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        let at = self.recent.partition_point(|segment| segment.number < number);
        self.recent.range(at..)
    }

    /// The number of the segment that begins with the unit `unit`.
    #[must_use]
    pub fn begun_by(&self, unit: u64) -> Option<u64> {
        let open = self.open.as_ref().filter(|open| open.first_unit == unit);
        open.map(|open| open.number).or_else(|| {
            let at = self.recent.binary_search_by_key(&unit, |segment| segment.first_unit).ok()?;
            self.recent.get(at).map(|segment| segment.number)
        })
    }

    /// The first unit of the oldest segment that begins with `unit` or later.
    #[must_use]
    pub fn first_since(&self, unit: u64) -> Option<u64> {
        let at = self.recent.partition_point(|segment| segment.first_unit < unit);
        let open = self.open.map(|open| open.first_unit).filter(|&first| first >= unit);
        self.recent.get(at).map(|segment| segment.first_unit).or(open)
    }

    /// The numbers that follow what was used.
    #[must_use]
    pub const fn numbering(&self) -> Numbering {
        Numbering { segment: self.next.segment, period: self.next.period + 1 }
    }

    /// Groups of pictures that were cut where there was no keyframe.
    #[must_use]
    pub const fn gops_cut(&self) -> u64 {
        self.gops_cut
    }

    /// The target duration in whole seconds, fixed from now on; no segment of `listed` exceeds it.
    pub fn fix_target<'a>(&mut self, listed: impl Iterator<Item = &'a Segment>) -> u32 {
        let target = self.target(listed);
        self.target_s = Some(target);
        target
    }

    /// The target duration in whole seconds of a playlist that lists `listed`.
    #[must_use]
    pub fn target<'a>(&self, listed: impl Iterator<Item = &'a Segment>) -> u32 {
        if let Some(target) = self.target_s {
            return target;
        }
        let longest = listed.map(|segment| segment.duration - ROUNDING).max();
        let twice = self.config.segment + self.config.segment;
        let least = twice.max(self.longest_gop).max(longest.unwrap_or(MediaTime::ZERO));
        // What is open may be a longer group already.
        let open = self.open.map_or(MediaTime::ZERO, |open| self.newest - open.start);
        whole_seconds(least.max(open))
    }

    /// How long a segment may be.
    fn allowed(&self) -> MediaTime {
        let target = self.target_s.unwrap_or_else(|| {
            let twice = self.config.segment + self.config.segment;
            whole_seconds(self.config.gop_max.max(twice))
        });
        MediaTime::from_millis(i64::from(target) * 1_000) + ROUNDING
    }

    /// How long the newest unit lasts, as far as is known.
    fn step(&self) -> MediaTime {
        self.steps[0].min(self.steps[1])
    }

    /// Where the open segment ends if nothing follows.
    fn natural_end(&self) -> MediaTime {
        self.newest + self.step()
    }

    fn cause(&self, mark: &Mark) -> Option<Cause> {
        let leads = mark.leads();
        let clean = leads && (mark.keyframe || !mark.pictures);
        let Some(open) = &self.open else { return clean.then_some(Cause::First) };
        let allowed = self.allowed();
        let skew = if leads { MediaTime::ZERO } else { SKEW_MAX };
        let elapsed = mark.dts - skew - open.start;
        if self.broken || (elapsed > allowed && mark.dts > self.natural_end() + SKEW_MAX) {
            return Some(Cause::Break);
        }
        let next_keyframe = elapsed + self.recent_gops.longest();
        let soon = next_keyframe > allowed || open.begins_clean == Some(false);
        let early = mark.pictures && elapsed >= ROUNDING && soon;
        if clean && (elapsed >= self.config.segment || early) && elapsed <= allowed {
            return Some(Cause::Due);
        }
        // Sound does not wait for pictures that come seconds apart.
        let step = if leads { self.step() } else { FIRST_STEP };
        (elapsed + step > allowed).then_some(Cause::TooLong)
    }

    fn begin(&mut self, mark: &Mark, cause: Cause) {
        let mut start = mark.dts;
        if let Some(open) = self.open {
            let mut end = mark.dts;
            if cause == Cause::Break {
                end = end.min(self.natural_end());
            }
            end = end.clamp(open.start + SHORTEST, open.start + self.allowed());
            self.finish(end);
            start = if cause == Cause::Break { start.max(end) } else { end };
        }
        if cause == Cause::TooLong && mark.pictures {
            self.gops_cut += 1;
        }
        let wall = self.wall_at(start, mark.wall, cause);
        if cause == Cause::Break {
            self.next.period += 1;
            self.keyframe_at = None;
        }
        if matches!(cause, Cause::First | Cause::Break) {
            // What lies before tells nothing of the steps behind it.
            (self.newest, self.leading) = (mark.dts, mark.dts);
        }
        self.open = Some(Open {
            number: self.next.segment,
            discontinuity: cause == Cause::Break,
            start,
            wall,
            begins_clean: None,
            pictures: 0,
            first_unit: mark.unit,
        });
        self.next.segment += 1;
        self.broken = false;
    }

    /// Ends the open segment at `end` and remembers it.
    fn finish(&mut self, end: MediaTime) -> Option<Segment> {
        let open = self.open?;
        let segment = Segment {
            number: open.number,
            period: self.next.period,
            discontinuity: open.discontinuity,
            start: open.start,
            duration: (end - open.start).max(SHORTEST).min(self.allowed()),
            wall: open.wall,
            independent: open.begins_clean.unwrap_or(true),
            pictures: open.pictures,
            first_unit: open.first_unit,
        };
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(segment);
        Some(segment)
    }

    /// When the unit at `start` was live: within a period the stream's time decides, and follows
    /// the wall clock slowly, because units come in bursts and encoders' clocks drift.
    fn wall_at(&self, start: MediaTime, now: WallTime, cause: Cause) -> WallTime {
        let Some(last) = &self.open else { return now };
        let expected = last.wall.after(start - last.start);
        let ahead = now.as_unix_millis() - expected.as_unix_millis();
        if cause == Cause::Break || ahead > WALL_AHEAD_MAX_MS {
            return now.max(last.wall.after(SHORTEST));
        }
        if ahead.abs() <= WALL_JITTER_MS {
            return expected;
        }
        expected.after(MediaTime::from_millis(ahead.clamp(-WALL_SLEW_MS, WALL_SLEW_MS)))
    }

    fn account(&mut self, mark: &Mark) {
        self.newest = self.newest.max(mark.dts);
        if mark.leads() && mark.dts > self.leading {
            self.steps = [self.steps[1], mark.dts - self.leading];
            self.leading = mark.dts;
        }
        if mark.kind != TrackKind::Video {
            return;
        }
        if let Some(open) = &mut self.open {
            open.pictures += 1;
            open.begins_clean.get_or_insert(mark.keyframe);
        }
        if mark.keyframe {
            if let Some(before) = self.keyframe_at {
                let longest = self.target_s.map_or(self.config.gop_max, |target| {
                    MediaTime::from_millis(i64::from(target) * 1_000)
                });
                let gop = (mark.dts - before).min(longest);
                self.longest_gop = self.longest_gop.max(gop);
                self.recent_gops.see(gop);
            }
            self.keyframe_at = Some(mark.dts);
        }
    }
}

/// Seconds, rounded up.
fn whole_seconds(time: MediaTime) -> u32 {
    let nanos = time.as_nanos().max(0);
    u32::try_from(nanos.div_euclid(1_000_000_000) + i64::from(nanos % 1_000_000_000 > 0))
        .unwrap_or(u32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publisher's units, as a table writes them.
    struct Bench {
        segmenter: Segmenter,
        unit: u64,
        starts: Vec<(u64, i64)>,
    }

    impl Bench {
        fn new() -> Self {
            let numbering = Numbering { segment: 100, period: 7 };
            let segmenter = Segmenter::new(&HlsConfig::default(), numbering);
            Self { segmenter, unit: 0, starts: Vec::new() }
        }

        fn push(&mut self, kind: TrackKind, ms: i64, keyframe: bool, pictures: bool) {
            let mark = Mark {
                kind,
                dts: MediaTime::from_millis(ms),
                keyframe,
                pictures,
                unit: self.unit,
                wall: WallTime::from_unix_millis(1_000_000 + ms),
            };
            if self.segmenter.push(&mark) {
                self.starts.push((self.unit, ms));
            }
            self.unit += 1;
        }

        /// Pictures of 40 ms from `from` to `to`, with keyframes where `keyframes` says.
        fn pictures(&mut self, from: i64, to: i64, keyframes: impl Fn(i64) -> bool) -> &mut Self {
            (from..to).step_by(40).for_each(|ms| {
                self.push(TrackKind::Video, ms, keyframes(ms), true);
            });
            self
        }

        fn sound(&mut self, from: i64, to: i64) -> &mut Self {
            (from..to).step_by(20).for_each(|ms| self.push(TrackKind::Audio, ms, true, false));
            self
        }

        fn finished(&self) -> Vec<Segment> {
            self.segmenter.recent.iter().copied().collect()
        }

        fn durations(&self) -> Vec<i64> {
            self.finished().iter().map(|segment| segment.duration.as_millis()).collect()
        }
    }

    fn every(gop_ms: i64) -> impl Fn(i64) -> bool {
        move |ms| ms % gop_ms == 0
    }

    #[test]
    fn pictures_are_cut_at_the_first_keyframe_after_the_segment() {
        for (gop_ms, durations) in [
            (40, vec![2_000, 2_000, 2_000, 2_000]),
            (400, vec![2_000, 2_000, 2_000, 2_000]),
            (1_000, vec![2_000, 2_000, 2_000, 2_000]),
            (1_200, vec![2_400, 2_400, 2_400]),
            (1_960, vec![3_920, 3_920]),
            (3_000, vec![3_000, 3_000]),
            (9_000, vec![]),
        ] {
            let mut bench = Bench::new();
            bench.pictures(0, 9_000, every(gop_ms));
            assert_eq!(bench.durations(), durations, "{gop_ms} ms");
            assert!(bench.finished().iter().all(|segment| segment.independent));
            assert_eq!(bench.segmenter.gops_cut(), 0);
        }
    }

    #[test]
    fn sound_alone_is_cut_where_it_is_due() {
        let mut bench = Bench::new();
        bench.sound(0, 6_010);
        assert_eq!(bench.durations(), [2_000, 2_000, 2_000]);
        assert!(bench.finished().iter().all(|s| s.independent && s.pictures == 0));
    }

    #[test]
    fn a_stream_begins_with_its_first_keyframe() {
        let mut bench = Bench::new();
        bench.push(TrackKind::Audio, 0, true, true);
        bench.pictures(10, 1_000, |_| false).pictures(1_000, 5_000, every(1_000));
        assert_eq!(bench.starts, [(26, 1_000), (76, 3_000)]);
        let first = bench.finished()[0];
        assert_eq!((first.number, first.period, first.discontinuity), (100, 7, false));
        assert_eq!(first.wall, WallTime::from_unix_millis(1_001_000));
    }

    #[test]
    fn the_target_follows_the_longest_group_until_it_is_shown() {
        for (gop_ms, target) in [(1_000, 4), (2_000, 4), (4_000, 4), (4_040, 5), (8_000, 8)] {
            let mut bench = Bench::new();
            bench.pictures(0, 24_300, every(gop_ms));
            let finished = bench.finished();
            assert_eq!(bench.segmenter.fix_target(finished.iter()), target, "{gop_ms} ms");
            bench.pictures(24_300, 60_000, every(100_000));
            assert_eq!(bench.segmenter.fix_target(finished.iter()), target, "it stays");
            let most = i64::from(target) * 1_000 + 499;
            assert!(bench.durations().iter().all(|&ms| ms <= most), "{:?}", bench.durations());
            assert!(bench.segmenter.gops_cut() > 0);
        }
    }

    #[test]
    fn a_group_that_the_target_allows_is_never_cut() {
        let mut bench = Bench::new();
        bench.pictures(0, 8_000, every(4_000));
        let finished = bench.finished();
        assert_eq!(bench.segmenter.fix_target(finished.iter()), 4);
        // Scene cuts at any distance, and no group above the longest.
        let keyframes = [8_000, 8_120, 10_000, 13_960, 14_000, 14_400, 18_400, 18_800, 22_800];
        bench.pictures(8_000, 26_000, |ms| keyframes.contains(&ms));
        assert_eq!(bench.segmenter.gops_cut(), 0);
        assert!(bench.finished().iter().all(|segment| segment.independent));
        assert!(bench.durations().iter().all(|&ms| ms <= 4_499), "{:?}", bench.durations());
    }

    #[test]
    fn one_long_group_is_forgotten() {
        let mut bench = Bench::new();
        bench.pictures(0, 4_000, every(4_000)).pictures(4_000, 60_000, every(1_000));
        let durations = bench.durations();
        assert!(durations.iter().rev().take(5).all(|&ms| ms == 2_000), "{durations:?}");
        assert!(durations.len() < 40);
    }

    #[test]
    fn a_longer_group_is_cut_at_any_unit_and_said_to_be() {
        let mut bench = Bench::new();
        bench.pictures(0, 2_080, every(2_000));
        let finished = bench.finished();
        assert_eq!(bench.segmenter.fix_target(finished.iter()), 4);
        bench.pictures(2_080, 14_080, |ms| ms == 12_000);
        assert_eq!(bench.durations(), [2_000, 4_480, 4_480, 1_040]);
        let clean: Vec<_> = bench.finished().iter().map(|segment| segment.independent).collect();
        assert_eq!(clean, [true, true, false, false]);
        assert_eq!(bench.segmenter.gops_cut(), 2);
    }

    #[test]
    fn a_break_begins_one_period_however_often_it_is_told() {
        let mut bench = Bench::new();
        bench.segmenter.expect_break();
        bench.pictures(0, 1_000, every(1_000));
        bench.segmenter.expect_break();
        bench.segmenter.expect_break();
        bench.pictures(4_000, 7_000, every(1_000));
        let end = bench.segmenter.end().unwrap();
        let periods: Vec<_> =
            bench.finished().iter().map(|s| (s.number, s.period, s.discontinuity)).collect();
        assert_eq!(periods, [(100, 7, false), (101, 8, true), (102, 8, false)]);
        assert_eq!(bench.durations(), [1_000, 2_000, 1_000], "the pause belongs to nobody");
        assert_eq!(end.number, 102);
        assert_eq!(bench.finished()[1].wall, WallTime::from_unix_millis(1_004_000));
        assert_eq!(bench.segmenter.numbering(), Numbering { segment: 103, period: 9 });
    }

    #[test]
    fn a_gap_that_no_segment_may_span_is_a_break() {
        let mut bench = Bench::new();
        bench.pictures(0, 2_040, every(1_000));
        let finished = bench.finished();
        bench.segmenter.fix_target(finished.iter());
        bench.pictures(3_400, 3_440, |_| false).pictures(60_000, 62_040, every(1_000));
        assert_eq!(bench.durations(), [2_000, 1_440, 2_000], "a pause of a second is spanned");
        let breaks: Vec<_> = bench.finished().iter().map(|s| s.discontinuity).collect();
        assert_eq!(breaks, [false, false, true]);
    }

    #[test]
    fn sound_that_runs_ahead_does_not_cut_pictures() {
        let mut bench = Bench::new();
        for ms in (0..20_000).step_by(40) {
            bench.push(TrackKind::Video, ms, ms % 2_000 == 0, true);
            bench.push(TrackKind::Audio, ms + 900, true, true);
        }
        assert!(bench.durations().iter().all(|&ms| ms == 2_000), "{:?}", bench.durations());
    }

    #[test]
    fn pictures_that_come_seconds_apart_do_not_make_each_sound_a_segment() {
        let mut bench = Bench::new();
        bench.pictures(0, 4_040, every(2_000));
        let finished = bench.finished();
        assert_eq!(bench.segmenter.fix_target(finished.iter()), 4);
        for ms in (4_040..60_000).step_by(20) {
            if ms % 6_000 == 0 {
                bench.push(TrackKind::Video, ms, ms % 12_000 == 0, true);
            }
            bench.push(TrackKind::Audio, ms, true, true);
        }
        let durations = bench.durations();
        assert!(durations.iter().all(|&ms| (1_000..=4_499).contains(&ms)), "{durations:?}");
        assert!(durations.len() < 30, "{durations:?}");
    }

    #[test]
    fn a_track_that_is_known_late_begins_the_stream_anew() {
        let mut bench = Bench::new();
        bench.push(TrackKind::Video, 0, true, true);
        bench.segmenter.expect_break();
        bench.push(TrackKind::Audio, 10, true, true);
        bench.pictures(40, 5_000, every(2_000));
        let first = bench.finished()[0];
        assert_eq!((first.number, first.discontinuity, first.independent), (100, false, true));
        assert_eq!(bench.durations(), [2_000]);
    }

    #[test]
    fn sound_goes_on_while_pictures_pause() {
        let mut bench = Bench::new();
        bench.pictures(0, 2_040, every(1_000));
        let finished = bench.finished();
        bench.segmenter.fix_target(finished.iter());
        (2_040..12_000).step_by(20).for_each(|ms| bench.push(TrackKind::Audio, ms, true, true));
        assert!(bench.finished().len() >= 3 && bench.durations().iter().all(|&ms| ms <= 4_499));
        assert!(bench.finished().iter().all(|segment| !segment.discontinuity));
        let sum: i64 = bench.durations().iter().sum();
        let open = bench.segmenter.open.unwrap();
        assert_eq!(open.start, MediaTime::from_millis(sum), "end to end");
    }

    #[test]
    fn the_calendar_is_followed_slowly() {
        let mut bench = Bench::new();
        let mut at = |ms: i64, wall: i64, unit: u64| {
            bench.segmenter.push(&Mark {
                kind: TrackKind::Video,
                dts: MediaTime::from_millis(ms),
                keyframe: true,
                pictures: true,
                unit,
                wall: WallTime::from_unix_millis(wall),
            });
            bench.segmenter.open.unwrap().wall.as_unix_millis()
        };
        assert_eq!(at(0, 50_000, 0), 50_000);
        assert_eq!(at(2_000, 52_300, 1), 52_005, "a burst that came late");
        assert_eq!(at(4_000, 54_101, 2), 54_005, "near enough");
        assert_eq!(at(6_000, 1, 3), 56_000, "never back");
        assert_eq!(at(8_000, 90_000, 4), 90_000, "the clock was set");
    }

    #[test]
    fn units_know_the_segment_that_they_begin() {
        let mut bench = Bench::new();
        bench.pictures(0, 7_000, every(1_000));
        let of = |unit| bench.segmenter.begun_by(unit);
        assert_eq!([of(0), of(1), of(50), of(150)], [Some(100), None, Some(101), Some(103)]);
        let since = |unit| bench.segmenter.first_since(unit);
        assert_eq!(
            [since(0), since(1), since(51), since(150), since(151)],
            [Some(0), Some(50), Some(100), Some(150), None]
        );
        assert_eq!(bench.segmenter.segment(102).map(|s| s.first_unit), Some(100));
        assert!(bench.segmenter.segment(103).is_none(), "it is not finished");
    }
}
