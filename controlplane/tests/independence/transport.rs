//! A player of MPEG-TS over HTTP that takes every packet, and misses none.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PACKET_BYTES: usize = 188;
/// Packets come within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A player on a thread of its own.
pub(crate) struct Transport {
    socket: TcpStream,
    packets: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Transport {
    /// Begins to play.
    pub(crate) fn start(http: SocketAddr, name: &str) -> Self {
        let mut socket = TcpStream::connect(http).expect("connections are accepted");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is legal");
        let request = format!("GET /{name}.ts HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("requests are read");
        let (packets, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&packets), Arc::clone(&over));
        let mut body = BufReader::new(socket.try_clone().expect("a descriptor is left"));
        let thread = std::thread::spawn(move || {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(body.read_line(&mut line).expect("an answer") > 0);
                assert!(!line.starts_with("HTTP/") || line.contains(" 200 "), "{line}");
            }
            let mut continuity = HashMap::new();
            let mut packet = [0; PACKET_BYTES];
            loop {
                let read = body.read_exact(&mut packet);
                if end.load(Ordering::Relaxed) {
                    return;
                }
                read.expect("the stream goes on");
                follows(&packet, &mut continuity);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { socket, packets, over, thread }
    }

    /// Waits for so many packets more.
    pub(crate) fn wait(&self, packets: usize) {
        let until = self.packets.load(Ordering::Relaxed) + packets;
        let deadline = Instant::now() + PATIENCE;
        while self.packets.load(Ordering::Relaxed) < until {
            assert!(!self.thread.is_finished(), "the player failed");
            assert!(Instant::now() < deadline, "no {packets} packets more came");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends it; no packet was missed.
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.socket.shutdown(Shutdown::Both).expect("it is connected");
        self.thread.join().expect("every packet came");
    }
}

/// Checks that no packet of its PID is missing before this one.
fn follows(packet: &[u8; PACKET_BYTES], continuity: &mut HashMap<u16, u8>) {
    assert_eq!(packet[0], 0x47, "packets follow each other");
    let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
    let (payload, counter) = (packet[3] & 0x10 != 0, packet[3] & 0x0f);
    let Some(before) = continuity.insert(pid, counter) else { return };
    let expected = if payload { (before + 1) & 0x0f } else { before };
    assert_eq!(counter, expected, "PID {pid}");
}
