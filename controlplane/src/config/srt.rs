//! `[listeners.srt]` and `[srt]`: where SRT peers send their datagrams, and how they are served.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use codecs::srt::Passphrase;
use dataplane::config::{
    Latency, ListenerConfig, ListenerKind, ListenerNumber, SrtConfig, SrtListener, SrtSecret,
};
use dataplane::control::Role;
use dataplane::ids::{Secret, StreamName};

use super::document::Datum;
use super::field::{Bounds, Field, quoted, words};
use super::key::{Key, Section};
use crate::auth::Ways;

/// More listeners of SRT at most.
const ALSO_MAX: usize = 8;
/// The number of the first one; those of listeners of connections lie below.
const FIRST_NUMBER: u8 = 41;

/// A listener of SRT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramListener {
    /// Where it listens.
    pub addr: Vec<SocketAddr>,
    /// The class of its players.
    pub latency: Latency,
    /// How those are judged who come by it, where that is said.
    pub auth: Ways,
    /// The stream of a peer that names none.
    pub stream: DefaultStream,
    /// What a peer does that does not say it.
    pub mode: Role,
}

/// `[listeners.srt]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtListeners {
    /// They are opened at all.
    pub enabled: bool,
    /// The first one.
    pub first: DatagramListener,
    /// More of them.
    pub also: Vec<DatagramListener>,
}

/// A stream's name, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultStream(pub Option<StreamName>);

/// A passphrase of legal length, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SrtPassphrase(Secret);

/// `[srt]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtSection {
    /// How long a lost packet may be waited for.
    pub latency: Duration,
    /// The secret of all peers.
    pub passphrase: SrtPassphrase,
    /// A peer that says nothing for this long is gone.
    pub idle_timeout: Duration,
}

impl Default for DatagramListener {
    fn default() -> Self {
        Self {
            addr: Vec::new(),
            latency: Latency::Auto,
            auth: Ways::default(),
            stream: DefaultStream::default(),
            mode: Role::Play,
        }
    }
}

impl Default for SrtListeners {
    fn default() -> Self {
        let addr = vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8890))];
        let first = DatagramListener { addr, ..DatagramListener::default() };
        Self { enabled: false, first, also: Vec::new() }
    }
}

impl Default for SrtSection {
    fn default() -> Self {
        let SrtConfig { latency, idle_timeout, .. } = SrtConfig::new(SrtSecret([0; 32]));
        Self { latency, passphrase: SrtPassphrase::default(), idle_timeout }
    }
}

impl SrtListeners {
    fn numbered(&self) -> impl Iterator<Item = (ListenerNumber, &DatagramListener)> {
        let numbers = (FIRST_NUMBER..).map(ListenerNumber);
        numbers.zip(std::iter::once(&self.first).chain(&self.also))
    }

    /// What is to be opened: a socket of every shard at each address.
    pub fn configs(&self) -> impl Iterator<Item = ListenerConfig> {
        self.numbered().filter(|_| self.enabled).flat_map(|(number, listener)| {
            listener.addr.iter().map(move |&addr| ListenerConfig {
                latency: listener.latency,
                number,
                ..ListenerConfig::new(ListenerKind::Srt, addr)
            })
        })
    }

    /// What of it holds in a process that was started with `started`: where peers come, and the
    /// further listeners with all that is said of them, stay until the next start. Sockets keep
    /// their numbers so long, and what is said of a number is meant for one of them.
    #[must_use]
    pub fn beside(&self, started: &Self) -> Self {
        let DatagramListener { auth, stream, mode, .. } = self.first.clone();
        let first = DatagramListener { auth, stream, mode, ..started.first.clone() };
        Self { first, ..started.clone() }
    }

    /// How those are judged who come by each of them, where that is said.
    pub(super) fn ways(&self) -> impl Iterator<Item = (ListenerNumber, Ways)> {
        let all = self.numbered().map(|(number, listener)| (number, listener.auth));
        all.filter(|(_, ways)| !ways.is_empty())
    }

    /// True if `number` names one of them.
    pub(super) const fn has(number: ListenerNumber) -> bool {
        number.0 >= FIRST_NUMBER && number.0 <= FIRST_NUMBER + ALSO_MAX as u8
    }

    /// What is said of each of them to the data plane.
    pub(super) fn said(&self) -> Vec<(ListenerNumber, SrtListener)> {
        let said = |(number, listener): (_, &DatagramListener)| {
            let DatagramListener { stream, mode: role, .. } = listener;
            (number, SrtListener { stream: stream.0.clone(), role: *role })
        };
        self.numbered().map(said).collect()
    }

    /// What the data plane is told.
    #[must_use]
    pub fn node(&self, section: &SrtSection, secret: SrtSecret) -> SrtConfig {
        SrtConfig {
            latency: section.latency,
            passphrase: section.passphrase.parsed(),
            idle_timeout: section.idle_timeout,
            listeners: self.said(),
            ..SrtConfig::new(secret)
        }
    }
}

