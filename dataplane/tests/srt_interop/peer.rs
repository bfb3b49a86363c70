//! Our end: a connection, its socket, and the line between them.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use codecs::srt::{Header, PACKET_BYTES_MAX, RejectReason, SeqNumber, SocketId};
use dataplane::session::srt::{
    Call, Caller, CloseReason, Connection, Incoming, Listener, PacketIndex, PacketMeta, Progress,
    Settings,
};

use crate::line::{Line, Weather};
use crate::tool::Tool;

/// Bytes of a packet: seven transport packets.
const PACKET: usize = 1_316;
/// Packets of a stream, one every millisecond: 10 Mb/s.
const PACKETS: usize = 2_000;
/// Packets that follow, so that the tool puts out all that it buffers of those that count, and so
/// that the loss of the last of those is noticed: by the one after it.
const TRAILER: usize = 8;
const INTERVAL: Duration = Duration::from_millis(1);
/// No test takes longer.
const TIME_BOUND: Duration = Duration::from_secs(40);

/// Bytes that repeat nowhere.
pub(crate) fn content() -> Vec<u8> {
    let words = (0..(PACKET * PACKETS / 4) as u32).map(|word| word.wrapping_mul(0x9e37_79b1));
    words.flat_map(u32::to_be_bytes).collect()
}

fn with_trailer(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.resize(bytes.len() + TRAILER * PACKET, 0);
    all
}

/// What the tool is given to send, at a pace.
pub(crate) struct Feed<'a> {
    /// What counts, and the trailer.
    bytes: Vec<u8>,
    tool: &'a mut Tool,
    given: usize,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(bytes: &[u8], tool: &'a mut Tool) -> Self {
        Self { bytes: with_trailer(bytes), tool, given: 0 }
    }

    fn last(&self) -> &[u8] {
        let end = self.bytes.len() - TRAILER * PACKET;
        &self.bytes[end - PACKET..end]
    }

    /// Gives what is due after `time`.
    fn give(&mut self, time: Duration) {
        let due = usize::try_from(time.as_micros() / INTERVAL.as_micros()).unwrap() * PACKET;
        let due = due.min(self.bytes.len());
        if due > self.given {
            self.tool.write(&self.bytes[self.given..due]);
            self.given = due;
        }
    }
}

/// What we send: the time of each packet that is ready.
#[derive(Default)]
struct Index {
    bytes: Vec<u8>,
    ready_us: Vec<i64>,
}

impl Index {
    fn packet(&self, number: u64) -> &[u8] {
        let at = usize::try_from(number).unwrap() * PACKET;
        &self.bytes[at..at + PACKET]
    }
}

impl PacketIndex for Index {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let at_us = *self.ready_us.get(usize::try_from(number).ok()?)?;
        Some(PacketMeta { len: PACKET, at_us })
    }
}

/// Our end.
pub(crate) struct Peer {
    socket: UdpSocket,
    lines: [Line; 2],
    settings: Settings,
    to: Option<SocketAddr>,
    listener: Option<Listener>,
    caller: Option<Caller>,
    connection: Option<Connection>,
    verdict: Option<RejectReason>,
    refused: Option<RejectReason>,
    stream_id: Option<Vec<u8>>,
    index: Index,
    received: Vec<u8>,
    began: Instant,
}

