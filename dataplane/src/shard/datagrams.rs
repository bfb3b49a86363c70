//! Datagrams of SRT peers: to whom they belong, and what the protocol itself has to say.
//!
//! In/Out: payload is decrypted where it was received, and copied once, into the pages of access
//! units. What the protocol says (answers, acknowledgements, requests for what was lost) leaves
//! with the next submit, behind the media that was queued before it.
//! Limits: [`SAID_MAX`] datagrams of the protocol's own at a time; those that are handed to other
//! shards, of a turn ([`super::ports`]).

use std::net::SocketAddr;
use std::os::fd::AsFd;

use codecs::srt::{HEADER_BYTES, SocketId};

use super::egress::class_of;
use super::handshakes::is_conclusion;
use super::ingress::fence;
use super::message::Message;
use super::shard::Shard;
use super::trains::Rails;
use crate::ids::ShardId;
use crate::reactor::{self, DatagramBuf, Reactor, Token};
use crate::session::srt::Incoming;

/// Where the destination stands in a header.
const DESTINATION: std::ops::Range<usize> = 12..HEADER_BYTES;
/// Datagrams that one connection says at a time of its own at most.
const SAID_MAX: usize = 64;
/// Connections that wait for the end of a round to be settled, at most, but for those of one run.
const HEARD_MAX: usize = 1_024;

/// A datagram for a connection of one shard that came to another.
#[derive(Debug)]
pub(crate) struct Stray {
    to: SocketId,
    peer: SocketAddr,
    bytes: Box<[u8]>,
}

