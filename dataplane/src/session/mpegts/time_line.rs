//! One line of time out of the time bases of a transport stream.
//!
//! The times of one base are unrolled by the demultiplexer already, over any number of wraps. A
//! clock that jumps, and another program, begin another base. Rules, the first that fits decides:
//! 1. The first time of all stays where it is, but not before [`START`].
//! 2. A time of a base that is known is moved as the others of it, so that sound and picture keep
//!    their distance; those of the base before may still come.
//! 3. A base that begins where its track goes on, or up to [`LATE_MAX`] later than is due by the
//!    clock on the wall, moves as the one before: packets were lost, or one clock reference was
//!    wrong, and the line goes on.
//! 4. Any other base begins one step after the last unit of its track, or as much later as the
//!    clock on the wall says.
//!
//! Units: [`MediaTime`]. Limits: [`BASES_MAX`].

use std::time::Instant;

use codecs::time::MediaTime;

/// Bases that are known at one time: the current one, and those whose units may still come.
const BASES_MAX: usize = 4;
/// The first time: another track may begin a little before it, and no time is below 0.
const START: MediaTime = MediaTime::from_millis(1_000);
/// How much later than it is due a unit may be and still go on.
const LATE_MAX: MediaTime = MediaTime::from_millis(1_000);
/// From one unit to the next where nothing tells.
const STEP_DEFAULT: MediaTime = MediaTime::from_millis(20);
/// From one unit to the next at most.
const STEP_MAX: MediaTime = MediaTime::from_millis(1_000);

/// Which base a time is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BaseId {
    /// The number of its program.
    pub(super) program: u16,
    /// How often the clock of the program had jumped.
    pub(super) jumps: u32,
}

/// A base, and what is added to its times.
#[derive(Clone, Copy, Debug)]
struct Base {
    id: BaseId,
    offset: MediaTime,
}

/// The last unit of a track.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    dts: MediaTime,
    step: MediaTime,
    at: Instant,
}

/// The line. Lives on: the shard of its session. Crosses by: with its session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimeLine {
    /// The newest first.
    bases: [Option<Base>; BASES_MAX],
    /// The last unit of any track.
    last: Option<Pulse>,
}

impl TimeLine {
    /// The decode time of a unit that says `raw`; `pulse` is that of its track.
    pub(super) fn place(
        &mut self,
        id: BaseId,
        raw: MediaTime,
        pulse: &mut Option<Pulse>,
        now: Instant,
    ) -> MediaTime {
        let known = self.bases.iter().flatten().find(|base| base.id == id);
        let offset = known.map(|base| base.offset);
        let offset = offset.unwrap_or_else(|| self.begin(id, raw, pulse.or(self.last), now));
        let dts = raw + offset;
        let step = pulse.map_or(STEP_DEFAULT, |last| match dts - last.dts {
            step if step > MediaTime::ZERO && step <= STEP_MAX => step,
            _ => last.step,
        });
        let next = Pulse { dts, step, at: now };
        *pulse = Some(next);
        self.last = Some(next);
        dts
    }

    /// A base begins; what is added to its times.
    fn begin(
        &mut self,
        id: BaseId,
        raw: MediaTime,
        last: Option<Pulse>,
        now: Instant,
    ) -> MediaTime {
        let offset = match (self.bases[0], last) {
            (Some(before), Some(last)) => follow(last, raw, before.offset, now),
            _ => (START - raw).max(MediaTime::ZERO),
        };
        self.bases.rotate_right(1);
        self.bases[0] = Some(Base { id, offset });
        offset
    }
}

