//! The data path does not need the control thread: with that thread stopped as a debugger stops it,
//! what runs goes on, who is new waits and is refused, and everything recovers afterwards; a bad
//! client of the API takes nothing from anybody.
//!
//! The control thread is stopped for [`STOPPED`], or for as many seconds as `STOPPED_SECONDS` says.

#[path = "../interop/http_flv.rs"]
#[allow(dead_code, reason = "this test uses its own part of the client")]
mod http_flv;
#[path = "../interop/metrics.rs"]
#[allow(dead_code, reason = "this test uses its own part of the metrics")]
mod metrics;
#[path = "../memory_contract/node/mod.rs"]
mod node;
#[path = "../interop/process.rs"]
#[allow(dead_code, reason = "this test uses its own part of the process")]
mod process;
#[path = "../interop/server.rs"]
#[allow(dead_code, reason = "this test uses its own part of the server")]
mod server;
#[path = "../interop/tls.rs"]
mod tls;
#[path = "../memory_contract/weight.rs"]
#[allow(dead_code, reason = "this test asks what the kernel tells alone")]
mod weight;
#[path = "../memory_contract/witness.rs"]
mod witness;

mod debugger;
mod flood;
mod hoarders;
mod newcomers;
mod transport;
mod viewer;
mod watchdog;

use std::time::{Duration, Instant};

use codecs::rtmp::command::code;
use debugger::Stopped;
use http_flv::get;
use newcomers::{Newcomers, refused_publisher};
use node::{Publisher, RtmpPlayer};
use serde_json::Value;
use server::{Backend, Options, Server};
use transport::Transport;
use viewer::Viewer;
use weight::status_bytes;
use witness::{NAME, Witness};

/// How long the control thread is stopped on io_uring and on epoll, where nobody says otherwise.
const STOPPED: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(6)];
/// Waves of newcomers at most, however long: their addresses are not free again for a minute, and
/// there are some 28,000 of them.
const WAVES_MAX: u32 = 24;
/// New publishers and players wait this long for their verdict.
const DEADLINE: Duration = Duration::from_millis(700);
/// Bytes that a process may have more than before: buffers of some hundred connections, and what
/// the allocator keeps of them.
const MORE_BYTES: u64 = 24 << 20;

#[test]
fn what_runs_goes_on_without_the_control_thread_on_io_uring() {
    what_runs_goes_on(Backend::IoUring, STOPPED[0]);
}

#[test]
fn what_runs_goes_on_without_the_control_thread_on_epoll() {
    what_runs_goes_on(Backend::Epoll, STOPPED[1]);
}

fn what_runs_goes_on(backend: Backend, length: Duration) {
    let asked = std::env::var("STOPPED_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = asked.map_or(length, Duration::from_secs);
    dataplane::reactor::raise_nofile().expect("the limit can be raised to the hard one");
    let config = format!(
        "[session]\nauthorize_deadline_ms = {}\n[hls]\nsegment_ms = 1000\n",
        DEADLINE.as_millis()
    );
    let server = Server::start(&Options { config, ..Options::on(backend) });
    let witness = Witness::start(&server);
    let viewer = Viewer::start(server.http, NAME);
    let transport = Transport::start(server.http, NAME);
    witness.wait(50);
    transport.wait(100);
    viewer.wait(1);
    let before = Before::of(&server);

    let stopped = Stopped::at_once(server.pid());
    let (end, seen) = (Instant::now() + length, viewer.segments());
    // A new encoder and new players, in several protocols, wait for their deadline and are refused.
    assert_eq!(refused_publisher(server.rtmp, "new"), code::PUBLISH_DENIED);
    let mut newcomers = Newcomers::new(&server);
    while Instant::now() < end {
        let next = end.min(Instant::now() + length / WAVES_MAX);
        newcomers.come_and_are_refused();
        while Instant::now() < next {
            witness.wait(5);
        }
    }
    witness.wait(25);
    transport.wait(100);
    viewer.wait(seen + length.as_secs() as usize / 2);
    let more = status_bytes(server.pid(), "VmRSS").saturating_sub(before.resident);
    assert!(more < MORE_BYTES, "{more} bytes more, {} newcomers", newcomers.refused);
    stopped.go_on();

    recovers(&server, &before, newcomers.refused);
    viewer.end();
    transport.end();
    server.api_until("/api/v1/sessions", |answer| {
        rtmp_flv_and_ts(answer).len() == Witness::CONNECTIONS
    });
    assert!(witness.end(&server) > 0);
    server.stop();
}

/// What the server was like before.
struct Before {
    resident: u64,
    jumps: f64,
    sessions: Vec<String>,
}

impl Before {
    fn of(server: &Server) -> Self {
        let resident = status_bytes(server.pid(), "VmRSS");
        let jumps = server.metrics().sum("player_jumps_total");
        let sessions = rtmp_flv_and_ts(&server.api("/api/v1/sessions"));
        assert_eq!(sessions.len(), Witness::CONNECTIONS + 1);
        Self { resident, jumps, sessions }
    }
}

/// The sessions that last, by their numbers.
fn rtmp_flv_and_ts(answer: &Value) -> Vec<String> {
    let sessions = answer["sessions"].as_array().expect("sessions are listed");
    let lasts = |session: &&Value| {
        session["stream"] == NAME && session["protocol"].as_str().is_some_and(|p| p != "hls")
    };
    let number = |session: &Value| session["id"].as_str().expect("an id").to_owned();
    let mut numbers: Vec<_> = sessions.iter().filter(lasts).map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// API, metrics, directory and new sessions are as ever, and nothing is left of the newcomers.
fn recovers(server: &Server, before: &Before, refused: usize) {
    let metrics = server.metrics();
    assert_eq!(metrics.sum("player_jumps_total"), before.jumps);
    assert!(metrics.sum("authorize_timeouts_total") > 0.0, "newcomers waited for their verdict");
    let counted = metrics.sum("plays_refused_total") + metrics.sum("publishes_refused_total");
    assert!(counted >= refused as f64, "{refused} were refused, {counted} counted");
    server.api_until("/api/v1/sessions", |answer| rtmp_flv_and_ts(answer) == before.sessions);
    let mut publisher = Publisher::start(server.rtmp, "after");
    publisher.send_frames(2);
    server.api_until("/api/v1/streams", |answer| {
        let streams = answer["streams"].as_array().expect("streams are listed");
        ["after", NAME].iter().all(|name| streams.iter().any(|stream| stream["name"] == *name))
    });
    drop(RtmpPlayer::start(server.rtmp, "after"));
    let listed = |name: &str| {
        let (status, body) = get(server.http, "/streams.json", "");
        assert_eq!(status, 200);
        String::from_utf8_lossy(&body).contains(&format!("\"name\":\"{name}\""))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !listed("after") {
        assert!(Instant::now() < deadline, "the directory never told");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // Nobody but those who are there.
    server.api_until("/api/v1/shards", |answer| {
        let shards = answer["shards"].as_array().expect("shards are listed");
        let open: u64 = shards.iter().filter_map(|shard| shard["connections"].as_u64()).sum();
        open <= 16
    });
}
