//! Peer: who a message is about.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use dataplane::ids::{SessionId, StreamName};
use dataplane::session::view_token::asked_as;

use super::place::Place;
use crate::events::Party;

/// Who a message is about, and where it is.
#[derive(Debug)]
pub struct Peer<'a> {
    pub(super) node: &'a str,
    pub(super) session: SessionId,
    pub(super) protocol: Protocol,
    pub(super) tls: bool,
    pub(super) addr: SocketAddr,
    /// Where it came to, if that is known.
    pub(super) local: Option<SocketAddr>,
    pub(super) agent: &'a str,
    pub(super) page: &'a str,
    /// The query of its address, as it was sent.
    pub(super) query: &'a str,
    pub(super) key: &'a str,
    /// User and password of HTTP.
    pub(super) login: &'a str,
    pub(super) stream: &'a StreamName,
    pub(super) place: Place,
}

impl<'a> Peer<'a> {
    /// The one that asks.
    pub(super) fn of_request(node: &'a str, request: &'a AuthorizeRequest) -> Self {
        let (url, stream) = (&*request.url, &request.stream);
        Self {
            node,
            session: request.session,
            protocol: request.protocol,
            tls: request.tls,
            addr: request.peer,
            local: Some(request.local),
            agent: &request.agent,
            page: request.referer.as_deref().unwrap_or_default(),
            query: &request.query.0,
            key: &request.key.0,
            login: &request.login.0,
            stream,
            place: match request.intent {
                Intent::Connect => Place::of_connection(url, stream),
                Intent::Publish | Intent::Play => Place::of_url(url, request.protocol, stream),
            },
        }
    }

    /// The one that an event is about. How it came in is not known of one that was there before
    /// anybody wanted to be told.
    pub(super) fn of_party(node: &'a str, party: &'a Party, stream: &'a StreamName) -> Self {
        if let Some(claim) = &party.claim {
            return Self::of_request(node, &claim.request);
        }
        Self {
            node,
            session: asked_as(party.session),
            protocol: party.protocol,
            tls: false,
            addr: party.peer,
            local: None,
            agent: &party.agent,
            page: "",
            query: "",
            key: "",
            login: "",
            stream,
            place: Place::of_stream(stream),
        }
    }

    /// The publisher that an event is about. Nobody knows who it was of a file that an earlier run
    /// left.
    pub(super) fn of_publisher(
        node: &'a str,
        publisher: Option<&'a Party>,
        stream: &'a StreamName,
    ) -> Self {
        if let Some(party) = publisher {
            return Self::of_party(node, party, stream);
        }
        Self {
            node,
            session: SessionId(0),
            protocol: Protocol::Rtmp,
            tls: false,
            addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            local: None,
            agent: "",
            page: "",
            query: "",
            key: "",
            login: "",
            stream,
            place: Place::of_stream(stream),
        }
    }

    /// Its address; one of IPv4 is told as one.
    pub(super) fn ip(&self) -> IpAddr {
        self.addr.ip().to_canonical()
    }
}
