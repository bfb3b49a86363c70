//! Datagrams through the relay.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use loadtest::impair::{Chance, Fate, Flow, Impairment, Path};

use crate::{PATIENCE, Running};

/// A datagram of SRT.
const LEN: usize = 1316;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn datagram(number: u32) -> [u8; LEN] {
    let mut bytes = [7; LEN];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().unwrap())
}

#[test]
fn each_client_gets_its_own_answers_after_both_delays() {
    let server = socket();
    let relay = Running::start(server.local_addr().unwrap(), "--udp --delay 15ms");
    let clients = [socket(), socket(), socket()];
    let mut buffer = [0; LEN + 1];
    let mut from = Vec::new();
    for round in 0..5 {
        let began = Instant::now();
        for (index, client) in clients.iter().enumerate() {
            client.send_to(&datagram(10 * round + index as u32), relay.addr).unwrap();
        }
        for _ in &clients {
            let (len, addr) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(len, LEN);
            from.push(addr);
            server.send_to(&buffer[..len], addr).unwrap();
        }
        for (index, client) in clients.iter().enumerate() {
            let (len, addr) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((len, addr), (LEN, relay.addr));
            assert_eq!(number(&buffer), 10 * round + index as u32);
        }
        assert!(began.elapsed() >= Duration::from_millis(30));
    }
    from.sort_unstable();
    from.dedup();
    assert_eq!(from.len(), 3, "the server tells clients apart");
    let summary = relay.finish();
    assert_eq!((summary.clients, summary.up.forwarded, summary.down.forwarded), (3, 15, 15));
    assert_eq!(summary.lateness.unwrap().count, 30);
    assert_eq!(summary.up.lost + summary.up.overflowed + summary.up.unsent, 0);
}

/// Sends datagrams one way; each that is not lost arrives before the next is sent. Gives how often
/// each did.
fn arrivals(seed: u64, count: u32) -> Vec<usize> {
    let server = socket();
    let options = format!("--udp --direction up --loss 20% --duplicate 10% --seed {seed}");
    let relay = Running::start(server.local_addr().unwrap(), &options);
    let client = socket();
    let impairment = Impairment {
        loss: Chance::parse("20%").unwrap(),
        duplicate: Chance::parse("10%").unwrap(),
        ..Impairment::NONE
    };
    let mut path = Path::new(impairment, Flow { seed, client: 0, direction: 0 }, 0);
    let mut buffer = [0; LEN + 1];
    let mut times = Vec::new();
    for sent in 0..count {
        client.send_to(&datagram(sent), relay.addr).unwrap();
        let wanted = match path.admit(0, LEN) {
            Fate::Due { copy_due_ns, .. } => 1 + usize::from(copy_due_ns.is_some()),
            Fate::Lost | Fate::Overflowed => 0,
        };
        for _ in 0..wanted {
            assert_eq!(server.recv_from(&mut buffer).unwrap().0, LEN);
            assert_eq!(number(&buffer), sent);
        }
        times.push(wanted);
    }
    let up = relay.finish().up;
    assert_eq!((up.packets, up.lost), (u64::from(count), path.totals().lost));
    assert_eq!(up.forwarded, times.iter().sum::<usize>() as u64);
    times
}

#[test]
fn the_seed_decides_which_datagrams_are_lost_and_repeated() {
    let first = arrivals(1, 500);
    assert_ne!(arrivals(2, 500), first);
    for times in 0..3 {
        assert!(first.iter().filter(|number| **number == times).count() > 20, "{first:?}");
    }
}
