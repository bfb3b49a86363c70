//! Buckets: tokens of very many, in a table of fixed size that remembers nobody.
//!
//! Spec: the virtual scheduling algorithm of ITU-T I.371 (GCRA): a bucket is the one moment at
//! which it would be full again, so that filling it needs no sweep and no second word.
//! Shape: an array of such moments, found by a keyed hash of whose they are. Those who share a
//! bucket share its tokens: never more is let through, and with a secret key nobody can aim at
//! anybody. Nothing is evicted, so that a flood of addresses frees nobody: it would have to use
//! up every bucket at its full rate to harm a stranger.
//! Limits: for one bucket, never more than `burst + per_second * t` in any time `t`, however many
//! shards take at one time.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::origin::Origin;

const SECOND_NS: u64 = 1_000_000_000;
/// A bucket that is emptier than its rate allows was emptied under another rate, and is not for
/// longer; unless it is by no more than clocks of shards differ.
const AHEAD_NS_MAX: u64 = SECOND_NS;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So often a second, for as long as it goes on.
    pub per_second: u64,
    /// So often at one time.
    pub burst: u64,
}

impl Rate {
    /// What one token takes to come back, rounded up so that none comes early.
    const fn interval_ns(self) -> u64 {
        let per_second = if self.per_second == 0 { 1 } else { self.per_second };
        SECOND_NS.div_ceil(per_second)
    }

    /// What an empty bucket takes to be full.
    const fn fill_ns(self) -> u64 {
        let burst = if self.burst == 0 { 1 } else { self.burst };
        self.interval_ns().saturating_mul(burst)
    }
}

/// The table. See the module.
#[derive(Debug)]
pub struct Buckets {
    origin: Origin,
    hasher: RandomState,
    full_at: Box<[AtomicU64]>,
}

