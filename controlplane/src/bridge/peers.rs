//! Peers: what is known of one that the node connects to by itself, as far as shards told of it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use codecs::srt::RejectReason;
use codecs::time::WallTime;
use dataplane::control::{Dial, DialFailure, DialNumber, DialPeer, DialState, Protocol, Role};
use dataplane::ids::SessionId;
use serde::Serialize;
use utoipa::ToSchema;

use super::trusts::NO_AUTHORITIES;
use crate::registry::masked_rtmp_url;

/// Numbers of Linux that have no kind of their own.
const ENODEV: i32 = 19;
const EMSGSIZE: i32 = 90;
const EAFNOSUPPORT: i32 = 97;
/// Errors of one peer that are kept.
const ERRORS_MAX: usize = 5;

/// What is pulled without being declared is none of a stream's inputs.
pub(super) const NO_INPUT: u32 = u32::MAX;

/// A peer that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Its name or address.
    pub(super) host: String,
    pub(super) port: u16,
    /// What is spoken.
    pub(super) peer: Arc<DialPeer>,
    /// Its address, as it may be shown.
    pub(super) shown: String,
    /// The number of the input that it is; [`NO_INPUT`] of what is pulled without being declared,
    /// and nothing of a push.
    pub(super) input: u32,
    pub(super) pause: Duration,
    pub(super) attempts_max: u32,
}

/// A peer that a shard connects to.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) number: DialNumber,
    pub(super) wish: Wish,
    pub(super) addrs: Option<Arc<[SocketAddr]>>,
    /// When its name is to be looked up, if it is.
    pub(super) look: Option<Instant>,
    pub(super) status: PeerStatus,
    attempt: u32,
    connected: Option<(SessionId, WallTime)>,
    errors: VecDeque<String>,
}

/// How a peer is that the node connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerStatus {
    /// There is nothing to push, or somebody else publishes what would be pulled.
    Waiting,
    /// It is called for the first time.
    Starting,
    /// It is connected.
    Active,
    /// It failed, and is called again after a pause.
    Reconnecting,
    /// It failed as often as it may, and is left alone until its declaration changes.
    Failed,
}

/// A peer that the node connects to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerSnapshot {
    /// The number of the input that it is.
    #[serde(skip)]
    pub(crate) input: u32,
    /// Its address, without secrets.
    url: String,
    /// How it is.
    pub(crate) status: PeerStatus,
    /// Attempts since it was connected for a minute, this one included.
    attempt: u32,
    /// Since when it is connected, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<i64>,
    /// The session, while it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// The last errors, the newest last; none while it is connected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

/// The peers of one stream, by their addresses.
#[derive(Clone, Debug, Default)]
pub struct PeerSnapshots {
    /// Those that it is pulled from.
    pub pulls: Vec<PeerSnapshot>,
    /// Those that it is pushed to.
    pub pushes: Vec<PeerSnapshot>,
}

impl Wish {
    /// What is spoken with it.
    pub(super) fn protocol(&self) -> Protocol {
        match &*self.peer {
            DialPeer::Srt(_) => Protocol::Srt,
            DialPeer::Rtmp(_) => Protocol::Rtmp,
            DialPeer::Udp(_) => Protocol::Udp,
        }
    }
}

impl Peer {
    pub(super) fn new(number: DialNumber, wish: Wish, now: Instant) -> Self {
        let addr = wish.host.parse().map(|ip| SocketAddr::new(ip, wish.port));
        let addrs: Option<Arc<[SocketAddr]>> = addr.ok().map(|addr| [addr].into());
        let look = addrs.is_none().then_some(now);
        let (status, attempt, connected) = (PeerStatus::Waiting, 0, None);
        Self { number, wish, addrs, look, status, attempt, connected, errors: VecDeque::new() }
    }

    /// True if it has a name, whose address may be another one later.
    pub(super) fn has_name(&self) -> bool {
        self.wish.host.parse::<std::net::IpAddr>().is_err()
    }

    /// What its shard is told.
    pub(super) fn dial(&self) -> Option<Dial> {
        let addrs = Arc::clone(self.addrs.as_ref()?);
        let peer = Arc::clone(&self.wish.peer);
        let Wish { pause, attempts_max, .. } = self.wish;
        Some(Dial { number: self.number, addrs, peer, pause, attempts_max })
    }

