//! What can be wrong with a transport stream.
//!
//! Spec: ETSI TR 101 290 V1.4.1 5.2.1 (priority 1) and 5.2.2 (priority 2).
//!
//! Not here: 2.4 (PCR accuracy), which needs the moments at which packets arrived; and priority 3,
//! which is about the tables of broadcasters.

use serde::Serialize;

/// An indicator of the report, or a rule of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Indicator {
    /// 1.1: two sync bytes in a row are wrong.
    SyncLoss,
    /// 1.2: one sync byte is wrong.
    SyncByte,
    /// 1.3: no PAT for 500 ms, another table on its PID, or a scrambled or unreadable one.
    Pat,
    /// 1.4: a packet is missing, out of order, or repeated more than once.
    ContinuityCount,
    /// 1.5: no PMT of a program for 500 ms, or a scrambled or unreadable one.
    Pmt,
    /// 1.6: nothing on a PID that a PMT names, for five seconds unless told otherwise.
    Pid,
    /// 2.1: a packet says of itself that it is damaged.
    Transport,
    /// 2.2: the CRC of a PAT, CAT, PMT or a table of DVB is wrong.
    Crc,
    /// 2.3a: PCRs more than 40 ms apart, as V1.2.1 asks (100 ms since V1.3.1).
    PcrRepetition,
    /// 2.3b: a PCR that goes back, stands, or jumps by more than 100 ms without announcing it.
    PcrDiscontinuity,
    /// Ours: a PCR is later than the decoding time of a unit that follows it.
    PcrAfterDts,
    /// 2.5: no PTS of picture or sound for 700 ms.
    Pts,
    /// 2.6: scrambled packets without a CAT, or another table on its PID.
    Cat,
    /// Ours: a packet, a PES header or a table has no sound structure.
    Syntax,
}

impl Indicator {
    /// All, in the order of the report.
    pub const ALL: [Self; 14] = [
        Self::SyncLoss,
        Self::SyncByte,
        Self::Pat,
        Self::ContinuityCount,
        Self::Pmt,
        Self::Pid,
        Self::Transport,
        Self::Crc,
        Self::PcrRepetition,
        Self::PcrDiscontinuity,
        Self::PcrAfterDts,
        Self::Pts,
        Self::Cat,
        Self::Syntax,
    ];

    /// Its number and name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SyncLoss => "1.1 TS_sync_loss",
            Self::SyncByte => "1.2 Sync_byte_error",
            Self::Pat => "1.3 PAT_error",
            Self::ContinuityCount => "1.4 Continuity_count_error",
            Self::Pmt => "1.5 PMT_error",
            Self::Pid => "1.6 PID_error",
            Self::Transport => "2.1 Transport_error",
            Self::Crc => "2.2 CRC_error",
            Self::PcrRepetition => "2.3a PCR_repetition_error",
            Self::PcrDiscontinuity => "2.3b PCR_discontinuity_indicator_error",
            Self::PcrAfterDts => "PCR after DTS",
            Self::Pts => "2.5 PTS_error",
            Self::Cat => "2.6 CAT_error",
            Self::Syntax => "structure",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
