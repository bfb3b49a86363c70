//! Datagrams: runs and trains, families, errors of the network, and running out of buffers.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use dataplane::reactor::{
    Completion, OpKind, ReactorConfig, SendPart, TRAIN_BYTES_MAX, TRAIN_DATAGRAMS_MAX,
    TRAIN_PARTS_MAX, Token, UdpOptions, local_addr, send_datagram, udp_socket,
};

use crate::rig::{Rig, patterned};

crate::on_both_backends! {
    a_train_arrives_as_it_was_cut
    datagrams_are_told_apart_and_written_to
    both_families_reach_one_socket
    a_train_has_its_limits
    trains_of_one_token_leave_in_order
    a_batch_of_trains_is_larger_than_the_queue
    a_refused_train_leaves_in_datagrams
    a_train_without_a_route_is_lost_alone
    runs_pause_without_buffers
    a_stop_is_answered_once
    a_starved_receive_can_be_stopped
    empty_datagrams_end_nothing
    unreachable_peers_end_nothing
    a_flood_leaves_room_for_others
    a_socket_closes_with_its_receive
}

const PORT: Token = Token::new(1, 7);
const PEER: Token = Token::new(2, 3);

/// Our socket, its address, and a receive on it.
pub(crate) fn port(rig: &mut Rig, addr: &str) -> (OwnedFd, SocketAddr) {
    let options = UdpOptions { recv_buffer_bytes: Some(8 << 20), ..UdpOptions::default() };
    let fd = udp_socket(&addr.parse().unwrap(), &options).unwrap();
    let addr = local_addr(fd.as_fd()).unwrap();
    rig.reactor.recv_datagrams_start(fd.as_fd(), PORT);
    rig.reactor.submit();
    (fd, addr)
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    peer
}

/// The next datagrams of the port: from whom, and each of them.
fn next_run(rig: &mut Rig) -> (SocketAddr, Vec<Vec<u8>>) {
    match rig.next() {
        Completion::Datagrams { token: PORT, peer, buf } => {
            let datagrams: Vec<_> = rig.reactor.datagrams(&buf).map(<[u8]>::to_vec).collect();
            assert_eq!(datagrams.len(), buf.count());
            assert_eq!(datagrams.concat().len(), buf.len());
            rig.reactor.release_datagrams(buf);
            (peer, datagrams)
        }
        other => panic!("{other:?}"),
    }
}

/// Receives `count` datagrams, which may come in several runs.
fn datagrams(rig: &mut Rig, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(next_run(rig).1);
    }
    assert_eq!(all.len(), count);
    all
}

/// Sends one train and submits; gives the answer.
fn send(rig: &mut Rig, fd: &OwnedFd, to: &SocketAddr, bytes: &[u8], segment: u16) -> Completion {
    // SAFETY: the bytes outlive the submit below.
    unsafe {
        rig.reactor.send_datagrams(fd.as_fd(), PEER, to, &[SendPart::new(bytes)], segment);
    }
    rig.reactor.submit();
    rig.reactor.next_completion().expect("a submit answers its trains")
}

