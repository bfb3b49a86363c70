//! Hooks against scripted receivers, over a store on the disk.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;
use hmac::{Hmac, Mac};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{HookKind, HookSpec, HookState, Hooks, HooksError};
use crate::events::{Bus, Kind, RingLimits};
use crate::outbound::scripted::{Application, Reply};
use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(20);

/// Hooks with a directory of their own.
struct Rig {
    bus: Bus,
    hooks: Hooks,
}

/// A directory that is removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("grandstand-hooks-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Rig {
    fn new(dir: &Dir, configured: Vec<HookSpec>) -> Self {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let store = Store::open(&dir.0).unwrap();
        let hooks = Hooks::start(store, bus.clone(), &dir.0.join("hooks"), configured);
        Self { bus, hooks }
    }

    fn lost(&self, stream: &str) {
        self.bus.publish(StreamName::parse(stream).as_ref(), None, Kind::StreamLost {});
    }

    fn state(&self, id: &str) -> HookState {
        self.hooks.get(id).unwrap()
    }

    /// Returns when the hook is in that state.
    async fn until(&self, id: &str, holds: impl Fn(&HookState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.hooks.get(id).as_ref().is_some_and(&holds) {
            assert!(Instant::now() < deadline, "{:?}", self.hooks.get(id));
            tokio::task::yield_now().await;
        }
    }
}

/// A hook of the loss of streams.
fn spec(id: &str, target: &str) -> HookSpec {
    let json = serde_json::json!({
        "id": id, "type": "http", "target": target, "types": ["stream.lost"],
    });
    serde_json::from_value(json).unwrap()
}

/// A receiver, and what it is asked.
fn receiver(
    script: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (Application, UnboundedReceiver<String>) {
    let (asked, seen) = unbounded_channel();
    let application = Application::start(move |request| {
        let _ = asked.send(request.to_owned());
        script(request)
    });
    (application, seen)
}

fn ok() -> Reply {
    Reply::status(204, "", "")
}

async fn next(seen: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a request in time").unwrap()
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let line = request
        .lines()
        .find(|line| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)));
    line?.split_once(':').map(|(_, value)| value.trim())
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

fn json(request: &str) -> Value {
    serde_json::from_str(body(request)).unwrap()
}

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
    signed.secret = Some(super::HookSecret("a shared secret".to_owned()));
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

#[test]
fn what_waits_survives_an_end_without_a_word_with_its_id() {
    let dir = Dir::new("restart");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (dead, mut seen) = receiver(|_| Reply::status(503, "", ""));
    let mut before = Vec::new();
    runtime().block_on(async {
        let rig = Rig::new(&dir, Vec::new());
        rig.hooks.put(spec("a", &dead.url("/"))).await.unwrap();
        for stream in ["x", "y", "x"] {
            rig.lost(stream);
        }
        for _ in 0..2 {
            before.push(header(&next(&mut seen).await, "idempotency-key").unwrap().to_owned());
        }
        rig.until("a", |hook| hook.tally.failed >= 2 && hook.waiting == 3).await;
    });
    let (good, mut seen) = receiver(|_| ok());
    runtime().block_on(async {
        let rig = Rig::new(&dir, Vec::new());
        rig.until("a", |hook| hook.waiting == 3).await;
        rig.hooks.put(spec("a", &good.url("/"))).await.unwrap();
        let mut after = Vec::new();
        for _ in 0..3 {
            after.push(header(&next(&mut seen).await, "idempotency-key").unwrap().to_owned());
        }
        assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
        rig.hooks.close().await;
    });
    runtime().block_on(async {
        let rig = Rig::new(&dir, Vec::new());
        rig.until("a", |hook| hook.waiting == 0).await;
        rig.hooks.delete("a").await.unwrap();
        assert_eq!(rig.hooks.delete("a").await, Err(HooksError::Unknown));
    });
}

