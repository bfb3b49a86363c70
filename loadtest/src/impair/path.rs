//! One direction of one client: what becomes of each packet, sans-IO.
//!
//! Shape: loss, then the queue before the narrowest link (a token bucket that is
//! [`BURST_BYTES`] deep; what does not fit into the queue is dropped), then the way behind it
//! (delay, jitter, overtaking), then stalls.
//!
//! Units: nanoseconds of any clock that never goes back.

use super::chance::{Chance, Dice, Throw};
use super::impairment::{Impairment, Stall};
use super::totals::DirectionTotals;

/// Bytes that may pass at once after silence: two packets of Ethernet.
const BURST_BYTES: u64 = 3000;

const SECOND_NS: u128 = 1_000_000_000;

/// Which packets these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The seed of all decisions.
    pub seed: u64,
    /// The number of the client, from 0 in the order of coming.
    pub client: u64,
    /// The number of the direction.
    pub direction: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost by chance.
    Lost,
    /// The queue had no room.
    Overflowed,
    /// It arrives.
    Due {
        /// When.
        due_ns: u64,
        /// When its copy does, if it comes twice.
        copy_due_ns: Option<u64>,
    },
}

/// One direction of one client.
#[derive(Clone, Debug)]
pub struct Path {
    impairment: Impairment,
    flow: Flow,
    started_ns: u64,
    /// Packets so far.
    number: u64,
    /// The last one was lost, in a burst.
    in_burst: bool,
    /// When the bucket will be full again.
    full_ns: u64,
    last_due_ns: u64,
    totals: DirectionTotals,
}

impl Path {
    /// A path that begins now.
    #[must_use]
    pub fn new(impairment: Impairment, flow: Flow, now_ns: u64) -> Self {
        Self {
            impairment,
            flow,
            started_ns: now_ns,
            number: 0,
            in_burst: false,
            full_ns: now_ns,
            last_due_ns: now_ns,
            totals: DirectionTotals::default(),
        }
    }

    /// What was decided so far.
    #[must_use]
    pub const fn totals(&self) -> &DirectionTotals {
        &self.totals
    }

    /// Counts a packet that was given on.
    pub const fn forwarded(&mut self, len: usize) {
        self.totals.forwarded += 1;
        self.totals.forwarded_bytes += len as u64;
    }

    /// Counts a packet that the kernel did not take.
    pub const fn unsent(&mut self) {
        self.totals.unsent += 1;
    }

    /// Counts a packet that the relay had no room for.
    pub const fn overflowed(&mut self) {
        self.totals.overflowed += 1;
    }

    /// Decides on the next piece of a byte stream and tells when it arrives; nothing, which is
    /// its end, arrives as late as other pieces and is not counted.
    pub fn admit_piece(&mut self, now_ns: u64, len: usize) -> u64 {
        let due_ns = if len == 0 {
            self.after_stall(now_ns.saturating_add(self.impairment.delay_ns))
        } else {
            let dice = self.next_dice(len);
            let passed_ns = self.leave_link(now_ns, len as u64);
            self.arrival(passed_ns, dice, Throw::Jitter)
        };
        self.last_due_ns = self.last_due_ns.max(due_ns);
        self.last_due_ns
    }

    /// Decides on the next packet, of `len` bytes, that comes at `now_ns`.
    pub fn admit(&mut self, now_ns: u64, len: usize) -> Fate {
        let dice = self.next_dice(len);
        let of = self.impairment;
        if self.is_lost(dice) {
            self.totals.lost += 1;
            return Fate::Lost;
        }
        let full_ns = self.full_ns;
        let passed_ns = self.leave_link(now_ns, len as u64);
        if passed_ns - now_ns > self.time_of(of.queue_bytes) {
            self.full_ns = full_ns;
            self.totals.overflowed += 1;
            return Fate::Overflowed;
        }
        let overtakes = of.reorder.falls(dice, Throw::Reorder);
        let due_ns = if overtakes {
            self.after_stall(passed_ns)
        } else {
            self.arrival(passed_ns, dice, Throw::Jitter)
        };
        self.totals.reordered += u64::from(due_ns < self.last_due_ns);
        self.last_due_ns = self.last_due_ns.max(due_ns);
        let copy = of.duplicate.falls(dice, Throw::Duplicate);
        self.totals.duplicated += u64::from(copy);
        let copy_due_ns = copy.then(|| self.arrival(passed_ns, dice, Throw::CopyJitter));
        Fate::Due { due_ns, copy_due_ns }
    }

    /// Counts a packet and takes its dice.
    fn next_dice(&mut self, len: usize) -> Dice {
        let Flow { seed, client, direction } = self.flow;
        let dice = Dice::new(&[seed, client, direction, self.number]);
        self.number += 1;
        self.totals.packets += 1;
        self.totals.bytes += len as u64;
        dice
    }

