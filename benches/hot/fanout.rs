//! Connections over loopback that get the same bytes, and the peer that discards them.
//!
//! ```text
//!   sender (core 0): send to each of them ---+        +--- measured again
//!                                            v        |
//!   peer (core 1):                          discards all of it (MSG_TRUNC)
//! ```
//!
//! They take turns, so that neither wakes or disturbs the other while CPU time is counted, and no
//! send finds a full socket.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use dataplane::reactor::{SocketOptions, apply};
use loadtest::socket::discard;

use crate::cores::pin;

/// Connections of every case.
pub(crate) const CONNECTIONS: usize = 64;
/// Bytes of one send: a frame of 2 Mb/s at 30 frames a second, and what a shard gathers at most.
pub(crate) const SEND_BYTES: [usize; 2] = [8 * 1024, 64 * 1024];
/// Room of each socket, in both directions.
const BUFFER_BYTES: u32 = 512 * 1024;

/// The sending ends.
pub(crate) struct Fanout {
    pub(crate) senders: Vec<OwnedFd>,
    go: Option<SyncSender<usize>>,
    done: Receiver<()>,
    peer: Option<JoinHandle<()>>,
}

impl Fanout {
    /// Connects all of them.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound listener");
        let options = SocketOptions {
            nodelay: true,
            send_buffer: Some(BUFFER_BYTES),
            recv_buffer: Some(BUFFER_BYTES),
            ..SocketOptions::default()
        };
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let receiver = TcpStream::connect(addr).expect("our own listener");
            let (sender, _) = listener.accept().expect("a connection is there");
            apply(sender.as_fd(), &options).expect("options of a connection");
            apply(receiver.as_fd(), &options).expect("options of a connection");
            sender.set_nonblocking(true).expect("an open socket");
            senders.push(OwnedFd::from(sender));
            receivers.push(receiver);
        }
        let (go, orders) = sync_channel(1);
        let (finished, done) = sync_channel(1);
        let peer = std::thread::spawn(move || drain(&receivers, &orders, &finished));
        pin(0);
        Self { senders, go: Some(go), done, peer: Some(peer) }
    }

    /// Lets the peer discard `bytes` from each connection.
    pub(crate) fn drain(&self, bytes: usize) {
        let go = self.go.as_ref().expect("it is dropped at the end alone");
        go.send(bytes).expect("the peer waits for orders");
        self.done.recv().expect("the peer says when it is done");
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.go = None;
        if let Some(peer) = self.peer.take() {
            let ended = peer.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the peer failed");
        }
    }
}

/// The peer's thread.
fn drain(receivers: &[TcpStream], orders: &Receiver<usize>, finished: &SyncSender<()>) {
    pin(1);
    for bytes in orders {
        for receiver in receivers {
            let mut left = bytes as u64;
            while left > 0 {
                let discarded = discard(receiver).expect("the sender is there");
                left = left.checked_sub(discarded.bytes).expect("no more than was sent");
            }
        }
        if finished.send(()).is_err() {
            return;
        }
    }
}
