//! A client of HTTP/1.1 that keeps its connection: a viewer of HLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::peer::TIME_BOUND;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, its empty line included.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let named = |line: &str| line.split_once(": ").is_some_and(|(of, _)| of == name);
        self.head.lines().find(|line| named(line)).map(|line| &line[name.len() + 2..])
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The URIs of a playlist, in order.
    pub(crate) fn uris(&self) -> Vec<&str> {
        let lines = self.text().lines();
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }

    /// The number behind a tag of a playlist.
    pub(crate) fn number(&self, tag: &str) -> u64 {
        let line = self.text().lines().find_map(|line| line.strip_prefix(tag));
        line.unwrap_or_else(|| panic!("no {tag} in {}", self.text())).parse().unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.text().lines().any(|line| line == "#EXT-X-ENDLIST")
    }
}

/// A viewer with one connection.
pub(crate) struct Viewer {
    pub(crate) socket: TcpStream,
    input: Vec<u8>,
}

impl Viewer {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect(addr).unwrap())
    }

    /// A client on a connection that is there.
    pub(crate) fn of(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        socket.set_write_timeout(Some(TIME_BOUND)).unwrap();
        Self { socket, input: Vec::new() }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// Asks without waiting for the answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &str) {
        self.say(&format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.ask("GET", target, fields);
        self.answer()
    }

    /// As [`Self::get`], for what must be there.
    pub(crate) fn found(&mut self, target: &str) -> Answer {
        let answer = self.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.head);
        answer
    }

    /// The next answer to a request that was no HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let len = answer.field("Content-Length").map_or(0, |len| len.parse().unwrap());
        while self.input.len() < len {
            assert!(self.fill(), "closed in the body behind {}", answer.head);
        }
        answer.body = self.input.drain(..len).collect();
        answer
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> Answer {
        const END: &[u8] = b"\r\n\r\n";
        let at = loop {
            if let Some(at) = self.input.windows(END.len()).position(|bytes| bytes == END) {
                break at;
            }
            let so_far = String::from_utf8_lossy(&self.input).into_owned();
            assert!(self.fill(), "closed before the end of a head: {so_far}");
        };
        let head = String::from_utf8(self.input.drain(..at + END.len()).collect()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        Answer { status, head, body: Vec::new() }
    }

    /// What came behind the last answer.
    pub(crate) fn come(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// What is left until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.input)
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        match self.socket.read(&mut buffer) {
            Ok(len) => {
                self.input.extend_from_slice(&buffer[..len]);
                len > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("waiting for the server: {error}"),
        }
    }
}
