//! Behind HAProxy: the sessions and the security log tell of clients, not of the balancer, by
//! either version of the PROXY protocol, inside TLS or not, and by `X-Forwarded-For`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clip::{Clip, FFMPEG};
use crate::http_flv::{Answer, Endpoint, get};
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(20);
/// Where the balancer connects from; clients are at 127.0.0.1.
const BALANCER: &str = "127.0.0.9";

/// A running balancer of one listener.
struct Balancer {
    addr: SocketAddr,
    _process: Process,
}

impl Balancer {
    /// Passes connections on to `node`; `how` says in which mode, and with which heads.
    fn start(folder: &Path, name: &str, node: SocketAddr, (mode, heads): (&str, &str)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let file = folder.join(format!("{name}.cfg"));
        let forwarded = if mode == "http" { "    option forwardfor\n" } else { "" };
        // The listener is its standard input, so that no port is chosen twice.
        let text = format!(
            "defaults\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n\
             listen {name}\n    mode {mode}\n{forwarded}    bind fd@0\n    \
             server node {node} source {BALANCER} {heads}\n"
        );
        std::fs::write(&file, text).expect("the test's folder can be written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        let process = Process::start_on(&mut command, OwnedFd::from(listener).into());
        Self { addr, _process: process }
    }
}

/// A server that believes the balancer.
fn start() -> Server {
    let folder = Folder::new();
    let certificate = tls::certify(folder.path());
    let options = Options { tls: true, ..Options::on(Backend::Auto) };
    let mut command = options.command(&folder);
    for (name, value) in [
        ("SESSION__PROXIES", BALANCER),
        ("LISTENERS__RTMP__PROXY_PROTOCOL", "true"),
        ("LISTENERS__HTTPS__PROXY_PROTOCOL", "true"),
        ("LISTENERS__CONTROL__PROXY_PROTOCOL", "true"),
        ("LOG__SECURITY_FILE", "security.log"),
    ] {
        command.env(format!("GRANDSTAND_{name}"), value);
    }
    Server::run_with(&mut command, folder, certificate)
}

/// The sessions of that protocol, once there is one of the stream.
fn sessions(server: &Server, filter: &str) -> Vec<Value> {
    let path = format!("/api/v1/sessions?stream=cam&{filter}");
    let listed = |answer: &Value| answer["sessions"].as_array().is_some_and(|all| !all.is_empty());
    let answer = server.api_until(&path, listed);
    answer["sessions"].as_array().cloned().unwrap_or_default()
}

fn assert_of_a_client(server: &Server, filter: &str) {
    for session in sessions(server, filter) {
        let peer = session["peer"].as_str().unwrap_or_default();
        assert!(peer.starts_with("127.0.0.1:"), "{filter}: {session:#}");
    }
}

/// A line of the security log with that text.
fn security_line(server: &Server, part: &str) -> Value {
    let (file, deadline) = (server.folder().join("security.log"), Instant::now() + PATIENCE);
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        if let Some(line) = complete.lines().find(|line| line.contains(part)) {
            return serde_json::from_str(line).expect("a line is JSON");
        }
        assert!(Instant::now() < deadline, "no {part} in the security log:\n{text}");
        // Looked at again when its writer had the processor for a moment.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// What is answered to somebody who says he is a balancer, and whom nobody believes.
fn forged(to: SocketAddr) -> String {
    let mut stream = TcpStream::connect(to).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    write!(stream, "PROXY TCP4 198.51.100.7 127.0.0.1 5000 80\r\n{request}").expect("it reads");
    let mut answer = Vec::new();
    // It may be closed before everything was read.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn clients_behind_haproxy_are_told_by_their_own_addresses() {
    let server = start();
    let folder = server.folder();
    let balancer = |name, node, how| Balancer::start(folder, name, node, how);
    let first = balancer("rtmp-1", server.rtmp, ("tcp", "send-proxy"));
    let second = balancer("rtmp-2", server.rtmp, ("tcp", "send-proxy-v2"));
    let http = balancer("http", server.http, ("http", ""));
    let secure = server.web(true);
    let https = balancer("https", secure.addr, ("tcp", "send-proxy-v2"));
    let control = balancer("control", server.control, ("tcp", "send-proxy"));

    let _publisher =
        Publisher::ffmpeg_endless(Clip::H264, &format!("rtmp://{}/live/cam", first.addr));
    assert_of_a_client(&server, "role=publish");
    let mut player = Command::new(FFMPEG);
    let url = format!("rtmp://{}/live/cam", second.addr);
    player.args(["-hide_banner", "-nostdin", "-i", &url, "-c", "copy", "-f", "null", "-"]);
    let _player = Process::start(&mut player);
    assert_of_a_client(&server, "protocol=rtmp&role=play");
    let plain = Answer::request(http.addr, "/cam.flv", "");
    assert_eq!(plain.status, 200);
    // The client's own word about somebody else stays behind that of the balancer.
    let renamed = Answer::request(http.addr, "/cam.flv", "X-Forwarded-For: 198.51.100.7\r\n");
    assert_eq!(renamed.status, 200);
    let inside = Endpoint { addr: https.addr, certificate: secure.certificate };
    let inside = Answer::request(&inside, "/cam.flv", "");
    assert_eq!(inside.status, 200);
    let whole = |answer: &Value| answer["sessions"].as_array().is_some_and(|all| all.len() == 3);
    server.api_until("/api/v1/sessions?stream=cam&protocol=http-flv", whole);
    assert_of_a_client(&server, "protocol=http-flv");

    let guess = "Authorization: Bearer a-guess-of-this-very-test\r\n";
    assert_eq!(get(control.addr, "/api/v1/shards", guess).0, 401);
    let line = security_line(&server, "api_auth_failed");
    assert_eq!(
        (line["addr"].as_str(), line["listener"].as_str()),
        (Some("127.0.0.1"), Some("control"))
    );
    // A head of somebody else is no head.
    let answer = forged(server.control);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    forged(server.rtmp);
    let line = security_line(&server, "malformed");
    assert_eq!(
        (line["addr"].as_str(), line["listener"].as_str()),
        (Some("127.0.0.1"), Some("rtmp"))
    );
    let log = std::fs::read_to_string(server.folder().join("security.log")).expect("it is there");
    for never in ["a-guess-of-this-very-test", "198.51.100.7", BALANCER] {
        assert!(!log.contains(never), "{log}");
    }
    // Who comes without a balancer comes as he is.
    assert_eq!(get(server.control, "/healthz", "").0, 200);
    drop((plain, renamed, inside));
    server.stop();
}
