//! Peers of SRT, many on one thread: they call, play, publish, and count what they get.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use codecs::srt::{PACKET_BYTES_MAX, SeqNumber, SocketId};
use dataplane::reactor::{
    Completion, Reactor, ReactorConfig, SendPart, Token, UdpOptions, send_datagram, udp_socket,
};
use dataplane::session::srt::{
    Call, Caller, Connection, PacketIndex, PacketMeta, Progress, Settings,
};

use crate::node::TIME_BOUND;

/// Callers wake up this often at least, to see whether they are done.
const TICK: Duration = Duration::from_millis(20);
/// A null packet of MPEG-TS, seven times: what publishers send.
const PAYLOAD: usize = 7 * 188;

/// Callers of one node.
pub(crate) struct Callers {
    reactor: Reactor,
    server: SocketAddr,
    pub(crate) settings: Settings,
    sockets: Vec<OwnedFd>,
    pub(crate) list: Vec<Peer>,
}

/// One of them.
pub(crate) struct Peer {
    id: SocketId,
    socket: usize,
    /// What the node calls the connection, once something was sent to it.
    to: [u8; 4],
    state: State,
    /// Bytes of datagrams of the node's connection: all but the answer to the first handshake.
    pub(crate) wire_bytes: u64,
    pub(crate) payload_bytes: usize,
    /// Packets that were offered.
    offered: u64,
}

enum State {
    Calling(Box<Caller>),
    Up(Box<Connection>),
}

/// What a publisher sends: as many packets as it likes, all made now.
struct Packets {
    now_us: i64,
}

impl PacketIndex for Packets {
    fn meta(&self, _: u64) -> Option<PacketMeta> {
        Some(PacketMeta { len: PAYLOAD, at_us: self.now_us })
    }
}

impl Callers {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let config = ReactorConfig { datagram_buffers: 256, ..ReactorConfig::default() };
        let (reactor, _) = Reactor::new(&config).unwrap();
        let latency = Duration::from_millis(2_000);
        let settings = Settings { latency, peer_latency: latency, ..Settings::default() };
        Self { reactor, server, settings, sockets: Vec::new(), list: Vec::new() }
    }

    /// Another socket to call from.
    pub(crate) fn socket(&mut self) -> usize {
        let options = UdpOptions { recv_buffer_bytes: Some(8 << 20), ..UdpOptions::default() };
        let fd = udp_socket(&"127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let token = Token::new(u32::try_from(self.sockets.len()).unwrap(), 0);
        self.reactor.recv_datagrams_start(fd.as_fd(), token);
        self.sockets.push(fd);
        self.sockets.len() - 1
    }

    /// Calls from a socket, for a stream; gives the caller's place in the list.
    pub(crate) fn call(&mut self, socket: usize, stream_id: &str) -> usize {
        let id = SocketId(1_000 + u32::try_from(self.list.len()).unwrap());
        let call = Call {
            peer: self.server,
            socket: id,
            initial: SeqNumber::new(7_000 + id.0),
            stream_id: Some(stream_id.as_bytes().to_vec()),
        };
        let caller = Caller::new(self.settings.clone(), call, [7; 32], Instant::now());
        self.list.push(Peer {
            id,
            socket,
            to: [0; 4],
            state: State::Calling(Box::new(caller)),
            wire_bytes: 0,
            payload_bytes: 0,
            offered: 0,
        });
        self.list.len() - 1
    }

    pub(crate) fn connection(&self, at: usize) -> &Connection {
        let State::Up(connection) = &self.list[at].state else { panic!("caller {at} waits") };
        connection
    }

    pub(crate) fn all_are_up(&self) -> bool {
        self.list.iter().all(|peer| matches!(peer.state, State::Up(_)))
    }

    /// A caller says goodbye.
    pub(crate) fn close(&mut self, at: usize) {
        if let State::Up(connection) = &mut self.list[at].state {
            connection.close(dataplane::session::srt::CloseReason::Closed("over"));
        }
    }

    /// What is sent from another socket than the caller's, in its name.
    pub(crate) fn forge(&mut self, at: usize, from: usize, datagram: &mut [u8]) {
        datagram[12..16].copy_from_slice(&self.list[at].to);
        assert!(send_datagram(self.sockets[from].as_fd(), &self.server, datagram));
    }

    /// Publishers `all`, who share a socket, send `count` packets each, one after the other in
    /// trains that hold packets of all of them.
    pub(crate) fn publish_together(&mut self, all: &[usize], count: u64) {
        let now = Instant::now();
        let mut train = Vec::new();
        all.iter().for_each(|&at| self.list[at].offer(count));
        for _ in 0..count {
            for &at in all {
                train.extend(self.list[at].packet(now).expect("the window has room"));
            }
            if train.len() > 40 * PAYLOAD {
                self.leave(all[0], &mut train);
            }
        }
        self.leave(all[0], &mut train);
    }

    fn leave(&mut self, at: usize, train: &mut Vec<u8>) {
        if train.is_empty() {
            return;
        }
        let fd = self.sockets[self.list[at].socket].as_fd();
        let segment = u16::try_from(PAYLOAD + 16).unwrap();
        let token = Token::new(1_000, 0);
        // SAFETY: the bytes outlive the submit below.
        unsafe {
            let parts = [SendPart::new(train)];
            self.reactor.send_datagrams(fd, token, &self.server, &parts, segment);
        }
        self.reactor.submit();
        train.clear();
    }

    /// Lives on until `is` holds.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        let late = Instant::now() + TIME_BOUND;
        while !is(self) {
            assert!(Instant::now() < late, "never: {what}");
            self.turn();
        }
    }

    /// Takes what came, and says what is due.
    pub(crate) fn turn(&mut self) {
        let Self { reactor, server, sockets, list, .. } = self;
        let now = Instant::now();
        for peer in list.iter_mut() {
            peer.say(now, sockets[peer.socket].as_fd(), server);
        }
        reactor.submit_and_wait(Some(TICK));
        while let Some(completion) = reactor.next_completion() {
            let Completion::Datagrams { mut buf, .. } = completion else { continue };
            let now = Instant::now();
            for datagram in reactor.datagrams_mut(&mut buf) {
                let to = datagram[12..16].try_into().map(u32::from_be_bytes).unwrap();
                if let Some(peer) = list.iter_mut().find(|peer| peer.id.0 == to) {
                    peer.take(now, datagram);
                }
            }
            reactor.release_datagrams(buf);
        }
    }
}

