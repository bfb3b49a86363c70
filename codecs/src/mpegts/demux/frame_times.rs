//! The times of frames of sound: a PES packet tells that of the first one that begins in it.

use crate::time::MediaTime;

/// Places frames one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameTimes {
    /// The time of the next frame that begins, from its PES packet.
    told: Option<MediaTime>,
    /// The time of the last frame whose time was told, and the samples since.
    base: Option<MediaTime>,
    samples: i64,
    sample_rate: u32,
    /// The number of the current PES packet's time base, and that of the last time it told.
    pes_base: u32,
    time_base: u32,
    /// The current PES packet came without a time.
    is_untold: bool,
}

/// A frame's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameTime {
    pub(super) at: MediaTime,
    pub(super) time_base: u32,
    /// No packet told it.
    pub(super) estimated: bool,
}

impl FrameTimes {
    pub(super) const fn new() -> Self {
        Self {
            told: None,
            base: None,
            samples: 0,
            sample_rate: 0,
            pes_base: 0,
            time_base: 0,
            is_untold: false,
        }
    }

    /// A PES packet begins.
    pub(super) const fn tell(&mut self, time: Option<MediaTime>, time_base: u32) {
        self.pes_base = time_base;
        self.is_untold = time.is_none();
        self.told = time;
    }

    /// Takes what the packet told, for a frame whose first byte comes.
    pub(super) const fn take_told(&mut self) -> Option<MediaTime> {
        if self.told.is_some() {
            self.time_base = self.pes_base;
        }
        self.told.take()
    }

    /// The time of a frame of so many samples, for which `told` was taken; `None` if nothing is
    /// known.
    pub(super) fn place(
        &mut self,
        told: Option<MediaTime>,
        samples: u32,
        sample_rate: u32,
    ) -> Option<FrameTime> {
        if told.is_some() {
            (self.base, self.samples) = (told, 0);
        }
        let at = self.next()?;
        if self.sample_rate != sample_rate {
            (self.base, self.samples, self.sample_rate) = (Some(at), 0, sample_rate);
        }
        self.samples += i64::from(samples);
        let (time_base, estimated) = (self.time_base, told.is_none() && self.is_untold);
        Some(FrameTime { at, time_base, estimated })
    }

    fn next(&self) -> Option<MediaTime> {
        self.base.map(|base| match self.samples {
            0 => base,
            samples => base + MediaTime::from_ticks(samples, self.sample_rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_the_time_that_was_told_last() {
        let ms = MediaTime::from_millis;
        let mut times = FrameTimes::new();
        let place = |times: &mut FrameTimes, rate| {
            let told = times.take_told();
            times.place(told, rate / 50, rate).map(|time| (time.at.as_millis(), time.estimated))
        };
        assert_eq!(place(&mut times, 48_000), None);
        times.tell(Some(ms(1_000)), 0);
        assert_eq!(place(&mut times, 48_000), Some((1_000, false)));
        assert_eq!(place(&mut times, 48_000), Some((1_020, false)));
        assert_eq!(place(&mut times, 44_100), Some((1_040, false)), "another rate");
        assert_eq!(place(&mut times, 44_100), Some((1_060, false)));
        times.tell(None, 0);
        assert_eq!(place(&mut times, 44_100), Some((1_080, true)));
        times.tell(Some(ms(5)), 1);
        assert_eq!(place(&mut times, 44_100), Some((5, false)), "whatever it is");
    }
}
