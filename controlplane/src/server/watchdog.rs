//! Watchdog: a thread that vouches for this process to the service manager, which starts it anew
//! when nobody does.
//!
//! Spec: sd_watchdog_enabled(3). The thread looks three times in the time of the watchdog:
//!
//! ```text
//!   every shard has turned since the last look, or has ended as it was told to ----+
//!                                                                                  +--> WATCHDOG=1
//!   the control thread has turned within the last ten minutes ---------------------+
//! ```
//!
//! What runs needs the shards and nobody else. A shard that hangs is a failure at once; it is not
//! asked anything, because an answer waits behind other work in a flood. The control thread may be
//! late, behind a disk or under a debugger, and costs those who publish and play nothing: ending
//! them for it would be worse than what is wrong. But a node whose control thread never comes back
//! lets nobody new in, and cannot be told to end: that is given up after [`CONTROL_SILENT_MAX`].
//!
//! Limits: it neither waits nor locks, so that nothing but the machine makes it late.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use dataplane::heartbeats::Heartbeats;
use dataplane::ids::ShardId;

use super::manager::names;
use super::notify_socket::NotifySocket;

/// Looks in the time of the watchdog: two may be late before it bites.
pub(super) const LOOKS_PER_WATCHDOG: u32 = 3;
/// A control thread that took no turn for as long will take none. It turns every ten seconds if
/// nothing happens, and a share that lost its server is given up within minutes.
const CONTROL_SILENT_MAX: Duration = Duration::from_secs(600);
/// A control thread that took no turn for as long is worth a line in the log.
const CONTROL_LATE: Duration = Duration::from_secs(30);

/// The turns of the control thread. Clones are one.
///
/// Crosses by: an atomic that the control thread alone writes.
#[derive(Clone, Debug, Default)]
pub(super) struct ControlTurns(Arc<AtomicU64>);

impl ControlTurns {
    /// The control thread begins a turn.
    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    _ends: Sender<()>,
}

impl Watchdog {
    /// Vouches to the manager at `address` for shards and control thread, often enough for a
    /// watchdog of that `time`.
    ///
    /// Errors: no socket, or no thread.
    pub(super) fn start(
        address: &OsString,
        time: Duration,
        heartbeats: Heartbeats,
        control: ControlTurns,
    ) -> std::io::Result<Self> {
        let socket = NotifySocket::open(address)?;
        let (ends, ended) = channel();
        let watch = Watch::new(heartbeats.shards(), control.count(), Instant::now());
        let every = time / LOOKS_PER_WATCHDOG;
        let look = move || vouch(watch, socket, (&heartbeats, &control), every, &ended);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(look)?;
        Ok(Self { _ends: ends })
    }
}

/// Looks until the other end of `ended` is gone.
fn vouch(
    mut watch: Watch,
    mut socket: NotifySocket,
    (heartbeats, control): (&Heartbeats, &ControlTurns),
    every: Duration,
    ended: &Receiver<()>,
) {
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let turns = |shard| heartbeats.turns(shard);
        if watch.look(turns, control.count(), Instant::now()) {
            socket.mention("WATCHDOG=1");
        }
    }
}

/// What was seen at the last look.
#[derive(Debug)]
struct Watch {
    turns: Vec<Option<u64>>,
    /// Turns of the control thread, and when there were fewer.
    control: (u64, Instant),
    /// What the log was told.
    silent: Vec<ShardId>,
    late: bool,
}

impl Watch {
    fn new(shards: usize, control: u64, now: Instant) -> Self {
        // No shard has turned so seldom, so that the first look finds that all have.
        let turns = vec![Some(0); shards];
        Self { turns, control: (control, now), silent: Vec::new(), late: false }
    }

    /// True if the process is well.
    fn look(&mut self, turns: impl Fn(ShardId) -> Option<u64>, control: u64, now: Instant) -> bool {
        let mut silent = Vec::new();
        for (shard, before) in (0..).map(ShardId).zip(&mut self.turns) {
            let turned = turns(shard);
            if turned.is_some() && turned == *before {
                silent.push(shard);
            }
            *before = turned;
        }
        if silent != self.silent && !silent.is_empty() {
            tracing::error!(shards = names(&silent), "shards do not turn");
        }
        self.silent = silent;
        if control != self.control.0 {
            self.control = (control, now);
        }
        let quiet = now.saturating_duration_since(self.control.1);
        if quiet >= CONTROL_LATE && !self.late {
            tracing::warn!("the control thread does not turn: nobody new is let in meanwhile");
        }
        self.late = quiet >= CONTROL_LATE;
        self.silent.is_empty() && quiet < CONTROL_SILENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        watch: Watch,
        turns: [Option<u64>; 2],
        control: u64,
        now: Instant,
    }

    impl Bench {
        /// Ten seconds in which those shards turned, and the control thread if it `turns`.
        fn look(&mut self, shards: &[usize], turns: bool) -> bool {
            self.now += 10 * SECOND;
            for &shard in shards {
                self.turns[shard] = self.turns[shard].map(|turns| turns + 1);
            }
            self.control += u64::from(turns);
            self.watch.look(|shard| self.turns[shard.index()], self.control, self.now)
        }
    }

    fn bench() -> Bench {
        let now = Instant::now();
        Bench { watch: Watch::new(2, 7, now), turns: [Some(900), Some(5)], control: 7, now }
    }

    #[test]
    fn nobody_vouches_for_a_shard_that_does_not_turn() {
        let mut bench = bench();
        assert!(bench.look(&[0, 1], true));
        assert!(!bench.look(&[0], true));
        assert!(!bench.look(&[0], true));
        assert_eq!(bench.watch.silent, [ShardId(1)]);
        assert!(bench.look(&[0, 1], true), "it goes on");
        // One that has ended as it was told to owes nothing.
        bench.turns[1] = None;
        assert!(bench.look(&[0], true) && bench.look(&[0], true));
        assert!(!bench.look(&[], true));
    }

    #[test]
    fn a_control_thread_may_be_late_but_not_for_ever() {
        let mut bench = bench();
        // Six minutes and more, and back again.
        assert!((0..40).all(|_| bench.look(&[0, 1], false)));
        assert!(bench.watch.late, "the log was told");
        assert!(bench.look(&[0, 1], true));
        assert!(!bench.watch.late);
        let vouched = (0..100).take_while(|_| bench.look(&[0, 1], false)).count();
        assert_eq!(10 * SECOND * (u32::try_from(vouched).unwrap() + 1), CONTROL_SILENT_MAX);
    }
}
