//! Runs of datagrams: telling them apart, stops, errors of the network, running out of buffers.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use dataplane::reactor::{Completion, ReactorConfig, Token, UdpOptions, udp_socket};

use crate::port::{PORT, datagrams, next_run, peer, port, send};
use crate::rig::{Rig, patterned};

crate::on_both_backends! {
    datagrams_are_told_apart_and_written_to
    runs_pause_without_buffers
    a_lone_datagram_ends_a_sleep
    who_never_sleeps_hears_everything
    a_stop_is_answered_once
    a_starved_receive_can_be_stopped
    empty_datagrams_end_nothing
    unreachable_peers_end_nothing
    a_flood_leaves_room_for_others
    a_socket_closes_with_its_receive
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

fn a_lone_datagram_ends_a_sleep(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let peer = peer();
    peer.send_to(b"first", addr).unwrap();
    assert_eq!(next_run(&mut rig).1, [b"first"]);
    // Others may follow from now on, and are waited for only shortly.
    for _ in 0..3 {
        peer.send_to(b"alone", addr).unwrap();
        rig.reactor.submit_and_wait(Some(Duration::from_secs(20)));
        let run = rig.reactor.next_completion();
        let Some(Completion::Datagrams { buf, .. }) = run else { panic!("{run:?}") };
        assert!(rig.reactor.datagrams(&buf).eq([b"alone"]));
        rig.reactor.release_datagrams(buf);
    }
}

fn who_never_sleeps_hears_everything(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let (stream, mut stream_peer) = rig.connect();
    rig.recv(&stream, Token::new(9, 9));
    let peer = peer();
    let count = 20 * usize::from(config.datagram_buffers);
    for at in 0..count {
        peer.send_to(&patterned(at, 100), addr).unwrap();
    }
    let bytes = patterned(0, 20 * config.recv_buffer_bytes as usize);
    stream_peer.write_all(&bytes).unwrap();
    let (mut all, mut streamed) = (Vec::new(), Vec::new());
    while all.len() < count || streamed.len() < bytes.len() {
        match rig.next_busy() {
            Completion::Datagrams { token: PORT, buf, .. } => {
                all.extend(rig.reactor.datagrams(&buf).map(<[u8]>::to_vec));
                rig.reactor.release_datagrams(buf);
            }
            Completion::Received { buf, .. } => rig.take(buf, &mut streamed),
            other => panic!("{other:?}"),
        }
    }
    assert!(all.iter().enumerate().all(|(at, datagram)| *datagram == patterned(at, 100)));
    assert!(streamed == bytes);
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

/// Far more lies in a socket than one turn takes, and whoever else is ready has its turn.
fn a_flood_leaves_room_for_others(config: &ReactorConfig) {
    /// Datagrams of each round, two empty ones for each that is not.
    const FLOOD: usize = 300;
    let mut rig = Rig::new(config);
    let (_fd, addr) = port(&mut rig, "127.0.0.1:0");
    let (stream, mut stream_peer) = rig.connect();
    rig.recv(&stream, Token::new(9, 9));
    let (peer, mut heard) = (peer(), Vec::new());
    for round in 0..10 {
        for at in 0..FLOOD {
            let bytes: &[u8] = if at % 3 == 0 { &[7; 100] } else { b"" };
            peer.send_to(bytes, addr).unwrap();
        }
        stream_peer.write_all(&patterned(round * 10, 10)).unwrap();
        wait_for_bytes(&stream, 10);
        let (mut before, mut flooded) = (0, 0);
        while flooded < FLOOD / 3 || heard.len() < (round + 1) * 10 {
            match rig.next() {
                Completion::Received { buf, .. } => {
                    rig.take(buf, &mut heard);
                    before = flooded;
                }
                Completion::Datagrams { buf, .. } => {
                    flooded += buf.count();
                    rig.reactor.release_datagrams(buf);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(before < FLOOD / 6, "round {round}: it waited for {before} datagrams");
    }
    assert!(heard == patterned(0, 100));
}

/// Waits until so many bytes lie in the socket of a stream, or were taken out of it.
fn wait_for_bytes(stream: &OwnedFd, count: i32) {
    let mut waiting = 0_i32;
    while waiting < count {
        // SAFETY: the call writes one integer.
        let code = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
        assert_eq!(code, 0);
        std::thread::yield_now();
    }
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
