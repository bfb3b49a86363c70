//! Keeping: what waits is in the store, whatever happens.

use std::time::Duration;

use dataplane::ids::StreamName;

use super::super::{HOOKS_MAX, HookSpec, Hooks, HooksError, Moved, parcel};
use super::rig::*;
use crate::events::{Bus, Kind, RingLimits};
use crate::outbound::scripted::Reply;
use crate::store::{COMMIT_BYTES_MAX, Disk, Store, StoreError, Table, Write};

#[test]
fn what_waits_survives_an_end_without_a_word_with_its_id() {
    let dir = Dir::new("restart");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (dead, mut seen) = receiver(|_| Reply::status(503, "", ""));
    let mut before = Vec::new();
    runtime().block_on(async {
        let rig = Rig::new(&dir, Vec::new());
        put(&rig.hooks, spec("a", &dead.url("/"))).await.unwrap();
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
        put(&rig.hooks, spec("a", &good.url("/"))).await.unwrap();
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
        delete(&rig.hooks, "a").await.unwrap();
        assert_eq!(delete(&rig.hooks, "a").await, Err(HooksError::Unknown));
    });
}

#[tokio::test]
async fn a_store_that_is_busy_at_the_start_is_asked_again() {
    let (disk, dir) = (Disk::default(), Dir::new("busy"));
    let store = disk.store();
    let bus = Bus::new("edge-1".into(), RingLimits::default());
    let (receiver, mut seen) = receiver(|_| ok());
    let held = disk.hold();
    let row = || Write { table: Table::Meta, key: vec![1], value: Some(vec![1]) };
    let commit = |store: Store| async move { store.commit(vec![row()]).await };
    let first = tokio::spawn(commit(store.clone()));
    tokio::task::yield_now().await;
    held.wait();
    let crowd: Vec<_> =
        (0..crate::store::ORDERS_MAX).map(|_| tokio::spawn(commit(store.clone()))).collect();
    tokio::task::yield_now().await;
    let hooks = Hooks::start(store, bus.clone(), &dir.0, vec![spec("a", &receiver.url("/"))]);
    while hooks.trouble().is_none() {
        tokio::task::yield_now().await;
    }
    let refused = put(&hooks, spec("b", &receiver.url("/"))).await;
    assert!(matches!(refused, Err(HooksError::Store(_))), "{refused:?}");
    bus.publish(StreamName::parse("x").as_ref(), None, Kind::StreamLost {});
    drop(held);
    for waits in crowd.into_iter().chain([first]) {
        assert_eq!(waits.await.unwrap(), Ok(()));
    }
    assert_eq!(json(&next(&mut seen).await)["stream"], "x");
    assert_eq!(hooks.trouble(), None);
}

#[tokio::test]
async fn what_was_refused_while_the_disk_failed_is_not_done_later() {
    let (disk, dir) = (Disk::default(), Dir::new("failed"));
    let (store, bus) = (disk.store(), Bus::new("edge-1".into(), RingLimits::default()));
    let (receiver, mut seen) = receiver(|_| ok());
    let target = receiver.url("/");
    let hooks = Hooks::start(store.clone(), bus.clone(), &dir.0, Vec::new());
    put(&hooks, spec("a", &target)).await.unwrap();
    let held = disk.hold();
    bus.publish(StreamName::parse("x").as_ref(), None, Kind::StreamLost {});
    let held = tokio::task::spawn_blocking(move || {
        held.wait();
        held
    });
    let held = held.await.unwrap();
    // Both wait behind the event; nobody waits for the first any more.
    let left = tokio::time::timeout(Duration::ZERO, put(&hooks, spec("left", &target))).await;
    assert!(left.is_err(), "{left:?}");
    let waits = tokio::spawn({
        let (hooks, spec) = (hooks.clone(), spec("b", &target));
        async move { put(&hooks, spec).await }
    });
    tokio::task::yield_now().await;
    disk.fail_after(0);
    drop(held);
    let waited = waits.await.unwrap();
    assert!(matches!(waited, Err(HooksError::Store(StoreError::Failed(_)))), "{waited:?}");
    let refused = delete(&hooks, "a").await;
    assert!(matches!(refused, Err(HooksError::Store(StoreError::Failed(_)))), "{refused:?}");
    assert!(hooks.trouble().is_some());
    disk.repair_for(&store);
    assert_eq!(json(&next(&mut seen).await)["stream"], "x");
    assert_eq!(put(&hooks, spec("c", &target)).await, Ok(true));
    assert_eq!(hooks.trouble(), None);
    let ids: Vec<_> = hooks.list().into_iter().map(|hook| hook.spec.id).collect();
    assert_eq!(ids, ["a", "c"]);
}

