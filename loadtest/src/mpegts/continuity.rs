//! What is remembered of one PID: its counter, and its last packet to know a duplicate by.
//!
//! Spec: ISO/IEC 13818-1 2.4.3.3 (continuity_counter), 2.4.3.5 (discontinuity_indicator).

use super::packet::{PACKET_LEN, Packet, Raw, is_duplicate};
use super::section::SectionReader;
use super::unit::UnitHead;

/// What a PID carries, as the tables tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing that is read.
    #[default]
    Unknown,
    /// Sections of tables.
    Tables,
    /// PES packets.
    Media,
}

/// How a packet follows the one before it on its PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// As it should, or as it announced.
    Well,
    /// It repeats the packet before it, which is allowed once.
    AsDuplicate,
    /// Its counter, or what it repeats, tells that something is missing.
    Badly { expected: u8 },
}

/// One PID.
#[derive(Debug)]
pub(super) struct PidState {
    last: Raw,
    /// The counter, `None` if it cannot be known.
    counter: Option<u8>,
    duplicated: bool,
    pub(super) role: Role,
    pub(super) packets: u64,
    pub(super) sections: SectionReader,
    pub(super) head: UnitHead,
}

impl Default for PidState {
    fn default() -> Self {
        Self {
            last: [0; PACKET_LEN],
            counter: None,
            duplicated: false,
            role: Role::Unknown,
            packets: 0,
            sections: SectionReader::default(),
            head: UnitHead::default(),
        }
    }
}

impl PidState {
    /// The next counter is whatever it is: the packet that had it cannot be read.
    pub(super) fn forget(&mut self) {
        self.counter = None;
        self.drop_partial();
    }

    /// Judges a packet by the one before it.
    pub(super) fn follow(&mut self, packet: &Packet<'_>, raw: &Raw) -> Follows {
        self.packets += 1;
        let follows = self.judge(packet, raw);
        self.duplicated = follows == Follows::AsDuplicate;
        self.counter = Some(packet.continuity);
        self.last = *raw;
        if packet.adaptation.discontinuity || matches!(follows, Follows::Badly { .. }) {
            self.drop_partial();
        }
        follows
    }

    /// Says what the PID carries; what was held for another role is given back.
    pub(super) fn take_role(&mut self, role: Role) {
        if self.role != role {
            self.role = role;
            self.sections = SectionReader::default();
            self.head.reset();
        }
    }

    /// Gives up what is not whole: a part of it is missing.
    pub(super) fn drop_partial(&mut self) {
        self.sections.reset();
        self.head.reset();
    }

    fn judge(&self, packet: &Packet<'_>, raw: &Raw) -> Follows {
        let Some(counter) = self.counter else { return Follows::Well };
        let expected = if packet.has_payload { (counter + 1) & 0x0f } else { counter };
        if packet.continuity == expected {
            return Follows::Well;
        }
        let repeats = packet.has_payload && is_duplicate(&self.last, raw);
        if repeats && !self.duplicated {
            return Follows::AsDuplicate;
        }
        // A flag on the repeated packet announces nothing about its own repetition.
        if packet.adaptation.discontinuity && !repeats {
            return Follows::Well;
        }
        Follows::Badly { expected }
    }
}
