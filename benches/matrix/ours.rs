//! Our end: the session of the data plane on a socket of its own, in a thread.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use codecs::srt::{Header, KeyLength, PACKET_BYTES_MAX, Passphrase, SeqNumber, SocketId};
use dataplane::session::srt::{
    Call, Caller, Connection, Incoming, Listener, PacketIndex, PacketMeta, Progress, Settings,
};

use crate::content::{Content, PACKET};
use crate::end::{LATENCY_MS, Place, SECRET, Task};
use crate::program;

/// The socket holds what comes while the thread does not run.
const SOCKET_BYTES: usize = 4 << 20;
/// Nothing takes longer to be seen.
const PAUSE: Duration = Duration::from_millis(1);
/// Datagrams that are taken before time passes.
const BATCH: usize = 64;

/// What both threads know.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Bytes that may be sent.
    offered: AtomicUsize,
    is_connected: AtomicBool,
    version: AtomicU32,
    ended: OnceLock<String>,
}

/// An end that runs until this is dropped.
pub(crate) struct Ours {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ours {
    /// Starts it, and gives what it will receive.
    pub(crate) fn start(task: Task, content: Arc<Content>) -> (Self, Receiver<Vec<u8>>) {
        let shared = Arc::new(Shared::default());
        let (tell, came) = mpsc::channel();
        let mut session = Session::new(task, content, Arc::clone(&shared), tell);
        let thread = Some(thread::spawn(move || {
            while !session.shared.stop.load(Ordering::Relaxed) {
                session.turn();
            }
        }));
        (Self { shared, thread }, came)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shared.is_connected.load(Ordering::Acquire)
    }

    pub(crate) fn peer_version(&self) -> Option<u32> {
        Some(self.shared.version.load(Ordering::Relaxed)).filter(|version| *version != 0)
    }

    pub(crate) fn offer(&self, bytes: usize) {
        self.shared.offered.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) -> Option<String> {
        self.shared.ended.get().cloned()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking());
    }
}

/// The time of each packet that may be sent.
#[derive(Default)]
struct Index {
    ready_us: Vec<i64>,
}

impl PacketIndex for Index {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let at_us = *self.ready_us.get(usize::try_from(number).ok()?)?;
        Some(PacketMeta { len: PACKET, at_us })
    }
}

/// Who listens or calls, before there is a connection.
enum Meeting {
    Listener(Box<Listener>),
    Caller(Box<Caller>),
}

struct Session {
    socket: UdpSocket,
    to: Option<SocketAddr>,
    settings: Settings,
    meeting: Meeting,
    connection: Option<Connection>,
    content: Arc<Content>,
    index: Index,
    shared: Arc<Shared>,
    tell: Sender<Vec<u8>>,
}

fn settings(task: Task) -> Settings {
    let key_length = program::key_bytes(task.key).map(|bytes| match bytes {
        16 => KeyLength::Aes128,
        _ => KeyLength::Aes256,
    });
    Settings {
        latency: Duration::from_millis(LATENCY_MS),
        connect_timeout: Duration::from_secs(20),
        sends: task.sends,
        receives: !task.sends,
        passphrase: key_length.map(|_| Passphrase::new(SECRET.as_bytes()).unwrap()),
        key_length: key_length.unwrap_or(KeyLength::Aes128),
        key_refresh_packets: task.refresh()[0],
        key_announce_packets: task.refresh()[1],
        ..Settings::default()
    }
}

impl Session {
    fn new(task: Task, content: Arc<Content>, shared: Arc<Shared>, tell: Sender<Vec<u8>>) -> Self {
        let settings = settings(task);
        let now = Instant::now();
        let (bind, to, meeting) = match task.place {
            Place::IsCalledAt(addr) => {
                let listener = Listener::new(&settings, [5; 32], now);
                (addr, None, Meeting::Listener(Box::new(listener)))
            }
            Place::Calls(peer) => {
                let (socket, initial) = (SocketId(0x1234_5678), SeqNumber::new(SeqNumber::MAX - 9));
                let call = Call { peer, socket, initial, stream_id: Some(b"live/a".to_vec()) };
                let caller = Caller::new(settings.clone(), call, [6; 32], now);
                let any = "127.0.0.1:0".parse().unwrap();
                (any, Some(peer), Meeting::Caller(Box::new(caller)))
            }
        };
        let socket = UdpSocket::bind(bind).unwrap();
        loadtest::socket::buffers(&socket, SOCKET_BYTES).unwrap();
        let index = Index::default();
        Self { socket, to, settings, meeting, connection: None, content, index, shared, tell }
    }

