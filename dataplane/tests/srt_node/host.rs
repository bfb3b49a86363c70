//! A scripted host of SRT: what the node calls. It refuses, lets in, plays, and is gone.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use codecs::srt::{Header, PACKET_BYTES_MAX, RejectReason, SocketId};
use dataplane::session::srt::{Connection, Incoming, Listener, Request, Settings};

use super::peer::{Index, PAUSE};
use crate::node::TIME_BOUND;

/// A host, at an address that it keeps when it comes back.
pub(crate) struct Host {
    socket: UdpSocket,
    listener: Listener,
    settings: Settings,
    refusal: Option<RejectReason>,
    /// Who was let in, and where he is.
    pub(crate) guest: Option<(Connection, SocketAddr)>,
    index: Index,
    /// The stream ids of those who called, in their order.
    pub(crate) calls: Vec<String>,
    /// The payload that came, in order.
    pub(crate) received: Vec<u8>,
}

impl Host {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), settings)
    }

    pub(crate) fn at(addr: SocketAddr, settings: Settings) -> Self {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(PAUSE)).unwrap();
        Self {
            socket,
            listener: Listener::new(&settings, [3; 32], Instant::now()),
            settings,
            refusal: None,
            guest: None,
            index: Index::default(),
            calls: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Lets nobody in.
    pub(crate) fn refusing(self, reason: RejectReason) -> Self {
        Self { refusal: Some(reason), ..self }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Goes on until `is` holds.
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let late = Instant::now() + TIME_BOUND;
        while !is(self) {
            assert!(Instant::now() < late, "never: {what}: {:?} {:?}", self.calls, self.guest);
            self.turn();
        }
    }

    /// Plays transport packets to its guest.
    pub(crate) fn play(&mut self, packets: &[u8]) {
        let (connection, _) = self.guest.as_mut().unwrap();
        let count = self.index.add(packets, 7 * 188, connection.micros(Instant::now()));
        connection.offer(count);
        self.turn();
    }

    pub(crate) fn turn(&mut self) {
        self.say();
        let mut buffer = [0; 2_048];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => self.take(from, &mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            self.socket.set_nonblocking(true).unwrap();
        }
        self.socket.set_nonblocking(false).unwrap();
        self.say();
    }

    fn take(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let (now, mut out) = (Instant::now(), [0; PACKET_BYTES_MAX]);
        if Header::parse(datagram).unwrap().destination() != SocketId::LISTENER {
            if let Some((connection, _)) = self.guest.as_mut().filter(|(_, at)| *at == from) {
                if let Some(payload) = connection.handle_datagram(now, datagram) {
                    self.received.extend_from_slice(payload.bytes);
                }
                while let Some(payload) = connection.poll_payload() {
                    self.received.extend_from_slice(payload.bytes);
                }
            }
            return;
        }
        match self.listener.handle_datagram(now, from, datagram, &mut out) {
            Incoming::Reply(len) => drop(self.socket.send_to(&out[..len], from).unwrap()),
            Incoming::Call(request) => self.called(from, &request),
            Incoming::For(_) => {
                self.guest.as_mut().into_iter().for_each(|(guest, _)| guest.answer_again());
            }
            Incoming::Ignored | Incoming::Waiting(_) => {}
        }
    }

    fn called(&mut self, from: SocketAddr, request: &Request) {
        let (now, mut out) = (Instant::now(), [0; PACKET_BYTES_MAX]);
        let id = request.stream_id().unwrap_or_default();
        self.calls.push(String::from_utf8_lossy(id).into_owned());
        if let Some(reason) = self.refusal {
            let len = self.listener.refuse(now, request, reason, &mut out);
            self.socket.send_to(&out[..len], from).unwrap();
            return;
        }
        let socket = SocketId(0x2000_0000 + self.calls.len() as u32);
        let keys = request.keys(&self.settings, [9; 32]);
        let listener = &mut self.listener;
        match listener.accept(now, request, &self.settings, (socket, keys), &mut out) {
            Ok(connection) => {
                self.index = Index::default();
                self.guest = Some((connection, from));
            }
            Err((_, len)) => drop(self.socket.send_to(&out[..len], from).unwrap()),
        }
    }

    fn say(&mut self) {
        let (now, mut out) = (Instant::now(), [0; PACKET_BYTES_MAX]);
        let Some((connection, to)) = &mut self.guest else { return };
        connection.handle_timeout(now);
        while let Some(len) = connection.poll_transmit(now, &mut out) {
            self.socket.send_to(&out[..len], *to).unwrap();
        }
        while let Some(transmit) = connection.poll_data(now, &self.index) {
            let mut bytes = self.index.packet(transmit.number).to_vec();
            connection.encrypt(&transmit, &mut bytes);
            let datagram = [&transmit.header[..], &bytes].concat();
            self.socket.send_to(&datagram, *to).unwrap();
        }
    }
}
