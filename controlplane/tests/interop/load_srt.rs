//! The load generator's own SRT against the real binary: both roles, in the clear and encrypted,
//! over a good way and a bad one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use loadtest::impair::ImpairSummary;
use loadtest::publisher::PublishSummary;
use loadtest::run::News;
use loadtest::scenario::{self, Outcome};

use crate::clip::Clip;
use crate::load::{load, try_load};
use crate::server::{Backend, Server};
use crate::srt::{Encoder, serve_at_once, session, srt, start};

const SOURCE: &str = "--gop 500ms --bitrate 800k --size 160x96 --fps 15";
/// As a URL has it.
const PASSPHRASE: &str = "correct%20horse%20battery";
/// The hash of a key that nobody in here knows.
const KEY: &str = "sha256:000102030405060708090a0b0c0d0e0f:\
    74eb5d5280a326b4036850fb55e71d40e4dd08046b1a40193c81793f8b843eea";

/// A passphrase for all streams.
fn with_passphrase(backend: Backend) -> Server {
    start(backend, "[srt]\npassphrase = \"correct horse battery\"\n")
}

/// Six players of a stream, half of them sampled; both ends of SRT. Their patience is above what
/// the machine does beside them.
fn fanout(to: SocketAddr, query: &str) -> Outcome {
    let query = format!("latency=2500&{query}");
    load(&format!(
        "fanout --url srt://{to}?streamid=live/a&{query} --players 6 --sampled 2 --window 4s \
         --publish-url srt://{to}?streamid=publish:live/a&{query} {SOURCE}"
    ))
}

/// Everybody got everything, as it was published.
fn assert_all_came(outcome: &Outcome, what: &str) {
    let of = &outcome.measurements[0];
    assert_eq!((of.held, of.refused, of.failed, of.closed), (6, 0, 0, 0), "{what}: {of:?}");
    assert_eq!((of.lost, of.packets_lost, of.stalls), (0, 0, 0), "{what}: {of:?}");
    assert_eq!((of.corrupt, of.unstamped, of.undecodable_starts), (0, 0, 0), "{what}: {of:?}");
    assert_eq!((of.duplicated, of.reordered, of.timestamps_back), (0, 0, 0), "{what}: {of:?}");
    assert_eq!(of.transport_faults, 0, "{what}: {of:?}");
    // Two players looked at 15 pictures in each of four seconds.
    assert!(of.frames > 60 && of.latency.is_some(), "{what}: {of:?}");
    assert_eq!(of.join.map(|join| join.count), Some(6), "{what}: {of:?}");
    assert!(of.packets > 6 * 150 && of.received_bytes > 6 * 200_000, "{what}: {of:?}");
    let published = outcome.published.as_ref().expect("it published");
    let PublishSummary { lost, dropped, late_packets, .. } = published;
    assert_eq!((lost, dropped, late_packets), (&0, &0, &0), "{what}: {published:?}");
}

fn encrypted(backend: Backend) {
    let server = with_passphrase(backend);
    for bytes in [16, 24, 32] {
        let query = format!("passphrase={PASSPHRASE}&pbkeylen={bytes}");
        assert_all_came(&fanout(srt(&server), &query), &query);
    }
    server.stop();
}

fn plain(backend: Backend) {
    let server = start(backend, "");
    assert_all_came(&fanout(srt(&server), ""), "in the clear");
    server.stop();
}

/// A bad network in this process.
struct Relay {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<ImpairSummary>,
}

impl Relay {
    fn start(to: SocketAddr, line: &str) -> Self {
        let line = format!("impair --udp --listen 127.0.0.1:0 --to {to} {line}");
        let scenario = scenario::parse(line.split_whitespace().map(Into::into));
        let scenario = scenario.expect("the arguments can be followed");
        let stop = Arc::new(AtomicBool::new(false));
        let (told, words) = channel();
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut tell = |news: News<'_>| {
                if let News::Said(words) = news {
                    let addr = words.split(' ').nth(2).and_then(|addr| addr.parse().ok());
                    told.send(addr.expect("it says where")).expect("the test waits");
                }
            };
            let outcome = scenario::perform(&scenario, &until, &mut tell).expect("it relays");
            outcome.impaired.expect("it counts")
        });
        Self { addr: words.recv().expect("it listens"), stop, thread }
    }

    fn finish(self) -> ImpairSummary {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the relay does not panic")
    }
}