#[tokio::test]
async fn what_waits_for_a_hook_that_cannot_be_read_stays() {
    let dir = Dir::new("unread");
    let store = Store::open(&dir.0).unwrap();
    let row = |table, key: &[u8], value: &str| Write {
        table,
        key: key.to_vec(),
        value: Some(value.as_bytes().to_vec()),
    };
    let (odd, gone) = (parcel::key("odd", 1), parcel::key("gone", 1));
    let rows = vec![
        row(Table::Hooks, b"odd", r#"{"v":9}"#),
        row(Table::Outbox, &odd, "{}"),
        row(Table::Outbox, &gone, "{}"),
    ];
    store.commit(rows).await.unwrap();
    drop(store);
    let (receiver, _seen) = receiver(|_| ok());
    let rig = Rig::new(&dir, vec![spec("a", &receiver.url("/"))]);
    rig.lost("x");
    rig.until("a", |hook| hook.tally.delivered == 1).await;
    let left = rig.store.scan(Table::Outbox, Vec::new(), 9).await.unwrap();
    assert_eq!(left.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&odd]);
}

#[tokio::test]
async fn beyond_its_bounds_a_hook_keeps_the_newest_and_the_rest_as_dead_letters() {
    let dir = Dir::new("bounds");
    let closed = Closed::new();
    let target = closed.url();
    let rig = Rig::new(&dir, Vec::new());
    let small = HookSpec { queue_max: 3, enabled: false, ..spec("a", &target) };
    put(&rig.hooks, small.clone()).await.unwrap();
    rig.lost("none");
    put(&rig.hooks, HookSpec { enabled: true, ..small.clone() }).await.unwrap();
    for number in 0..8 {
        rig.lost(&format!("s{number}"));
    }
    rig.until("a", |hook| hook.waiting == 3 && hook.dead_letters == 5).await;
    let letters = rig.hooks.letters("a", 0, 10).await.unwrap();
    let streams: Vec<_> = letters.iter().map(|letter| json_of(letter)["stream"].clone()).collect();
    assert_eq!(streams.len(), 5);
    assert!(!streams.contains(&"none".into()), "a hook that is off hears of nothing");
    let one = Moved { events: 1, unread: 0 };
    assert_eq!(rig.hooks.discard("a", Some(letters[0].number)).await, Ok(one));
    let unknown = rig.hooks.retry("a", Some(letters[0].number)).await;
    assert_eq!(unknown, Err(HooksError::UnknownLetter));

    let (good, mut seen) = receiver(|_| ok());
    put(&rig.hooks, HookSpec { queue_max: 10, ..spec("a", &good.url("/")) }).await.unwrap();
    // One is not of a form that this version knows: it stays.
    let (key, bad) = (parcel::key("a", letters[1].number), letters[1].number);
    let write = Write { table: Table::DeadLetters, key, value: Some(b"{\"v\":9}".to_vec()) };
    rig.store.commit(vec![write]).await.unwrap();
    assert_eq!(rig.hooks.retry("a", None).await, Ok(Moved { events: 3, unread: 1 }));
    for _ in 0..6 {
        next(&mut seen).await;
    }
    rig.until("a", |hook| hook.waiting == 0 && hook.dead_letters == 1).await;
    let unread = rig.hooks.retry("a", Some(bad)).await;
    assert_eq!(unread, Err(HooksError::UnreadableLetter));
    let letters = rig.hooks.letters("a", 0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].number, &letters[0].event), (1, bad, &None));
    assert_eq!(rig.hooks.discard("a", None).await, Ok(one));
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
    let put = put(&rig.hooks, spec("a", &receiver.url("/"))).await;
    assert_eq!(put, Err(HooksError::ReadOnly), "it is one of the file");
}