/// What is added to the times of a base that begins with `raw`, if `before` was added so far.
fn follow(last: Pulse, raw: MediaTime, before: MediaTime, now: Instant) -> MediaTime {
    let passed = now.saturating_duration_since(last.at).as_nanos();
    let passed = MediaTime::from_nanos(i64::try_from(passed).unwrap_or(i64::MAX));
    let goes_on = raw + before;
    if goes_on >= last.dts && goes_on - last.dts <= passed + LATE_MAX {
        return before;
    }
    last.dts + passed.max(last.step) - raw
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::session::clock::epoch;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    /// A line, and the tracks on it, each with the times that it was placed at.
    struct Bench {
        line: TimeLine,
        tracks: [Option<Pulse>; 2],
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { line: TimeLine::default(), tracks: [None; 2], start: epoch() }
        }

        /// Places a time of a base of program 1, so many milliseconds after the start.
        fn place(&mut self, track: usize, jumps: u32, raw: i64, wall: u64) -> i64 {
            let now = self.start + Duration::from_millis(wall);
            let id = BaseId { program: 1, jumps };
            self.line.place(id, ms(raw), &mut self.tracks[track], now).as_millis()
        }
    }

    #[test]
    fn good_times_stay_where_they_are() {
        let mut bench = Bench::new();
        for at in 0..100 {
            assert_eq!(bench.place(0, 0, 95_000 + at * 40, at as u64 * 40), 95_000 + at * 40);
            assert_eq!(bench.place(1, 0, 94_990 + at * 40, at as u64 * 40), 94_990 + at * 40);
        }
        let mut bench = Bench::new();
        assert_eq!(bench.place(0, 0, -20, 0), 1_000, "no time is below 0");
        assert_eq!(bench.place(1, 0, -45, 0), 975);
        assert_eq!(bench.place(0, 0, 20, 40), 1_040);
    }

    #[test]
    fn another_base_goes_on_where_the_line_is() {
        for start in [0, 3_000, 9_000_000, 101_000] {
            let mut bench = Bench::new();
            for at in 0..10 {
                bench.place(0, 0, 100_000 + at * 40, at as u64 * 40);
                bench.place(1, 0, 100_010 + at * 40, at as u64 * 40);
            }
            // A little ahead of the line is on it.
            let first = if start == 101_000 { start } else { 100_400 };
            assert_eq!(bench.place(0, 1, start, 400), first, "{start}");
            // Sound of the base before comes behind it.
            assert_eq!(bench.place(1, 0, 100_410, 400), 100_410);
            assert_eq!(
                bench.place(0, 1, start + 40, 440) - bench.place(1, 1, start + 50, 440),
                -10
            );
        }
    }

    #[test]
    fn a_pause_between_two_bases_lasts_as_long_as_it_did() {
        let mut bench = Bench::new();
        bench.place(0, 0, 50_000, 0);
        bench.place(0, 0, 50_040, 40);
        assert_eq!(bench.place(0, 1, 7, 3_040), 53_040);
        let id = BaseId { program: 2, jumps: 0 };
        let now = bench.start + Duration::from_millis(3_100);
        let mut other = None;
        assert_eq!(bench.line.place(id, ms(8_000_000), &mut other, now).as_millis(), 53_100);
    }

    #[test]
    fn a_wrong_clock_reference_and_lost_packets_move_nothing() {
        let mut bench = Bench::new();
        bench.place(0, 0, 50_000, 0);
        assert_eq!(bench.place(0, 1, 50_040, 40), 50_040, "the clock was wrong");
        assert_eq!(bench.place(0, 2, 50_080, 80), 50_080, "and is right again");
        assert_eq!(bench.place(0, 3, 65_080, 15_080), 65_080, "nothing came for so long");
        assert_eq!(bench.place(0, 4, 65_120, 19_000), 65_120, "it was late, and goes on");
    }

    proptest! {
        #[test]
        fn a_base_is_moved_as_a_whole(
            times in prop::collection::vec(
                (0..2_usize, 0..3_u32, -1_i64 << 40..1_i64 << 40),
                1..60,
            ),
        ) {
            let mut bench = Bench::new();
            let mut offsets = [None; 3];
            for (at, (track, jumps, raw)) in times.into_iter().enumerate() {
                let offset = bench.place(track, jumps, raw, at as u64 * 10) - raw;
                let known = offsets[jumps as usize].get_or_insert(offset);
                prop_assert!((offset - *known).abs() <= 1, "{} {}", offset, known);
            }
        }
    }
}
