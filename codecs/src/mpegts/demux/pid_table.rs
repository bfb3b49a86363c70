//! The PIDs of a stream: what each is for, and what was seen of it.
//!
//! Limits: the PIDs that tables name have their place always, and tables name a bounded number;
//! of others [`OTHER_PIDS_MAX`] are told apart.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::continuity::Counter;
use super::section::SectionReader;
use super::settings::{OTHER_PIDS_MAX, PROGRAMS_MAX, TRACKS_MAX};
use super::store::TrackSlot;
use crate::mpegts::packet::Pid;

/// PIDs that there may be.
const PIDS: usize = 1 << 13;
/// PIDs in the table at most: the association, maps, tracks, a clock, and others.
const ENTRIES_MAX: usize = 2 + PROGRAMS_MAX + TRACKS_MAX + OTHER_PIDS_MAX;
const _: () = assert!(ENTRIES_MAX < u8::MAX as usize, "a byte is an entry's number");

/// What was seen of a PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidReport {
    /// Which.
    pub pid: Pid,
    /// Packets.
    pub packets: u64,
    /// Packets that are missing, at least.
    pub lost: u64,
    /// Packets that are encrypted.
    pub scrambled: u64,
}

/// What a PID is for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Nothing that is read.
    Other,
    Tables(SectionReader),
    Track(TrackSlot),
    /// The clock, and nothing else that is read.
    Clock,
}

/// A PID.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) report: PidReport,
    pub(super) counter: Counter,
    pub(super) role: Role,
}

/// The PIDs.
#[derive(Clone, Debug)]
pub(super) struct PidTable {
    /// The number of each PID's entry, and 1; 0 for none.
    numbers: Box<[u8]>,
    entries: Vec<Entry>,
    others: usize,
}

impl PidTable {
    pub(super) fn new() -> Self {
        let numbers = vec![0; PIDS].into_boxed_slice();
        let mut table = Self { numbers, entries: Vec::new(), others: 0 };
        table.give(Pid::PAT, Role::Tables(SectionReader::default()));
        table
    }

    /// What was seen of each.
    pub(super) fn reports(&self) -> impl Iterator<Item = PidReport> {
        self.entries.iter().map(|entry| entry.report)
    }

    /// The entry of a PID; a new one has its place unless there are too many.
    pub(super) fn entry(&mut self, pid: Pid) -> Option<&mut Entry> {
        let number = self.number(pid);
        if number == 0 {
            if self.others >= OTHER_PIDS_MAX {
                return None;
            }
            self.others += 1;
            return self.push(pid, Role::Other);
        }
        self.entries.get_mut(usize::from(number) - 1)
    }

    /// Takes every role but that of the association away.
    pub(super) fn clear_roles(&mut self) {
        if self.entries.len() > ENTRIES_MAX - TRACKS_MAX - PROGRAMS_MAX {
            // Tables that change again and again leave entries behind.
            self.numbers.fill(0);
            self.entries.clear();
            self.give(Pid::PAT, Role::Tables(SectionReader::default()));
        }
        for entry in &mut self.entries {
            if entry.report.pid != Pid::PAT {
                entry.role = Role::Other;
            }
        }
        self.others = self.entries.len().min(OTHER_PIDS_MAX);
    }

    /// Says what a PID is for; what was seen of it stays.
    pub(super) fn give(&mut self, pid: Pid, role: Role) {
        let number = self.number(pid);
        match self.entries.get_mut(usize::from(number).wrapping_sub(1)) {
            Some(entry) => {
                if matches!(entry.role, Role::Other) {
                    entry.role = role;
                }
            }
            None => drop(self.push(pid, role)),
        }
    }

    fn number(&self, pid: Pid) -> u8 {
        self.numbers.get(usize::from(pid.get())).copied().unwrap_or_default()
    }

    fn push(&mut self, pid: Pid, role: Role) -> Option<&mut Entry> {
        if self.entries.len() >= ENTRIES_MAX {
            return None;
        }
        let report = PidReport { pid, packets: 0, lost: 0, scrambled: 0 };
        self.entries.push(Entry { report, counter: Counter::default(), role });
        let number = u8::try_from(self.entries.len()).ok()?;
        *self.numbers.get_mut(usize::from(pid.get()))? = number;
        self.entries.last_mut()
    }
}
