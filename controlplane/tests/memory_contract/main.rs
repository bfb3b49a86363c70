//! The memory contract: what `check` prints holds against those who only cost, and is not far from
//! what they make the server take; afterwards the memory goes back, and nobody else noticed.
//!
//! The real server with small limits, 2,000 players that read nothing, 2,000 half-open
//! connections, 1,000 that say a byte now and then, and publishers by the hundreds that come and
//! go, all at once.

#[path = "../interop/http_flv.rs"]
#[allow(dead_code, reason = "this test uses its own part of the client")]
mod http_flv;
#[path = "../interop/metrics.rs"]
#[allow(dead_code, reason = "this test uses its own part of the metrics")]
mod metrics;
mod node;
#[path = "../interop/process.rs"]
#[allow(dead_code, reason = "this test uses its own part of the process")]
mod process;
#[path = "../interop/server.rs"]
#[allow(dead_code, reason = "this test uses its own part of the server")]
mod server;
#[path = "../interop/tls.rs"]
mod tls;

mod crowd;
mod weight;
mod witness;

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crowd::{Slow, Stalled, half_open};
use metrics::Metrics;
use node::Publisher;
use server::{Backend, Folder, Options, Server};
use weight::{Table, status_bytes};
use witness::Witness;

const STALLED: usize = 2_000;
const HALF_OPEN: usize = 2_000;
const SLOW: usize = 1_000;
const PUBLISHERS: usize = 200;
/// Times that publishers come to a whole crowd, each under new names.
const ROUNDS: usize = 2;
const CROWD: usize = STALLED + HALF_OPEN + SLOW;
/// Terms that are taken at start, and resident once a crowd has used them.
const STAY: [&str; 6] =
    ["connections", "verdicts", "mailboxes", "commands", "events", "ended sessions"];
/// Sessions that end with the second crowd.
const ENDED: u64 = (STALLED / 2 + PUBLISHERS * ROUNDS / 2) as u64;
/// Pages that the witness' windows may have more than before.
const PAGES_MORE: f64 = 64.0;
const PAGE_BYTES: u64 = 64 << 10;
/// Parts of pages that the heap cannot give back.
const HOLES_MAX: u64 = 2 << 20;
/// What a second crowd may leave beyond the first: 200 bytes for each connection of it.
const MARGIN: u64 = 512 << 10;
/// Pages that were free for a while go back within some seconds.
const SETTLE: Duration = Duration::from_secs(90);

/// One after the other: each wants the machine's memory for itself.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn the_ceiling_holds_on_io_uring() {
    the_ceiling_holds(Backend::IoUring);
}

#[test]
fn the_ceiling_holds_on_epoll() {
    the_ceiling_holds(Backend::Epoll);
}

fn the_ceiling_holds(backend: Backend) {
    let _alone = ALONE.lock();
    dataplane::reactor::raise_nofile().expect("the limit can be raised to the hard one");
    let folder = Folder::new();
    let mut command = serve(backend, &folder);
    let table = Table::print(&command);
    let server = Server::run(&mut command, folder);
    let witness = Witness::start(&server);
    witness.wait(50);
    let (level, heap) = (resident(&server), held(&server.metrics()));
    let pages = server.metrics().sum("pool_pages_used");

    come_and_leave(&server, &witness, &table, 1);
    let peak = status_bytes(server.pid(), "VmHWM");
    let ceiling = table.ceiling();
    let met = server.metrics();
    println!(
        "{backend:?}: level {level}, peak {peak}, ceiling {ceiling} ({:.2} x), buffers {} at most, \
         sockets {}",
        ceiling as f64 / peak as f64,
        met.sum("buffer_bytes_peak"),
        met.sum("socket_bytes_peak"),
    );
    assert!(peak <= ceiling, "{peak} is over the ceiling {ceiling}");
    assert!(ceiling <= 2 * peak, "the ceiling {ceiling} is far from {peak}");

    // What the first one leaves has names, and the second leaves no more.
    let tables = STAY.iter().map(|term| table.total(term)).sum::<u64>();
    let until = |what, is: &dyn Fn(&Metrics) -> bool| until(&server, &witness, what, is);
    let kept = ["connections", "events", "ended sessions"];
    let grown = kept.iter().map(|term| table.total(term)).sum::<u64>();
    until("what sessions held is free", &|m| held(m) <= heap + grown);
    let first = held(&server.metrics());
    come_and_leave(&server, &witness, &table, 2);
    // Of those who went with it some are remembered beside those of the first.
    let ended = ENDED * table.unit("ended sessions");
    until("the second crowd leaves no more", &|m| held(m) <= first + ended + MARGIN);
    let second = held(&server.metrics());
    until("pages are free", &|m| m.sum("pool_pages_used") <= pages + PAGES_MORE);
    let left = table.total("receive buffers") + tables + PAGES_MORE as u64 * PAGE_BYTES;
    until("the memory goes back", &|_| resident(&server) <= level + left + HOLES_MAX);
    until("sockets are counted anew", &|m| m.sum("socket_bytes") < (8 << 20) as f64);
    let rest = resident(&server);
    let frames = witness.end(&server);
    println!("{backend:?}: {rest} left, at most {}", level + left + HOLES_MAX);
    println!("{backend:?}: heap {heap}, {first}, {second}, at most {}", heap + grown);
    println!("{backend:?}: {frames} frames seen");
    server.stop();
}

