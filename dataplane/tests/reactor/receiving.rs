//! Receiving: splitting, ends, stops, and running out of buffers.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use dataplane::reactor::{Completion, OpKind, ReactorConfig, RecvMode, Token};

use crate::rig::{Rig, patterned};

crate::on_both_backends! {
    a_stream_arrives_whole
    one_receive_takes_one_buffer
    a_stop_is_answered_once
    a_stop_loses_no_byte
    receives_pause_without_buffers
    a_starved_receive_can_be_stopped
    a_broken_connection_fails
    a_slot_is_used_again
}

const PEER: Token = Token::new(1, 7);

fn a_stream_arrives_whole(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    rig.recv(&fd, PEER);
    let sent = patterned(0, 100_000);
    let writer = std::thread::spawn(move || {
        for piece in sent.chunks(777) {
            peer.write_all(piece).unwrap();
        }
        peer.shutdown(Shutdown::Write).unwrap();
        peer
    });
    assert!(rig.read_exactly(PEER, 100_000) == patterned(0, 100_000));
    assert!(matches!(rig.next(), Completion::Eof { token: PEER }));
    writer.join().unwrap();
    assert_eq!(rig.reactor.counters().bytes_received, 100_000);
    assert!(rig.reactor.counters().op(OpKind::Recv).completed >= 100_000 / 4096);
    // The end of the stream was the end of the receive, and a stop is answered all the same.
    assert_eq!(rig.stop(PEER), b"");
    assert!(rig.ready().is_empty());
}

fn one_receive_takes_one_buffer(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    peer.write_all(&patterned(0, 60)).unwrap();
    rig.reactor.recv_start(fd.as_fd(), PEER, RecvMode::Once);
    assert_eq!(rig.read_exactly(PEER, 60), patterned(0, 60));
    peer.write_all(&patterned(60, 60)).unwrap();
    assert!(rig.ready().is_empty());
    rig.reactor.recv_start(fd.as_fd(), PEER, RecvMode::Once);
    assert_eq!(rig.read_exactly(PEER, 60), patterned(60, 60));
    drop(peer);
    rig.reactor.recv_start(fd.as_fd(), PEER, RecvMode::Once);
    assert!(matches!(rig.next(), Completion::Eof { token: PEER }));
}

fn a_stop_is_answered_once(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    // Never started, idle and submitted, idle and only queued, stopped twice.
    assert_eq!(rig.stop(PEER), b"");
    rig.recv(&fd, PEER);
    rig.reactor.submit();
    assert_eq!(rig.stop(PEER), b"");
    rig.recv(&fd, PEER);
    assert_eq!(rig.stop(PEER), b"");
    assert!(rig.ready().is_empty());
    // Nothing is received after the answer, and nothing was lost by it.
    peer.write_all(&patterned(0, 300)).unwrap();
    assert!(rig.ready().is_empty());
    rig.recv(&fd, PEER);
    assert_eq!(rig.read_exactly(PEER, 300), patterned(0, 300));
}

fn a_stop_loses_no_byte(config: &ReactorConfig) {
    const TOTAL: usize = 400_000;
    let mut rig = Rig::new(config);
    let (fd, mut peer) = rig.connect();
    let writer = std::thread::spawn(move || {
        for piece in patterned(0, TOTAL).chunks(1_001) {
            peer.write_all(piece).unwrap();
        }
        peer
    });
    let (mut bytes, mut stops) = (Vec::new(), 0);
    while bytes.len() < TOTAL {
        rig.recv(&fd, PEER);
        let until = (bytes.len() + 500 + stops % 7 * 300).min(TOTAL);
        while bytes.len() < until {
            match rig.next() {
                Completion::Received { token: PEER, buf } => rig.take(buf, &mut bytes),
                other => panic!("{other:?}"),
            }
        }
        bytes.extend(rig.stop(PEER));
        stops += 1;
    }
    assert!(bytes == patterned(0, TOTAL));
    drop(writer.join().unwrap());
    rig.recv(&fd, PEER);
    assert!(matches!(rig.next(), Completion::Eof { token: PEER }));
}

