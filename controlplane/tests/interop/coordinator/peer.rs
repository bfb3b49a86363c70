//! A streaming server or an encoder of the family, written from its protocol's documents: it
//! attaches to its coordinator, says what it is told to say and waits for what it is told.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tungstenite::client::IntoClientRequest;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::server::Server;

/// What it waits for comes within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it shares with the node.
pub(super) const SECRET: &str = "of-the-family";

/// A frame that it was sent: its type, and its parameters by lower-case name.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: String,
    params: BTreeMap<String, String>,
}

impl Frame {
    /// The value of a parameter, empty without it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.params.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }

    /// One that was never sent.
    pub(super) fn of(kind: &str, params: &[(&str, &str)]) -> Self {
        let param = |&(name, value): &(&str, &str)| (name.to_ascii_lowercase(), value.to_owned());
        Self { kind: kind.to_owned(), params: params.iter().map(param).collect() }
    }

    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let kind = lines.next().unwrap_or_default().to_ascii_uppercase();
        let param = |line: &str| {
            let (name, value) = line.split_once(':').expect("a name and a value");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { kind, params: lines.map(param).collect() }
    }
}

/// The signature of what a token says.
pub(super) fn signature(signed: &str, secret: &str) -> String {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).expect("any length");
    URL_SAFE_NO_PAD.encode(mac.chain_update(signed).finalize().into_bytes())
}

/// What it shows: a token of the secret that says what it is.
fn token(subject: &str, secret: &str) -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = format!("{{\"sub\":\"{subject}\"}}");
    let signed = format!("{}.{}", part("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), part(&claims));
    format!("{signed}.{}", signature(&signed, secret))
}

/// One that is attached.
pub(super) struct Peer {
    socket: WebSocket<TcpStream>,
}

impl Peer {
    /// Attaches by `/ws/control/{role}`.
    pub(super) fn attach(node: &Server, role: &str, headers: &[(&'static str, &str)]) -> Self {
        let subject = format!("{role}-control");
        Self::try_attach(node, role, &token(&subject, SECRET), headers).expect("it is let in")
    }

    /// The other side of a connection that a node made.
    pub(super) const fn called_by(socket: WebSocket<TcpStream>) -> Self {
        Self { socket }
    }

    /// Tries to attach as `role` with the pass of `subject` and `secret`; the status if it may not.
    pub(super) fn refused(node: &Server, role: &str, subject: &str, secret: &str) -> u16 {
        match Self::try_attach(node, role, &token(subject, secret), &[]) {
            Ok(_) => 101,
            Err(status) => status,
        }
    }

    fn try_attach(
        node: &Server,
        role: &str,
        token: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let url = format!("ws://{}/ws/control/{role}", node.control);
        let mut request = url.into_client_request().expect("a URL");
        let mut add = |name, value: &str| {
            request.headers_mut().insert(name, value.parse().expect("plain text"));
        };
        add("x-control-auth-token", token);
        headers.iter().for_each(|&(name, value)| add(name, value));
        let stream = TcpStream::connect(node.control).expect("the node listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends one frame.
    pub(super) fn say(&mut self, kind: &str, params: &[(&str, &str)]) {
        let mut text = kind.to_owned();
        for (name, value) in params {
            text.push_str(&format!("\n{name}: {value}"));
        }
        self.send(Message::text(text));
    }

    /// Sends anything.
    pub(super) fn send(&mut self, message: Message) {
        self.socket.send(message).expect("the node reads");
    }

    /// The next frame of this type about `channel`; those of other types or channels are an error,
    /// except heartbeats.
    pub(super) fn wait(&mut self, kind: &str, channel: &str) -> Frame {
        let frame = self.next();
        assert_eq!(
            (frame.kind.as_str(), frame.get("Stream-Channel")),
            (kind, channel),
            "{frame:?}"
        );
        frame
    }

    /// The next frame that is no heartbeat.
    pub(super) fn next(&mut self) -> Frame {
        loop {
            let Message::Text(text) = self.socket.read().expect("a frame in time") else {
                continue;
            };
            let frame = Frame::read(text.as_str());
            if frame.kind != "HEARTBEAT" {
                return frame;
            }
        }
    }

    /// Waits until the node has closed the connection.
    pub(super) fn hears_the_end(mut self) {
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) => {
                    let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(!late, "it is still there");
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Waits until the node says farewell.
    pub(super) fn hears_the_farewell(mut self) {
        loop {
            match self.socket.read().expect("a farewell in time") {
                Message::Close(_) => return,
                Message::Text(text) => assert_eq!(text.as_str(), "HEARTBEAT"),
                _ => {}
            }
        }
    }

    /// As an encoder: takes so many streams at one time.
    pub(super) fn register(&mut self, capacity: &str) {
        self.say("REGISTER", &[("Capacity", capacity)]);
    }

    /// As a server: asks for a publisher; what the node answers.
    pub(super) fn publish(&mut self, request: &str, channel: &str, key: &str) -> Frame {
        self.ask(request, channel, key);
        let answer = self.next();
        let of = (answer.get("Request-ID"), answer.get("Stream-Channel"));
        assert_eq!(of, (request, channel), "{answer:?}");
        answer
    }

    /// The same without waiting for the answer.
    pub(super) fn ask(&mut self, request: &str, channel: &str, key: &str) {
        self.say(
            "PUBLISH-REQUEST",
            &[
                ("Request-ID", request),
                ("Stream-Channel", channel),
                ("Stream-Key", key),
                ("User-IP", "203.0.113.9"),
            ],
        );
    }

    /// As an encoder or a server: something became of a publication.
    pub(super) fn tell(&mut self, kind: &str, channel: &str, id: &str) {
        self.say(kind, &[("Stream-Channel", channel), ("Stream-ID", id)]);
    }

    /// As an encoder: the live playlist of a publication can be played; its index.
    pub(super) fn available(&mut self, channel: &str, id: &str) -> String {
        let index = format!("hls/{channel}/{id}/elsewhere/live.m3u8");
        self.say(
            "STREAM-AVAILABLE",
            &[
                ("Stream-Channel", channel),
                ("Stream-ID", id),
                ("Stream-Type", "HLS-LIVE"),
                ("Resolution", "640x360-30"),
                ("Index-file", &index),
            ],
        );
        index
    }
}
