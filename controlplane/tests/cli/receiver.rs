//! A receiver of hooks, and the API of the server that calls it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::Value;
use tokio::net::TcpSocket;

use crate::program::{Dir, PATIENCE, Server, http, status};
use crate::requests::{TAKEN, serve};

/// Takes events at an address of its own; what it took, one event after the other.
pub(crate) struct Taker {
    pub(crate) addr: SocketAddr,
    events: Receiver<Value>,
}

impl Taker {
    pub(crate) fn start() -> Self {
        let (taken, events) = channel();
        let addr = serve(move |_, body| {
            for event in serde_json::from_slice::<Vec<Value>>(body).unwrap() {
                taken.send(event).ok()?;
            }
            Some(TAKEN.to_owned())
        });
        Self { addr, events }
    }

    /// The next event.
    pub(crate) fn next(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }
}

/// An address that nobody listens on, and nobody else gets meanwhile: it is bound, so that who
/// connects is refused.
pub(crate) struct Nobody {
    pub(crate) addr: SocketAddr,
    _bound: TcpSocket,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { addr: bound.local_addr().unwrap(), _bound: bound }
    }
}

/// The API of a server, with its token.
pub(crate) struct Api {
    addr: SocketAddr,
    token: String,
}

impl Api {
    pub(crate) fn of(server: &Server, dir: &Dir) -> Self {
        let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
        Self { addr: server.addr("control"), token: token.trim().to_owned() }
    }

    /// The field by which requests are let in.
    pub(crate) fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn head(&self, method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{}", self.authorization())
    }

    /// The answer to a request, which must have worked.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = self.head(method, path);
        let reply = http(
            self.addr,
            &format!(
                "{head}Connection: close\r\nContent-Type: application/json\r\nContent-Length: \
                 {}\r\n\r\n{body}",
                body.len()
            ),
        );
        assert!(status(&reply).starts_with('2'), "{method} {path}: {reply}");
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Declares a stream, or changes what is said of it.
    pub(crate) fn put(&self, stream: &str, description: &str) {
        let spec = serde_json::json!({
            "inputs": [{ "url": "publish://" }], "description": description,
        });
        self.ask("PUT", &format!("/api/v1/streams/{stream}"), &spec);
    }

    /// Listens to events.
    pub(crate) fn listen(&self, query: &str, last: Option<&str>) -> Listener {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = self.head("GET", &format!("/api/v1/events{query}"));
        if let Some(last) = last {
            head.push_str(&format!("Last-Event-ID: {last}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut listener = Listener(BufReader::new(stream));
        assert!(listener.line().contains(" 200 "));
        listener
    }

    /// What was told since the start, until `count` events of types that begin with `types`.
    pub(crate) fn told(&self, query: &str, types: &str, count: usize) -> String {
        self.listen(query, Some(&"0".repeat(32))).told(types, count)
    }
}

/// A client of events. The frames of the body are read as lines, of which they are made.
pub(crate) struct Listener(BufReader<TcpStream>);

impl Listener {
    /// The next line; there are some even when nothing happens.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the feed ended");
        line
    }

    /// Reads until a line of which `wanted` makes something. Only a failing test waits long.
    fn find<T>(&mut self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted(&self.line()) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in time");
        }
    }

    /// Reads until a line that begins so; the rest of it.
    pub(crate) fn until(&mut self, start: &str) -> String {
        self.find(start, |line| line.strip_prefix(start).map(|rest| rest.trim().to_owned()))
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Value {
        let data = self.until("data: {\"id\":");
        serde_json::from_str(&format!("{{\"id\":{data}")).unwrap()
    }

    /// All that is told until `count` events of types that begin with `types`, whole.
    pub(crate) fn told(&mut self, types: &str, count: usize) -> String {
        let (mut told, mut seen) = (String::new(), 0);
        let start = format!("event: {types}");
        self.find(types, |line| {
            told.push_str(line);
            seen += usize::from(line.starts_with(&start));
            (seen >= count && line.trim().is_empty()).then_some(())
        });
        told
    }
}
