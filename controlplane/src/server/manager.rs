//! Manager: what the service manager that started this process is told of it.
//!
//! Spec: sd_notify(3), sd_watchdog_enabled(3); `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
//!
//! ```text
//!   start     READY=1                      once peers are served
//!   reload    RELOADING=1 ... READY=1      by SIGHUP or the API, refused or not
//!   a signal  STOPPING=1                   with the time that the way down may take
//!   always    STATUS=...                   when what it says has changed
//! ```
//!
//! Not here: `WATCHDOG=1`, for which this thread is not needed (`watchdog.rs`).

use std::ffi::OsString;
use std::fmt::Write;
use std::time::{Duration, Instant};

use dataplane::heartbeats::Heartbeats;
use dataplane::ids::ShardId;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::notify_socket::NotifySocket;
use super::watchdog::{ControlTurns, LOOKS_PER_WATCHDOG, Watchdog};
use crate::bridge::Gathered;

/// How often shards are asked, unless the watchdog has less time.
const LOOK: Duration = Duration::from_secs(10);

/// What the service manager put into the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// `NOTIFY_SOCKET`
    pub(super) socket: Option<OsString>,
    /// `WATCHDOG_USEC`
    pub(super) watchdog_usec: Option<String>,
    /// `WATCHDOG_PID`
    pub(super) watchdog_pid: Option<String>,
}

impl Environment {
    /// That of this process.
    pub(super) fn read() -> Self {
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_usec: std::env::var("WATCHDOG_USEC").ok(),
            watchdog_pid: std::env::var("WATCHDOG_PID").ok(),
        }
    }

    /// The time of the watchdog, if it watches this process.
    fn watchdog(&self) -> Option<Duration> {
        let own = std::process::id().to_string();
        let ours = self.watchdog_pid.as_ref().is_none_or(|pid| *pid == own);
        let usec: u64 = self.watchdog_usec.as_ref().filter(|_| ours)?.parse().ok()?;
        (usec > 0).then(|| Duration::from_micros(usec))
    }
}

/// What the status line says beside numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Ending,
}

/// The service manager. Lives on: the control thread. Crosses by: never.
#[derive(Debug)]
pub(super) struct Manager {
    socket: Option<NotifySocket>,
    /// Where it hears, and the time of its watchdog.
    watch: Option<(OsString, Duration)>,
    watchdog: Option<Watchdog>,
    every: Duration,
    phase: Phase,
    /// Why the last reload changed nothing.
    refused: Option<String>,
    look: Option<oneshot::Receiver<Gathered>>,
    /// The turns that shards had taken when they were asked.
    turns: Vec<Option<u64>>,
    next_look: Instant,
    seen: Seen,
    /// The status that was told last.
    status: String,
}

/// What the last look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    streams: u64,
    publishers: u64,
    players: u64,
    shards: usize,
    /// Shards that did not answer, and did not turn.
    silent: Vec<ShardId>,
}

