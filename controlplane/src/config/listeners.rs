//! `[listeners.*]`: where peers connect.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use dataplane::config::{Latency, ListenerConfig, ListenerKind, ListenerNumber};
use dataplane::ids::{ShardId, ShardSet};
use dataplane::rates::Rate;

use super::document::Datum;
use super::field::{Bounds, Field, words};
use super::key::{Key, Section};
use super::srt::{self, SrtListeners};
use crate::auth::{Mode, Ways};

/// More listeners of one protocol at most.
const ALSO_MAX: usize = 8;

/// A listener of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaListener {
    /// It is opened at all.
    pub enabled: bool,
    /// Where it listens.
    pub addr: Vec<SocketAddr>,
    /// Which shards accept there.
    pub shards: ShardList,
    /// The class of its players.
    pub latency: Latency,
    /// How those are judged who come by it, where that is said.
    pub auth: Ways,
    /// Balancers tell there whose their connections are.
    pub proxy_protocol: bool,
    /// More listeners of this protocol.
    pub also: Vec<AlsoListener>,
}

/// One more listener of a protocol, with shards and a class of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlsoListener {
    /// Where it listens.
    pub addr: Vec<SocketAddr>,
    /// Which shards accept there.
    pub shards: ShardList,
    /// The class of its players.
    pub latency: Latency,
    /// How those are judged who come by it, where that is said.
    pub auth: Ways,
    /// Balancers tell there whose their connections are.
    pub proxy_protocol: bool,
}

/// Shards by number; empty for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardList(pub Vec<u16>);

impl MediaListener {
    /// What is to be opened for it.
    pub fn configs(&self, kind: ListenerKind) -> impl Iterator<Item = ListenerConfig> {
        let own = (&self.addr, &self.shards, self.latency, self.proxy_protocol);
        let also = self
            .also
            .iter()
            .map(|also| (&also.addr, &also.shards, also.latency, also.proxy_protocol));
        let all = std::iter::once(own).chain(also).zip(numbers(kind));
        all.flat_map(move |((addrs, shards, latency, proxied), number)| {
            let shards = shards.set();
            addrs.iter().map(move |&addr| ListenerConfig {
                kind,
                addr,
                shards,
                latency,
                number,
                proxied,
            })
        })
    }

    /// How those are judged who come by each of its listeners, where that is said.
    pub(super) fn ways(&self, kind: ListenerKind) -> impl Iterator<Item = (ListenerNumber, Ways)> {
        let also = self.also.iter().map(|also| also.auth);
        let all = numbers(kind).zip(std::iter::once(self.auth).chain(also));
        all.filter(|(_, ways)| !ways.is_empty())
    }

    /// True if heads of the PROXY protocol are expected at any of its addresses.
    pub(super) fn takes_proxy_protocol(&self) -> bool {
        self.proxy_protocol || self.also.iter().any(|also| also.proxy_protocol)
    }

    /// Its lists of shards, and whether each is of one of the further listeners.
    pub(super) fn shard_lists(&self) -> impl Iterator<Item = (bool, &ShardList)> {
        let also = self.also.iter().map(|also| (true, &also.shards));
        std::iter::once((false, &self.shards)).chain(also)
    }
}

/// What the listeners of a protocol are called in questions: whoever came by one is judged by what
/// is said of it when he asks, also after a reload.
fn numbers(kind: ListenerKind) -> impl Iterator<Item = ListenerNumber> {
    let first = match kind {
        ListenerKind::Rtmp => 1,
        ListenerKind::Http => 2,
        ListenerKind::Rtmps => 3,
        ListenerKind::Https => 4,
        ListenerKind::Srt => unreachable!("those have numbers of their own"),
    };
    (0..=ALSO_MAX as u8).map(move |also| ListenerNumber(first + 4 * also))
}

