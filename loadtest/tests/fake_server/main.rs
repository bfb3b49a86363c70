//! The whole generator against a small server in this process, which can be told to misbehave.
#![allow(clippy::unwrap_used, reason = "the server is a part of the test")]

mod failures;
mod foreign;
mod http;
mod interface;
#[path = "../tr101290/multiplex.rs"]
#[allow(dead_code, reason = "made for damaging streams, of which this needs the good ones")]
mod multiplex;
mod results;
mod rtmp;
mod scenarios;
mod server;
mod tls;
mod transport;

use std::sync::atomic::AtomicBool;

use loadtest::measurement::Measurement;
use loadtest::scenario::{self, Outcome};

use server::{Manner, Ports, start};
use tls::CertificateFile;

fn run(line: &str) -> anyhow::Result<Outcome> {
    let scenario = scenario::parse(line.split_whitespace().map(Into::into))?;
    scenario::perform(&scenario, &AtomicBool::new(false), &mut |_| ())
}

fn fanout(url: &str, rtmp: u16, players: &str) -> anyhow::Result<Outcome> {
    run(&format!(
        "fanout --url {url} --publish-url rtmp://127.0.0.1:{rtmp}/live/fake --players {players} \
         --sampled 2 --window 1500ms --gop 200ms --bitrate 400k --server-pid {}",
        std::process::id()
    ))
}

fn assert_sound(of: &Measurement) {
    assert_eq!((of.held, of.refused, of.failed, of.closed), (of.players, 0, 0, 0), "{of:?}");
    assert_eq!((of.duplicated, of.reordered, of.timestamps_back), (0, 0, 0), "{of:?}");
    assert_eq!((of.undecodable_starts, of.stalls), (0, 0), "{of:?}");
    assert_eq!(of.parts.iter().map(|part| part.corrupt).sum::<u64>(), of.corrupt, "{of:?}");
    assert!(of.frames > 0 && of.latency.is_some() && of.received_bytes > 0, "{of:?}");
    // The window has 45 frames of some 1.7 kB for each player, quiet or not.
    assert!(of.received_bytes > 30_000 * of.players as u64, "{of:?}");
}

#[test]
fn rtmp_players_are_held_and_measured() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let outcome = fanout(&format!("rtmp://127.0.0.1:{rtmp}/live/fake"), rtmp, "4,8").unwrap();
    let [four, eight] = outcome.measurements.as_slice() else { panic!("two steps") };
    assert_sound(four);
    assert_sound(eight);
    assert_eq!((four.lost, eight.lost), (0, 0));
    assert_eq!(four.join.map(|join| join.count), Some(4));
    assert_eq!(eight.join.map(|join| join.count), Some(4), "the first four had joined before");
    assert!(eight.server.as_ref().is_some_and(|server| server.rss_bytes_per_player.is_some()));
    assert_eq!(outcome.published.map(|of| (of.dropped, of.lost)), Some((0, 0)));
}

#[test]
fn http_players_are_held_and_measured() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let url = format!("http://127.0.0.1:{http}/live/fake.flv?key=1");
    let outcome = fanout(&url, rtmp, "6").unwrap();
    assert_sound(&outcome.measurements[0]);
    assert_eq!(outcome.measurements[0].lost, 0);
}

#[test]
fn players_of_transport_streams_are_held_measured_and_judged() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let outcome = fanout(&format!("http://127.0.0.1:{http}/live/fake.ts"), rtmp, "6").unwrap();
    let of = &outcome.measurements[0];
    assert_sound(of);
    assert_eq!((of.lost, of.transport_faults), (0, 0), "{of:?}");
    let Ports { rtmp, http, .. } = start(Manner::Leaky);
    let outcome = fanout(&format!("http://127.0.0.1:{http}/live/fake.ts"), rtmp, "2").unwrap();
    let of = &outcome.measurements[0];
    assert!(of.transport_faults > 0, "{of:?}");
    let fault = of.first_transport_fault.as_deref().unwrap();
    assert!(fault.starts_with("1.4 Continuity_count_error"), "{fault}");
}