    fn turn(&mut self) {
        let now = Instant::now();
        let timeout = self.connection.as_ref().and_then(Connection::poll_timeout);
        let wait = timeout.map_or(PAUSE, |due| due.saturating_duration_since(now));
        let wait = wait.clamp(Duration::from_micros(200), PAUSE);
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 2_048];
        let mut received = self.socket.recv_from(&mut buffer);
        self.socket.set_nonblocking(true).unwrap();
        for _ in 0..BATCH {
            let Ok((len, from)) = received else { break };
            self.to = Some(from);
            self.take(Instant::now(), &mut buffer[..len]);
            received = self.socket.recv_from(&mut buffer);
        }
        self.socket.set_nonblocking(false).unwrap();
        self.say(Instant::now());
    }

    fn send(&self, datagram: &[u8]) {
        // What the network says of a peer that is gone is no news.
        let _ = self.to.map(|to| self.socket.send_to(datagram, to));
    }

    fn take(&mut self, now: Instant, datagram: &mut [u8]) {
        let to = Header::parse(datagram).unwrap().destination();
        if to == SocketId::LISTENER && matches!(self.meeting, Meeting::Listener(_)) {
            self.answer(now, datagram);
        } else if let Some(connection) = &mut self.connection {
            if let Some(payload) = connection.handle_datagram(now, datagram) {
                let _ = self.tell.send(payload.bytes.to_vec());
            }
        } else if let Meeting::Caller(caller) = &mut self.meeting {
            match caller.handle_datagram(now, datagram) {
                Progress::Waiting => {}
                Progress::Connected(connection) => self.connected(*connection),
                Progress::Refused(reason) => self.end(format!("refused: {reason:?}")),
            }
        }
        self.collect();
    }

    fn connected(&mut self, connection: Connection) {
        self.connection = Some(connection);
        self.shared.is_connected.store(true, Ordering::Release);
    }

    fn end(&self, why: String) {
        let _ = self.shared.ended.set(why);
    }

    fn collect(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some(payload) = connection.poll_payload() {
            // Nobody may listen any more.
            let _ = self.tell.send(payload.bytes.to_vec());
        }
    }

    fn answer(&mut self, now: Instant, datagram: &mut [u8]) {
        let (Meeting::Listener(listener), Some(from)) = (&mut self.meeting, self.to) else {
            return;
        };
        let mut out = [0; PACKET_BYTES_MAX];
        match listener.handle_datagram(now, from, datagram, &mut out) {
            Incoming::Ignored | Incoming::Waiting(_) => {}
            Incoming::Reply(len) => self.send(&out[..len]),
            Incoming::For(_) => {
                if let Some(connection) = &mut self.connection {
                    connection.handle_datagram(now, datagram);
                }
            }
            Incoming::Call(request) => {
                self.shared.version.store(request.peer_version(), Ordering::Relaxed);
                let keys = (SocketId(0x0765_4321), request.keys(&self.settings, [7; 32]));
                match listener.accept(now, &request, &self.settings, keys, &mut out) {
                    Ok(connection) => self.connected(connection),
                    Err((reason, len)) => {
                        self.send(&out[..len]);
                        self.end(format!("refused: {reason:?}"));
                    }
                }
            }
        }
    }

    fn say(&mut self, now: Instant) {
        let mut out = [0; PACKET_BYTES_MAX];
        if let Meeting::Caller(caller) = &mut self.meeting {
            if let Progress::Refused(reason) = caller.handle_timeout(now) {
                let _ = self.shared.ended.set(format!("refused: {reason:?}"));
            }
            while let Some(len) = caller.poll_transmit(now, &mut out) {
                let _ = self.to.map(|to| self.socket.send_to(&out[..len], to));
            }
        }
        let Some(connection) = &mut self.connection else { return };
        connection.handle_timeout(now);
        let offered = self.shared.offered.load(Ordering::Relaxed) / PACKET;
        self.index.ready_us.resize(offered, connection.micros(now));
        connection.offer(offered as u64);
        let send = |bytes: &[u8]| self.to.map(|to| self.socket.send_to(bytes, to));
        while let Some(len) = connection.poll_transmit(now, &mut out) {
            let _ = send(&out[..len]);
        }
        while let Some(transmit) = connection.poll_data(now, &self.index) {
            let at = usize::try_from(transmit.number).unwrap() * PACKET;
            out[..16].copy_from_slice(&transmit.header);
            out[16..16 + PACKET].copy_from_slice(&self.content.bytes()[at..at + PACKET]);
            connection.encrypt(&transmit, &mut out[16..16 + PACKET]);
            let _ = send(&out[..16 + PACKET]);
        }
        if let Some(reason) = connection.closed() {
            let _ = self.shared.ended.set(reason.name().to_owned());
        }
        self.collect();
    }
}
