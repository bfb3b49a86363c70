//! Pushes in datagrams: the sockets of streams that a shard sends somewhere by itself, and what
//! leaves by them.
//!
//! A push is a dial (`dials.rs`) that nobody answers: its socket is open, and so it is connected.
//! Its session reads the log of its stream like a player of SRT (`trains.rs`), and each datagram is
//! a header of RTP, if there is one, and ranges of the log. What the kernel has no room for is
//! lost.
//! Limits: one socket for each push that is declared.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::connection::{Arrival, Connection, Establish};
use super::cursor::{Cursor, SEND_BYTES_MAX};
use super::dials::any_local;
use super::egress::{class_of, class_of_rest};
use super::plan::Outcome;
use super::shard::Shard;
use super::trains::Rails;
use crate::config::{Latency, ListenerNumber};
use crate::control::{Intent, UdpPeer};
use crate::error::Error;
use crate::ids::{SessionId, StreamName};
use crate::package::PlayTerms;
use crate::reactor::{self, Token, UdpOptions};
use crate::session::udp::{DuePush, Sender};
use crate::session::{Framing, Join, LogKey, PlayOptions, Session};

/// The port of trains that leave by a socket of their own.
const NO_PORT: u8 = u8::MAX;

/// Bytes of what strangers send to its socket, which nobody reads.
const RECEIVE_BYTES: u32 = 2 << 10;
/// What the system says when it has no room, which it may have the next time.
const ROOM: [i32; 2] = [libc::ENOBUFS, libc::ENOMEM];

/// The sockets of pushes by the slots of their sessions. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Pushes(HashMap<u32, OwnedFd>);

impl Shard {
    /// Opens the socket of a push and gives it a session: its slot.
    pub(super) fn open_push(
        &mut self,
        stream: &StreamName,
        addr: SocketAddr,
        push: &Arc<UdpPeer>,
    ) -> Result<u32, Error> {
        let fd = open_socket(addr, push, self.config.egress.send_buffer_bytes)?;
        let admission = self.shared.caps.enter_unnamed(&self.config.limits);
        let admission = admission.map_err(Error::Limit)?;
        self.sessions_opened += 1;
        let id = SessionId::new(self.id, self.sessions_opened);
        let seed = self.random.hash_one((id.0, addr));
        let sender = Sender::new(stream.clone(), Arc::clone(push), seed);
        self.trains.make_room();
        let connection = Connection::new(Arrival {
            id,
            fd: None,
            peer: addr,
            session: Session::UdpPush(Box::new(sender)),
            tls: None,
            admission,
            latency: Latency::Auto,
            listener: ListenerNumber::default(),
            opened: self.now,
        });
        connection.span().in_scope(|| tracing::info!(%stream, %addr, "datagrams are sent"));
        let slot = self.take_in(Box::new(connection));
        self.dials.pushes.0.insert(slot, fd);
        Ok(slot)
    }

    /// Its socket is open, and nobody answers: a push begins at once.
    pub(super) fn begin_push(&mut self, slot: u32, stream: StreamName) {
        let (log, join) = (LogKey::SEGMENTS, Join::NewestKeyframe);
        let options = PlayOptions { log, join, latency: None, framing: Framing::Udp };
        self.begin_dialled(slot, Intent::Play, stream, Some(options));
    }

