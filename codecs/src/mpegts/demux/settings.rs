//! What the owner of a demultiplexer chooses.

use alloc::vec::Vec;

/// Tracks of a program at most; more streams of it are not read.
pub const TRACKS_MAX: usize = 32;
/// Programs at most; more of them are not known.
pub const PROGRAMS_MAX: usize = 64;
/// PIDs at most that no table names and whose packets are counted apart.
pub const OTHER_PIDS_MAX: usize = 64;
/// Bytes of a unit at most, unless chosen otherwise: a raw keyframe of 8K stays below it.
pub const UNIT_BYTES_MAX: usize = 8 << 20;
/// Bytes of the open units of all tracks at most, unless chosen otherwise.
pub const OPEN_BYTES_MAX: usize = 2 * UNIT_BYTES_MAX;

/// What becomes of units that miss packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DamagedUnits {
    /// They are dropped.
    #[default]
    Drop,
    /// Pictures are given out, marked. Frames of sound are dropped all the same.
    Keep,
}

/// The choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The number of the program that is read; the first one without.
    pub program: Option<u16>,
    /// The PIDs of it that are read; all of them if empty.
    pub pids: Vec<u16>,
    /// What becomes of units that miss packets.
    pub damaged_units: DamagedUnits,
    /// Bytes of a unit at most.
    pub unit_bytes_max: usize,
    /// Bytes of the units that are open at one time, of all tracks together, at most.
    pub open_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            program: None,
            pids: Vec::new(),
            damaged_units: DamagedUnits::Drop,
            unit_bytes_max: UNIT_BYTES_MAX,
            open_bytes_max: OPEN_BYTES_MAX,
        }
    }
}
