//! Scenarios: formats and streams at once, slow readers, storms, soaks, the search for a knee.

use std::sync::atomic::{AtomicBool, Ordering};

use loadtest::run::News;
use loadtest::scenario;

use crate::run;
use crate::server::{Manner, Ports, start};

const STREAM: &str = "--gop 200ms --bitrate 400k --size 320x180";

#[test]
fn a_mix_is_held_in_every_format_at_once() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let outcome = run(&format!(
        "mixed --url rtmp://127.0.0.1:{rtmp}/live/fake?key=1 --http http://127.0.0.1:{http}/live \
         --mix rtmp=4,flv=2,ws=1,ts=1,hls=2 --players 10 --sampled 50% --window 3s --threads 2 \
         {STREAM}"
    ));
    let of = &outcome.unwrap().measurements[0];
    let held: Vec<_> = of.parts.iter().map(|part| (part.name.as_str(), part.held)).collect();
    assert_eq!(held, [("rtmp", 4), ("flv", 2), ("ws", 1), ("ts", 1), ("hls", 2)], "{of:?}");
    assert_eq!((of.held, of.lost), (10, 0), "{of:?}");
    for part in &of.parts {
        assert!(part.frames > 0 && part.received_bytes > 20_000, "{part:?}");
        assert_eq!((part.lost, part.lost_players), (0, 0), "{part:?}");
        assert!(part.stalls == 0 || part.name == "hls", "{part:?}");
    }
    // Segments are seconds behind, and the latency of the mix is not theirs.
    assert!(of.latency.unwrap().max_ms < of.parts[4].latency.unwrap().p50_ms, "{of:?}");
    assert!(of.generator.players_cpu_s > 0.0 && of.generator.publishers_cpu_s > 0.0, "{of:?}");
}

#[test]
fn slow_readers_are_slow_and_others_lose_nothing() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    for (url, slow) in [
        (format!("rtmp://127.0.0.1:{rtmp}/live/fake"), "--slow-rate 80k"),
        (format!("http://127.0.0.1:{http}/live/fake.flv?key=1"), "--stop"),
    ] {
        let outcome = run(&format!(
            "slow --url {url} --publish-url rtmp://127.0.0.1:{rtmp}/live/fake --players 4 \
             --slow 50% {slow} --sampled 2 --window 2s {STREAM}"
        ));
        let outcome = outcome.unwrap();
        assert_eq!(outcome.breaches, Vec::<String>::new(), "{outcome:?}");
        let [live, slow] = outcome.measurements[0].parts.as_slice() else { panic!("two parts") };
        assert_eq!((live.held, slow.held, slow.frames), (2, 2, 0), "{slow:?}");
        // Two seconds of 400 kb/s against 80 kb/s, or nothing.
        assert!(live.received_bytes > 150_000, "{live:?}");
        assert!(slow.received_bytes < 60_000, "{slow:?}");
    }
}

#[test]
fn witnesses_that_lose_frames_are_told() {
    let Ports { rtmp, .. } = start(Manner::Lossy);
    let line = format!("slow --url rtmp://127.0.0.1:{rtmp}/live/fake --players 4 --slow 25%");
    let outcome = run(&format!("{line} --sampled 3 --window 1s {STREAM}")).unwrap();
    let told = &outcome.breaches;
    assert!(
        told.len() == 1 && told[0].starts_with("rtmp: ") && told[0].contains("frames were lost")
    );
    let Ports { rtmp, .. } = start(Manner::Corrupting);
    let line = format!("slow --url rtmp://127.0.0.1:{rtmp}/live/fake --players 4 --slow 25%");
    let told = run(&format!("{line} --sampled 3 --window 1s {STREAM}")).unwrap().breaches;
    let is_told = told.iter().any(|told| told.contains("frames are not what was published"));
    assert!(is_told, "{told:?}");
}

#[test]
fn everybody_leaves_and_comes_again() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let outcome = run(&format!(
        "storm --url rtmp://127.0.0.1:{rtmp}/live/fake --players 12 --rounds 2 --window 500ms \
         --sampled 3 {STREAM}"
    ));
    let rounds = outcome.unwrap().measurements;
    assert_eq!(rounds.len(), 3, "the arrival and two rounds");
    for of in &rounds {
        assert_eq!((of.held, of.refused, of.failed, of.closed), (12, 0, 0, 0), "{of:?}");
        assert_eq!(of.join.map(|join| join.count), Some(12), "all of them joined anew: {of:?}");
        assert!(of.unjoined == 0 && of.connects_per_s.is_some_and(|rate| rate > 0.0), "{of:?}");
        assert_eq!((of.lost, of.undecodable_starts), (0, 0), "{of:?}");
    }
}