impl Peer {
    fn say(&mut self, now: Instant, fd: std::os::fd::BorrowedFd<'_>, server: &SocketAddr) {
        let mut out = [0; PACKET_BYTES_MAX];
        loop {
            let len = match &mut self.state {
                State::Calling(caller) => caller.poll_transmit(now, &mut out),
                State::Up(connection) => {
                    connection.handle_timeout(now);
                    connection.poll_transmit(now, &mut out)
                }
            };
            let Some(len) = len else { break };
            send_datagram(fd, server, &out[..len]);
        }
        while let Some(packet) = self.packet(now) {
            send_datagram(fd, server, &packet);
        }
    }

    fn take(&mut self, now: Instant, datagram: &mut [u8]) {
        let len = datagram.len() as u64;
        match &mut self.state {
            State::Calling(caller) => match caller.handle_datagram(now, datagram) {
                Progress::Waiting => {}
                Progress::Connected(connection) => {
                    self.wire_bytes += len;
                    self.state = State::Up(connection);
                }
                Progress::Refused(reason) => panic!("refused: {reason}"),
            },
            State::Up(connection) => {
                self.wire_bytes += len;
                if let Some(payload) = connection.handle_datagram(now, datagram) {
                    self.payload_bytes += payload.bytes.len();
                }
                while let Some(payload) = connection.poll_payload() {
                    self.payload_bytes += payload.bytes.len();
                }
            }
        }
    }

    fn offer(&mut self, more: u64) {
        self.offered += more;
        if let State::Up(connection) = &mut self.state {
            connection.offer(self.offered);
        }
    }

    /// The next packet to send.
    fn packet(&mut self, now: Instant) -> Option<Vec<u8>> {
        let State::Up(connection) = &mut self.state else { return None };
        let packets = Packets { now_us: connection.micros(now) };
        let transmit = connection.poll_data(now, &packets)?;
        self.to.copy_from_slice(&transmit.header[12..]);
        let mut packet = transmit.header.to_vec();
        for _ in 0..7 {
            packet.extend([0x47, 0x1f, 0xff, 0x10]);
            packet.resize(packet.len() + 184, 0xff);
        }
        Some(packet)
    }
}