    /// Loss by chance; in bursts it is that of Gilbert's channel: good or bad, and from one to the
    /// other by chance.
    fn is_lost(&mut self, dice: Dice) -> bool {
        let Impairment { loss, burst, .. } = self.impairment;
        let Some((mean, begins)) = burst.and_then(|mean| Some((mean, loss.of_burst(mean)?))) else {
            return loss.falls(dice, Throw::Loss);
        };
        let turns = if self.in_burst { Chance::one_in(mean) } else { begins };
        self.in_burst ^= turns.falls(dice, Throw::Loss);
        self.in_burst
    }

    /// When a packet leaves the narrowest link.
    fn leave_link(&mut self, now_ns: u64, len: u64) -> u64 {
        self.full_ns = self.full_ns.max(now_ns).saturating_add(self.time_of(len));
        self.full_ns.saturating_sub(self.time_of(BURST_BYTES)).max(now_ns)
    }

    /// What bytes take to pass.
    fn time_of(&self, bytes: u64) -> u64 {
        let Some(rate) = self.impairment.rate else { return 0 };
        let time_ns = u128::from(bytes) * 8 * SECOND_NS / u128::from(rate.max(1));
        u64::try_from(time_ns).unwrap_or(u64::MAX)
    }

    fn arrival(&self, passed_ns: u64, dice: Dice, throw: Throw) -> u64 {
        let Impairment { delay_ns, jitter_ns, .. } = self.impairment;
        let spread_ns = dice.below(throw, 2 * jitter_ns + 1);
        self.after_stall(passed_ns + (delay_ns + spread_ns).saturating_sub(jitter_ns))
    }

    /// The end of the stall that a time falls into.
    fn after_stall(&self, at_ns: u64) -> u64 {
        let Some(Stall { stall_ns, every_ns }) = self.impairment.stall else {
            return at_ns;
        };
        let since_ns = at_ns.saturating_sub(self.started_ns);
        let into_ns = since_ns % every_ns.max(1);
        if since_ns < every_ns || into_ns >= stall_ns { at_ns } else { at_ns - into_ns + stall_ns }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    const PACKETS: u64 = 100_000;
    const MS: u64 = 1_000_000;

    const FLOW: Flow = Flow { seed: 5, client: 0, direction: 0 };

    fn percent(text: &str) -> Chance {
        Chance::parse(text).unwrap()
    }

    /// The fates of packets of 1316 bytes, one every 0.5 ms.
    fn fates(impairment: Impairment, flow: Flow) -> (Vec<Fate>, DirectionTotals) {
        let mut path = Path::new(impairment, flow, 0);
        let fates = (0..PACKETS).map(|number| path.admit(number * MS / 2, 1316)).collect();
        (fates, *path.totals())
    }

    fn assert_near(count: u64, wanted: u64) {
        // Five standard deviations of what chance does.
        let tolerance = 5 * wanted.isqrt();
        assert!(count.abs_diff(wanted) <= tolerance, "{count} instead of {wanted}");
    }

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let impairment = Impairment {
            loss: percent("2%"),
            duplicate: percent("1%"),
            reorder: percent("0.5%"),
            delay_ns: 40 * MS,
            ..Impairment::NONE
        };
        let (fates, totals) = fates(impairment, FLOW);
        let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count() as u64;
        assert_eq!((totals.packets, totals.bytes, totals.lost), (PACKETS, PACKETS * 1316, lost));
        assert_near(lost, PACKETS / 50);
        assert_near(totals.duplicated, PACKETS / 100 * 98 / 100);
        assert_near(totals.reordered, PACKETS / 200 * 98 / 100);
        for (number, fate) in fates.iter().enumerate() {
            let Fate::Due { due_ns, copy_due_ns } = fate else { continue };
            let way_ns = due_ns - number as u64 * MS / 2;
            assert!(way_ns == 40 * MS || way_ns == 0, "{way_ns}");
            assert!(copy_due_ns.is_none_or(|copy| copy == number as u64 * MS / 2 + 40 * MS));
        }
    }

    #[test]
    fn bursts_take_as_many_as_are_to_be_lost_and_are_as_long_as_said() {
        let burst = NonZero::new(8);
        let impairment = Impairment { loss: percent("10%"), burst, ..Impairment::NONE };
        let (fates, totals) = fates(impairment, FLOW);
        let lost = totals.lost as f64 / PACKETS as f64;
        assert!((0.09..0.11).contains(&lost), "{lost}");
        let begins = |pair: &&[Fate]| pair[0] != Fate::Lost && pair[1] == Fate::Lost;
        let bursts = fates.windows(2).filter(begins).count();
        let mean = totals.lost as f64 / bursts as f64;
        assert!((7.5..8.5).contains(&mean), "{mean}");
        assert_eq!(percent("90%").of_burst(NonZero::new(8).unwrap()), None);
        assert_eq!(percent("100%").of_burst(NonZero::new(8).unwrap()), None);
    }

