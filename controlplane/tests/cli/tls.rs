//! Certificates: wrong files have their line, a renewed one is for new connections, each name has
//! its own; the API, its pages and its commands inside TLS.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::pki_types::CertificateDer;

use crate::program::{Dir, PATIENCE, Server, failure, get, output};
use crate::secure::{Secure, connect_by};

/// A certificate for `localhost`, and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::named(&["localhost"])
    }

    fn named(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Self::of(rcgen::CertificateParams::new(names).unwrap())
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

    pub(crate) fn write(&self, dir: &Dir) {
        self.write_as(dir, "cert.pem", "key.pem");
    }

    fn write_as(&self, dir: &Dir, certificate: &str, key: &str) {
        dir.write(certificate, &self.certificate);
        dir.write(key, &self.key);
    }
}

const FILE: &str = "[auth]\nmode = \"open\"\n[demo]\nenabled = true\n[tls]\n\
                    certificate = \"cert.pem\"\nkey = \"key.pem\"\n";

/// A connection to `listener` by a client that trusts `pair`.
fn connect(server: &Server, listener: &str, pair: &Pair) -> std::io::Result<Secure> {
    connect_as(server, listener, pair, "localhost")
}

/// As [`connect`], to the server of that name.
fn connect_as(server: &Server, listener: &str, pair: &Pair, name: &str) -> std::io::Result<Secure> {
    connect_by(server.addr(listener), &pair.der, name)
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
        "grandstand_certificate_not_after_seconds{name=\"default\"} 1009843200\n",
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
         tls.certificate and tls.key, or acme.domains"
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

/// The same, with the API inside TLS beside the one without, and a look at the files each moment.
fn api_file() -> String {
    FILE.replace("[tls]\n", "[listeners.control_tls]\nenabled = true\n[tls]\ncheck_ms = 20\n")
}

/// What `curl` says of `path` of the API inside TLS, which it knows by `ca`.
fn curl(dir: &Dir, server: &Server, ca: &str, path: &str, more: &[&str]) -> (Option<i32>, String) {
    let port = server.addr("control_tls").port();
    let mut command = std::process::Command::new("curl");
    command.current_dir(&dir.0).args(["-sS", "--max-time", "20", "--cacert", ca]).args(more);
    command.arg(format!("https://localhost:{port}{path}"));
    let (code, out, error) = output(&mut command);
    (code, out + &error)
}

/// The next answer on a kept connection.
fn ask(stream: &mut Secure, path: &str, token: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reply.push(byte[0]);
    }
    let head = String::from_utf8(reply).unwrap();
    let length = head.to_ascii_lowercase();
    let (_, length) = length.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Asks how the node is until `part` is in the answer, or not in it.
fn health(stream: &mut Secure, token: &str, part: &str, there: bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let told = ask(stream, "/api/v1/health", token);
        if told.contains(part) == there {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{part} {there}: {told}");
        std::thread::yield_now();
    }
}

#[test]
fn the_api_is_inside_tls_and_a_renewal_needs_no_signal() {
    let dir = Dir::new("tls-api");
    let (first, second) = (Pair::new(), Pair::new());
    first.write(&dir);
    dir.write("first.pem", &first.certificate);
    dir.write("second.pem", &second.certificate);
    dir.write("g.toml", &api_file());
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(server.banner.contains("/api/v1/   https://127.0.0.1:"), "{}", server.banner);
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let token = token.trim();
    let bearer = format!("Authorization: Bearer {token}");
    for (path, part) in [
        ("/healthz", "ok"),
        ("/api/v1/version", "version"),
        ("/api/v1/shards", "\"shards\""),
        ("/metrics", "grandstand_control_connections "),
        ("/", "<title>"),
    ] {
        let (code, told) = curl(&dir, &server, "first.pem", path, &["-H", &bearer]);
        assert!(code == Some(0) && told.contains(part), "{path}: {code:?} {told}");
    }
    let (_, refused) = curl(&dir, &server, "first.pem", "/api/v1/shards", &[]);
    assert!(refused.contains("unauthorized"), "{refused}");
    let (_, refused) = curl(&dir, &server, "first.pem", "/commands/capacity", &[]);
    assert!(!refused.is_empty(), "commands are there");
    let (code, told) = curl(&dir, &server, "second.pem", "/healthz", &[]);
    assert_eq!(code, Some(60), "a stranger's certificate is not believed: {told}");
    // Beside it, the one without TLS.
    assert!(get(server.addr("control"), "/healthz", "").contains("ok"));
    // Who speaks no TLS there is not answered, and not waited for.
    let mut plain = TcpStream::connect(server.addr("control_tls")).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut told = Vec::new();
    let _ = plain.read_to_end(&mut told);
    assert!(!told.starts_with(b"HTTP/1.1 200"), "{told:?}");

    let mut kept = connect(&server, "control_tls", &first).unwrap();
    let mut media = connect(&server, "https", &first).unwrap();
    assert!(play(&mut media).starts_with("HTTP/1.1 200 OK\r\n"));
    health(&mut kept, token, "certificate_", false);
    // A half-done renewal: the old certificate stays, and whoever asks is told why.
    dir.write("key.pem", &second.key);
    server.log_line("certificates refused, those in force are kept");
    health(&mut kept, token, "certificate_refused", true);
    health(&mut kept, token, "key.pem is not the key of cert.pem", true);
    connect(&server, "control_tls", &first).unwrap();
    dir.write("cert.pem", &second.certificate);
    server.log_line("the certificates were read again");
    health(&mut kept, token, "certificate_refused", false);
    connect(&server, "control_tls", &second).unwrap();
    connect(&server, "control_tls", &first).unwrap_err();
    server.settled();
    connect(&server, "https", &second).unwrap();
    connect(&server, "rtmps", &first).unwrap_err();
    media.read_exact(&mut vec![0; 100_000]).unwrap();

    Pair::expired().write(&dir);
    health(&mut kept, token, "certificate_doubt", true);
    second.write(&dir);
    health(&mut kept, token, "certificate_doubt", false);
    // SIGHUP does the same for those who look at nothing.
    first.write(&dir);
    server.signal(libc::SIGHUP);
    server.reloaded();
    connect(&server, "control_tls", &first).unwrap();
    assert!(ask(&mut kept, "/healthz", token).contains("ok"), "the connection was kept");
}

#[test]
fn each_name_has_its_certificate_and_the_first_is_for_all_others() {
    let dir = Dir::new("tls-names");
    let first = Pair::named(&["localhost", "elsewhere.example"]);
    let edge = Pair::named(&["edge.example", "localhost"]);
    let below = Pair::named(&["*.live.example"]);
    first.write(&dir);
    edge.write_as(&dir, "edge.pem", "edge.key");
    below.write_as(&dir, "below.pem", "below.key");
    let also = "[[tls.also]]\nnames = [\"edge.example\"]\ncertificate = \"edge.pem\"\n\
                key = \"edge.key\"\n[[tls.also]]\nnames = [\"*.Live.example\"]\n\
                certificate = \"below.pem\"\nkey = \"below.key\"\n";
    dir.write("g.toml", &(api_file() + also));
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    for listener in ["rtmps", "https", "control_tls"] {
        let shown = |name: &str, pair: &Pair| connect_as(&server, listener, pair, name).is_ok();
        assert!(shown("edge.example", &edge), "{listener}");
        assert!(shown("a.live.example", &below) && shown("B.LIVE.example", &below), "{listener}");
        assert!(shown("elsewhere.example", &first), "{listener}");
        // Another one of that name, but not for it here.
        assert!(shown("localhost", &first) && !shown("localhost", &edge), "{listener}");
    }
    let mut media = connect_as(&server, "https", &edge, "edge.example").unwrap();
    assert!(play(&mut media).starts_with("HTTP/1.1 200 OK\r\n"));
    let metrics = get(server.addr("control"), "/metrics", "");
    for name in ["default", "edge.example", "*.live.example"] {
        let sample = format!("grandstand_certificate_not_after_seconds{{name=\"{name}\"}} ");
        assert_eq!(metrics.matches(&sample).count(), 1, "{name}: {metrics}");
    }

    dir.write("g.toml", &(FILE.to_owned() + &also.replace("edge.key", "below.key")));
    let line = failure(&mut dir.command(&["check", "--config", "g.toml"]), 1);
    assert!(line.contains("tls.also: below.key is not the key of edge.pem; "), "{line}");
    dir.write("g.toml", &(FILE.to_owned() + &also.replace("edge.example", "other.example")));
    let (code, out, _) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert!(code == Some(0) && out.contains("note: edge.pem is not for other.example"), "{out}");
}

#[test]
fn top_asks_inside_tls_whom_it_has_a_reason_to_believe() {
    let dir = Dir::new("tls-top");
    let (pair, stranger) = (Pair::new(), Pair::new());
    pair.write(&dir);
    dir.write("ca.pem", &pair.certificate);
    dir.write("stranger.pem", &stranger.certificate);
    dir.write("g.toml", &api_file());
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let port = server.addr("control_tls").port();
    let url = format!("https://localhost:{port}");
    let token = "grandstand-data/api-token";
    let top = |more: &[&str]| {
        let mut args = vec!["top", "--once", "--url", &url, "--token-file", token];
        args.extend(more);
        output(&mut dir.command(&args))
    };
    for more in [&["--ca", "ca.pem"][..], &["--insecure"]] {
        let (code, out, error) = top(more);
        let first = format!("grandstand top  localhost:{port}");
        assert!(code == Some(0) && out.starts_with(&first), "{more:?}: {out}{error}");
    }
    for more in [&["--ca", "stranger.pem"][..], &[]] {
        let (code, _, error) = top(more);
        assert!(code == Some(1) && error.contains("--ca"), "{more:?}: {error}");
    }
    // By the configuration alone, where there is nothing but TLS: the very certificate is known.
    let port = port.to_string();
    let only = api_file() + "[listeners.control]\nenabled = false\n";
    dir.write("only.toml", &only);
    dir.write("other.toml", &only.replace("cert.pem", "stranger.pem"));
    let configured = |file: &str| {
        let mut command = dir.command(&["--config", file, "top", "--once"]);
        command.env("GRANDSTAND_LISTENERS__CONTROL_TLS__ADDR", format!("127.0.0.1:{port}"));
        output(&mut command)
    };
    let (code, out, error) = configured("only.toml");
    assert!(code == Some(0) && out.starts_with("grandstand top  127.0.0.1:"), "{out}{error}");
    let (code, _, error) = configured("other.toml");
    assert!(code == Some(1), "another certificate than the configured one: {error}");
}

#[test]
fn the_api_inside_tls_needs_a_certificate_and_can_be_alone() {
    let dir = Dir::new("tls-alone");
    dir.write("g.toml", "[auth]\nmode = \"open\"\n[listeners.control_tls]\nenabled = true\n");
    assert_eq!(
        failure(&mut dir.command(&["check", "--config", "g.toml"]), 1),
        "grandstand: g.toml:4: listeners.control_tls.enabled: there is no certificate; set \
         tls.certificate and tls.key, or acme.domains"
    );
    let pair = Pair::new();
    pair.write(&dir);
    dir.write("g.toml", &(api_file() + "[listeners.control]\nenabled = false\n"));
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(!server.banner.contains("control 127"), "{}", server.banner);
    assert!(server.banner.contains("API        https://"), "{}", server.banner);
    connect(&server, "control_tls", &pair).unwrap();
}
