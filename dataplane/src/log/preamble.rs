//! Preambles: what a player gets before its first entry.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::sync::{AtomicPtr, Ordering};

/// Versions of the preamble that a log keeps at hand for cursors that are behind.
pub const PREAMBLES_MAX: usize = 8;

/// What an item of a preamble is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PreambleKind {
    /// Stream metadata.
    Metadata,
    /// The decoder configuration of a video track.
    Video,
    /// The decoder configuration of an audio track.
    Audio,
}

/// One framed message of a preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreambleItem {
    /// What it is for, so that a player of one kind of track gets only its own.
    pub kind: PreambleKind,
    /// The bytes, framed for the wire.
    pub body: Vec<u8>,
}

/// Everything that a decoder must have before the first entry of a configuration version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Preamble {
    /// The configuration version of the entries that it belongs to.
    pub version: u32,
    /// The messages, in order.
    pub items: Vec<PreambleItem>,
}

/// A preamble, valid for this turn: it cannot leave the thread.
#[derive(Clone, Copy, Debug)]
pub struct PreambleRef<'a> {
    preamble: &'a Preamble,
    of_this_turn: PhantomData<*const ()>,
}

impl Deref for PreambleRef<'_> {
    type Target = Preamble;

    fn deref(&self) -> &Preamble {
        self.preamble
    }
}

/// The recent preambles of a log.
#[derive(Debug)]
pub(super) struct PreambleRing {
    slots: [AtomicPtr<Preamble>; PREAMBLES_MAX],
}

impl PreambleRing {
    pub(super) fn new() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())) }
    }

    /// Shows `preamble` and returns the one that it replaces, to be retired.
    pub(super) fn replace(&self, preamble: Preamble) -> Option<Box<Preamble>> {
        let slot = self.slot(preamble.version);
        let old = slot.swap(Box::into_raw(Box::new(preamble)), Ordering::AcqRel);
        // SAFETY: a pointer in a slot came from `Box::into_raw`, and the swap took it out for good.
        (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
    }

    pub(super) fn get(&self, version: u32) -> Option<PreambleRef<'_>> {
        let pointer = self.slot(version).load(Ordering::Acquire);
        // SAFETY: a preamble in a slot is immutable, and once replaced it is kept by the epochs
        // until the turn of every reader that may have loaded the pointer is over.
        let preamble = unsafe { pointer.as_ref() }?;
        let current = preamble.version == version;
        current.then_some(PreambleRef { preamble, of_this_turn: PhantomData })
    }

    const fn slot(&self, version: u32) -> &AtomicPtr<Preamble> {
        &self.slots[version as usize % PREAMBLES_MAX]
    }
}

impl Drop for PreambleRing {
    fn drop(&mut self) {
        for slot in &self.slots {
            let pointer = slot.swap(std::ptr::null_mut(), Ordering::AcqRel);
            if !pointer.is_null() {
                // SAFETY: the pointer came from `Box::into_raw`; whoever reads holds the log, and
                // nobody does any more.
                drop(unsafe { Box::from_raw(pointer) });
            }
        }
    }
}
