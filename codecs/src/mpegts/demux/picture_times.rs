//! The times of pictures, of which PES packets tell some.
//!
//! Spec: ITU-T H.222.0 2.7.4 (a time at least each 0.7 s), 2.4.3.7 (the times of a PES packet are
//! those of the first picture that begins in it).
//! Rules: from one picture to the next is what the times that were told last had between them, for
//! each of the pictures there; before that half of what the sequence tells, for they may be fields;
//! before that so little that no time can be told too early. An estimate that ran ahead all the
//! same moves what is told behind it, so that decode times rise.

use crate::time::MediaTime;

/// One tick of 90 kHz.
const TICK: MediaTime = MediaTime::from_nanos(11_112);
/// From one picture to the next where nothing tells.
const STEP_DEFAULT: MediaTime = MediaTime::from_millis(1);
/// From one picture to the next at most.
const STEP_NANOS_MAX: i64 = 1_000_000_000;
/// How far estimates may have run ahead; what is further back is another time base.
const AHEAD_MAX: MediaTime = MediaTime::from_millis(1_000);

/// The time of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureTime {
    pub(super) pts: MediaTime,
    pub(super) dts: MediaTime,
    pub(super) estimated: bool,
}

/// Tells the times of the pictures of a track, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PictureTimes {
    /// The decode time that was told last.
    told: Option<MediaTime>,
    /// Pictures since then, with its own.
    since: u32,
    /// Some of them may be missing.
    is_gap: bool,
    measured: Option<MediaTime>,
    expected: Option<MediaTime>,
    last: Option<PictureTime>,
}

impl PictureTimes {
    /// The sequence has so many frames in a thousand seconds.
    pub(super) fn expect(&mut self, fps_milli: u32) {
        let half = 500_000_000_000_i64.checked_div(i64::from(fps_milli));
        self.expected = half.map(|nanos| MediaTime::from_nanos(nanos.min(STEP_NANOS_MAX)));
    }

    /// Pictures are missing here.
    pub(super) const fn lose(&mut self) {
        self.is_gap = true;
    }

    /// The time of the next picture, of which PTS and DTS may be told; `None` before any is.
    pub(super) fn place(&mut self, told: Option<(MediaTime, MediaTime)>) -> Option<PictureTime> {
        let time = match told {
            Some((pts, dts)) => {
                self.measure(dts);
                self.behind_estimates(PictureTime { pts, dts, estimated: false })
            }
            None => self.estimate()?,
        };
        self.since = self.since.saturating_add(1);
        self.last = Some(time);
        Some(time)
    }

    fn measure(&mut self, dts: MediaTime) {
        if let Some(before) = self.told.filter(|_| !self.is_gap) {
            let step = (dts - before).as_nanos() / i64::from(self.since.max(1));
            if (1..=STEP_NANOS_MAX).contains(&step) {
                self.measured = Some(MediaTime::from_nanos(step));
            }
        }
        (self.told, self.since, self.is_gap) = (Some(dts), 0, false);
    }

    fn behind_estimates(&self, time: PictureTime) -> PictureTime {
        let last = self.last.filter(|last| last.estimated && time.dts <= last.dts);
        let Some(last) = last.filter(|last| last.dts - time.dts < AHEAD_MAX) else { return time };
        let dts = last.dts + TICK;
        PictureTime { pts: time.pts.max(dts), dts, estimated: true }
    }

    fn estimate(&self) -> Option<PictureTime> {
        let step = self.measured.or(self.expected).unwrap_or(STEP_DEFAULT);
        let since = step.as_nanos().saturating_mul(i64::from(self.since));
        let at = self.told? + MediaTime::from_nanos(since);
        let at = at.max(self.last?.dts + TICK);
        Some(PictureTime { pts: at, dts: at, estimated: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    #[test]
    fn pictures_that_share_a_time_rise_evenly() {
        for (rate, per_time) in [(25, 2), (50, 2), (50, 3), (60, 2), (60, 3), (30, 21)] {
            let mut times = PictureTimes::default();
            let mut last = None;
            for number in 0..10 * per_time {
                let exact = number * 90_000 / rate;
                let at = MediaTime::from_ticks(exact, 90_000);
                let told = (number % per_time == 0).then_some((at, at));
                let found = times.place(told).unwrap();
                assert!(last < Some(found.dts), "{rate} {per_time} {number}");
                assert_eq!(found.estimated, told.is_none(), "{rate} {per_time} {number}");
                if number >= per_time {
                    assert_eq!(found.dts.as_ticks(90_000), exact, "{rate} {per_time} {number}");
                }
                last = Some(found.dts);
            }
        }
    }

    #[test]
    fn the_sequence_tells_before_two_times_did() {
        let mut times = PictureTimes::default();
        assert_eq!(times.place(None), None);
        times.expect(25_000);
        times.place(Some((ms(0), ms(0))));
        // They may be fields, so it is half a frame.
        assert_eq!(times.place(None).unwrap().dts, ms(20));
        times.place(Some((ms(80), ms(80))));
        assert_eq!(times.place(None).unwrap().dts, ms(120));
    }

    #[test]
    fn an_estimate_that_ran_ahead_moves_what_is_told() {
        let mut times = PictureTimes::default();
        let mut place = |told: Option<i64>| {
            let time = times.place(told.map(|told| (ms(told), ms(told)))).unwrap();
            (time.dts.as_ticks(90_000), time.pts == time.dts, time.estimated)
        };
        assert_eq!(place(Some(0)), (0, true, false));
        assert_eq!(place(None), (90, true, true));
        assert_eq!(place(Some(40)), (3_600, true, false));
        assert_eq!(place(None), (5_400, true, true));
        // The rate doubles.
        assert_eq!(place(Some(60)), (5_401, true, true));
        assert_eq!(place(None), (6_300, true, true));
        assert_eq!(place(Some(80)), (7_200, true, false));
        assert_eq!(place(None), (8_100, true, true));
        // Another time base is as it is told.
        assert_eq!(place(Some(-5_000)), (-450_000, true, false));
    }

    #[test]
    fn what_is_missing_is_not_measured() {
        let mut times = PictureTimes::default();
        for at in [0, 40, 80] {
            times.place(Some((ms(at), ms(at))));
        }
        times.lose();
        times.place(Some((ms(400), ms(400))));
        assert_eq!(times.place(None).unwrap().dts, ms(440));
    }
}
