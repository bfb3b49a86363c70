//! One UDP socket of ours with a receive, plain ones as its peers, and what cases do with them.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use dataplane::reactor::{Completion, SendPart, Token, UdpOptions, local_addr, udp_socket};

use crate::rig::Rig;

pub(crate) const PORT: Token = Token::new(1, 7);
pub(crate) const PEER: Token = Token::new(2, 3);

/// Our socket, its address, and a receive on it.
pub(crate) fn port(rig: &mut Rig, addr: &str) -> (OwnedFd, SocketAddr) {
    let options = UdpOptions { recv_buffer_bytes: Some(8 << 20), ..UdpOptions::default() };
    let fd = udp_socket(&addr.parse().unwrap(), &options).unwrap();
    let addr = local_addr(fd.as_fd()).unwrap();
    rig.reactor.recv_datagrams_start(fd.as_fd(), PORT);
    rig.reactor.submit();
    (fd, addr)
}

pub(crate) fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    peer
}

/// The next datagrams of the port: from whom, and each of them.
pub(crate) fn next_run(rig: &mut Rig) -> (SocketAddr, Vec<Vec<u8>>) {
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
pub(crate) fn datagrams(rig: &mut Rig, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(next_run(rig).1);
    }
    assert_eq!(all.len(), count);
    all
}

/// Sends one train and submits; gives the answer.
pub(crate) fn send(
    rig: &mut Rig,
    fd: &OwnedFd,
    to: &SocketAddr,
    bytes: &[u8],
    segment: u16,
) -> Completion {
    // SAFETY: the bytes outlive the submit below.
    unsafe {
        rig.reactor.send_datagrams(fd.as_fd(), PEER, to, &[SendPart::new(bytes)], segment);
    }
    rig.reactor.submit();
    rig.reactor.next_completion().expect("a submit answers its trains")
}

/// Reads `count` datagrams as a plain socket gets them.
pub(crate) fn read(peer: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let mut one = || {
        let len = peer.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    };
    (0..count).map(|_| one()).collect()
}