    /// The session, while it is connected.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.connected.map(|(session, _)| session)
    }

    /// Takes what its shard told; gives how it is now if that is news, with the error if there is
    /// one.
    pub(super) fn take(&mut self, state: &DialState, attempt: u32) -> (PeerStatus, Option<String>) {
        self.attempt = attempt;
        self.connected = None;
        let (status, error) = match state {
            DialState::Waiting => (PeerStatus::Waiting, None),
            DialState::Calling if attempt <= 1 => (PeerStatus::Starting, None),
            DialState::Calling => (PeerStatus::Reconnecting, None),
            DialState::Connected { session, .. } => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let millis = now.map(|since| since.as_millis()).unwrap_or_default();
                let at = WallTime::from_unix_millis(i64::try_from(millis).unwrap_or(i64::MAX));
                self.connected = Some((*session, at));
                self.errors.clear();
                (PeerStatus::Active, None)
            }
            DialState::Pausing { reason } => {
                (PeerStatus::Reconnecting, Some(told(reason, self.wish.protocol())))
            }
            DialState::Failed { reason } => {
                (PeerStatus::Failed, Some(told(reason, self.wish.protocol())))
            }
        };
        if let Some(error) = &error {
            self.fail(error.clone());
        }
        self.status = status;
        (status, error)
    }

    /// Remembers an error.
    pub(super) fn fail(&mut self, error: String) {
        if self.errors.len() == ERRORS_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
    }

    pub(super) fn snapshot(&self) -> PeerSnapshot {
        PeerSnapshot {
            input: self.wish.input,
            url: self.wish.shown.clone(),
            status: self.status,
            attempt: self.attempt,
            connected_at: self.connected.map(|(_, at)| at.as_unix_millis()),
            session: self.connected.map(|(session, _)| session.to_string()),
            errors: self.errors.iter().cloned().collect(),
        }
    }
}

impl PeerSnapshots {
    pub(super) fn take<'p>(&mut self, role: Role, peers: impl Iterator<Item = &'p Peer>) {
        let mut all: Vec<_> = peers.map(Peer::snapshot).collect();
        all.sort_by(|one, other| one.url.cmp(&other.url));
        match role {
            Role::Publish => self.pulls = all,
            Role::Play => self.pushes = all,
        }
    }
}

/// Why a peer is not connected, in words.
fn told(failure: &DialFailure, protocol: Protocol) -> String {
    match failure {
        DialFailure::Refused(code) => {
            // The code is said first, as the peer's people will ask for it.
            let text = RejectReason(*code).to_string();
            let text = text.strip_suffix(&format!(" (code {code})")).unwrap_or(&text);
            format!("the peer refuses with {code} ({text})")
        }
        DialFailure::Said(words) => {
            format!("the server says {words}; check the name of the stream and its key there")
        }
        DialFailure::Elsewhere(place) => {
            let place = masked_rtmp_url(place);
            format!(
                "the server says that the stream is at {place}; write that address, with its \
                 name and key there"
            )
        }
        DialFailure::NoAnswer if protocol == Protocol::Rtmp => {
            "the server does not answer; is it there, and does it speak RTMP at that port?"
                .to_owned()
        }
        DialFailure::NoAnswer => {
            "the peer does not answer; is it there, and is its UDP port open?".to_owned()
        }
        DialFailure::Socket(errno) => no_way(*errno),
        DialFailure::Limit(limit) => format!("this node is at its limit {limit}"),
        DialFailure::Ended(reason) => ended(reason),
    }
}

/// How a connection ended, in words.
fn ended(reason: &str) -> String {
    match reason {
        "busy" => "somebody else publishes the stream",
        "publish_idle" => "nothing came of the stream for too long; does anybody publish it there?",
        "stream_ended" => "the stream ended there",
        "peer_closed" => "the peer closed the connection; is its port right, and what it is asked?",
        "malformed" => {
            "what the peer sends cannot be read; is its port right, and what is spoken there?"
        }
        "tls_untrusted" => {
            "the server does not prove by its certificate that it is that host; let an authority \
             that this system trusts sign it, or set net.insecure_tls"
        }
        NO_AUTHORITIES => {
            "this system trusts no certificate at all, so that no server can prove who it is; \
             install the package ca-certificates, or name a file of certificates by SSL_CERT_FILE \
             in the environment of the node"
        }
        "tls_plain" => "the server speaks no TLS at that port; write rtmp://, or another port",
        other => return format!("the connection ended: {other}"),
    }
    .to_owned()
}