fn lossy(backend: Backend) {
    for (passphrase, query) in [
        (false, String::new()),
        (true, format!("passphrase={PASSPHRASE}")),
        (true, format!("passphrase={PASSPHRASE}&pbkeylen=32")),
    ] {
        let server = if passphrase { with_passphrase(backend) } else { start(backend, "") };
        let relay = Relay::start(srt(&server), "--loss 5% --delay 20ms --seed 7");
        let outcome = fanout(relay.addr, &query);
        let impaired = relay.finish();
        assert!(impaired.up.lost > 10 && impaired.down.lost > 40, "{impaired:?}");
        assert_all_came(&outcome, &query);
        let of = &outcome.measurements[0];
        assert!(of.packets_recovered > 40, "what was lost came again: {of:?}");
        let published = outcome.published.expect("it published");
        assert!(published.resent_packets > 10, "{published:?}");
        server.stop();
    }
}

#[test]
fn srt_is_held_beside_other_formats() {
    let server = serve_at_once("");
    let outcome = load(&format!(
        "mixed --url {} --http http://{} --srt srt://{}?latency=200 --streams 2 --skew 0 \
         --mix rtmp=2,ts=2,srt=4 --players 8 --sampled 50% --window 3s {SOURCE}",
        server.rtmp_url("mix"),
        server.http,
        srt(&server)
    ));
    let of = &outcome.measurements[0];
    let held: Vec<_> = of.parts.iter().map(|part| (part.name.as_str(), part.held)).collect();
    assert_eq!(held, [("rtmp", 2), ("ts", 2), ("srt", 4)], "{of:?}");
    for part in &of.parts {
        assert_eq!((part.lost, part.lost_players, part.corrupt), (0, 0, 0), "{part:?}");
        assert!(part.frames > 0 && part.received_bytes > 100_000, "{part:?}");
    }
    assert_eq!((of.packets_lost, of.stalls, of.transport_faults), (0, 0, 0), "{of:?}");
    server.stop();
}

#[test]
fn what_srt_refuses_is_one_clear_line() {
    let config = format!(
        "[[auth.keys]]\nstream = \"*\"\nkey = \"{KEY}\"\n[[streams.stream]]\ncode = \"vault\"\n\
         auth = \"keys\"\ninputs = [{{ url = \"publish://\" }}]\n[[streams.template]]\n\
         code = \"secret\"\ninputs = [{{ url = \"publish://\" }}]\n\
         srt_passphrase = \"correct horse battery\"\n[[streams.stream]]\ncode = \"busy\"\n\
         template = \"secret\"\n[[streams.stream]]\ncode = \"idle\"\ntemplate = \"secret\"\n"
    );
    let server = serve_at_once(&config);
    let encoder = Encoder::endless(
        srt(&server),
        Clip::Small,
        "streamid=publish:busy&passphrase=correct horse battery",
    );
    session(&server, |s| s["stream"] == "busy" && s["bytes_in"].as_u64() > Some(20_000));
    let play = "fanout --no-publish --players 2 --window 1s";
    let publish = "publish --duration 1s";
    for (command, id, wanted) in [
        (play, "nobody", "refused: no such stream (code 1404) (is the stream published"),
        (play, "../etc", "the stream id could not be read (code 1400)"),
        (play, "busy", "only one side has a passphrase (code 11) (name the passphrase"),
        (
            play,
            "busy&passphrase=another%20horse%20battery",
            "the passphrases differ (code 10) (name the passphrase",
        ),
        (
            publish,
            "publish:vault",
            "refused it: the key is missing or wrong (code 1401) (the stream id",
        ),
        (publish, "publish:vault:jo:sesame", "refused it: not allowed (code 1403)"),
        (publish, "publish:idle", "only one side has a passphrase (code 11) (name the passphrase"),
        (
            publish,
            "publish:idle&passphrase=another%20horse%20battery",
            "the passphrases differ (code 10) (name the passphrase",
        ),
    ] {
        let url = format!("srt://{}?streamid={id}", srt(&server));
        let said = try_load(&format!("{command} --url {url}")).expect_err("nobody is let in");
        assert!(said.contains(wanted) && !said.contains('\n'), "{id}: {said}");
        assert!(!said.contains("sesame") && !said.contains("another"), "{id}: {said}");
    }
    encoder.interrupt();
    server.stop();
}

on_both_backends! { plain encrypted lossy }
