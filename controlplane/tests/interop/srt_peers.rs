//! Peers of SRT that a node calls by itself: another node, and libsrt's own programs as listeners.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::clip::{Clip, FFMPEG};
use crate::player::Player;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Server};
use crate::srt::{PASSPHRASE, serve_at_once, session, srt, start};
use crate::transport;

/// What libsrt's programs do with a connection is over by then.
const END: Duration = Duration::from_secs(60);
const SHORT_GRACE: &str = "[stream]\ngrace_ms = 1000\n";

/// A port of this host that nobody listens on.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the system has ports");
    socket.local_addr().expect("it is bound").port()
}

/// Declares a stream; its peers as they are shown are waited for until `is` holds.
fn declare(server: &Server, name: &str, spec: &Value) {
    let (status, answer) = server.send("PUT", &format!("/api/v1/streams/{name}"), spec);
    assert!((200..300).contains(&status), "{status}: {answer:#}");
}

/// Waits until a peer of a stream has a status.
fn peer(server: &Server, name: &str, kind: &str, status: &str) -> Value {
    let shown = server.api_until(&format!("/api/v1/streams/{name}"), |stream| {
        stream[kind][0]["status"] == status
    });
    shown[kind][0].clone()
}

fn nodes(backend: Backend) {
    let secret = format!("passphrase={PASSPHRASE}&pbkeylen=24");
    let source = start(backend, &format!("[srt]\npassphrase = \"{PASSPHRASE}\"\n"));
    let edge = start(backend, SHORT_GRACE);
    let (source_at, edge_at) = (srt(&source), srt(&edge));
    let push = format!("srt://{edge_at}?streamid=%23!::r=pushed,m=publish");
    declare(
        &source,
        "studio",
        &json!({
            "inputs": [{"url": "publish://"}],
            "push": [{"url": push, "enabled": true}],
        }),
    );
    let pull = format!("srt://{source_at}?mode=caller&streamid=read:studio&{secret}");
    declare(&edge, "copy", &json!({"inputs": [{"url": pull}]}));
    let waits = peer(&source, "studio", "pushes", "waiting");
    assert_eq!(waits["url"], push);
    let refused = edge.api_until("/api/v1/streams/copy", |stream| {
        stream["pulls"][0]["errors"].as_array().is_some_and(|errors| !errors.is_empty())
    });
    let error = refused["pulls"][0]["errors"][0].as_str().expect("it is a text").to_owned();
    assert_eq!(error, "the peer refuses with 1404 (no such stream)");
    assert!(!refused.to_string().contains(PASSPHRASE), "{refused:#}");

    let publisher = Publisher::ffmpeg(Clip::H264, &source.rtmp_url("studio"));
    peer(&source, "studio", "pushes", "active");
    peer(&edge, "copy", "pulls", "active");
    let seen = session(&edge, |s| s["stream"] == "copy" && s["bytes_in"].as_u64() > Some(10_000));
    assert_eq!(seen["peer"], source_at.to_string());
    let players = ["copy", "pushed"].map(|name| Player::start(Client::PLAIN, &edge, name));
    let published = publisher.finish();
    for player in players {
        let (who, got) = player.finish();
        got.assert_played(&published, &format!("{who:?}"));
    }
    peer(&source, "studio", "pushes", "waiting");
    assert!(!source.log().contains(PASSPHRASE) && !edge.log().contains(PASSPHRASE));
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("pulls"), 1.0);
    edge.stop();
    source.stop();
}

/// A program of libsrt that listens, and what it writes.
struct Listener {
    process: Process,
    file: PathBuf,
}

