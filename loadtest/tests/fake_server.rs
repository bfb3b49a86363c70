//! The whole generator against a small server in this process, which can be told to misbehave.
#![allow(clippy::unwrap_used, reason = "the server is a part of the test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

use codecs::amf0::{Limits, Value};
use codecs::flv::tag::{FILE_HEADER_LEN, FileHeader, TAG_HEADER_LEN, TagHeader, TagKind};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::command::{Level, code, result, status};
use codecs::rtmp::handshake::{BODY_LEN, C0C1_LEN, RANDOM_LEN, server_response};
use codecs::rtmp::{ChunkLimits, ChunkReader, Command, Control, Csid, MessageHeader, MessageKind};
use codecs::writer::Writer;
use loadtest::fanout::Measurement;
use loadtest::scenario::{self, Outcome};

/// How the server treats frames.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Every tenth frame goes to nobody.
    Lossy,
    /// Everybody is refused who wants to play.
    Refusing,
}

struct Player {
    stream: TcpStream,
    is_http: bool,
    ready: bool,
}

/// What the connections share: players, and the start of the stream for new ones.
struct Stage {
    manner: Manner,
    players: Vec<Player>,
    config: Option<Vec<u8>>,
    frames: u64,
}

type Shared = Arc<Mutex<Stage>>;

/// Starts a server on free ports; tells those of RTMP and HTTP.
fn start(manner: Manner) -> (u16, u16) {
    let stage = Stage { manner, players: Vec::new(), config: None, frames: 0 };
    let shared = Arc::new(Mutex::new(stage));
    let port = |serve: fn(TcpStream, &Shared) -> std::io::Result<()>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A generator that goes away ends its connection's thread by an error.
                thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        port
    };
    (port(serve_rtmp), port(serve_http))
}

fn message(kind: MessageKind, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let (csid, msid) = match kind {
        MessageKind::Video => (Csid::VIDEO, 1),
        MessageKind::CommandAmf0 => (Csid::COMMAND, 1),
        _ => (Csid::CONTROL, 0),
    };
    let len = u32::try_from(body.len()).unwrap();
    let mut out = Vec::new();
    frame_message(&MessageHeader { csid, timestamp, len, kind, msid }, body, 4096, &mut out);
    out
}

fn control(control: Control) -> Vec<u8> {
    let mut body = vec![0; control.encoded_len()];
    control.encode(&mut Writer::new(&mut body));
    message(control.kind(), 0, &body)
}

fn command(command: &Command) -> Vec<u8> {
    let mut body = Vec::new();
    command.encode(&mut body);
    message(MessageKind::CommandAmf0, 0, &body)
}

fn tag(timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
    let data_len = u32::try_from(body.len()).unwrap();
    let header = TagHeader { kind: TagKind::Video, data_len, timestamp_ms };
    let mut out = vec![0; TAG_HEADER_LEN];
    header.encode(&mut Writer::new(&mut out));
    out.extend_from_slice(body);
    out.extend_from_slice(&header.previous_tag_size().to_be_bytes());
    out
}

fn serve_rtmp(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut c0c1 = [0; C0C1_LEN];
    stream.read_exact(&mut c0c1)?;
    let c1 = c0c1.last_chunk::<BODY_LEN>().unwrap();
    stream.write_all(&server_response(c1, &[7; RANDOM_LEN], 0))?;
    stream.read_exact(&mut [0; BODY_LEN])?;
    stream.write_all(&control(Control::SetChunkSize(4096)))?;
    let mut reader = ChunkReader::new(ChunkLimits::default());
    let mut bodies = std::collections::HashMap::<Csid, Vec<u8>>::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let mut input = &buffer[..len];
        while !input.is_empty() {
            let (taken, fragment) = reader.feed(input).unwrap();
            input = &input[taken..];
            let Some(fragment) = fragment else { continue };
            let body = bodies.entry(fragment.header.csid).or_default();
            if fragment.offset == 0 {
                body.clear();
            }
            body.extend_from_slice(fragment.data);
            if !fragment.last {
                continue;
            }
            match fragment.header.kind {
                MessageKind::SetChunkSize => {
                    let size = u32::from_be_bytes(*body.first_chunk().unwrap());
                    reader.set_chunk_size(size).unwrap();
                }
                MessageKind::Video => publish(shared, fragment.header.timestamp, body),
                MessageKind::CommandAmf0 => {
                    let asked = Command::parse(body, &Limits::default(), false).unwrap();
                    answer(&asked, &mut stream, shared)?;
                }
                _ => {}
            }
        }
    }
}

