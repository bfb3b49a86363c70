//! Transport streams in datagrams: ffmpeg sends them bare, in RTP, to hosts and to groups.

use std::io::BufRead;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Tool, Way};
use crate::clip::{Clip, FFMPEG, SECONDS};
use crate::http_flv::Answer;
use crate::player::Player;
use crate::process::Process;
use crate::server::{Backend, Server};
use crate::srt::{CLOCK_OFTEN, Receiver, start};
use crate::verify::Media;

/// How long an encoder may take beyond its clip.
const SLACK: Duration = Duration::from_secs(30);
/// A stream whose sender is silent is lost, and soon over.
const CONFIG: &str = "[session]\nplay_wait_ms = 30000\n[stream]\ngrace_ms = 1000\n";

/// ffmpeg sends clips as one transport stream, in real time.
struct Sender {
    process: Process,
    clips: Vec<Clip>,
}

impl Sender {
    /// Each clip is a program of its own if there are several.
    fn start(clips: &[Clip], format: &str, url: &str) -> Self {
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin"]);
        for clip in clips {
            command.arg("-re").arg("-i").arg(clip.file());
        }
        for input in 0..clips.len() {
            command.args(["-map", &input.to_string()]);
        }
        command.args(["-c", "copy"]);
        if clips.len() > 1 {
            for number in 0..clips.len() {
                let (first, second) = (2 * number, 2 * number + 1);
                let program = format!("program_num={}:st={first}:st={second}", number + 1);
                command.args(["-program", &program]);
            }
        }
        command.args(["-f", format]);
        if format == "mpegts" {
            command.args(CLOCK_OFTEN);
        }
        command.arg(url);
        Self { process: Process::start(&mut command), clips: clips.to_vec() }
    }

    /// Waits for the end and gives what was sent of each clip.
    fn finish(mut self) -> Vec<Media> {
        self.process.finish(Duration::from_secs(SECONDS.into()) + SLACK);
        self.clips.iter().map(|clip| Media::of_flv(&clip.bytes())).collect()
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.local_addr().expect("it is bound").port()
}

/// The events of these types, as they are told from now on.
pub(crate) fn events(server: &Server, types: &str) -> Answer {
    let authorization = format!("Authorization: Bearer {}\r\n", server.token());
    Answer::request(server.control, &format!("/api/v1/events?types={types}"), &authorization)
}

/// What is told next: its type, and what of it says `field`.
pub(crate) fn next_event(events: &mut Answer, field: &str) -> (String, Value) {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(events.body.read_line(&mut line).expect("events go on") > 0, "they end");
        let Some(event) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(event).expect("events are JSON");
        let kind = event["type"].as_str().expect("it has a type").to_owned();
        return (kind, event["data"][field].clone());
    }
}

/// The only input of a stream, once `is` holds of it.
fn input_until(server: &Server, stream: &str, is: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/streams/{stream}");
    server.api_until(&path, |answer| is(&answer["inputs"][0]))["inputs"][0].clone()
}

fn bare(backend: Backend) {
    let server = start(backend, CONFIG);
    let addr = format!("127.0.0.1:{}", free_port());
    let url = format!("udp://{addr}?timeout_sec=2");
    let declared = json!({"inputs": [{"url": url, "priority": 0}]});
    let mut events = events(&server, "input.*");
    assert_eq!(server.send("PUT", "/api/v1/streams/feed", &declared).0, 201);
    let shown = input_until(&server, "feed", |input| input["state"] == "listening");
    assert_eq!((&shown["url"], &shown["error"]), (&url.into(), &Value::Null));
    let clients = [Client::PLAIN, Client::RML, Client(Tool::Plain, Way::Hls)];
    let players = clients.map(|client| Player::start(client, &server, "feed"));
    server.wait_for_players("feed", 3);

    let to = format!("udp://{addr}?pkt_size=1316");
    let sender = Sender::start(&[Clip::H264], "mpegts", &to);
    input_until(&server, "feed", |input| input["state"] == "live");
    let receiver = Receiver::start(&server, "feed", "latency=200");
    receiver.wait_for_media();
    let published = sender.finish().remove(0);
    let shown = input_until(&server, "feed", |input| input["state"] == "listening");
    assert_eq!(shown["error"], "idle", "{shown:#}");
    for player in players {
        let (who, got) = player.finish();
        got.assert_played(&published, &format!("{who:?}"));
        assert_eq!(got.video.len(), published.video.len(), "{who:?}");
    }
    receiver.finish().assert_played(&published, "srt-live-transmit");
    server.api_until("/api/v1/streams/feed", |answer| answer["state"] == "idle");
    let counts = input_until(&server, "feed", |input| input["datagrams"]["packets"] != 0);
    for (lost, expected) in [("packets_lost", 0), ("foreign", 0), ("overflowed", 0)] {
        assert_eq!(counts["datagrams"][lost], expected, "{lost}: {counts:#}");
    }
    let packets = counts["datagrams"]["packets"].as_f64().expect("it is a number");
    assert_eq!(server.metrics().sum("input_packets_total"), packets);

    // It comes back, and there was silence in between: two publications.
    let again = Sender::start(&[Clip::Small], "mpegts", &to);
    let live = input_until(&server, "feed", |input| input["state"] == "live");
    assert!(live["session"].is_string() && live["sender"].is_string(), "{live:#}");
    let session = live["session"].as_str().expect("it has one");
    let seen = server.api(&format!("/api/v1/sessions/{session}"));
    assert_eq!((&seen["protocol"], &seen["role"]), (&"udp".into(), &"publish".into()), "{seen:#}");
    again.finish();
    for (kind, reason) in [
        ("input.connected", Value::Null),
        ("input.lost", "idle".into()),
        ("input.failed", "connection_lost".into()),
        ("input.connected", Value::Null),
    ] {
        assert_eq!(next_event(&mut events, "reason"), (kind.to_owned(), reason));
    }
    server.stop();
}

