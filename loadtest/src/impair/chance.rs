//! Chances, and the dice that they are thrown with.

use std::num::NonZero;

use anyhow::{Context, Result, ensure};

/// Parts of a whole that a chance is counted in.
const WHOLE: u32 = 1_000_000;

/// A probability, to the millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chance(u32);

impl Chance {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// Reads a percentage such as `2%` or `0.05%`.
    ///
    /// # Errors
    /// In one line, if it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || format!("no percentage: {text}; write it as 2% or 0.5%");
        let number = text.strip_suffix('%').with_context(wrong)?;
        let percent = number.trim().parse::<f64>().ok().with_context(wrong)?;
        ensure!((0.0..=100.0).contains(&percent), "{text} is not between 0% and 100%");
        Ok(Self((percent / 100.0 * f64::from(WHOLE)).round() as u32))
    }

    /// True if it is not impossible.
    #[must_use]
    pub const fn is_possible(self) -> bool {
        self.0 > 0
    }

    /// How likely a burst of so many packets on average begins at a packet, so that in the long run
    /// as many are in bursts as this says; `None` if bursts would have to follow without a pause.
    #[must_use]
    pub fn of_burst(self, packets: NonZero<u32>) -> Option<Self> {
        let pauses = u64::from(WHOLE - self.0) * u64::from(packets.get());
        let parts = (u64::from(self.0) * u64::from(WHOLE)).checked_div(pauses)?;
        u32::try_from(parts).ok().filter(|parts| *parts <= WHOLE).map(Self)
    }

    /// One time in so many.
    pub(super) const fn one_in(times: NonZero<u32>) -> Self {
        Self(WHOLE / times.get())
    }

    /// Whether it comes true, this time.
    pub(super) const fn falls(self, dice: Dice, throw: Throw) -> bool {
        dice.below(throw, WHOLE as u64) < self.0 as u64
    }
}

/// What dice are thrown for: each throw of a packet is independent of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Throw {
    /// Whether it is lost, or in a burst of losses.
    Loss = 1,
    /// Whether it comes twice.
    Duplicate,
    /// Whether it overtakes others.
    Reorder,
    /// How much later than others it is.
    Jitter,
    /// The same, for the copy.
    CopyJitter,
}

/// The dice of one packet: the same key gives the same throws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice from all that makes a packet different from others.
    pub(super) fn new(key: &[u64]) -> Self {
        Self(key.iter().fold(0, |state, part| mixed(state ^ part)))
    }

    /// A number below `bound`, each as likely as the next.
    pub(super) const fn below(self, throw: Throw, bound: u64) -> u64 {
        let value = mixed(self.0 ^ throw as u64);
        // The upper half of the product: without the bias of a remainder, and without a loop.
        ((value as u128 * bound as u128) >> 64) as u64
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes half of
/// the output.
const fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read() {
        for (text, parts) in [("0%", 0), ("2%", 20_000), ("0.05%", 500), ("100%", WHOLE)] {
            assert_eq!(Chance::parse(text).unwrap(), Chance(parts));
        }
        for text in ["2", "%", "x%", "nan%", "0.02"] {
            let error = Chance::parse(text).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.contains(text), "{error}");
        }
        for text in ["-1%", "101%", "inf%"] {
            let error = Chance::parse(text).unwrap_err().to_string();
            assert!(error.ends_with("is not between 0% and 100%"), "{error}");
        }
    }

    #[test]
    fn throws_are_even_and_independent() {
        let mut counts = [[0_u32; 10]; 2];
        let mut both = 0;
        for number in 0..100_000 {
            let dice = Dice::new(&[7, 0, number]);
            let [a, b] = [Throw::Loss, Throw::Jitter].map(|throw| dice.below(throw, 10));
            counts[0][a as usize] += 1;
            counts[1][b as usize] += 1;
            both += u32::from(a == b);
        }
        for count in counts.into_iter().flatten().chain([both]) {
            assert!((9_500..10_500).contains(&count), "{counts:?} {both}");
        }
    }
}
