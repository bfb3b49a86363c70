//! Peers behind load balancers and reverse proxies: whose a connection, or a request, really is.
//!
//! ```text
//!   balancer:  a listener that is `proxied` -> head of the PROXY protocol -> TLS -> session
//!   proxy:     HTTP request with X-Forwarded-For -> Event::OnBehalf -> the request's own events
//! ```
//!
//! Only the addresses of `session.proxies` are believed. From a balancer's head on the connection
//! is of the client that it tells of, for verdicts, caps, lists and logs; a proxy says it anew with
//! each request. A stranger's head is no part of any protocol here, and his header is not looked
//! at.
//!
//! Limits: a head has [`codecs::proxy_protocol::HEAD_BYTES_MAX`] bytes, and the time that a session
//! has for its first word. Caps, rates and penalties do not bind who is believed; they bind clients
//! that a balancer names, and those who play a whole stream, or view one, through a proxy. A
//! connection over which a proxy asks for this and that is nobody's, and so is the view of somebody
//! whom it does not tell of.

use std::net::{IpAddr, SocketAddr};

use codecs::proxy_protocol::{Origin, parse};

use super::ingress::Source;
use super::peer::PeerAddr;
use super::shard::Shard;
use crate::config::{AddrRange, ListenerConfig};
use crate::control::{Intent, Turn};
use crate::error::Error;
use crate::reactor::RecvBuf;
use crate::session::{Command, Refusal, Session};

/// Who speaks at the other end of a fresh connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// A client.
    Client,
    /// A proxy that is believed.
    Proxy,
    /// One that is believed, and begins with a head of the PROXY protocol.
    Balancer,
}

/// The one at the other end of the connection, who speaks for others.
#[derive(Debug)]
pub(crate) struct Proxy {
    own: PeerAddr,
    /// Its head has not come.
    begins: bool,
    /// Whether whoever asks now speaks TLS to it, if it says that.
    tls: Option<bool>,
}

impl Speaker {
    /// Who speaks for a peer of that listener.
    pub(super) fn of(listener: &ListenerConfig, peer: IpAddr, proxies: &[AddrRange]) -> Self {
        match (is_believed(peer, proxies), listener.proxied) {
            (false, _) => Self::Client,
            (true, false) => Self::Proxy,
            (true, true) => Self::Balancer,
        }
    }

    /// What the connection from `peer` keeps of it.
    pub(super) fn proxy(self, peer: SocketAddr) -> Option<Proxy> {
        let begins = self == Self::Balancer;
        (self != Self::Client).then(|| Proxy { own: peer.into(), begins, tls: None })
    }
}

impl Proxy {
    /// True until its head has come.
    pub(super) const fn begins(&self) -> bool {
        self.begins
    }
}

fn is_believed(peer: IpAddr, proxies: &[AddrRange]) -> bool {
    proxies.iter().any(|range| range.contains(peer))
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
                let balancer = SocketAddr::from(connection.peer);
                self.connections.set_proxy(slot, Speaker::Proxy.proxy(balancer));
                self.account(slot);
                if self.is_of(slot, origin) {
                    self.take_first(slot, &Source::Held(rest));
                }
            }
            Err(error) => self.fail(slot, &Error::Malformed(error)),
        }
    }

    /// The connection is of the client that its balancer tells of; false if it may not be.
    fn is_of(&mut self, slot: u32, origin: Origin) -> bool {
        let Origin::Client { source, .. } = origin else {
            // Whoever it is, he is no proxy of HTTP.
            self.connections.set_proxy(slot, None);
            return true;
        };
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        let balancer = SocketAddr::from(connection.peer);
        let client = SocketAddr::new(source.ip().to_canonical(), source.port());
        connection.peer = client.into();
        connection.span().in_scope(|| tracing::info!(%balancer, "session is of a client behind"));
        if is_believed(client.ip(), &self.config.session.proxies) {
            // Behind the balancer is a proxy, which speaks for others in turn.
            self.connections.set_proxy(slot, Speaker::Proxy.proxy(client));
            return true;
        }
        self.connections.set_proxy(slot, None);
        let counted = self.count_client(slot, client.ip());
        if let Err((reason, _)) = counted {
            self.counters.connections_shed += 1;
            self.close(slot, reason);
        }
        counted.is_ok()
    }

    /// Counts a connection for its client's address; why not, if it may not come, and what a
    /// client hears who is answered.
    fn count_client(&mut self, slot: u32, client: IpAddr) -> Result<(), (&'static str, Refusal)> {
        let Some(connection) = self.connections.get(slot) else { return Ok(()) };
        let is_http = matches!(connection.session, Session::Http(_));
        self.knock(client, connection.listener, is_http).map_err(|why| match why {
            Turn::Penalty => (why.name(), Refusal::Denied),
            Turn::Rate | Turn::PrefixRate | Turn::Malformed => (why.name(), Refusal::Full),
        })?;
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(()) };
        let limits = &self.config.limits;
        let counted = self.shared.caps.name(&mut connection.admission, client, limits);
        counted.map_err(|limit| {
            self.counters.limit(limit);
            (limit.name(), Refusal::Full)
        })
    }

    /// The first bytes of the client itself.
    fn take_first(&mut self, slot: u32, rest: &Source<'_>) {
        let Some(connection) = self.connections.get(slot) else { return };
        match connection.tls {
            _ if rest.bytes(&self.reactor).is_empty() => {}
            Some(_) => self.received_ciphertext(slot, rest),
            None => self.take_bytes(slot, rest),
        }
    }

    /// A request is of the client that a proxy tells of, or of the proxy itself; it may have come
    /// to that one inside TLS.
    pub(super) fn on_behalf(&mut self, slot: u32, client: Option<IpAddr>, tls: Option<bool>) {
        let Some(own) = self.connections.proxy(slot).map(|proxy| proxy.own) else { return };
        self.connections.set_proxy(slot, Some(Proxy { own, begins: false, tls }));
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.peer = client.map_or(own, |client| SocketAddr::new(client, 0).into());
    }

    /// Whether whoever asks speaks TLS to a proxy, if that one says it.
    pub(super) fn tls_in_front(&self, slot: u32) -> Option<bool> {
        self.connections.proxy(slot).and_then(|proxy| proxy.tls)
    }

    /// The address that what the peer does counts for: none while a proxy speaks for itself.
    pub(super) fn client_of(&self, slot: u32) -> Option<IpAddr> {
        let client = self.connections.get(slot)?.peer.ip;
        let own = self.connections.proxy(slot).is_some_and(|proxy| proxy.own.ip == client);
        (!own).then_some(client)
    }

    /// True if the peer may ask that: one that plays through a proxy is counted for its address,
    /// and hears that there is no room.
    pub(super) fn may_ask(&mut self, slot: u32, intent: Intent) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let client = connection.peer.ip;
        let through = self.connections.proxy(slot).is_some_and(|proxy| proxy.own.ip != client);
        let counted = match intent == Intent::Play && through {
            true => self.count_client(slot, client),
            false => Ok(()),
        };
        if let Err((_, refusal)) = counted {
            self.counters.plays_refused += 1;
            self.tell(slot, Command::Refused(refusal));
        }
        counted.is_ok()
    }
}
