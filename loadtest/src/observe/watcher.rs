//! The watcher: looks at the server once a second, on a thread of its own.
//!
//! A server that goes away while it is watched ends no run: the series goes on without it, and
//! [`Watched::fault`] tells why.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::api::{ApiPlan, ServerApi, ShardReading};
use super::exposition::{Buckets, histograms};
use super::proc_tree::ProcTree;
use super::process::{ProcessReading, ServerProcess};
use super::sample::{ProcessSample, ServerSample, ShardSample, ThreadSample};
use super::series::Series;
use super::socket_memory::SocketMemory;
use crate::socket::monotonic_ns;

/// How often the server is looked at.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// What a shard's loop lag is called, the newest name first.
const LAG_FAMILIES: [&str; 2] = ["grandstand_loop_lag_seconds", "grandstand_timer_lag_seconds"];

const TURN_FAMILY: &str = "grandstand_turn_seconds";

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchPlan {
    /// The server's process.
    pub process: Option<ServerProcess>,
    /// Its interface.
    pub api: Option<ApiPlan>,
    /// What it is called, if that is told.
    pub server_name: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// Name and version of the server.
    pub server: Option<String>,
    /// Once a second.
    pub series: Series<ServerSample>,
    /// Why something could not be seen any more.
    pub fault: Option<String>,
}

/// The thread that watches.
#[derive(Debug)]
pub struct Watcher {
    server: Option<String>,
    seen: Arc<Mutex<Seen>>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Lives on: the watcher's thread, and who asks it. Crosses by: a lock, once a second.
#[derive(Debug, Default)]
struct Seen {
    series: Series<ServerSample>,
    latest: Option<ServerSample>,
    fault: Option<String>,
}

impl Watcher {
    /// Begins to watch; times count from `started_ns`.
    ///
    /// # Errors
    /// If the process or its interface is not there.
    pub fn start(plan: &WatchPlan, started_ns: u64) -> Result<Self> {
        let mut eye = Eye::open(plan, ProcTree::default(), started_ns)?;
        let told = eye.api.as_ref().map(ServerApi::version).transpose()?;
        let server = plan.server_name.clone().or(told);
        eye.look(monotonic_ns());
        if let Some(fault) = eye.fault {
            anyhow::bail!(fault);
        }
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = channel();
        let shared = seen.clone();
        let thread = thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || eye.watch(&stopped, &shared))
            .context("cannot start the thread that watches the server")?;
        Ok(Self { server, seen, stop, thread })
    }

    /// What was seen last.
    #[must_use]
    pub fn latest(&self) -> Option<ServerSample> {
        lock(&self.seen).latest.clone()
    }

    /// The samples that end between two times.
    #[must_use]
    pub fn between(&self, from_s: f64, to_s: f64) -> Vec<ServerSample> {
        let seen = lock(&self.seen);
        let samples = seen.series.samples().iter();
        samples.filter(|sample| sample.at_s > from_s && sample.at_s <= to_s).cloned().collect()
    }

    /// Name and version of the server, if they are known.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Ends it.
    #[must_use]
    pub fn finish(self) -> Watched {
        drop(self.stop);
        // A panic there is told by the thread itself, and what it saw until then counts.
        let _ = self.thread.join();
        let Seen { mut series, fault, .. } = std::mem::take(&mut *lock(&self.seen));
        series.finish();
        Watched { server: self.server, series, fault }
    }
}

/// What looks, and what it saw last.
pub struct Eye {
    tree: ProcTree,
    process: Option<ServerProcess>,
    api: Option<ServerApi>,
    started_ns: u64,
    before_ns: Option<u64>,
    reading: Option<ProcessReading>,
    lags: Vec<(u16, Buckets)>,
    turns: Vec<(u16, Buckets)>,
    fault: Option<String>,
}

impl Eye {
    /// Looks at a tree of processes.
    ///
    /// # Errors
    /// If the process is not there, or the address of the interface is none.
    pub fn open(plan: &WatchPlan, tree: ProcTree, started_ns: u64) -> Result<Self> {
        let api = plan.api.as_ref().map(ServerApi::new).transpose()?;
        let process = plan.process;
        if let Some(process) = process {
            process.read_in(&tree)?;
        }
        let (lags, turns) = (Vec::new(), Vec::new());
        let (before_ns, reading, fault) = (None, None, None);
        Ok(Self { tree, process, api, started_ns, before_ns, reading, lags, turns, fault })
    }