/// Why there is no way to a peer, and the mend, where the system's own words say neither.
fn no_way(errno: i32) -> String {
    let error = io::Error::from_raw_os_error(errno);
    let mend = match (errno, error.kind()) {
        (ENODEV, _) => "there is no interface of that name here; `ip link` lists them",
        (EMSGSIZE, _) => "a datagram of 1,344 bytes is too large for the way to it; mend its MTU",
        (_, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            "there is no route to it; add one, or name the interface"
        }
        (_, io::ErrorKind::ConnectionRefused) => {
            "nobody listens there; is the server up, and is the port right?"
        }
        (_, io::ErrorKind::TimedOut) => {
            "nobody answers there; is the host up, and does a firewall let this node through?"
        }
        (_, io::ErrorKind::AddrNotAvailable) => "its local address is none of this host",
        (EAFNOSUPPORT, _) | (_, io::ErrorKind::InvalidInput) => {
            "it cannot be reached from its local address; leave that out, or write another"
        }
        (_, io::ErrorKind::PermissionDenied) => {
            "this host lets nothing out to it; look at its firewall and routes, and name a group \
             of multicast instead of a broadcast address"
        }
        // Each shard has sockets of its own.
        (_, io::ErrorKind::AddrInUse) => {
            "another program has the local port, or a stream of another shard calls from it: write \
             another localport, or pin both streams to one shard"
        }
        _ => return format!("no socket for it: {error}"),
    };
    format!("{mend} ({error})")
}

/// The word for it in events.
pub(super) const fn word(failure: &DialFailure) -> &'static str {
    match failure {
        DialFailure::Refused(_) | DialFailure::Said(_) => "refused",
        DialFailure::Elsewhere(_) => "elsewhere",
        DialFailure::NoAnswer => "no_answer",
        DialFailure::Socket(_) => "socket",
        DialFailure::Limit(limit) => limit,
        DialFailure::Ended(reason) => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_with_their_code_and_what_it_means() {
        for (failure, says) in [
            (DialFailure::Refused(1401), "refuses with 1401 (the key is missing or wrong)"),
            (DialFailure::Refused(10), "refuses with 10 (the passphrases differ)"),
            (DialFailure::NoAnswer, "does not answer"),
            (DialFailure::Socket(EADDRINUSE), "Address already in use"),
            (DialFailure::Socket(EADDRINUSE), "another localport, or pin both streams"),
            (DialFailure::Socket(ENODEV), "no interface of that name"),
            (DialFailure::Socket(EMSGSIZE), "mend its MTU"),
            (DialFailure::Socket(ENETUNREACH), "no route to it"),
            (DialFailure::Socket(EADDRNOTAVAIL), "local address is none of this host"),
            (DialFailure::Socket(EINVAL), "leave that out"),
            (DialFailure::Socket(EAFNOSUPPORT), "leave that out"),
            (DialFailure::Socket(EPERM), "firewall"),
            (DialFailure::Socket(ECONNREFUSED), "nobody listens there"),
            (DialFailure::Socket(ETIMEDOUT), "nobody answers there"),
            (
                DialFailure::Said("NetStream.Play.Failed".into()),
                "says NetStream.Play.Failed; check",
            ),
            (DialFailure::Elsewhere("rtmp://h/a/b?key=x".into()), "at rtmp://h/a/***?***; write"),
            (DialFailure::Elsewhere("rtmp://h/a/***".into()), "at rtmp://h/a/***; write"),
            (DialFailure::Ended("tls_untrusted"), "net.insecure_tls"),
            (DialFailure::Ended(NO_AUTHORITIES), "by SSL_CERT_FILE"),
            (DialFailure::Ended("busy"), "somebody else publishes"),
        ] {
            let told = told(&failure, Protocol::Srt);
            assert!(told.contains(says), "{failure:?}: {told}");
        }
    }

    const ETIMEDOUT: i32 = 110;
    const ECONNREFUSED: i32 = 111;
    const EPERM: i32 = 1;
    const EINVAL: i32 = 22;
    const EADDRINUSE: i32 = 98;
    const EADDRNOTAVAIL: i32 = 99;
    const ENETUNREACH: i32 = 101;
}
