//! Run: one loop over the shards' events, the API's questions, signals and time.
//!
//! Lives on: the main thread, in a runtime of that thread alone.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dataplane::Node;
use dataplane::config::Limits;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::control::ControlPlane;
use super::cores::Cores;
use super::heap::Heap;
use crate::api::{ApiState, Commands, Token, router, serve};
use crate::bridge::{Ask, Exchange};
use crate::coordinator::StreamingServer;
use crate::error::{Error, reason};
use crate::events::Bus;

/// Questions of the API that wait at most.
const ASKS_MAX: usize = 64;
/// After this long the shards that still drain are stopped.
const STOP_AFTER: Duration = Duration::from_millis(4_500);
/// After this long the process ends whatever its threads do.
const EXIT_AFTER: Duration = Duration::from_millis(4_900);
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
    listener: Option<(TcpListener, Token)>,
    banner: &str,
) -> Result<ExitCode, Error> {
    let failed = |error: std::io::Error| Error::System {
        what: "cannot start the control plane",
        reason: reason(&error),
        mend: "the system must give threads, descriptors and signals",
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let (end, node) = runtime.block_on(async {
        let mut desk = Desk::new(control, node).map_err(failed)?;
        desk.listen(listener).map_err(failed)?;
        print(banner);
        let end = desk.turn().await;
        tracing::info!(end = ?end, "stopped");
        let (commits, syncs, busy) = desk.control.store.counters();
        tracing::debug!(commits, syncs, busy, "the store is closed");
        Ok::<_, Error>((end, desk.exchange.into_fleet()))
    })?;
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

/// A closed standard output is no reason not to serve.
fn print(banner: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(banner.as_bytes()).and_then(|()| out.flush());
}

/// Everything that the loop waits for.
struct Desk {
    events: AsyncFd<RawFd>,
    control: ControlPlane,
    cores: Cores,
    exchange: Exchange<Node>,
    heap: Heap,
    asks: mpsc::Receiver<Ask>,
    asks_in: mpsc::Sender<Ask>,
    ready: watch::Sender<bool>,
    limits: watch::Sender<Limits>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Desk {
    fn new(control: ControlPlane, node: Node) -> std::io::Result<Self> {
        let (asks_in, asks) = mpsc::channel(ASKS_MAX);
        let settings = &control.loaded.settings;
        let mode = settings.auth.mode;
        let bus = Bus::new(settings.node.name().into(), settings.events.ring);
        #[expect(deprecated, reason = "the node owns the descriptor and outlives the watch of it")]
        let events = AsyncFd::new(node.events_fd())?;
        Ok(Self {
            events,
            cores: Cores::new(&control.plan.node.shards, Instant::now()),
            exchange: Exchange::new(node, mode, bus, Instant::now()),
            heap: Heap::new(Instant::now()),
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

    fn listen(&self, listener: Option<(TcpListener, Token)>) -> std::io::Result<()> {
        let Some((listener, token)) = listener else { return Ok(()) };
        let section = &self.control.loaded.settings.listeners.control;
        let state = ApiState::new(
            self.asks_in.clone(),
            self.ready.subscribe(),
            self.limits.subscribe(),
            self.control.logging.dropped(),
            (token, section.hosts.clone()),
            self.exchange.bus().clone(),
        );
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let open = self.control.open.iter().map(|&(_, open)| open);
        let coordinator = &self.control.loaded.settings.coordinator;
        let server = StreamingServer::of(coordinator, open);
        let commands = Commands::new(self.asks_in.clone(), coordinator, server);
        let routes = router(state).merge(commands.router());
        tokio::spawn(serve(listener, routes, section.connections_max));
        Ok(())
    }

    async fn turn(&mut self) -> End {
        let mut draining: Option<Instant> = None;
        let mut stopped = false;
        loop {
            let now = Instant::now();
            let more = self.exchange.pump(now);
            self.exchange.tick(now);
            self.heap.tick(now);
            if self.cores.due().is_some_and(|due| due <= now) {
                for (shard, used) in self.cores.look(now) {
                    self.exchange.core_used(shard, used);
                }
            }
            if self.exchange.live() == 0 {
                return if draining.is_some() { End::Drained } else { End::Lost };
            }
            let since = draining.map(|start| now.saturating_duration_since(start));
            if since.is_some_and(|since| since >= EXIT_AFTER) {
                return End::Late;
            }
            if !stopped && since.is_some_and(|since| since >= STOP_AFTER) {
                tracing::warn!("sessions did not end in time, shards are stopped");
                self.exchange.stop();
                stopped = true;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let due = [self.exchange.deadline(now), self.cores.due()].into_iter().flatten().min();
            let mut wake = due.unwrap_or(now + IDLE).min(now + IDLE);
            wake = wake.min(self.heap.due());
            if let Some(start) = draining {
                wake = wake.min(start + if stopped { EXIT_AFTER } else { STOP_AFTER });
            }
            tokio::select! {
                ready = self.events.readable() => {
                    // Cleared before the events are taken: one sent meanwhile is a new edge.
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
                // The wait was long: the turn's time is not that of the question.
                Some(ask) = self.asks.recv() => self.ask(ask, Instant::now()),
                _ = self.hangup.recv() => {
                    // What is wrong with the file is in the log.
                    let _ = self.control.reload("signal", &mut self.exchange, &self.limits);
                }
                _ = self.terminate.recv() => {
                    if self.drain(&mut draining) {
                        return End::Twice;
                    }
                }
                _ = self.interrupt.recv() => {
                    if self.drain(&mut draining) {
                        return End::Twice;
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Gives a question of the API to whoever can answer it.
    fn ask(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Config(ask) => self.control.answer(ask, &mut self.exchange, &self.limits),
            ask => self.exchange.ask(ask, now),
        }
    }

    /// Begins to end; true if that had begun before.
    fn drain(&mut self, draining: &mut Option<Instant>) -> bool {
        if draining.is_some() {
            return true;
        }
        tracing::info!("ending: nobody new is accepted, sessions get their farewell");
        *draining = Some(Instant::now());
        self.ready.send_replace(false);
        self.exchange.drain();
        false
    }
}