impl Manager {
    /// Nobody, if the environment names none that can be told.
    pub(super) fn new(environment: &Environment, now: Instant) -> Self {
        let open = |address: &OsString| match NotifySocket::open(address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: nobody is told");
                None
            }
        };
        let socket = environment.socket.as_ref().filter(|address| !address.is_empty());
        let watchdog = environment.watchdog();
        let every = watchdog.map_or(LOOK, |time| LOOK.min(time / LOOKS_PER_WATCHDOG));
        Self {
            socket: socket.and_then(open),
            watch: socket.cloned().zip(watchdog),
            watchdog: None,
            every,
            phase: Phase::Starting,
            refused: None,
            look: None,
            turns: Vec::new(),
            next_look: now,
            seen: Seen::default(),
            status: String::new(),
        }
    }

    /// Peers are served by `shards` from now on.
    pub(super) fn serving(&mut self, shards: usize) {
        self.phase = Phase::Serving;
        self.seen.shards = shards;
        self.tell("READY=1");
    }

    /// Has somebody else vouch for shards and control thread, if the watchdog watches them.
    pub(super) fn watch(&mut self, heartbeats: Heartbeats, control: ControlTurns) {
        let Some((address, time)) = &self.watch else { return };
        match Watchdog::start(address, *time, heartbeats, control) {
            Ok(watchdog) => self.watchdog = Some(watchdog),
            Err(error) => {
                tracing::error!(
                    %error,
                    "nobody feeds the watchdog, which will end this process; give it a thread and \
                     a descriptor, or set WatchdogSec=0"
                );
            }
        }
    }

    /// The configuration is being read again.
    pub(super) fn reloading(&mut self) {
        if self.phase == Phase::Serving {
            let time = clock_gettime(ClockId::Monotonic);
            let usec = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000;
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
        }
    }

    /// It was read: `refused` says why nothing came of it.
    pub(super) fn reloaded(&mut self, refused: Option<String>) {
        self.refused = refused;
        if self.phase == Phase::Serving {
            self.tell("READY=1");
        }
    }

    /// The way down began and takes `patience` at most.
    pub(super) fn ending(&mut self, patience: Duration) {
        self.phase = Phase::Ending;
        let usec = patience.as_micros();
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}"));
    }

    /// True if shards are to be asked now; the question goes to [`Self::asked`].
    pub(super) fn wants_look(&self, now: Instant) -> bool {
        self.socket.is_some() && self.look.is_none() && self.next_look <= now
    }

    /// Every shard was asked, after so many turns of each.
    pub(super) fn asked(
        &mut self,
        look: oneshot::Receiver<Gathered>,
        turns: Vec<Option<u64>>,
        now: Instant,
    ) {
        self.look = Some(look);
        self.turns = turns;
        self.next_look = now + self.every;
    }

    /// Takes the answers, if they are there; `turns` tells how many turns a shard took by now,
    /// unless it has ended.
    pub(super) fn heed(&mut self, turns: impl Fn(ShardId) -> Option<u64>) {
        use oneshot::error::TryRecvError;
        let gathered = match self.look.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(gathered)) => gathered,
            // Nobody was asked, so nobody hangs: the next look will tell.
            Some(Err(TryRecvError::Closed)) => {
                self.look = None;
                return;
            }
        };
        self.look = None;
        // One that turns is only busy, and one that has ended has no more to say.
        let hangs = |shard: &ShardId| {
            let turns = turns(*shard);
            turns.is_some() && self.turns.get(shard.index()) == Some(&turns)
        };
        let silent: Vec<_> = gathered.missing.iter().copied().filter(hangs).collect();
        let sum = |of: fn(&dataplane::metrics::ShardCounters) -> u64| {
            gathered.snapshots.iter().map(|shard| of(&shard.counters)).sum()
        };
        let seen = Seen {
            streams: sum(|counters| counters.streams),
            publishers: sum(|counters| counters.publishers),
            players: sum(|counters| counters.players),
            shards: gathered.snapshots.len(),
            silent,
        };
        self.seen = seen;
        let status = self.status();
        if status != self.status && self.mention(&format!("STATUS={status}")) {
            self.status = status;
        }
    }

    /// When shards are to be asked again.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.socket.is_some() && self.look.is_none()).then_some(self.next_look)
    }

    /// Tells a change of state, with the status that goes with it.
    fn tell(&mut self, words: &str) {
        self.status = self.status();
        if let Some(socket) = &mut self.socket {
            socket.tell(format!("{words}\nSTATUS={}", self.status));
        }
    }

    fn mention(&mut self, words: &str) -> bool {
        self.socket.as_mut().is_some_and(|socket| socket.mention(words))
    }

    /// One line for people.
    fn status(&self) -> String {
        let Seen { streams, publishers, players, shards, silent } = &self.seen;
        let verb = match self.phase {
            Phase::Starting | Phase::Serving => "Serving",
            Phase::Ending => "Ending",
        };
        let mut text = format!(
            "{verb}: shards {shards}, streams {streams}, publishers {publishers}, players {players}"
        );
        if !silent.is_empty() {
            write!(text, "; not turning: {}", names(silent)).expect("a text grows");
        }
        if let Some(reason) = &self.refused {
            // A notice is lines: one more would be taken for another word.
            let reason = reason.replace(char::is_control, " ");
            write!(text, "; the last reload was refused: {reason}").expect("a text grows");
        }
        text
    }
}

