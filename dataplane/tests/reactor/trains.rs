//! Trains: how they leave and arrive, their limits and order, and routes that take none.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use dataplane::reactor::{
    Completion, OpKind, ReactorConfig, SendPart, TRAIN_BYTES_MAX, TRAIN_DATAGRAMS_MAX,
    TRAIN_PARTS_MAX, Token, send_datagram,
};

use crate::port::{PEER, datagrams, next_run, peer, port, read, send};
use crate::rig::{Rig, patterned};

crate::on_both_backends! {
    a_train_arrives_as_it_was_cut
    both_families_reach_one_socket
    a_train_has_its_limits
    trains_of_one_token_leave_in_order
    a_batch_of_trains_is_larger_than_the_queue
    a_refused_train_leaves_in_datagrams
    a_train_without_a_route_is_lost_alone
}

fn a_train_arrives_as_it_was_cut(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "127.0.0.1:0");
    let bytes = patterned(0, 40 * 1_332 + 700);
    assert!(matches!(
        send(&mut rig, &fd, &addr, &bytes, 1_332),
        Completion::TrainSent { token: PEER, bytes: 53_980 }
    ));
    // The kernel keeps a train of one host together.
    let (peer, run) = next_run(&mut rig);
    assert_eq!((peer, run.len()), (addr, 41));
    assert!(run[..40].iter().all(|datagram| datagram.len() == 1_332));
    assert!(run.concat() == bytes);
    let counters = rig.reactor.counters();
    assert_eq!(counters.op(OpKind::Train).completed, 1);
    assert_eq!((counters.datagrams_sent, counters.datagrams_received), (41, 41));
    assert_eq!((counters.bytes_sent, counters.bytes_received), (53_980, 53_980));
    assert_eq!(counters.datagrams_truncated, 0);
    // The largest of them has room, as a train and as a datagram.
    for segment in [1_100, 65_507] {
        let bytes = patterned(0, TRAIN_BYTES_MAX);
        assert!(matches!(
            send(&mut rig, &fd, &addr, &bytes, segment),
            Completion::TrainSent { token: PEER, bytes: 65_507 }
        ));
        let run = datagrams(&mut rig, TRAIN_BYTES_MAX.div_ceil(usize::from(segment)));
        assert!(run.concat() == bytes);
    }
}

fn both_families_reach_one_socket(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "[::]:0");
    let old = peer();
    let new = UdpSocket::bind("[::1]:0").unwrap();
    new.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for (peer, host) in [(&old, "127.0.0.1"), (&new, "::1")] {
        peer.send_to(b"hello", (host, addr.port())).unwrap();
        let (from, run) = next_run(&mut rig);
        assert_eq!(from, peer.local_addr().unwrap());
        assert_eq!(run, [b"hello"]);
        let bytes = patterned(0, 250);
        assert!(matches!(
            send(&mut rig, &fd, &from, &bytes, 100),
            Completion::TrainSent { bytes: 250, .. }
        ));
        assert!(read(peer, 3).iter().eq(bytes.chunks(100)));
        assert!(send_datagram(fd.as_fd(), &from, b"alone"));
        assert_eq!(read(peer, 1), [b"alone"]);
    }
}

fn a_train_has_its_limits(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, _) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    let to = peer.local_addr().unwrap();
    // The longest: each datagram of three parts, none of which ends where it does.
    let bytes = patterned(0, TRAIN_DATAGRAMS_MAX * 900);
    let parts: Vec<_> = bytes.chunks(300).map(SendPart::new).collect();
    assert_eq!(parts.len(), TRAIN_PARTS_MAX);
    // SAFETY: the bytes outlive the submit below.
    unsafe { rig.reactor.send_datagrams(fd.as_fd(), PEER, &to, &parts, 901) };
    rig.reactor.submit();
    assert!(matches!(
        rig.reactor.next_completion(),
        Some(Completion::TrainSent { token: PEER, bytes: 57_600 })
    ));
    assert!(read(&peer, 64).iter().eq(bytes.chunks(901)));
    // One datagram needs no train.
    assert!(matches!(
        send(&mut rig, &fd, &to, &bytes[..900], 1_316),
        Completion::TrainSent { token: PEER, bytes: 900 }
    ));
    assert_eq!(read(&peer, 1), [&bytes[..900]]);
    let too_large = patterned(0, TRAIN_BYTES_MAX + 1);
    for (bytes, segment) in [(&too_large[..], 1_400), (&bytes[..6_500], 100), (&[][..], 100)] {
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            send(&mut rig, &fd, &to, bytes, segment);
        }));
        assert!(refused.is_err(), "{} bytes in datagrams of {segment}", bytes.len());
    }
}