#[tokio::test]
async fn dead_letters_of_more_bytes_than_a_commit_are_tried_again_while_others_are_told() {
    const LETTERS: u64 = 200;
    let dir = Dir::new("heavy");
    let closed = Closed::new();
    let rig = Rig::new(&dir, Vec::new());
    let few = HookSpec { queue_max: 1, ..spec("a", &closed.url()) };
    put(&rig.hooks, few).await.unwrap();
    for _ in 0..=LETTERS {
        rig.lost("x");
    }
    rig.until("a", |hook| hook.dead_letters == LETTERS).await;
    // As if each had been large: together they are beyond what a commit may have.
    let padding = "x".repeat(COMMIT_BYTES_MAX / 4 * 5 / usize::try_from(LETTERS).unwrap());
    rig.hooks.set_bytes_max(64 << 20);
    for (key, value) in rig.store.scan(Table::DeadLetters, Vec::new(), 1_000).await.unwrap() {
        let text = String::from_utf8(value).unwrap();
        let heavy = text.replace("\"data\":{", &format!("\"data\":{{\"padding\":\"{padding}\","));
        let heavy = heavy.replace(",}", "}").into_bytes();
        assert!(heavy.len() > padding.len());
        let write = Write { table: Table::DeadLetters, key, value: Some(heavy) };
        rig.store.commit(vec![write]).await.unwrap();
    }
    // Nobody takes them, and all of them find room.
    let room = HookSpec { queue_bytes_max: 64 << 20, enabled: false, ..spec("a", &closed.url()) };
    put(&rig.hooks, room).await.unwrap();
    put(&rig.hooks, spec("b", &closed.url())).await.unwrap();
    let meanwhile = async {
        rig.until("a", |hook| hook.dead_letters < LETTERS).await;
        rig.lost("meanwhile");
        rig.until("b", |hook| hook.waiting == 1).await;
        rig.state("a").dead_letters
    };
    let (retried, left) = tokio::join!(rig.hooks.retry("a", None), meanwhile);
    assert_eq!(retried, Ok(Moved { events: LETTERS, unread: 0 }));
    assert!((1..LETTERS).contains(&left), "{left} were left");
    assert_eq!((rig.state("a").dead_letters, rig.state("a").waiting), (0, LETTERS + 1));
}

#[tokio::test]
async fn hooks_of_a_file_find_room_beside_those_of_the_api_or_are_refused() {
    let dir = Dir::new("beside");
    let closed = Closed::new();
    let rig = Rig::new(&dir, Vec::new());
    let specs = |prefix: &str, count: usize| -> Vec<_> {
        (0..count).map(|nth| spec(&format!("{prefix}{nth}"), &closed.url())).collect()
    };
    for of_api in specs("api", 20) {
        put(&rig.hooks, of_api).await.unwrap();
    }
    let refused = rig.hooks.admit(&specs("api", 1)).unwrap_err();
    assert_eq!(refused.what, "the API has made a hook that is called \"api0\"");
    let refused = rig.hooks.admit(&specs("file", 13)).unwrap_err();
    assert_eq!(refused.what, "with those of the API there would be more than 32 hooks");
    // What finds room when the file is read may lose it to orders that come before it.
    let late = rig.hooks.admit(&specs("file", 12)).unwrap();
    put(&rig.hooks, spec("file0", &closed.url())).await.unwrap();
    put(&rig.hooks, spec("api20", &closed.url())).await.unwrap();
    rig.hooks.configure(late, specs("file", 12));
    let full = put(&rig.hooks, spec("api21", &closed.url())).await;
    assert_eq!(full, Err(HooksError::Full));
    assert_eq!(rig.hooks.list().len(), HOOKS_MAX);
    let trouble = rig.hooks.trouble().unwrap();
    assert!(trouble.contains("hook file0 of the file is not run: the API has made"), "{trouble}");
    assert!(trouble.contains("hook file11 of the file is not run: with those"), "{trouble}");
    rig.configure(specs("file", 5)[1..].to_vec());
    put(&rig.hooks, spec("api21", &closed.url())).await.unwrap();
    assert_eq!(rig.hooks.trouble(), None);
    // No place among the orders is no reason to say that it is done.
    let places: Vec<_> = std::iter::from_fn(|| rig.hooks.admit(&[]).ok()).collect();
    let refused = rig.hooks.admit(&[]).unwrap_err();
    assert!(refused.what.starts_with("too many changes of hooks wait"), "{}", refused.what);
    drop(places);
    assert!(rig.hooks.admit(&[]).is_ok());
}
