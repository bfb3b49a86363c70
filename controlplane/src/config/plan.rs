//! Plan: what the data plane starts with, made of the configuration and the host.

use dataplane::config::{
    AuthConfig, Config, DemoConfig, Reload, ShardConfig, SrtConfig, SrtSecret,
};
use dataplane::ids::{SHARDS_MAX, StreamName};
use dataplane::reactor::ReactorConfig;
use dataplane::session::view_token::ViewKeys;

use super::addresses::{check_listeners, fit_listeners, listeners};
use super::connections::{Room, files, fit_buffers, fit_connections, fit_streams};
use super::field::{Auto, human_bytes};
use super::host::Host;
use super::identity::CertificateTimes;
use super::load::Loaded;
use super::memory::{self, MemoryTable, Side};
use super::settings::Settings;
use crate::error::{Error, Place};

/// Pages that a shard needs at least.
const PAGE_BYTES_PER_SHARD_MIN: u64 = 4 << 20;

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data plane's configuration.
    pub node: Config,
    /// What it costs.
    pub memory: MemoryTable,
    /// What the control plane may take.
    pub control: ControlBounds,
    /// What was adapted to the host, a sentence each.
    pub notes: Vec<String>,
    /// Why clients will refuse the certificate, if they will.
    pub doubt: Option<String>,
    /// The times of certificates.
    pub times: CertificateTimes,
    /// The settings before they were fitted to the host, to be compared at a reload.
    pub configured: Settings,
    file: Option<std::path::PathBuf>,
}

/// What the control plane may take of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlBounds {
    /// Bytes of what is kept of those who were let in.
    pub claims_bytes_max: u64,
    /// Bytes of the events that wait for hooks.
    pub hooks_bytes_max: u64,
    /// Bytes of declared streams and templates.
    pub declared_bytes_max: u64,
    /// Bytes of the body of an import.
    pub import_bytes_max: u64,
}

impl Plan {
    /// The part that a node, started by the plan `running`, can take.
    ///
    /// Errors: limits that do not fit beside the pages that are mapped already.
    pub fn reload(&self, running: &Self) -> Result<Reload, Error> {
        let pages = running.node.page_bytes;
        let beside = self.memory.total(Side::Process) - self.node.page_bytes;
        if pages.saturating_add(beside) > running.memory.memory_max {
            return Err(Error::Document {
                place: self.file.clone().map_or(Place::Default, Place::File),
                what: format!(
                    "these limits need {}, beside {} of pages more than limits.memory_max",
                    human_bytes(beside),
                    human_bytes(pages)
                ),
                mend: "restart, or lower one that was raised (limits.connections_max, \
                       events.hooks_bytes_max, streams.declared_bytes_max)"
                    .to_owned(),
            });
        }
        let started = &running.configured.listeners.srt;
        let listeners = self.configured.listeners.srt.beside(started).said();
        Ok(Reload {
            limits: self.node.limits.clone(),
            egress: self.node.egress,
            session: self.node.session.clone(),
            auth: self.node.auth,
            stream: self.node.stream,
            listeners: self.node.listeners.clone(),
            srt: SrtConfig { listeners, ..self.node.srt.clone() },
            tls: self.node.tls.clone(),
        })
    }
}

