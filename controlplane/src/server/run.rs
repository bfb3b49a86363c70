//! Run: one loop over the shards' events, the API's questions, signals and time.
//!
//! Lives on: the main thread, in a runtime of that thread alone.

use std::io::Write;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dataplane::Node;
use dataplane::config::Limits;
use dataplane::heartbeats::Heartbeats;
use dataplane::ids::ShardId;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::control::ControlPlane;
use super::cores::Cores;
use super::ending::{Due, Ending};
use super::entrance::Entrance;
use super::heap::Heap;
use super::pace::Pace;
use super::reloads::Wish;
use super::start::data_directory;
use super::upstream::Upstream;
use super::watchdog::ControlTurns;
use crate::api::{ApiState, Callers, Commands, Door, Sockets, judged_by, router, serve};
use crate::bridge::{Ask, Exchange, Fleet};
use crate::config::unkept;
use crate::coordinator::{Callback, StreamingServer, Teller};
use crate::error::{Error, reason};
use crate::events::Bus;
use crate::hooks::{Hooks, WRITERS_MAX};
use crate::link::Call;
use crate::record::{Recorder, Shelf};
use crate::registry::{FileStreams, Keeper, Registry};
use crate::usage::Book;
use crate::viewing::keep_keys;

/// Questions of the API that wait at most.
const ASKS_MAX: usize = 256;
/// Questions of the API that one turn takes at most: each may look at thousands of streams.
const ASKS_PER_TURN: usize = 16;
/// Events for which there was no room are tried again after this.
pub(super) const TELL_AGAIN: Duration = Duration::from_millis(5);
/// Beside files of hooks, what a disk or a long computation holds up at the same time at most: a
/// reload, a look at certificates, what an authority gave, and texts of the API.
const BESIDE_MAX: usize = 8;
/// Below the data directory: where hooks of the API may write files.
const HOOK_FILES: &str = "hooks";
/// Nothing is waited for longer than this.
const IDLE: Duration = Duration::from_secs(60);

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Every shard is over after a signal.
    Drained,
    /// Shards were still busy at the deadline.
    Late,
    /// A second signal.
    Twice,
    /// The shards ended though nobody asked them to.
    Lost,
}