impl Buckets {
    /// So many buckets, all of them full.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let full_at = (0..count.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self { origin: Origin::default(), hasher: RandomState::new(), full_at }
    }

    /// Takes a token out of the bucket of `whose`.
    ///
    /// # Errors
    /// There is none; after that time there is, if nobody takes it meanwhile.
    pub fn take(&self, whose: impl Hash, rate: Rate, now: Instant) -> Result<(), Duration> {
        let (now, interval, fill) = (self.origin.nanos(now), rate.interval_ns(), rate.fill_ns());
        let at = self.hasher.hash_one(whose) as usize % self.full_at.len();
        let emptiest = now.saturating_add(fill);
        let spent = |full_at: u64| full_at.max(now).saturating_add(interval);
        let take = |full_at| match spent(full_at) {
            after if after - now <= fill => Some(after),
            _ if full_at > emptiest.saturating_add(AHEAD_NS_MAX) => Some(emptiest),
            _ => None,
        };
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        let before = match self.full_at[at].fetch_update(set, get, take) {
            Ok(full_at) if spent(full_at) - now <= fill => return Ok(()),
            Ok(_) => emptiest,
            Err(full_at) => full_at,
        };
        Err(Duration::from_nanos(spent(before) - now - fill))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn some_moment() -> Instant {
        Instant::now()
    }

    proptest! {
        #[test]
        fn never_more_than_a_burst_and_the_rate(
            per_second in 1_u64..2_000,
            burst in 1_u64..50,
            steps_us in proptest::collection::vec(0_u64..20_000, 1..400),
        ) {
            let (buckets, start) = (Buckets::new(1), some_moment());
            let rate = Rate { per_second, burst };
            let (mut now, mut taken) = (start, Vec::new());
            for step in steps_us {
                now += Duration::from_micros(step);
                match buckets.take(7, rate, now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        // It was told when to come again, and not later than that there is one.
                        prop_assert!(!wait.is_zero());
                        if wait < Duration::from_millis(5) {
                            now += wait;
                            prop_assert_eq!(buckets.take(7, rate, now), Ok(()));
                            taken.push(now);
                        }
                    }
                }
            }
            // In every span, not only since the start.
            for (i, first) in taken.iter().enumerate() {
                for (j, last) in taken.iter().enumerate().skip(i) {
                    let nanos = last.duration_since(*first).as_nanos();
                    let earned = nanos * u128::from(per_second) / u128::from(SECOND_NS);
                    let most = u128::from(burst) + earned;
                    prop_assert!((j - i + 1) as u128 <= most, "{} of {most}", j - i + 1);
                }
            }
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_by_one() {
        let (buckets, start) = (Buckets::new(64), some_moment());
        let rate = Rate { per_second: 10, burst: 3 };
        for _ in 0..3 {
            assert_eq!(buckets.take("one", rate, start), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(buckets.take("one", rate, start), Err(wait));
        assert_eq!(buckets.take("one", rate, start + wait), Ok(()));
        assert_eq!(buckets.take("one", rate, start + wait), Err(wait));
        // A clock of another shard may be behind: nothing is gained by it.
        assert_eq!(buckets.take("one", rate, start), Err(2 * wait));
        // Idle time fills it up to the burst, not beyond.
        let later = start + Duration::from_secs(3_600);
        let given = (0..9).filter(|_| buckets.take("one", rate, later).is_ok()).count();
        assert_eq!(given, 3);
        let senseless = Rate { per_second: 0, burst: 0 };
        assert_eq!(Buckets::new(0).take("one", senseless, start), Ok(()));
        let most = Rate { per_second: u64::MAX, burst: u64::MAX };
        assert_eq!(buckets.take("one", most, later), Ok(()));
    }

    #[test]
    fn a_looser_rate_forgives_what_a_tighter_one_was_owed() {
        let (buckets, start) = (Buckets::new(1), some_moment());
        let tight = Rate { per_second: 1, burst: 500 };
        for _ in 0..500 {
            assert_eq!(buckets.take(7, tight, start), Ok(()));
        }
        assert_eq!(buckets.take(7, tight, start), Err(Duration::from_secs(1)));
        // It was eight minutes until there was one; now it is as if it had been emptied.
        let loose = Rate { per_second: 100, burst: 400 };
        let wait = Duration::from_millis(10);
        assert_eq!(buckets.take(7, loose, start), Err(wait));
        let later = start + wait;
        assert_eq!(buckets.take(7, loose, later), Ok(()));
        assert_eq!(buckets.take(7, loose, later), Err(wait));
        let later = start + Duration::from_secs(4);
        let given = (0..500).filter(|_| buckets.take(7, loose, later).is_ok()).count();
        assert_eq!(given, 399);
    }

    #[test]
    fn shards_that_take_at_one_time_get_no_more() {
        let (buckets, start) = (Buckets::new(1), some_moment());
        let rate = Rate { per_second: 1, burst: 500 };
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let given = (0..400).filter(|_| buckets.take(1, rate, start).is_ok()).count();
                    taken.fetch_add(given, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 500);
    }

    #[test]
    fn a_flood_of_addresses_frees_nobody_and_harms_few() {
        let (buckets, start) = (Buckets::new(1 << 12), some_moment());
        let rate = Rate { per_second: 1, burst: 64 };
        let shut = (0..64).filter(|_| buckets.take("loud", rate, start).is_err()).count();
        assert_eq!(shut, 0);
        assert!(buckets.take("loud", rate, start).is_err());
        // Eight attempts a bucket are far from its burst, wherever they fall.
        for address in 0..8_u32 << 12 {
            let _ = buckets.take(address, rate, start);
        }
        assert!(buckets.take("loud", rate, start).is_err());
        let harmed = (0..1_000)
            .filter(|quiet| buckets.take(format!("quiet {quiet}"), rate, start).is_err())
            .count();
        assert!(harmed <= 10, "{harmed} of 1000 are refused");
    }
}
