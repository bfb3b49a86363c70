//! A publisher with the usual stream.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use codecs::rtmp::command::code;

use super::peer::Peer;

/// A client that publishes.
pub(crate) struct Publisher {
    peer: Peer,
    next: u32,
}

impl Deref for Publisher {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Publisher {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

impl Publisher {
    /// Publishes, and sends metadata and sequence headers.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        let mut publisher = Self::bare(addr, name);
        publisher.configure(0);
        publisher.flush();
        publisher
    }

    /// Publishes and sends nothing yet.
    pub(crate) fn bare(addr: SocketAddr, name: &str) -> Self {
        let mut peer = Peer::open(addr);
        peer.publish(name);
        peer.flush();
        peer.expect_status(code::PUBLISH_START);
        Self::of(peer)
    }

    /// A client that publishes already.
    pub(crate) const fn of(peer: Peer) -> Self {
        Self { peer, next: 0 }
    }

    /// Sends the next `count` frames of video and audio; returns the number after the last.
    pub(crate) fn send_frames(&mut self, count: u32) -> u32 {
        let (from, to) = (self.next, self.next + count);
        self.frames(from, to);
        self.flush();
        self.next = to;
        to
    }

    /// The frames before `next` were sent by other means.
    pub(crate) const fn sent(&mut self, next: u32) {
        self.next = next;
    }

    /// The number of the next frame.
    pub(crate) const fn next_number(&self) -> u32 {
        self.next
    }
}