/// Prints the banner and serves until a signal.
pub(super) fn run(
    control: ControlPlane,
    node: Node,
    entrance: Option<Entrance>,
    banner: &str,
) -> Result<ExitCode, Error> {
    let failed = |error: std::io::Error| Error::System {
        what: "cannot start the control plane",
        reason: reason(&error),
        mend: "the system must give threads, descriptors and signals",
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(WRITERS_MAX + BESIDE_MAX).build();
    let runtime = runtime.map_err(failed)?;
    let (end, node) = runtime.block_on(async {
        let registry = registry(&control).await?;
        let watched = (node.events_fd(), node.heartbeats());
        let mut desk = Desk::new(control, node, watched, registry).map_err(failed)?;
        desk.control.resume(desk.exchange.book()).await;
        desk.listen(entrance).map_err(failed)?;
        desk.tell_application();
        desk.keep_certificates();
        print(banner);
        desk.serving();
        let end = desk.turn().await;
        match end {
            End::Drained => desk.close().await,
            End::Late | End::Lost => {
                desk.end_recordings().await;
                desk.keep_events().await;
            }
            End::Twice => {}
        }
        tracing::info!(end = ?end, "stopped");
        let (commits, syncs, busy) = desk.control.store.counters();
        tracing::debug!(commits, syncs, busy, "the store is closed");
        Ok::<_, Error>((end, desk.exchange.into_fleet()))
    })?;
    // Files that hang are not waited for.
    runtime.shutdown_background();
    match end {
        End::Drained => {
            node.join();
            Ok(ExitCode::SUCCESS)
        }
        End::Lost => {
            node.join();
            Ok(ExitCode::FAILURE)
        }
        // Threads that do not end are not waited for: the process takes them along.
        End::Late | End::Twice => std::process::exit(1),
    }
}

/// The streams that should exist, by the store and the file.
async fn registry(control: &ControlPlane) -> Result<(Keeper, Registry), Error> {
    let section = &control.loaded.settings.streams;
    let file = FileStreams::read(section).expect("it was checked when it was loaded");
    let (keeper, mut registry) =
        Keeper::load(control.store.clone(), file, control.plan.control.declared_bytes_max).await?;
    registry.idle = section.idle;
    tracing::info!(streams = registry.len(), "streams are declared");
    Ok((keeper, registry))
}

/// A closed standard output is no reason not to serve.
fn print(banner: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(banner.as_bytes()).and_then(|()| out.flush());
}

/// Everything that the loop waits for.
pub(super) struct Desk<F> {
    events: AsyncFd<RawFd>,
    pub(super) control: ControlPlane,
    cores: Cores,
    pub(super) exchange: Exchange<F>,
    pub(super) keeper: Keeper,
    heap: Heap,
    heartbeats: Heartbeats,
    turns: ControlTurns,
    pub(super) pace: Pace,
    pub(super) ending: Option<Ending>,
    pub(super) teller: Teller,
    pub(super) callers: Callers,
    pub(super) sockets: Sockets,
    /// The coordinator that this node is a server of.
    pub(super) coordinator: Option<Upstream>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) asks_in: mpsc::Sender<Ask>,
    pub(super) ready: watch::Sender<bool>,
    pub(super) limits: watch::Sender<Limits>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl<F: Fleet> Desk<F> {
    /// The first of what is watched can be read when `fleet` has events.
    fn new(
        mut control: ControlPlane,
        fleet: F,
        (events, heartbeats): (RawFd, Heartbeats),
        (mut keeper, registry): (Keeper, Registry),
    ) -> std::io::Result<Self> {
        let (asks_in, asks) = mpsc::channel(ASKS_MAX);
        let settings = &control.loaded.settings;
        let rules = settings.rules(settings);
        let bus = Bus::new(settings.node.name().into(), settings.events.ring);
        // Before the first event, so that hooks hear of all.
        let files = data_directory(&control.loaded).join(HOOK_FILES);
        let hooks =
            Hooks::start(control.store.clone(), bus.clone(), &files, settings.hooks.clone());
        hooks.set_bytes_max(control.plan.control.hooks_bytes_max);
        hooks.set_unkept(unkept(settings.stream.hls.mode));
        control.hooks = Some(hooks);
        #[expect(deprecated, reason = "the fleet owns the descriptor and outlives its watch")]
        let events = AsyncFd::new(events)?;
        let mut exchange = Exchange::new(fleet, rules, bus, Instant::now());
        exchange.registry = registry;
        exchange.pull_all();
        let recording = &control.loaded.settings.recording;
        let dir = recording.directory(&data_directory(&control.loaded));
        let shelf = Shelf::new(dir, recording.clone());
        exchange.record_by(match recording.is_on() {
            true => Recorder::start(shelf, asks_in.clone()),
            false => Recorder::off(shelf),
        });
        control.judge_strangers();
        exchange.watch_by(control.warden.clone());
        exchange.set_claims_bytes_max(control.plan.control.claims_bytes_max);
        let streams_max = control.plan.node.limits.streams_max;
        let book = Book::new(control.store.clone(), control.loaded.settings.usage, streams_max);
        exchange.keep_usage(book, streams_max, Instant::now());
        keeper.tell(exchange.bus().clone(), control.troubles.clone());
        Ok(Self {
            events,
            keeper,
            cores: Cores::new(&control.plan.node.shards, Instant::now()),
            exchange,
            heap: Heap::new(Instant::now()),
            heartbeats,
            turns: ControlTurns::default(),
            pace: Pace::new(Instant::now()),
            ending: None,
            teller: Teller::default(),
            callers: Callers::new(control.loaded.settings.listeners.control.connections_max),
            sockets: Sockets::new(asks_in.clone(), &control.loaded.settings.coordinator),
            coordinator: None,
            asks,
            asks_in,
            ready: watch::Sender::new(true),
            limits: watch::Sender::new(control.plan.node.limits.clone()),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            control,
        })
    }

    fn listen(&mut self, entrance: Option<Entrance>) -> std::io::Result<()> {
        let open = self.control.open.iter().map(|&(_, open)| open);
        let coordinator = &self.control.loaded.settings.coordinator;
        let server = StreamingServer::of(coordinator, open);
        self.exchange.coordinator().set_up(coordinator, server);
        self.exchange.show_rtmp(self.control.rtmp_address(), Instant::now());
        self.exchange.record_anew(self.control.play_entrance(), Instant::now());
        if let Some(call) = Call::of(coordinator, server, self.limits.subscribe()) {
            let terms = coordinator.client.terms;
            self.exchange.be_client(call.base().to_string(), terms, Instant::now());
            self.coordinator =
                Some(Upstream::call(call, self.asks_in.clone(), self.control.troubles.clone()));
        }
        let Some(Entrance { plain, tls, token }) = entrance else { return Ok(()) };
        let Some(hooks) = self.control.hooks.clone() else { return Ok(()) };
        let Some(book) = self.exchange.book().cloned() else { return Ok(()) };
        let Some(shelf) = self.exchange.recorder().shelf().cloned() else { return Ok(()) };
        let section = &self.control.loaded.settings.listeners.control;
        let state = ApiState::new(
            self.asks_in.clone(),
            self.ready.subscribe(),
            self.limits.subscribe(),
            self.control.logging.dropped(),
            (token, section.hosts.clone()),
            (self.exchange.bus().clone(), hooks, book),
            self.control.troubles.clone(),
        )
        .watched_by(self.control.warden.clone())
        .importing(self.control.plan.control.import_bytes_max)
        .keeping(shelf);
        let commands = Commands::new(self.asks_in.clone(), coordinator, server);
        let routes = router(state).merge(commands.router()).merge(self.sockets.router());
        let warden = &self.control.warden;
        let routes = judged_by(warden, routes);
        for (listener, is_tls) in [(plain, false), (tls, true)] {
            let Some(listener) = listener else { continue };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let certificates = is_tls.then(|| self.control.identity.subscribe());
            let door = Door {
                listener: if is_tls { "control_tls" } else { "control" },
                proxied: section.proxy_protocol,
                callers: self.callers.clone(),
                warden: warden.clone(),
            };
            tokio::spawn(serve(listener, certificates, routes.clone(), door));
        }
        Ok(())
    }

    /// Tells the application of publications, and first what the last run left untold; tells shards
    /// the keys that the last run signed with.
    fn tell_application(&mut self) {
        let section = &self.control.loaded.settings.coordinator;
        let callback = Callback::of(section);
        let teller = self.teller.clone();
        if callback.is_some() {
            self.exchange.coordinator().tell_by(teller.clone());
        }
        tokio::spawn(teller.run(self.control.store.clone(), callback));
        if let Some(book) = self.exchange.book() {
            tokio::spawn(book.clone().run());
        }
        tokio::spawn(keep_keys(self.control.store.clone(), self.asks_in.clone()));
    }

    async fn turn(&mut self) -> End {
        loop {
            let now = Instant::now();
            self.pace.begin(now);
            self.turns.turn();
            let more = self.exchange.pump(now);
            self.tick(now);
            if self.exchange.live() == 0 {
                return if self.ending.is_some() { End::Drained } else { End::Lost };
            }
            match self.ending.as_mut().map_or(Due::Nothing, |ending| ending.due(now)) {
                Due::Nothing => {}
                Due::Stop => {
                    tracing::warn!("sessions did not end in time, shards are stopped");
                    self.exchange.stop();
                }
                Due::Exit => return End::Late,
            }
            let wake = if more { now } else { self.due(now) };
            let wake = self.pace.end(wake, Instant::now());
            // A flood of events keeps nobody else waiting: whoever is ready has this turn, and if
            // nobody is, the other tasks have theirs before the next events are taken.
            tokio::select! {
                () = tokio::task::yield_now(), if more => {}
                ready = self.events.readable(), if !more => {
                    // Cleared before the events are taken: one sent meanwhile is a new edge.
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
                // The wait was long: the turn's time is not that of the question.
                Some(landed) = self.exchange.landed() => {
                    self.exchange.settle(landed, Instant::now());
                }
                Some(ask) = self.asks.recv() => self.ask_all(ask, Instant::now()),
                _ = self.hangup.recv() => self.control.reload(Wish::Signal),
                read = self.control.reloads.read() => {
                    let Self { control, exchange, keeper, limits, .. } = self;
                    control.reloaded(read, (exchange, keeper), limits);
                }
                looked = self.control.certificates.looked() => {
                    let now = Instant::now();
                    self.control.certificates_looked(looked, &mut self.exchange, now);
                }
                result = self.keeper.committed() => {
                    self.keeper.finish(result, &mut self.exchange.registry);
                }
                _ = self.terminate.recv() => {
                    if self.end() {
                        return End::Twice;
                    }
                }
                _ = self.interrupt.recv() => {
                    if self.end() {
                        return End::Twice;
                    }
                }
                () = tokio::time::sleep_until(wake.into()), if !more => {}
            }
        }
    }

    /// Takes a question of the API and those that wait behind it, a bounded number of them.
    fn ask_all(&mut self, first: Ask, now: Instant) {
        self.ask(first, now);
        for _ in 1..ASKS_PER_TURN {
            let Ok(ask) = self.asks.try_recv() else { return };
            self.ask(ask, now);
        }
    }

    /// Gives a question of the API to whoever can answer it.
    pub(super) fn ask(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Config(ask) => self.control.answer(ask),
            Ask::Acme(ask) => self.heed_renewal(ask, now),
            Ask::Registry(ask) => self.keeper.ask(ask, &mut self.exchange.registry),
            // The request may be gone: then nobody misses the answer.
            Ask::Counts { reply } => drop(reply.send(self.count())),
            ask => self.exchange.ask(ask, now),
        }
    }

    /// Peers are served: whoever started the process is told.
    fn serving(&mut self) {
        self.control.manager.serving(self.exchange.live());
        self.control.manager.watch(self.heartbeats.clone(), self.turns.clone());
    }

    /// Tells the service manager how the shards are.
    fn report(&mut self, now: Instant) {
        let manager = &mut self.control.manager;
        if manager.wants_look(now) {
            let shards = (0..).map(ShardId).take(self.heartbeats.shards());
            let turns = shards.map(|shard| self.heartbeats.turns(shard)).collect();
            manager.asked(self.exchange.look(now), turns, now);
        }
        manager.heed(|shard| self.heartbeats.turns(shard));
    }

    /// Does what time alone makes due.
    fn tick(&mut self, now: Instant) {
        for effects in self.keeper.drops() {
            self.exchange.drop_by(&effects);
        }
        let touched = self.keeper.touched();
        self.exchange.record_changed(&touched, now);
        self.exchange.pull_anew(touched, now);
        self.keeper.tick(now, &mut self.exchange.registry);
        self.exchange.tick(now);
        self.report(now);
        self.control.warden.tick(now);
        self.control.look_at_security_log();
        self.heap.tick(now);
        self.control.look_at_certificates(now);
        self.control.look_at_reloads(now);
        if self.cores.due().is_some_and(|due| due <= now) {
            for (shard, used) in self.cores.look(now) {
                self.exchange.core_used(shard, used);
            }
        }
    }

    /// When time alone makes something due.
    fn due(&self, now: Instant) -> Instant {
        let ending = self.ending.as_ref().map(Ending::next);
        let telling = self.keeper.is_telling().then(|| now + TELL_AGAIN);
        let (heap, certificates) = (Some(self.heap.due()), self.control.certificates.due());
        let manager = self.control.manager.due();
        let due = [self.exchange.deadline(now), self.cores.due(), ending, heap, telling];
        let (warden, reloads) = (self.control.warden.due(), self.control.reloads.due());
        due.into_iter()
            .chain([manager, certificates, warden, reloads])
            .flatten()
            .min()
            .unwrap_or(now + IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use dataplane::config::SessionConfig;
    use dataplane::control::{Command, Event};
    use dataplane::ids::{ShardId, StreamName};
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::super::certificates::{Certificates, Known};
    use super::super::manager::{Environment, Manager};
    use super::super::reload::{ConfigAsk, Reloaded};
    use super::super::reloads::{Fresh, Reloads};
    use super::super::renewal::Renewal;
    use crate::config::{Host, LogLevel, load, plan};
    use crate::logging::Logging;
    use crate::penalties::Warden;
    use crate::registry::{Change, Condition, RegistryAsk};
    use crate::store::Disk;
    use crate::troubles::{Trouble, Troubles};

    const PATIENCE: Duration = Duration::from_secs(60);
    /// Events that one turn takes.
    const EVENTS_PER_TURN: u64 = 1_024;

    /// Two shards that tell something without end, until they are drained.
    struct Flood {
        taken: Arc<AtomicU64>,
        running: VecDeque<ShardId>,
        drained: bool,
    }

    impl Fleet for Flood {
        fn shards(&self) -> usize {
            2
        }
        fn home(&self, _: &StreamName) -> ShardId {
            ShardId(0)
        }
        fn next_event(&mut self) -> Option<(ShardId, Event)> {
            if self.drained {
                return Some((self.running.pop_front()?, Event::Stopped));
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            let (listeners, reactor, fallback) = (Vec::new(), "none", None);
            Some((ShardId(0), Event::Ready { listeners, reactor, fallback }))
        }
        fn send(&mut self, _: ShardId, command: Command) -> Result<(), Command> {
            self.drained |= matches!(command, Command::Drain);
            Ok(())
        }
    }

    /// A desk in front of a flood, what was taken of it, and what the desk watches.
    async fn desk() -> (Desk<Flood>, Arc<AtomicU64>, [UnixStream; 2]) {
        let env = [("GRANDSTAND_LOG__LEVEL".to_owned(), "error".to_owned())];
        let (loaded, store) = (load(None, env).unwrap(), Disk::default().store());
        let plan = plan(&loaded, &Host::detect(), b"").unwrap();
        let now = Instant::now();
        let known = (Known::new(&loaded.settings.tls, now), plan.times.clone());
        let control = ControlPlane {
            certificates: Certificates::new(&loaded.settings, known, now),
            reloads: Reloads::default(),
            renewal: Renewal::new(&loaded.settings.acme, PathBuf::new()),
            identity: watch::Sender::new(None),
            logging: Logging::start(&loaded.settings.log),
            penalties: crate::penalties::Keeper::new(Warden::default(), store.clone()),
            warden: Warden::default(),
            loaded: Arc::new(loaded),
            plan,
            open: Vec::new(),
            in_force: None,
            troubles: Troubles::new(store.clone()),
            store,
            hooks: None,
            manager: Manager::new(&Environment::default(), Instant::now()),
        };
        let taken = Arc::new(AtomicU64::new(0));
        let flood = Flood {
            taken: Arc::clone(&taken),
            running: [0, 1].map(ShardId).into(),
            drained: false,
        };
        let (watched, silent) = UnixStream::pair().unwrap();
        let registry = registry(&control).await.unwrap();
        let watches = (watched.as_raw_fd(), Heartbeats::default());
        let desk = Desk::new(control, flood, watches, registry).unwrap();
        (desk, taken, [watched, silent])
    }

    /// A configuration that says this of one key.
    fn fresh((name, value): (&str, &str)) -> Option<Result<Fresh, Error>> {
        let env = [
            (name, value),
            ("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:0"),
            ("GRANDSTAND_LISTENERS__HTTP__ADDR", "127.0.0.1:0"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = load(None, env).unwrap();
        let plan = plan(&loaded, &Host::detect(), b"").unwrap();
        let certificates = Known::new(&loaded.settings.tls, Instant::now());
        Some(Ok(Fresh::of(loaded, plan, certificates)))
    }

    impl Desk<Flood> {
        /// What the API is told of a reload to a configuration that says this of one key.
        fn reload(&mut self, said: (&str, &str)) -> Result<Reloaded, Error> {
            let (reply, mut told) = oneshot::channel();
            let wish = Wish::Api { reply, only_if: None };
            let Self { control, exchange, keeper, limits, .. } = self;
            control.reloaded((fresh(said), wish), (exchange, keeper), limits);
            Ok(told.try_recv().unwrap()?.expect("it was for whichever is in force"))
        }

        fn troubles(&self) -> Vec<(Trouble, String)> {
            self.control.troubles.list()
        }
    }

    #[tokio::test]
    async fn a_reload_whose_streams_find_no_room_changes_nothing() {
        let (mut desk, _, _watched) = desk().await;
        let of_api =
            (0..600).map(|nth| Change::PutTemplate { code: format!("api{nth}"), value: json!({}) });
        desk.exchange.registry.apply(Change::All(of_api.collect())).unwrap();
        let before = (Arc::clone(&desk.control.loaded), desk.exchange.registry.bytes_max);
        let of_file: Vec<_> = (0..500).map(|nth| format!("{{ code = 'file{nth}' }}")).collect();
        let said = format!("[{}]", of_file.join(", "));
        let refused = desk.reload(("GRANDSTAND_STREAMS__TEMPLATE", &said)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "GRANDSTAND_STREAMS__TEMPLATE: streams.template: with those of the API there would be \
             more than 1000 templates; declare fewer, or delete some by the API"
        );
        assert!(Arc::ptr_eq(&before.0, &desk.control.loaded), "the old one is in force");
        assert_eq!(desk.exchange.registry.bytes_max, before.1);
        assert_eq!(desk.exchange.registry.templates_after(None).count(), 600);
        let said = format!("[{}]", of_file[..400].join(", "));
        desk.reload(("GRANDSTAND_STREAMS__TEMPLATE", &said)).unwrap();
        assert_eq!(desk.exchange.registry.templates_after(None).count(), 1_000);
    }

    #[tokio::test]
    async fn a_reload_tells_that_its_streams_wait_and_what_became_of_them() {
        let said = ("GRANDSTAND_STREAMS__STREAM", "[{ code = 'file', disabled = true }]");
        let name = |text: &str| StreamName::parse(text).unwrap();
        for finds_room in [true, false] {
            let (mut desk, _, _watched) = desk().await;
            // A disk that does not answer: nobody looks whether it did.
            let (reply, _answer) = oneshot::channel();
            let change = Change::PutStream { name: name("api"), value: json!({}) };
            let condition = Condition::default();
            let ask = RegistryAsk::Change { change, condition, dry_run: false, reply };
            desk.ask(Ask::Registry(ask), Instant::now());
            let told = desk.reload(said).unwrap();
            assert!(told.doubts[0].contains("are not in force yet"), "{:?}", told.doubts);
            let troubles = desk.troubles();
            assert_eq!(troubles[0].0.code(), "streams_not_taken");
            assert!(troubles[0].1.contains("see to that disk"), "{troubles:?}");
            if !finds_room {
                desk.exchange.registry.bytes_max = 1;
            }
            let Desk { keeper, exchange, .. } = &mut desk;
            let done = keeper.committed().await;
            keeper.finish(done, &mut exchange.registry);
            assert!(desk.exchange.registry.stream(&name("api")).is_some());
            let there = desk.exchange.registry.stream(&name("file")).is_some();
            assert_eq!(there, finds_room);
            let troubles = desk.troubles();
            match finds_room {
                true => assert_eq!(troubles, []),
                false => {
                    assert!(troubles[0].1.contains("those in force stay"), "{troubles:?}");
                    // It is over when a file finds room.
                    desk.exchange.registry.bytes_max = u64::MAX;
                    assert_eq!(desk.reload(said).unwrap().doubts, Vec::<String>::new());
                    assert_eq!(desk.troubles(), []);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_reload_is_applied_to_the_configuration_that_it_was_for() {
        let (mut desk, _, _watched) = desk().await;
        let fresh = |level| fresh(("GRANDSTAND_LOG__LEVEL", level));
        let (reply, mut in_force) = oneshot::channel();
        desk.control.answer(ConfigAsk::InForce { reply });
        let shown = in_force.try_recv().unwrap();
        let mut outcomes = Vec::new();
        // Both were for what was shown, and waited for each other.
        for level in ["warn", "info"] {
            let (reply, mut told) = oneshot::channel();
            let wish = Wish::Api { reply, only_if: Some(Arc::clone(&shown)) };
            let Desk { control, exchange, keeper, limits, .. } = &mut desk;
            control.reloaded((fresh(level), wish), (exchange, keeper), limits);
            let told = told.try_recv().unwrap().unwrap();
            outcomes.push(told.is_some());
        }
        assert_eq!(outcomes, [true, false]);
        assert_eq!(desk.control.loaded.settings.log.level, LogLevel::Warn);
    }

    #[tokio::test]
    async fn a_flood_of_events_starves_neither_questions_nor_tasks_nor_a_signal() {
        const QUESTIONS: u64 = 100;
        let (mut desk, taken, _watched) = desk().await;
        let (asks, all) = (desk.asks_in.clone(), Arc::clone(&taken));
        // Another task of the same thread, which asks one thing after the other.
        let asker = tokio::spawn(async move {
            let before = all.load(Ordering::Relaxed);
            for _ in 0..QUESTIONS {
                let (reply, answer) = oneshot::channel();
                asks.send(Ask::Counts { reply }).await.unwrap();
                answer.await.unwrap();
            }
            let during = all.load(Ordering::Relaxed) - before;
            let own = std::process::id().to_string();
            let told = std::process::Command::new("kill").args(["-TERM", &own]).status();
            assert!(told.unwrap().success());
            during
        });
        let end = tokio::time::timeout(PATIENCE, desk.turn()).await.expect("the signal is heard");
        assert_eq!(end, End::Drained);
        let during = asker.await.unwrap();
        // The flood went on all the time, and each question waited for some turns of it at most.
        let turns = during / EVENTS_PER_TURN;
        assert!((QUESTIONS..=4 * QUESTIONS).contains(&turns), "{turns} turns");
    }

    #[tokio::test]
    async fn a_flood_of_events_does_not_put_off_the_end() {
        let (mut desk, taken, _watched) = desk().await;
        let zero = Duration::ZERO;
        let session = SessionConfig { refuse: zero, drain: zero, ..SessionConfig::default() };
        desk.ending = Some(Ending::new(&session, Instant::now()));
        let end = tokio::time::timeout(PATIENCE, desk.turn()).await.expect("it ends in time");
        assert_eq!(end, End::Late);
        assert!(taken.load(Ordering::Relaxed) > EVENTS_PER_TURN, "there was a flood");
    }
}
