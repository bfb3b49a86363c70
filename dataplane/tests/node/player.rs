//! Players of both formats, and what every player must have received.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use codecs::flv::tag::FlvReader;
use codecs::rtmp::command::code;
use codecs::rtmp::message::{MessageKind, UserControl};

use super::media::{Content, Item};
use super::peer::{Peer, TIME_BOUND};

/// A player of either format.
pub(crate) trait Player {
    /// The next message or tag of the stream; `None` at its end.
    fn next_item(&mut self) -> Option<Item>;

    /// The next item, which must come.
    fn item(&mut self) -> Item {
        self.next_item().expect("the stream goes on")
    }

    /// Items up to and with the video frame of that number.
    fn items_to_video(&mut self, number: u32) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            let item = self.item();
            let found = item.video().is_some_and(|frame| frame.number == number);
            items.push(item);
            if found {
                return items;
            }
        }
    }

    /// Items up to and with the audio frame of that number.
    fn items_to_audio(&mut self, number: u32) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            let item = self.item();
            let found = item.audio().is_some_and(|frame| frame.number == number);
            items.push(item);
            if found {
                return items;
            }
        }
    }

    /// All items to the end of the stream.
    fn items_to_end(&mut self) -> Vec<Item> {
        std::iter::from_fn(|| self.next_item()).collect()
    }
}

/// An RTMP player.
pub(crate) struct RtmpPlayer {
    pub(crate) peer: Peer,
    /// Statuses heard while playing.
    pub(crate) statuses: Vec<String>,
    /// User control events heard while playing.
    pub(crate) controls: Vec<UserControl>,
}

impl RtmpPlayer {
    /// Plays, and waits for the start.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        let mut player = Self::ask(addr, name);
        player.peer.expect_status(code::PLAY_START);
        player
    }

    /// Asks to play.
    pub(crate) fn ask(addr: SocketAddr, name: &str) -> Self {
        let mut peer = Peer::open(addr);
        peer.play(name);
        peer.flush();
        Self::of(peer)
    }

    /// A client that plays already.
    pub(crate) const fn of(peer: Peer) -> Self {
        Self { peer, statuses: Vec::new(), controls: Vec::new() }
    }

    /// Skips to the status of that code, and returns the items before it.
    pub(crate) fn items_to_status(&mut self, code: &str) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            if self.statuses.iter().any(|status| status == code) {
                return items;
            }
            let heard = self.step();
            items.extend(
                heard.unwrap_or_else(|| panic!("closed before {code}: {:?}", self.statuses)),
            );
        }
    }

    /// One message, which may be an item; `None` at the end.
    fn step(&mut self) -> Option<Option<Item>> {
        let message = self.peer.next()?;
        let header = message.header;
        if let Some(code) = message.status() {
            self.statuses.push(code);
        }
        self.controls.extend(message.user_control());
        let kind = match header.kind {
            MessageKind::Audio => 8,
            MessageKind::Video => 9,
            MessageKind::DataAmf0 if !message.body.ends_with(&SAMPLE_ACCESS_END) => 18,
            _ => return Some(None),
        };
        Some(Some(Item::parse(kind, header.timestamp, &message.body, message.wire)))
    }
}

/// The two booleans that end `|RtmpSampleAccess`, which belongs to the connection.
const SAMPLE_ACCESS_END: [u8; 4] = [1, 0, 1, 0];

impl Player for RtmpPlayer {
    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.step()? {
                return Some(item);
            }
        }
    }
}

/// An HTTP-FLV player.
pub(crate) struct FlvPlayer {
    pub(crate) socket: TcpStream,
    reader: FlvReader,
    input: Vec<u8>,
    at: usize,
    body: Vec<u8>,
    wire: Vec<u8>,
    /// The response's head.
    pub(crate) head: String,
}

impl FlvPlayer {
    /// Plays; the response must be 200.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        let player = Self::ask(addr, &format!("/{name}.flv"));
        assert!(player.head.starts_with("HTTP/1.1 200 "), "{}", player.head);
        player
    }

    /// Requests `target` and reads the response's head.
    pub(crate) fn ask(addr: SocketAddr, target: &str) -> Self {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
        write!(socket, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut player = Self {
            socket,
            reader: FlvReader::new(8 << 20),
            input: Vec::new(),
            at: 0,
            body: Vec::new(),
            wire: Vec::new(),
            head: String::new(),
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if player.at == player.input.len() {
                assert!(player.fill(), "closed inside the head");
            }
            head.push(player.input[player.at]);
            player.at += 1;
        }
        player.head = String::from_utf8(head).unwrap();
        player
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn fill(&mut self) -> bool {
        self.input.resize(64 << 10, 0);
        self.at = 0;
        let len = match self.socket.read(&mut self.input) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waiting for the server: {error}"),
        };
        self.input.truncate(len);
        len > 0
    }
}

impl Player for FlvPlayer {
    fn next_item(&mut self) -> Option<Item> {
        loop {
            while self.at < self.input.len() {
                let (used, fragment) = self.reader.feed(&self.input[self.at..]).unwrap();
                self.wire.extend_from_slice(&self.input[self.at..self.at + used]);
                self.at += used;
                let Some(fragment) = fragment else { continue };
                self.body.extend_from_slice(fragment.data);
                if fragment.last {
                    let kind = fragment.header.kind.to_wire();
                    let body = std::mem::take(&mut self.body);
                    let wire = std::mem::take(&mut self.wire);
                    return Some(Item::parse(kind, fragment.header.timestamp_ms, &body, wire));
                }
            }
            if !self.fill() {
                // All that may be left of a tag is the length of the one before it.
                assert!(self.body.is_empty(), "the server closed inside a tag");
                return None;
            }
        }
    }
}

/// Frames of each medium follow each other without a hole; times never go back.
pub(crate) fn assert_contiguous(items: &[Item]) {
    for of in [Item::video as fn(&Item) -> _, Item::audio] {
        let frames: Vec<_> = items.iter().filter_map(|item| Some((of(item)?, item.ms))).collect();
        for pair in frames.windows(2) {
            assert_eq!(pair[1].0.number, pair[0].0.number + 1, "no frame is lost or doubled");
            assert!(pair[1].1 >= pair[0].1, "time never goes back: {pair:?}");
        }
    }
}

/// What comes before the first frame, and that frame.
pub(crate) fn join_head(player: &mut impl Player) -> (Vec<Content>, Item) {
    let mut head = Vec::new();
    loop {
        let item = player.item();
        if item.frame().is_some() {
            return (head, item);
        }
        head.push(item.content);
    }
}