    /// Queues the next trains of a push.
    pub(super) fn serve_push(&mut self, slot: u32) -> Outcome {
        let Self { connections, readers, trains, dials, reactor, counters, config, now, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return Outcome::Idle };
        let peer = SocketAddr::from(connection.peer);
        let Connection { session, role: Some(Establish::Play(role)), .. } = connection else {
            return Outcome::Idle;
        };
        let Some(logs) = readers.get(role.reader).and_then(|reader| reader.logs()) else {
            return Outcome::Idle;
        };
        let Some(pushing) = session.push_mut().and_then(Sender::pushing_mut) else {
            return Outcome::Idle;
        };
        let Some(fd) = dials.pushes.0.get(&slot).map(AsFd::as_fd) else { return Outcome::Idle };
        let terms = PlayTerms {
            join: role.options.join,
            not_before: role.not_before,
            lag_max: config.egress.player_lag_max,
        };
        let rails = Rails { fd, port: NO_PORT, token, peer: &peer };
        let (mut bytes, mut more) = (0, true);
        let mut outcome = Outcome::Idle;
        while bytes < SEND_BYTES_MAX as usize && !trains.is_full() {
            match pushing.poll(logs, &terms, *now) {
                DuePush::Datagram { number, header, header_len, payload } => {
                    let header = &header[..header_len];
                    trains.make_way(reactor, rails, header.len() + payload.len());
                    let read = |out: &mut [u8]| pushing.read(number, logs, out);
                    bytes += trains.load_push(header, number, &payload, read);
                    continue;
                }
                DuePush::Jumped => {
                    counters.player_jumps += 1;
                    // Nobody is closed for it: there is no other way to send it.
                    role.jumps.allow(*now, config.egress.jumps_max, config.egress.jump_window);
                    continue;
                }
                DuePush::Ended if role.over.is_none() => outcome = Outcome::StreamEnded,
                DuePush::Ended | DuePush::Nothing => {}
            }
            more = false;
            break;
        }
        trains.leave(reactor, rails);
        pushing.ends = logs.ended().is_some();
        if !pushing.has_joined() && !role.waiting {
            role.waiting = true;
            counters.joins_waiting += 1;
        }
        let needed = pushing.needed_from(logs);
        role.cursor = needed.map(|offset| Cursor { offset, version: 0, at_boundary: true });
        let class = class_of_rest(connection);
        if more {
            self.enqueue(slot, class);
        }
        self.rearm(slot);
        match outcome {
            Outcome::Idle if bytes > 0 => Outcome::Sent(bytes),
            outcome => outcome,
        }
    }

    /// After time passed for a push: it is lined up if there is something to send.
    pub(super) fn go_on_pushing(&mut self, slot: u32) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let pushing = connection.session.push_mut().and_then(Sender::pushing_mut);
        if pushing.is_some_and(|pushing| pushing.is_due(now)) {
            let class = class_of(connection);
            self.enqueue(slot, class);
        }
    }

    /// Nothing can be sent to a peer: if it is a push, it is tried again after a pause.
    pub(super) fn push_failed(&mut self, token: Token, errno: i32) {
        if !self.connections.is_current(token) || ROOM.contains(&errno) {
            return;
        }
        let session = self.connections.get_mut(token.slot).map(|c| &mut c.session);
        if let Some(push) = session.and_then(Session::push_mut) {
            push.fail(errno);
            self.settle(token.slot);
        }
    }

    /// A session is over: if it was a push, its socket is closed.
    pub(super) fn end_push(&mut self, slot: u32, token: Token) {
        if let Some(fd) = self.dials.pushes.0.remove(&slot) {
            self.reactor.close(fd, token);
        }
    }
}

/// The socket of a push, if there is a way to its peer.
fn open_socket(addr: SocketAddr, push: &UdpPeer, send_buffer_bytes: u32) -> Result<OwnedFd, Error> {
    let open = || {
        let any = any_local(addr);
        let local = push.local.map_or(any, |local| SocketAddr::new(local, 0));
        let options = UdpOptions {
            reuse_port: false,
            send_buffer_bytes: Some(send_buffer_bytes),
            recv_buffer_bytes: Some(RECEIVE_BYTES),
            ..UdpOptions::default()
        };
        let fd = reactor::udp_socket(&local, &options)?;
        let interface = push.interface.as_deref();
        let index = interface.map(reactor::interface_index).transpose()?;
        if addr.ip().is_multicast() {
            reactor::send_to_groups(fd.as_fd(), addr.is_ipv4(), index, push.ttl)?;
        } else if let Some(name) = interface {
            reactor::bind_to_interface(fd.as_fd(), name)?;
        }
        Ok(fd)
    };
    // One that was connected would hear that nobody listens yet, and fail.
    reactor::find_route(open()?, &addr)?;
    open()
}
