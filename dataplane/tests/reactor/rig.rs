//! One reactor with one listener, and what every case does with them.

#![expect(clippy::disallowed_types, reason = "the peer is independent of the code under test")]

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use dataplane::reactor::{
    BackendChoice, Completion, ListenOptions, Listener, Reactor, ReactorConfig, RecvBuf, RecvMode,
    SendPart, Token,
};

/// A case that waits this long has lost a completion.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The listener's token in every case.
pub(crate) const LISTENER: Token = Token::new(0, 0);

pub(crate) fn usual(choice: BackendChoice) -> ReactorConfig {
    ReactorConfig {
        choice,
        sq_entries: 256,
        recv_buffers: 64,
        recv_buffer_bytes: 4096,
        datagram_buffers: 16,
    }
}

pub(crate) fn tiny(choice: BackendChoice) -> ReactorConfig {
    ReactorConfig {
        choice,
        sq_entries: 8,
        recv_buffers: 4,
        recv_buffer_bytes: 64,
        datagram_buffers: 2,
    }
}

/// Byte `at` of the stream that cases send, so that a lost, doubled or moved byte shows.
pub(crate) fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// `len` bytes of the pattern from `from` on.
pub(crate) fn patterned(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(pattern).collect()
}

pub(crate) struct Rig {
    pub(crate) reactor: Reactor,
    pub(crate) listener: Listener,
    pub(crate) addr: SocketAddr,
}

impl Rig {
    /// A reactor that accepts.
    pub(crate) fn new(config: &ReactorConfig) -> Self {
        Self::with_options(config, &ListenOptions::default())
    }

    pub(crate) fn with_options(config: &ReactorConfig, options: &ListenOptions) -> Self {
        let (mut reactor, reason) = Reactor::new(config).unwrap();
        assert_eq!(reason, None);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let addr = listener.local_addr().unwrap();
        reactor.accept_start(listener.as_fd(), LISTENER);
        reactor.submit();
        Self { reactor, listener, addr }
    }

    /// The next completion; a wait that never ends fails the case.
    #[expect(clippy::disallowed_methods, reason = "a lost completion must end the case")]
    pub(crate) fn next(&mut self) -> Completion {
        let start = Instant::now();
        loop {
            if let Some(completion) = self.reactor.next_completion() {
                return completion;
            }
            self.reactor.submit_and_wait(Some(STALLED_AFTER));
            assert!(start.elapsed() < STALLED_AFTER, "stalled: {:?}", self.reactor.counters());
        }
    }

    /// The next completion of a loop that is too busy to sleep.
    #[expect(clippy::disallowed_methods, reason = "a lost completion must end the case")]
    pub(crate) fn next_busy(&mut self) -> Completion {
        let start = Instant::now();
        loop {
            if let Some(completion) = self.reactor.next_completion() {
                return completion;
            }
            self.reactor.submit();
            assert!(start.elapsed() < STALLED_AFTER, "stalled: {:?}", self.reactor.counters());
        }
    }

    /// Everything that is ready now, without sleeping.
    pub(crate) fn ready(&mut self) -> Vec<Completion> {
        let mut all = Vec::new();
        // A few turns, since one turn's work may make the next one's.
        for _ in 0..8 {
            self.reactor.submit_and_wait(Some(Duration::ZERO));
            all.extend(std::iter::from_fn(|| self.reactor.next_completion()));
        }
        all
    }

    /// A connection: our end and the peer's.
    pub(crate) fn connect(&mut self) -> (OwnedFd, TcpStream) {
        let peer = TcpStream::connect(self.addr).unwrap();
        peer.set_read_timeout(Some(STALLED_AFTER)).unwrap();
        peer.set_write_timeout(Some(STALLED_AFTER)).unwrap();
        match self.next() {
            Completion::Accepted { token: LISTENER, fd, peer: addr } => {
                assert_eq!(addr, peer.local_addr().unwrap());
                (fd, peer)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Receives until `len` bytes are there and gives them.
    pub(crate) fn read_exactly(&mut self, token: Token, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            match self.next() {
                Completion::Received { token: from, buf } if from == token => {
                    self.take(buf, &mut bytes);
                }
                other => panic!("{other:?} after {} bytes", bytes.len()),
            }
        }
        assert_eq!(bytes.len(), len);
        bytes
    }

    /// Copies a buffer out and releases it.
    pub(crate) fn take(&mut self, buf: RecvBuf, into: &mut Vec<u8>) {
        assert_eq!(self.reactor.recv_bytes(&buf).len(), buf.len());
        into.extend_from_slice(self.reactor.recv_bytes(&buf));
        self.reactor.release(buf);
    }

    /// Sends one part and submits; gives the answer.
    pub(crate) fn send(&mut self, fd: &OwnedFd, token: Token, bytes: &[u8]) -> Completion {
        let parts = [SendPart::new(bytes)];
        // SAFETY: the bytes outlive the submit below.
        unsafe { self.reactor.send(fd.as_fd(), token, &parts) };
        self.reactor.submit();
        self.reactor.next_completion().expect("a submit answers its sends")
    }

    /// Stops a receive and gives what arrived until its answer.
    pub(crate) fn stop(&mut self, token: Token) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reactor.recv_stop(token);
        loop {
            match self.next() {
                Completion::RecvEnded { token: ended } if ended == token => return bytes,
                Completion::Received { token: from, buf } if from == token => {
                    self.take(buf, &mut bytes);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn recv(&mut self, fd: &OwnedFd, token: Token) {
        self.reactor.recv_start(fd.as_fd(), token, RecvMode::Multi);
    }
}
