//! Start: everything that can fail fails here, before the first peer is let in.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use dataplane::Node;
use dataplane::config::{ListenerConfig, ListenerKind, PORT_RECEIVE_BYTES, PORT_SEND_BYTES};
use dataplane::rates::Penalties;
use dataplane::reactor::UdpBuffers;
use dataplane::session::tls::Identity;
use dataplane::session::view_token::ViewKeys;
use tokio::sync::watch;

use super::certificates::{Certificates, Known};
use super::control::ControlPlane;
use super::entrance::Entrance;
use super::manager::{Environment, Manager};
use super::reloads::Reloads;
use super::renewal::Renewal;
use super::run;
use crate::banner::Banner;
use crate::cli::DEFAULT_FILE;
use crate::config::{
    CoordinatorSection, DOTENV, Host, Loaded, Plan, Proof, Sources, dotenv, human_bytes, identity,
    load_beside, plan,
};
use crate::error::Error;
use crate::logging::Logging;
use crate::penalties::{Keeper, Warden};
use crate::security::open_file;
use crate::store::Store;
use crate::troubles::{Trouble, Troubles};
use crate::viewing::first_keys;

/// The clip that plays as `demo`.
static DEMO_FLV: &[u8] = include_bytes!("../../../dataplane/assets/demo.flv");

/// The configuration that `named`, or the default file, or nothing gives on this host.
///
/// Errors: the first value that cannot be used.
pub fn configure(named: Option<PathBuf>) -> Result<(Loaded, Plan), Error> {
    configure_in(named, None).map(|(loaded, plan, _)| (loaded, plan))
}

/// What a running server keeps over a reload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running<'a> {
    /// Its data directory.
    pub(super) data: &'a Path,
    /// What it proves itself by.
    pub(super) identity: Option<&'a Identity>,
    /// The coordinator that it was started as, or as the client of which.
    pub(super) coordinator: &'a CoordinatorSection,
}

/// As [`configure`], for a server that runs already, and what the files of certificates were like
/// before they were read: what changes while others of them are read is seen by the next look.
pub(super) fn configure_in(
    named: Option<PathBuf>,
    running: Option<Running<'_>>,
) -> Result<(Loaded, Plan, Known), Error> {
    let beside = PathBuf::from(DEFAULT_FILE);
    let file = named.or_else(|| beside.exists().then_some(beside));
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let env = std::env::vars_os().filter_map(text).collect();
    let sources = Sources { env, dotenv: dotenv(Path::new(DOTENV))? };
    let started = running.map(|running| running.coordinator);
    let loaded = load_beside(file.as_deref(), sources, started)?;
    let mut host = Host::detect();
    host.raise_nofile();
    let mut plan = plan(&loaded, &host, DEMO_FLV)?;
    let data = running.map_or_else(|| data_directory(&loaded), |running| running.data.to_owned());
    let in_force = running.and_then(|running| running.identity);
    let known = Known::new(&loaded.settings.tls, Instant::now());
    if let Some(Proof { identity, doubt, times }) = identity(&loaded, &data, in_force)? {
        plan.node.tls = Some(identity);
        plan.doubt = doubt;
        plan.times = times;
    }
    Ok((loaded, plan, known))
}

/// Serves until a signal.
///
/// Errors: whatever keeps the server from starting.
pub fn serve(named: Option<PathBuf>) -> Result<ExitCode, Error> {
    let (loaded, mut plan, known) = configure_in(named, None)?;
    for listener in &plan.node.listeners {
        probe_address(listener)?;
    }
    let control = Entrance::open(&loaded)?;
    let store = Store::open(&data_directory(&loaded))?;
    probe_security_file(&loaded)?;
    let logging = Logging::start(&loaded.settings.log);
    let refused = Arc::<Penalties>::default();
    let warden = Warden::new(Arc::clone(&refused));
    warden.set_access(loaded.settings.access());
    let penalties = Keeper::new(warden.clone(), store.clone());
    if let Some(keys) = before_peers(&store, &penalties)? {
        plan.node.view_keys = keys;
    }
    let node = Node::start_with(plan.node.clone(), refused);
    let node = node.map_err(|error| name_cause(error, &plan))?;
    say(&loaded, &plan, &node);
    let manager = Manager::new(&Environment::read(), Instant::now());
    let banner = Banner {
        shards: node.shards(),
        reactor: node.reactor().0,
        listeners: node.listeners(),
        control: control.as_ref().map_or([None; 2], Entrance::addresses),
        token: control.as_ref().map(|entrance| entrance.token.path()),
        modes: loaded.settings.modes(&loaded.settings.coordinator),
        url: loaded.settings.session.url,
        encrypts: plan.node.srt.passphrase.is_some(),
        demo: loaded.demo(),
        memory: (plan.memory.memory_max, plan.node.page_bytes),
    }
    .render();
    let bound = |(&asked, &(_, addr)): (&ListenerConfig, &(_, SocketAddr))| {
        (asked, ListenerConfig { addr, ..asked })
    };
    let open: Vec<_> = plan.node.listeners.iter().zip(node.listeners()).map(bound).collect();
    let renewal = Renewal::new(&loaded.settings.acme, data_directory(&loaded));
    let (troubles, now) = (Troubles::new(store.clone()), Instant::now());
    troubles.tell(Trouble::CertificateDoubt, plan.doubt.clone());
    let known = (known, plan.times.clone());
    run::run(
        ControlPlane {
            certificates: Certificates::new(&loaded.settings, known, now),
            reloads: Reloads::default(),
            identity: watch::Sender::new(plan.node.tls.clone()),
            loaded: Arc::new(loaded),
            plan,
            open,
            in_force: None,
            logging,
            store,
            troubles,
            hooks: None,
            renewal,
            manager,
            penalties,
            warden,
        },
        node,
        control,
        &banner,
    )
}

