//! Counts that are committed, and how those of today compare with them.

use std::fmt;

use toml::de::DeTable;

/// A count may differ by one part in so many, in either direction: 3 %.
const MARGIN_PER_MILLE: u64 = 30;

/// Instructions of one run of each scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Version of the compiler.
    pub(crate) compiler: String,
    /// Names and instructions, in the order of the scenarios.
    pub(crate) scenarios: Vec<(String, u64)>,
}

/// What became of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the margin.
    Same { name: String, before: u64, now: u64 },
    /// More or fewer. Fewer, too, are to be recorded: what is gained could be lost unseen.
    Other { name: String, before: u64, now: u64 },
    /// It was not recorded.
    New { name: String, now: u64 },
    /// It was recorded and is gone.
    Gone { name: String },
}

impl Counts {
    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| error.to_string())?.into_inner();
        let compiler = table.get("rustc").and_then(|value| value.get_ref().as_str());
        let compiler = compiler.ok_or("`rustc` is missing")?.to_owned();
        let listed = table.get("instructions").and_then(|value| value.get_ref().as_table());
        let mut scenarios = Vec::new();
        for (name, value) in listed.ok_or("`[instructions]` is missing")? {
            let count = value.get_ref().as_integer().map(|count| count.as_str().parse::<u64>());
            let Some(Ok(count)) = count else {
                return Err(format!("`{}` is no count", name.get_ref()));
            };
            scenarios.push((name.get_ref().to_string(), count));
        }
        Ok(Self { compiler, scenarios })
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.scenarios.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions of one run of each scenario (x86-64-v2, release), written by")?;
        writeln!(f, "# `make instructions UPDATE=1`. The commit that changes them says why.")?;
        writeln!(f, "\nrustc = {:?}\n\n[instructions]", self.compiler)?;
        for (name, count) in &self.scenarios {
            writeln!(f, "{name:?} = {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { name, before, now } => {
                write!(f, "{name:<24} {now:>12} {:>8}", change(*before, *now))
            }
            Self::Other { name, before, now } => write!(
                f,
                "{name:<24} {now:>12} {:>8}  recorded {before}: {}",
                change(*before, *now),
                if now > before { "slower" } else { "faster, record it" }
            ),
            Self::New { name, now } => write!(f, "{name:<24} {now:>12}           not recorded"),
            Self::Gone { name } => write!(f, "{name:<24} recorded, but there is none"),
        }
    }
}

fn change(before: u64, now: u64) -> String {
    format!("{:+.2} %", (now as f64 / before.max(1) as f64 - 1.0) * 100.0)
}

/// One verdict for each scenario of either.
pub(crate) fn compare(recorded: &Counts, counted: &Counts) -> Vec<Verdict> {
    let judge = |(name, now): &(String, u64)| {
        let (name, now) = (name.clone(), *now);
        match recorded.of(&name) {
            None => Verdict::New { name, now },
            Some(before) if before.abs_diff(now) * 1_000 <= before * MARGIN_PER_MILLE => {
                Verdict::Same { name, before, now }
            }
            Some(before) => Verdict::Other { name, before, now },
        }
    };
    let gone = recorded.scenarios.iter().filter(|(name, _)| counted.of(name).is_none());
    let gone = gone.map(|(name, _)| Verdict::Gone { name: name.clone() });
    counted.scenarios.iter().map(judge).chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(scenarios: &[(&str, u64)]) -> Counts {
        let scenarios = scenarios.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Counts { compiler: "1.95.0 (59807616e 2026-04-14)".to_owned(), scenarios }
    }

    #[test]
    fn what_is_written_is_read() {
        let written = counts(&[("log/append", 12_345), ("mux/mpegts", 7)]);
        assert_eq!(Counts::parse(&written.to_string()), Ok(written));
    }

    #[test]
    fn a_file_that_is_no_record_is_refused() {
        for (text, error) in [
            ("", "`rustc` is missing"),
            ("rustc = \"1\"", "`[instructions]` is missing"),
            ("rustc = \"1\"\n[instructions]\n\"a/b\" = -1", "`a/b` is no count"),
            ("rustc = \"1\"\n[instructions]\n\"a/b\" = \"1\"", "`a/b` is no count"),
        ] {
            assert_eq!(Counts::parse(text), Err(error.to_owned()));
        }
        assert!(Counts::parse("rustc = ").is_err());
    }

    #[test]
    fn the_margin_holds_in_both_directions() {
        let recorded = counts(&[("a/b", 10_000)]);
        for (now, same) in [
            (10_000, true),
            (10_300, true),
            (10_301, false),
            (10_500, false),
            (9_700, true),
            (9_699, false),
        ] {
            let verdicts = compare(&recorded, &counts(&[("a/b", now)]));
            assert_eq!(matches!(verdicts[..], [Verdict::Same { .. }]), same, "{now}");
        }
    }

    #[test]
    fn scenarios_that_come_and_go_are_told() {
        let verdicts =
            compare(&counts(&[("a/a", 1), ("a/b", 1)]), &counts(&[("a/b", 1), ("a/c", 1)]));
        let words: Vec<_> = verdicts.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), 3);
        assert!(words[1].contains("a/c") && words[1].ends_with("not recorded"), "{words:?}");
        assert!(words[2].starts_with("a/a") && words[2].ends_with("there is none"), "{words:?}");
    }
}
