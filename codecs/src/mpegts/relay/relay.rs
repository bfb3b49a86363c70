//! The way of packets that are sent on.
//!
//! What goes on from another source, or from packets that were made here, is told so: a packet
//! without payload comes before the first one of each PID that was used before, and the tables have
//! other versions.
//!
//! Limits: a map is told for no fewer packets than it takes, whatever its source says begins one:
//! what goes out is never a multiple of what came.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::counters::RelayCounters;
use super::program::RelayProgram;
use super::tables::RelayTables;
use crate::mpegts::demux::RawPacket;
use crate::mpegts::demux::packet::TransportPacket;
use crate::mpegts::packet::{Adaptation, Continuity, Pid, bare_packet};

/// PIDs that there may be.
const PIDS: usize = 1 << 13;

/// A counter's bits in the state of a PID.
const COUNTER: u8 = 0x0f;
/// There was a packet.
const SEEN: u8 = 0x10;
/// What comes next does not go on from it.
const STALE: u8 = 0x20;

/// A table as readers know it.
#[derive(Clone, Debug, Default)]
struct Told {
    version: Option<u8>,
    content: Vec<u8>,
}

impl Told {
    /// The version of `content`, which its source calls `version`; true if it is another one.
    fn tell(&mut self, content: &[u8], version: u8) -> bool {
        match self.version {
            Some(_) if self.content == content => return false,
            Some(last) if last == version => self.version = Some((last + 1) % 32),
            _ => self.version = Some(version),
        }
        self.content.clear();
        self.content.extend_from_slice(content);
        true
    }
}

/// How many maps may be told for packets that are still to come: where some get lost on their way
/// the next map is told all the same.
const MAPS_AHEAD: i32 = 2;

/// The state of a stream that is sent on.
#[derive(Clone, Debug)]
pub struct Relay {
    tables: Option<RelayTables>,
    /// Packets of maps that may be told beyond those that came; less than none where tables were
    /// told for another reason.
    ahead: i32,
    association: Told,
    map: Told,
    /// The last counter of each PID, and what else is known of it.
    states: Box<[u8]>,
}

impl Default for Relay {
    fn default() -> Self {
        let states = vec![0; PIDS].into_boxed_slice();
        let (association, map) = (Told::default(), Told::default());
        Self { tables: None, ahead: i32::MAX, association, map, states }
    }
}

impl Relay {
    /// The packets are those of this program from here on; true if the tables are others.
    pub fn follow(&mut self, program: &RelayProgram) -> bool {
        let [a, b] = program.transport_stream.to_be_bytes();
        let [c, d] = program.number.to_be_bytes();
        let [e, f] = program.map_pid.get().to_be_bytes();
        let is_new = self.association.tell(&[a, b, c, d, e, f], 0);
        let is_new = self.map.tell(&program.map, program.version) || is_new;
        if is_new || self.tables.is_none() {
            let (association, map) = self.versions();
            self.tables = Some(RelayTables::new(program, association, map));
        }
        is_new
    }

    /// The tables in force.
    #[must_use]
    pub const fn tables(&self) -> Option<&RelayTables> {
        self.tables.as_ref()
    }

    /// The versions of both tables that were told last.
    #[must_use]
    pub fn versions(&self) -> (u8, u8) {
        let of = |told: &Told| told.version.unwrap_or_default();
        (of(&self.association), of(&self.map))
    }

    /// Other packets came in between, and tables in these versions.
    pub fn interrupt(&mut self, (association, map): (u8, u8)) {
        for (pid, _) in Continuity::default().made() {
            if let Some(state) = self.states.get_mut(usize::from(pid.get())) {
                *state |= SEEN;
            }
        }
        for (told, version) in [(&mut self.association, association), (&mut self.map, map)] {
            *told = Told { version: Some(version), content: Vec::new() };
        }
        self.tables = None;
        self.renew();
    }

    /// What comes now is of another source.
    pub fn renew(&mut self) {
        self.states.iter_mut().filter(|state| **state & SEEN != 0).for_each(|it| *it |= STALE);
    }

