//! What a checker says in the end, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::indicator::Indicator;

/// Findings of one indicator that are kept; all are counted.
pub(super) const FINDINGS_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that it breaks.
    pub indicator: Indicator,
    /// The number of the packet, from 0.
    pub packet: u64,
    /// Its first byte in the stream.
    pub offset: u64,
    /// The PID, if it is about one.
    pub pid: Option<u16>,
    /// What exactly.
    pub what: String,
}

/// An elementary stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamSummary {
    /// Its PID.
    pub pid: u16,
    /// Its stream_type.
    pub stream_type: u8,
    /// PES packets that began.
    pub units: u64,
    /// The longest time without a PTS.
    pub pts_interval_max_ms: f64,
    /// The least time from the last PCR to the decoding time of the unit behind it.
    pub pcr_lead_min_ms: Option<f64>,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramSummary {
    /// Its number.
    pub number: u16,
    /// The PID of its PMT.
    pub pmt_pid: u16,
    /// The PID of its PCRs, if a PMT came.
    pub pcr_pid: Option<u16>,
    /// How long it lasts by its PCRs; jumps count nothing.
    pub seconds: f64,
    /// The longest time between two PCRs.
    pub pcr_interval_max_ms: f64,
    /// Its streams.
    pub streams: Vec<StreamSummary>,
}

/// The verdict on a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bytes at the end that make no packet.
    pub trailing_bytes: u64,
    /// Programs of the last PAT.
    pub programs: Vec<ProgramSummary>,
    /// How often each rule was broken; rules that hold are not listed.
    pub counts: Vec<(Indicator, u64)>,
    /// The first findings of each rule.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// True if there were packets and nothing is wrong with them.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.packets > 0 && self.counts.is_empty()
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, indicator: Indicator) -> u64 {
        let found = self.counts.iter().find(|(counted, _)| *counted == indicator);
        found.map_or(0, |(_, count)| *count)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets, {} bytes", self.packets, self.bytes)?;
        if self.trailing_bytes > 0 {
            writeln!(f, "{} bytes at the end make no packet", self.trailing_bytes)?;
        }
        for program in &self.programs {
            let pcr = program.pcr_pid.map_or("none".to_owned(), |pid| format!("{pid:#06x}"));
            writeln!(
                f,
                "program {}: PMT {:#06x}, PCR {pcr} at most {:.1} ms apart, {:.3} s",
                program.number, program.pmt_pid, program.pcr_interval_max_ms, program.seconds
            )?;
            for stream in &program.streams {
                let lead = stream.pcr_lead_min_ms;
                let lead = lead.map_or("no PCR".to_owned(), |ms| format!("PCR {ms:.1} ms ahead"));
                writeln!(
                    f,
                    "  {:#06x} type {:#04x}: {} units, PTS at most {:.1} ms apart, {lead}",
                    stream.pid, stream.stream_type, stream.units, stream.pts_interval_max_ms
                )?;
            }
        }
        for finding in &self.findings {
            let pid = finding.pid.map_or(String::new(), |pid| format!(" PID {pid:#06x}"));
            writeln!(
                f,
                "{}: packet {} at byte {}{pid}: {}",
                finding.indicator.name(),
                finding.packet,
                finding.offset,
                finding.what
            )?;
        }
        for (indicator, count) in &self.counts {
            let kept = (*count).min(FINDINGS_MAX as u64);
            writeln!(f, "{}: {count} in all, {kept} shown", indicator.name())?;
        }
        let verdict = match self.packets {
            0 => "no packet",
            _ if self.counts.is_empty() => "nothing is wrong",
            _ => "it breaks the rules above",
        };
        writeln!(f, "{verdict}")
    }
}