/// Errors: the security log has a file that nobody can write to.
fn probe_security_file(loaded: &Loaded) -> Result<(), Error> {
    let Some(path) = &loaded.settings.log.security_file else { return Ok(()) };
    open_file(path).map(drop).map_err(|error| Error::File {
        op: "append to",
        path: path.clone(),
        reason: error.to_string(),
        mend: "log.security_file must be a file in a folder that this user may write to".to_owned(),
    })
}

/// What shards know from the first connection on: who is refused since an earlier run, and the keys
/// that tokens of viewers were signed with before.
fn before_peers(store: &Store, penalties: &Keeper) -> Result<Option<ViewKeys>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::System {
        what: "cannot start the control plane",
        reason: crate::error::reason(&error),
        mend: "the system must give threads and descriptors",
    })?;
    Ok(runtime.block_on(async {
        penalties.resume().await;
        first_keys(store).await
    }))
}

/// Opens and closes an address before shards share it; the address, its port chosen.
///
/// Shards open their listeners with `SO_REUSEPORT`, which would let a second server of the same
/// user take half of the first one's connections without a word.
pub(super) fn probe_address(listener: &ListenerConfig) -> Result<SocketAddr, Error> {
    let opened = if listener.kind.is_datagram() {
        UdpSocket::bind(listener.addr).and_then(|socket| socket.local_addr())
    } else {
        TcpListener::bind(listener.addr).and_then(|listener| listener.local_addr())
    };
    opened.map_err(|error| Error::listen(section(listener.kind), listener.addr, &error))
}

const fn section(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::Rtmp => "listeners.rtmp",
        ListenerKind::Http => "listeners.http",
        ListenerKind::Rtmps => "listeners.rtmps",
        ListenerKind::Https => "listeners.https",
        ListenerKind::Srt => "listeners.srt",
    }
}

/// Where the server keeps what must survive a restart.
pub(super) fn data_directory(loaded: &Loaded) -> PathBuf {
    let state = std::env::var("STATE_DIRECTORY").ok();
    loaded.settings.data.directory(state.as_deref())
}

/// What failed only in the data plane, under its key.
fn name_cause(error: dataplane::Error, plan: &Plan) -> Error {
    let demanded = plan.node.reactor.choice == dataplane::reactor::BackendChoice::IoUring;
    if let (true, dataplane::Error::Io { op, errno }) = (demanded, &error)
        && op.starts_with("io_uring")
    {
        return Error::System {
            what: "io_uring is demanded by reactor.backend but not to be had",
            reason: crate::error::reason(&std::io::Error::from_raw_os_error(*errno)),
            mend: io_uring_mend(*errno),
        };
    }
    let dataplane::Error::Listen { addr, errno, .. } = error else { return error.into() };
    let listener = plan.node.listeners.iter().find(|listener| listener.addr == addr);
    let section = listener.map_or("listeners", |listener| section(listener.kind));
    Error::listen(section, addr, &std::io::Error::from_raw_os_error(errno))
}

/// What to do about a kernel that gives no rings.
fn io_uring_mend(errno: i32) -> &'static str {
    if errno == rustix::io::Errno::NOMEM.raw_os_error() {
        return "raise the limit of locked memory, of which rings take up to 1 MiB a shard \
                (LimitMEMLOCK=, ulimit -l), or set reactor.backend to \"auto\" or \"epoll\"";
    }
    "allow its system calls (seccomp, kernel.io_uring_disabled) or set reactor.backend to \"auto\" \
     or \"epoll\""
}

