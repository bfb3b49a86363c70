//! Amounts as people write them.

use anyhow::{Context, Result, bail, ensure};

use super::plan::SECOND_NS;

/// CPUs that a list may name.
const CPUS_MAX: usize = 1024;

/// At least one.
pub(super) fn positive(text: &str) -> Result<usize> {
    match text.parse().with_context(|| format!("no number: {text}"))? {
        0 => bail!("must be at least 1"),
        number => Ok(number),
    }
}

/// Numbers that never fall.
pub(super) fn counts(text: &str) -> Result<Vec<usize>> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let numbers = numbers.with_context(|| format!("no list of numbers: {text}"))?;
    if numbers.contains(&0) || !numbers.is_sorted() {
        bail!("players are at least 1 and never fall: {text}");
    }
    Ok(numbers)
}

/// Bits per second: a number, maybe with k or M.
pub(super) fn rate(text: &str) -> Result<u64> {
    scaled(text, &[("k", 1000), ("M", 1_000_000), ("", 1)])
        .with_context(|| format!("no bit rate: {text}"))
}

/// Bytes: a number, maybe with k, M or G.
pub(super) fn bytes(text: &str) -> Result<u64> {
    scaled(text, &[("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)])
        .with_context(|| format!("no number of bytes: {text}"))
}

/// Nanoseconds: a number of seconds, or with ms, s, m or h.
pub(super) fn time(text: &str) -> Result<u64> {
    let units = [
        ("ms", 1_000_000),
        ("s", SECOND_NS),
        ("m", 60 * SECOND_NS),
        ("h", 3600 * SECOND_NS),
        ("", SECOND_NS),
    ];
    scaled(text, &units).with_context(|| format!("no time: {text}"))
}

/// A share from 0 to 1, written as `20%`.
pub(super) fn percent(text: &str) -> Result<f64> {
    let share = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let share = share.filter(|share| (0.0..=100.0).contains(share));
    Ok(share.with_context(|| format!("no share such as 20%: {text}"))? / 100.0)
}

/// A number that is not negative.
pub(super) fn decimal(text: &str) -> Result<f64> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    number.with_context(|| format!("no number: {text}"))
}

/// CPUs: numbers and ranges, such as `1,3-5`.
pub(super) fn cpus(text: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    let no_list = || format!("no list of CPUs such as 1,3-5: {text}");
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().with_context(no_list)?;
        let last: usize = last.trim().parse().with_context(no_list)?;
        ensure!(first <= last && last < CPUS_MAX, no_list());
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// A decimal number with one of the units; the unit without a name must come last.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number, *scale)))?;
    let value = number.parse::<f64>().ok()? * scale as f64;
    // Zero and what 63 bits do not hold are no sensible amount of anything.
    (value >= 1.0 && value < i64::MAX as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(rate("1.5M").unwrap(), 1_500_000);
        assert_eq!(bytes("64k").unwrap(), 64_000);
        let times = ["250ms", "3", "2m", "1h"].map(|text| time(text).unwrap() / 1_000_000);
        assert_eq!(times, [250, 3000, 120_000, 3_600_000]);
        assert_eq!((percent("12.5%").unwrap(), decimal("1.5").unwrap()), (0.125, 1.5));
        assert_eq!(cpus("3-5, 1,4").unwrap(), [1, 3, 4, 5]);
        for text in ["", "5-3", "a", "1-", "1,,2", "0-4096"] {
            assert!(cpus(text).is_err(), "{text}");
        }
        for text in ["", "20", "-1%", "101%", "NaN%"] {
            assert!(percent(text).is_err(), "{text}");
        }
        assert!(decimal("-1").is_err() && decimal("NaN").is_err() && positive("0").is_err());
    }
}