/// Reads `count` datagrams as a plain socket gets them.
fn read(peer: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let mut one = || {
        let len = peer.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    };
    (0..count).map(|_| one()).collect()
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

fn datagrams_are_told_apart_and_written_to(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "127.0.0.1:0");
    let bytes = patterned(0, 950);
    send(&mut rig, &fd, &addr, &bytes, 100);
    let Completion::Datagrams { token: PORT, mut buf, .. } = rig.next() else { panic!("no run") };
    assert_eq!((buf.count(), buf.segment(), buf.len()), (10, 100, 950));
    for (number, datagram) in (1..).zip(rig.reactor.datagrams_mut(&mut buf)) {
        datagram.iter_mut().for_each(|byte| *byte ^= number);
    }
    for (at, plain) in bytes.chunks(100).enumerate() {
        let datagram = rig.reactor.datagram_mut(&mut buf, at).unwrap();
        datagram.iter_mut().for_each(|byte| *byte ^= at as u8 + 1);
        assert_eq!(datagram, plain);
    }
    assert!(rig.reactor.datagram_mut(&mut buf, 10).is_none());
    assert!(rig.reactor.datagrams(&buf).eq(bytes.chunks(100)));
    rig.reactor.release_datagrams(buf);
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

/// Fills every buffer of the port, and as many more datagrams wait in its socket.
fn fill(
    rig: &mut Rig,
    addr: SocketAddr,
    peer: &UdpSocket,
    config: &ReactorConfig,
) -> Vec<Completion> {
    let buffers = usize::from(config.datagram_buffers);
    for at in 0..2 * buffers {
        peer.send_to(&patterned(at, 100), addr).unwrap();
    }
    let mut held = Vec::new();
    while held.len() < buffers {
        match rig.next() {
            run @ Completion::Datagrams { .. } => held.push(run),
            other => panic!("{other:?}"),
        }
    }
    // Every buffer is lent: nothing more is received, however often we turn.
    assert!(rig.ready().is_empty());
    assert!(rig.reactor.counters().no_buffers > 0);
    held
}

/// Releases what was held; gives its datagrams.
fn release(rig: &mut Rig, held: Vec<Completion>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for run in held {
        let Completion::Datagrams { buf, .. } = run else { panic!("{run:?}") };
        all.extend(rig.reactor.datagrams(&buf).map(<[u8]>::to_vec));
        rig.reactor.release_datagrams(buf);
    }
    all
}

fn runs_pause_without_buffers(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    let held = fill(&mut rig, addr, &peer, config);
    // Streams have buffers of their own.
    let (stream, mut stream_peer) = rig.connect();
    rig.recv(&stream, Token::new(9, 9));
    stream_peer.write_all(b"heard").unwrap();
    assert_eq!(rig.read_exactly(Token::new(9, 9), 5), b"heard");
    let mut all = release(&mut rig, held);
    let rest = 2 * usize::from(config.datagram_buffers) - all.len();
    all.extend(datagrams(&mut rig, rest));
    for (at, datagram) in all.iter().enumerate() {
        assert!(*datagram == patterned(at, 100), "{at}");
    }
    // Nothing is left over, and the next one is heard.
    peer.send_to(b"next", addr).unwrap();
    assert_eq!(next_run(&mut rig).1, [b"next"]);
    assert!(rig.ready().is_empty());
}

fn a_stop_is_answered_once(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    assert_eq!(rig.stop(PORT), b"");
    assert_eq!(rig.stop(PORT), b"");
    peer.send_to(b"kept", addr).unwrap();
    assert!(rig.ready().is_empty());
    // Started and stopped before the kernel heard of it, and then for good.
    rig.reactor.recv_datagrams_start(fd.as_fd(), PORT);
    rig.reactor.recv_stop(PORT);
    let all = rig.ready();
    let ends = all.iter().filter(|one| matches!(one, Completion::RecvEnded { token: PORT }));
    assert_eq!(ends.count(), 1, "{all:?}");
    let mut heard = Vec::new();
    for one in all {
        if let Completion::Datagrams { buf, .. } = one {
            heard.extend(rig.reactor.datagrams(&buf).map(<[u8]>::to_vec));
            rig.reactor.release_datagrams(buf);
        }
    }
    rig.reactor.recv_datagrams_start(fd.as_fd(), PORT);
    if heard.is_empty() {
        heard.extend(next_run(&mut rig).1);
    }
    assert_eq!(heard, [b"kept"]);
}

fn a_starved_receive_can_be_stopped(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "127.0.0.1:0");
    let held = fill(&mut rig, addr, &peer(), config);
    rig.reactor.recv_stop(PORT);
    let all = rig.ready();
    assert!(matches!(all[..], [Completion::RecvEnded { token: PORT }]), "{all:?}");
    let first = release(&mut rig, held);
    assert!(rig.ready().is_empty());
    // What was left in the socket is there for the next start.
    rig.reactor.recv_datagrams_start(fd.as_fd(), PORT);
    let rest = 2 * usize::from(config.datagram_buffers) - first.len();
    assert_eq!(datagrams(&mut rig, rest)[0], patterned(first.len(), 100));
}