impl Listener {
    fn transmit(server: &Server, port: u16, query: &str) -> Self {
        let file = server.folder().join(format!("{port}.ts"));
        let url = format!("srt://127.0.0.1:{port}?mode=listener&{query}");
        let script =
            format!("exec srt-live-transmit -a:no -q '{url}' file://con >'{}'", file.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        Self { process: Process::start(&mut command), file }
    }

    fn ffmpeg(server: &Server, port: u16) -> Self {
        let file = server.folder().join(format!("{port}.ts"));
        let url = format!("srt://127.0.0.1:{port}?mode=listener");
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-i", &url]);
        command.args(["-map", "0", "-c", "copy", "-f", "mpegts"]).arg(&file);
        Self { process: Process::start(&mut command), file }
    }

    fn finish(mut self) -> Vec<u8> {
        self.process.wait(END);
        fs::read(&self.file).expect("it wrote a file")
    }
}

#[test]
fn libsrt_listens_for_what_is_pushed() {
    let server = serve_at_once("");
    let [plain, encrypted, ffmpeg] = [free_port(), free_port(), free_port()];
    let transmit = [
        Listener::transmit(&server, plain, ""),
        Listener::transmit(&server, encrypted, &format!("passphrase={PASSPHRASE}&pbkeylen=32")),
    ];
    let converted = Listener::ffmpeg(&server, ffmpeg);
    let secret = PASSPHRASE.replace(' ', "%20");
    let push = |url: String| json!({"url": url, "enabled": true});
    let spec = json!({
        "inputs": [{"url": "publish://"}],
        "push": [
            push(format!("srt://127.0.0.1:{plain}")),
            push(format!("srt://127.0.0.1:{encrypted}?passphrase={secret}&pbkeylen=32")),
            push(format!("srt://127.0.0.1:{ffmpeg}?latency=300")),
        ],
    });
    declare(&server, "studio", &spec);
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    server.api_until("/api/v1/streams/studio", |stream| {
        let pushes = stream["pushes"].as_array().map_or(&[][..], Vec::as_slice);
        pushes.len() == 3 && pushes.iter().all(|push| push["status"] == "active")
    });
    let published = publisher.finish();
    for listener in transmit {
        let stream = listener.finish();
        transport::media(&stream, "srt-live-transmit").assert_played(&published, "it listened");
    }
    assert!(converted.finish().len() > 20_000, "ffmpeg took it");
    server.stop();
}

#[test]
fn libsrt_meets_who_pulls_and_who_pushes() {
    let server = serve_at_once("");
    let secret = format!("passphrase={PASSPHRASE}&pbkeylen=16");
    let ours = format!("passphrase={}&pbkeylen=16", PASSPHRASE.replace(' ', "%20"));
    let [pushed, pulled] = [free_port(), free_port()];
    let file = server.folder().join("met.ts");
    let url = format!("srt://127.0.0.2:{pushed}?mode=rendezvous&adapter=127.0.0.1&{secret}");
    let script =
        format!("exec srt-live-transmit -a:no -q '{url}' file://con >'{}'", file.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut player = Process::start(&mut command);
    let at = |port: u16| format!("srt://127.0.0.1:{port}?mode=rendezvous&adapter=127.0.0.2&{ours}");
    let spec = json!({
        "inputs": [{"url": "publish://"}],
        "push": [{"url": at(pushed), "enabled": true}],
    });
    declare(&server, "studio", &spec);
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    peer(&server, "studio", "pushes", "active");
    let published = publisher.finish();
    player.wait(END);
    let stream = fs::read(&file).expect("it wrote a file");
    transport::media(&stream, "srt-live-transmit").assert_played(&published, "it was met");

    declare(&server, "field", &json!({"inputs": [{"url": at(pulled)}]}));
    let url = format!(
        "srt://127.0.0.2:{pulled}?mode=rendezvous&localaddr=127.0.0.1&localport={pulled}\
         &pkt_size=1316&{secret}"
    );
    let script = format!(
        "{FFMPEG} -hide_banner -loglevel warning -nostdin -re -stream_loop -1 -i '{}' -map 0 \
         -c copy -f mpegts - | exec srt-live-transmit -a:no -q file://con '{}'",
        Clip::Small.file().display(),
        url.replace("localaddr", "adapter")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let _encoder = Process::start(&mut command);
    session(&server, |s| s["stream"] == "field" && s["bytes_in"].as_u64() > Some(5_000));
    peer(&server, "field", "pulls", "active");
    server.stop();
}

#[test]
fn libsrt_listens_for_who_pulls_and_is_called_again_when_it_is_back() {
    let server = serve_at_once("[stream]\ngrace_ms = 30000\n");
    let port = free_port();
    let secret = PASSPHRASE.replace(' ', "%20");
    let encoder = |secret: &str| {
        let url = format!("srt://127.0.0.1:{port}?mode=listener&pkt_size=1316&passphrase={secret}");
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-re"]);
        command.args(["-stream_loop", "-1", "-i"]).arg(Clip::Small.file());
        command.args(["-map", "0", "-c", "copy", "-f", "mpegts", &url]);
        Process::start(&mut command)
    };
    let mut first = encoder(PASSPHRASE);
    let url = |secret: &str| {
        let url = format!("srt://127.0.0.1:{port}?mode=caller&passphrase={secret}&conntimeo=1000");
        json!({"inputs": [{"url": url}]})
    };
    declare(&server, "field", &url("another%20horse%20battery"));
    let refused = server.api_until("/api/v1/streams/field", |stream| {
        stream["pulls"][0]["errors"].as_array().is_some_and(|errors| !errors.is_empty())
    });
    let error = refused["pulls"][0]["errors"][0].as_str().expect("it is a text");
    assert!(error.contains("passphrases differ"), "{error}");
    declare(&server, "field", &url(&secret));
    let delivers = |s: &Value| s["stream"] == "field" && s["bytes_in"].as_u64() > Some(5_000);
    let before = session(&server, delivers);
    assert_eq!(before["role"], "publish");
    // It is killed, and says nothing.
    first.signal("KILL");
    first.wait(END);
    peer(&server, "field", "pulls", "reconnecting");
    let _second = encoder(PASSPHRASE);
    let after = session(&server, |s| delivers(s) && s["id"] != before["id"]);
    assert_eq!(after["protocol"], "srt");
    peer(&server, "field", "pulls", "active");
    server.stop();
}

on_both_backends! { nodes }