/// Connections of which the first half has more bytes waiting than there are buffers.
fn crowd(rig: &mut Rig, config: &ReactorConfig) -> Vec<(OwnedFd, TcpStream)> {
    let each = 2 * config.recv_buffer_bytes as usize;
    let mut peers: Vec<_> =
        (0..2 * usize::from(config.recv_buffers)).map(|_| rig.connect()).collect();
    let loud = peers.len() / 2;
    for (_, peer) in &mut peers[..loud] {
        peer.write_all(&patterned(0, each)).unwrap();
    }
    peers
}

fn receives_pause_without_buffers(config: &ReactorConfig) {
    let each = 2 * config.recv_buffer_bytes as usize;
    let mut rig = Rig::new(config);
    let mut peers = crowd(&mut rig, config);
    let loud = peers.len() / 2;
    let mut held = Vec::new();
    for (slot, (fd, _)) in (100..).zip(&peers) {
        rig.recv(fd, Token::new(slot, 1));
    }
    while held.len() < usize::from(config.recv_buffers) {
        match rig.next() {
            Completion::Received { token, buf } => held.push((token, buf)),
            other => panic!("{other:?}"),
        }
    }
    // Every buffer is lent: nothing more is received, however often we turn.
    assert!(rig.ready().is_empty());
    assert!(rig.reactor.counters().no_buffers > 0);
    let mut bytes = vec![Vec::new(); peers.len()];
    for (token, buf) in held {
        rig.take(buf, &mut bytes[token.slot as usize - 100]);
    }
    // The silent half may have starved before the loud half; it must still be heard.
    while bytes[..loud].iter().any(|bytes| bytes.len() < each) {
        match rig.next() {
            Completion::Received { token, buf } => {
                rig.take(buf, &mut bytes[token.slot as usize - 100]);
            }
            other => panic!("{other:?}"),
        }
    }
    for at in loud..peers.len() {
        peers[at].1.write_all(&patterned(0, each)).unwrap();
        bytes[at] = rig.read_exactly(Token::new(at as u32 + 100, 1), each);
    }
    assert!(bytes.iter().all(|bytes| *bytes == patterned(0, each)));
}

fn a_starved_receive_can_be_stopped(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let peers = crowd(&mut rig, config);
    let loud = peers.len() / 2;
    for (slot, (fd, _)) in (100..).zip(&peers[..loud]) {
        rig.recv(fd, Token::new(slot, 1));
    }
    let (mut held, mut ended) = (Vec::new(), 0);
    while held.len() < usize::from(config.recv_buffers) {
        match rig.next() {
            Completion::Received { buf, .. } => held.push(buf),
            other => panic!("{other:?}"),
        }
    }
    assert!(rig.ready().is_empty());
    (100..100 + loud as u32).for_each(|slot| rig.reactor.recv_stop(Token::new(slot, 1)));
    while ended < loud {
        match rig.next() {
            Completion::RecvEnded { .. } => ended += 1,
            other => panic!("{other:?}"),
        }
    }
    held.into_iter().for_each(|buf| rig.reactor.release(buf));
    assert!(rig.ready().is_empty());
}

fn a_broken_connection_fails(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (fd, peer) = rig.connect();
    assert!(matches!(rig.send(&fd, PEER, b"unread"), Completion::Sent { bytes: 6, .. }));
    // Closing with unread bytes resets the connection.
    drop(peer);
    rig.recv(&fd, PEER);
    let reset = rig.next();
    assert!(
        matches!(reset, Completion::RecvFailed { token: PEER, errno: libc::ECONNRESET }),
        "{reset:?}"
    );
    assert_eq!(rig.stop(PEER), b"");
}

fn a_slot_is_used_again(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    for generation in 0..50 {
        let token = Token::new(1, generation);
        let (fd, mut peer) = rig.connect();
        rig.recv(&fd, token);
        peer.write_all(&patterned(0, 200)).unwrap();
        // Every other round leaves bytes behind, which nobody may take for the next round's.
        if generation % 2 == 0 {
            assert_eq!(rig.read_exactly(token, 200), patterned(0, 200));
        } else {
            rig.reactor.submit();
        }
        rig.reactor.close(fd, token);
        for completion in rig.ready() {
            match completion {
                Completion::Received { token: old, buf } => {
                    assert_eq!(old, token);
                    rig.reactor.release(buf);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
