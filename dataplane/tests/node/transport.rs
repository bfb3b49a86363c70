//! An HTTP-TS player that reads packet by packet and checks what a receiver may rely on.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::media::{Content, Item};
use super::peer::TIME_BOUND;
use super::player::Player;

const PACKET_LEN: usize = 188;
/// What the server adds to every time.
const ORIGIN_MS: i64 = 1_400;
/// 90 kHz in 33 bits.
const WRAP: i64 = 1 << 33;
/// 27 MHz.
const CLOCK_WRAP: i64 = WRAP * 300;

/// A PES packet that is being gathered.
#[derive(Default)]
struct Gathering {
    bytes: Vec<u8>,
    open: bool,
}

/// An HTTP-TS player.
pub(crate) struct TsPlayer {
    pub(crate) socket: TcpStream,
    /// The response's head.
    pub(crate) head: String,
    /// Stream types by PID, as the newest program map lists them.
    pub(crate) streams: Vec<(u16, u8)>,
    /// The versions of the program map, as they changed.
    pub(crate) versions: Vec<u8>,
    /// Packets that said "what follows does not go on from before".
    pub(crate) discontinuities: usize,
    /// Parameter sets of the newest keyframe.
    pub(crate) parameter_sets: Vec<Vec<u8>>,
    /// The newest clock reference.
    pub(crate) clock: Option<i64>,
    /// What it was when the newest program map came.
    tables: Option<i64>,
    /// All that was received, whole packets.
    pub(crate) received: Vec<u8>,
    input: Vec<u8>,
    counters: HashMap<u16, u8>,
    gathering: HashMap<u16, Gathering>,
    clock_pid: u16,
    ready: std::collections::VecDeque<Item>,
    wire: Vec<u8>,
    ended: bool,
}

