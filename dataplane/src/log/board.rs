//! What a log shows to its readers beside its entries: one immutable thing at a time.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::sync::{AtomicPtr, Ordering};

/// Something that a log shows, valid for this turn: it cannot leave the thread.
#[derive(Debug)]
pub struct TurnRef<'a, T> {
    thing: &'a T,
    of_this_turn: PhantomData<*const ()>,
}

impl<T> Clone for TurnRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TurnRef<'_, T> {}

impl<T> Deref for TurnRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing
    }
}

/// A place where one thing is shown at a time, or nothing.
#[derive(Debug)]
pub(super) struct Board<T> {
    slot: AtomicPtr<T>,
}

impl<T> Board<T> {
    pub(super) fn nothing() -> Self {
        Self { slot: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Shows `thing` and returns what it replaces, to be retired.
    pub(super) fn replace(&self, thing: Option<T>) -> Option<Box<T>> {
        let new = thing.map_or(std::ptr::null_mut(), |thing| Box::into_raw(Box::new(thing)));
        let old = self.slot.swap(new, Ordering::AcqRel);
        // SAFETY: a pointer in the slot came from `Box::into_raw`, and the swap took it out for
        // good.
        (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
    }

    pub(super) fn get(&self) -> Option<TurnRef<'_, T>> {
        let pointer = self.slot.load(Ordering::Acquire);
        // SAFETY: a thing in the slot is immutable, and once replaced it is kept by the epochs
        // until the turn of every reader that may have loaded the pointer is over.
        let thing = unsafe { pointer.as_ref() }?;
        Some(TurnRef { thing, of_this_turn: PhantomData })
    }
}

impl<T> Drop for Board<T> {
    fn drop(&mut self) {
        // Whoever reads holds the log, and nobody does any more.
        drop(self.replace(None));
    }
}