fn answer(asked: &Command, stream: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    let said = |level, code| command(&status::<&str>(level, code, "", []));
    match asked.name.as_str() {
        "connect" => {
            let reply = result(asked.transaction_id, Value::Null, [Value::Null]);
            stream.write_all(&command(&reply))
        }
        "createStream" => {
            let reply = result(asked.transaction_id, Value::Null, [Value::from(1.0)]);
            stream.write_all(&command(&reply))
        }
        "publish" => stream.write_all(&said(Level::Status, code::PUBLISH_START)),
        "play" if shared.lock().unwrap().manner == Manner::Refusing => {
            stream.write_all(&said(Level::Error, code::PLAY_STREAM_NOT_FOUND))
        }
        "play" => {
            stream.write_all(&said(Level::Status, code::PLAY_START))?;
            join(stream.try_clone()?, false, shared);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn serve_http(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    if !request.starts_with(b"GET /live/fake.flv?key=1 HTTP/1.1\r\n") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n")?;
    let mut header = [0; FILE_HEADER_LEN];
    FileHeader { audio: false, video: true }.encode(&mut Writer::new(&mut header));
    stream.write_all(&header)?;
    join(stream, true, shared);
    Ok(())
}

fn join(stream: TcpStream, is_http: bool, shared: &Shared) {
    shared.lock().unwrap().players.push(Player { stream, is_http, ready: false });
}

/// Hands a video message on; players begin at a keyframe, with the configuration before it.
fn publish(shared: &Shared, timestamp: u32, body: &[u8]) {
    let mut stage = shared.lock().unwrap();
    if body[1] == 0 {
        stage.config = Some(body.to_vec());
        return;
    }
    stage.frames += 1;
    if stage.manner == Manner::Lossy && stage.frames.is_multiple_of(10) {
        return;
    }
    let is_key = body[0] >> 4 == 1;
    let config = stage.config.clone().unwrap();
    stage.players.retain_mut(|player| {
        let framed = |body: &[u8]| match player.is_http {
            true => tag(timestamp, body),
            false => message(MessageKind::Video, timestamp, body),
        };
        let mut bytes = Vec::new();
        if !player.ready && is_key {
            bytes.extend(framed(&config));
            player.ready = true;
        }
        if player.ready {
            bytes.extend(framed(body));
        }
        player.stream.write_all(&bytes).is_ok()
    });
}

fn run(line: &str) -> anyhow::Result<Outcome> {
    let scenario = scenario::parse(line.split_whitespace().map(Into::into))?;
    scenario::perform(&scenario, |_| ())
}

fn fanout(url: &str, rtmp: u16, players: &str) -> anyhow::Result<Outcome> {
    run(&format!(
        "fanout --url {url} --publish-url rtmp://127.0.0.1:{rtmp}/live/fake --players {players} \
         --sampled 2 --window 1500ms --gop 200ms --bitrate 400k --server-pid {}",
        std::process::id()
    ))
}

fn assert_sound(of: &Measurement) {
    assert_eq!((of.held, of.refused, of.failed, of.closed), (of.players, 0, 0, 0), "{of:?}");
    assert_eq!((of.duplicated, of.reordered, of.timestamps_back), (0, 0, 0), "{of:?}");
    assert_eq!((of.undecodable_starts, of.stalls), (0, 0), "{of:?}");
    assert!(of.frames > 0 && of.latency.is_some() && of.received_bytes > 0, "{of:?}");
    // The window has 45 frames of some 1.7 kB for each player, quiet or not.
    assert!(of.received_bytes > 30_000 * of.players as u64, "{of:?}");
}

#[test]
fn rtmp_players_are_held_and_measured() {
    let (rtmp, _) = start(Manner::Honest);
    let outcome = fanout(&format!("rtmp://127.0.0.1:{rtmp}/live/fake"), rtmp, "4,8").unwrap();
    let [four, eight] = outcome.measurements.as_slice() else { panic!("two steps") };
    assert_sound(four);
    assert_sound(eight);
    assert_eq!((four.lost, eight.lost), (0, 0));
    assert_eq!(four.join.map(|join| join.count), Some(4));
    assert_eq!(eight.join.map(|join| join.count), Some(4), "the first four had joined before");
    assert!(eight.server.is_some_and(|server| server.rss_bytes_per_player.is_some()));
    assert_eq!(outcome.published.map(|published| published.dropped), Some(0));
}

#[test]
fn http_players_are_held_and_measured() {
    let (rtmp, http) = start(Manner::Honest);
    let url = format!("http://127.0.0.1:{http}/live/fake.flv?key=1");
    let outcome = fanout(&url, rtmp, "6").unwrap();
    assert_sound(&outcome.measurements[0]);
    assert_eq!(outcome.measurements[0].lost, 0);
}

#[test]
fn lost_frames_are_seen() {
    let (rtmp, _) = start(Manner::Lossy);
    let outcome = fanout(&format!("rtmp://127.0.0.1:{rtmp}/live/fake"), rtmp, "3").unwrap();
    assert_sound(&outcome.measurements[0]);
    assert!(outcome.measurements[0].lost >= 4, "{:?}", outcome.measurements[0]);
}

#[test]
fn refusals_are_one_clear_line() {
    let (rtmp, http) = start(Manner::Refusing);
    let told = |result: anyhow::Result<Outcome>| format!("{:#}", result.unwrap_err());
    let rtmp_url = format!("rtmp://127.0.0.1:{rtmp}/live/fake");
    let error = told(fanout(&rtmp_url, rtmp, "2"));
    assert!(error.ends_with("refused: NetStream.Play.StreamNotFound"), "{error}");
    let error = told(fanout(&format!("http://127.0.0.1:{http}/other.flv?key=1"), rtmp, "2"));
    assert!(error.ends_with("refused: HTTP/1.1 404 Not Found"), "{error}");
    assert!(!error.contains("key"), "{error}");
}

#[test]
fn an_unreachable_server_is_one_clear_line() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for command in ["publish", "play --players 3", "fanout --players 3"] {
        let error = run(&format!("{command} --url rtmp://127.0.0.1:{port}/live/a")).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("Connection refused") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn publishing_stops_when_it_is_told_to() {
    let (rtmp, _) = start(Manner::Honest);
    let line = format!(
        "publish --url rtmp://127.0.0.1:{rtmp}/live/fake --streams 2 --duration 500ms --audio"
    );
    let published = run(&line).unwrap().published.unwrap();
    assert_eq!((published.streams, published.dropped), (2, 0));
    assert!(published.frames >= 20, "{published:?}");
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).unwrap();
    let scenario::Action::Publish(plan) = scenario.action else { panic!("not publish") };
    let totals = loadtest::publisher::publish(&plan, &AtomicBool::new(true), || {}).unwrap();
    assert_eq!(totals.frames, 0);
}
