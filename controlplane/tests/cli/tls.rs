//! Certificates: wrong files have their line, a renewed one is for new connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::program::{Dir, PATIENCE, Server, failure, get, output};

/// A certificate for `localhost`, and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        Self::of(rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap())
    }

    fn expired() -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        Self::of(params)
    }

    fn of(params: rcgen::CertificateParams) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let der = certificate.der().clone();
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der }
    }

    fn write(&self, dir: &Dir) {
        dir.write("cert.pem", &self.certificate);
        dir.write("key.pem", &self.key);
    }
}

const FILE: &str = "[auth]\nmode = \"open\"\n[demo]\nenabled = true\n[tls]\n\
                    certificate = \"cert.pem\"\nkey = \"key.pem\"\n";

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A connection to `listener` by a client that trusts `pair`.
fn connect(server: &Server, listener: &str, pair: &Pair) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(server.addr(listener)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The first bytes of the demo.
fn play(stream: &mut Secure) -> String {
    stream.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reply = vec![0; 4_096];
    stream.read_exact(&mut reply).unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_a_broken_one_for_nobody() {
    let dir = Dir::new("tls");
    let (first, second) = (Pair::new(), Pair::new());
    first.write(&dir);
    dir.write("g.toml", FILE);
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(server.banner.contains("TLS        rtmps://"), "{}", server.banner);
    let mut old = connect(&server, "https", &first).unwrap();
    assert!(play(&mut old).starts_with("HTTP/1.1 200 OK\r\n"));
    connect(&server, "rtmps", &first).unwrap();
    connect(&server, "https", &second).unwrap_err();

    second.write(&dir);
    server.signal(libc::SIGHUP);
    server.reloaded();
    connect(&server, "https", &second).unwrap();
    connect(&server, "https", &first).unwrap_err();
    let mut more = vec![0; 100_000];
    old.read_exact(&mut more).unwrap();

    dir.write("key.pem", &first.key);
    server.signal(libc::SIGHUP);
    let line = server.log_line("server::reload");
    assert!(line.contains("reload refused") && line.contains("is not the key of"), "{line}");
    connect(&server, "https", &second).unwrap();

    Pair::expired().write(&dir);
    server.signal(libc::SIGHUP);
    server.reloaded();
    server.log_line("the certificate is expired");

    let metrics = get(server.addr("control"), "/metrics", "");
    for part in [
        "grandstand_tls_failures_total{shard=\"0\",reason=\"refused\"}",
        "grandstand_tls_handshakes_total{",
        "grandstand_tls_buffer_bytes{",
    ] {
        assert!(metrics.contains(part), "{part}");
    }
    // Without a certificate the listeners close.
    dir.write("g.toml", "[auth]\nmode = \"open\"\n");
    server.signal(libc::SIGHUP);
    server.reloaded();
}

#[test]
fn every_wrong_file_has_its_line() {
    let dir = Dir::new("tls-wrong");
    let (pair, other) = (Pair::new(), Pair::new());
    let line = |text: &str| {
        dir.write("g.toml", text);
        failure(&mut dir.command(&["check", "--config", "g.toml"]), 1)
    };
    let wrong = |what: &str| assert_eq!(line(FILE), format!("grandstand: g.toml:{what}"));
    wrong("6: tls.certificate: cannot read cert.pem: no such file or directory; check the path");
    pair.write(&dir);
    dir.write("key.pem", &other.key);
    wrong(
        "7: tls.key: key.pem is not the key of cert.pem; name the key that the certificate was \
         made with",
    );
    dir.write("key.pem", &pair.certificate);
    wrong("7: tls.key: key.pem holds no key that is not encrypted; name a PEM file with one");
    pair.write(&dir);
    dir.write("cert.pem", &pair.key);
    wrong("6: tls.certificate: cert.pem holds no certificate; name a PEM file with one");
    dir.write("cert.pem", &pair.certificate.replace("MII", "!!!"));
    let line_of = line(FILE);
    assert!(line_of.contains("g.toml:6: tls.certificate: cert.pem is not PEM: "), "{line_of}");
    let alone = FILE.replace("key = \"key.pem\"\n", "");
    assert_eq!(
        line(&alone),
        "grandstand: g.toml:6: tls.certificate: tls.key is missing; set tls.key too"
    );
    assert_eq!(
        line("[auth]\nmode = \"open\"\n[listeners.rtmps]\nenabled = true\n"),
        "grandstand: g.toml:4: listeners.rtmps.enabled: there is no certificate; set \
         tls.certificate and tls.key"
    );
}

#[test]
fn check_tells_what_tls_costs_and_what_clients_will_refuse() {
    let dir = Dir::new("tls-check");
    Pair::expired().write(&dir);
    dir.write("g.toml", FILE);
    let (code, out, _) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert_eq!(code, Some(0));
    for part in ["\nTLS ", "\nTLS sends ", "note: cert.pem: the certificate is expired"] {
        assert!(out.contains(part), "{part:?}\n{out}");
    }
}