/// What the file calls the listener of that number; `attached` if it is one of a streaming server
/// that is attached, and none of ours.
#[must_use]
pub fn listener_name(number: ListenerNumber) -> &'static str {
    if SrtListeners::has(number) {
        return "srt";
    }
    let kinds = [
        (ListenerKind::Rtmp, "rtmp"),
        (ListenerKind::Http, "http"),
        (ListenerKind::Rtmps, "rtmps"),
        (ListenerKind::Https, "https"),
    ];
    let mut of = kinds.into_iter().filter(|(kind, _)| numbers(*kind).any(|own| own == number));
    of.next().map_or("attached", |(_, name)| name)
}

impl ShardList {
    fn set(&self) -> ShardSet {
        match self.0.as_slice() {
            [] => ShardSet::ALL,
            shards => shards.iter().copied().map(ShardId).collect(),
        }
    }
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
    /// Balancers tell there whose their connections are.
    pub proxy_protocol: bool,
    /// Calls of one address a second.
    pub calls_per_second_max: u64,
    /// Calls of one address at one time.
    pub calls_burst_max: u64,
}

impl ControlListener {
    /// How often one address may call.
    #[must_use]
    pub const fn calls(&self) -> Rate {
        Rate { per_second: self.calls_per_second_max, burst: self.calls_burst_max }
    }
}

/// The listener of the API inside TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTlsListener {
    /// It is opened; it needs a certificate.
    pub enabled: bool,
    /// Where it listens.
    pub addr: SocketAddr,
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
    /// `[listeners.srt]`
    pub srt: SrtListeners,
    /// `[listeners.control]`
    pub control: ControlListener,
    /// `[listeners.control_tls]`
    pub control_tls: ControlTlsListener,
}

impl Default for ListenersSection {
    fn default() -> Self {
        let everywhere = |port| MediaListener {
            enabled: true,
            addr: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))],
            shards: ShardList::default(),
            latency: Latency::Auto,
            auth: Ways::default(),
            proxy_protocol: false,
            also: Vec::new(),
        };
        Self {
            rtmp: everywhere(1935),
            http: everywhere(8080),
            rtmps: everywhere(1936),
            https: everywhere(8443),
            srt: SrtListeners::default(),
            control: ControlListener {
                enabled: true,
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
                hosts: Vec::new(),
                connections_max: 64,
                proxy_protocol: false,
                calls_per_second_max: 100,
                calls_burst_max: 400,
            },
            control_tls: ControlTlsListener {
                enabled: false,
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 8453)),
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
            "https" => self.https.enabled,
            _ => self.control_tls.enabled,
        }
    }

    /// How those are judged who come by each listener of media, where that is said; those of SRT
    /// are what they were in `started`, as far as they stay so.
    pub(super) fn ways(&self, started: &Self) -> impl Iterator<Item = (ListenerNumber, Ways)> {
        let kinds = [
            (ListenerKind::Rtmp, &self.rtmp),
            (ListenerKind::Http, &self.http),
            (ListenerKind::Rtmps, &self.rtmps),
            (ListenerKind::Https, &self.https),
        ];
        let connected = kinds.into_iter().flat_map(|(kind, listener)| listener.ways(kind));
        let srt: Vec<_> = self.srt.beside(&started.srt).ways().collect();
        connected.chain(srt)
    }

    /// True if `mode` is said of a listener of media.
    #[must_use]
    pub fn asks(&self, mode: Mode) -> bool {
        self.ways(self).any(|(_, ways)| ways.contains(mode))
    }

    /// The listeners of media, with their names.
    pub(super) const fn media(&self) -> [(&'static str, &MediaListener); 4] {
        [("rtmp", &self.rtmp), ("http", &self.http), ("rtmps", &self.rtmps), ("https", &self.https)]
    }
}

const ENABLED: &str = "Whether it is opened.";
const ENABLED_TLS: &str = "Whether it is opened once tls.certificate or acme.domains is set.";
const ADDR: &str = "Where it listens, one address or a list. `[::]` takes IPv4 and IPv6; without \
                    IPv6 the default is `0.0.0.0`. Port 0 takes a free port.";

const SHARDS: &str = "The shards that accept there, as [0, 1], or \"all\". They serve the players \
                      that they accept; publishers go to the home of their stream.";
