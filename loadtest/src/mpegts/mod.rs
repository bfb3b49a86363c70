//! MPEG transport streams as a measuring instrument sees them: a checker that shares no line with
//! any multiplexer of ours, so that it cannot share its faults.
//!
//! Spec: ISO/IEC 13818-1 (H.222.0) 2.4; ETSI TR 101 290 V1.4.1 5.2.1 and 5.2.2.
//!
//! Reading order: `framer` (bytes to packets), `packet`, `continuity`, `section` and `tables` (PAT,
//! PMT), `unit` (PES headers), `clock` (PCR), `program`, `indicator` (what can be wrong),
//! `checker`, `verdict`; and `unit_reader`, which a player needs.

mod checker;
mod clock;
mod continuity;
mod findings;
mod framer;
mod indicator;
mod packet;
mod program;
mod section;
mod tables;
mod unit;
mod unit_reader;
mod verdict;

pub use checker::{PID_PERIOD_DEFAULT_MS, Tr101290};
pub use indicator::Indicator;
pub use packet::PACKET_LEN;
pub use unit_reader::UnitReader;
pub use verdict::{Finding, ProgramSummary, StreamSummary, Verdict};
