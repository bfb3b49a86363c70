//! Servers of RTMP that a node plays from by itself: another node, ffmpeg as a server, and servers
//! that do not do as they should.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::thread;

use codecs::amf0::Value as Amf;
use codecs::rtmp::command::{Command, Level, code, error, info, result, status};
use serde_json::{Value, json};

use crate::client::{Client, Tool, Way};
use crate::clip::{Clip, FFMPEG};
use crate::player::Player;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};
use crate::srt::session;
use crate::tls;

const GRACE: &str = "[stream]\ngrace_ms = 30000\n";

fn start(backend: Backend, config: &str) -> Server {
    Server::start(&Options { config: config.to_owned(), ..Options::on(backend) })
}

/// The stream is pulled from these addresses from now on.
fn pull(server: &Server, name: &str, inputs: &[Value]) {
    let inputs: Vec<_> = (0..).zip(inputs).map(|(at, input)| with_priority(input, at)).collect();
    let path = format!("/api/v1/streams/{name}");
    let (status, answer) = server.send("PUT", &path, &json!({ "inputs": inputs }));
    assert!((200..300).contains(&status), "{status}: {answer:#}");
}

fn with_priority(input: &Value, priority: u32) -> Value {
    let mut input = input.clone();
    input["priority"] = priority.into();
    input
}

/// An address of this host that a node does not take for its own.
fn at(port: u16, path: &str) -> Value {
    json!({ "url": format!("rtmp://localhost:{port}/{path}") })
}

/// Waits until the first pull of a stream has a status.
fn until(server: &Server, name: &str, status: &str) -> Value {
    let path = format!("/api/v1/streams/{name}");
    let shown = server.api_until(&path, |stream| stream["pulls"][0]["status"] == status);
    shown["pulls"][0].clone()
}