/// `shard 1, shard 3`
pub(super) fn names(shards: &[ShardId]) -> String {
    shards.iter().map(|shard| format!("shard {shard}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::snapshots::empty;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// So many players: shards that do not hang have ended.
    const ENDED: u64 = 1_000;
    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        hears: UnixDatagram,
        manager: Manager,
        now: Instant,
    }

    impl Bench {
        fn new(name: &str, watchdog_usec: Option<&str>) -> Self {
            let name = format!("grandstand-manager-{name}-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
            let hears = UnixDatagram::bind_addr(&address).unwrap();
            hears.set_nonblocking(true).unwrap();
            let environment = Environment {
                socket: Some(format!("@{name}").into()),
                watchdog_usec: watchdog_usec.map(str::to_owned),
                watchdog_pid: None,
            };
            let now = Instant::now();
            Self { hears, manager: Manager::new(&environment, now), now }
        }

        fn heard(&self) -> Vec<String> {
            let mut bytes = [0; 4096];
            std::iter::from_fn(|| {
                let length = self.hears.recv(&mut bytes).ok()?;
                Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
            })
            .collect()
        }

        /// One look at two shards of which `answers` answer, and `hanging` ones do not turn.
        fn look(&mut self, answers: &[u16], players: u64, hanging: &[u16]) -> Vec<String> {
            assert!(self.manager.wants_look(self.now));
            let (asker, answer) = oneshot::channel();
            self.manager.asked(answer, vec![Some(7); 2], self.now);
            assert!(!self.manager.wants_look(self.now + 60 * SECOND), "one at a time");
            self.manager.heed(|_| panic!("no answer yet"));
            let snapshots = answers.iter().map(|&shard| {
                let mut snapshot = empty(ShardId(shard), 0);
                snapshot.counters.players = players % ENDED;
                snapshot
            });
            let missing = (0..2).filter(|shard| !answers.contains(shard)).map(ShardId).collect();
            let gathered =
                Gathered { snapshots: snapshots.collect(), missing, ..Gathered::default() };
            asker.send(gathered).unwrap();
            self.manager.heed(|shard| match shard {
                ShardId(shard) if hanging.contains(&shard) => Some(7),
                // As if each had been told to end.
                _ if players == ENDED => None,
                _ => Some(8),
            });
            self.now = self.manager.due().unwrap();
            self.heard()
        }
    }

    fn status(verb: &str, players: u64, shards: usize, more: &str) -> String {
        let text = format!("shards {shards}, streams 0, publishers 0, players {players}{more}");
        format!("STATUS={verb}: {text}")
    }

    #[test]
    fn the_life_of_a_server_is_told() {
        let mut bench = Bench::new("life", None);
        bench.manager.serving(2);
        let serving = status("Serving", 0, 2, "");
        assert_eq!(bench.heard(), [format!("READY=1\n{serving}")]);
        assert_eq!(bench.look(&[0, 1], 0, &[]), [""; 0], "nothing is new");
        assert_eq!(bench.look(&[0, 1], 3, &[]), [status("Serving", 6, 2, "")]);
        bench.manager.reloading();
        let told = bench.heard();
        assert!(told[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told:?}");
        bench.manager.reloaded(Some("line 1:\nbad".to_owned()));
        let refused = "; the last reload was refused: line 1: bad";
        let told = format!("READY=1\n{}", status("Serving", 6, 2, refused));
        assert_eq!(bench.heard(), [told]);
        bench.manager.reloaded(None);
        assert_eq!(bench.heard(), [format!("READY=1\n{}", status("Serving", 6, 2, ""))]);
        bench.manager.ending(5 * SECOND);
        let ending = status("Ending", 6, 2, "");
        assert_eq!(bench.heard(), [format!("STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000\n{ending}")]);
        bench.manager.reloading();
        bench.manager.reloaded(None);
        assert_eq!(bench.heard(), [""; 0], "who ends is ready no more");
    }

    #[test]
    fn a_shard_that_neither_answers_nor_turns_is_named() {
        let mut bench = Bench::new("silent", Some("3000000"));
        assert_eq!(bench.manager.every, SECOND);
        bench.manager.serving(2);
        bench.heard();
        let one = |more: &str| status("Serving", 0, 1, more);
        assert_eq!(bench.look(&[0], 0, &[1]), [one("; not turning: shard 1")]);
        assert_eq!(bench.look(&[0], 0, &[1]), [""; 0], "nothing is new");
        assert_eq!(bench.look(&[0], 0, &[]), [one("")], "it is busy");
        assert_eq!(bench.look(&[0, 1], 0, &[]), [status("Serving", 0, 2, "")]);
        bench.manager.ending(SECOND);
        bench.heard();
        assert_eq!(bench.look(&[0], ENDED, &[]), [status("Ending", 0, 1, "")], "it has ended");
        let hangs = status("Ending", 0, 1, "; not turning: shard 1");
        assert_eq!(bench.look(&[0], ENDED, &[1]), [hangs]);
    }

    #[test]
    fn only_a_watchdog_of_this_process_is_one() {
        let of = |usec: &str, pid: Option<u32>| {
            let watchdog_pid = pid.map(|pid| pid.to_string());
            Environment { socket: None, watchdog_usec: Some(usec.to_owned()), watchdog_pid }
                .watchdog()
        };
        assert_eq!(of("2000000", None), Some(2 * SECOND));
        assert_eq!(of("2000000", Some(std::process::id())), Some(2 * SECOND));
        assert_eq!(of("2000000", Some(1)), None);
        assert_eq!((of("0", None), of("soon", None)), (None, None));
    }

    #[test]
    fn without_a_manager_nobody_is_asked() {
        let now = Instant::now();
        let mut manager = Manager::new(&Environment::default(), now);
        manager.serving(2);
        manager.ending(SECOND);
        assert!(!manager.wants_look(now) && manager.due().is_none());
    }
}