    /// Looks; tells what lies between this look and the one before, if there was one.
    pub fn look(&mut self, now_ns: u64) -> Option<ServerSample> {
        let process = self.process.and_then(|process| {
            let reading = process.read_in(&self.tree);
            self.noting(reading)
        });
        let shards = self.shards();
        let before_ns = self.before_ns.replace(now_ns);
        let before = std::mem::replace(&mut self.reading, process);
        let interval_s = now_ns.saturating_sub(before_ns?) as f64 / 1e9;
        let pair = before.as_ref().zip(self.reading.as_ref());
        Some(ServerSample {
            at_s: now_ns.saturating_sub(self.started_ns) as f64 / 1e9,
            interval_s,
            process: pair.map(|(before, after)| between(before, after, interval_s)),
            sockets: SocketMemory::read_in(&self.tree).ok(),
            shards,
        })
    }

    /// Keeps the first fault.
    fn noting<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.fault.get_or_insert_with(|| format!("{error:#}"))).ok()
    }

    fn shards(&mut self) -> Vec<ShardSample> {
        let Some(api) = self.api.clone() else { return Vec::new() };
        let readings = self.noting(api.shards()).unwrap_or_default();
        let metrics = self.noting(api.metrics()).unwrap_or_default();
        let lags = LAG_FAMILIES.iter().map(|family| histograms(&metrics, family));
        let lags = lags.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
        let lags_before = std::mem::replace(&mut self.lags, lags);
        let turns_before = std::mem::replace(&mut self.turns, histograms(&metrics, TURN_FAMILY));
        let shard = |reading: ShardReading| {
            let lag = since(&self.lags, &lags_before, reading.shard);
            ShardSample {
                lag_p99_ms: lag.quantile_s(990).map(|lag| lag * 1e3),
                lag,
                turn: since(&self.turns, &turns_before, reading.shard),
                reading,
            }
        };
        readings.into_iter().map(shard).collect()
    }

    fn watch(mut self, stopped: &Receiver<()>, seen: &Mutex<Seen>) {
        let mut due_ns = monotonic_ns() + INTERVAL_NS;
        loop {
            let left_ns = due_ns.saturating_sub(monotonic_ns());
            let is_over = match stopped.recv_timeout(Duration::from_nanos(left_ns)) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            };
            let now_ns = monotonic_ns();
            // Rates over a moment mean nothing.
            let since_ns = now_ns - self.before_ns.unwrap_or(now_ns);
            if (!is_over || since_ns >= INTERVAL_NS / 4)
                && let Some(sample) = self.look(now_ns)
            {
                let mut seen = lock(seen);
                seen.latest = Some(sample.clone());
                seen.series.push(sample);
                seen.fault.clone_from(&self.fault);
            }
            if is_over {
                return;
            }
            // A look that takes longer than the interval does not pile up.
            due_ns = (due_ns + INTERVAL_NS).max(now_ns);
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(after: &[(u16, Buckets)], before: &[(u16, Buckets)], shard: u16) -> Buckets {
    let of = |all: &[(u16, Buckets)]| {
        all.iter().find(|(id, _)| *id == shard).map(|(_, buckets)| buckets.clone())
    };
    match (of(after), of(before)) {
        (Some(after), Some(before)) => after.since(&before),
        _ => Buckets::default(),
    }
}

fn between(before: &ProcessReading, after: &ProcessReading, interval_s: f64) -> ProcessSample {
    let seconds = interval_s.max(1e-9);
    let spent_s = (after.cpu_s - before.cpu_s) + (after.softirq_s - before.softirq_s);
    let rate = |was: u64, is: u64| is.saturating_sub(was) as f64 / seconds;
    let thread = |after: &super::process::ThreadReading| {
        let before = before.threads.iter().find(|before| before.tid == after.tid);
        let spent_s = after.cpu_s - before.map_or(0.0, |before| before.cpu_s);
        ThreadSample { tid: after.tid, name: after.name.clone(), cpu: spent_s.max(0.0) / seconds }
    };
    let (was, is) = (before.switches, after.switches);
    ProcessSample {
        cpu: spent_s.max(0.0) / seconds,
        rss_bytes: after.rss_bytes,
        pss_bytes: after.pss_bytes,
        anonymous_bytes: after.anonymous_bytes,
        voluntary_switches_per_s: rate(was.voluntary, is.voluntary),
        involuntary_switches_per_s: rate(was.involuntary, is.involuntary),
        threads: after.threads.iter().map(thread).collect(),
    }
}
