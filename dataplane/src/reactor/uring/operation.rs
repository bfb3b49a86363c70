//! What is in flight: operations by index, and which of them a token has.

use std::os::fd::{OwnedFd, RawFd};

use super::super::counters::OpKind;
use super::super::token::Token;
use crate::table;

/// One operation that outlives its submit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) kind: OpKind,
    pub(super) token: Token,
    pub(super) fd: RawFd,
    /// A receive that ends with its first data.
    pub(super) once: bool,
    pub(super) state: State,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The kernel has it.
    Armed,
    /// A receive that found no buffer and waits to be started again.
    Starved,
    /// The kernel has it and was told to stop.
    Stopping,
    /// The kernel has it, was told to stop, and the index of [`Closings`] waits for it.
    Closing(u32),
}

/// The table. Its size is the peak of operations in flight, a few per connection.
#[derive(Debug, Default)]
pub(super) struct Operations {
    entries: Vec<Operation>,
    free: Vec<u32>,
}

impl Operations {
    pub(super) fn add(&mut self, operation: Operation) -> u32 {
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = operation;
            return index;
        }
        self.entries.push(operation);
        u32::try_from(self.entries.len() - 1).expect("operations are bounded by descriptors")
    }

    pub(super) fn get(&mut self, index: u32) -> &mut Operation {
        &mut self.entries[index as usize]
    }

    /// Frees an index after the operation's last answer.
    pub(super) fn remove(&mut self, index: u32) {
        self.free.push(index);
    }
}

/// The two directions in which a token has at most one operation each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Accept or receive.
    Read,
    /// Connect or poll.
    Write,
}

impl Side {
    pub(super) const fn of(kind: OpKind) -> Self {
        match kind {
            OpKind::Accept | OpKind::Recv | OpKind::RecvMsg => Self::Read,
            _ => Self::Write,
        }
    }
}

/// The operations of one slot's current generation.
#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u16,
    sides: [u32; 2],
}

impl Slot {
    /// There is no operation.
    const NONE: u32 = u32::MAX;

    const fn new(generation: u16) -> Self {
        Self { generation, sides: [Self::NONE; 2] }
    }
}

/// Operations by token. It grows with the shard's slots, which its connection limit bounds.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// The operation of `token` on `side`.
    pub(super) fn get(&self, token: Token, side: Side) -> Option<u32> {
        let slot = self.0.get(token.slot as usize)?;
        let index = slot.sides[side as usize];
        (slot.generation == token.generation && index != Slot::NONE).then_some(index)
    }

    /// Notes the operation of `token` on `side`. Operations of an earlier generation stay in
    /// flight, but no name leads to them any more.
    pub(super) fn set(&mut self, token: Token, side: Side, index: u32) {
        let at = token.slot as usize;
        table::reach(&mut self.0, at, Slot::new(0));
        if self.0[at].generation != token.generation {
            self.0[at] = Slot::new(token.generation);
        }
        self.0[at].sides[side as usize] = index;
    }

    /// Forgets the operation of `token` on `side`, if it is `index`.
    pub(super) fn clear(&mut self, token: Token, side: Side, index: u32) {
        if self.get(token, side) == Some(index) {
            self.0[token.slot as usize].sides[side as usize] = Slot::NONE;
        }
    }
}

/// Descriptors whose operations are being cancelled.
#[derive(Debug, Default)]
pub(super) struct Closings {
    entries: Vec<Option<(OwnedFd, u8)>>,
    free: Vec<u32>,
}

impl Closings {
    /// Keeps `fd` open until `operations` of them, 1 or 2, have ended.
    pub(super) fn add(&mut self, fd: OwnedFd, operations: u8) -> u32 {
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = Some((fd, operations));
            return index;
        }
        self.entries.push(Some((fd, operations)));
        u32::try_from(self.entries.len() - 1).expect("closings are bounded by descriptors")
    }

    /// One operation ended; gives the descriptor after the last one.
    pub(super) fn ended(&mut self, index: u32) -> Option<OwnedFd> {
        let entry = &mut self.entries[index as usize];
        let (_, left) = entry.as_mut().expect("a closing lives until its last operation");
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.free.push(index);
        entry.take().map(|(fd, _)| fd)
    }
}
