//! Where findings go: counted all, kept the first of each rule.

use super::indicator::Indicator;
use super::verdict::{FINDINGS_MAX, Finding};

/// What was found so far, and where the checker stands.
#[derive(Debug, Default)]
pub(super) struct Findings {
    counts: [u64; Indicator::ALL.len()],
    kept: Vec<Finding>,
    /// The packet at hand.
    pub(super) packet: u64,
    /// Its first byte.
    pub(super) offset: u64,
}

impl Findings {
    /// Counts a finding at the packet at hand; its words are made only if it is kept.
    pub(super) fn note(
        &mut self,
        indicator: Indicator,
        pid: impl Into<Option<u16>>,
        what: impl FnOnce() -> String,
    ) {
        let count = &mut self.counts[indicator.index()];
        *count += 1;
        if *count <= FINDINGS_MAX as u64 {
            let (packet, offset) = (self.packet, self.offset);
            self.kept.push(Finding { indicator, packet, offset, pid: pid.into(), what: what() });
        }
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first one, in words.
    pub(super) fn first(&self) -> Option<String> {
        self.kept.first().map(|first| format!("{}: {}", first.indicator.name(), first.what))
    }

    /// The counts of broken rules, and the findings that were kept.
    pub(super) fn into_parts(self) -> (Vec<(Indicator, u64)>, Vec<Finding>) {
        let counts = Indicator::ALL.into_iter().zip(self.counts);
        (counts.filter(|(_, count)| *count > 0).collect(), self.kept)
    }
}
