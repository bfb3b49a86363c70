//! A running node with one RTMP and one HTTP listener on loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use dataplane::Node;
use dataplane::config::{
    Admission, AuthConfig, Config, EgressConfig, HlsConfig, HlsSession, Limits, ListenerConfig,
    ListenerKind, Pin, SessionConfig, ShardConfig, SrtConfig, SrtSecret, StreamConfig,
};
use dataplane::ids::ShardId;
use dataplane::rates::Penalties;
use dataplane::reactor::{BackendChoice, ReactorConfig};
use dataplane::session::view_token::ViewKeys;

use super::control::Control;
use super::peer::TIME_BOUND;

/// What tokens of viewers are signed with at first.
pub(crate) const VIEW_KEYS: ViewKeys = ViewKeys { current: [1; 32], before: Vec::new() };

/// Two shards, two listeners, pages that are poisoned when freed.
pub(crate) fn config(choice: BackendChoice) -> Config {
    let listener = |kind| ListenerConfig::new(kind, "127.0.0.1:0".parse().unwrap());
    Config {
        shards: vec![ShardConfig { cpu: None }; 2],
        pins: Vec::new(),
        reactor: ReactorConfig {
            choice,
            sq_entries: 256,
            recv_buffers: 64,
            recv_buffer_bytes: 4096,
            ..ReactorConfig::default()
        },
        listeners: vec![listener(ListenerKind::Rtmp), listener(ListenerKind::Http)],
        tls: None,
        // Cases that poll ask more often than anybody else.
        limits: Limits { http_requests_max: u64::MAX, ..Limits::default() },
        // What a case may do must not hang on what the machine does beside it.
        egress: EgressConfig { admission: Admission::Off, ..EgressConfig::default() },
        // Viewers share what they are sent, unless a case tells them apart; and who publishes holds
        // the name, however slow the machine is.
        stream: StreamConfig {
            takeover_after: TIME_BOUND,
            hls: HlsConfig { session: HlsSession::Off, ..HlsConfig::default() },
            ..StreamConfig::default()
        },
        srt: SrtConfig::new(SrtSecret([1; 32])),
        view_keys: VIEW_KEYS,
        session: SessionConfig::default(),
        auth: AuthConfig::default(),
        page_bytes: 128 << 20,
        poison: true,
        demo: None,
    }
}

/// The smallest rings and buffers: every read is split, every queue overflows.
pub(crate) fn tiny(mut config: Config) -> Config {
    config.reactor.sq_entries = 8;
    config.reactor.recv_buffers = 4;
    config.reactor.recv_buffer_bytes = 64;
    config
}

/// A node that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    rtmps: Option<SocketAddr>,
    https: Option<SocketAddr>,
    listeners: Vec<ListenerConfig>,
    pub(crate) penalties: Arc<Penalties>,
    pub(crate) control: Control,
}

impl Server {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, Arc::default())
    }

    /// As [`Self::start`], for whom some may not come already.
    pub(crate) fn start_with(config: Config, penalties: Arc<Penalties>) -> Self {
        let node = Node::start_with(config, Arc::clone(&penalties)).unwrap();
        let of = |kind| node.listeners().iter().find(|(k, _)| *k == kind).map(|(_, addr)| *addr);
        let rtmp = of(ListenerKind::Rtmp).unwrap();
        let http = of(ListenerKind::Http).unwrap();
        let (rtmps, https) = (of(ListenerKind::Rtmps), of(ListenerKind::Https));
        let listener = |&(kind, addr): &_| ListenerConfig::new(kind, addr);
        let listeners = node.listeners().iter().map(listener).collect();
        let control = Control::start(node);
        Self { rtmp, http, rtmps, https, listeners, penalties, control }
    }

    /// What is listened on, ports resolved.
    pub(crate) fn listeners(&self) -> &[ListenerConfig] {
        &self.listeners
    }

    /// The listener of RTMPS, of a node that has TLS.
    pub(crate) fn rtmps(&self) -> SocketAddr {
        self.rtmps.unwrap()
    }

    /// The listener of HTTPS, of a node that has TLS.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https.unwrap()
    }

    /// As [`Self::start`], with the home of every stream on shard `home`.
    pub(crate) fn with_home(mut config: Config, home: u16) -> Self {
        config.pins = vec![Pin { pattern: "*".into(), shard: ShardId(home) }];
        Self::start(config)
    }
}

/// Runs each function on both backends, with two shards.
#[macro_export]
macro_rules! on_both_backends {
    ($($case:ident)*) => {$(
        mod $case {
            #[test]
            fn io_uring() {
                super::$case(super::node::config(dataplane::reactor::BackendChoice::IoUring));
            }

            #[test]
            fn epoll() {
                super::$case(super::node::config(dataplane::reactor::BackendChoice::Epoll));
            }
        }
    )*};
}
