//! Crowds: many events at once, and receivers that take none.

use std::time::Instant;

use dataplane::ids::StreamName;

use super::super::allotment::RECORD_BYTES;
use super::super::{DEAD_LETTERS_MAX, HookSpec, HookState};
use super::rig::*;
use crate::events::{Backlog, Kind, Party};
use crate::outbound::scripted::Reply;
use crate::store::Table;

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
        claim: None,
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
    let closed = Closed::new();
    let roomy = || HookSpec { queue_max: 20_000, ..spec("a", &closed.url()) };
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
    let closed = Closed::new();
    let specs = vec![
        spec("good", &good.url("/")),
        spec("hanging", &hanging.url("/")),
        spec("dead", &closed.url()),
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

/// Bytes of memory that the events which wait for a hook take.
fn weight(rig: &Rig, id: &str) -> u64 {
    let state = rig.state(id);
    state.waiting_bytes + state.waiting * RECORD_BYTES
}

#[tokio::test]
async fn a_greedy_hook_takes_no_room_of_another() {
    const ALL: u64 = 256 << 10;
    const MODEST: u64 = 50;
    const GREEDY: u64 = 2_000;
    let dir = Dir::new("greedy");
    let (hanging, _seen) = receiver(|_| Reply::Hang);
    let (dead, _seen) = receiver(|_| Reply::status(503, "", ""));
    let modest = HookSpec {
        types: serde_json::from_value(serde_json::json!(["shard.started"])).unwrap(),
        ..spec("modest", &hanging.url("/"))
    };
    let specs = vec![spec("dead", &dead.url("/")), spec("hanging", &hanging.url("/")), modest];
    let rig = Rig::new(&dir, specs);
    rig.hooks.set_bytes_max(ALL);
    rig.until("modest", |_| true).await;
    for shard in 0..MODEST {
        rig.bus.publish(None, None, Kind::ShardStarted { shard: shard as u16 });
    }
    for number in 0..GREEDY {
        rig.lost(&format!("s{number}"));
    }
    for id in ["dead", "hanging"] {
        rig.until(id, |hook| hook.waiting + hook.tally.given_up == GREEDY).await;
        // Both had the same, and have alike still.
        assert!(weight(&rig, id) > ALL / 3, "{:?}", rig.state(id));
    }
    let modest = rig.state("modest");
    assert_eq!((modest.waiting, modest.tally.given_up), (MODEST, 0));
    let held: u64 = ["modest", "dead", "hanging"].iter().map(|id| weight(&rig, id)).sum();
    assert!(held <= ALL, "{held}");
    // What was given up is told, and with its reason.
    rig.until("dead", |hook| hook.dead_letters > 0).await;
    let letter = rig.hooks.letters("dead", 0, 1).await.unwrap().remove(0);
    assert_eq!(letter.reason, "all hooks together held more than events.hooks_bytes_max");
}

#[test]
fn a_smaller_room_is_kept_to_at_once_and_at_the_next_start() {
    const EVENTS: u64 = 3_000;
    const LESS: u64 = 128 << 10;
    let dir = Dir::new("less");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (dead, _seen) = receiver(|_| Reply::status(503, "", ""));
    let specs = || vec![spec("a", &dead.url("/"))];
    let kept = runtime().block_on(async {
        let rig = Rig::new(&dir, specs());
        for number in 0..EVENTS {
            rig.lost(&format!("s{number}"));
        }
        rig.until("a", |hook| hook.waiting == EVENTS).await;
        rig.hooks.set_bytes_max(4 * LESS);
        let given_up = |hook: &HookState| hook.waiting + hook.tally.given_up == EVENTS;
        rig.until("a", |hook| hook.waiting < EVENTS && given_up(hook)).await;
        rig.until("a", |hook| hook.dead_letters == DEAD_LETTERS_MAX as u64).await;
        assert!((3 * LESS..=4 * LESS).contains(&weight(&rig, "a")), "{:?}", rig.state("a"));
        rig.hooks.close().await;
        rig.state("a").waiting
    });
    runtime().block_on(async {
        let rig = Rig::new(&dir, specs());
        rig.hooks.set_bytes_max(LESS);
        rig.lost("new");
        // The new one is among those that wait, or were given up.
        let came = |hook: &HookState| hook.waiting + hook.tally.given_up > kept;
        rig.until("a", |hook| came(hook) && hook.tally.given_up > 0).await;
        rig.until("a", |hook| hook.tally.failed > 0).await;
        let state = rig.state("a");
        assert!(weight(&rig, "a") <= LESS && state.waiting > 0, "{state:?}");
        // What is newest is still there.
        let written = rig.store.scan(Table::Outbox, Vec::new(), 5_000).await.unwrap();
        let last = &written.last().unwrap().1;
        assert!(String::from_utf8_lossy(last).contains("\"new\""), "{written:?}");
    });
}

#[tokio::test]
async fn what_is_under_way_leaves_room_for_others() {
    const ALL: u64 = 128 << 10;
    const EVENTS: u64 = 60;
    let dir = Dir::new("under-way");
    let (hanging, mut seen) = receiver(|_| Reply::Hang);
    let lists = HookSpec { batch_max: 1_000, ..spec("hanging", &hanging.url("/")) };
    let (another, _seen) = receiver(|_| Reply::Hang);
    let rig = Rig::new(&dir, vec![lists, spec("other", &another.url("/"))]);
    rig.hooks.set_bytes_max(ALL);
    for number in 0..EVENTS {
        rig.lost(&format!("s{number}"));
    }
    for id in ["hanging", "other"] {
        rig.until(id, |hook| hook.waiting == EVENTS).await;
    }
    let first = list(&next(&mut seen).await).len() as u64;
    // A quarter of its half.
    assert!((1..=ALL / 8 / RECORD_BYTES).contains(&first), "{first} events in one request");
}
