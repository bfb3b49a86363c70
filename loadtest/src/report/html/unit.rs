//! Units: how numbers are written for people.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
    /// Bytes, in steps of a thousand.
    Bytes,
    /// Bits a second.
    BitsPerSecond,
    /// CPU seconds a second, shown as percent of a core.
    Core,
    /// A share, shown as percent.
    Share,
}

/// A unit in the size that fits a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    /// What a number is multiplied with.
    pub factor: f64,
    /// What is written behind it.
    pub name: &'static str,
}

impl Unit {
    /// The size in which `largest` is a short number.
    #[must_use]
    pub fn scaled(self, largest: f64) -> Scaled {
        let sizes: &[(f64, f64, &'static str)] = match self {
            Self::Count => &[(0.0, 1.0, "")],
            Self::PerSecond => &[(0.0, 1.0, "1/s"), (1e4, 1e-3, "k/s"), (1e7, 1e-6, "M/s")],
            Self::Ms => &[(0.0, 1e3, "µs"), (1.0, 1.0, "ms"), (1e4, 1e-3, "s")],
            Self::Seconds => &[(0.0, 1.0, "s"), (600.0, 1.0 / 60.0, "min")],
            Self::Bytes => &[
                (0.0, 1.0, "B"),
                (1e3, 1e-3, "kB"),
                (1e6, 1e-6, "MB"),
                (1e9, 1e-9, "GB"),
                (1e12, 1e-12, "TB"),
            ],
            Self::BitsPerSecond => {
                &[(0.0, 1.0, "b/s"), (1e3, 1e-3, "kb/s"), (1e6, 1e-6, "Mb/s"), (1e9, 1e-9, "Gb/s")]
            }
            Self::Core => &[(0.0, 100.0, "% of a core")],
            Self::Share => &[(0.0, 100.0, "%")],
        };
        let fits = sizes.iter().rev().find(|(least, ..)| largest >= *least);
        let &(_, factor, name) = fits.unwrap_or(&sizes[0]);
        Scaled { factor, name }
    }

    /// A number with its unit.
    #[must_use]
    pub fn write(self, value: f64) -> String {
        let Scaled { factor, name } = self.scaled(value.abs());
        let number = number(value * factor);
        if name.is_empty() { number } else { format!("{number} {name}") }
    }
}

/// A number of about three digits, whole ones in groups of three.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    let text = if value.fract() == 0.0 || size >= 1000.0 {
        return grouped(value);
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    if value < 0.0 && digits != "0" {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_the_size_that_fits() {
        for (unit, value, text) in [
            (Unit::Count, 12_345.0, "12,345"),
            (Unit::Count, -1_000.0, "-1,000"),
            (Unit::Count, 0.25, "0.25"),
            (Unit::PerSecond, 812.0, "812 1/s"),
            (Unit::PerSecond, 12_500.0, "12.5 k/s"),
            (Unit::Ms, 0.25, "250 µs"),
            (Unit::Ms, 8.125, "8.12 ms"),
            (Unit::Ms, 12_000.0, "12 s"),
            (Unit::Seconds, 1_800.0, "30 min"),
            (Unit::Bytes, 999.0, "999 B"),
            (Unit::Bytes, 23_100_000.0, "23.1 MB"),
            (Unit::BitsPerSecond, 1_620_000_000.0, "1.62 Gb/s"),
            (Unit::Core, 0.742, "74.2 % of a core"),
            (Unit::Share, 1.0, "100 %"),
        ] {
            assert_eq!(unit.write(value), text);
        }
    }
}
