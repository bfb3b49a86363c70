//! Questions: may this peer connect, publish or play? Asked by shards, answered by ticket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::srt::Passphrase;

use super::{Protocol, Role};
use crate::config::ListenerNumber;
use crate::ids::{Secret, SessionId, StreamId, StreamName};
use crate::session::mpegts::TransportTerms;

/// What a peer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// To come in: asked at RTMP's `connect`, if the configuration wants it
    /// ([`AuthConfig`](crate::config::AuthConfig)).
    Connect,
    /// To send a stream to us.
    Publish,
    /// To read a stream from us.
    Play,
}

impl Intent {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }

    /// What the peer would do with media.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Connect => None,
            Self::Publish => Some(Role::Publish),
            Self::Play => Some(Role::Play),
        }
    }
}

impl From<Role> for Intent {
    fn from(role: Role) -> Self {
        match role {
            Role::Publish => Self::Publish,
            Role::Play => Self::Play,
        }
    }
}

/// Names one question of a shard to the control plane, so that a late answer finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The connection's slot on its shard.
    pub slot: u32,
    /// The connection's generation in that slot.
    pub generation: u16,
    /// The question's number on that connection.
    pub epoch: u32,
}

/// A slot that no connection has.
const NO_SLOT: u32 = u32::MAX;

impl Ticket {
    /// Names a question about a viewer who does not wait for the answer.
    pub(crate) const fn of_recheck(number: u32) -> Self {
        Self { slot: NO_SLOT, generation: 0, epoch: number }
    }

    /// The number of such a question.
    pub(crate) const fn recheck(self) -> Option<u32> {
        if self.slot == NO_SLOT { Some(self.epoch) } else { None }
    }
}

/// "May this peer do this?": every publish and every play asks once, and `connect` if it is to.
///
/// What identifies a peer is a [`Secret`], which no log shows; the other words are a peer's, too,
/// and say what it likes.
#[derive(Clone, Debug)]
pub struct AuthorizeRequest {
    /// The session that waits. Of a viewer of HLS who is told from others it is his own, on
    /// whichever connection he asks, [without](crate::session::view_token::asked_as) what is noted
    /// in it of the answer.
    pub session: SessionId,
    /// What it wants.
    pub intent: Intent,
    /// How it speaks.
    pub protocol: Protocol,
    /// It does so inside TLS, which a proxy may have taken off that is believed.
    pub tls: bool,
    /// The stream that it named; for [`Intent::Connect`] the application.
    pub stream: StreamName,
    /// The secret that it showed.
    pub key: Secret,
    /// User and password of HTTP, with a colon between them, if those are
    /// [asked for](crate::config::AuthConfig::logins).
    pub login: Secret,
    /// The query of its address without the `?`, as it was sent.
    pub query: Secret,
    /// Its address without the query: `tcUrl` and the stream's name, or `Host` and path.
    pub url: Arc<str>,
    /// `pageUrl` or `Referer`.
    pub referer: Option<Arc<str>>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// By which listener.
    pub listener: ListenerNumber,
    /// `flashVer` or `User-Agent`.
    pub agent: Arc<str>,
    /// Of a viewer of HLS who is in, and is asked about again: since when he is, by what he shows.
    /// Whatever was good to come in by then need not be good any more.
    pub since: Option<Instant>,
}

impl AuthorizeRequest {
    /// The bytes that it takes, with those of its words.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self { key, login, query, url, referer, agent, .. } = self;
        let secrets = [key, login, query].map(|secret| secret.0.capacity());
        let words = url.len() + agent.len() + referer.as_ref().map_or(0, |referer| referer.len());
        size_of::<Self>() + secrets.iter().sum::<usize>() + words
    }
}

/// The answer to an [`AuthorizeRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, on these terms.
    Allow(Grant),
    /// No.
    Deny(Denial),
    /// No, but at that address: it is for the protocol by which was asked.
    Elsewhere(Arc<str>),
}

/// What a peer was allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The stream, under the name that counts; it may differ from the one asked for.
    pub stream: StreamName,
    /// Of a publish: what this publication is called, for as long as it lives.
    pub id: Option<StreamId>,
    /// Of a play: a stream that nobody publishes is waited for, and waited for again when it ends.
    pub waits: bool,
    /// Of a play: only with the key that the stream is published with.
    pub same_key: bool,
    /// Of a play: a part of this installation reads the stream, and is no player in its quotas.
    pub internal: bool,
    /// Of a play: this node plays to itself. It is no session, nobody is told of it, nothing is
    /// charged for it, and orders to send players away do not mean it.
    pub unlisted: bool,
    /// It ends then: whoever was allowed is sent away.
    pub until: Option<Instant>,
    /// Of a viewer of HLS: what was shown lets nobody in after that. Who is in by then stays, as
    /// far as that is known: without tokens or cookies nobody is in.
    pub entry_until: Option<Instant>,
    /// Of a viewer of HLS, who is asked about again then: how long it holds; until further notice
    /// if nothing is said.
    pub holds: Option<Duration>,
    /// Of a peer of SRT: what it encrypts with, if that is not what all others do
    /// ([`SrtConfig::passphrase`](crate::config::SrtConfig)).
    pub passphrase: Option<Box<Passphrase>>,
    /// Of a publisher of a transport stream: what is chosen of it, if that is not as usual.
    pub transport: Option<Box<TransportTerms>>,
}

impl Grant {
    /// Plain leave to publish or play `stream`.
    #[must_use]
    pub const fn to(stream: StreamName) -> Self {
        let (until, entry_until, holds) = (None, None, None);
        let (id, waits, same_key) = (None, false, false);
        let (internal, unlisted) = (false, false);
        let (passphrase, transport) = (None, None);
        Self {
            stream,
            id,
            waits,
            same_key,
            internal,
            unlisted,
            until,
            entry_until,
            holds,
            passphrase,
            transport,
        }
    }
}

/// Why a peer may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The key or the peer is not allowed.
    Forbidden,
    /// Nothing was shown by which anybody is let in: whoever shows it may come again.
    Anonymous,
    /// No such stream.
    NotFound,
    /// Somebody else has the stream.
    Busy,
    /// Nobody could decide: what was to be asked does not answer.
    Unavailable,
    /// No room.
    Full,
}

impl Denial {
    /// Every denial.
    pub const ALL: [Self; 6] = [
        Self::Forbidden,
        Self::Anonymous,
        Self::NotFound,
        Self::Busy,
        Self::Unavailable,
        Self::Full,
    ];

    /// One fixed word for logs, events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Anonymous => "anonymous",
            Self::NotFound => "not_found",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
        }
    }
}