#[test]
fn websocket_players_are_held_and_measured() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let url = format!("ws://127.0.0.1:{http}/live/fake.flv?key=1");
    let outcome = fanout(&url, rtmp, "6").unwrap();
    assert_sound(&outcome.measurements[0]);
    assert_eq!(outcome.measurements[0].lost, 0);
}

#[test]
fn players_inside_tls_are_held_and_measured() {
    let Ports { rtmp, rtmps, https, .. } = start(Manner::Honest);
    let file = CertificateFile::write();
    let ca = file.path.display();
    for url in [
        format!("rtmps://127.0.0.1:{rtmps}/live/fake --tls-insecure"),
        format!("rtmps://localhost:{rtmps}/live/fake --tls-ca {ca}"),
        format!("https://127.0.0.1:{https}/live/fake.flv?key=1 --tls-ca {ca}"),
        format!("https://127.0.0.1:{https}/live/fake.ts --tls-insecure"),
        format!("wss://127.0.0.1:{https}/live/fake.flv?key=1 --tls-insecure"),
    ] {
        let outcome = fanout(&url, rtmp, "4").unwrap();
        let of = &outcome.measurements[0];
        assert_sound(of);
        assert_eq!((of.lost, of.transport_faults), (0, 0), "{url}: {of:?}");
    }
    // Without the flag, nobody vouches for the certificate.
    let refused = run(&format!(
        "fanout --url https://127.0.0.1:{https}/live/fake.flv?key=1 --no-publish --players 1"
    ));
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("certificate") || error.contains("authorities"), "{error}");
}

#[test]
fn streams_are_published_inside_tls() {
    let Ports { rtmps, .. } = start(Manner::Honest);
    let url = format!("rtmps://127.0.0.1:{rtmps}/live/fake");
    let line = format!("fanout --url {url} --players 2 --sampled 2 --window 1s --tls-insecure");
    let outcome = run(&format!("{line} --gop 200ms --bitrate 400k")).unwrap();
    assert_eq!((outcome.measurements[0].held, outcome.measurements[0].lost), (2, 0));
}

#[test]
fn players_of_segments_are_held_and_measured() {
    for is_tls in [false, true] {
        let ports = start(Manner::Honest);
        let base = match is_tls {
            false => format!("http://127.0.0.1:{}", ports.http),
            true => format!("https://127.0.0.1:{}", ports.https),
        };
        let tls = if is_tls { " --tls-insecure" } else { "" };
        let url = format!("{base}/live/fake/index.m3u8?key=1{tls}");
        let line = format!(
            "fanout --url {url} --publish-url rtmp://127.0.0.1:{}/live/fake --players 6 \
             --sampled 2 --window 3s --gop 500ms --bitrate 400k",
            ports.rtmp
        );
        let of = &run(&line).unwrap().measurements[0];
        assert_eq!((of.held, of.refused, of.failed, of.closed), (6, 0, 0, 0), "{of:?}");
        assert_eq!((of.lost, of.duplicated, of.reordered), (0, 0, 0), "{of:?}");
        assert_eq!((of.transport_faults, of.missed_segments), (0, 0), "{of:?}");
        assert_eq!((of.timestamps_back, of.undecodable_starts), (0, 0), "{of:?}");
        // Each player had some two seconds of 50 kB, sampled or not.
        assert!(of.received_bytes > 6 * 80_000, "{of:?}");
        assert!(of.frames > 30 && of.latency.is_some(), "{of:?}");
        assert!(of.segment.is_some_and(|segment| segment.count >= 6 * 2), "{of:?}");
        assert!(of.playlist.is_some_and(|playlist| playlist.count >= 6), "{of:?}");
    }
}

