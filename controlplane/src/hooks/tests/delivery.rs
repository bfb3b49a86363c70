//! Delivery: events arrive signed, in their order, and in files.

use std::path::PathBuf;
use std::time::Instant;

use hmac::{Hmac, Mac};
use serde_json::Value;

use super::super::{HookKind, HookSecret, HookSpec, HooksError};
use super::rig::*;
use crate::outbound::scripted::Reply;

#[tokio::test]
async fn events_come_signed_in_the_order_of_their_stream_and_with_one_id() {
    let dir = Dir::new("order");
    // The first event of stream "a" fails once with an answer and once without.
    let tries = std::sync::atomic::AtomicU32::new(0);
    let (receiver, mut seen) = receiver(move |request| {
        let first = request.contains("\"stream\":\"a\"");
        match tries.fetch_add(u32::from(first), std::sync::atomic::Ordering::SeqCst) {
            0 if first => Reply::status(500, "", "no"),
            1 if first => Reply::Last(Vec::new()),
            _ => ok(),
        }
    });
    let mut signed = spec("signed", &receiver.url("/x"));
    signed.secret = Some(HookSecret("a shared secret".to_owned()));
    signed.metadata.insert("region".to_owned(), "eu".to_owned());
    let rig = Rig::new(&dir, vec![signed]);
    for stream in ["a", "b", "a", "b"] {
        rig.lost(stream);
    }
    let mut requests = Vec::new();
    while requests.len() < 6 {
        requests.push(next(&mut seen).await);
    }
    for request in &requests {
        let signature = header(request, "grandstand-signature").unwrap();
        let (time, hex) = signature.split_once(",v1=").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a shared secret").unwrap();
        mac.update(time.strip_prefix("t=").unwrap().as_bytes());
        mac.update(b".");
        mac.update(body(request).as_bytes());
        let expected: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        let event = json(request);
        assert_eq!(header(request, "idempotency-key"), event["id"].as_str());
        assert_eq!(header(request, "grandstand-hook"), Some("signed"));
        assert_eq!(event["metadata"]["region"], "eu");
    }
    let ids = |stream: &str| {
        let of = requests.iter().map(|request| json(request));
        of.filter(|event| event["stream"] == stream)
            .map(|e| e["id"].to_string())
            .collect::<Vec<_>>()
    };
    let (a, b) = (ids("a"), ids("b"));
    assert_eq!((a.len(), b.len()), (4, 2));
    assert!(a[0] == a[1] && a[1] == a[2] && a[2] < a[3] && b[0] < b[1], "{a:?} {b:?}");
    let position = |id: &str| requests.iter().position(|request| request.contains(id));
    assert!(position(&b[1]) < position(&a[3]), "stream b did not wait for stream a");
    rig.until("signed", |hook| hook.tally.delivered == 4 && hook.waiting == 0).await;
}

#[tokio::test]
async fn a_file_gets_a_line_for_each_event_and_a_reload_keeps_what_waits() {
    let dir = Dir::new("file");
    let blocked = dir.0.join("blocked");
    std::fs::create_dir_all(blocked.join("x.jsonl")).unwrap();
    let to = |target: PathBuf| HookSpec {
        kind: HookKind::File,
        target: target.to_string_lossy().into_owned(),
        ..spec("a", "")
    };
    let rig = Rig::new(&dir, vec![to(blocked.join("x.jsonl"))]);
    for stream in ["x", "y"] {
        rig.lost(stream);
    }
    rig.until("a", |hook| hook.tally.failed > 0 && hook.waiting == 2).await;
    rig.configure(vec![to(dir.0.join("events.jsonl"))]);
    rig.until("a", |hook| hook.tally.delivered == 2).await;
    let text = std::fs::read_to_string(dir.0.join("events.jsonl")).unwrap();
    let streams: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["stream"].clone())
        .collect();
    assert!(streams.len() == 2 && streams.contains(&"x".into()) && streams.contains(&"y".into()));
    rig.configure(Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while rig.hooks.get("a").is_some() {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_is_told_is_told_of_hooks_too() {
    let dir = Dir::new("told");
    let (receiver, _seen) = receiver(|_| ok());
    let rig = Rig::new(&dir, Vec::new());
    let mut cursor = rig.bus.cursor();
    let other = HookSpec { timeout_ms: 200, ..spec("a", &receiver.url("/")) };
    for (hook, created) in [(spec("a", &receiver.url("/")), true), (other, false)] {
        assert_eq!(put(&rig.hooks, hook).await, Ok(created));
    }
    delete(&rig.hooks, "a").await.unwrap();
    let told = cursor.read(9).events;
    let told: Vec<_> = told.iter().map(|event| event.kind().name()).collect();
    assert_eq!(told, ["hook.created", "hook.updated", "hook.deleted"]);
}

#[tokio::test]
async fn a_test_is_a_real_delivery_and_tells_what_came_of_it() {
    let dir = Dir::new("test");
    let (receiver, mut seen) = receiver(|_| Reply::status(418, "", ""));
    let rig = Rig::new(&dir, vec![spec("a", &receiver.url("/"))]);
    rig.until("a", |_| true).await;
    let delivery = rig.hooks.test("a").await.unwrap();
    assert_eq!(delivery.status, Some(418));
    assert_eq!(delivery.failure.unwrap().0, "status");
    assert_eq!(json(&next(&mut seen).await)["type"], "hook.test");
    assert_eq!(rig.state("a").waiting, 0);
    assert!(matches!(rig.hooks.test("b").await, Err(HooksError::Unknown)));
}
