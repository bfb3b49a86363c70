//! One continuous timeline per stream, whatever its publishers' clocks do.
//!
//! In: raw decode times, unrolled to 64 bits, and the wall time that passed since the stream began.
//! Out: decode times that never go back within a track and keep the offset between tracks.
//!
//! Rules, in order; the first that fits decides:
//! 1. A time near the stream's newest one is taken as it is: a track may pause and come back.
//! 2. A time that moved as far as the wall clock did is taken as it is: the whole source paused.
//! 3. A time that fits the offset which another track jumped to follows that track, so that the
//!    distance between sound and picture survives a new time base.
//! 4. Anything else is a jump of this track: it continues one step after its own last time. If the
//!    next time fits the old offset again, the jump was one bad timestamp and is forgotten.
//! 5. A time below the last one of its track is raised to it. If that goes on, for
//!    `RAISED_UNITS_MAX` units or `RAISED_MAX` of time, the source stepped back for good: the
//!    track, and with it all that are raised too, goes on one step after its last time.
//!
//! Units: [`MediaTime`]. Limits: as many tracks as it was made for; one more takes the place of
//! the one that has been silent for longest.

use codecs::media::TrackKind;
use codecs::time::MediaTime;

use crate::session::TrackId;

/// Which track a timestamp is of.
pub type TrackKey = (TrackKind, TrackId);

/// What was done to one timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    None,
    /// It was raised to the last one of its track.
    Raised,
    /// It began a new time base, or was one bad value.
    Jumped,
}

/// A timestamp on the stream's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The decode time for every output.
    pub dts: MediaTime,
    /// What was done.
    pub repair: Repair,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    key: TrackKey,
    last: MediaTime,
    step: MediaTime,
    offset: MediaTime,
    /// The offset before the last jump, while the jump may still be one bad timestamp.
    before_jump: Option<MediaTime>,
    /// The raised times that came one after the other, while there are any.
    raised: Option<Raised>,
}

/// A run of raised times.
#[derive(Clone, Copy, Debug)]
struct Raised {
    /// The raw time of the first.
    from: MediaTime,
    units: u32,
}

/// The timeline of one stream. Lives on: the home shard. Crosses by: never.
#[derive(Debug)]
pub struct Timeline {
    jump_max: MediaTime,
    offset: MediaTime,
    newest: Option<(MediaTime, MediaTime)>,
    tracks: Vec<Track>,
    tracks_max: usize,
    rebase: bool,
}

const FIRST_STEP: MediaTime = MediaTime::from_millis(20);
/// Units that are raised one after the other at most.
const RAISED_UNITS_MAX: u32 = 10;
/// Time of the source that a track stands still at most.
const RAISED_MAX: MediaTime = MediaTime::from_millis(200);

impl Timeline {
    /// An empty timeline of at most `tracks_max` tracks; a step beyond `jump_max` is a jump.
    #[must_use]
    pub const fn new(jump_max: MediaTime, tracks_max: usize) -> Self {
        Self {
            jump_max,
            offset: MediaTime::ZERO,
            newest: None,
            tracks: Vec::new(),
            tracks_max,
            rebase: false,
        }
    }

    /// The newest decode time of any track.
    #[must_use]
    pub fn newest(&self) -> Option<MediaTime> {
        self.newest.map(|(dts, _)| dts)
    }

    /// It, and the wall time at which it came.
    #[must_use]
    pub const fn newest_at(&self) -> Option<(MediaTime, MediaTime)> {
        self.newest
    }

    /// A new publisher follows: its first timestamp continues where the timeline would be by now.
    pub const fn expect_new_source(&mut self) {
        self.rebase = self.newest.is_some();
    }

    /// What is added to the raw timestamps of `track` now.
    #[must_use]
    pub fn offset_of(&self, track: TrackKey) -> MediaTime {
        self.known(track).map_or(self.offset, |track| track.offset)
    }

    fn known(&self, key: TrackKey) -> Option<Track> {
        self.tracks.iter().find(|track| track.key == key).copied()
    }