/// Where a datagram lies.
enum Place<'a> {
    Run(&'a mut DatagramBuf, usize),
    Letter(&'a mut [u8]),
}

impl Shard {
    /// Datagrams of one peer arrived, one or several.
    pub(super) fn datagrams(&mut self, token: Token, peer: SocketAddr, mut buf: DatagramBuf) {
        let Some(port) = self.ports.find(token) else {
            self.pulled(token, peer, buf);
            return;
        };
        // Most trains are of one connection.
        let mut last = None;
        for at in 0..buf.count() {
            let Some(datagram) = self.reactor.datagram_mut(&mut buf, at) else { break };
            let Some(to) = destination(datagram) else { continue };
            self.counters.bytes_received += datagram.len() as u64;
            if to == SocketId::LISTENER {
                self.call_received(port, peer, (&mut buf, at));
                continue;
            }
            let Some(slot) = self.ports.slot(to) else {
                self.lead_home(to, peer, (&mut buf, at));
                continue;
            };
            if self.datagram(slot, peer, &mut Place::Run(&mut buf, at)) && last != Some(slot) {
                self.heard.push(slot);
                last = Some(slot);
            }
        }
        self.reactor.release_datagrams(buf);
        if self.heard.len() >= HEARD_MAX {
            self.settle_heard();
        }
    }

    /// Something came for a connection, which is settled in this round.
    pub(super) fn hear(&mut self, slot: u32) {
        self.heard.push(slot);
        if self.heard.len() >= HEARD_MAX {
            self.settle_heard();
        }
    }

    /// Settles the connections that datagrams came for, each once for all that came of it: what
    /// it has to say of them is one answer.
    pub(super) fn settle_heard(&mut self) {
        self.heard.sort_unstable();
        self.heard.dedup();
        while let Some(slot) = self.heard.pop() {
            self.settle(slot);
        }
    }

    /// A datagram to nobody in particular.
    fn call_received(&mut self, port: u8, peer: SocketAddr, (buf, at): (&mut DatagramBuf, usize)) {
        let Some(datagram) = self.reactor.datagram_mut(buf, at) else { return };
        if !self.ports.get(port).is_some_and(|port| port.listens) {
            if let Some(slot) = self.ports.met(port, peer) {
                if self.datagram(slot, peer, &mut Place::Run(buf, at)) {
                    self.settle(slot);
                }
                return;
            }
            // Whom we call knows our number.
            self.counters.datagrams_unknown += 1;
            return;
        }
        let is_conclusion = is_conclusion(datagram);
        if !self.hears_handshake(peer.ip(), is_conclusion) {
            return;
        }
        let Self { ports, reactor, now, .. } = self;
        let Some((port_of, scratch)) = ports.get_mut(port) else { return };
        let Some(datagram) = reactor.datagram_mut(buf, at) else { return };
        match port_of.listener.handle_datagram(*now, peer, datagram, scratch) {
            Incoming::Ignored => {}
            Incoming::Reply(len) => {
                self.ports.send_scratch(port, &peer, len);
            }
            Incoming::Call(request) => self.called(port, request),
            Incoming::Waiting(at) => at.into_iter().for_each(|slot| self.call_repeated(slot)),
            Incoming::For(socket) => self.called_again(socket, peer),
        }
    }

    /// A datagram for nobody here. The kernel puts those of one peer together that have one size,
    /// and chooses the shard by the first of them: the others may be of connections elsewhere.
    fn lead_home(&mut self, to: SocketId, peer: SocketAddr, (buf, at): (&mut DatagramBuf, usize)) {
        let home = reactor::steer(to.0, self.shared.shards() as u16).map(ShardId);
        let Some(home) = home.filter(|&home| home != self.id && self.ports.may_lead_home()) else {
            self.counters.datagrams_unknown += 1;
            return;
        };
        let Some(datagram) = self.reactor.datagram_mut(buf, at) else { return };
        // COPY(handover): the buffer is this shard's.
        let bytes = datagram.to_vec().into_boxed_slice();
        let letter = Message::Datagram(Box::new(Stray { to, peer, bytes }));
        if self.outboxes.send(home, letter).is_err() {
            self.counters.mailbox_full += 1;
            return;
        }
        self.counters.datagrams_handed_over += 1;
        self.alert(home);
    }

    /// A datagram that came to another shard.
    pub(super) fn stray(&mut self, Stray { to, peer, mut bytes }: Stray) {
        match self.ports.slot(to) {
            Some(slot) if self.datagram(slot, peer, &mut Place::Letter(&mut bytes)) => {
                self.settle(slot);
            }
            Some(_) => {}
            None => self.counters.datagrams_unknown += 1,
        }
    }

    /// A datagram for the connection in `slot`, if it is its peer's: anybody can guess an id.
    fn datagram(&mut self, slot: u32, peer: SocketAddr, place: &mut Place<'_>) -> bool {
        if !self.connections.get(slot).is_some_and(|connection| connection.peer.is(peer)) {
            self.counters.datagrams_foreign += 1;
            return false;
        }
        let Self { connections, reactor, pool, usage, now, .. } = self;
        let Some(datagram) = place.bytes(reactor) else { return false };
        let Some(mut connection) = connections.take(slot) else { return false };
        let len = datagram.len() as u64;
        connection.received += len;
        usage.received(slot, len);
        let result = fence(&mut connection, |session| {
            if let Some(server) = session.srt_mut() {
                server.handle_datagram(*now, datagram, pool);
            }
            Ok(())
        });
        self.connections.put(slot, connection);
        if let Err(error) = result {
            self.fail(slot, &error);
            return false;
        }
        self.take_events(slot);
        while self.advance(slot) {
            self.take_events(slot);
        }
        true
    }

    /// Lets a session take one more packet whose turn has come.
    fn advance(&mut self, slot: u32) -> bool {
        let Some(mut connection) = self.connections.take(slot) else { return false };
        let Self { pool, now, .. } = self;
        let result = fence(&mut connection, |session| Ok(session.advance(*now, pool)));
        self.connections.put(slot, connection);
        match result {
            Ok(more) => more,
            Err(error) => {
                self.fail(slot, &error);
                false
            }
        }
    }

    /// After time passed for a session: what it waited for may be late, and go on without it.
    pub(super) fn go_on_without(&mut self, slot: u32) {
        if self.connections.get(slot).is_some_and(|connection| connection.fd.is_none()) {
            while self.advance(slot) {
                self.take_events(slot);
            }
        }
    }

    /// Queues what the protocol of a connection has to say now, and lines it up if there is media
    /// for it.
    pub(super) fn send_control(&mut self, slot: u32) {
        for _ in 0..SAID_MAX {
            if self.trains.is_full() {
                self.submit();
            }
            if !self.say_one(slot) {
                break;
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.session.push().is_some() {
            self.go_on_pushing(slot);
            return;
        }
        let playing = connection.session.srt().and_then(|server| server.playing());
        if playing.is_some_and(|playing| playing.is_due(self.now)) {
            let class = class_of(connection);
            self.enqueue(slot, class);
        }
    }

    /// Queues one datagram of the protocol's own; false if there is none.
    fn say_one(&mut self, slot: u32) -> bool {
        let Self { connections, ports, trains, reactor, now, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return false };
        let peer = SocketAddr::from(connection.peer);
        let Some(server) = connection.session.srt_mut() else { return false };
        let port = server.port();
        let Some(fd) = ports.get(port).map(|port| port.fd.as_fd()) else { return false };
        let Some(scratch) = trains.scratch() else { return false };
        let Some(len) = server.poll_datagram(*now, scratch) else { return false };
        trains.say(reactor, Rails { fd, port, token, peer: &peer }, len);
        true
    }
}

impl Place<'_> {
    fn bytes<'a>(&'a mut self, reactor: &'a mut Reactor) -> Option<&'a mut [u8]> {
        match self {
            Self::Run(buf, at) => reactor.datagram_mut(buf, *at),
            Self::Letter(bytes) => Some(bytes),
        }
    }
}

fn destination(datagram: &[u8]) -> Option<SocketId> {
    let bytes = datagram.get(DESTINATION)?.try_into().ok()?;
    Some(SocketId(u32::from_be_bytes(bytes)))
}
