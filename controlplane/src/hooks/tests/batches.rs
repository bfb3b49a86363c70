//! Batches: events that go together.

use super::super::HookSpec;
use super::rig::*;
use crate::outbound::scripted::Reply;

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
        let events = list(&request);
        let size = header(&request, "grandstand-batch-size").unwrap().to_owned();
        assert!(events.len() <= 3 && size == events.len().to_string());
        assert_eq!(header(&request, "idempotency-key").unwrap().len(), 32);
        ids.extend(events.iter().map(|event| event["id"].to_string()));
    }
    assert!(ids.len() == 7 && ids.is_sorted());
}

#[tokio::test]
async fn a_batch_that_nobody_answered_comes_again_with_its_key() {
    let dir = Dir::new("again");
    let tries = std::sync::atomic::AtomicU32::new(0);
    let (receiver, mut seen) = receiver(move |request| {
        // Taken, but the answer is lost; then an overloaded one; then it is there.
        let first = request.contains("\"x\"");
        match tries.fetch_add(u32::from(first), std::sync::atomic::Ordering::SeqCst) {
            0 if first => Reply::Last(Vec::new()),
            1 if first => Reply::status(503, "", ""),
            _ => ok(),
        }
    });
    let batched = HookSpec { batch_max: 100, ..spec("a", &receiver.url("/")) };
    let rig = Rig::new(&dir, vec![batched]);
    for stream in ["x", "y", "x"] {
        rig.lost(stream);
    }
    let first = next(&mut seen).await;
    rig.lost("z");
    let mut later = Vec::new();
    while later.len() < 3 {
        later.push(next(&mut seen).await);
    }
    assert_eq!(list(&first).len(), 3);
    let same = |request: &&String| body(request) == body(&first);
    let again: Vec<_> = later.iter().filter(same).collect();
    assert_eq!(again.len(), 2, "{later:#?}");
    let key = header(&first, "idempotency-key").unwrap();
    assert!(again.iter().all(|request| header(request, "idempotency-key") == Some(key)));
    let other = later.iter().find(|request| !same(request)).unwrap();
    assert_eq!(header(other, "idempotency-key"), list(other)[0]["id"].as_str());
    rig.until("a", |hook| hook.tally.delivered == 4 && hook.waiting == 0).await;
}

#[tokio::test]
async fn one_bad_event_of_a_batch_takes_no_other_along() {
    let dir = Dir::new("bad");
    let (receiver, _seen) = receiver(|request| match request.contains("\"bad\"") {
        true => Reply::status(422, "", ""),
        false => ok(),
    });
    let batched = HookSpec { batch_max: 100, retries_max: 0, ..spec("a", &receiver.url("/")) };
    let rig = Rig::new(&dir, vec![batched]);
    for stream in ["x", "bad", "y"] {
        rig.lost(stream);
    }
    rig.until("a", |hook| hook.dead_letters == 1 && hook.tally.delivered == 2).await;
    let letters = rig.hooks.letters("a", 0, 10).await.unwrap();
    assert_eq!(json_of(&letters[0])["stream"], "bad");
}
