//! A scripted SRT peer: our own caller over a socket of its own, whose line loses what it is told.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use codecs::srt::{
    ControlType, HEADER_BYTES, Handshake, HandshakeKind, Header, PACKET_BYTES_MAX, RejectReason,
    SeqNumber, SocketId,
};
use dataplane::session::srt::{
    Call, Caller, CloseReason, Connection, PacketIndex, PacketMeta, Progress, Settings,
};

use crate::node::TIME_BOUND;

/// Bytes of a transport packet.
const TRANSPORT_PACKET: usize = 188;
/// The number of a peer's first packet: those of what it publishes wrap soon.
pub(crate) const FIRST: u32 = SeqNumber::MAX - 20;
/// A turn waits this long for a datagram.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Peers that were made.
static CALLERS: AtomicU32 = AtomicU32::new(0);

/// What a peer publishes: packets that were ready at once.
#[derive(Default)]
pub(crate) struct Index {
    bytes: Vec<u8>,
    packet: usize,
    ready_us: Vec<i64>,
}

impl Index {
    /// Adds packets that are ready now, `fit` bytes in each datagram: how many there are.
    pub(crate) fn add(&mut self, packets: &[u8], fit: usize, at_us: i64) -> u64 {
        assert_eq!(self.bytes.len() % fit, 0, "what was published before is whole");
        self.packet = fit;
        self.bytes.extend_from_slice(packets);
        let count = self.bytes.len().div_ceil(fit);
        self.ready_us.resize(count, at_us);
        count as u64
    }

    pub(crate) fn packet(&self, number: u64) -> &[u8] {
        let from = usize::try_from(number).unwrap() * self.packet;
        &self.bytes[from..self.bytes.len().min(from + self.packet)]
    }
}

impl PacketIndex for Index {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let at_us = *self.ready_us.get(usize::try_from(number).ok()?)?;
        Some(PacketMeta { len: self.packet(number).len(), at_us })
    }
}

/// A peer.
pub(crate) struct SrtPeer {
    pub(crate) socket: UdpSocket,
    server: SocketAddr,
    caller: Caller,
    pub(crate) connection: Option<Connection>,
    pub(crate) refused: Option<RejectReason>,
    index: Index,
    /// The payload that came, in order.
    pub(crate) received: Vec<u8>,
    /// What it calls its server once it is let in.
    pub(crate) called: Option<SocketId>,
    /// Bytes that it sent, and that it heard, since then.
    pub(crate) said: u64,
    pub(crate) heard_bytes: u64,
    /// The control packets that came since then.
    pub(crate) heard: Vec<ControlType>,
    /// So many answers to its conclusion are still to be lost.
    deaf: usize,
}

impl SrtPeer {
    /// Calls `server` for `stream_id`, and has not said anything yet.
    pub(crate) fn new(server: SocketAddr, stream_id: &str) -> Self {
        Self::with(server, stream_id, Settings::default())
    }

