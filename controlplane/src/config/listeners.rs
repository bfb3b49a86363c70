//! `[listeners.*]`: where peers connect.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::key::{Key, Section};

/// A listener of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaListener {
    /// It is opened at all.
    pub enabled: bool,
    /// Where it listens.
    pub addr: Vec<SocketAddr>,
}

/// The listener of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlListener {
    /// It is opened at all.
    pub enabled: bool,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Names that a request may address besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// Connections at most.
    pub connections_max: u32,
}

/// `[listeners.*]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenersSection {
    /// `[listeners.rtmp]`
    pub rtmp: MediaListener,
    /// `[listeners.http]`
    pub http: MediaListener,
    /// `[listeners.rtmps]`; it needs a certificate.
    pub rtmps: MediaListener,
    /// `[listeners.https]`; it needs a certificate.
    pub https: MediaListener,
    /// `[listeners.control]`
    pub control: ControlListener,
}

impl Default for ListenersSection {
    fn default() -> Self {
        let everywhere = |port| MediaListener {
            enabled: true,
            addr: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))],
        };
        Self {
            rtmp: everywhere(1935),
            http: everywhere(8080),
            rtmps: everywhere(1936),
            https: everywhere(8443),
            control: ControlListener {
                enabled: true,
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
                hosts: Vec::new(),
                connections_max: 64,
            },
        }
    }
}

impl ListenersSection {
    /// True if the listener of that name is to be opened once there is a certificate.
    #[must_use]
    pub fn tls_wanted(&self, name: &str) -> bool {
        match name {
            "rtmps" => self.rtmps.enabled,
            _ => self.https.enabled,
        }
    }
}

const ENABLED: &str = "Whether it is opened.";
const ENABLED_TLS: &str = "Whether it is opened once tls.certificate is set.";
const ADDR: &str = "Where it listens, one address or a list. `[::]` takes IPv4 and IPv6; without \
                    IPv6 the default is `0.0.0.0`. Port 0 takes a free port.";

const RTMP: &[Key] = &[
    Key::new("enabled", ENABLED, |s| &mut s.listeners.rtmp.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.rtmp.addr).now(),
];

const HTTP: &[Key] = &[
    Key::new("enabled", ENABLED, |s| &mut s.listeners.http.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.http.addr).now(),
];

const RTMPS: &[Key] = &[
    Key::new("enabled", ENABLED_TLS, |s| &mut s.listeners.rtmps.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.rtmps.addr).now(),
];

const HTTPS: &[Key] = &[
    Key::new("enabled", ENABLED_TLS, |s| &mut s.listeners.https.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.https.addr).now(),
];

const CONTROL: &[Key] = &[
    Key::new("enabled", ENABLED, |s| &mut s.listeners.control.enabled),
    Key::new("addr", "Where it listens.", |s| &mut s.listeners.control.addr),
    Key::new(
        "hosts",
        "Names that a request's Host may have besides `localhost` and IP addresses.",
        |s| &mut s.listeners.control.hosts,
    ),
    Key::new(
        "connections_max",
        "Connections at most; more wait in the kernel. Each costs about 32 KiB.",
        |s| &mut s.listeners.control.connections_max,
    )
    .range(1, 4_096),
];

pub(super) fn sections() -> [Section; 5] {
    [
        Section::new("listeners.rtmp", "RTMP: publish and play.", RTMP),
        Section::new("listeners.http", "HTTP: pages and HTTP-FLV.", HTTP),
        Section::new("listeners.rtmps", "RTMP inside TLS: publish and play.", RTMPS),
        Section::new("listeners.https", "HTTP inside TLS: pages and media.", HTTPS),
        Section::new("listeners.control", "API, metrics and health.", CONTROL),
    ]
}