/// Logs what was decided at start.
fn say(loaded: &Loaded, plan: &Plan, node: &Node) {
    for note in &plan.notes {
        tracing::info!("{note}");
    }
    if let Some(doubt) = &plan.doubt {
        tracing::warn!("{doubt}");
    }
    let (reactor, fallback) = node.reactor();
    if let Some(reason) = fallback {
        tracing::warn!(%reason, "io_uring is not in use, {reactor} is");
    }
    if let Some(warning) = node.port_buffers().and_then(small_buffers) {
        tracing::warn!("{warning}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if !loaded.variables.is_empty() {
        let names: Vec<_> = loaded.variables.iter().map(|variable| variable.name).collect();
        tracing::info!(names = names.join(" "), "variables of the coordinator's family are in use");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), shards = node.shards(), reactor, "started");
}

/// What to do about sockets of SRT that got smaller buffers than they asked for.
fn small_buffers(got: UdpBuffers) -> Option<String> {
    let [receive, send] = [
        ("receive", "net.core.rmem_max", got.recv_bytes, PORT_RECEIVE_BYTES),
        ("send", "net.core.wmem_max", got.send_bytes, PORT_SEND_BYTES),
    ]
    .map(|(what, key, got, asked)| (got < asked).then_some((what, key, got, asked)));
    let short: Vec<_> = receive.into_iter().chain(send).collect();
    let told = short.iter().map(|&(what, _, got, asked)| {
        let (got, asked) = (human_bytes(got.into()), human_bytes(asked.into()));
        format!("{got} of {asked} to {what}")
    });
    let keys = short.iter().map(|(_, key, _, asked)| format!("{key} to {asked}"));
    let (told, keys) = (told.collect::<Vec<_>>(), keys.collect::<Vec<_>>());
    (!short.is_empty()).then(|| {
        format!(
            "the sockets of listeners.srt have {}, and bursts that find no room are lost; raise {} \
             (sysctl), or let the process have CAP_NET_ADMIN",
            told.join(" and "),
            keys.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::penalties::{Access, Refused};
    use crate::store::Disk;

    #[test]
    fn who_is_refused_since_an_earlier_run_is_known_before_anybody_comes() {
        let store = Disk::default().store();
        let run = |table: &Arc<Penalties>| {
            let warden = Warden::new(Arc::clone(table));
            let mut access = Access::default();
            access.penalties.guesses_max = 2;
            warden.set_access(access);
            (warden.clone(), Keeper::new(warden, store.clone()))
        };
        let (peer, now) = ([192, 0, 2, 1].into(), Instant::now());
        let (warden, penalties) = run(&Arc::default());
        for guess in 0..2 {
            let (listener, proto, reason) = ("rtmp", "rtmp", "forbidden");
            let guess = Some(guess);
            warden.refused(&Refused { peer, listener, proto, stream: None, reason, guess }, now);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(penalties.close(now + Duration::from_secs(60)));
        let table = Arc::default();
        let (_, penalties) = run(&table);
        before_peers(&store, &penalties).unwrap();
        assert!(table.left(peer, now).is_some());
    }

    #[test]
    fn small_buffers_are_told_with_what_makes_them_greater() {
        let whole = UdpBuffers { send_bytes: PORT_SEND_BYTES, recv_bytes: PORT_RECEIVE_BYTES };
        assert_eq!(small_buffers(whole), None);
        let got = UdpBuffers { recv_bytes: 212_992, ..whole };
        assert_eq!(
            small_buffers(got).unwrap(),
            "the sockets of listeners.srt have 208.0 KiB of 8.0 MiB to receive, and bursts that \
             find no room are lost; raise net.core.rmem_max to 8388608 (sysctl), or let the \
             process have CAP_NET_ADMIN"
        );
        let both = small_buffers(UdpBuffers { send_bytes: 212_992, ..got }).unwrap();
        for part in ["8.0 MiB to receive and 208.0 KiB of 4.0 MiB to send", "net.core.wmem_max"] {
            assert!(both.contains(part), "{both}");
        }
    }

    #[test]
    fn the_mend_of_missing_rings_fits_their_cause() {
        assert!(io_uring_mend(libc::ENOMEM).contains("LimitMEMLOCK="));
        assert!(io_uring_mend(libc::EPERM).contains("seccomp"));
    }
}