    fn keep(&mut self, track: Track) {
        let known = self.tracks.iter_mut().find(|known| known.key == track.key);
        if let Some(known) = known {
            *known = track;
            return;
        }
        if self.tracks.len() >= self.tracks_max.max(1)
            && let Some(silent) = (0..self.tracks.len()).min_by_key(|&at| self.tracks[at].last)
        {
            self.tracks.swap_remove(silent);
        }
        self.tracks.push(track);
    }

    /// Places `raw` of `track`, received `wall` after the stream began.
    pub fn place(&mut self, track: TrackKey, raw: MediaTime, wall: MediaTime) -> Placed {
        if self.rebase {
            self.rebase_to(raw, wall);
        }
        let placed = match self.known(track) {
            None => self.first_of(track, raw),
            Some(known) => self.next_of(known, raw, wall),
        };
        let newest = self.newest.map_or(placed.dts, |(dts, _)| dts.max(placed.dts));
        self.newest = Some((newest, wall));
        placed
    }

    fn rebase_to(&mut self, raw: MediaTime, wall: MediaTime) {
        self.rebase = false;
        let Some((newest, at)) = self.newest else { return };
        let passed = (wall - at).max(FIRST_STEP);
        self.offset = newest + passed - raw;
        for track in &mut self.tracks {
            track.offset = self.offset;
            track.before_jump = None;
            track.raised = None;
        }
    }

    fn first_of(&mut self, key: TrackKey, raw: MediaTime) -> Placed {
        let near = |dts: MediaTime| {
            self.newest.is_none_or(|(newest, _)| (dts - newest).abs() <= self.jump_max)
        };
        let (offset, repair) = if near(raw + self.offset) {
            (self.offset, Repair::None)
        } else {
            // A second track that starts far away shares no clock with the first one.
            let (newest, _) =
                self.newest.expect("a far first timestamp has a newest to be far from");
            (newest - raw, Repair::Jumped)
        };
        let dts = raw + offset;
        let (before_jump, raised) = (None, None);
        self.keep(Track { key, last: dts, step: FIRST_STEP, offset, before_jump, raised });
        Placed { dts, repair }
    }

    fn next_of(&mut self, mut track: Track, raw: MediaTime, wall: MediaTime) -> Placed {
        let (newest, newest_wall) = self.newest.expect("a known track has placed a timestamp");
        let fits = |dts: MediaTime| {
            let by_stream = (dts - newest).abs() <= self.jump_max;
            let by_track = (dts - track.last).abs() <= self.jump_max;
            let by_wall = ((dts - newest) - (wall - newest_wall)).abs() <= self.jump_max;
            by_stream || by_track || by_wall
        };
        let mut repair = Repair::None;
        if let Some(before) = track.before_jump.take()
            && (raw + before - track.last).abs() <= self.jump_max
        {
            track.offset = before;
        } else if !fits(raw + track.offset) {
            repair = Repair::Jumped;
            track.before_jump = Some(track.offset);
            track.offset = self
                .offset_of_another_jump(track.key, raw, newest)
                .unwrap_or(track.last + track.step - raw);
        }
        if repair == Repair::None && self.stands_still(&mut track, raw) {
            repair = Repair::Jumped;
            self.step_on(&mut track, raw);
        }
        let mut dts = raw + track.offset;
        if dts < track.last {
            dts = track.last;
            if repair == Repair::None {
                repair = Repair::Raised;
            }
        } else if repair == Repair::None && dts > track.last {
            track.step = (dts - track.last).min(MediaTime::from_millis(1000));
        }
        track.last = dts;
        self.keep(track);
        Placed { dts, repair }
    }

    /// Counts a time that is to be raised; true if it is one too many in a row.
    fn stands_still(&self, track: &mut Track, raw: MediaTime) -> bool {
        if raw + track.offset >= track.last {
            track.raised = None;
            return false;
        }
        let raised = track.raised.get_or_insert(Raised { from: raw, units: 0 });
        raised.units += 1;
        raised.units > RAISED_UNITS_MAX || raw - raised.from >= RAISED_MAX
    }

