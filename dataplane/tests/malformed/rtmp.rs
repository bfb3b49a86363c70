//! Hostile RTMP.

use std::io::Read;

use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::command::code;
use codecs::rtmp::handshake::S0S1S2_LEN;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};

use crate::node::{Peer, Publisher, RtmpPlayer, Server};
use crate::{connect, say_and_leave};

/// How far a peer is when it turns hostile.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing was said.
    Fresh,
    /// After the handshake.
    Open,
    /// After `connect` and `createStream`.
    Connected,
    /// While it publishes a stream of its own.
    Publishing,
    /// While it plays.
    Playing,
}

/// What is said there.
pub(crate) struct Attack {
    name: &'static str,
    stage: Stage,
    bytes: Vec<u8>,
}

impl Attack {
    /// Says it and leaves; the server must close.
    pub(crate) fn run(&self, server: &Server) {
        let mut socket = match self.stage {
            Stage::Fresh => connect(server.rtmp),
            Stage::Open => Peer::connect(server.rtmp).socket,
            Stage::Connected => Peer::open(server.rtmp).socket,
            Stage::Publishing => Publisher::start(server.rtmp, "bad").socket.try_clone().unwrap(),
            Stage::Playing => RtmpPlayer::start(server.rtmp, "good").peer.socket,
        };
        say_and_leave(&mut socket, &self.bytes);
    }
}

/// One message as type 0 and type 3 chunks of the size that the stage has announced.
fn message(stage: Stage, csid: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let chunk_bytes = if matches!(stage, Stage::Open) { 128 } else { 4_096 };
    let len = u32::try_from(body.len()).unwrap();
    let kind = MessageKind::from_wire(kind);
    let header = MessageHeader { csid: Csid::new(csid).unwrap(), timestamp: 0, len, kind, msid: 1 };
    let mut out = Vec::new();
    frame_message(&header, body, chunk_bytes, &mut out);
    out
}

/// The head of a type 0 chunk, without any payload.
fn head(csid: u16, timestamp: u32, len: u32, kind: u8) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&(csid - 64).to_le_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes()[1..]);
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.push(kind);
    out.extend_from_slice(&1_u32.to_le_bytes());
    out
}

/// An AMF0 command of that name with a transaction and raw values behind it.
fn command(stage: Stage, name: &str, values: &[u8]) -> Vec<u8> {
    let len = u16::try_from(name.len()).unwrap().to_be_bytes();
    let number = [0, 0x40, 0, 0, 0, 0, 0, 0, 0];
    let body = [&[2][..], &len, name.as_bytes(), &number, values].concat();
    message(stage, 3, 20, &body)
}

/// Numbers that look random and are the same in every run.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = Vec::new();
    let mut add = |name, stage, bytes| all.push(Attack { name, stage, bytes });
    fresh(&mut add);
    chunks(&mut add);
    controls(&mut add);
    values(&mut add);
    orders(&mut add);
    media(&mut add);
    assert!(all.iter().all(|attack: &Attack| !attack.name.is_empty()));
    all
}

