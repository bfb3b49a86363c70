//! A coordinator elsewhere inside TLS: it is believed if an authority of the system vouches for it,
//! and not else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

use crate::program::{Dir, PATIENCE, Server};
use crate::receiver::Api;

type Socket = WebSocket<StreamOwned<ServerConnection, TcpStream>>;

/// Who vouches.
const CA: &str = "ca.pem";

/// A coordinator at `localhost` whose certificate is of an authority of its own.
struct Superior {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
}

impl Superior {
    /// One whose authority is written into `dir`.
    fn new(dir: &Dir) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        dir.write(CA, &params.self_signed(&key).unwrap().pem());
        let authority = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, tls: Arc::new(tls) }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The next call, inside TLS.
    fn next(&self) -> StreamOwned<ServerConnection, TcpStream> {
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.tls)).unwrap(), socket)
    }

    /// The next call, which is taken, and its path.
    fn called(&self) -> (Socket, String) {
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the refusal is the library's")]
        let take = |asked: &Request, response: Response| {
            assert!(asked.headers().contains_key("x-control-auth-token"), "{asked:?}");
            path = asked.uri().path().to_owned();
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(self.next(), take).unwrap();
        (socket, path)
    }
}

/// A server of the coordinator at `port` that trusts whom `dir` has as [`CA`].
fn node(dir: &Dir, port: u16) -> Command {
    let mut command = dir.command(&[]);
    command.env("CONTROL_USE", "YES").env("CONTROL_SECRET", "hush");
    command.env("CONTROL_BASE_URL", format!("wss://localhost:{port}/edge"));
    command.env("SSL_CERT_FILE", dir.0.join(CA)).env_remove("SSL_CERT_DIR");
    command
}

/// How the link is, as soon as it is as `state` says.
fn until(api: &Api, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let client = api.ask("GET", "/api/v1/coordinator", &Value::Null)["client"].clone();
        if client["state"] == state && client["reason"] != "connecting" {
            return client;
        }
        assert!(Instant::now() < deadline, "{client:#}");
        std::thread::yield_now();
    }
}

#[test]
fn a_coordinator_is_believed_whose_authority_the_system_trusts() {
    let dir = Dir::new("superior");
    let superior = Superior::new(&dir);
    let node = Server::start(&mut node(&dir, superior.port()));
    let (mut socket, path) = superior.called();
    assert_eq!(path, "/edge/ws/control/rtmp");
    let api = Api::of(&node, &dir);
    until(&api, "connected");
    // Both sides are heard: what nobody publishes here is ended there.
    socket.send(Message::text("STREAM-KILL\nStream-Channel: cam7\nStream-ID: *")).unwrap();
    let end = loop {
        if let Message::Text(text) = socket.read().unwrap()
            && text.as_str() != "HEARTBEAT"
        {
            break text;
        }
    };
    assert!(end.starts_with("PUBLISH-END") && end.contains("cam7"), "{end}");
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    // It is called again by itself.
    let (_socket, _) = superior.called();
    until(&api, "connected");
}

#[test]
fn a_coordinator_of_an_unknown_authority_hears_no_token() {
    let (dir, other) = (Dir::new("superior-unknown"), Dir::new("superior-other"));
    let superior = Superior::new(&dir);
    // What the node trusts is another one.
    Superior::new(&other);
    let mut command = node(&dir, superior.port());
    let server = Server::start(command.env("SSL_CERT_FILE", other.0.join(CA)));
    let mut stream = superior.next();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap_err();
    let _ = stream.flush();
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    let api = Api::of(&server, &dir);
    assert_eq!(until(&api, "away")["reason"], "tls");
    let health = api.ask("GET", "/api/v1/health", &Value::Null).to_string();
    for part in ["coordinator_away", "SSL_CERT_FILE", "wss://localhost"] {
        assert!(health.contains(part), "{part}: {health}");
    }
    assert!(!health.contains("hush"), "{health}");
}

/// Where the control listener would be is no coordinator inside TLS.
#[test]
fn what_speaks_no_tls_is_no_coordinator_by_wss() {
    let dir = Dir::new("superior-plain");
    Superior::new(&dir);
    let plain = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let server = Server::start(&mut node(&dir, plain.local_addr().unwrap().port()));
    let (mut stream, _) = plain.accept().unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, [0x16], "a handshake, and no request with a token");
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    drop(stream);
    assert_eq!(until(&Api::of(&server, &dir), "away")["reason"], "tls");
}
