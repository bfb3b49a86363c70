//! The PIDs of a stream: what each is for, and what was seen of it.
//!
//! Limits: the PIDs that are read, those of tables and of the clock have their place always, and
//! there is a bounded number of them; of others the first [`OTHER_PIDS_MAX`] are told apart. One
//! that is read no more keeps its place and what was seen of it for as long as there is room.

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
/// PIDs that are for something at most: the association, maps, tracks and a clock.
const ROLES_MAX: usize = 1 + PROGRAMS_MAX + TRACKS_MAX + 1;
/// PIDs in the table at most.
const ENTRIES_MAX: usize = ROLES_MAX + OTHER_PIDS_MAX;
const _: () = assert!(ENTRIES_MAX + ROLES_MAX < PIDS, "while roles are given anew");

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
    /// The role was given since they were cleared.
    is_given: bool,
}

/// The PIDs.
#[derive(Clone, Debug)]
pub(super) struct PidTable {
    /// The number of each PID's entry, and 1; 0 for none.
    numbers: Box<[u16]>,
    entries: Vec<Entry>,
    /// Entries for nothing that is read.
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

    pub(super) fn buffer_bytes(&self) -> usize {
        let sections = self.entries.iter().map(|entry| match &entry.role {
            Role::Tables(reader) => reader.buffer_bytes(),
            Role::Other | Role::Track(_) | Role::Clock => 0,
        });
        let entries = self.entries.capacity() * size_of::<Entry>();
        size_of_val(&*self.numbers) + entries + sections.sum::<usize>()
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

    /// Roles are given anew; [`Self::trim`] follows.
    pub(super) fn clear_roles(&mut self) {
        for entry in &mut self.entries {
            entry.is_given = entry.report.pid == Pid::PAT;
        }
    }

    /// Says what a PID is for, the first time; what was seen of it stays.
    pub(super) fn give(&mut self, pid: Pid, role: Role) {
        let number = self.number(pid);
        let entry = match self.entries.get_mut(usize::from(number).wrapping_sub(1)) {
            Some(entry) if entry.is_given => return,
            Some(entry) => {
                // A section that is open goes on.
                if !matches!((&entry.role, &role), (Role::Tables(_), Role::Tables(_))) {
                    entry.role = role;
                }
                Some(entry)
            }
            None => self.push(pid, role),
        };
        if let Some(entry) = entry {
            entry.is_given = true;
        }
    }

    /// Brings those that are for nothing down to their number; the oldest go.
    pub(super) fn trim(&mut self) {
        self.others = 0;
        for entry in self.entries.iter_mut().filter(|entry| !entry.is_given) {
            entry.role = Role::Other;
            self.others += 1;
        }
        while self.others > OTHER_PIDS_MAX && self.drop_other() {
            self.others -= 1;
        }
        debug_assert!(self.entries.len() <= ENTRIES_MAX, "roles and others are bounded");
    }

    /// Forgets the oldest entry for nothing; false if there is none.
    fn drop_other(&mut self) -> bool {
        let oldest = self.entries.iter().position(|entry| !entry.is_given);
        let Some(oldest) = oldest else { return false };
        let gone = self.entries.remove(oldest).report.pid;
        if let Some(number) = self.numbers.get_mut(usize::from(gone.get())) {
            *number = 0;
        }
        for (entry, number) in self.entries.iter().zip(1..).skip(oldest) {
            if let Some(place) = self.numbers.get_mut(usize::from(entry.report.pid.get())) {
                *place = number;
            }
        }
        true
    }

    fn number(&self, pid: Pid) -> u16 {
        self.numbers.get(usize::from(pid.get())).copied().unwrap_or_default()
    }

    fn push(&mut self, pid: Pid, role: Role) -> Option<&mut Entry> {
        let report = PidReport { pid, packets: 0, lost: 0, scrambled: 0 };
        let counter = Counter::default();
        self.entries.push(Entry { report, counter, role, is_given: false });
        let number = u16::try_from(self.entries.len()).ok()?;
        *self.numbers.get_mut(usize::from(pid.get()))? = number;
        self.entries.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: usize) -> Pid {
        Pid::new(u16::try_from(number).unwrap())
    }

    fn see(table: &mut PidTable, number: usize) -> bool {
        let entry = table.entry(pid(number));
        entry.map(|entry| entry.report.packets += 1).is_some()
    }

    /// Packets of a PID, if it has a place.
    fn packets(table: &PidTable, number: usize) -> Option<u64> {
        table.reports().find(|report| report.pid == pid(number)).map(|report| report.packets)
    }

    /// Every place for something is taken: maps from `maps`, tracks from 0x1000, and a clock.
    fn give_all(table: &mut PidTable, maps: usize) {
        table.clear_roles();
        for number in 0..PROGRAMS_MAX {
            table.give(pid(maps + number), Role::Tables(SectionReader::default()));
        }
        for number in 0..TRACKS_MAX {
            let slot = TrackSlot(u8::try_from(number).unwrap());
            table.give(pid(0x1000 + number), Role::Track(slot));
        }
        table.give(pid(0x1800), Role::Clock);
        table.trim();
    }

    #[test]
    fn what_is_read_has_its_place_and_keeps_its_counts() {
        let mut table = PidTable::new();
        // Others come first, more than there is room for.
        let seen = (0x100..0x180).filter(|&number| see(&mut table, number)).count();
        assert_eq!(seen, OTHER_PIDS_MAX);
        give_all(&mut table, 0x200);
        assert_eq!(table.reports().count(), ENTRIES_MAX);
        for number in [0, 0x200, 0x200 + PROGRAMS_MAX - 1, 0x1000 + TRACKS_MAX - 1, 0x1800] {
            assert!(see(&mut table, number), "{number:#x}");
        }
        // Other maps, again and again: what goes is what is for nothing, the oldest first.
        for round in 1..20 {
            give_all(&mut table, 0x200 + round * PROGRAMS_MAX);
            assert!(table.reports().count() <= ENTRIES_MAX);
            for number in [0, 0x1000, 0x1000 + TRACKS_MAX - 1, 0x1800] {
                assert!(see(&mut table, number), "{number:#x}");
            }
            assert_eq!(packets(&table, 0x1800), Some(1 + u64::try_from(round).unwrap()));
            assert!(matches!(table.entry(pid(0x1800)), Some(Entry { role: Role::Clock, .. })));
        }
        assert_eq!(packets(&table, 0x100), None);
        assert!(!see(&mut table, 0x100), "the places of others are taken");
    }

    #[test]
    fn a_change_of_tables_costs_a_hundred_pids_nothing() {
        let mut table = PidTable::new();
        for number in 0..40 {
            table.give(pid(0x20 + number), Role::Tables(SectionReader::default()));
        }
        table.trim();
        let all = || (0..100).map(|number| 0x20 + number);
        assert!(all().all(|number| see(&mut table, number)));
        table.clear_roles();
        for number in 0..40 {
            table.give(pid(0x20 + number), Role::Tables(SectionReader::default()));
        }
        table.trim();
        assert!(all().all(|number| packets(&table, number) == Some(1)));
        // Those of others have places left, as many as before.
        let more = (0x200..0x240).filter(|&number| see(&mut table, number)).count();
        assert_eq!(more, OTHER_PIDS_MAX - 60);
    }
}