    /// What the next packet goes on from.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        let mut counters = RelayCounters::default();
        let Some(tables) = &self.tables else { return counters };
        counters.set_tables(self.next(Pid::PAT), self.next(tables.map_pid()));
        for (nth, &pid) in (0..).zip(tables.spliced()) {
            if self.state(pid) & (SEEN | STALE) == SEEN {
                counters.set_stream(nth, self.next(pid));
            }
        }
        counters
    }

    /// Takes a packet, and adds to `out` what is sent for it; true if it is sent itself, as it is,
    /// behind that. Before there are tables nothing is.
    #[must_use = "where it is true, the packet itself is to be sent"]
    pub fn take(&mut self, raw: &RawPacket, out: &mut Vec<RawPacket>) -> bool {
        let Some(tables) = &self.tables else { return false };
        let packet = TransportPacket::parse(raw);
        match packet.pid {
            Pid::PAT => {
                if packet.start {
                    self.tell_association(out);
                }
                false
            }
            pid if pid == tables.map_pid() => {
                self.map_came(packet.start, out);
                false
            }
            pid => {
                // A packet without payload repeats the counter before it.
                let before = packet.counter.wrapping_sub(u8::from(packet.has_payload));
                self.splice(pid, before, out);
                self.set(pid, packet.counter);
                true
            }
        }
    }

    /// Packets that are made here follow, with these counters: adds to `out` what says so.
    pub fn leave(&self, continuity: Continuity, out: &mut Vec<RawPacket>) {
        for (pid, last) in continuity.made() {
            if self.state(pid) & SEEN != 0 {
                let adaptation = Adaptation { discontinuity: true, ..Adaptation::default() };
                out.push(bare_packet(pid, last, &adaptation));
            }
        }
    }

    /// Adds both tables to `out`.
    pub fn tell_tables(&mut self, out: &mut Vec<RawPacket>) {
        self.tell_association(out);
        self.tell_map(out);
    }

    /// Bytes beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let tables = self.tables.as_ref().map_or(0, RelayTables::buffer_bytes);
        self.states.len()
            + tables
            + self.association.content.capacity()
            + self.map.content.capacity()
    }

    fn tell_association(&mut self, out: &mut Vec<RawPacket>) {
        let next = self.next(Pid::PAT);
        self.splice(Pid::PAT, next.wrapping_sub(1), out);
        let Some(tables) = &self.tables else { return };
        out.push(tables.association(next));
        self.set(Pid::PAT, next);
    }

    /// A packet came where the map is; a map begins in it if it `starts` one.
    fn map_came(&mut self, starts: bool, out: &mut Vec<RawPacket>) {
        let takes = self.map_takes();
        self.ahead = self.ahead.saturating_add(1).min(MAPS_AHEAD * takes);
        if starts && self.ahead >= takes {
            self.tell_map(out);
        }
    }

    /// Packets of the map in force.
    fn map_takes(&self) -> i32 {
        let takes = self.tables.as_ref().map_or(0, RelayTables::map_packets);
        i32::try_from(takes).unwrap_or(i32::MAX)
    }

    fn tell_map(&mut self, out: &mut Vec<RawPacket>) {
        let Some(pid) = self.tables.as_ref().map(RelayTables::map_pid) else { return };
        let takes = self.map_takes();
        self.ahead = self.ahead.min(MAPS_AHEAD * takes).saturating_sub(takes).max(-takes);
        let next = self.next(pid);
        self.splice(pid, next.wrapping_sub(1), out);
        let Some(tables) = &self.tables else { return };
        out.extend(tables.map(next));
        let count = u8::try_from(tables.map_packets()).unwrap_or_default();
        self.set(pid, next.wrapping_add(count).wrapping_sub(1));
    }

    /// Says that a PID does not go on from what came of it, if that is so.
    fn splice(&mut self, pid: Pid, before: u8, out: &mut Vec<RawPacket>) {
        if self.state(pid) & STALE != 0 {
            let adaptation = Adaptation { discontinuity: true, ..Adaptation::default() };
            out.push(bare_packet(pid, before, &adaptation));
        }
    }

    fn state(&self, pid: Pid) -> u8 {
        self.states.get(usize::from(pid.get())).copied().unwrap_or_default()
    }

    fn set(&mut self, pid: Pid, counter: u8) {
        if let Some(state) = self.states.get_mut(usize::from(pid.get())) {
            *state = SEEN | counter & COUNTER;
        }
    }

    /// The counter behind the last one.
    fn next(&self, pid: Pid) -> u8 {
        let state = self.state(pid);
        if state & SEEN == 0 { 0 } else { (state & COUNTER).wrapping_add(1) & COUNTER }
    }
}
