//! Accepting, connecting, closing, and many of them at once.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use dataplane::reactor::{
    Completion, ListenOptions, Listener, Reactor, ReactorConfig, SendPart, SocketOptions, Token,
    apply, memory_bytes, peer_addr, tcp_socket, widen_receive,
};

use crate::rig::{LISTENER, Rig, patterned};

crate::on_both_backends! {
    many_peers_get_their_echo
    a_storm_is_accepted
    accepting_stops_and_goes_on
    a_socket_that_does_not_listen_fails
    both_families_are_accepted
    a_connect_succeeds_or_is_refused
    a_close_is_seen_by_the_peer
    a_close_does_not_wait_for_the_sleep
    a_dropped_reactor_lets_go
    a_socket_holds_what_its_options_allow
}

const PEER: Token = Token::new(1, 7);

/// One connection of the echo: bytes that are still to be sent back.
struct Echo {
    fd: Option<OwnedFd>,
    token: Token,
    pending: Vec<u8>,
    waiting: bool,
    ended: bool,
}

impl Echo {
    fn flush(&mut self, rig: &mut Rig) {
        let Some(fd) = &self.fd else { return };
        if self.waiting {
            return;
        }
        if !self.pending.is_empty() {
            // SAFETY: `pending` is not touched until the answer, which comes after the submit.
            unsafe { rig.reactor.send(fd.as_fd(), self.token, &[SendPart::new(&self.pending)]) };
            self.waiting = true;
        } else if self.ended {
            rig.reactor.close(self.fd.take().unwrap(), self.token);
        }
    }
}

