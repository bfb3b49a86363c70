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
/// Times that the publishers come, each under new names.
const ROUNDS: usize = 2;
/// The witness and its players.
const WITNESSES: usize = 3;
const CROWD: usize = STALLED + HALF_OPEN + SLOW;
/// What may stay: receive buffers that were used once, tables that grew, holes of the heap.
const LEFT_MAX: u64 = 20 << 20;
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
    let witness = Witness::start(&server, "witness");
    witness.wait(100);
    let level = resident(&server);
    let pages = server.metrics().sum("pool_pages_used");

    let stalled = Stalled::play(&server, "witness", STALLED);
    let open = half_open(&server, HALF_OPEN);
    let mut slow = Slow::begin(&server, SLOW);
    until(&server, "everybody is there", |m| connections(m) == CROWD + WITNESSES);
    for round in 0..ROUNDS {
        come_and_go(&server, round, &witness, &mut slow);
    }
    let met = server.metrics();
    assert_eq!(connections(&met), CROWD + WITNESSES, "nobody was closed before its time");
    let peak = status_bytes(server.pid(), "VmHWM");
    let sockets = met.sum("socket_bytes_peak") as u64;
    let ceiling = table.ceiling();
    println!(
        "{backend:?}: level {level}, peak {peak}, ceiling {ceiling} ({:.2} x), buffers {} at most, \
         sockets {sockets}",
        ceiling as f64 / peak as f64,
        met.sum("buffer_bytes_peak"),
    );
    assert!(peak <= ceiling, "{peak} is over the ceiling {ceiling}");
    assert!(ceiling <= 2 * peak, "the ceiling {ceiling} is far from {peak}");
    // Nobody says much that is not read: what sockets hold waits to be sent.
    let bound = (CROWD + WITNESSES + PUBLISHERS) as u64 * table.unit("send buffers");
    assert!(sockets <= bound, "sockets held {sockets}, the options allow {bound}");
    assert!(sockets >= (STALLED as u64) << 15, "sockets that stall hold {sockets}");

    drop((stalled, open, slow));
    until(&server, "the crowd is gone", |m| connections(m) == WITNESSES);
    until(&server, "pages are free", |m| m.sum("pool_pages_used") <= pages + 64.0);
    until(&server, "the memory goes back", |_| resident(&server) <= level + LEFT_MAX);
    until(&server, "sockets are counted anew", |m| m.sum("socket_bytes") < (8 << 20) as f64);
    let frames = witness.end();
    println!("{backend:?}: {} at the end, {frames} frames seen", resident(&server));
    server.stop();
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
        ("LIMITS__MEMORY_MAX", "256MiB"),
        ("LIMITS__CONNECTIONS_MAX", "5300"),
        ("LIMITS__PLAYERS_MAX", "2100"),
        ("LIMITS__STREAMS_MAX", "256"),
        ("LIMITS__BUFFER_BYTES_MAX", "16MiB"),
        ("REACTOR__RECV_BUFFERS", "256"),
    ];
    for (key, value) in limits {
        command.env(format!("GRANDSTAND_{key}"), value);
    }
    command
}

/// Publishers come under new names, deliver for some seconds, and leave: half of them say so.
fn come_and_go(server: &Server, round: usize, witness: &Witness, slow: &mut Slow) {
    let mut publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let mut publisher = Publisher::start(server.rtmp, &format!("round-{round}/{n}"));
            publisher.video_bytes = 11_000;
            publisher
        })
        .collect();
    for _ in 0..5 {
        for publisher in &mut publishers {
            publisher.send_frames(10);
        }
        slow.dribble();
        witness.wait(20);
    }
    let listed = server.api("/api/v1/sessions");
    let listed = listed["sessions"].as_array().map_or(0, Vec::len);
    assert_eq!(listed, CROWD + WITNESSES + PUBLISHERS);
    for publisher in publishers.iter_mut().step_by(2) {
        publisher.stream_command("deleteStream", &[1.0.into()]);
        publisher.flush();
    }
    drop(publishers);
    until(server, "the streams are over", |m| m.sum("streams") == 1.0);
}

fn connections(metrics: &Metrics) -> usize {
    metrics.sum("connections") as usize
}

fn resident(server: &Server) -> u64 {
    status_bytes(server.pid(), "VmRSS")
}

/// Waits until `is` holds of the server's counters.
fn until(server: &Server, what: &str, is: impl Fn(&Metrics) -> bool) {
    let deadline = Instant::now() + SETTLE;
    while !is(&server.metrics()) {
        assert!(Instant::now() < deadline, "{what}: never; {} resident", resident(server));
        // Asked again when others had the processor for a moment.
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
