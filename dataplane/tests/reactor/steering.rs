//! Steering: each datagram reaches the socket that its destination id names.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use dataplane::reactor::{
    Completion, ReactorConfig, SendPart, Token, UdpOptions, local_addr, steer, steer_group,
    steered_id, udp_socket,
};

use crate::rig::Rig;

crate::on_both_backends! {
    ids_lead_to_their_sockets
    handshakes_spread_by_their_source
    trains_keep_together
}

/// A group of sockets in the order of their tokens' slots, and its address.
fn group(rig: &mut Rig, addr: &str, sockets: u16) -> (Vec<OwnedFd>, SocketAddr) {
    let mut addr: SocketAddr = addr.parse().unwrap();
    let mut group = Vec::new();
    for slot in 1..=u32::from(sockets) {
        let fd = udp_socket(&addr, &UdpOptions::default()).unwrap();
        addr = local_addr(fd.as_fd()).unwrap();
        rig.reactor.recv_datagrams_start(fd.as_fd(), Token::new(slot, 0));
        group.push(fd);
    }
    steer_group(group[0].as_fd(), sockets).unwrap();
    rig.reactor.submit();
    (group, addr)
}

/// A packet for the socket `id`.
fn packet(id: u32) -> [u8; 64] {
    let mut packet = [0x55; 64];
    packet[12..16].copy_from_slice(&id.to_be_bytes());
    packet
}

/// The index of the socket that gets the next datagrams, and how many they are.
fn next_index(rig: &mut Rig) -> (u32, usize) {
    match rig.next() {
        Completion::Datagrams { token, buf, .. } => {
            let count = buf.count();
            rig.reactor.release_datagrams(buf);
            (token.slot - 1, count)
        }
        other => panic!("{other:?}"),
    }
}

fn ids_lead_to_their_sockets(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    for (host, sockets) in [("127.0.0.1:0", 2), ("[::1]:0", 2), ("127.0.0.1:0", 3)] {
        let (group, addr) = group(&mut rig, host, sockets);
        let any = if addr.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        for random in 0..20_u32 {
            let peer = UdpSocket::bind(any).unwrap();
            for index in 0..sockets {
                let id = steered_id(random.wrapping_mul(0x9e37_79b9), index, sockets);
                peer.send_to(&packet(id), addr).unwrap();
                assert_eq!(next_index(&mut rig), (index.into(), 1), "{id} of {sockets}");
            }
            // Any id that is not 0 leads somewhere, also one that we never made.
            let odd = 0xc000_0001 + random;
            peer.send_to(&packet(odd), addr).unwrap();
            assert_eq!(next_index(&mut rig).0, u32::from(steer(odd, sockets).unwrap()));
        }
        for (slot, fd) in (1..).zip(group) {
            rig.reactor.close(fd, Token::new(slot, 0));
        }
        assert!(rig.ready().is_empty());
    }
}

fn handshakes_spread_by_their_source(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (_group, addr) = group(&mut rig, "127.0.0.1:0", 2);
    let short = [0xff; 15];
    for bytes in [&packet(0)[..], &short[..]] {
        let mut got = [0; 2];
        for _ in 0..64 {
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.send_to(bytes, addr).unwrap();
            let (index, _) = next_index(&mut rig);
            // One peer is always heard by the same socket.
            for _ in 0..3 {
                peer.send_to(bytes, addr).unwrap();
                assert_eq!(next_index(&mut rig).0, index);
            }
            got[index as usize] += 1;
        }
        // Fewer than 8 of 64 on one side happen once in 10^10 times.
        assert!(got.iter().all(|&got| got >= 8), "{got:?}");
    }
}

fn trains_keep_together(config: &ReactorConfig) {
    let mut rig = Rig::new(config);
    let (group, addr) = group(&mut rig, "127.0.0.1:0", 2);
    for index in 0..2 {
        let bytes = [packet(steered_id(77_777, index, 2)); 10].concat();
        // SAFETY: the bytes outlive the submit below.
        unsafe {
            let (fd, parts) = (group[1].as_fd(), [SendPart::new(&bytes)]);
            rig.reactor.send_datagrams(fd, Token::new(9, 0), &addr, &parts, 64);
        }
        rig.reactor.submit();
        assert!(matches!(rig.next(), Completion::TrainSent { bytes: 640, .. }));
        assert_eq!(next_index(&mut rig), (index.into(), 10));
    }
}