/// A group on the loopback interface, declared in the file; the stream comes in RTP.
fn grouped(backend: Backend) {
    let group = format!("239.255.77.2:{}", free_port());
    let config = format!(
        "{CONFIG}[[streams.stream]]\ncode = \"feed\"\n\
         inputs = [{{ url = \"rtp://127.0.0.1@{group}?interface=lo\", \
         net = {{ timeout_sec = 2 }} }}]\n"
    );
    let server = start(backend, &config);
    input_until(&server, "feed", |input| input["state"] == "listening");
    let player = Player::start(Client::PLAIN, &server, "feed");
    server.wait_for_players("feed", 1);
    let to = format!("rtp://{group}?localaddr=127.0.0.1&ttl=0&pkt_size=1328");
    let published = Sender::start(&[Clip::H264], "rtp_mpegts", &to).finish().remove(0);
    let (who, mut got) = player.finish();
    // ffmpeg keeps to itself what fills no packet of RTP at the end: the last picture is cut short,
    // and a last packet of sound frames is missing.
    got.video.pop();
    got.end_missing_max = 10;
    got.assert_whole(&published, &format!("{who:?}"));
    let shown = input_until(&server, "feed", |input| input["state"] == "listening");
    assert_eq!(
        (&shown["datagrams"]["missing"], &shown["datagrams"]["late"]),
        (&0.into(), &0.into())
    );
    server.stop();
}

#[test]
fn each_stream_takes_its_program_of_a_multiplex() {
    let server = start(Backend::Auto, CONFIG);
    let group = format!("239.255.77.3:{}", free_port());
    let names = ["first", "second"];
    for (name, program) in names.iter().zip([1, 2]) {
        let url = format!("udp://{group}?interface=lo&timeout_sec=2");
        let declared = json!({"inputs": [{"url": url, "priority": 0, "program": program}]});
        assert_eq!(server.send("PUT", &format!("/api/v1/streams/{name}"), &declared).0, 201);
        input_until(&server, name, |input| input["state"] == "listening");
    }
    let players = names.map(|name| Player::start(Client::PLAIN, &server, name));
    names.iter().for_each(|name| server.wait_for_players(name, 1));
    let to = format!("udp://{group}?localaddr=127.0.0.1&ttl=0&pkt_size=1316");
    let published = Sender::start(&[Clip::H264, Clip::Small], "mpegts", &to).finish();
    for (player, published) in players.into_iter().zip(published) {
        let (who, got) = player.finish();
        got.assert_played(&published, &format!("{who:?}"));
        assert_eq!(got.video.len(), published.video.len(), "{who:?}");
    }
    server.stop();
}

#[test]
fn an_address_that_is_taken_is_told_and_tried_again() {
    let server = start(Backend::Auto, CONFIG);
    let holder = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    let mut events = events(&server, "input.*");
    let url = format!("udp://{}", holder.local_addr().expect("it is bound"));
    let declared = json!({"inputs": [{"url": url, "priority": 0}]});
    assert_eq!(server.send("PUT", "/api/v1/streams/feed", &declared).0, 201);
    let shown = input_until(&server, "feed", |input| input["error"] == "address_in_use");
    assert_eq!(shown["state"], "pausing", "{shown:#}");
    let told = next_event(&mut events, "reason");
    assert_eq!(told, ("input.failed".to_owned(), "address_in_use".into()));
    drop(holder);
    input_until(&server, "feed", |input| input["state"] == "listening");
    server.stop();
}

on_both_backends! { bare grouped }
