//! Sending: parts, order with closes, stalled readers, dead ones.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use dataplane::reactor::{
    Completion, ListenOptions, OpKind, ReactorConfig, SEND_PARTS_MAX, SendPart, SocketOptions,
    Token, apply, outgoing_queue_bytes,
};

use crate::rig::{Rig, pattern, patterned};

crate::on_both_backends! {
    parts_leave_in_order
    a_batch_is_larger_than_the_queue
    a_send_is_before_the_close
    a_send_is_before_the_shutdown
    a_stalled_reader_blocks_until_it_reads
    a_poll_can_be_given_up
    a_send_after_the_end_fails
}

const PEER: Token = Token::new(1, 7);

/// A rig whose connections take few unread bytes.
fn narrow(config: &ReactorConfig) -> Rig {
    let options = ListenOptions { send_buffer_bytes: Some(8 * 1024), ..ListenOptions::default() };
    Rig::with_options(config, &options)
}

/// Sends the pattern until the socket takes no more; gives the bytes that it took.
fn fill(rig: &mut Rig, fd: &OwnedFd) -> usize {
    let bytes = patterned(0, 1 << 20);
    let mut at = 0;
    loop {
        match rig.send(fd, PEER, &patterned(at, 16 * 1024)) {
            Completion::Sent { token: PEER, bytes } => at += bytes as usize,
            Completion::SendBlocked { token: PEER } => return at,
            other => panic!("{other:?}"),
        }
        assert!(at < 64 * bytes.len(), "the socket never fills");
    }
}

fn parts_leave_in_order(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    let (bytes, mut sent, mut got) = (patterned(0, 8 * 900), 0, vec![0; 8 * 900]);
    for count in 1..=SEND_PARTS_MAX {
        let parts: Vec<_> =
            bytes[sent..sent + 200 * count].chunks(200).map(SendPart::new).collect();
        // SAFETY: the bytes outlive the submit below.
        unsafe { rig.reactor.send(fd.as_fd(), PEER, &parts) };
        rig.reactor.submit();
        match rig.reactor.next_completion() {
            Some(Completion::Sent { token: PEER, bytes }) => assert_eq!(bytes, 200 * count as u32),
            other => panic!("{other:?}"),
        }
        sent += 200 * count;
    }
    peer.read_exact(&mut got[..sent]).unwrap();
    assert!(got[..sent] == bytes[..sent]);
    assert_eq!(rig.reactor.counters().op(OpKind::Send).completed, 1);
    assert_eq!(rig.reactor.counters().op(OpKind::SendMsg).completed, 7);
    assert_eq!(rig.reactor.counters().bytes_sent, sent as u64);
}

fn a_batch_is_larger_than_the_queue(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let mut peers: Vec<_> = (0..100).map(|_| rig.connect()).collect();
    let bytes = patterned(0, 600);
    for round in 1..=3 {
        for (slot, (fd, _)) in (0..).zip(&peers) {
            let parts = [SendPart::new(&bytes[..100]), SendPart::new(&bytes[100..])];
            let parts = if slot % 2 == 0 { &parts[..] } else { &[SendPart::new(&bytes)] };
            // SAFETY: the bytes outlive the submit below.
            unsafe { rig.reactor.send(fd.as_fd(), Token::new(slot, 3), parts) };
        }
        rig.reactor.submit();
        let mut answered: Vec<_> = std::iter::from_fn(|| rig.reactor.next_completion())
            .map(|completion| match completion {
                Completion::Sent { token, bytes: 600 } => token.slot,
                other => panic!("{other:?}"),
            })
            .collect();
        answered.sort_unstable();
        assert!(answered.into_iter().eq(0..100), "round {round}");
    }
    for (_, peer) in &mut peers {
        let mut got = vec![0; 3 * 600];
        peer.read_exact(&mut got).unwrap();
        assert!(got.chunks(600).all(|got| got == bytes));
    }
}

