//! Peer: one streaming server or encoder, and the link to it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use dataplane::ids::StreamId;
use tokio::sync::mpsc;

use crate::coordinator::complaints::Complaints;
use crate::coordinator::wire::{Message, Role, Whereabouts};

/// Messages that wait for a peer at most; one that does not take them is lost.
pub const LINK_MAX: usize = 1_024;

/// The number of a server or an encoder in reports. This node is 1 of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl PeerId {
    /// This node.
    pub const SELF: Self = Self(1);
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the messages for a peer go; it leaves when this is dropped.
pub type Link = mpsc::Sender<Message>;

/// Who is attached.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) role: Role,
    pub(super) at: Whereabouts,
    pub(super) link: Link,
    pub(super) since: Instant,
    /// Of an encoder: how many streams it takes.
    pub(super) room: Room,
    /// Of an encoder: the publications that it has.
    pub(super) tasks: BTreeSet<StreamId>,
    pub(super) complaints: Complaints,
}

impl Peer {
    /// True if it is an encoder that takes one more now. One for which half a link of messages
    /// waits is given nothing new, so that there is room for the rest.
    pub(super) fn has_room(&self) -> bool {
        self.takes_more() && 2 * self.link.capacity() > self.link.max_capacity()
    }

    /// True if it takes one more, once it has heard what waits for it.
    pub(super) fn takes_more(&self) -> bool {
        !self.link.is_closed() && self.spare() != Some(0)
    }

    /// How many more it takes; `None` for any number.
    pub(super) fn spare(&self) -> Option<usize> {
        match self.room {
            Room::Untold => Some(0),
            Room::Any => None,
            Room::Places(places) => Some((places as usize).saturating_sub(self.tasks.len())),
        }
    }
}

/// How many streams an encoder takes at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It has not said so; a server never does.
    Untold,
    /// As many as come.
    Any,
    /// So many.
    Places(u32),
}
