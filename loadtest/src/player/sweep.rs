//! When quiet players are emptied, sans-IO: slice after slice, each once in a period.
//!
//! Lateness is measured against when the slice was emptied last, not against a schedule that waits
//! for whoever is late: sweeps that take longer than their time are told in every slice.

use crate::stats::Histogram;

/// How often quiet players are emptied, and lists are asked for.
pub const SWEEP_NS: u64 = 25_000_000;

/// How often players of SRT are emptied: as often as the protocol has them acknowledge.
pub const DATAGRAM_SWEEP_NS: u64 = 10_000_000;

/// A sweep is done in so many slices, evenly spread over its time.
const SLICES: usize = 10;

/// The slices of one thread's players.
#[derive(Debug)]
pub(super) struct Schedule {
    period_ns: u64,
    /// When each slice was emptied last.
    last_ns: [u64; SLICES],
    /// Whose turn it is, and when.
    next: usize,
    next_ns: u64,
    late: Histogram,
}

impl Schedule {
    /// Every slice has its turn once in `period_ns`.
    pub(super) fn every(period_ns: u64, now_ns: u64) -> Self {
        let slice_ns = period_ns / SLICES as u64;
        // As if a sweep had just ended in time; a clock that is younger than a sweep begins at 0.
        let before = |slice| (now_ns + (slice as u64 + 1) * slice_ns).saturating_sub(period_ns);
        Self {
            period_ns,
            last_ns: std::array::from_fn(before),
            next: 0,
            next_ns: now_ns + slice_ns,
            late: Histogram::default(),
        }
    }

    /// When the next slice is due.
    pub(super) const fn due_ns(&self) -> u64 {
        self.next_ns
    }

    /// Begins the slice that is due, if one is; the caller tells when it is done.
    pub(super) fn begin(&mut self, now_ns: u64) -> Option<Slice> {
        if now_ns < self.next_ns {
            return None;
        }
        let nth = self.next;
        let since_ns = now_ns - std::mem::replace(&mut self.last_ns[nth], now_ns);
        self.late.record(since_ns.saturating_sub(self.period_ns));
        self.next = (nth + 1) % SLICES;
        Some(Slice(nth))
    }

    /// The slice that was begun is done.
    pub(super) fn end(&mut self, now_ns: u64) {
        // A sweep that takes longer than its time does not pile up.
        self.next_ns = (self.next_ns + self.period_ns / SLICES as u64).max(now_ns);
    }

    /// How much too late slices were emptied since this was last asked.
    pub(super) fn take_late(&mut self) -> Histogram {
        std::mem::take(&mut self.late)
    }
}

/// Some of the players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice(usize);

impl Slice {
    /// The first of so many players, and the one behind the last.
    pub(super) const fn of(self, players: usize) -> (usize, usize) {
        (players * self.0 / SLICES, players * (self.0 + 1) / SLICES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE_NS: u64 = SWEEP_NS / SLICES as u64;

    /// Sweeps whose slices take so long; tells the lateness of those after the first round.
    fn late_ms(slice_takes_ns: u64) -> (f64, f64) {
        let mut now_ns = 1_000 * SWEEP_NS;
        let mut schedule = Schedule::every(SWEEP_NS, now_ns);
        for slice in 0..10 * SLICES {
            if slice == SLICES {
                schedule.take_late();
            }
            now_ns = now_ns.max(schedule.due_ns());
            assert_eq!(schedule.begin(now_ns), Some(Slice(slice % SLICES)));
            now_ns += slice_takes_ns;
            schedule.end(now_ns);
        }
        let late = schedule.take_late();
        assert_eq!(late.len(), 9 * SLICES as u64);
        let late = late.percentiles().unwrap();
        (late.p50_ms, late.max_ms)
    }

    #[test]
    fn sweeps_that_take_longer_than_their_time_are_late() {
        assert_eq!(late_ms(0), (0.0, 0.0));
        assert_eq!(late_ms(SLICE_NS), (0.0, 0.0), "just in time");
        let (p50_ms, max_ms) = late_ms(4 * SLICE_NS);
        let truth_ms = 3.0 * SWEEP_NS as f64 / 1e6;
        for told_ms in [p50_ms, max_ms] {
            assert!((truth_ms..truth_ms * 1.02).contains(&told_ms), "{told_ms}");
        }
    }

    #[test]
    fn one_pause_is_told_once_by_each_slice() {
        let mut schedule = Schedule::every(SWEEP_NS, 1_000 * SWEEP_NS);
        for slice in 0..40 {
            let pause_ns = if slice == 5 { 2 * SWEEP_NS } else { 0 };
            assert_eq!(schedule.begin(schedule.due_ns() - 1), None);
            let now_ns = schedule.due_ns() + pause_ns;
            assert!(schedule.begin(now_ns).is_some());
            schedule.end(now_ns);
        }
        let late = schedule.take_late().percentiles().unwrap();
        assert!(late.p50_ms < 1e-6 && late.max_ms >= 50.0, "{late:?}");
    }

    #[test]
    fn every_player_is_in_one_slice() {
        for players in [0, 1, 9, 10, 1003] {
            let mut end = 0;
            for nth in 0..SLICES {
                let (from, to) = Slice(nth).of(players);
                assert_eq!(from, end);
                end = to;
            }
            assert_eq!(end, players);
        }
    }
}