#[test]
fn a_mirror_has_the_files_that_the_list_names() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let folder = std::env::temp_dir().join(format!("grandstand-mirror-{}", std::process::id()));
    let line = format!("publish --url rtmp://127.0.0.1:{rtmp}/live/fake --gop 200ms --duration 4s");
    let publisher = std::thread::spawn(move || run(&line).unwrap());
    let mirrored = run(&format!(
        "mirror --url http://127.0.0.1:{http}/live/fake/index.m3u8 --into {} --duration 3s",
        folder.display()
    ));
    publisher.join().unwrap();
    let mirrored = mirrored.unwrap().mirrored.unwrap();
    assert!(mirrored.segments >= 3, "{mirrored:?}");
    let list = std::fs::read_to_string(folder.join("media.m3u8")).unwrap();
    let names: Vec<&str> = list.lines().filter(|line| line.ends_with(".ts")).collect();
    let mut stream = Vec::new();
    for name in &names {
        stream.extend(std::fs::read(folder.join(name)).unwrap());
    }
    assert!(folder.join("index.m3u8").exists());
    std::fs::remove_dir_all(&folder).unwrap();
    let verdict = loadtest::mpegts::Tr101290::check(&stream);
    assert!(verdict.is_clean() && names.len() >= 3, "{verdict}");
}

#[test]
fn connections_are_held_that_ask_for_nothing() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let outcome = run(&format!(
        "fanout --url http://127.0.0.1:{http}/live/fake/index.m3u8 --hold --players 3,6 \
         --publish-url rtmp://127.0.0.1:{rtmp}/live/fake --window 500ms --gop 200ms"
    ));
    let outcome = outcome.unwrap();
    let [three, six] = outcome.measurements.as_slice() else { panic!("two steps") };
    assert_eq!((three.held, six.held), (3, 6), "{six:?}");
    assert_eq!((six.received_bytes, six.closed), (0, 0), "{six:?}");
}

#[test]
fn lost_frames_are_seen() {
    let Ports { rtmp, .. } = start(Manner::Lossy);
    let outcome = fanout(&format!("rtmp://127.0.0.1:{rtmp}/live/fake"), rtmp, "3").unwrap();
    assert_sound(&outcome.measurements[0]);
    assert!(outcome.measurements[0].lost >= 4, "{:?}", outcome.measurements[0]);
}

#[test]
fn damaged_frames_are_seen() {
    for manner in [Manner::Honest, Manner::Corrupting, Manner::Truncating] {
        let Ports { rtmp, http, .. } = start(manner);
        for url in [
            format!("rtmp://127.0.0.1:{rtmp}/live/fake"),
            format!("http://127.0.0.1:{http}/live/fake.flv?key=1"),
            format!("ws://127.0.0.1:{http}/live/fake.flv?key=1"),
        ] {
            let outcome = fanout(&url, rtmp, "3").unwrap();
            let of = &outcome.measurements[0];
            assert_sound(of);
            assert_eq!(of.lost, 0, "{of:?}");
            // Two players saw four or five of 45 frames, at least.
            assert_eq!(of.corrupt >= 8, manner != Manner::Honest, "{url}: {of:?}");
            assert!(manner != Manner::Honest || of.corrupt == 0, "{url}: {of:?}");
        }
    }
}

#[test]
fn refusals_are_one_clear_line() {
    let Ports { rtmp, http, .. } = start(Manner::Refusing);
    let told = |result: anyhow::Result<Outcome>| format!("{:#}", result.unwrap_err());
    let rtmp_url = format!("rtmp://127.0.0.1:{rtmp}/live/fake");
    let error = told(fanout(&rtmp_url, rtmp, "2"));
    assert!(error.contains("refused: NetStream.Play.StreamNotFound (is the stream"), "{error}");
    let error = told(fanout(&format!("http://127.0.0.1:{http}/other.flv?key=1"), rtmp, "2"));
    assert!(error.contains("refused: HTTP/1.1 404 Not Found (is the stream"), "{error}");
    assert!(!error.contains("key"), "{error}");
}

#[test]
fn publishing_stops_when_it_is_told_to() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let line = format!(
        "publish --url rtmp://127.0.0.1:{rtmp}/live/fake --streams 2 --duration 500ms --audio"
    );
    let published = run(&line).unwrap().published.unwrap();
    assert_eq!((published.streams, published.dropped), (2, 0));
    assert!(published.frames >= 20, "{published:?}");
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).unwrap();
    let stopped = scenario::perform(&scenario, &AtomicBool::new(true), &mut |_| ()).unwrap();
    assert_eq!(stopped.published.map(|published| published.frames), Some(0));
}