fn many_peers_get_their_echo(config: &ReactorConfig) {
    const PEERS: usize = 40;
    let mut rig = Rig::new(config);
    let addr = rig.addr;
    let clients: Vec<_> = (0..4)
        .map(|lane| std::thread::spawn(move || (0..PEERS / 4).for_each(|n| ask(addr, lane + n))))
        .collect();
    let (mut echoes, mut closed, mut next) = (HashMap::<u32, Echo>::new(), 0, 1_u32);
    while closed < PEERS {
        match rig.next() {
            Completion::Accepted { fd, .. } => {
                let token = Token::new(next, 1);
                rig.recv(&fd, token);
                let (pending, waiting, ended) = (Vec::new(), false, false);
                echoes.insert(next, Echo { fd: Some(fd), token, pending, waiting, ended });
                next += 1;
            }
            Completion::Received { token, buf } => {
                let echo = echoes.get_mut(&token.slot).unwrap();
                let mut bytes = Vec::new();
                rig.take(buf, &mut bytes);
                if echo.waiting {
                    // The bytes of the send in flight stay where they are.
                    rig.reactor.submit();
                }
                echo.pending.extend(bytes);
                echo.flush(&mut rig);
            }
            Completion::Eof { token } => {
                let echo = echoes.get_mut(&token.slot).unwrap();
                echo.ended = true;
                echo.flush(&mut rig);
            }
            Completion::Sent { token, bytes } => {
                let echo = echoes.get_mut(&token.slot).unwrap();
                echo.pending.drain(..bytes as usize);
                echo.waiting = false;
                echo.flush(&mut rig);
            }
            Completion::SendBlocked { token } => {
                let fd = echoes[&token.slot].fd.as_ref().unwrap();
                rig.reactor.poll_writable(fd.as_fd(), token);
            }
            Completion::Writable { token } => {
                let echo = echoes.get_mut(&token.slot).unwrap();
                echo.waiting = false;
                echo.flush(&mut rig);
            }
            other => panic!("{other:?}"),
        }
        closed = echoes.values().filter(|echo| echo.fd.is_none()).count();
    }
    rig.reactor.submit();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// One client of the echo: writes, reads the same back, expects the end.
fn ask(addr: SocketAddr, seed: usize) {
    let mut peer = TcpStream::connect(addr).unwrap();
    let bytes = patterned(seed * 100, 5_000);
    let mut got = Vec::new();
    peer.write_all(&bytes).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    peer.read_to_end(&mut got).unwrap();
    assert!(got == bytes);
}

fn a_storm_is_accepted(config: &ReactorConfig) {
    const PEERS: usize = 300;
    let mut rig = Rig::new(config);
    let addr = rig.addr;
    let storm = std::thread::spawn(move || {
        (0..PEERS).map(|_| TcpStream::connect(addr).unwrap()).collect::<Vec<_>>()
    });
    let mut accepted = HashMap::new();
    while accepted.len() < PEERS {
        match rig.next() {
            Completion::Accepted { token: LISTENER, fd, peer } => {
                assert_eq!(peer_addr(fd.as_fd()).unwrap(), peer);
                accepted.insert(peer, fd);
            }
            other => panic!("{other:?}"),
        }
    }
    let peers = storm.join().unwrap();
    let locals: HashSet<_> = peers.iter().map(|peer| peer.local_addr().unwrap()).collect();
    assert_eq!(accepted.keys().copied().collect::<HashSet<_>>(), locals);
}

fn accepting_stops_and_goes_on(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_first, _peer) = rig.connect();
    for _ in 0..5 {
        rig.reactor.accept_stop(LISTENER);
        let ended = rig.next();
        let errno = libc::ECANCELED;
        assert!(
            matches!(ended, Completion::AcceptFailed { errno: e, ended: true, .. } if e == errno),
            "{ended:?}"
        );
        // The backlog takes the connection, nobody accepts it yet.
        let waiting = TcpStream::connect(rig.addr).unwrap();
        rig.reactor.accept_stop(LISTENER);
        assert!(rig.ready().is_empty());
        rig.reactor.accept_start(rig.listener.as_fd(), LISTENER);
        match rig.next() {
            Completion::Accepted { peer, .. } => assert_eq!(peer, waiting.local_addr().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn a_socket_that_does_not_listen_fails(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let deaf = tcp_socket(&rig.addr, None).unwrap();
    rig.reactor.accept_start(deaf.as_fd(), PEER);
    let failed = rig.next();
    let token = PEER;
    assert!(
        matches!(failed, Completion::AcceptFailed { token: of, errno: libc::EINVAL, ended: true }
            if of == token),
        "{failed:?}"
    );
    assert!(rig.ready().is_empty());
}

fn both_families_are_accepted(config: &ReactorConfig) {
    let (mut reactor, _) = Reactor::new(config).unwrap();
    let listener = Listener::bind("[::]:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let port = listener.local_addr().unwrap().port();
    reactor.accept_start(listener.as_fd(), LISTENER);
    let mut rig = Rig { reactor, listener, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
    // `connect` compares the peer's address: IPv4 must not come as mapped IPv6.
    let (_fd, _peer) = rig.connect();
    rig.addr = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let (_fd6, _peer6) = rig.connect();
}

fn a_connect_succeeds_or_is_refused(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let local = "127.0.0.1:0".parse().unwrap();
    let fd = tcp_socket(&rig.addr, Some(&local)).unwrap();
    let addr = rig.addr;
    rig.reactor.connect(fd.as_fd(), PEER, &addr);
    let (mut connected, mut accepted) = (false, None);
    while !connected || accepted.is_none() {
        match rig.next() {
            Completion::Connected { token: PEER, result: Ok(()) } => connected = true,
            Completion::Accepted { fd, .. } => accepted = Some(fd),
            other => panic!("{other:?}"),
        }
    }
    // The two ends talk, so both are what they claim to be.
    rig.recv(&fd, PEER);
    assert!(matches!(
        rig.send(&accepted.unwrap(), Token::new(2, 0), b"hi"),
        Completion::Sent { bytes: 2, .. }
    ));
    assert_eq!(rig.read_exactly(PEER, 2), b"hi");
    // A port that was ours a moment ago and listens no more.
    let gone = Listener::bind(local, &ListenOptions::default()).unwrap().local_addr().unwrap();
    let fd = tcp_socket(&gone, None).unwrap();
    rig.reactor.connect(fd.as_fd(), Token::new(3, 0), &gone);
    let mut refused = None;
    while refused.is_none() {
        match rig.next() {
            Completion::Connected { result, .. } => refused = Some(result),
            Completion::Eof { token: PEER } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, Some(Err(libc::ECONNREFUSED)));
}

fn a_close_is_seen_by_the_peer(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    for generation in 0..20 {
        let token = Token::new(1, generation);
        let (fd, mut peer) = rig.connect();
        // A receive that waits, one that was not submitted, one that is being stopped, none.
        if generation % 4 < 3 {
            rig.recv(&fd, token);
        }
        if generation % 4 == 1 {
            rig.reactor.submit();
        }
        if generation % 4 == 2 {
            rig.reactor.submit();
            rig.reactor.recv_stop(token);
        }
        rig.reactor.close(fd, token);
        let late = rig.ready();
        assert!(late.iter().all(|late| matches!(late, Completion::RecvEnded { .. })), "{late:?}");
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    }
}

fn a_close_does_not_wait_for_the_sleep(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let ((fd, mut peer), (idle, _idle_peer)) = (rig.connect(), rig.connect());
    let waker = rig.reactor.waker();
    let reader = std::thread::spawn(move || {
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        waker.wake();
    });
    // The receive is queued and answers nothing: only the close can end the sleep.
    rig.recv(&idle, Token::new(2, 0));
    rig.reactor.close(fd, PEER);
    assert!(matches!(rig.next(), Completion::Woken));
    reader.join().unwrap();
}

fn a_dropped_reactor_lets_go(config: &ReactorConfig) {
    (0..20).for_each(|_| drop_once(config));
}

fn drop_once(config: &ReactorConfig) {
    let options = ListenOptions { reuse_port: false, ..ListenOptions::default() };
    let mut rig = Rig::with_options(config, &options);
    let (fd, mut peer) = rig.connect();
    rig.recv(&fd, PEER);
    rig.reactor.submit();
    let gone = rig.reactor.waker();
    // One connection is in flight, bytes are queued that will never be sent, a receive waits.
    let waiting = TcpStream::connect(rig.addr).unwrap();
    {
        let bytes = vec![1; 100];
        // SAFETY: the reactor is dropped without a submit, which is what is tested.
        unsafe { rig.reactor.send(fd.as_fd(), PEER, &[SendPart::new(&bytes)]) };
    }
    let Rig { reactor, listener, addr } = rig;
    let kind = reactor.kind();
    drop((reactor, listener, fd));
    // Nothing in the kernel holds the address or the connection any more.
    Listener::bind(addr, &options).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    let sent_at_once = kind == dataplane::reactor::BackendKind::Epoll;
    assert_eq!(got.len(), if sent_at_once { 100 } else { 0 });
    gone.wake();
    drop(waiting);
}

/// Bytes that a peer can send before it must wait, and what our socket takes of the kernel then.
fn filled(rig: &mut Rig, widened: Option<u32>) -> (usize, u64) {
    const NARROW: u32 = 16 << 10;
    let (fd, mut client) = rig.connect();
    let options = SocketOptions { recv_buffer: Some(NARROW), ..SocketOptions::default() };
    apply(fd.as_fd(), &options).unwrap();
    if let Some(bytes) = widened {
        widen_receive(fd.as_fd(), bytes).unwrap();
    }
    assert!(memory_bytes(fd.as_fd()).unwrap() < 4 << 10, "nothing was sent yet");
    // A write that waits this long waits for the server to read, which it never does.
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(len) = client.write(&[7; 4 << 10]) {
        sent += len;
    }
    (sent, memory_bytes(fd.as_fd()).unwrap())
}

fn a_socket_holds_what_its_options_allow(config: &ReactorConfig) {
    const WIDE: u32 = 192 << 10;
    let mut rig = Rig::new(config);
    let (_, narrow) = filled(&mut rig, None);
    assert!((1..=2 * (16 << 10) + (68 << 10)).contains(&narrow), "{narrow}");
    let (sent, wide) = filled(&mut rig, Some(WIDE));
    assert!(wide > 2 * narrow && sent as u64 > narrow, "{wide} after {sent}, {narrow} before");
    assert!(wide <= 2 * u64::from(WIDE) + (68 << 10), "{wide}");
}