fn a_send_is_before_the_close(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let bytes = patterned(0, 5_000);
    for generation in 0..20 {
        let token = Token::new(1, generation);
        let (fd, mut peer) = rig.connect();
        // With a receive to cancel and without one.
        if generation % 2 == 0 {
            rig.recv(&fd, token);
            rig.reactor.submit();
        }
        // SAFETY: the bytes outlive every submit of the case.
        unsafe { rig.reactor.send(fd.as_fd(), token, &[SendPart::new(&bytes)]) };
        rig.reactor.close(fd, token);
        let all = rig.ready();
        assert!(
            matches!(all[..], [Completion::Sent { token: of, bytes: 5_000 }] if of == token),
            "{all:?}"
        );
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert!(got == bytes);
    }
}

fn a_send_is_before_the_shutdown(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    let bytes = patterned(0, 5_000);
    // SAFETY: the bytes outlive the submit below.
    unsafe { rig.reactor.send(fd.as_fd(), PEER, &[SendPart::new(&bytes)]) };
    rig.reactor.shutdown_write(fd.as_fd());
    rig.reactor.submit();
    assert!(matches!(rig.next(), Completion::Sent { token: PEER, bytes: 5_000 }));
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got == bytes);
}

fn a_stalled_reader_blocks_until_it_reads(config: &ReactorConfig) {
    const REST: usize = 500_000;
    let mut rig = narrow(config);
    let (fd, mut peer) = rig.connect();
    let options = SocketOptions {
        nodelay: true,
        notsent_lowat: Some(16 * 1024),
        user_timeout_ms: Some(30_000),
        ..SocketOptions::default()
    };
    apply(fd.as_fd(), &options).unwrap();
    // A receive waits on the same connection, and is not disturbed.
    rig.recv(&fd, PEER);
    rig.reactor.poll_writable(fd.as_fd(), PEER);
    assert!(matches!(rig.next(), Completion::Writable { token: PEER }));
    let mut at = fill(&mut rig, &fd);
    assert!(outgoing_queue_bytes(fd.as_fd()).unwrap() > 0);
    assert!(rig.reactor.counters().sends_blocked > 0);
    rig.reactor.poll_writable(fd.as_fd(), PEER);
    // Two polls at once are one.
    rig.reactor.poll_writable(fd.as_fd(), PEER);
    assert!(rig.ready().is_empty());
    let total = at + REST;
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; total];
        peer.read_exact(&mut got).unwrap();
        assert!((0..).zip(&got).all(|(at, &byte)| byte == pattern(at)));
        peer
    });
    while at < total {
        match rig.next() {
            Completion::Writable { token: PEER } => {}
            other => panic!("{other:?}"),
        }
        while at < total {
            let piece = patterned(at, (total - at).min(16 * 1024));
            match rig.send(&fd, PEER, &piece) {
                Completion::Sent { token: PEER, bytes } => at += bytes as usize,
                Completion::SendBlocked { token: PEER } => {
                    rig.reactor.poll_writable(fd.as_fd(), PEER);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    drop(reader.join().unwrap());
    let end = rig.ready();
    assert!(matches!(end.last(), Some(Completion::Eof { token: PEER })), "{end:?}");
}

fn a_poll_can_be_given_up(config: &ReactorConfig) {
    let mut rig = narrow(config);
    let (fd, mut peer) = rig.connect();
    let at = fill(&mut rig, &fd);
    rig.reactor.poll_writable(fd.as_fd(), PEER);
    rig.reactor.submit();
    rig.reactor.poll_cancel(PEER);
    // Nobody polls, and giving up again changes nothing.
    rig.reactor.poll_cancel(PEER);
    assert!(rig.ready().is_empty());
    let reader = std::thread::spawn(move || {
        peer.read_exact(&mut vec![0; at]).unwrap();
        peer
    });
    let peer = reader.join().unwrap();
    assert!(rig.ready().is_empty());
    // A poll of a socket that has room already answers as well.
    rig.reactor.poll_writable(fd.as_fd(), PEER);
    assert!(matches!(rig.next(), Completion::Writable { token: PEER }));
    drop(peer);
}

fn a_send_after_the_end_fails(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, peer) = rig.connect();
    rig.reactor.shutdown_write(fd.as_fd());
    let failed = rig.send(&fd, PEER, b"late");
    assert!(
        matches!(failed, Completion::SendFailed { token: PEER, errno: libc::EPIPE }),
        "{failed:?}"
    );
    assert_eq!(rig.reactor.counters().op(OpKind::Send).errors, 1);
    drop(peer);
}