impl Peer {
    fn new(settings: Settings, weather: Weather) -> Self {
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            lines: [Line::new(weather, 1), Line::new(weather, 2)],
            settings,
            to: None,
            listener: None,
            caller: None,
            connection: None,
            verdict: None,
            refused: None,
            stream_id: None,
            index: Index::default(),
            received: Vec::new(),
            began: Instant::now(),
        }
    }

    pub(crate) fn listen(settings: Settings, weather: Weather) -> Self {
        let listener = Listener::new(&settings, [5; 32], Instant::now());
        Self { listener: Some(listener), ..Self::new(settings, weather) }
    }

    pub(crate) fn call(settings: Settings, weather: Weather, to: SocketAddr) -> Self {
        let call = Call {
            peer: to,
            socket: SocketId(0x1234_5678),
            initial: SeqNumber::new(SeqNumber::MAX - 1_000),
            stream_id: Some(b"read:cam1".to_vec()),
        };
        let caller = Caller::new(settings.clone(), call, [6; 32], Instant::now());
        Self { caller: Some(caller), to: Some(to), ..Self::new(settings, weather) }
    }

    /// Refuses everybody.
    pub(crate) fn refusing(self, reason: RejectReason) -> Self {
        Self { verdict: Some(reason), ..self }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn stream_id(&self) -> Option<&[u8]> {
        self.stream_id.as_deref()
    }

    /// Goes on until the connection stands.
    pub(crate) fn connect(&mut self, tool: &mut Tool) {
        while self.connection.is_none() {
            assert_eq!(tool.ended(), None, "{:?}", self.refused);
            self.turn(Duration::from_millis(50));
        }
        self.began = Instant::now();
    }

    /// Goes on until the call is refused.
    pub(crate) fn refusal(mut self) -> RejectReason {
        while self.refused.is_none() {
            assert!(self.connection.is_none(), "it was let in");
            self.turn(Duration::from_millis(50));
        }
        self.refused.unwrap()
    }

    /// Goes on until the tool ends, and gives what it said.
    pub(crate) fn serve_until_it_ends(&mut self, tool: &mut Tool) -> String {
        loop {
            if let Some(said) = tool.ended() {
                return said;
            }
            assert!(self.connection.is_none(), "it was let in");
            self.turn(Duration::from_millis(50));
        }
    }

    /// Goes on until the last that the tool is given arrived, or nothing will any more.
    pub(crate) fn receive(&mut self, mut feed: Feed<'_>) {
        let end = INTERVAL * u32::try_from(PACKETS).unwrap() + Duration::from_secs(10);
        while self.began.elapsed() < end {
            // Nothing follows the last that counts but some of the trailer.
            let mut tail = self.received.rchunks_exact(PACKET).take(TRAILER + 1);
            if let Some(after) = tail.position(|packet| packet == feed.last()) {
                self.received.truncate(self.received.len() - after * PACKET);
                return;
            }
            feed.give(self.began.elapsed());
            assert_eq!(self.connection.as_ref().unwrap().closed(), None);
            self.turn(INTERVAL);
        }
    }

    /// Goes on until the peer shuts down.
    pub(crate) fn receive_to_the_end(&mut self) {
        while self.connection.as_ref().unwrap().closed().is_none() {
            self.turn(Duration::from_millis(50));
        }
        let closed = self.connection.as_ref().unwrap().closed();
        assert_eq!(closed, Some(CloseReason::Shutdown));
    }

    /// Sends `bytes`, and goes on until the tool put all of it out, or will not any more; gives
    /// what it put out.
    pub(crate) fn send<'a>(&mut self, bytes: &[u8], tool: &'a mut Tool) -> &'a [u8] {
        self.index.bytes = with_trailer(bytes);
        let end = INTERVAL * u32::try_from(PACKETS).unwrap() + Duration::from_secs(10);
        while tool.output().len() < bytes.len() && self.began.elapsed() < end {
            let due = self.began.elapsed().as_micros() / INTERVAL.as_micros();
            let due = usize::try_from(due).unwrap().min(PACKETS + TRAILER);
            let connection = self.connection.as_mut().unwrap();
            assert_eq!(connection.closed(), None);
            let now_us = connection.micros(Instant::now());
            self.index.ready_us.resize(due, now_us);
            connection.offer(due as u64);
            self.turn(INTERVAL);
        }
        let output = tool.output();
        &output[..output.len().min(bytes.len())]
    }

    /// Waits for a datagram until something is due, `pause` at most, and does what is due.
    fn turn(&mut self, pause: Duration) {
        assert!(self.began.elapsed() < TIME_BOUND, "{:?}", self.connection);
        let now = Instant::now();
        let due = [
            self.lines[0].next_arrival(),
            self.lines[1].next_arrival(),
            self.connection.as_ref().and_then(Connection::poll_timeout),
            self.caller.as_ref().and_then(Caller::poll_timeout),
        ];
        let wait = due.into_iter().flatten().min().map(|due| due.saturating_duration_since(now));
        let wait = wait.unwrap_or(pause).min(pause).max(Duration::from_micros(200));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 2_048];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            self.to = Some(from);
            self.lines[0].send(Instant::now(), &buffer[..len]);
            self.socket.set_nonblocking(true).unwrap();
            while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                self.lines[0].send(Instant::now(), &buffer[..len]);
            }
            self.socket.set_nonblocking(false).unwrap();
        }
        let now = Instant::now();
        while let Some(mut datagram) = self.lines[0].receive(now) {
            self.take(now, &mut datagram);
        }
        self.say(now);
        while let Some(datagram) = self.lines[1].receive(now) {
            self.socket.send_to(&datagram, self.to.unwrap()).unwrap();
        }
    }

    fn take(&mut self, now: Instant, datagram: &mut [u8]) {
        let to = Header::parse(datagram).unwrap().destination();
        if to == SocketId::LISTENER {
            self.answer(now, datagram);
        } else if let Some(connection) = &mut self.connection {
            assert_eq!(to, connection.socket());
            if let Some(payload) = connection.handle_datagram(now, datagram) {
                self.received.extend_from_slice(payload.bytes);
            }
        } else if let Some(caller) = &mut self.caller {
            match caller.handle_datagram(now, datagram) {
                Progress::Waiting => {}
                Progress::Connected(connection) => self.connection = Some(*connection),
                Progress::Refused(reason) => self.refused = Some(reason),
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some(payload) = connection.poll_payload() {
            self.received.extend_from_slice(payload.bytes);
        }
    }

    fn answer(&mut self, now: Instant, datagram: &mut [u8]) {
        let (Some(listener), Some(from)) = (&mut self.listener, self.to) else { return };
        let mut out = [0; PACKET_BYTES_MAX];
        match listener.handle_datagram(now, from, datagram, &mut out) {
            Incoming::Ignored | Incoming::Waiting(_) => {}
            Incoming::Reply(len) => self.lines[1].send(now, &out[..len]),
            Incoming::For(_) => {
                self.connection.as_mut().unwrap().handle_datagram(now, datagram);
            }
            Incoming::Call(request) => {
                self.stream_id = request.stream_id().map(<[u8]>::to_vec);
                if let Some(reason) = self.verdict {
                    let len = listener.refuse(now, &request, reason, &mut out);
                    self.lines[1].send(now, &out[..len]);
                    return;
                }
                let keys = request.keys(&self.settings, [7; 32]);
                let keys = (SocketId(0x0765_4321), keys);
                match listener.accept(now, &request, &self.settings, keys, &mut out) {
                    Ok(connection) => self.connection = Some(connection),
                    Err((_, len)) => self.lines[1].send(now, &out[..len]),
                }
            }
        }
    }

    fn say(&mut self, now: Instant) {
        let mut out = [0; PACKET_BYTES_MAX];
        if let Some(caller) = &mut self.caller {
            if let Progress::Refused(reason) = caller.handle_timeout(now) {
                self.refused = Some(reason);
            }
            while let Some(len) = caller.poll_transmit(now, &mut out) {
                self.lines[1].send(now, &out[..len]);
            }
        }
        let Some(connection) = &mut self.connection else { return };
        connection.handle_timeout(now);
        while let Some(len) = connection.poll_transmit(now, &mut out) {
            self.lines[1].send(now, &out[..len]);
        }
        while let Some(transmit) = connection.poll_data(now, &self.index) {
            let mut bytes = self.index.packet(transmit.number).to_vec();
            connection.encrypt(&transmit, &mut bytes);
            self.lines[1].send(now, &[&transmit.header[..], &bytes].concat());
        }
        self.collect();
    }
}