fn trains_of_one_token_leave_in_order(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, _) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    let to = peer.local_addr().unwrap();
    let bytes = patterned(0, 20 * 500);
    for train in bytes.chunks(500) {
        // SAFETY: the bytes outlive the submit below.
        unsafe {
            rig.reactor.send_datagrams(fd.as_fd(), PEER, &to, &[SendPart::new(train)], 200);
        }
    }
    rig.reactor.submit();
    for train in 0..20 {
        let answer = rig.reactor.next_completion();
        assert!(
            matches!(answer, Some(Completion::TrainSent { token: PEER, bytes: 500 })),
            "{train}: {answer:?}"
        );
    }
    assert!(read(&peer, 60).concat() == bytes);
    assert!(rig.ready().is_empty());
}

fn a_batch_of_trains_is_larger_than_the_queue(config: &ReactorConfig) {
    const ROUNDS: u32 = 40;
    let mut rig = Rig::new(config);
    let (fd, _) = port(&mut rig, "127.0.0.1:0");
    // Beside trains a stream sends and receives, and every answer finds its token.
    let (stream, mut stream_peer) = rig.connect();
    rig.recv(&stream, Token::new(9, 9));
    let peers: Vec<_> = (0..10).map(|_| peer()).collect();
    let to: Vec<_> = peers.iter().map(|peer| peer.local_addr().unwrap()).collect();
    let bytes = patterned(0, 600);
    let parts: Vec<_> = bytes.chunks(10).map(SendPart::new).collect();
    let mut answered = 0;
    let mut received = Vec::new();
    for round in 0..ROUNDS {
        stream_peer.write_all(&patterned(round as usize * 50, 50)).unwrap();
        for (slot, to) in (100..).zip(&to) {
            // SAFETY: the bytes outlive every submit of the case.
            unsafe {
                let token = Token::new(slot, 1);
                rig.reactor.send_datagrams(fd.as_fd(), token, to, &parts, 250);
                rig.reactor.send(stream.as_fd(), Token::new(9, 9), &[SendPart::new(b"x")]);
            }
        }
        rig.reactor.submit();
        for completion in std::iter::from_fn(|| rig.reactor.next_completion()).collect::<Vec<_>>() {
            match completion {
                Completion::TrainSent { token, bytes: 600 } => {
                    assert_eq!(token, Token::new(100 + answered % 10, 1));
                    answered += 1;
                }
                Completion::Sent { token: Token { slot: 9, .. }, bytes: 1 } => {}
                Completion::Received { token: Token { slot: 9, .. }, buf } => {
                    rig.take(buf, &mut received);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answered, (round + 1) * 10, "a submit answers its trains");
        for peer in &peers {
            assert!(read(peer, 3).concat() == bytes);
        }
    }
    let rest = ROUNDS as usize * 50 - received.len();
    received.extend(rig.read_exactly(Token::new(9, 9), rest));
    assert!(received == patterned(0, ROUNDS as usize * 50));
    assert_eq!(rig.reactor.counters().stale, 0);
}

fn a_refused_train_leaves_in_datagrams(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, _) = port(&mut rig, "127.0.0.1:0");
    // The kernel cuts no train whose datagrams shall have no checksum.
    let on = 1_i32;
    let (value, len) = ((&raw const on).cast(), size_of::<i32>() as libc::socklen_t);
    // SAFETY: the option value is a readable integer of the length that is told.
    let code = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, len)
    };
    assert_eq!(code, 0);
    let peer = peer();
    let to = peer.local_addr().unwrap();
    let bytes = patterned(0, 2_000);
    for round in 1..=3 {
        let parts: Vec<_> = bytes.chunks(70).map(SendPart::new).collect();
        // SAFETY: the bytes outlive the submit below.
        unsafe { rig.reactor.send_datagrams(fd.as_fd(), PEER, &to, &parts, 300) };
        rig.reactor.submit();
        assert!(matches!(
            rig.reactor.next_completion(),
            Some(Completion::TrainSent { token: PEER, bytes: 2_000 })
        ));
        assert!(read(&peer, 7).iter().eq(bytes.chunks(300)));
        assert_eq!(rig.reactor.counters().trains_split, round);
        assert_eq!(rig.reactor.counters().datagrams_sent, 7 * round);
    }
    // A single datagram is refused by nobody.
    send(&mut rig, &fd, &to, &bytes[..300], 300);
    assert_eq!(read(&peer, 1), [&bytes[..300]]);
    assert_eq!(rig.reactor.counters().trains_split, 3);
}

fn a_train_without_a_route_is_lost_alone(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, _) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    let bytes = patterned(0, 500);
    // A socket of the loopback address reaches no other host, and one of IPv4 no IPv6.
    for to in ["192.0.2.1:9", "[2001:db8::1]:9"] {
        let lost = send(&mut rig, &fd, &to.parse().unwrap(), &bytes, 200);
        assert!(matches!(lost, Completion::TrainFailed { token: PEER, .. }), "{to}: {lost:?}");
    }
    send(&mut rig, &fd, &peer.local_addr().unwrap(), &bytes, 200);
    assert!(read(&peer, 3).iter().eq(bytes.chunks(200)));
}