const LATENCY: &str = "\"auto\": players are sent frames by the flush interval of their shard. \
                       \"low\": each frame at once, at several times the cost under load. \
                       ?latency=low and ?latency=auto in an address decide for one player.";
const AUTH: &str = "How those are judged who come by it, where that is not as in [auth]: modes as \
                    in auth.mode, or { publish = [\"keys\"], play = [\"open\"] }; \"\" says \
                    nothing. What is said of a stream or its template comes before it.";
const PROXY_PROTOCOL: &str = "Whether the balancers among session.proxies begin with a head of the \
                              PROXY protocol, version 1 or 2, which tells whose a connection is. \
                              Those that do not are refused; others come as they are.";
const CONTROL_PROXY_PROTOCOL: &str = "As above, for the API, with TLS and without.";
const ALSO: &str = "More listeners of this protocol, with shards and a class of their own. In the \
                    file: tables with addr and, if wanted, shards, latency, auth and \
                    proxy_protocol.";

words!(Latency {
    "auto" => Latency::Auto,
    "low" => Latency::Low,
});

impl Field for ShardList {
    fn expects(&self, _: &Bounds) -> String {
        "\"all\" or a list of shard numbers such as [0, 1]".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        self.0 = match datum {
            Datum::Text(text) if text == "all" => Vec::new(),
            Datum::List(items) if !items.is_empty() => {
                let shard = |item: &Datum| match item {
                    Datum::Integer(shard) => u16::try_from(*shard).ok(),
                    _ => None,
                };
                items.iter().map(shard).collect::<Option<_>>()?
            }
            _ => return None,
        };
        Some(())
    }
    fn render(&self) -> String {
        if self.0.is_empty() { "\"all\"".to_owned() } else { format!("{:?}", self.0) }
    }
}

impl Field for Vec<AlsoListener> {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[listeners.rtmp.also]] of an addr and, if wanted, shards, latency, auth and \
             proxy_protocol such as addr = \"[::]:1937\" and latency = \"low\", at most {ALSO_MAX}"
        )
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let also = items.iter().map(|item| also(item, bounds)).collect::<Option<Self>>()?;
        (also.len() <= ALSO_MAX).then(|| *self = also)
    }
    fn render(&self) -> String {
        let table = |also: &AlsoListener| {
            let (addr, shards) = (also.addr.render(), also.shards.render());
            let latency = also.latency.render();
            let (auth, proxied) = (also.auth.render(), also.proxy_protocol);
            format!(
                "{{ addr = {addr}, shards = {shards}, latency = {latency}, auth = {auth}, \
                 proxy_protocol = {proxied} }}"
            )
        };
        format!("[{}]", self.iter().map(table).collect::<Vec<_>>().join(", "))
    }
}

fn also(datum: &Datum, bounds: &Bounds) -> Option<AlsoListener> {
    let Datum::Table(fields) = datum else { return None };
    let mut also = AlsoListener::default();
    for (key, value) in fields {
        match key.as_str() {
            "addr" => also.addr.read(value, bounds)?,
            "shards" => also.shards.read(value, bounds)?,
            "latency" => also.latency.read(value, bounds)?,
            "auth" => also.auth.read(value, bounds)?,
            "proxy_protocol" => also.proxy_protocol.read(value, bounds)?,
            _ => return None,
        }
    }
    (!also.addr.is_empty()).then_some(also)
}

const RTMP: &[Key] = &[
    Key::new("enabled", ENABLED, |s| &mut s.listeners.rtmp.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.rtmp.addr).now(),
    Key::new("shards", SHARDS, |s| &mut s.listeners.rtmp.shards).now(),
    Key::new("latency", LATENCY, |s| &mut s.listeners.rtmp.latency).now(),
    Key::new("auth", AUTH, |s| &mut s.listeners.rtmp.auth).now(),
    Key::new("proxy_protocol", PROXY_PROTOCOL, |s| &mut s.listeners.rtmp.proxy_protocol).now(),
    Key::new("also", ALSO, |s| &mut s.listeners.rtmp.also).now(),
];

