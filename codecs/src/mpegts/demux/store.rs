//! Where the bytes of units are gathered: pages of a pool in a server, vectors in tests and tools.
//!
//! In/Out: a payload is copied once, from its transport packets to here. A NAL unit's length is not
//! known before its last byte, so its four bytes are written over when it is.

use alloc::vec::Vec;

/// Which track of a program; below [`super::TRACKS_MAX`], and given to another one when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackSlot(pub(super) u8);

impl TrackSlot {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// There is no room for more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Gathers one unit of each track at a time.
pub trait UnitStore {
    /// The bytes of a whole unit.
    type Unit;

    /// Adds bytes to the open unit of a track.
    ///
    /// # Errors
    /// [`NoRoom`]; the unit is aborted then.
    fn append(&mut self, track: TrackSlot, bytes: &[u8]) -> Result<(), NoRoom>;

    /// Writes over the bytes of the open unit from its byte `at` on, which were appended before.
    fn overwrite(&mut self, track: TrackSlot, at: usize, bytes: [u8; 4]);

    /// Ends the open unit and hands it out.
    fn finish(&mut self, track: TrackSlot) -> Self::Unit;

    /// Forgets the open unit, if there is one.
    fn abort(&mut self, track: TrackSlot);
}

/// Units in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    open: Vec<Vec<u8>>,
}

impl MemoryStore {
    fn unit(&mut self, track: TrackSlot) -> &mut Vec<u8> {
        if self.open.len() <= track.index() {
            self.open.resize_with(track.index() + 1, Vec::new);
        }
        &mut self.open[track.index()]
    }
}

impl UnitStore for MemoryStore {
    type Unit = Vec<u8>;

    fn append(&mut self, track: TrackSlot, bytes: &[u8]) -> Result<(), NoRoom> {
        self.unit(track).extend_from_slice(bytes);
        Ok(())
    }

    fn overwrite(&mut self, track: TrackSlot, at: usize, bytes: [u8; 4]) {
        self.unit(track)[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn finish(&mut self, track: TrackSlot) -> Vec<u8> {
        core::mem::take(self.unit(track))
    }

    fn abort(&mut self, track: TrackSlot) {
        self.unit(track).clear();
    }
}