/// Fits `loaded` to `host`.
///
/// Errors: a configured value that the host has no room for. Defaults are fitted instead, and said
/// in the notes.
pub fn plan(loaded: &Loaded, host: &Host, demo_flv: &'static [u8]) -> Result<Plan, Error> {
    let mut settings = loaded.settings.clone();
    let mut notes = Vec::new();
    let shards = shards(loaded, host)?;
    let count = shards.len() as u64;
    let memory_max = match settings.memory_max {
        Auto::Auto => host.memory_bytes / 2,
        Auto::Set(bytes) => bytes,
    };
    fit_listeners(loaded, host, &mut settings, &mut notes);
    fit_connections(loaded, &mut settings, &mut notes, &files(loaded, host, count)?)?;
    fit_streams(loaded, &mut settings, &mut notes, memory_max);
    fit_buffers(loaded, &mut settings, &mut notes, memory_max);
    let affordable = Room {
        connections: memory::connections_affordable(&settings, count, memory_max),
        what: format!("limits.memory_max {}", human_bytes(memory_max)),
        mend: "raise limits.memory_max or lower limits.buffer_bytes_max".to_owned(),
    };
    fit_connections(loaded, &mut settings, &mut notes, &affordable)?;
    let page_bytes = memory::page_bytes(&settings, count, memory_max);
    if page_bytes < count * PAGE_BYTES_PER_SHARD_MIN || settings.limits.connections_max == 0 {
        return Err(loaded.misfit(
            "limits.memory_max",
            format!("{} leave too little to pages and connections", human_bytes(memory_max)),
            "raise it, or lower shards.count, limits.streams_max or reactor.recv_buffers"
                .to_owned(),
        ));
    }
    let memory = MemoryTable::new(&settings, host, count, memory_max, page_bytes);
    let control = ControlBounds {
        claims_bytes_max: settings.auth.claims_bytes_max,
        hooks_bytes_max: settings.events.hooks_bytes_max,
        declared_bytes_max: settings.streams.declared_bytes_max,
        import_bytes_max: settings.streams.import_bytes_max,
    };
    let listeners = listeners(&settings);
    check_listeners(loaded, &listeners, shards.len())?;
    let node = Config {
        shards,
        pins: settings.shards.pin.clone(),
        reactor: ReactorConfig {
            datagram_buffers: memory::datagram_buffers(&settings),
            ..settings.reactor.clone()
        },
        srt: settings.listeners.srt.node(&settings.srt, fresh_srt_secret()?),
        listeners,
        tls: None,
        limits: settings.limits,
        egress: settings.egress,
        stream: settings.stream,
        session: settings.session.clone(),
        auth: AuthConfig {
            connect: settings.auth.connect,
            logins: settings.auth.callback.asks_logins(),
        },
        view_keys: fresh_view_keys()?,
        page_bytes,
        poison: false,
        demo: demo(loaded, demo_flv),
    };
    let configured = loaded.settings.clone();
    let (doubt, times, file) = (None, CertificateTimes::new(), loaded.file.clone());
    Ok(Plan { node, memory, control, notes, doubt, times, configured, file })
}

/// What cookies and keys of SRT are made of until the process ends.
fn fresh_srt_secret() -> Result<SrtSecret, Error> {
    crate::viewing::fresh_key().map(SrtSecret)
}

/// What tokens of viewers of HLS are signed with until others are known.
fn fresh_view_keys() -> Result<ViewKeys, Error> {
    crate::viewing::fresh_key().map(|current| ViewKeys { current, before: Vec::new() })
}

fn demo(loaded: &Loaded, flv: &'static [u8]) -> Option<DemoConfig> {
    let name = StreamName::parse("demo").expect("a legal name");
    loaded.demo().then_some(DemoConfig { name, flv })
}

