//! Entries: what a log knows about each framed access unit.

use codecs::mpegts::Continuity;
use codecs::time::MediaTime;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one packed entry in an index page.
pub(super) const ENTRY_SLOT_BYTES: u32 = 32;
/// Entries of one index page, as a power of two.
pub(super) const ENTRIES_PER_PAGE_SHIFT: u32 = 8;
/// What the last word of a slot has left for the counters.
const CONTINUITY_SHIFT: u32 = u64::BITS - Continuity::BITS;

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A video frame.
    Video,
    /// An audio frame.
    Audio,
    /// A data message.
    Data,
    /// A decoder configuration or metadata.
    Config,
    /// A word about the stream itself: begin, end.
    Notice,
}

impl EntryKind {
    const ALL: [Self; 5] = [Self::Video, Self::Audio, Self::Data, Self::Config, Self::Notice];
}

/// What the writer says about an entry when it ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// Decode time.
    pub dts: MediaTime,
    /// What it carries.
    pub kind: EntryKind,
    /// A player may begin here.
    pub join: bool,
    /// The preamble in force.
    pub config_version: u32,
    /// A segment begins here: it can be read without what lies before it.
    pub segment: bool,
    /// The packet counters that it begins with; none in a log without packets.
    pub continuity: Continuity,
}

impl EntryMeta {
    /// An entry that nobody may begin at.
    #[must_use]
    pub fn plain(kind: EntryKind, dts: MediaTime, config_version: u32) -> Self {
        let (join, segment, continuity) = (false, false, Continuity::default());
        Self { dts, kind, join, config_version, segment, continuity }
    }
}

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, counted from the start of the log.
    pub number: u64,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
    /// Decode time.
    pub dts: MediaTime,
    /// What it carries.
    pub kind: EntryKind,
    /// A player may begin here.
    pub join: bool,
    /// The preamble in force.
    pub config_version: u32,
    /// The packet counters that it begins with; none in a log without packets.
    pub continuity: Continuity,
}

impl Entry {
    /// The first byte behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// Shape of a slot: offset, (config_version << 32 | len), dts, (continuity << 16 | join << 8 |
    /// kind).
    pub(super) fn store(&self, slot: &[AtomicU64; 4]) {
        let words = [
            self.offset,
            (u64::from(self.config_version) << 32) | u64::from(self.len),
            self.dts.as_nanos().cast_unsigned(),
            self.continuity.to_bits() << CONTINUITY_SHIFT
                | u64::from(self.join) << 8
                | self.kind as u64,
        ];
        for (to, word) in slot.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
    }

    pub(super) fn load(number: u64, slot: &[AtomicU64; 4]) -> Option<Self> {
        let word = |i: usize| slot[i].load(Ordering::Relaxed);
        let (sizes, flags) = (word(1), word(3));
        Some(Self {
            number,
            offset: word(0),
            len: u32::try_from(sizes & 0xffff_ffff).ok()?,
            dts: MediaTime::from_nanos(word(2).cast_signed()),
            kind: *EntryKind::ALL.get(usize::try_from(flags & 0xff).ok()?)?,
            join: flags >> 8 & 1 == 1,
            config_version: u32::try_from(sizes >> 32).ok()?,
            continuity: Continuity::from_bits(flags >> CONTINUITY_SHIFT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_every_field() {
        for (i, &kind) in EntryKind::ALL.iter().enumerate() {
            let entry = Entry {
                number: 1 << 40,
                offset: u64::MAX - 7,
                len: u32::MAX,
                dts: MediaTime::from_nanos(-5),
                kind,
                join: i % 2 == 0,
                config_version: u32::MAX - 1,
                continuity: Continuity::from_bits(u64::MAX << i),
            };
            let slot = [const { AtomicU64::new(u64::MAX) }; 4];
            entry.store(&slot);
            assert_eq!(Entry::load(1 << 40, &slot), Some(entry));
        }
    }
}
