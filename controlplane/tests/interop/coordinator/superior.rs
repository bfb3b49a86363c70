//! A coordinator of the family, written from its protocol's documents: nodes call it, it says what
//! it is told to say, and not always as it should.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tungstenite::handshake::server::{Request, Response};

use super::peer::{Peer, SECRET, signature};

/// A node calls within this, however long it waits between two calls.
const PATIENCE: Duration = Duration::from_secs(60);
/// The path of a proxy before it.
const PREFIX: &str = "/cluster";

/// One that waits for calls.
pub(super) struct Superior(TcpListener);

/// What a node said when it called.
pub(super) struct Caller {
    request: Request,
}

impl Superior {
    /// On a free port.
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        Self(listener)
    }

    /// What a node is told of it.
    pub(super) fn base(&self) -> String {
        format!("ws://{}{PREFIX}/", self.0.local_addr().expect("it is bound"))
    }

    /// The next call, which is taken.
    pub(super) fn called(&self) -> (Peer, Caller) {
        let mut request = None;
        #[expect(clippy::result_large_err, reason = "the refusal is the library's")]
        let take = |asked: &Request, response: Response| {
            request = Some(asked.clone());
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(self.next(), take).expect("it asks for a WebSocket");
        (Peer::called_by(socket), Caller { request: request.expect("it was asked") })
    }

    /// The next call is answered with this status.
    pub(super) fn refuses(&self, status: &str) {
        let mut stream = self.next();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("the node reads");
    }

    fn next(&self) -> TcpStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("a socket");
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    return stream;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            assert!(Instant::now() < deadline, "nobody calls");
            // Looked again when the node had the processor for a moment.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Caller {
    /// The value of a header, empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.request.headers().get(name);
        value.map_or("", |value| value.to_str().expect("plain text"))
    }

    /// It came where servers of RTMP do, with a pass of the secret that is good for a while.
    pub(super) fn is_a_server(&self) {
        assert_eq!(self.request.uri().path(), format!("{PREFIX}/ws/control/rtmp"));
        let token = self.header("x-control-auth-token");
        let (signed, shown) = token.rsplit_once('.').expect("a token");
        assert_eq!(shown, signature(signed, SECRET));
        let part = |text: &str| -> Value {
            let json = URL_SAFE_NO_PAD.decode(text).expect("base64");
            serde_json::from_slice(&json).expect("JSON")
        };
        let (head, claims) = signed.split_once('.').expect("two parts");
        assert_eq!(part(head)["alg"], "HS256");
        let claims = part(claims);
        assert_eq!(claims["sub"], "rtmp-control");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a calendar").as_secs();
        let left = claims["exp"].as_u64().expect("an end").saturating_sub(now);
        assert!((60..=3_600).contains(&left), "{claims}");
    }
}