#[tokio::test]
async fn batches_are_bounded_and_name_their_size() {
    let dir = Dir::new("batches");
    let (receiver, mut seen) = receiver(|_| ok());
    let batched = HookSpec { batch_max: 3, batch_ms: 50, ..spec("a", &receiver.url("/")) };
    let rig = Rig::new(&dir, vec![batched]);
    for _ in 0..7 {
        rig.lost("x");
    }
    let mut ids = Vec::new();
    while ids.len() < 7 {
        let request = next(&mut seen).await;
        let events = json(&request).as_array().unwrap().clone();
        let size = header(&request, "grandstand-batch-size").unwrap().to_owned();
        assert!(events.len() <= 3 && size == events.len().to_string());
        assert_eq!(header(&request, "idempotency-key").unwrap().len(), 32);
        ids.extend(events.iter().map(|event| event["id"].to_string()));
    }
    assert!(ids.len() == 7 && ids.is_sorted());
}

#[tokio::test]
async fn beyond_its_bounds_a_hook_keeps_the_newest_and_the_rest_as_dead_letters() {
    let dir = Dir::new("bounds");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!("http://{closed}/");
    let rig = Rig::new(&dir, Vec::new());
    let small = HookSpec { queue_max: 3, enabled: false, ..spec("a", &target) };
    rig.hooks.put(small.clone()).await.unwrap();
    rig.lost("none");
    rig.hooks.put(HookSpec { enabled: true, ..small.clone() }).await.unwrap();
    for number in 0..8 {
        rig.lost(&format!("s{number}"));
    }
    rig.until("a", |hook| hook.waiting == 3 && hook.dead_letters == 5).await;
    let letters = rig.hooks.letters("a", 0, 10).await.unwrap();
    let streams: Vec<_> = letters
        .iter()
        .map(|letter| serde_json::from_str::<Value>(&letter.event).unwrap()["stream"].clone())
        .collect();
    assert_eq!(streams.len(), 5);
    assert!(!streams.contains(&"none".into()), "a hook that is off hears of nothing");
    assert_eq!(rig.hooks.discard("a", Some(letters[0].number)).await, Ok(1));
    let unknown = rig.hooks.retry("a", Some(letters[0].number)).await;
    assert_eq!(unknown, Err(HooksError::UnknownLetter));

    let (good, mut seen) = receiver(|_| ok());
    rig.hooks.put(HookSpec { queue_max: 10, ..spec("a", &good.url("/")) }).await.unwrap();
    assert_eq!(rig.hooks.retry("a", None).await, Ok(4));
    for _ in 0..7 {
        next(&mut seen).await;
    }
    rig.until("a", |hook| hook.waiting == 0 && hook.dead_letters == 0).await;
    assert!(rig.hooks.letters("a", 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_that_is_never_taken_becomes_a_dead_letter() {
    let dir = Dir::new("letter");
    let (receiver, _seen) = receiver(|request| match request.contains("\"bad\"") {
        true => Reply::status(400, "", ""),
        false => ok(),
    });
    let once = HookSpec { retries_max: 0, ..spec("a", &receiver.url("/")) };
    let rig = Rig::new(&dir, vec![once]);
    for stream in ["bad", "good"] {
        rig.lost(stream);
    }
    rig.until("a", |hook| hook.dead_letters == 1 && hook.tally.delivered == 1).await;
    let letter = rig.hooks.letters("a", 0, 10).await.unwrap().remove(0);
    assert_eq!((letter.attempts, letter.reason.as_str()), (1, "the receiver answered 400"));
    let put = rig.hooks.put(spec("a", &receiver.url("/"))).await;
    assert_eq!(put, Err(HooksError::ReadOnly), "it is one of the file");
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
    rig.hooks.configure(vec![to(dir.0.join("events.jsonl"))]);
    rig.until("a", |hook| hook.tally.delivered == 2).await;
    let text = std::fs::read_to_string(dir.0.join("events.jsonl")).unwrap();
    let streams: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["stream"].clone())
        .collect();
    assert!(streams.len() == 2 && streams.contains(&"x".into()) && streams.contains(&"y".into()));
    rig.hooks.configure(Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while rig.hooks.get("a").is_some() {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
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