    /// Lets `track` go on after a step back for good, and all tracks that are raised with it.
    fn step_on(&mut self, track: &mut Track, raw: MediaTime) {
        track.raised = None;
        let before = track.offset;
        let follows = |offset: &MediaTime| {
            let ahead = raw + *offset - track.last;
            ahead >= MediaTime::ZERO && ahead <= self.jump_max
        };
        let others = self.tracks.iter().filter(|other| other.key != track.key);
        let known = others.map(|other| other.offset).find(follows);
        // A track that stepped on before has the offset for all that share its clock.
        track.offset = known.unwrap_or(track.last + track.step - raw);
        let shift = track.offset - before;
        for other in self.tracks.iter_mut().filter(|other| other.raised.is_some()) {
            other.raised = None;
            other.offset += shift;
        }
        if self.offset == before {
            self.offset = track.offset;
        }
    }

    fn offset_of_another_jump(
        &self,
        key: TrackKey,
        raw: MediaTime,
        newest: MediaTime,
    ) -> Option<MediaTime> {
        self.tracks
            .iter()
            .filter(|track| track.key != key)
            .map(|track| track.offset)
            .find(|&offset| (raw + offset - newest).abs() <= self.jump_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: TrackKey = (TrackKind::Video, 0);
    const AUDIO: TrackKey = (TrackKind::Audio, 0);

    fn ms(v: i64) -> MediaTime {
        MediaTime::from_millis(v)
    }

    fn timeline() -> Timeline {
        Timeline::new(ms(5000), 3)
    }

    #[test]
    fn good_timestamps_pass_unchanged() {
        let mut t = timeline();
        for i in 0..100 {
            let v = t.place(VIDEO, ms(i * 40), ms(i * 40));
            assert_eq!(v, Placed { dts: ms(i * 40), repair: Repair::None });
            let a = t.place(AUDIO, ms(i * 40 + 7), ms(i * 40));
            assert_eq!(a.dts, ms(i * 40 + 7));
        }
    }

    #[test]
    fn a_step_back_is_raised() {
        let mut t = timeline();
        t.place(VIDEO, ms(100), ms(0));
        assert_eq!(t.place(VIDEO, ms(60), ms(1)), Placed { dts: ms(100), repair: Repair::Raised });
        assert_eq!(t.place(VIDEO, ms(140), ms(2)), Placed { dts: ms(140), repair: Repair::None });
    }

    #[test]
    fn a_step_back_for_good_moves_both_tracks_alike() {
        let mut t = timeline();
        for i in 0..50 {
            t.place(VIDEO, ms(i * 40), ms(i * 40));
            t.place(AUDIO, ms(i * 40 + 10), ms(i * 40));
        }
        let (mut raised, mut last) = (0, None);
        for i in 50..75 {
            let raw = i * 40 - 3_000;
            let video = t.place(VIDEO, ms(raw), ms(i * 40));
            let audio = t.place(AUDIO, ms(raw + 10), ms(i * 40));
            raised += u32::from(video.repair == Repair::Raised);
            last = Some((video, audio));
        }
        let (video, audio) = last.unwrap();
        assert!(raised <= 10, "{raised} pictures at one time");
        assert_eq!((video.repair, audio.repair), (Repair::None, Repair::None));
        assert_eq!(audio.dts - video.dts, ms(10), "sound and picture stay together");
        assert!((video.dts - ms(74 * 40)).abs() <= ms(400), "the stream is no longer behind");
    }

    #[test]
    fn a_step_back_of_one_track_leaves_the_other_alone() {
        let mut t = timeline();
        for i in 0..200 {
            let back = if i < 50 { 0 } else { 2_000 };
            t.place(VIDEO, ms(i * 40 - back), ms(i * 40));
            let audio = t.place(AUDIO, ms(i * 40 + 10), ms(i * 40));
            assert_eq!(audio, Placed { dts: ms(i * 40 + 10), repair: Repair::None });
        }
        let video = t.place(VIDEO, ms(200 * 40 - 2_000), ms(8_000));
        assert_eq!(video.repair, Repair::None);
        assert!((video.dts - ms(8_000)).abs() <= ms(400));
    }

    #[test]
    fn one_bad_timestamp_is_forgotten() {
        let mut t = timeline();
        t.place(VIDEO, ms(0), ms(0));
        t.place(VIDEO, ms(40), ms(40));
        let bad = t.place(VIDEO, ms(4_000_000), ms(80));
        assert_eq!(bad, Placed { dts: ms(80), repair: Repair::Jumped });
        assert_eq!(t.place(VIDEO, ms(120), ms(120)), Placed { dts: ms(120), repair: Repair::None });
    }

    #[test]
    fn a_new_time_base_keeps_the_offset_between_tracks() {
        let mut t = timeline();
        t.place(VIDEO, ms(1000), ms(0));
        t.place(AUDIO, ms(1010), ms(0));
        t.place(VIDEO, ms(1040), ms(40));
        t.place(AUDIO, ms(1050), ms(40));
        let v = t.place(VIDEO, ms(9_000_000), ms(80));
        let a = t.place(AUDIO, ms(9_000_010), ms(80));
        assert_eq!(v.dts, ms(1080));
        assert_eq!(a.dts - v.dts, ms(10));
        let v = t.place(VIDEO, ms(9_000_040), ms(120));
        assert_eq!(v, Placed { dts: ms(1120), repair: Repair::None });
    }

    #[test]
    fn a_track_that_paused_comes_back_where_the_stream_is() {
        let mut t = timeline();
        t.place(AUDIO, ms(0), ms(0));
        for i in 0..1000 {
            t.place(VIDEO, ms(i * 40), ms(i * 40));
        }
        let a = t.place(AUDIO, ms(39_970), ms(39_970));
        assert_eq!(a, Placed { dts: ms(39_970), repair: Repair::None });
    }

    #[test]
    fn a_pause_of_the_whole_source_stays_a_gap() {
        let mut t = timeline();
        t.place(VIDEO, ms(0), ms(0));
        let v = t.place(VIDEO, ms(60_000), ms(60_100));
        assert_eq!(v, Placed { dts: ms(60_000), repair: Repair::None });
    }

    #[test]
    fn a_new_source_continues_after_the_wall_time_that_passed() {
        let mut t = timeline();
        t.place(VIDEO, ms(5000), ms(0));
        t.place(AUDIO, ms(5005), ms(0));
        t.expect_new_source();
        assert_eq!(t.place(AUDIO, ms(0), ms(2000)).dts, ms(7005));
        assert_eq!(t.place(VIDEO, ms(15), ms(2000)).dts, ms(7020), "one offset for both tracks");
    }

    #[test]
    fn it_crosses_two_to_the_32_milliseconds() {
        let mut t = timeline();
        let wrap = 1_i64 << 32;
        for i in -50..50 {
            let dts = ms(wrap + i * 40);
            assert_eq!(t.place(VIDEO, dts, ms(i * 40)), Placed { dts, repair: Repair::None });
        }
    }

    #[test]
    fn a_track_too_many_takes_the_place_of_the_most_silent() {
        let mut t = timeline();
        for id in 0..3 {
            t.place((TrackKind::Audio, id), ms(i64::from(id) * 10), ms(0));
        }
        let placed = t.place(VIDEO, ms(1_000), ms(0));
        assert_eq!(placed, Placed { dts: ms(1_000), repair: Repair::None });
        assert_eq!((t.tracks.len(), t.known(AUDIO).is_none()), (3, true));
    }

    proptest::proptest! {
        #[test]
        fn no_track_ever_goes_back(
            raws in proptest::collection::vec((0_u8..3, -1_i64 << 40..1_i64 << 40), 1..300),
        ) {
            let mut t = timeline();
            let mut last = [MediaTime::from_nanos(i64::MIN); 3];
            for (i, (track, raw)) in raws.into_iter().enumerate() {
                let placed = t.place((TrackKind::Video, track), ms(raw), ms(i as i64 * 10));
                let last = &mut last[usize::from(track)];
                proptest::prop_assert!(placed.dts >= *last);
                *last = placed.dts;
            }
        }
    }
}