const HTTP: &[Key] = &[
    Key::new("enabled", ENABLED, |s| &mut s.listeners.http.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.http.addr).now(),
    Key::new("shards", SHARDS, |s| &mut s.listeners.http.shards).now(),
    Key::new("latency", LATENCY, |s| &mut s.listeners.http.latency).now(),
    Key::new("auth", AUTH, |s| &mut s.listeners.http.auth).now(),
    Key::new("proxy_protocol", PROXY_PROTOCOL, |s| &mut s.listeners.http.proxy_protocol).now(),
    Key::new("also", ALSO, |s| &mut s.listeners.http.also).now(),
];

const RTMPS: &[Key] = &[
    Key::new("enabled", ENABLED_TLS, |s| &mut s.listeners.rtmps.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.rtmps.addr).now(),
    Key::new("shards", SHARDS, |s| &mut s.listeners.rtmps.shards).now(),
    Key::new("latency", LATENCY, |s| &mut s.listeners.rtmps.latency).now(),
    Key::new("auth", AUTH, |s| &mut s.listeners.rtmps.auth).now(),
    Key::new("proxy_protocol", PROXY_PROTOCOL, |s| &mut s.listeners.rtmps.proxy_protocol).now(),
    Key::new("also", ALSO, |s| &mut s.listeners.rtmps.also).now(),
];

const HTTPS: &[Key] = &[
    Key::new("enabled", ENABLED_TLS, |s| &mut s.listeners.https.enabled).now(),
    Key::new("addr", ADDR, |s| &mut s.listeners.https.addr).now(),
    Key::new("shards", SHARDS, |s| &mut s.listeners.https.shards).now(),
    Key::new("latency", LATENCY, |s| &mut s.listeners.https.latency).now(),
    Key::new("auth", AUTH, |s| &mut s.listeners.https.auth).now(),
    Key::new("proxy_protocol", PROXY_PROTOCOL, |s| &mut s.listeners.https.proxy_protocol).now(),
    Key::new("also", ALSO, |s| &mut s.listeners.https.also).now(),
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
        "Connections at most, those inside TLS included: a new one closes the one that has been \
         quiet for longest, or one of the address that holds most. Each costs about 32 KiB.",
        |s| &mut s.listeners.control.connections_max,
    )
    .range(1, 4_096),
    Key::new("proxy_protocol", CONTROL_PROXY_PROTOCOL, |s| &mut s.listeners.control.proxy_protocol),
    Key::new(
        "calls_per_second_max",
        "Requests of one address (IPv6: one /64) in a second, for as long as it goes on; of an \
         IPv4 /24 or IPv6 /56 four times as many. One too many hears 429. limits.exempt are not \
         bound.",
        |s| &mut s.listeners.control.calls_per_second_max,
    )
    .range(1, 1_000_000)
    .now(),
    Key::new("calls_burst_max", "The same at one time.", |s| {
        &mut s.listeners.control.calls_burst_max
    })
    .range(1, 1_000_000)
    .now(),
];

const CONTROL_TLS: &[Key] = &[
    Key::new(
        "enabled",
        "Whether it is opened; it needs tls.certificate or acme.domains. The listener without TLS \
         may be open beside it, or not.",
        |s| &mut s.listeners.control_tls.enabled,
    ),
    Key::new("addr", "Where it listens.", |s| &mut s.listeners.control_tls.addr),
];

pub(super) fn sections() -> [Section; 7] {
    [
        Section::new("listeners.rtmp", "RTMP: publish and play.", RTMP),
        Section::new("listeners.http", "HTTP: pages and HTTP-FLV.", HTTP),
        Section::new("listeners.rtmps", "RTMP inside TLS: publish and play.", RTMPS),
        Section::new("listeners.https", "HTTP inside TLS: pages and media.", HTTPS),
        srt::listener(),
        Section::new("listeners.control", "API, metrics and health.", CONTROL),
        Section::new(
            "listeners.control_tls",
            "API, metrics and health inside TLS: hosts and connections_max are those above.",
            CONTROL_TLS,
        ),
    ]
}