    pub(crate) fn with(server: SocketAddr, stream_id: &str, settings: Settings) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(PAUSE)).unwrap();
        // Ports come again, and with them what was meant for those who had them.
        let number = CALLERS.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            peer: server,
            socket: SocketId(0x1000_0000 + number),
            initial: SeqNumber::new(FIRST),
            stream_id: Some(stream_id.into()),
        };
        let settings = Settings { connect_timeout: TIME_BOUND, ..settings };
        Self {
            socket,
            server,
            caller: Caller::new(settings, call, [6; 32], Instant::now()),
            connection: None,
            refused: None,
            index: Index::default(),
            received: Vec::new(),
            called: None,
            said: 0,
            heard_bytes: 0,
            heard: Vec::new(),
            deaf: 0,
        }
    }

    /// The next `count` answers to its conclusion get lost.
    pub(crate) fn deaf_to(self, count: usize) -> Self {
        Self { deaf: count, ..self }
    }

    /// Calls, and is let in.
    pub(crate) fn start(server: SocketAddr, stream_id: &str) -> Self {
        let mut peer = Self::new(server, stream_id);
        peer.connect();
        peer
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Goes on until it is let in.
    pub(crate) fn connect(&mut self) {
        self.until("it is let in", |peer| {
            assert_eq!(peer.refused, None);
            peer.connection.is_some()
        });
    }

    /// Goes on until it is refused.
    pub(crate) fn refusal(&mut self) -> RejectReason {
        self.until("it is refused", |peer| {
            assert!(peer.connection.is_none(), "it was let in");
            peer.refused.is_some()
        });
        self.refused.unwrap()
    }

    /// Goes on until `is` holds.
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let late = Instant::now() + TIME_BOUND;
        while !is(self) {
            assert!(Instant::now() < late, "never: {what}: {:?}", self.connection);
            self.turn();
        }
    }

    /// Publishes transport packets, as many in each datagram as fit.
    pub(crate) fn publish(&mut self, packets: &[u8]) {
        let connection = self.connection.as_mut().unwrap();
        let fit = (connection.payload_max() / TRANSPORT_PACKET).min(7) * TRANSPORT_PACKET;
        let count = self.index.add(packets, fit, connection.micros(Instant::now()));
        connection.offer(count);
        self.turn();
    }

    /// Goes on until all that it published was acknowledged.
    pub(crate) fn published(&mut self) {
        self.until("all is acknowledged", |peer| {
            let connection = peer.connection.as_ref().unwrap();
            assert_eq!(connection.closed(), None);
            connection.is_sent()
        });
    }

    /// Says goodbye, and no more.
    pub(crate) fn hang_up(&mut self) {
        self.connection.as_mut().unwrap().close(CloseReason::Closed("done"));
        self.say();
    }

    /// Says what is due, and takes what came or comes soon.
    pub(crate) fn turn(&mut self) {
        self.say();
        let mut buffer = [0; 2_048];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    assert_eq!(from, self.server, "nobody else knows it");
                    self.take(&mut buffer[..len]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            // What came with it is there already.
            self.socket.set_nonblocking(true).unwrap();
        }
        self.socket.set_nonblocking(false).unwrap();
        self.say();
    }

    fn say(&mut self) {
        let now = Instant::now();
        let mut out = [0; PACKET_BYTES_MAX];
        let Some(connection) = &mut self.connection else {
            if self.refused.is_none()
                && let Progress::Refused(reason) = self.caller.handle_timeout(now)
            {
                self.refused = Some(reason);
            }
            while let Some(len) = self.caller.poll_transmit(now, &mut out) {
                self.send(&out[..len]);
            }
            return;
        };
        connection.handle_timeout(now);
        let mut said = Vec::new();
        while let Some(len) = connection.poll_transmit(now, &mut out) {
            said.push(out[..len].to_vec());
        }
        while let Some(transmit) = connection.poll_data(now, &self.index) {
            let mut bytes = self.index.packet(transmit.number).to_vec();
            connection.encrypt(&transmit, &mut bytes);
            said.push([&transmit.header[..], &bytes].concat());
        }
        said.iter().for_each(|datagram| self.send(datagram));
    }

    fn send(&mut self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.server).unwrap();
        let to = Header::parse(datagram).unwrap().destination();
        if to != SocketId::LISTENER {
            self.called = Some(to);
            self.said += datagram.len() as u64;
        }
    }

    fn take(&mut self, datagram: &mut [u8]) {
        let now = Instant::now();
        let Some(connection) = &mut self.connection else {
            if is_answer(datagram) && self.deaf > 0 {
                self.deaf -= 1;
                return;
            }
            match self.caller.handle_datagram(now, datagram) {
                Progress::Waiting => {}
                Progress::Connected(connection) => self.connection = Some(*connection),
                Progress::Refused(reason) => self.refused = Some(reason),
            }
            return;
        };
        self.heard_bytes += datagram.len() as u64;
        if let Ok(Header::Control(header)) = Header::parse(datagram) {
            self.heard.push(header.kind);
        }
        if let Some(payload) = connection.handle_datagram(now, datagram) {
            self.received.extend_from_slice(payload.bytes);
        }
        while let Some(payload) = connection.poll_payload() {
            self.received.extend_from_slice(payload.bytes);
        }
    }
}

/// True for what a listener says to a conclusion.
fn is_answer(datagram: &[u8]) -> bool {
    let Ok(Header::Control(header)) = Header::parse(datagram) else { return false };
    let kind = Handshake::parse(&datagram[HEADER_BYTES..]).map(|(handshake, _)| handshake.kind);
    header.kind == ControlType::Handshake && kind != Ok(HandshakeKind::Induction)
}