    #[test]
    fn the_same_seed_decides_the_same_and_others_do_not() {
        let impairment = Impairment {
            loss: percent("10%"),
            duplicate: percent("10%"),
            delay_ns: 20 * MS,
            jitter_ns: 5 * MS,
            ..Impairment::NONE
        };
        let (first, _) = fates(impairment, FLOW);
        assert_eq!(fates(impairment, FLOW).0, first);
        let others =
            [Flow { seed: 6, ..FLOW }, Flow { client: 1, ..FLOW }, Flow { direction: 1, ..FLOW }];
        for flow in others {
            let (other, _) = fates(impairment, flow);
            let pairs = first.iter().zip(&other);
            let both = pairs.filter(|(a, b)| **a == Fate::Lost && **b == Fate::Lost).count();
            assert_near(both as u64, PACKETS / 100);
        }
    }

    #[test]
    fn jitter_is_even_around_the_delay() {
        let impairment = Impairment { delay_ns: 40 * MS, jitter_ns: 10 * MS, ..Impairment::NONE };
        let (fates, totals) = fates(impairment, FLOW);
        let mut sum = 0;
        for (number, fate) in fates.iter().enumerate() {
            let Fate::Due { due_ns, .. } = fate else { panic!("nothing is lost") };
            let way_ns = due_ns - number as u64 * MS / 2;
            assert!((30 * MS..=50 * MS).contains(&way_ns));
            sum += way_ns;
        }
        assert!((sum / PACKETS).abs_diff(40 * MS) < MS / 10, "{}", sum / PACKETS);
        assert!(totals.reordered > PACKETS / 2, "most are overtaken at this rate: {totals:?}");
        // Pieces of a byte stream keep their order.
        let impairment = Impairment { loss: percent("50%"), ..impairment };
        let mut path = Path::new(impairment, FLOW, 0);
        let dues: Vec<u64> =
            (0..PACKETS).map(|number| path.admit_piece(number * MS / 2, 1316)).collect();
        assert!(dues.is_sorted() && path.admit_piece(PACKETS * MS / 2, 0) >= dues[99_999]);
        assert_eq!((path.totals().packets, path.totals().lost), (PACKETS, 0));
    }

    #[test]
    fn a_narrow_link_passes_its_rate_and_its_queue_is_bounded() {
        // 21 Mb/s into 5 Mb/s; the queue is 100 kB, 160 ms.
        let impairment =
            Impairment { rate: Some(5_000_000), queue_bytes: 100_000, ..Impairment::NONE };
        let (fates, totals) = fates(impairment, FLOW);
        let mut passed = 0;
        let mut last_ns = 0;
        for (number, fate) in fates.iter().enumerate() {
            let Fate::Due { due_ns, .. } = *fate else { continue };
            assert!(
                due_ns - number as u64 * MS / 2 <= 160 * MS,
                "it waits as long as the queue is"
            );
            assert!(due_ns >= last_ns);
            (last_ns, passed) = (due_ns, passed + 1316 * 8);
        }
        let seconds = last_ns as f64 / 1e9;
        let rate = passed as f64 / seconds;
        assert!((4_990_000.0..5_010_000.0).contains(&rate), "{rate}");
        assert_eq!(totals.overflowed + passed / 8 / 1316, PACKETS);
        // Below the rate nobody waits.
        let mut path = Path::new(impairment, FLOW, 0);
        for number in 0..1000 {
            let now_ns = number * 3 * MS;
            let due_ns = now_ns;
            assert_eq!(path.admit(now_ns, 1316), Fate::Due { due_ns, copy_due_ns: None });
        }
    }

    #[test]
    fn nothing_moves_in_a_stall() {
        let stall = Some(Stall { stall_ns: 200 * MS, every_ns: 1000 * MS });
        let mut path = Path::new(Impairment { stall, ..Impairment::NONE }, FLOW, 50 * MS);
        let table =
            [(60, 60), (1049, 1049), (1050, 1250), (1249, 1250), (1250, 1250), (2049, 2049)];
        for (now_ms, due_ms) in table {
            let due_ns = due_ms * MS;
            let fate = path.admit(now_ms * MS, 100);
            assert_eq!(fate, Fate::Due { due_ns, copy_due_ns: None }, "{now_ms}");
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let impairment = Impairment {
            delay_ns: u64::MAX / 8,
            jitter_ns: u64::MAX / 8,
            rate: Some(1),
            queue_bytes: u64::MAX,
            ..Impairment::NONE
        };
        let mut path = Path::new(impairment, FLOW, 0);
        for _ in 0..10 {
            assert_ne!(path.admit(0, 65_535), Fate::Lost);
        }
    }
}
