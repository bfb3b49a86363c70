//! Peers behind a load balancer: the head that tells whose a connection is, before its own bytes.
//!
//! A listener that is `proxied` expects a head of the PROXY protocol from the addresses of
//! `session.proxies`, and from nobody else: a stranger's is no part of any protocol here. From the
//! head on the connection is of the client that it tells of, for verdicts, caps, lists and logs.
//!
//! Limits: a head has [`codecs::proxy_protocol::HEAD_BYTES_MAX`] bytes, and the time that a session
//! has for its first word. Balancers are not counted by the caps per address; their clients are.

use std::net::{IpAddr, SocketAddr};

use codecs::proxy_protocol::{Origin, parse};

use super::ingress::Source;
use super::shard::Shard;
use crate::config::{AddrRange, ListenerConfig};
use crate::error::Error;
use crate::reactor::RecvBuf;

/// Who speaks for a fresh connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The peer for itself.
    Peer,
    /// A balancer, whose head comes first.
    Balancer,
}

impl Speaker {
    /// Who speaks first for a peer of that listener.
    pub(super) fn of(listener: &ListenerConfig, peer: IpAddr, proxies: &[AddrRange]) -> Self {
        let believed = listener.proxied && proxies.iter().any(|range| range.contains(peer));
        if believed { Self::Balancer } else { Self::Peer }
    }
}

impl Shard {
    /// Bytes before the end of a balancer's head, and what came with them.
    pub(super) fn received_head(&mut self, slot: u32, buf: &RecvBuf) {
        let Self { connections, reactor, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        // CONTROL: a balancer's head, which may come in pieces.
        connection.parked.extend_from_slice(reactor.recv_bytes(buf));
        match parse(&connection.parked) {
            Ok(None) => self.account(slot),
            Ok(Some((origin, len))) => {
                let mut rest = std::mem::take(&mut connection.parked);
                rest.drain(..len);
                connection.speaker = Speaker::Peer;
                self.account(slot);
                if self.is_of(slot, origin) {
                    self.take_first(slot, Source::Held(rest));
                }
            }
            Err(error) => self.fail(slot, &Error::Malformed(error)),
        }
    }

    /// The connection is of the client that its balancer tells of; false if it may not be.
    fn is_of(&mut self, slot: u32, origin: Origin) -> bool {
        let Origin::Client { source, .. } = origin else { return true };
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let balancer = SocketAddr::from(connection.peer);
        let client = SocketAddr::new(source.ip().to_canonical(), source.port());
        connection.peer = client.into();
        let counted =
            self.shared.caps.name(&mut connection.admission, client.ip(), &self.config.limits);
        connection.span().in_scope(|| tracing::info!(%balancer, "session is of a client behind"));
        if let Err(limit) = counted {
            self.counters.connections_shed += 1;
            self.counters.limit(limit);
            self.close(slot, limit.name());
            return false;
        }
        true
    }

    /// The first bytes of the client itself.
    fn take_first(&mut self, slot: u32, rest: Source<'_>) {
        let Some(connection) = self.connections.get(slot) else { return };
        match connection.tls {
            _ if rest.bytes(&self.reactor).is_empty() => {}
            Some(_) => self.received_ciphertext(slot, &rest),
            None => self.take_bytes(slot, &rest),
        }
    }
}
