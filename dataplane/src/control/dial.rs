//! Peers that a shard connects to by itself: whom it pulls from, and whom it pushes to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codecs::srt::{KeyLength, Passphrase};

use crate::ids::{Secret, SessionId, StreamId, StreamName};
use crate::session::mpegts::TransportTerms;
use crate::session::rtmp::client::Address;
use crate::session::tls::TlsTrust;

/// Names a dial in what is told of it; the control plane never uses one twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialNumber(pub u64);

/// A peer that a shard connects to until it is told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Names it.
    pub number: DialNumber,
    /// Where it is: each attempt takes the next one.
    pub addrs: Arc<[SocketAddr]>,
    /// What is spoken.
    pub peer: Arc<DialPeer>,
    /// The first pause between two attempts, which doubles up to a bound.
    pub pause: Duration,
    /// Attempts in a row that may fail before it is given up; endless if 0.
    pub attempts_max: u32,
}

/// What is spoken with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialPeer {
    /// MPEG-TS over SRT.
    Srt(SrtPeer),
    /// RTMP: a pull alone.
    Rtmp(RtmpPeer),
    /// MPEG-TS in datagrams, which nobody answers: a push alone.
    Udp(Arc<UdpPeer>),
}

/// Who is sent datagrams, a host or a group of multicast, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpPeer {
    /// Each datagram begins with a header of RTP.
    pub is_rtp: bool,
    /// Routers that a datagram to a group may pass.
    pub ttl: u8,
    /// The network interface by which datagrams leave; the routes say without.
    pub interface: Option<Arc<str>>,
    /// The address that they are sent from; the routes say without.
    pub local: Option<IpAddr>,
}

/// An SRT peer: how it is called, and what is agreed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtPeer {
    /// It calls us, too.
    pub rendezvous: bool,
    /// What it is called for; nothing is said if it is empty.
    pub stream_id: Secret,
    /// The secret of both; without one nothing is encrypted.
    pub passphrase: Option<Passphrase>,
    /// The length of the keys that are made here.
    pub key_length: KeyLength,
    /// How long a lost packet may be waited for here; as everybody's without.
    pub latency: Option<Duration>,
    /// The least that the peer is asked to wait.
    pub peer_latency: Option<Duration>,
    /// How long a handshake may take.
    pub connect_timeout: Duration,
    /// Where it is called from: any address, or any port, if it is unspecified.
    pub local: Option<SocketAddr>,
    /// What is chosen of the stream that it sends.
    pub transport: TransportTerms,
}

/// A server of RTMP that a stream is played from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpPeer {
    /// What is asked for, and of whom.
    pub address: Address,
    /// Who is believed inside TLS, if it is spoken.
    pub trust: Option<TlsTrust>,
    /// How long it may take until the server plays.
    pub connect_timeout: Duration,
    /// The publication that it is, if it was let in as one.
    pub publication: Option<Publication>,
}

/// A publication that was let in at the server that it is pulled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its number.
    pub id: StreamId,
    /// What its publisher showed.
    pub key: Secret,
}

/// What became of a dial.
#[derive(Clone, Debug)]
pub struct DialNews {
    /// Which.
    pub number: DialNumber,
    /// The stream that it is for.
    pub stream: StreamName,
    /// How it is now.
    pub state: DialState,
    /// Attempts since it was connected last, this one included.
    pub attempt: u32,
}

/// How a dial is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialState {
    /// Nobody publishes what would be pushed, or somebody else publishes what would be pulled.
    Waiting,
    /// The peer is called.
    Calling,
    /// Media flows, or will; where nobody answers, it is sent.
    Connected {
        /// The session.
        session: SessionId,
        /// Where the peer is.
        peer: SocketAddr,
    },
    /// It failed and is tried again after a pause.
    Pausing {
        /// Why it failed.
        reason: DialFailure,
    },
    /// It failed as often as it may.
    Failed {
        /// Why it failed last.
        reason: DialFailure,
    },
}

/// Why a peer could not be reached, or why its connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// The peer refused, with this code of SRT.
    Refused(u32),
    /// The peer refused, in these words of RTMP.
    Said(Arc<str>),
    /// The peer says that the stream is to be had there.
    Elsewhere(Arc<str>),
    /// It did not answer.
    NoAnswer,
    /// The socket could not be opened, or nothing could be sent, with this number of the system.
    Socket(i32),
    /// A limit of this node.
    Limit(&'static str),
    /// The connection stood and ended.
    Ended(&'static str),
}
