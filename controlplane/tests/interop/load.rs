//! The load generator's scenarios against the real binary, in small.

use std::sync::atomic::AtomicBool;

use loadtest::scenario::{self, Outcome};

use crate::server::{Backend, Options, Server};

pub(crate) fn load(line: &str) -> Outcome {
    try_load(line).expect("the run succeeds")
}

/// The same, that may be refused.
pub(crate) fn try_load(line: &str) -> Result<Outcome, String> {
    let scenario = scenario::parse(line.split_whitespace().map(Into::into));
    let scenario = scenario.expect("the arguments can be followed");
    let outcome = scenario::perform(&scenario, &AtomicBool::new(false), &mut |_| ());
    outcome.map_err(|error| format!("{error:#}"))
}

#[test]
fn formats_and_streams_are_held_at_once() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        let outcome = load(&format!(
            "mixed --url {} --http http://{} --streams 2 --mix rtmp=4,flv=2,ws=2,ts=2,hls=2 \
             --players 24 --sampled 50% --window 3s --gop 500ms --bitrate 500k --size 320x180",
            server.rtmp_url("mix"),
            server.http
        ));
        let of = &outcome.measurements[0];
        let held: Vec<_> = of.parts.iter().map(|part| part.held).collect();
        assert_eq!(held, [8, 4, 4, 4, 4], "{of:?}");
        for part in &of.parts {
            assert_eq!((part.lost, part.lost_players), (0, 0), "{part:?}");
            assert!(part.frames > 0 && part.corrupt == 0, "{part:?}");
        }
        assert_eq!((of.duplicated, of.reordered, of.timestamps_back), (0, 0, 0), "{of:?}");
        assert_eq!((of.undecodable_starts, of.transport_faults), (0, 0), "{of:?}");
        server.stop();
    }
}

#[test]
fn slow_readers_take_nothing_from_others() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        for (url, pace) in [
            (server.rtmp_url("slow"), "--slow-rate 10%"),
            (format!("http://{}/slow.flv", server.http), "--stop"),
        ] {
            let outcome = load(&format!(
                "slow --url {url} --publish-url {} --players 20 --slow 50% {pace} --sampled 10 \
                 --window 3s --gop 500ms --bitrate 2M --size 320x180",
                server.rtmp_url("slow")
            ));
            assert_eq!(outcome.breaches, Vec::<String>::new(), "{outcome:?}");
            let [live, slow] = outcome.measurements[0].parts.as_slice() else {
                panic!("those who read and those who do not")
            };
            assert_eq!((live.held, live.lost), (10, 0), "{live:?}");
            assert!(slow.received_bytes < live.received_bytes / 4, "{slow:?}");
        }
        server.stop();
    }
}

#[test]
fn a_storm_passes() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        let outcome = load(&format!(
            "storm --url {} --players 60 --rounds 2 --window 500ms --gop 500ms --bitrate 500k \
             --size 320x180",
            server.rtmp_url("storm")
        ));
        assert_eq!(outcome.measurements.len(), 3, "the arrival and two rounds");
        for of in &outcome.measurements {
            assert_eq!((of.held, of.refused, of.failed, of.closed), (60, 0, 0, 0), "{of:?}");
            assert_eq!(of.join.map(|join| join.count), Some(60), "{of:?}");
            assert_eq!((of.lost, of.undecodable_starts), (0, 0), "{of:?}");
        }
        server.stop();
    }
}

#[test]
fn players_who_throw_pings_away_are_held() {
    // Who answers nothing is cut after three intervals, within the window.
    let config = "[session]\nping_interval_ms = 6000\n".to_owned();
    let server = Server::start(&Options { config, ..Options::on(Backend::Auto) });
    let outcome = load(&format!(
        "mixed --url {} --http http://{} --mix rtmp=2,flv=2,ws=2 --players 6 --sampled 0 \
         --window 20s --gop 500ms --bitrate 500k --size 320x180",
        server.rtmp_url("pings"),
        server.http
    ));
    let of = &outcome.measurements[0];
    assert_eq!((of.held, of.closed, of.failed), (6, 0, 0), "{of:?}");
    server.stop();
}
