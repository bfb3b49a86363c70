//! Servers: those that a shard connects to by TCP, to play a stream of theirs.
//!
//! ```text
//!   open --connected--> (TLS shakes hands) --> asks for its stream --> as every publisher
//! ```
//!
//! A dial (`dials.rs`) of RTMP has a socket of its own, and TLS around it if its address says so;
//! its session says and hears nothing before both stand.
//! Limits: one connection for each server that is declared; handshakes as those of peers.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::connection::{Arrival, Connection};
use super::queues::Class;
use super::shard::Shard;
use crate::config::{Latency, ListenerNumber};
use crate::control::RtmpPeer;
use crate::error::Error;
use crate::ids::{SessionId, StreamName};
use crate::reactor;
use crate::session::Session;
use crate::session::rtmp::Puller;
use crate::session::tls::TlsLink;

impl Shard {
    /// Begins to connect to a server: the slot of its session.
    pub(super) fn open_server(
        &mut self,
        stream: &StreamName,
        addr: SocketAddr,
        peer: &RtmpPeer,
    ) -> Result<u32, Error> {
        let fd = reactor::tcp_socket(&addr, None)?;
        reactor::apply(fd.as_fd(), &self.socket_options())?;
        let host = &peer.address.host;
        let link = peer.trust.as_ref().map(|trust| TlsLink::open(trust, host)).transpose()?;
        let admission =
            self.shared.caps.enter_unnamed(&self.config.limits).map_err(Error::Limit)?;
        let tls = match link.map(|link| self.tls_by(link)).transpose() {
            Ok(tls) => tls,
            Err(limit) => {
                self.shared.caps.leave(admission);
                return Err(Error::Limit(limit));
            }
        };
        self.sessions_opened += 1;
        let id = SessionId::new(self.id, self.sessions_opened);
        let seed = self.seed_of(id);
        let puller = Puller::new(self.now, stream.clone(), peer, &self.terms, seed);
        let connection = Connection::new(Arrival {
            id,
            fd: Some(fd),
            peer: addr,
            session: Session::RtmpPull(Box::new(puller)),
            tls,
            admission,
            latency: Latency::Auto,
            listener: ListenerNumber::default(),
            opened: self.now,
        });
        connection.span().in_scope(|| tracing::info!(%stream, "a server is connected to"));
        let slot = self.take_in(Box::new(connection));
        let Self { connections, reactor, .. } = self;
        let token = connections.token(slot);
        if let Some(fd) = connections.get(slot).and_then(Connection::fd) {
            reactor.connect(fd, token, &addr);
        }
        self.rearm(slot);
        Ok(slot)
    }

    /// There is a connection to a server, or there is none by this number of the system.
    pub(super) fn server_connected(&mut self, slot: u32, result: Result<(), i32>) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let shakes_hands = connection.tls.is_some();
        let Some(pull) = connection.session.pull_mut() else { return };
        if let Err(errno) = result {
            pull.not_connected(errno);
            self.close(slot, "connection_lost");
            return;
        }
        pull.reached();
        if shakes_hands {
            self.enqueue(slot, Class::Reply);
        } else {
            self.ask_server(slot);
        }
        self.arm(slot);
    }

    /// If the connection in `slot` is one to a server, that can be spoken with now.
    pub(super) fn ask_server(&mut self, slot: u32) {
        let session = self.connections.get_mut(slot).map(|connection| &mut connection.session);
        if let Some(pull) = session.and_then(Session::pull_mut) {
            pull.connected();
            self.settle(slot);
        }
    }
}
