//! Crowds: many events at once, and receivers that take none.

use std::time::Instant;

use dataplane::ids::StreamName;

use super::super::HookSpec;
use super::rig::*;
use crate::events::{Backlog, Kind, Party};
use crate::outbound::scripted::Reply;

#[tokio::test]
async fn a_burst_of_our_own_making_loses_nothing() {
    const STREAMS: u32 = 20_000;
    let dir = Dir::new("burst");
    let (receiver, mut seen) = receiver(|_| ok());
    let all = serde_json::json!({
        "id": "a", "type": "http", "target": receiver.url("/"), "types": ["stream.*"],
    });
    let rig = Rig::new(&dir, vec![serde_json::from_value(all).unwrap()]);
    rig.until("a", |_| true).await;
    let mut backlog = Backlog::default();
    for number in 0..STREAMS {
        backlog.push(StreamName::parse(&format!("s{number}")), Kind::StreamLost {});
    }
    let mut told = 0;
    while told < STREAMS as usize {
        backlog.tell(&rig.bus, Instant::now());
        tokio::task::yield_now().await;
        while let Ok(request) = seen.try_recv() {
            told += list(&request).len();
        }
    }
    rig.until("a", |hook| hook.tally.delivered == u64::from(STREAMS)).await;
    let state = rig.state("a");
    assert_eq!((rig.hooks.missed(), state.dead_letters, state.tally.failed), (0, 0, 0));
}

fn party(session: u64) -> Party {
    Party {
        session: dataplane::ids::SessionId(session),
        protocol: dataplane::control::Protocol::Hls,
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "hls.js".into(),
    }
}

#[tokio::test]
async fn a_crowd_of_players_of_one_stream_comes_in_few_requests() {
    let dir = Dir::new("crowd");
    let (receiver, mut seen) = receiver(|_| ok());
    let all = serde_json::json!({ "id": "a", "type": "http", "target": receiver.url("/") });
    let rig = Rig::new(&dir, vec![serde_json::from_value(all).unwrap()]);
    rig.until("a", |_| true).await;
    let hot = StreamName::parse("hot");
    for session in 0..1_000 {
        let opened = Kind::SessionOpened { party: party(session), tls: false };
        rig.bus.publish(hot.as_ref(), None, opened);
    }
    let (mut requests, mut events) = (0, 0);
    while events < 1_000 {
        let request = next(&mut seen).await;
        requests += 1;
        events += list(&request).len();
    }
    assert_eq!((requests, events), (10, 1_000), "a hundred a request, whatever the stream");
}

#[test]
fn what_is_published_just_before_the_end_is_kept() {
    const EVENTS: u64 = 10_000;
    let dir = Dir::new("end");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let roomy = || HookSpec { queue_max: 20_000, ..spec("a", &format!("http://{closed}/")) };
    runtime().block_on(async {
        let rig = Rig::new(&dir, vec![roomy()]);
        rig.until("a", |_| true).await;
        for _ in 0..EVENTS {
            rig.lost("x");
        }
        rig.hooks.close().await;
        assert_eq!(rig.hooks.missed(), 0);
    });
    runtime().block_on(async {
        let rig = Rig::new(&dir, vec![roomy()]);
        rig.until("a", |hook| hook.waiting == EVENTS).await;
    });
}

#[tokio::test]
async fn a_dead_and_a_hanging_receiver_hold_up_nobody() {
    let dir = Dir::new("dead");
    let (good, mut seen) = receiver(|_| ok());
    let (hanging, _seen) = receiver(|_| Reply::Hang);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let specs = vec![
        spec("good", &good.url("/")),
        spec("hanging", &hanging.url("/")),
        spec("dead", &format!("http://{closed}/")),
    ];
    let rig = Rig::new(&dir, specs);
    for number in 0..200 {
        rig.lost(&format!("s{number}"));
    }
    for _ in 0..200 {
        next(&mut seen).await;
    }
    rig.until("good", |hook| hook.tally.delivered == 200).await;
    rig.until("dead", |hook| hook.tally.failed > 0).await;
    assert_eq!((rig.state("hanging").waiting, rig.state("dead").waiting), (200, 200));
    assert!(rig.state("dead").tally.failing.is_some());
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_but_itself() {
    let dir = Dir::new("slow");
    let (good, _seen) = receiver(|_| ok());
    // It has not failed: it has not answered yet.
    let (slow, _seen) = receiver(|_| Reply::Hang);
    let small = |id, types: &str| HookSpec {
        queue_max: 16,
        timeout_ms: 60_000,
        types: serde_json::from_value(serde_json::json!([types])).unwrap(),
        ..spec(id, &slow.url("/"))
    };
    let specs = vec![
        spec("good", &good.url("/")),
        small("slow", "stream.lost"),
        small("asked", "publish.refused"),
    ];
    let rig = Rig::new(&dir, specs);
    rig.until("good", |_| true).await;
    let now = Instant::now();
    let mut backlog = Backlog::default();
    let mut tell = || {
        backlog.push(None, Kind::StreamLost {});
        backlog.tell(&rig.bus, now);
        assert!(
            backlog.is_empty(),
            "it waits for {:?} {:?}",
            rig.state("slow"),
            rig.state("asked")
        );
    };
    for session in 0..100 {
        let refused = Kind::PublishRefused { party: party(session), reason: "busy" };
        rig.bus.publish(None, None, refused);
    }
    rig.until("asked", |hook| hook.tally.given_up == 84).await;
    tell();
    for number in 0..99 {
        rig.lost(&format!("s{number}"));
    }
    rig.until("slow", |hook| hook.tally.given_up == 84).await;
    tell();
    rig.until("good", |hook| hook.tally.delivered == 101).await;
    let failing = |id| rig.state(id).tally.failing;
    assert_eq!(["slow", "asked"].map(failing), [None, None]);
}