impl SrtPassphrase {
    fn parsed(&self) -> Option<Passphrase> {
        Passphrase::new(self.0.0.as_bytes()).ok()
    }
}

impl Field for SrtPassphrase {
    fn expects(&self, _: &Bounds) -> String {
        "10 to 80 bytes of text, or \"\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let mut secret = Secret::default();
        secret.read(datum, bounds)?;
        let passphrase = Self(secret);
        let legal = passphrase.0.0.is_empty() || passphrase.parsed().is_some();
        legal.then(|| *self = passphrase)
    }
    fn render(&self) -> String {
        self.0.render()
    }
}

impl Field for DefaultStream {
    fn expects(&self, _: &Bounds) -> String {
        "a stream's name such as \"studio/a\", or \"\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        self.0 = if text.is_empty() { None } else { Some(StreamName::parse(text)?) };
        Some(())
    }
    fn render(&self) -> String {
        quoted(self.0.as_ref().map_or("", StreamName::as_str))
    }
}

words!(Role {
    "play" => Role::Play,
    "publish" => Role::Publish,
});

impl Field for Vec<DatagramListener> {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[listeners.srt.also]] of an addr and, if wanted, latency, auth, stream and \
             mode such as addr = \"[::]:8891\" and stream = \"studio/a\", at most {ALSO_MAX}"
        )
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let also = items.iter().map(|item| also(item, bounds)).collect::<Option<Self>>()?;
        (also.len() <= ALSO_MAX).then(|| *self = also)
    }
    fn render(&self) -> String {
        let table = |also: &DatagramListener| {
            let (addr, latency, auth) =
                (also.addr.render(), also.latency.render(), also.auth.render());
            let (stream, mode) = (also.stream.render(), also.mode.render());
            format!(
                "{{ addr = {addr}, latency = {latency}, auth = {auth}, stream = {stream}, \
                 mode = {mode} }}"
            )
        };
        format!("[{}]", self.iter().map(table).collect::<Vec<_>>().join(", "))
    }
}

fn also(datum: &Datum, bounds: &Bounds) -> Option<DatagramListener> {
    let Datum::Table(fields) = datum else { return None };
    let mut also = DatagramListener::default();
    for (key, value) in fields {
        match key.as_str() {
            "addr" => also.addr.read(value, bounds)?,
            "latency" => also.latency.read(value, bounds)?,
            "auth" => also.auth.read(value, bounds)?,
            "stream" => also.stream.read(value, bounds)?,
            "mode" => also.mode.read(value, bounds)?,
            _ => return None,
        }
    }
    (!also.addr.is_empty()).then_some(also)
}

const LISTENER: &[Key] = &[
    Key::new(
        "enabled",
        "Whether it is opened. Each shard then has a socket of its own at each address, which asks \
         the kernel for 8 MiB to receive and 4 MiB to send.",
        |s| &mut s.listeners.srt.enabled,
    ),
    Key::new(
        "addr",
        "Where it listens (UDP), one address or a list. `[::]` takes IPv4 and IPv6; without IPv6 \
         the default is `0.0.0.0`. Port 0 takes a free port.",
        |s| &mut s.listeners.srt.first.addr,
    ),
    Key::new(
        "latency",
        "The class of its players, as of the other listeners. How long a lost packet is waited for \
         is srt.latency_ms.",
        |s| &mut s.listeners.srt.first.latency,
    ),
    Key::new(
        "auth",
        "How those are judged who come by it, where that is not as in [auth]: modes as in \
         auth.mode, or { publish = [\"keys\"], play = [\"open\"] }; \"\" says nothing.",
        |s| &mut s.listeners.srt.first.auth,
    )
    .now(),
    Key::new(
        "stream",
        "The stream of a peer whose stream id names none, for encoders that send no stream id; \
         without it they are refused.",
        |s| &mut s.listeners.srt.first.stream,
    )
    .now(),
    Key::new(
        "mode",
        "What a peer does whose stream id does not say it: \"play\" or \"publish\".",
        |s| &mut s.listeners.srt.first.mode,
    )
    .now(),
    Key::new(
        "also",
        "More listeners of SRT. In the file: tables with addr and, if wanted, latency, auth, \
         stream and mode.",
        |s| &mut s.listeners.srt.also,
    ),
];

const KEYS: &[Key] = &[
    Key::new(
        "latency_ms",
        "How long a lost packet is waited for, which is how far behind its peer a side is; a peer \
         may ask for more. Four round trips at least.",
        |s| &mut s.srt.latency,
    )
    .millis()
    .range(20, 60_000)
    .now(),
    Key::new(
        "passphrase",
        "The secret of all peers, 10 to 80 bytes: everything is encrypted then, with keys as long \
         as the peer makes them, and whoever has another secret, or none, is refused. \"\" \
         encrypts nothing. A stream with a srt_passphrase of its own has that instead, and so has \
         one to which an application gives one.",
        |s| &mut s.srt.passphrase,
    )
    .secret()
    .now(),
    Key::new("idle_timeout_ms", "A peer that says nothing for this long is gone.", |s| {
        &mut s.srt.idle_timeout
    })
    .millis()
    .range(2_000, 60_000)
    .now(),
];