impl TsPlayer {
    /// Plays; the response must be 200.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        let player = Self::ask(addr, &format!("/{name}.ts"));
        assert!(player.head.starts_with("HTTP/1.1 200 "), "{}", player.head);
        player
    }

    /// Requests `target` and reads the response's head.
    pub(crate) fn ask(addr: SocketAddr, target: &str) -> Self {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
        write!(socket, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self {
            socket,
            head: String::from_utf8(head).unwrap(),
            streams: Vec::new(),
            versions: Vec::new(),
            discontinuities: 0,
            parameter_sets: Vec::new(),
            clock: None,
            tables: None,
            received: Vec::new(),
            input: Vec::new(),
            counters: HashMap::new(),
            gathering: HashMap::new(),
            clock_pid: 0x1fff,
            ready: std::collections::VecDeque::new(),
            wire: Vec::new(),
            ended: false,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn fill(&mut self) -> bool {
        let at = self.input.len();
        self.input.resize(at + (64 << 10), 0);
        let len = match self.socket.read(&mut self.input[at..]) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waiting for the server: {error}"),
        };
        self.input.truncate(at + len);
        len > 0
    }

    fn packet(&mut self, packet: &[u8]) {
        assert_eq!((packet[0], packet[1] & 0x80), (0x47, 0), "in step, and without an error");
        self.wire.extend_from_slice(packet);
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let start = packet[1] & 0x40 != 0;
        let (has_adaptation, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        let mut at = 4;
        let mut flags = 0;
        if has_adaptation {
            at += 1 + usize::from(packet[4]);
            flags = if packet[4] > 0 { packet[5] } else { 0 };
        }
        let discontinuity = flags & 0x80 != 0;
        self.discontinuities += usize::from(discontinuity);
        let counter = packet[3] & 0x0f;
        if let Some(last) = self.counters.insert(pid, counter)
            && !discontinuity
        {
            assert_eq!(
                counter,
                (last + u8::from(has_payload)) % 16,
                "a packet of {pid:#x} is lost"
            );
        }
        if discontinuity {
            // A PES packet of unknown length ends here, a cut one would be lost.
            self.complete(pid);
            if pid == self.clock_pid {
                (self.clock, self.tables) = (None, None);
            }
        }
        if flags & 0x10 != 0 {
            assert_eq!(pid, self.clock_pid, "the clock is where the map says");
            self.pcr(&packet[6..12]);
        }
        match (pid, has_payload) {
            (_, false) => {}
            (0, _) => assert_eq!(packet[at + 1], 0, "a program association table"),
            (0x1000, _) => self.map(&packet[at..]),
            _ => self.pes(pid, start, &packet[at..]),
        }
    }

    fn pcr(&mut self, field: &[u8]) {
        let value = field.iter().fold(0_i64, |sum, &byte| sum << 8 | i64::from(byte));
        let pcr = (value >> 15) * 300 + (value & 0x1ff);
        if let Some(last) = self.clock.replace(pcr) {
            let step = (pcr - last).rem_euclid(CLOCK_WRAP);
            assert!((1..=27_000 * 40).contains(&step), "{step} ticks between two references");
        }
        let tables = *self.tables.get_or_insert(pcr);
        let step = (pcr - tables).rem_euclid(CLOCK_WRAP);
        assert!(step <= 27_000 * 500, "{step} ticks without a program map");
    }

    fn map(&mut self, payload: &[u8]) {
        assert_eq!(payload[1], 2, "a program map table");
        self.tables = self.clock;
        let len = usize::from(u16::from_be_bytes([payload[2] & 0x0f, payload[3]])) + 4;
        let version = payload[6] >> 1 & 0x1f;
        if self.versions.last() != Some(&version) {
            self.versions.push(version);
        }
        self.clock_pid = u16::from_be_bytes([payload[9] & 0x1f, payload[10]]);
        self.streams.clear();
        let mut at = 13;
        while at < len - 4 {
            let pid = u16::from_be_bytes([payload[at + 1] & 0x1f, payload[at + 2]]);
            self.streams.push((pid, payload[at]));
            let descriptors = u16::from_be_bytes([payload[at + 3] & 0x0f, payload[at + 4]]);
            at += 5 + usize::from(descriptors);
        }
    }

    fn pes(&mut self, pid: u16, start: bool, payload: &[u8]) {
        assert!(self.streams.iter().any(|&(known, _)| known == pid), "{pid:#x} is in no map");
        if start {
            self.complete(pid);
            self.gathering.insert(pid, Gathering { bytes: Vec::new(), open: true });
        }
        let gathering = self.gathering.get_mut(&pid).expect("a PES packet begins with its header");
        assert!(gathering.open, "nothing follows the told length");
        gathering.bytes.extend_from_slice(payload);
        let told = usize::from(u16::from_be_bytes([gathering.bytes[4], gathering.bytes[5]]));
        assert!(told == 0 || gathering.bytes.len() <= told + 6, "no more than the told length");
        if gathering.bytes.len() == told + 6 {
            self.complete(pid);
        }
    }

    /// Reads the PES packet that was gathered.
    fn complete(&mut self, pid: u16) {
        let Some(gathering) = self.gathering.get_mut(&pid).filter(|g| g.open) else { return };
        gathering.open = false;
        let bytes = std::mem::take(&mut gathering.bytes);
        let told = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        assert!(told == 0 || bytes.len() == told + 6, "a PES packet is cut");
        let pts = timestamp(&bytes[9..14]);
        let dts = if bytes[7] & 0x40 != 0 { timestamp(&bytes[14..19]) } else { pts };
        if let Some(clock) = self.clock {
            let ahead = (dts * 300 - clock).rem_euclid(CLOCK_WRAP);
            assert!(ahead < 27_000_000 * 3, "decoded {ahead} ticks after the clock");
        }
        let payload = &bytes[9 + usize::from(bytes[8])..];
        let cts_ms = i32::try_from(difference(pts, dts) / 90).unwrap();
        let ms = u32::try_from((dts + 45).div_euclid(90) - ORIGIN_MS).unwrap();
        let (_, kind) = *self.streams.iter().find(|&&(known, _)| known == pid).unwrap();
        let wire = std::mem::take(&mut self.wire);
        let content = match kind {
            0x1b => {
                let (content, sets) = Content::of_byte_stream(payload, cts_ms);
                if !sets.is_empty() {
                    self.parameter_sets = sets;
                }
                content
            }
            0x0f => Content::of_adts(payload),
            0x03 => Content::of_sound(payload),
            other => panic!("nobody published a stream of type {other:#x}"),
        };
        self.ready.push_back(Item { ms, content, wire });
    }
}

fn timestamp(field: &[u8]) -> i64 {
    let bits = field.iter().fold(0_i64, |sum, &byte| sum << 8 | i64::from(byte));
    (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7fff) << 15 | bits >> 1 & 0x7fff
}

const fn difference(pts: i64, dts: i64) -> i64 {
    (pts - dts + WRAP / 2).rem_euclid(WRAP) - WRAP / 2
}

impl Player for TsPlayer {
    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            if self.input.len() < PACKET_LEN && !self.fill() {
                assert!(self.input.is_empty(), "the server closed inside a packet");
                self.ended = true;
                let pids: Vec<_> = self.gathering.keys().copied().collect();
                pids.into_iter().for_each(|pid| self.complete(pid));
                continue;
            }
            if self.input.len() >= PACKET_LEN {
                let whole = self.input.len() / PACKET_LEN * PACKET_LEN;
                let packets: Vec<u8> = self.input.drain(..whole).collect();
                packets.chunks(PACKET_LEN).for_each(|packet| self.packet(packet));
                self.received.extend(packets);
            }
        }
    }
}