#[test]
fn a_soak_tells_a_slope_and_players_come_and_go() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let line = |slope: &str| {
        format!(
            "soak --url rtmp://127.0.0.1:{rtmp}/live/fake --players 6 --duration 2s --warm-up 1ms \
             --interval 100ms --churn 20 --slope-max {slope} --server-pid {} {STREAM}",
            std::process::id()
        )
    };
    let outcome = run(&line("100G")).unwrap();
    assert_eq!(outcome.breaches, Vec::<String>::new());
    let soak = outcome.soak.unwrap();
    assert!(soak.rss.is_some_and(|rss| rss.samples >= 10 && rss.first > 0.0), "{soak:?}");
    let of = &outcome.measurements[0];
    assert!(of.join.is_some_and(|join| join.count >= 10), "{of:?}");
    assert_eq!(of.held, 6, "whoever was replaced at last plays too");
    assert!(of.server.as_ref().is_some_and(|server| server.cpu_s > 0.0), "{of:?}");
}

#[test]
fn the_knee_is_where_the_room_ends() {
    let Ports { rtmp, .. } = start(Manner::Full(10));
    let outcome = run(&format!(
        "find-knee --url rtmp://127.0.0.1:{rtmp}/live/fake --players-min 4 --players-max 40 \
         --grow 100% --p99-max 10s --window 300ms {STREAM}"
    ));
    let knee = outcome.unwrap().knee.unwrap();
    assert_eq!((knee.players, knee.broke_at), (10, Some(16)), "{knee:?}");
    assert!(knee.broke_by[0].contains("6 players were lost, 6 refused"), "{knee:?}");
    let tried: Vec<_> = knee.steps.iter().map(|step| step.players).collect();
    assert_eq!(tried, [4, 8, 16, 10], "a refusal tells where the room ends");
}

#[test]
fn a_stream_that_nobody_can_read_does_not_hold() {
    let Ports { rtmp, .. } = start(Manner::Stripping);
    let line = format!(
        "find-knee --url rtmp://127.0.0.1:{rtmp}/live/fake --players-min 2 --players-max 2 \
         --window 500ms {STREAM}"
    );
    let outcome = run(&line).unwrap();
    let of = &outcome.measurements[0];
    assert!(of.unstamped > 0 && of.unstamped == of.frames && of.latency.is_none(), "{of:?}");
    assert_eq!(of.parts[0].unstamped, of.unstamped);
    let knee = outcome.knee.unwrap();
    // It looks for fewer players whom the server may hold, and there are none.
    assert_eq!((knee.players, knee.broke_at), (0, Some(1)), "{knee:?}");
    let unknown = "rtmp: no stamped frame was seen: latency and loss are unknown";
    assert_eq!(knee.broke_by, [unknown]);
    // Who wishes that nobody looks is told that nobody did.
    let knee = run(&format!("{line} --sampled 0")).unwrap().knee.unwrap();
    assert_eq!((knee.players, knee.p99_max_ms), (2, None), "{knee:?}");
}

#[test]
fn a_soak_whose_frames_come_twice_fails() {
    let Ports { rtmp, .. } = start(Manner::Doubling);
    let outcome = run(&format!(
        "soak --url rtmp://127.0.0.1:{rtmp}/live/fake --players 2 --sampled 1 --duration 1s \
         --warm-up 1ms --interval 100ms --slope-max 100G --server-pid {} {STREAM}",
        std::process::id()
    ));
    let outcome = outcome.unwrap();
    let [breach] = outcome.breaches.as_slice() else { panic!("{:?}", outcome.breaches) };
    assert!(breach.starts_with("rtmp: ") && breach.ends_with("frames came once more"), "{breach}");
    let of = &outcome.measurements[0].parts[0];
    assert!(of.duplicated >= 2 && of.sampled == 1, "{of:?}");
}

#[test]
fn progress_is_told_and_the_wish_to_stop_is_heard() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let line = format!("fanout --url rtmp://127.0.0.1:{rtmp}/live/fake --players 5 --window 60s");
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).unwrap();
    let stop = AtomicBool::new(false);
    let mut seen = Vec::new();
    let outcome = scenario::perform(&scenario, &stop, &mut |news| {
        if let News::Progress(progress) = news {
            seen.push(progress.clone());
            stop.store(seen.len() == 3, Ordering::Relaxed);
        }
    });
    let [first, _, last] = seen.as_slice() else { panic!("stopped by the third") };
    assert_eq!((last.attendance.playing, last.attendance.wanted), (5, 5));
    assert!(last.elapsed_ns > first.elapsed_ns && last.interval.received > 0, "{last:?}");
    assert!(last.total.received >= first.total.received + last.interval.received, "{last:?}");
    assert!(last.on_air.is_some_and(|on_air| on_air.frames > 0 && on_air.streams == 1));
    let of = &outcome.unwrap().measurements[0];
    assert!(of.held == 5 && of.window_s < 30.0, "what was seen until then: {of:?}");
}
