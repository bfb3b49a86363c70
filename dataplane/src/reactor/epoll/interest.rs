//! What each token waits for.

use std::os::fd::RawFd;

use super::super::completion::RecvMode;
use super::super::token::Token;
use crate::table;

/// What a token reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Off,
    Accept,
    Bytes(RecvMode),
    Datagrams,
}

/// What a token waits to be writable for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Off,
    Poll,
    Connect,
}

/// One token and its descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interest {
    pub(super) generation: u16,
    /// The descriptor while it is registered.
    pub(super) fd: Option<RawFd>,
    /// The registration asks for writability too.
    pub(super) asks_out: bool,
    pub(super) read: Read,
    pub(super) write: Write,
    /// An edge said readable and no read has found the end since.
    pub(super) readable: bool,
    /// The peer's direction has ended or broken, so a short read is not the end.
    pub(super) hangup: bool,
    /// In the queue of tokens to read.
    pub(super) queued: bool,
    /// Was in the queue when there was no buffer.
    pub(super) starved: bool,
}

impl Interest {
    const fn new(generation: u16) -> Self {
        Self {
            generation,
            fd: None,
            asks_out: false,
            read: Read::Off,
            write: Write::Off,
            readable: false,
            hangup: false,
            queued: false,
            starved: false,
        }
    }

    pub(super) fn idle(&self) -> bool {
        self.read == Read::Off && self.write == Write::Off
    }
}

/// Interests by slot. It grows with the shard's slots, which its connection limit bounds.
#[derive(Debug, Default)]
pub(super) struct Interests(Vec<Interest>);

impl Interests {
    /// Slots that there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The interest of `token`, fresh if the slot was another generation's.
    pub(super) fn of(&mut self, token: Token) -> &mut Interest {
        let at = token.slot as usize;
        table::reach(&mut self.0, at, Interest::new(0));
        let interest = &mut self.0[at];
        if interest.generation != token.generation {
            *interest = Interest::new(token.generation);
        }
        interest
    }

    /// The interest of `token` if its slot is still of that generation.
    pub(super) fn current(&mut self, token: Token) -> Option<&mut Interest> {
        let interest = self.0.get_mut(token.slot as usize)?;
        (interest.generation == token.generation).then_some(interest)
    }

    /// Forgets `token`.
    pub(super) fn forget(&mut self, token: Token) {
        if let Some(interest) = self.current(token) {
            *interest = Interest::new(token.generation);
        }
    }
}