/// Waits until an error of the first pull of a stream says something.
fn until_error(server: &Server, name: &str, says: &str) -> Value {
    let has = |stream: &Value| {
        let errors = stream["pulls"][0]["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().any(|error| error.as_str().is_some_and(|error| error.contains(says)))
    };
    server.api_until(&format!("/api/v1/streams/{name}"), has)
}

fn nodes(backend: Backend) {
    let source = start(backend, "");
    let edge = start(backend, GRACE);
    let port = source.rtmp.port();
    pull(&edge, "copy", &[at(port, "live/studio?key=hunter2")]);
    let refused = until_error(&edge, "copy", "NetStream.Play.StreamNotFound");
    let shown = format!("rtmp://localhost:{port}/live/***?***");
    assert_eq!(refused["pulls"][0]["url"], shown);
    assert!(!refused.to_string().contains("hunter2"), "{refused:#}");
    let publisher = Publisher::ffmpeg(Clip::H264, &source.rtmp_url("studio"));
    until(&edge, "copy", "active");
    let seen = session(&edge, |s| s["stream"] == "copy" && s["bytes_in"].as_u64() > Some(10_000));
    assert_eq!((&seen["role"], &seen["protocol"]), (&json!("publish"), &json!("rtmp")));
    let ways = [Way::Rtmp, Way::Flv, Way::Hls];
    let players = ways.map(|way| Player::start(Client(Tool::Ffmpeg, way), &edge, "copy"));
    // Nobody else may publish it meanwhile.
    Publisher::ffmpeg(Clip::Small, &edge.rtmp_url("copy")).is_refused();
    let published = publisher.finish();
    until_error(&edge, "copy", "the stream ended there");
    edge.send("DELETE", "/api/v1/streams/copy", &Value::Null);
    for player in players {
        let (who, got) = player.finish();
        got.assert_played(&published, &format!("{who:?}"));
    }
    assert!(!edge.log().contains("hunter2"));
    edge.stop();
    source.stop();
}

/// A pull inside TLS: the certificate is checked, or is not if that is said.
fn nodes_inside_tls(backend: Backend) {
    let source = start_tls(backend);
    let folder = Folder::new();
    let mut command = Options::on(backend).command(&folder);
    command.env("SSL_CERT_FILE", source.folder().join("certificate.pem"));
    let edge = Server::run(&mut command, folder);
    let stranger = start(backend, "");
    let url = source.rtmps_url("studio").replace("127.0.0.1", "localhost");
    let publisher = Publisher::ffmpeg(Clip::H264, &source.rtmp_url("studio"));
    pull(&edge, "copy", &[json!({ "url": url })]);
    pull(&stranger, "copy", &[json!({ "url": url })]);
    until(&edge, "copy", "active");
    until_error(&stranger, "copy", "does not prove by its certificate");
    pull(&stranger, "copy", &[json!({ "url": url, "net": { "insecure_tls": true } })]);
    until(&stranger, "copy", "active");
    let seen = session(&edge, |s| s["stream"] == "copy" && s["bytes_in"].as_u64() > Some(10_000));
    assert_eq!(seen["tls"], "1.3");
    let players = [&edge, &stranger].map(|node| Player::start(Client::PLAIN, node, "copy"));
    let published = publisher.finish();
    for node in [&edge, &stranger] {
        until_error(node, "copy", "the stream ended there");
        node.send("DELETE", "/api/v1/streams/copy", &Value::Null);
    }
    for player in players {
        let (who, got) = player.finish();
        got.assert_played(&published, &format!("{who:?}"));
    }
    let plain = format!("rtmps://localhost:{}/live/studio", source.rtmp.port());
    pull(&edge, "plain", &[json!({ "url": plain })]);
    until_error(&edge, "plain", "the peer closed the connection");
    [edge, stranger, source].into_iter().for_each(Server::stop);
}

/// Servers that are not who they are taken for: the certificate of one is of another host, and a
/// node has no authority to ask, until there is one.
fn nobody_vouches(backend: Backend) {
    let folder = Folder::new();
    let certificate = tls::certify_as(folder.path(), "origin.example");
    let mut command = Options { tls: true, ..Options::on(backend) }.command(&folder);
    let other = Server::run_with(&mut command, folder, certificate);
    let source = start_tls(backend);
    let [known, its] = [&source, &other].map(|server| server.folder().join("certificate.pem"));
    let known = fs::read_to_string(known).expect("the test wrote it");
    let its = fs::read_to_string(its).expect("the test wrote it");
    let folder = Folder::new();
    let authorities = folder.path().join("authorities.pem");
    fs::write(&authorities, "").expect("the test's folder can be written");
    let mut command = Options::on(backend).command(&folder);
    command.env("SSL_CERT_FILE", &authorities).env_remove("SSL_CERT_DIR");
    let node = Server::run(&mut command, folder);
    let [good, bad] = [&source, &other]
        .map(|server| server.rtmps_url("studio").replace("127.0.0.1", "localhost"));
    pull(&node, "good", &[json!({ "url": good })]);
    until_error(&node, "good", "this system trusts no certificate at all");
    fs::write(&authorities, known + &its).expect("the test's folder can be written");
    until_error(&node, "good", "NetStream.Play.StreamNotFound");
    pull(&node, "bad", &[json!({ "url": bad })]);
    until_error(&node, "bad", "does not prove by its certificate that it is that host");
    [node, other, source].into_iter().for_each(Server::stop);
}

fn start_tls(backend: Backend) -> Server {
    Server::start(&Options { tls: true, ..Options::on(backend) })
}

/// ffmpeg as a server, which plays a clip to one that comes.
fn ffmpeg(port: u16) -> Process {
    let mut command = process::Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-re"]);
    command.args(["-stream_loop", "-1", "-i"]).arg(Clip::Small.file());
    command.args(["-map", "0", "-c", "copy", "-f", "flv", "-listen", "1"]);
    command.arg(format!("rtmp://127.0.0.1:{port}/live/field"));
    Process::start(&mut command)
}

fn a_server_dies_and_comes_back(backend: Backend) {
    let node = start(backend, GRACE);
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has ports");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    pull(&node, "field", &[at(port, "live/field")]);
    until_error(&node, "field", "nobody listens there");
    let mut first = ffmpeg(port);
    let delivers = |s: &Value| s["stream"] == "field" && s["bytes_in"].as_u64() > Some(5_000);
    let before = session(&node, delivers);
    let player = Player::start(Client::RML, &node, "field");
    player.wait_for_media();
    first.signal("KILL");
    until(&node, "field", "reconnecting");
    let _second = ffmpeg(port);
    let after = session(&node, |s| delivers(s) && s["id"] != before["id"]);
    assert_eq!((&after["role"], &after["protocol"]), (&json!("publish"), &json!("rtmp")));
    let pulled = until(&node, "field", "active");
    assert_eq!(pulled["session"], after["id"]);
    node.send("DELETE", "/api/v1/streams/field", &Value::Null);
    let tags = player.tags();
    assert!(tags.len() > 10, "the player stayed");
    node.stop();
}

/// A server that answers each that comes with the same bytes, and then reads until it leaves.
fn scripted(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has ports");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for peer in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || converse(peer, &answer));
        }
    });
    port
}

fn converse(mut peer: TcpStream, answer: &[u8]) {
    let mut hello = vec![0; 1 + 1536];
    if peer.read_exact(&mut hello).is_ok() && peer.write_all(answer).is_ok() {
        // Until the node has had enough.
        while peer.read(&mut hello).is_ok_and(|read| read > 0) {}
    }
}

