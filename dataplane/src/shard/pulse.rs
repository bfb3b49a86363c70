//! Pulse: how busy the shard is and how well its loop keeps up, for those who watch it.
//!
//! Rates are of the last whole second. Histograms of the last seconds are two that take turns: one
//! fills while the other is kept, so what is shown covers five to ten seconds.

use std::time::{Duration, Instant};

use crate::metrics::{Histogram, MICROSECONDS, Recent, ShardCounters};

/// Rates are taken over this long, and a turn more.
const RATES: Duration = Duration::from_secs(1);
/// A histogram fills for this long.
const FILL: Duration = Duration::from_secs(5);

/// Lives on: its shard. Crosses by: never; [`Self::recent`] is a copy.
#[derive(Debug)]
pub(super) struct Pulse {
    second_began: Instant,
    before: Totals,
    rates: Rates,
    fill_began: Instant,
    turn_us: [Histogram; 2],
    loop_lag_us: [Histogram; 2],
    /// Time that egress took in this turn.
    egress: Duration,
}

/// What was counted when the second began.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    busy_ns: u64,
    egress_ns: u64,
    turns: u64,
    sends: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    utilisation: f64,
    egress_turn_share: f64,
    turns: u64,
    sends: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

impl Totals {
    const fn of(counters: &ShardCounters) -> Self {
        Self {
            busy_ns: counters.busy_ns,
            egress_ns: counters.egress_ns,
            turns: counters.turns,
            sends: counters.sends,
            bytes_sent: counters.bytes_sent,
            bytes_received: counters.bytes_received,
        }
    }
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        let empty = || [Histogram::new(&MICROSECONDS), Histogram::new(&MICROSECONDS)];
        Self {
            second_began: now,
            before: Totals::default(),
            rates: Rates::default(),
            fill_began: now,
            turn_us: empty(),
            loop_lag_us: empty(),
            egress: Duration::ZERO,
        }
    }

    /// Something that was due so long ago runs now.
    pub(super) fn late(&mut self, lag: Duration, counters: &mut ShardCounters) {
        counters.loop_lag_us.observe_time(lag);
        self.loop_lag_us[0].observe_time(lag);
    }

    /// Egress took so long in this turn.
    pub(super) const fn egress_took(&mut self, took: Duration) {
        self.egress = took;
    }

    /// A turn from `began` to `ended` is over.
    pub(super) fn turned(&mut self, began: Instant, ended: Instant, counters: &mut ShardCounters) {
        let took = ended.saturating_duration_since(began);
        counters.turn_us.observe_time(took);
        self.turn_us[0].observe_time(took);
        counters.busy_ns += nanos(took);
        counters.egress_ns += nanos(std::mem::take(&mut self.egress));
        if ended.saturating_duration_since(self.second_began) >= RATES {
            self.second_over(ended, counters);
        }
        if ended.saturating_duration_since(self.fill_began) >= FILL {
            self.fill_began = ended;
            for pair in [&mut self.turn_us, &mut self.loop_lag_us] {
                pair.swap(0, 1);
                pair[0].clear();
            }
        }
    }

    fn second_over(&mut self, now: Instant, counters: &ShardCounters) {
        let passed = now.saturating_duration_since(self.second_began).as_secs_f64();
        let (old, new) = (self.before, Totals::of(counters));
        let (busy, egress) = (new.busy_ns - old.busy_ns, new.egress_ns - old.egress_ns);
        let rate = |of: fn(&Totals) -> u64| ((of(&new) - of(&old)) as f64 / passed) as u64;
        self.rates = Rates {
            utilisation: (busy as f64 / 1e9 / passed).min(1.0),
            egress_turn_share: (egress as f64 / busy.max(1) as f64).min(1.0),
            turns: rate(|totals| totals.turns),
            sends: rate(|totals| totals.sends),
            bytes_sent: rate(|totals| totals.bytes_sent),
            bytes_received: rate(|totals| totals.bytes_received),
        };
        (self.second_began, self.before) = (now, new);
    }

    /// A copy for a snapshot.
    pub(super) fn recent(&self) -> Recent {
        let Rates { utilisation, egress_turn_share, turns, sends, bytes_sent, bytes_received } =
            self.rates;
        let merged = |[filling, kept]: &[Histogram; 2]| {
            let mut sum = filling.clone();
            sum.add(kept);
            sum
        };
        Recent {
            utilisation,
            egress_turn_share,
            turns,
            sends,
            bytes_sent,
            bytes_received,
            turn_us: merged(&self.turn_us),
            loop_lag_us: merged(&self.loop_lag_us),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// Turns of `took`, one every ten milliseconds, half of each in egress.
    fn run(pulse: &mut Pulse, counters: &mut ShardCounters, from: Instant, took: Duration) {
        for turn in 0..100 {
            let began = from + 10 * MS * turn;
            counters.turns += 1;
            counters.sends += 3;
            counters.bytes_sent += 3_000;
            pulse.egress_took(took / 2);
            pulse.turned(began, began + took, counters);
        }
    }

    #[test]
    fn rates_are_of_the_last_second() {
        let t0 = origin();
        let (mut pulse, mut counters) = (Pulse::new(t0), ShardCounters::default());
        run(&mut pulse, &mut counters, t0, 4 * MS);
        assert_eq!(pulse.recent().turns, 0, "the second is not over");
        run(&mut pulse, &mut counters, t0 + 1_000 * MS, 2 * MS);
        let recent = pulse.recent();
        assert!((0.38..0.42).contains(&recent.utilisation), "{recent:?}");
        assert!((0.49..0.51).contains(&recent.egress_turn_share), "{recent:?}");
        assert!((99..=101).contains(&recent.turns), "{recent:?}");
        assert!((295..=305).contains(&recent.sends), "{recent:?}");
        run(&mut pulse, &mut counters, t0 + 2_000 * MS, 2 * MS);
        assert!((0.18..0.22).contains(&pulse.recent().utilisation));
    }

    #[test]
    fn what_was_seconds_ago_is_forgotten_but_still_counted() {
        let t0 = origin();
        let (mut pulse, mut counters) = (Pulse::new(t0), ShardCounters::default());
        pulse.late(90 * MS, &mut counters);
        for second in 0..5 {
            run(&mut pulse, &mut counters, t0 + 1_000 * MS * second, MS);
        }
        assert_eq!(pulse.recent().loop_lag_us.max, 90_000, "at least five seconds are kept");
        for second in 5..11 {
            run(&mut pulse, &mut counters, t0 + 1_000 * MS * second, MS);
        }
        let recent = pulse.recent();
        assert_eq!((recent.loop_lag_us.count(), recent.loop_lag_us.max), (0, 0));
        assert!(recent.turn_us.count() < counters.turn_us.count());
        assert_eq!((counters.loop_lag_us.count(), counters.turn_us.count()), (1, 1_100));
    }
}
