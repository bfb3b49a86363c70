//! Sleeping and being woken.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dataplane::reactor::{
    BackendChoice, BackendKind, Completion, OpKind, Reactor, ReactorConfig, SendPart, Token, Waker,
};

use crate::rig::{Rig, usual};

crate::on_both_backends! {
    a_thread_wakes_a_sleeper
    a_wake_before_the_sleep_counts
    two_shards_wake_each_other
    shards_of_both_backends_wake_each_other
    a_flood_of_wakes_hides_no_send
    a_peer_that_is_gone_is_no_harm
    a_timeout_ends_the_sleep
}

/// Turns until the reactor was woken.
fn sleep_until_woken(reactor: &mut Reactor) {
    loop {
        match reactor.next_completion() {
            Some(Completion::Woken) => return,
            Some(other) => panic!("{other:?}"),
            None => reactor.submit_and_wait(None),
        }
    }
}

fn a_thread_wakes_a_sleeper(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let waker = rig.reactor.waker();
    let (go, gone) = mpsc::channel();
    let thread = std::thread::spawn(move || gone.into_iter().for_each(|()| waker.wake()));
    for _ in 0..200 {
        go.send(()).unwrap();
        sleep_until_woken(&mut rig.reactor);
    }
    drop(go);
    thread.join().unwrap();
    assert!(rig.ready().is_empty());
}

fn a_wake_before_the_sleep_counts(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    rig.reactor.waker().wake();
    sleep_until_woken(&mut rig.reactor);
    rig.reactor.wake_peer(&rig.reactor.waker());
    sleep_until_woken(&mut rig.reactor);
    assert!(rig.ready().is_empty());
}

/// One of two shards: answers every wake-up with one, and gives what it sent and was sent.
fn volley(
    config: &ReactorConfig,
    to: &mpsc::Sender<Waker>,
    from: &mpsc::Receiver<Waker>,
    serves: bool,
) -> (BackendKind, u64, u64) {
    let (mut reactor, _) = Reactor::new(config).unwrap();
    to.send(reactor.waker()).unwrap();
    let peer = from.recv().unwrap();
    if serves {
        reactor.wake_peer(&peer);
    }
    for _ in 0..200 {
        sleep_until_woken(&mut reactor);
        reactor.wake_peer(&peer);
    }
    reactor.submit();
    // Both live until both are done.
    to.send(peer).unwrap();
    from.recv().unwrap();
    let counters = reactor.counters();
    let sent = counters.op(OpKind::Message).submitted;
    (reactor.kind(), sent, counters.op(OpKind::Message).errors)
}

fn volleys(ours: &ReactorConfig, theirs: &ReactorConfig) -> [(BackendKind, u64, u64); 2] {
    let (to_them, from_us) = mpsc::channel();
    let (to_us, from_them) = mpsc::channel();
    let theirs = theirs.clone();
    let thread = std::thread::spawn(move || volley(&theirs, &to_us, &from_us, false));
    [volley(ours, &to_them, &from_them, true), thread.join().unwrap()]
}

fn two_shards_wake_each_other(config: &ReactorConfig) {
    for (kind, messages, errors) in volleys(config, config) {
        let rings = kind == BackendKind::IoUring;
        assert!(if rings { messages >= 200 } else { messages == 0 }, "{messages} messages");
        assert_eq!(errors, 0);
    }
}

fn shards_of_both_backends_wake_each_other(config: &ReactorConfig) {
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        for (_, _, errors) in volleys(config, &usual(choice)) {
            assert_eq!(errors, 0);
        }
    }
}

fn a_flood_of_wakes_hides_no_send(config: &ReactorConfig) {
    const PEERS: u32 = 6;
    let mut rig = Rig::new(config);
    let peers: Vec<_> = (0..PEERS).map(|_| rig.connect()).collect();
    let (mut other, _) = Reactor::new(config).unwrap();
    let waker = rig.reactor.waker();
    for round in 1..=3 {
        // Far more than the completion queue of the smallest ring holds.
        for _ in 0..60 {
            other.wake_peer(&waker);
            other.submit();
        }
        rig.reactor.submit();
        for (slot, (fd, _)) in (1..).zip(&peers) {
            // SAFETY: the bytes are constant.
            unsafe { rig.reactor.send(fd.as_fd(), Token::new(slot, 0), &[SendPart::new(b"x")]) };
        }
        rig.reactor.submit();
        let (mut sent, mut woken) = (0, false);
        while let Some(completion) = rig.reactor.next_completion() {
            match completion {
                Completion::Sent { bytes: 1, .. } => sent += 1,
                Completion::Woken => woken = true,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, PEERS, "round {round}: {:?}", rig.reactor.counters());
        woken |= rig.ready().iter().any(|all| matches!(all, Completion::Woken));
        assert!(woken);
    }
    let small_ring = config.sq_entries == 8 && rig.reactor.kind() == BackendKind::IoUring;
    assert_eq!(rig.reactor.counters().cq_overflows > 0, small_ring);
}

fn a_peer_that_is_gone_is_no_harm(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let gone = Reactor::new(config).unwrap().0.waker();
    for _ in 0..3 {
        rig.reactor.wake_peer(&gone);
        assert!(rig.ready().is_empty());
        gone.wake();
    }
    rig.reactor.waker().wake();
    sleep_until_woken(&mut rig.reactor);
}

#[expect(clippy::disallowed_methods, reason = "the case is about time")]
fn a_timeout_ends_the_sleep(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    assert!(rig.ready().is_empty());
    let start = Instant::now();
    for micros in [1, 500, 3_000, 20_000] {
        let (before, timeout) = (start.elapsed(), Duration::from_micros(micros));
        while start.elapsed() < before + timeout {
            rig.reactor.submit_and_wait(Some(timeout));
            assert!(rig.reactor.next_completion().is_none());
        }
    }
}