fn shards(loaded: &Loaded, host: &Host) -> Result<Vec<ShardConfig>, Error> {
    let section = &loaded.settings.shards;
    let count = match section.count {
        Auto::Set(count) => usize::from(count),
        Auto::Auto => host.parallelism.clamp(1, SHARDS_MAX),
    };
    let cpus = match &section.cores {
        Auto::Set(cores) => cores.0.as_slice(),
        // Under a quota the same first CPUs would be everybody's: the scheduler knows better.
        Auto::Auto if host.parallelism < host.cpus.len() => &[],
        Auto::Auto => host.cpus.as_slice(),
    };
    if let Some(cpu) = cpus.iter().find(|cpu| !host.cpus.contains(cpu)) {
        return Err(loaded.misfit(
            "shards.cores",
            format!("CPU {cpu} is not in the affinity mask of this process"),
            format!("choose from {:?}", host.cpus),
        ));
    }
    if let Some(pin) = section.pin.iter().find(|pin| pin.shard.index() >= count) {
        return Err(loaded.misfit(
            "shards.pin",
            format!("\"{}\" is pinned to shard {} of {count}", pin.pattern, pin.shard),
            format!("shards count from 0 to {}", count - 1),
        ));
    }
    let cpu = |shard: usize| (!cpus.is_empty()).then(|| cpus[shard % cpus.len()]);
    Ok((0..count).map(|shard| ShardConfig { cpu: cpu(shard) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use dataplane::config::Latency;
    use dataplane::ids::ShardId;

    fn host() -> Host {
        Host {
            cpus: vec![2, 3],
            parallelism: 2,
            memory_bytes: 32 << 30,
            nofile: 20_000,
            nofile_hard: 20_000,
            ipv6: true,
            tcp_receive_bytes: 6 << 20,
            receive_buffer_max: 4 << 20,
        }
    }

    fn loaded(env: &[(&str, &str)]) -> Loaded {
        load(None, env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()))).unwrap()
    }

    fn refusal(env: &[(&str, &str)], host: &Host) -> String {
        plan(&loaded(env), host, b"").unwrap_err().to_string()
    }

    #[test]
    fn without_configuration_the_host_decides() {
        let plan = plan(&loaded(&[]), &host(), b"").unwrap();
        let cpus: Vec<_> = plan.node.shards.iter().map(|shard| shard.cpu).collect();
        assert_eq!(cpus, [Some(2), Some(3)]);
        assert_eq!(plan.node.limits.connections_max, 16_000);
        assert_eq!(plan.node.listeners.len(), 2);
        assert!(plan.node.demo.is_some() && plan.notes.is_empty());
        assert!(plan.memory.total(Side::Process) <= 16 << 30);
        assert!(plan.memory.total(Side::Process) > (16 << 30) - (64 << 10));
    }

    #[test]
    fn recordings_take_memory_where_somebody_speaks_of_them() {
        let bytes = |env: &[(&str, &str)]| {
            let Plan { memory, node, .. } = plan(&loaded(env), &host(), b"").unwrap();
            assert!(memory.total(Side::Process) <= 16 << 30, "{memory}");
            assert!(memory.total(Side::Process) > (16 << 30) - (64 << 10), "{memory}");
            let waiting = node.limits.streams_max * 640;
            let term = memory.terms.iter().find(|term| term.pool == "recordings");
            term.map(|term| term.total() - waiting)
        };
        assert_eq!(bytes(&[]), None);
        let all = Some(8 * (192 << 10) + 4_096 * 448);
        for (key, value) in [("POLICY", "flv"), ("DIR", "/srv/recordings")] {
            assert_eq!(bytes(&[(&format!("GRANDSTAND_RECORDING__{key}"), value)]), all, "{key}");
        }
        assert_eq!(bytes(&[("GRANDSTAND_RECORDING__SEGMENT_MS", "1000")]), None);
    }

    #[test]
    fn under_a_quota_nothing_is_pinned() {
        let plan = plan(&loaded(&[]), &Host { parallelism: 1, ..host() }, b"").unwrap();
        assert_eq!(plan.node.shards, [ShardConfig { cpu: None }]);
    }

    #[test]
    fn defaults_shrink_to_the_host_and_say_so() {
        let small = Host { nofile: 1_024, ipv6: false, ..host() };
        let small = plan(&loaded(&[]), &small, b"").unwrap();
        assert_eq!(small.node.limits.connections_max, 1_024 - 64 - 64 - 2 * 6);
        assert_eq!(small.node.limits.players_max, small.node.limits.connections_max);
        assert_eq!(small.node.listeners[0].addr, "0.0.0.0:1935".parse().unwrap());
        assert_eq!(small.notes.len(), 3);
        let poor = Host { memory_bytes: 2 << 30, ..host() };
        let poor = plan(&loaded(&[]), &poor, b"").unwrap();
        assert_eq!(poor.node.limits.connections_max, 16_000);
        assert_eq!(poor.node.limits.buffer_bytes_max, 64 << 20);
        assert!(poor.memory.total(Side::Process) <= 1 << 30);
        let claims = poor.memory.terms.iter().find(|term| term.pool == "claims").unwrap();
        assert_eq!((claims.total(), poor.control.claims_bytes_max), (16 << 20, 16 << 20));
    }

    #[test]
    fn a_coordinator_elsewhere_takes_memory_for_each_stream() {
        let client = [
            ("GRANDSTAND_COORDINATOR__CLIENT__URL", "wss://c.example"),
            ("GRANDSTAND_COORDINATOR__CLIENT__SECRET", "hush"),
        ];
        let bytes = |env: &[(&str, &str)]| {
            let plan = plan(&loaded(env), &host(), b"").unwrap();
            assert!(plan.memory.total(Side::Process) <= 16 << 30);
            let term = plan.memory.terms.iter().find(|term| term.pool == "coordinator");
            term.map(memory::Term::total)
        };
        let of = |streams_max| {
            let streams_max = ("GRANDSTAND_LIMITS__STREAMS_MAX", streams_max);
            bytes(&[client[0], client[1], streams_max]).unwrap()
        };
        assert_eq!(bytes(&[]), None);
        let (few, many) = (of("1000"), of("3000"));
        // A kilobyte of each publication, and the message of its end.
        assert!(few > 1_000 * 1_024 && many > few + 2_000 * 1_536, "{few} {many}");
    }

    #[test]
    fn sockets_of_srt_have_terms_on_both_sides() {
        let also = "[{ addr = ['127.0.0.1:8891', '127.0.0.1:8892'] }]";
        let on = [
            ("GRANDSTAND_LISTENERS__SRT__ENABLED", "true"),
            ("GRANDSTAND_LISTENERS__SRT__ALSO", also),
        ];
        let total = |env: &[(&str, &str)], pool: &str| {
            let plan = plan(&loaded(env), &host(), b"").unwrap();
            assert!(plan.memory.total(Side::Process) <= 16 << 30);
            let term = plan.memory.terms.iter().find(|term| term.pool == pool);
            term.map(memory::Term::total)
        };
        for pool in ["SRT receives", "SRT sends", "SRT calls", "SRT sessions"] {
            assert_eq!(total(&[], pool), None, "{pool}");
            assert!(total(&on[..1], pool).is_some(), "{pool}");
        }
        // Inputs have datagrams, too.
        assert!(total(&[], "datagrams") < total(&on, "datagrams"));
        // Three addresses on two shards, and the kernel takes twice of what it is asked for.
        let asked = 2 * u64::from(dataplane::config::PORT_RECEIVE_BYTES);
        let receives = total(&on, "SRT receives").unwrap();
        assert!(receives >= 3 * 2 * asked && receives < 4 * 2 * asked, "{receives}");
        assert_eq!(total(&on, "SRT calls").unwrap(), 3 * total(&on[..1], "SRT calls").unwrap());
    }

    #[test]
    fn a_reload_stays_beside_the_pages_that_are_mapped() {
        let running = plan(&loaded(&[]), &host(), b"").unwrap();
        let fresh = plan(&loaded(&[("GRANDSTAND_LIMITS__STREAMS_MAX", "9")]), &host(), b"");
        assert_eq!(fresh.unwrap().reload(&running).unwrap().limits.streams_max, 9);
        let more = loaded(&[("GRANDSTAND_LIMITS__CONNECTIONS_MAX", "17000")]);
        let error = plan(&more, &host(), b"").unwrap().reload(&running).unwrap_err().to_string();
        assert!(
            error.contains("; restart, or lower one that was raised (limits.connections_max, "),
            "{error}"
        );
    }

    #[test]
    fn listeners_have_their_shards_and_their_class() {
        let also = "[{ addr = '127.0.0.1:1937', shards = [1], latency = 'low' }, \
                    { addr = ['[::1]:1938', '[::1]:1939'] }]";
        let env = [
            ("GRANDSTAND_LISTENERS__RTMP__ALSO", also),
            ("GRANDSTAND_LISTENERS__HTTP__SHARDS", "[0]"),
            ("GRANDSTAND_LISTENERS__HTTP__LATENCY", "low"),
        ];
        let plan = plan(&loaded(&env), &host(), b"").unwrap();
        let told: Vec<_> = plan
            .node
            .listeners
            .iter()
            .map(|l| {
                let on = |shard| l.shards.contains(ShardId(shard));
                (l.addr.port(), on(0), on(1), l.latency == Latency::Low)
            })
            .collect();
        assert_eq!(
            told,
            [
                (1935, true, true, false),
                (1937, false, true, true),
                (1938, true, true, false),
                (1939, true, true, false),
                (8080, true, false, true),
            ]
        );
        let also = |text: &str| refusal(&[("GRANDSTAND_LISTENERS__RTMP__ALSO", text)], &host());
        let place = "GRANDSTAND_LISTENERS__RTMP__ALSO: listeners.rtmp.also";
        assert_eq!(
            also("[{ addr = '127.0.0.1:1', shards = [2] }]"),
            format!("{place}: shard 2 of 2 accepts there; shards count from 0 to 1")
        );
        assert_eq!(
            also("[{ addr = '[::]:1935' }]"),
            format!("{place}: [::]:1935 is listed twice; give each listener an address of its own")
        );
        let many = "127.0.0.1:0,".repeat(32);
        assert_eq!(
            also(&format!("[{{ addr = '{many}' }}]")),
            format!("{place}: 34 addresses are more than 32; list fewer")
        );
        assert_eq!(
            refusal(&[("GRANDSTAND_LISTENERS__HTTP__SHARDS", "[7]")], &host()),
            "GRANDSTAND_LISTENERS__HTTP__SHARDS: listeners.http.shards: shard 7 of 2 accepts \
             there; shards count from 0 to 1"
        );
    }

    #[test]
    fn configured_values_that_do_not_fit_are_refused() {
        let few = Host { nofile: 1_024, ..host() };
        assert_eq!(
            refusal(&[("GRANDSTAND_LIMITS__CONNECTIONS_MAX", "5000")], &few),
            "GRANDSTAND_LIMITS__CONNECTIONS_MAX: limits.connections_max: 5000 connections do not \
             fit the limit of 1024 open files (nofile), 884 do; raise it with `ulimit -n 5140` or \
             LimitNOFILE=5140"
        );
        assert_eq!(
            refusal(&[], &Host { nofile: 128, ..host() }),
            "cannot serve anybody: the limit of 128 open files (nofile) is below 141; raise it \
             with `ulimit -n 20000` or LimitNOFILE=20000"
        );
        assert_eq!(
            refusal(&[("GRANDSTAND_SHARDS__CORES", "[9]")], &host()),
            "GRANDSTAND_SHARDS__CORES: shards.cores: CPU 9 is not in the affinity mask of this \
             process; choose from [2, 3]"
        );
        assert_eq!(
            refusal(&[("GRANDSTAND_SHARDS__PIN", "[{stream='a/*', shard=2}]")], &host()),
            "GRANDSTAND_SHARDS__PIN: shards.pin: \"a/*\" is pinned to shard 2 of 2; shards count \
             from 0 to 1"
        );
        assert_eq!(
            refusal(&[("GRANDSTAND_LIMITS__MEMORY_MAX", "64MiB")], &host()),
            "GRANDSTAND_LIMITS__MEMORY_MAX: limits.memory_max: 64.0 MiB leave too little to pages \
             and connections; raise it, or lower shards.count, limits.streams_max or \
             reactor.recv_buffers"
        );
    }
}