type Add<'a> = &'a mut dyn FnMut(&'static str, Stage, Vec<u8>);

fn fresh(add: Add<'_>) {
    add("nothing", Stage::Fresh, Vec::new());
    add("HTTP", Stage::Fresh, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    add("TLS", Stage::Fresh, [b"\x16\x03\x01\x02\0".to_vec(), vec![1; 512]].concat());
    for version in [0, 2, 6, 8, 9, 32, 255] {
        add("another version", Stage::Fresh, [vec![version], vec![0; 3_072]].concat());
    }
    add("half a handshake", Stage::Fresh, vec![3; 1_000]);
    add("a handshake and noise", Stage::Fresh, [vec![3; 3_073], noise(1, 50_000)].concat());
}

fn chunks(add: Add<'_>) {
    let stage = Stage::Open;
    let every: Vec<u8> =
        (64..65_599_u32).flat_map(|csid| head((csid.min(65_535)) as u16, 0, 0, 99)).collect();
    add("every chunk stream", stage, every);
    let partial: Vec<u8> =
        (64..128).flat_map(|csid| [head(csid, 0, 60_000, 20), vec![0; 128]].concat()).collect();
    add("partial messages everywhere", stage, partial);
    for len in [65_537, 0x7f_ffff, 0xff_ffff] {
        for kind in [1, 4, 8, 9, 18, 20, 22, 99] {
            add("a length that never comes", stage, head(64, 0, len, kind));
            add("a length that never comes", Stage::Publishing, head(64, 0, len, kind));
        }
    }
    for size in [0, 1, 0x7fff_ffff, 0x8000_0000_u32, u32::MAX] {
        let set = message(stage, 2, 1, &size.to_be_bytes());
        add("a chunk size", stage, [set, noise(size, 20_000)].concat());
    }
    for first in [0xc3, 0x83, 0xc0, 0xc1, 0x80, 0x81] {
        add("a continuation of nothing", stage, [vec![first], vec![9; 500]].concat());
    }
    let extended = |again: u32| {
        let begun = [head(64, 0xff_ffff, 300, 20), u32::MAX.to_be_bytes().to_vec(), vec![0; 128]];
        [begun.concat(), vec![0xc1, 0, 0], again.to_be_bytes().to_vec(), vec![0; 600]].concat()
    };
    add("an extended timestamp", stage, extended(u32::MAX));
    add("another extended timestamp", stage, extended(7));
    for seed in 0..20 {
        add("noise", stage, noise(seed, 5_000));
        add("noise", Stage::Publishing, noise(seed, 5_000));
    }
}

fn controls(add: Add<'_>) {
    for stage in [Stage::Open, Stage::Connected, Stage::Publishing, Stage::Playing] {
        for kind in 0..=255 {
            add("an empty message", stage, message(stage, 3, kind, &[]));
            if kind < 32 {
                add("a short message", stage, message(stage, 3, kind, &[0, 6, 0]));
            }
        }
        for (name, kind, body) in [
            ("a flood of aborts", 2, vec![0, 0, 0, 3]),
            ("a flood of acknowledgements", 3, vec![0xff; 4]),
            ("a flood of windows", 5, vec![0, 0, 0, 1]),
            ("a flood of bandwidths", 6, vec![0, 0, 0, 1, 2]),
            ("a flood of pings", 4, vec![0, 6, 0, 0, 0, 0]),
            ("a flood of buffer lengths", 4, vec![0, 3, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            add(name, stage, message(stage, 2, kind, &body).repeat(5_000));
        }
        add("an abort of nothing", stage, message(stage, 2, 2, &[0, 0, 0, 0]));
    }
}

fn values(add: Add<'_>) {
    let stage = Stage::Connected;
    let nested = |unit: &[u8], bytes: usize| unit.repeat(bytes / unit.len());
    let array = [0x0a, 0, 0, 0, 1];
    let object = [3, 0, 1, b'a'];
    for bytes in [60_000, 500_000] {
        add("deep arrays", stage, command(stage, "call", &nested(&array, bytes)));
        add("deep objects", stage, command(stage, "call", &nested(&object, bytes)));
    }
    add("an endless array", stage, command(stage, "call", &[8, 0xff, 0xff, 0xff, 0xff]));
    add("an endless list", stage, command(stage, "call", &[0x0a, 0xff, 0xff, 0xff, 0xff]));
    add("an endless string", stage, command(stage, "call", &[0x0c, 0xff, 0xff, 0xff, 0xff, b'a']));
    add("a cut string", stage, command(stage, "call", &[2, 0xff, 0xff, b'a']));
    add("a reference", stage, command(stage, "call", &[7, 0xff, 0xff]));
    for marker in 0..=255 {
        let value = [vec![marker], noise(marker.into(), 40)].concat();
        add("a strange value", stage, command(stage, "call", &value));
        let body = [&[0, 0x11][..], &value].concat();
        add("a strange AMF3 value", stage, message(stage, 3, 17, &body));
        add("strange data", Stage::Publishing, message(Stage::Publishing, 5, 18, &value));
    }
    let long = "x".repeat(60_000);
    add("a long name", stage, command(stage, &long, &[5]));
}

fn orders(add: Add<'_>) {
    let text = |s: &str| [&[2, 0, s.len() as u8], s.as_bytes()].concat();
    let named = |s: &str| [vec![5], text(s), text("live")].concat();
    let commands = [
        "publish",
        "play",
        "play2",
        "createStream",
        "deleteStream",
        "closeStream",
        "pause",
        "seek",
        "FCUnpublish",
        "FCPublish",
        "releaseStream",
        "receiveAudio",
        "_result",
        "onStatus",
        "connect",
    ];
    for stage in [Stage::Open, Stage::Connected, Stage::Publishing, Stage::Playing] {
        for name in commands {
            add("a command", stage, command(stage, name, &[]));
            add("a command with a name", stage, command(stage, name, &named("bad/other")));
            add("a command with no name", stage, command(stage, name, &named("../x")));
            add("a command again and again", stage, command(stage, name, &[5]).repeat(30));
        }
        for kind in [8, 9, 15, 18, 22] {
            add("media", stage, message(stage, 6, kind, &noise(kind.into(), 3_000)));
        }
    }
}

fn media(add: Add<'_>) {
    let stage = Stage::Publishing;
    for first in 0..=255_u8 {
        for kind in [8, 9] {
            let body = [vec![first], noise(first.into(), 60)].concat();
            add("a strange tag", stage, message(stage, 6, kind, &body));
        }
    }
    for kind in [8, 9, 18, 20] {
        // An aggregate whose tags lie about their lengths.
        let tag = [&[kind, 0xff, 0xff, 0xff][..], &[0; 7], &[1; 20]].concat();
        add("an aggregate", stage, message(stage, 6, 22, &tag.repeat(50)));
    }
    let records: [&[u8]; 4] = [&[0x17, 0, 0, 0, 0], &[0xaf, 0], b"\x90hvc1", b"\x90av01"];
    for record in records {
        let body = [record, &noise(9, 200)].concat();
        add("a configuration of noise", stage, message(stage, 6, 9, &body).repeat(20));
        add("a configuration of noise", stage, message(stage, 4, 8, &body).repeat(20));
    }
}

/// Plays streams that do not exist, each on a connection of its own.
pub(crate) fn poll_unknown_names(server: &Server, count: u32) {
    for n in 0..count {
        let mut player = RtmpPlayer::ask(server.rtmp, &format!("nobody/{n}"));
        assert_eq!(player.peer.statuses_to_end(), [code::PLAY_STREAM_NOT_FOUND]);
    }
    // A connection that only shakes hands is no state either.
    let mut socket = connect(server.rtmp);
    let mut hello = [0; S0S1S2_LEN];
    std::io::Write::write_all(&mut socket, &[vec![3], vec![0; 3_072]].concat()).unwrap();
    socket.read_exact(&mut hello).unwrap();
}
