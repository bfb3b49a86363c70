//! Receiving: splitting, ends, stops, and running out of buffers.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use dataplane::reactor::{Completion, OpKind, ReactorConfig, RecvMode, SendPart, Token};

use crate::rig::{Rig, patterned};

crate::on_both_backends! {
    a_stream_arrives_whole
    one_receive_takes_one_buffer
    a_stop_is_answered_once
    a_stop_loses_no_byte
    receives_pause_without_buffers
    a_starved_receive_can_be_stopped
    silent_peers_do_not_hide_a_loud_one
    answers_outnumber_the_queue
    a_connection_moves_to_another_shard
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

fn silent_peers_do_not_hide_a_loud_one(config: &ReactorConfig) {
    let (count, each) = (usize::from(config.recv_buffers), config.recv_buffer_bytes as usize);
    let mut rig = Rig::new(config);
    let mut held = Vec::new();
    let (hog, mut hog_peer) = rig.connect();
    let silent: Vec<_> = (0..3 * count).map(|_| rig.connect()).collect();
    let (loud, mut loud_peer) = rig.connect();
    let writer = std::thread::spawn(move || {
        hog_peer.write_all(&patterned(0, count * each)).unwrap();
        hog_peer
    });
    rig.recv(&hog, PEER);
    while held.len() < count {
        match rig.next() {
            Completion::Received { token: PEER, buf } => held.push(buf),
            other => panic!("{other:?}"),
        }
    }
    // More receives than there are buffers are refused one, and the last of them has data.
    for (slot, (fd, _)) in (100..).zip(&silent) {
        rig.recv(fd, Token::new(slot, 0));
    }
    loud_peer.write_all(b"here").unwrap();
    rig.recv(&loud, Token::new(2, 0));
    assert!(rig.ready().is_empty());
    let mut bytes = Vec::new();
    held.into_iter().for_each(|buf| rig.take(buf, &mut bytes));
    drop(writer.join().unwrap());
    let mut heard = Vec::new();
    while heard.len() < 4 {
        match rig.next() {
            Completion::Received { token, buf } if token.slot == 2 => rig.take(buf, &mut heard),
            Completion::Received { token: PEER, buf } => rig.take(buf, &mut bytes),
            Completion::Eof { token: PEER } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, b"here");
}

fn answers_outnumber_the_queue(config: &ReactorConfig) {
    const PEERS: usize = 100;
    // Enough buffers, so that the completion queue alone is short.
    let config = ReactorConfig { recv_buffers: 1024, ..config.clone() };
    let mut rig = Rig::new(&config);
    let mut peers: Vec<_> = (0..PEERS).map(|_| rig.connect()).collect();
    let mut got = vec![Vec::new(); PEERS];
    for (slot, (fd, _)) in (0..).zip(&peers) {
        rig.recv(fd, Token::new(slot, 9));
    }
    rig.reactor.submit();
    for round in 1..=5 {
        for (_, peer) in &mut peers {
            peer.write_all(&patterned(100 * (round - 1), 100)).unwrap();
        }
        // Received bytes come to light in the turns in which nobody takes an answer.
        rig.reactor.submit();
        for (slot, (fd, _)) in (0..).zip(&peers) {
            let parts = [SendPart::new(b"pong")];
            // SAFETY: the bytes are constant.
            unsafe { rig.reactor.send(fd.as_fd(), Token::new(slot, 9), &parts) };
        }
        rig.reactor.submit();
        let mut sent = 0;
        while let Some(completion) = rig.reactor.next_completion() {
            match completion {
                Completion::Sent { bytes: 4, .. } => sent += 1,
                Completion::Received { token, buf } => {
                    rig.take(buf, &mut got[token.slot as usize]);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, PEERS, "a submit answers its sends");
        while got.iter().any(|got| got.len() < 100 * round) {
            match rig.next() {
                Completion::Received { token, buf } => {
                    rig.take(buf, &mut got[token.slot as usize]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(got.iter().all(|got| *got == patterned(0, 500)));
}

#[expect(clippy::disallowed_methods, reason = "a shard that is left alone sleeps its time")]
fn a_connection_moves_to_another_shard(config: &ReactorConfig) {
    let (mut rig, mut home) = (Rig::new(config), Rig::new(config));
    let (fd, mut peer) = rig.connect();
    peer.write_all(&patterned(0, 40)).unwrap();
    rig.recv(&fd, PEER);
    assert_eq!(rig.read_exactly(PEER, 40), patterned(0, 40));
    assert_eq!(rig.stop(PEER), b"");
    let token = Token::new(5, 0);
    home.recv(&fd, token);
    for round in 1..4 {
        peer.write_all(&patterned(40 * round, 40)).unwrap();
        assert_eq!(home.read_exactly(token, 40), patterned(40 * round, 40));
    }
    // The first shard hears nothing of it: no completion, and no shortened sleep.
    assert!(rig.ready().is_empty());
    peer.write_all(&patterned(160, 40)).unwrap();
    let (start, timeout) = (Instant::now(), Duration::from_millis(20));
    rig.reactor.submit_and_wait(Some(timeout));
    assert!(rig.reactor.next_completion().is_none());
    assert!(start.elapsed() >= timeout);
    assert_eq!(home.read_exactly(token, 40), patterned(160, 40));
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