pub(super) fn listener() -> Section {
    Section::new("listeners.srt", "SRT (UDP): publish and play MPEG-TS.", LISTENER)
}

pub(super) fn section() -> Section {
    Section::new("srt", "How SRT peers are served who come from now on.", KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Mode;
    use crate::config::{Host, listener_name, load, plan};

    fn settings(env: &[(&str, &str)]) -> Option<crate::config::Settings> {
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        load(None, env).ok().map(|loaded| loaded.settings)
    }

    #[test]
    fn each_listener_has_a_stream_and_a_mode_of_its_own() {
        let also = "[{ addr = '127.0.0.1:8891', stream = 'studio/a', mode = 'publish' }]";
        let settings = settings(&[
            ("GRANDSTAND_LISTENERS__SRT__ENABLED", "true"),
            ("GRANDSTAND_LISTENERS__SRT__ALSO", also),
            ("GRANDSTAND_SRT__PASSPHRASE", "0123456789"),
        ])
        .unwrap();
        let srt = &settings.listeners.srt;
        let configs: Vec<_> = srt.configs().collect();
        assert_eq!(configs.len(), 2);
        assert!(configs.iter().all(|config| listener_name(config.number) == "srt"));
        let node = srt.node(&settings.srt, SrtSecret([1; 32]));
        assert_eq!(node.listener(configs[0].number), SrtListener::default());
        let studio = node.listener(configs[1].number);
        assert_eq!(studio.stream.as_ref().map(StreamName::as_str), Some("studio/a"));
        assert_eq!((studio.role, node.passphrase.is_some()), (Role::Publish, true));
        assert_eq!(srt.also.render().matches("mode = \"publish\"").count(), 1);
    }

    #[test]
    fn a_port_keeps_its_stream_when_a_reload_lists_others() {
        let loaded = |also: &[(u16, &str)]| {
            let table = |&(port, stream): &(u16, &str)| {
                format!(
                    "{{ addr = '127.0.0.1:{port}', stream = '{stream}', mode = 'publish', \
                     auth = {{ publish = ['{}'] }} }}",
                    if stream == "a" { "open" } else { "keys" }
                )
            };
            let also = also.iter().map(table).collect::<Vec<_>>().join(", ");
            let env = [
                ("GRANDSTAND_LISTENERS__SRT__ENABLED", "true".to_owned()),
                ("GRANDSTAND_LISTENERS__SRT__STREAM", format!("first{}", also.len())),
                ("GRANDSTAND_LISTENERS__SRT__ALSO", format!("[{also}]")),
            ];
            load(None, env.map(|(name, value)| (name.to_owned(), value))).unwrap()
        };
        let (started, changed) = (loaded(&[(8891, "a"), (8892, "b")]), loaded(&[(8892, "b")]));
        let host = Host::detect();
        let running = plan(&started, &host, b"").unwrap();
        let numbers: Vec<_> =
            running.node.listeners.iter().filter(|l| l.kind.is_datagram()).collect();
        let reload = plan(&changed, &host, b"").unwrap().reload(&running).unwrap();
        let rules = changed.settings.rules(&started.settings);
        for (port, stream, mode) in [(8891, "a", Mode::Open), (8892, "b", Mode::Keys)] {
            let number = numbers.iter().find(|l| l.addr.port() == port).unwrap().number;
            let said = reload.srt.listener(number);
            assert_eq!(said.stream.unwrap().as_str(), stream, "{port}");
            let ways = rules.listeners.iter().find(|(named, _)| *named == number).unwrap().1;
            assert!(ways.contains(mode), "{port}");
        }
        let first = reload.srt.listener(ListenerNumber(FIRST_NUMBER)).stream.unwrap();
        let said = changed.settings.listeners.srt.first.stream.0.clone();
        assert_eq!(Some(first), said, "what is said of the first one is in force at once");
    }

    #[test]
    fn nothing_is_opened_unless_it_is_wanted() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.listeners.srt.configs().count(), 0);
        assert!(
            settings.listeners.srt.node(&settings.srt, SrtSecret([1; 32])).passphrase.is_none()
        );
    }

    #[test]
    fn odd_values_are_refused() {
        for (name, value) in [
            ("GRANDSTAND_SRT__PASSPHRASE", "short"),
            ("GRANDSTAND_SRT__LATENCY_MS", "5"),
            ("GRANDSTAND_LISTENERS__SRT__STREAM", "a//b"),
            ("GRANDSTAND_LISTENERS__SRT__MODE", "listener"),
            ("GRANDSTAND_LISTENERS__SRT__ALSO", "[{ stream = 'a' }]"),
            ("GRANDSTAND_LISTENERS__SRT__ALSO", "[{ addr = '[::]:1', shards = [0] }]"),
        ] {
            assert!(settings(&[(name, value)]).is_none(), "{name} = {value}");
        }
    }
}