/// One crowd of so many parts comes, all at once, and goes.
fn come_and_leave(server: &Server, witness: &Witness, table: &Table, parts: usize) {
    let stalled = Stalled::play(server, witness::NAME, STALLED / parts);
    let open = half_open(server, HALF_OPEN / parts);
    let mut slow = Slow::begin(server, SLOW / parts);
    let all = CROWD / parts + Witness::CONNECTIONS;
    until(server, witness, "everybody is there", |m| connections(m) == all);
    for round in 0..ROUNDS / parts {
        come_and_go(server, &format!("{parts}-{round}"), witness, &mut slow, all);
    }
    let met = server.metrics();
    assert_eq!(connections(&met), all, "nobody was closed before its time");
    let sockets = met.sum("socket_bytes_peak") as u64;
    // Nobody says much that is not read: what sockets hold waits to be sent.
    let bound = (CROWD + Witness::CONNECTIONS + PUBLISHERS) as u64 * table.unit("send buffers");
    assert!(sockets <= bound, "sockets held {sockets}, the options allow {bound}");
    assert!(sockets >= (STALLED as u64) << 15, "sockets that stall hold {sockets}");
    drop((stalled, open, slow));
    until(server, witness, "the crowd is gone", |m| connections(m) == Witness::CONNECTIONS);
}

/// The server, with limits that fit this crowd.
fn serve(backend: Backend, folder: &Folder) -> Command {
    let config = "[egress]\nsend_buffer_bytes = 32768\nstall_ms = 300000\n\
                  user_timeout_ms = 300000\n\
                  [session]\nconnect_deadline_ms = 300000\npublish_idle_ms = 300000\n\
                  [stream]\ngrace_ms = 1000\n";
    let options = Options { config: config.to_owned(), ..Options::on(backend) };
    let mut command = options.command(folder);
    let limits = [
        ("LIMITS__MEMORY_MAX", "320MiB"),
        ("LIMITS__CONNECTIONS_MAX", "5300"),
        ("LIMITS__PLAYERS_MAX", "2100"),
        ("LIMITS__STREAMS_MAX", "256"),
        ("LIMITS__HLS_VIEWERS_MAX", "100"),
        ("LIMITS__BUFFER_BYTES_MAX", "16MiB"),
        ("REACTOR__RECV_BUFFERS", "256"),
        ("EVENTS__RING_BYTES_MAX", "64KiB"),
        ("EVENTS__HOOKS_BYTES_MAX", "1MiB"),
        ("STREAMS__DECLARED_BYTES_MAX", "1MiB"),
        ("STREAMS__IMPORT_BYTES_MAX", "16KiB"),
        ("LISTENERS__CONTROL__CONNECTIONS_MAX", "8"),
        ("AUTH__CLAIMS_BYTES_MAX", "1MiB"),
        ("USAGE__ROWS_PER_HOUR_MAX", "256"),
        ("RECORDING__ACTIVE_MAX", "1"),
        ("RECORDING__FILES_MAX", "16"),
    ];
    for (key, value) in limits {
        command.env(format!("GRANDSTAND_{key}"), value);
    }
    command
}

/// Publishers come under new names, deliver for some seconds, and leave: half of them say so.
fn come_and_go(server: &Server, name: &str, witness: &Witness, slow: &mut Slow, all: usize) {
    let mut publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let mut publisher = Publisher::start(server.rtmp, &format!("{name}/{n}"));
            publisher.video_bytes = 11_000;
            publisher
        })
        .collect();
    for _ in 0..5 {
        for publisher in &mut publishers {
            publisher.send_frames(10);
        }
        slow.dribble();
        witness.wait(10);
    }
    assert_eq!(listed(server), all + PUBLISHERS);
    for publisher in publishers.iter_mut().step_by(2) {
        publisher.stream_command("deleteStream", &[1.0.into()]);
        publisher.flush();
    }
    drop(publishers);
    until(server, witness, "the streams are over", |m| m.sum("streams") == 1.0);
}

/// Sessions in all pages of their list.
fn listed(server: &Server) -> usize {
    let (mut listed, mut cursor) = (0, String::new());
    loop {
        let page = server.api(&format!("/api/v1/sessions?limit=1000{cursor}"));
        listed += page["sessions"].as_array().map_or(0, Vec::len);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return listed,
        }
    }
}

fn connections(metrics: &Metrics) -> usize {
    metrics.sum("connections") as usize
}

/// Bytes of the heap that somebody holds.
fn held(metrics: &Metrics) -> u64 {
    metrics.sum_where("heap_bytes", "used") as u64
}

fn resident(server: &Server) -> u64 {
    status_bytes(server.pid(), "VmRSS")
}

/// Waits until `is` holds of the server's counters, at the pace of the witness.
fn until(server: &Server, witness: &Witness, what: &str, is: impl Fn(&Metrics) -> bool) {
    let deadline = Instant::now() + SETTLE;
    while !is(&server.metrics()) {
        assert!(Instant::now() < deadline, "{what}: never; {} resident", resident(server));
        witness.wait(3);
    }
}
