//! Measures hooks: how many events a second one hook brings to a receiver on this machine, how long
//! each takes from its publication, and whether anything grows.
//!
//! The paced rows publish `RATE` events a second, each of another stream, and say how long each was
//! under way; the last row publishes as fast as there is room. Every event is on the disk (in the
//! directory for temporary files) before it is tried. The receiver answers 204 from a thread for
//! each connection.
//!
//! `cargo run --release -p grandstand --example hooks [SECONDS]`

#[path = "../tests/cli/requests.rs"]
mod requests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use controlplane::events::{Backlog, Bus, Kind, RingLimits};
use controlplane::hooks::{HookSpec, Hooks};
use controlplane::store::Store;
use dataplane::ids::StreamName;

/// Events a second of the paced rows.
const RATE: u32 = 1_000;
/// Seconds that a paced row lasts.
const SECONDS: u32 = 10;
/// Events of the row that is not paced.
const BURST: u32 = 100_000;
/// Events that are told to be there for so long are lost.
const LATE: Duration = Duration::from_secs(60);

/// When each event came, by its number.
type Came = Arc<Mutex<Vec<(u32, Instant)>>>;

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    println!(
        "{:<28} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "way", "events/s", "p50 ms", "p99 ms", "max ms", "waiting", "KiB more"
    );
    for (name, batch_max, events, rate) in [
        ("paced, lists", 100, seconds * RATE, Some(RATE)),
        ("paced, one a request", 1, seconds * RATE, Some(RATE)),
        ("as fast as there is room", 100, BURST, None),
    ] {
        let row = runtime.block_on(row(batch_max, events, rate));
        println!(
            "{name:<28} {:>9.0} {:>8.1} {:>8.1} {:>8.1} {:>9} {:>9}",
            row.per_second, row.p50, row.p99, row.max, row.waiting, row.grown
        );
    }
}

struct Row {
    per_second: f64,
    p50: f64,
    p99: f64,
    max: f64,
    /// The most events that waited at one time.
    waiting: u64,
    /// By how much the process grew in its second half.
    grown: i64,
}

async fn row(batch_max: u32, events: u32, rate: Option<u32>) -> Row {
    let dir = Dir::new();
    let came = Came::default();
    let spec = serde_json::json!({
        "id": "app", "type": "http", "target": format!("http://{}/", receiver(&came)),
        "batch_max": batch_max, "types": ["stream.*"],
    });
    let spec: HookSpec = serde_json::from_value(spec).expect("a hook");
    let store = Store::open(&dir.0).expect("a store opens");
    let bus = Bus::new("edge-1".into(), RingLimits::default());
    let hooks = Hooks::start(store, bus.clone(), &dir.0, vec![spec]);
    while hooks.get("app").is_none() {
        tokio::task::yield_now().await;
    }
    let waiting = || hooks.get("app").map_or(0, |hook| hook.waiting);
    let (mut backlog, mut published) = (Backlog::default(), Vec::new());
    let (mut most, mut half) = (0, 0);
    let start = Instant::now();
    while published.len() < events as usize || !backlog.is_empty() {
        let passed = start.elapsed().as_secs_f64();
        let due = rate.map_or(events, |rate| (passed * f64::from(rate)) as u32).min(events);
        for number in published.len() as u32..due {
            published.push(Instant::now());
            backlog.push(StreamName::parse(&format!("s/{number}")), Kind::StreamLost {});
        }
        backlog.tell(&bus, Instant::now());
        most = most.max(waiting());
        if half == 0 && published.len() as u32 >= events / 2 {
            half = resident_kib();
        }
        match rate {
            Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            None => tokio::task::yield_now().await,
        }
    }
    let deadline = Instant::now() + LATE;
    while locked(&came).len() < events as usize {
        assert!(Instant::now() < deadline, "{} of {events} came", locked(&came).len());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let grown = resident_kib() - half;
    hooks.close().await;
    assert_eq!(hooks.missed(), 0);
    let came = locked(&came);
    let last = came.iter().map(|&(_, at)| at).max().expect("there were events");
    let mut took: Vec<_> = came.iter().map(|&(n, at)| at - published[n as usize]).collect();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Row {
        per_second: f64::from(events) / (last - start).as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
        waiting: most,
        grown,
    }
}

fn locked(came: &Came) -> std::sync::MutexGuard<'_, Vec<(u32, Instant)>> {
    came.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of this process that is in the machine's.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A directory that is removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let name = format!("grandstand-example-hooks-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Takes events.
fn receiver(came: &Came) -> SocketAddr {
    let came = Arc::clone(came);
    requests::serve(move |_, body| {
        let now = Instant::now();
        let text = std::str::from_utf8(body).ok()?;
        let numbers = text.split("\"stream\":\"s/").skip(1);
        let numbers = numbers.filter_map(|rest| rest.split('"').next()?.parse().ok());
        locked(&came).extend(numbers.map(|number: u32| (number, now)));
        Some(requests::TAKEN.to_owned())
    })
}