fn empty_datagrams_end_nothing(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    for round in 0..3 {
        for _ in 0..100 {
            peer.send_to(b"", addr).unwrap();
        }
        peer.send_to(&patterned(round, 10), addr).unwrap();
        assert_eq!(next_run(&mut rig).1, [patterned(round, 10)]);
    }
    assert!(rig.ready().is_empty());
    assert_eq!(rig.reactor.counters().datagrams_received, 303);
}

fn unreachable_peers_end_nothing(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, addr) = port(&mut rig, "127.0.0.1:0");
    let gone = {
        let gone = peer();
        gone.local_addr().unwrap()
    };
    for _ in 0..20 {
        send(&mut rig, &fd, &gone, &patterned(0, 500), 200);
    }
    let peer = peer();
    peer.send_to(b"here", addr).unwrap();
    assert_eq!(next_run(&mut rig).1, [b"here"]);
    // A connected socket is told of it, and goes on as well.
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(gone).unwrap();
    connected.set_nonblocking(true).unwrap();
    let token = Token::new(3, 0);
    rig.reactor.recv_datagrams_start(connected.as_fd(), token);
    rig.reactor.submit();
    for _ in 0..5 {
        // Every other send is the one that is told.
        let _ = connected.send(b"anybody?");
        assert!(rig.ready().is_empty());
    }
    let back = UdpSocket::bind(gone).unwrap();
    back.send_to(b"back", connected.local_addr().unwrap()).unwrap();
    match rig.next() {
        Completion::Datagrams { token: Token { slot: 3, .. }, peer, buf } => {
            assert_eq!(peer, gone);
            rig.reactor.release_datagrams(buf);
        }
        other => panic!("{other:?}"),
    }
    rig.reactor.close(connected.into(), token);
    assert!(rig.ready().is_empty());
}

fn a_flood_leaves_room_for_others(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let (stream, mut stream_peer) = rig.connect();
    rig.recv(&stream, Token::new(9, 9));
    let flooding = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let flood = std::thread::spawn({
        let flooding = std::sync::Arc::clone(&flooding);
        move || {
            let peer = peer();
            while flooding.load(std::sync::atomic::Ordering::Relaxed) {
                // Two empty ones for each that is not.
                for bytes in [&b""[..], &[7; 1_316], &b""[..]] {
                    let _ = peer.send_to(bytes, addr);
                }
            }
        }
    });
    let (mut heard, mut runs) = (Vec::new(), 0);
    for round in 0..50 {
        stream_peer.write_all(&patterned(round * 10, 10)).unwrap();
        while heard.len() < (round + 1) * 10 || runs < round {
            match rig.next() {
                Completion::Received { buf, .. } => rig.take(buf, &mut heard),
                Completion::Datagrams { buf, .. } => {
                    runs += 1;
                    rig.reactor.release_datagrams(buf);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    flooding.store(false, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
    assert!(heard == patterned(0, 500));
}

fn a_socket_closes_with_its_receive(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let mut addr = "127.0.0.1:0".to_owned();
    for round in 0..10 {
        let (fd, bound) = port(&mut rig, &addr);
        addr = bound.to_string();
        let peer = peer();
        peer.send_to(b"one", bound).unwrap();
        if round % 2 == 0 {
            assert_eq!(next_run(&mut rig).1, [b"one"]);
        }
        rig.reactor.close(fd, PORT);
        for completion in rig.ready() {
            match completion {
                Completion::Datagrams { token: PORT, buf, .. } => {
                    rig.reactor.release_datagrams(buf);
                }
                other => panic!("{other:?}"),
            }
        }
        // The port is free: a socket that shares it with nobody gets it.
        let alone = UdpOptions { reuse_port: false, ..UdpOptions::default() };
        drop(udp_socket(&bound, &alone).unwrap());
    }
}