/// The server's half of a handshake, and more.
fn hello(more: &[u8]) -> Vec<u8> {
    [&[3][..], &[7; 3072], more].concat()
}

/// A message on chunk stream 3.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).expect("it is short").to_be_bytes();
    let mut written = [&[3, 0, 0, 0][..], &length, &[kind, 1, 0, 0, 0]].concat();
    for (at, chunk) in body.chunks(128).enumerate() {
        if at > 0 {
            written.push(0xc3);
        }
        written.extend(chunk);
    }
    written
}

fn command(command: &Command) -> Vec<u8> {
    let mut body = Vec::new();
    command.encode(&mut body);
    message(20, &body)
}

/// What a server says to one that plays, from the handshake on.
fn plays() -> Vec<u8> {
    let started = status::<&str>(Level::Status, code::PLAY_START, "", []);
    let answers = [
        result(1.0, Amf::Null, [info::<&str>(Level::Status, code::CONNECT_SUCCESS, "", [])]),
        result(2.0, Amf::Null, [Amf::Number(1.0)]),
        started,
    ];
    hello(&answers.iter().flat_map(command).collect::<Vec<_>>())
}

fn servers_that_give_the_key_away(backend: Backend) {
    let node = start(backend, "");
    let echoed = error(1.0, code::CONNECT_REJECTED, "no stream hunter2?key=hunter2 here");
    let place = Amf::object([("redirect", Amf::from("rtmp://origin.example/live/hunter2"))]);
    let description = "it is at rtmp://origin.example/live/hunter2";
    let moved = info(Level::Error, code::CONNECT_REJECTED, description, [("ex", place)]);
    let moved = Command { args: vec![moved], ..error(1.0, "", "") };
    for (name, answer, says) in [
        ("echoes", command(&echoed), "NetConnection.Connect.Rejected"),
        ("redirects", command(&moved), "the stream is at rtmp://origin.example/live/***;"),
    ] {
        pull(&node, name, &[at(scripted(hello(&answer)), "live/hunter2?key=hunter2")]);
        let shown = until_error(&node, name, says);
        assert!(!shown.to_string().contains("hunter2"), "{shown:#}");
    }
    assert!(!node.log().contains("hunter2"));
    node.stop();
}

/// The stream ends, and its server leaves the connection open: it is asked again.
fn a_server_ends_a_stream_and_stays(backend: Backend) {
    let node = start(backend, "");
    let over = status::<&str>(Level::Status, code::PLAY_UNPUBLISH_NOTIFY, "", []);
    // AAC of 44.1 kHz in stereo.
    let audio = [message(8, &[0xaf, 0, 0x12, 0x10]), message(8, &[0xaf, 1, 0x21, 0x10, 5])];
    let answer = [plays(), audio.concat(), command(&over)].concat();
    pull(&node, "short", &[at(scripted(answer), "live/x")]);
    let shown = until_error(&node, "short", "the stream ended there");
    assert_eq!(shown["pulls"][0]["status"], "reconnecting");
    let again = |stream: &Value| stream["pulls"][0]["attempt"].as_u64() > Some(1);
    node.api_until("/api/v1/streams/short", again);
    until_error(&node, "short", "the stream ended there");
    node.stop();
}

fn servers_that_misbehave(backend: Backend) {
    let node = start(backend, "[session]\npublish_idle_ms = 2000\n");
    // A message of 16 MB on chunk stream 3, of which nothing else comes.
    let huge = [&[3, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0][..], &[0; 128]].concat();
    let unreadable = "what the peer sends cannot be read";
    let cases = [
        ("silent", Vec::new(), "the server does not answer"),
        ("garbage", vec![0xaa; 4096], unreadable),
        ("nothing", hello(&[]), "the server does not answer"),
        ("huge", hello(&huge), "rtmp_message_bytes_max"),
        ("nonsense", hello(&[0xff; 4096]), unreadable),
    ];
    for (name, answer, says) in cases {
        let mut input = at(scripted(answer), "live/x");
        input["net"] = json!({ "timeout_sec": 1 });
        pull(&node, name, &[input]);
        until_error(&node, name, says);
        assert_eq!(node.api(&format!("/api/v1/streams/{name}"))["state"], "idle", "{name}");
    }
    let metrics = node.metrics();
    assert_eq!((metrics.sum("pulls"), metrics.sum("pulls_active")), (5.0, 0.0));
    assert_eq!(metrics.sum("panics_total"), 0.0);
    node.stop();
}

on_both_backends! {
    nodes
    nodes_inside_tls
    nobody_vouches
    a_server_ends_a_stream_and_stays
    servers_that_give_the_key_away
    a_server_dies_and_comes_back
    servers_that_misbehave
}
