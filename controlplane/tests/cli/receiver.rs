//! A receiver of hooks, and the API of the server that calls it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::Value;

use crate::program::{Dir, PATIENCE, Server, http, status};

/// Takes events by any address of its own; what it took, one event after the other.
pub(crate) struct Taker {
    pub(crate) addr: SocketAddr,
    events: Receiver<Value>,
}

impl Taker {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, (taken, events)) = (listener.local_addr().unwrap(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = taken.clone();
                std::thread::spawn(move || take(stream, &taken));
            }
        });
        Self { addr, events }
    }

    /// The next event.
    pub(crate) fn next(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }
}

/// Until the connection ends.
fn take(stream: TcpStream, taken: &Sender<Value>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if let Some(text) = head[from..].strip_prefix("content-length: ") {
                length = text.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        for event in serde_json::from_slice::<Vec<Value>>(&body).unwrap() {
            taken.send(event).ok()?;
        }
        writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}

/// An address that nobody listens on.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
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

    fn head(&self, method: &str, path: &str) -> String {
        let Self { token, .. } = self;
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n")
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
}

/// A client of events. The frames of the body are read as lines, of which they are made.
pub(crate) struct Listener(BufReader<TcpStream>);

impl Listener {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the feed ended");
        line
    }

    /// Reads until a line that begins so; the rest of it.
    pub(crate) fn until(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Value {
        let data = self.until("data: {\"id\":");
        serde_json::from_str(&format!("{{\"id\":{data}")).unwrap()
    }
}
