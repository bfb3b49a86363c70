//! WebSocket players against scripted peers: every state with every input, every way to end.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bench;

use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, OPENING, close_frame, frame};
use codecs::websocket::{CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, encode_close};
use codecs::writer::Writer;
use dataplane::Error;
use dataplane::config::{LimitId, Limits, SessionConfig, Terms};
use dataplane::control::{Protocol, Role};
use dataplane::session::{Command, Framing, Refusal};
use proptest::prelude::*;

#[test]
fn a_player_switches_once_it_is_allowed() {
    let mut bench = Bench::asked("");
    assert_eq!(bench.events, [format!("play cam {:?}", Some(Framing::WebSocket))]);
    assert_eq!((bench.server.protocol(), bench.server.role()), (Protocol::WsFlv, Some(Role::Play)));
    assert!(!bench.server.wants_bytes());
    assert_eq!(bench.text(), "");
    bench.command(Command::PlayStarted).unwrap();
    assert_eq!(
        bench.text(),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Access-Control-Allow-Origin: *\r\n\
         Access-Control-Expose-Headers: Content-Length, Content-Range\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert!(bench.server.wants_bytes());
    assert_eq!(bench.server.take_counts().http_requests, 1);
    let mut bench = Bench::asked("Sec-WebSocket-Protocol: flv, other\r\nOrigin: https://x.y\r\n");
    bench.command(Command::PlayStarted).unwrap();
    assert!(bench.text().ends_with("\r\nSec-WebSocket-Protocol: flv\r\n\r\n"));
}

#[test]
fn a_wish_that_cannot_be_granted_is_answered_in_http() {
    let opening = |from: &str, to: &str| format!("{OPENING}\r\n").replace(from, to);
    for (request, status, field) in [
        (opening("Version: 13", "Version: 8"), "426", "Sec-WebSocket-Version: 13"),
        (opening("Version: 13", "Version: 8"), "426", "Upgrade: websocket"),
        (opening("dGhl", "!"), "400", "Cache-Control: no-store"),
        (opening("/cam.flv", "/no.such"), "404", "Content-Length: 10"),
        // A page is a page however it is asked for.
        (opening("/cam.flv", "/cam"), "200", "Content-Type: text/html; charset=utf-8"),
    ] {
        let mut bench = Bench::with(Limits::default());
        bench.feed(request.as_bytes()).unwrap();
        let said = bench.text();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains(&format!("\r\n{field}\r\n")), "{field}: {said}");
        assert_eq!(bench.server.state_name(), "head");
    }
    for (refusal, status) in [(Refusal::NotFound, "404"), (Refusal::Denied, "403")] {
        let mut bench = Bench::asked("");
        bench.command(Command::Refused(refusal)).unwrap();
        assert!(bench.text().starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(bench.server.state_name(), "head");
        bench.feed(b"GET /favicon.ico HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert!(bench.text().starts_with("HTTP/1.1 204 "), "the connection goes on");
    }
    let mut bench = Bench::asked("");
    bench.command(Command::Shutdown { reason: "draining" }).unwrap();
    assert!(bench.text().starts_with("HTTP/1.1 503 "));
}

#[test]
fn every_ping_has_its_pong_and_data_means_nothing() {
    let mut bench = Bench::open();
    let longest = [7; CONTROL_BYTES_MAX];
    for payload in [&b""[..], b"abc", &longest] {
        bench.feed(&frame(true, Opcode::Ping, payload)).unwrap();
        assert_eq!(bench.frame(), (Opcode::Pong, payload.to_vec()));
    }
    bench.feed(&frame(true, Opcode::Pong, b"unasked")).unwrap();
    bench.feed(&frame(false, Opcode::Binary, &[1; 5_000])).unwrap();
    bench.feed(&frame(true, Opcode::Continuation, &[2; 5_000])).unwrap();
    assert!(bench.sent.is_empty() && bench.events.is_empty());
    assert_eq!(bench.server.state_name(), "socket");
}

#[test]
fn silence_is_asked_about_and_then_ended() {
    let interval = SessionConfig::default().ping_interval;
    let mut bench = Bench::open();
    assert_eq!(bench.server.poll_timeout(), Some(bench.now + interval));
    bench.wait(interval - Duration::from_millis(1)).unwrap();
    assert!(bench.sent.is_empty(), "it is early");
    bench.wait(Duration::from_millis(1)).unwrap();
    assert_eq!(bench.frame(), (Opcode::Ping, Vec::new()));
    bench.wait(interval).unwrap();
    bench.sent.clear();
    bench.feed(&frame(true, Opcode::Pong, b"")).unwrap();
    for _ in 0..2 {
        bench.wait(interval).unwrap();
        assert_eq!(bench.frame(), (Opcode::Ping, Vec::new()));
    }
    let error = bench.wait(interval).unwrap_err();
    assert_eq!(error, Error::Timeout { what: "websocket_pong" });
    assert_eq!(bench.close().0, 1008);
}

#[test]
fn the_server_closes_and_hears_the_peer_s_word() {
    for (command, code, reason) in [
        (Command::StreamEnded, 1000, "stream_ended"),
        (Command::Shutdown { reason: "draining" }, 1001, "draining"),
        (Command::Shutdown { reason: "kicked" }, 1008, "kicked"),
        (Command::Shutdown { reason: "too_slow" }, 1013, "too_slow"),
    ] {
        let over = [format!("Close {{ reason: {reason:?} }}")];
        for answers in [true, false] {
            let mut bench = Bench::open();
            bench.command(command.clone()).unwrap();
            assert_eq!(bench.close(), (code, reason.to_owned()));
            assert_eq!(bench.events, ["PlayEnded"]);
            bench.events.clear();
            // What is under way is ignored, a second word of the shard too.
            bench.command(Command::Shutdown { reason: "draining" }).unwrap();
            bench.feed(&frame(true, Opcode::Ping, b"late")).unwrap();
            assert!(bench.sent.is_empty() && bench.events.is_empty());
            if answers {
                bench.feed(&close_frame(&code.to_be_bytes())).unwrap();
            } else {
                bench.wait(SessionConfig::default().drain).unwrap();
            }
            assert_eq!(bench.events, over);
            assert!(bench.sent.is_empty(), "nothing follows a close frame");
            assert!(!bench.server.wants_bytes());
        }
    }
}

#[test]
fn the_peer_closes_and_hears_its_code_again() {
    for payload in [&b""[..], &[0x03, 0xe8], b"\x03\xe9bye", b"\x0f\xa1why"] {
        let mut bench = Bench::open();
        bench.feed(&[close_frame(payload), b"what follows".to_vec()].concat()).unwrap();
        let (opcode, echo) = bench.frame();
        assert_eq!((opcode, &echo[..]), (Opcode::Close, &payload[..payload.len().min(2)]));
        assert_eq!(bench.events, ["Close { reason: \"peer_closed\" }"]);
    }
}

#[test]
fn what_breaks_the_protocol_closes_with_its_code() {
    let unmasked = |opcode, payload: &[u8]| {
        let mut bytes = vec![0; HEADER_BYTES_MAX];
        let len = payload.len() as u64;
        let mut writer = Writer::new(&mut bytes);
        FrameHeader { fin: true, opcode, mask: None, len }.encode(&mut writer);
        let written = writer.written();
        [&bytes[..written], payload].concat()
    };
    let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let mut closes = Vec::new();
    encode_close(None, "", &mut closes);
    for (bytes, code) in [
        (unmasked(Opcode::Binary, b"x"), 1002),
        (unmasked(Opcode::Ping, b""), 1002),
        (closes, 1002),
        (vec![0xc2, 0x80], 1002),
        (vec![0x92, 0x80], 1002),
        (vec![0x83, 0x80], 1002),
        (vec![0x8f, 0x80], 1002),
        (vec![0x09, 0x80], 1002),
        (vec![0x89, 0xfe, 0, 126], 1002),
        (vec![0x82, 0xfe, 0, 125], 1002),
        (frame(true, Opcode::Continuation, b""), 1002),
        (frame(false, Opcode::Binary, b"").repeat(2), 1002),
        (close_frame(b"\x03"), 1002),
        (close_frame(&1005_u16.to_be_bytes()), 1002),
        (close_frame(b"\x03\xe8\xff"), 1007),
        (frame(true, Opcode::Text, b"play"), 1003),
        (frame(false, Opcode::Text, b""), 1003),
        (huge.to_vec(), 1009),
        (frame(true, Opcode::Binary, &[0; (16 << 10) + 1]), 1009),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 1002),
    ] {
        let mut bench = Bench::open();
        let error = bench.feed(&bytes).unwrap_err();
        assert_eq!(bench.close(), (code, error.reason().to_owned()), "{bytes:x?}");
        assert_eq!(bench.server.state_name(), "closing");
        let mut bench = Bench::open();
        bench.command(Command::StreamEnded).unwrap();
        bench.sent.clear();
        assert!(bench.feed(&bytes).is_err());
        assert!(bench.sent.is_empty(), "the last word was spoken: {bytes:x?}");
    }
}

#[test]
fn frames_and_messages_have_limits() {
    let limits = Limits { websocket_frames_per_second_max: 5, ..Limits::default() };
    let mut bench = Bench::open_with(limits);
    for _ in 0..2 {
        bench.feed(&frame(true, Opcode::Pong, b"").repeat(5)).unwrap();
        bench.now += Duration::from_secs(1);
        bench.feed(&[]).unwrap();
    }
    let empty = frame(false, Opcode::Continuation, b"");
    let start = frame(false, Opcode::Binary, b"");
    let error = bench.feed(&[start, empty.repeat(10)].concat()).unwrap_err();
    assert_eq!(error, Error::Limit(LimitId::WebsocketFramesPerSecondMax));
    assert_eq!(bench.close(), (1008, "websocket_frames_per_second_max".into()));
    let limits = Limits { websocket_message_bytes_max: 10, ..Limits::default() };
    let mut bench = Bench::open_with(limits);
    bench.feed(&frame(true, Opcode::Binary, &[0; 10])).unwrap();
    bench.feed(&frame(false, Opcode::Binary, &[0; 6])).unwrap();
    let error = bench.feed(&frame(true, Opcode::Continuation, &[0; 5])).unwrap_err();
    assert_eq!(error, Error::Limit(LimitId::WebsocketMessageBytesMax));
    assert_eq!(bench.close(), (1009, "websocket_message_bytes_max".into()));
}

#[test]
fn new_limits_hold_for_open_connections() {
    let mut bench = Bench::open();
    let limits = Limits { websocket_message_bytes_max: 1, ..Limits::default() };
    bench.server.reload(&Arc::new(Terms { limits, ..Terms::default() }));
    assert!(bench.feed(&frame(true, Opcode::Binary, b"xy")).is_err());
}

/// A server in the state of that name.
fn bench_in(state: &str) -> Bench {
    let mut bench = match state {
        "asking_socket" => Bench::asked(""),
        _ => Bench::open(),
    };
    match state {
        "socket_closing" => bench.command(Command::StreamEnded).unwrap(),
        "closing" => bench.feed(&close_frame(b"")).unwrap(),
        _ => {}
    }
    assert_eq!(bench.server.state_name(), state);
    bench
}

fn outcome(state: &str, input: &str) -> String {
    let mut bench = bench_in(state);
    let result = match input {
        "ping" => bench.feed(&frame(true, Opcode::Ping, b"")),
        "data" => bench.feed(&frame(true, Opcode::Binary, b"x")),
        "text" => bench.feed(&frame(true, Opcode::Text, b"x")),
        "close" => bench.feed(&close_frame(b"")),
        "noise" => bench.feed(b"\x00\x00"),
        "PublishStarted" => bench.command(Command::PublishStarted),
        "PlayStarted" => bench.command(Command::PlayStarted),
        "Refused" => bench.command(Command::Refused(Refusal::NotFound)),
        "Directory" => bench.command(Command::Directory(Arc::from(&b"[]"[..]))),
        "Challenge" => bench.command(Command::Challenge(None)),
        "StreamEnded" => bench.command(Command::StreamEnded),
        "Shutdown" => bench.command(Command::Shutdown { reason: "draining" }),
        _ => bench.wait(Duration::from_secs(31)),
    };
    match result {
        Ok(()) => bench.server.state_name().to_owned(),
        Err(error) => {
            assert_eq!(bench.server.state_name(), "closing", "an error closes");
            format!("!{}", error.reason())
        }
    }
}

#[test]
fn every_state_with_every_input() {
    let states = ["asking_socket", "socket", "socket_closing", "closing"];
    // `.` is the same state, `!` misbehaved; a parked or closing session takes no byte.
    for (input, outcomes) in [
        ("ping", [".", ".", ".", "."]),
        ("data", [".", ".", ".", "."]),
        ("text", [".", "!malformed", "!malformed", "."]),
        ("close", [".", "closing", "closing", "."]),
        ("noise", [".", "!malformed", "!malformed", "."]),
        ("PublishStarted", ["!", "!", "!", "!"]),
        ("PlayStarted", ["socket", "!", "!", "!"]),
        ("Refused", ["head", "!", "!", "!"]),
        ("Directory", ["!", "!", "!", "!"]),
        ("Challenge", ["!", "!", "!", "!"]),
        ("StreamEnded", ["!", "socket_closing", "!", "!"]),
        ("Shutdown", ["closing", "socket_closing", ".", "."]),
        ("timeout", [".", ".", "closing", "."]),
    ] {
        for (state, expected) in states.into_iter().zip(outcomes) {
            let expected = match expected {
                "." => state,
                "!" => "!misbehaved",
                other => other,
            };
            assert_eq!(outcome(state, input), expected, "{state} x {input}");
        }
    }
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_answers(cuts in prop::collection::vec(1..40_usize, 1..40)) {
        let script = [
            frame(true, Opcode::Ping, b"one"),
            frame(false, Opcode::Binary, &[1; 300]),
            frame(true, Opcode::Ping, b""),
            frame(true, Opcode::Continuation, &[2; 200]),
            frame(true, Opcode::Pong, &[3; 100]),
            frame(true, Opcode::Ping, &[4; 125]),
            close_frame(b"\x03\xe8done"),
            b"ignored".to_vec(),
        ]
        .concat();
        let mut whole = Bench::open();
        whole.feed(&script).unwrap();
        let mut cut = Bench::open();
        let (mut rest, mut sizes) = (script.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            cut.feed(now).unwrap();
            rest = later;
        }
        prop_assert_eq!(&whole.events, &cut.events);
        prop_assert_eq!(&whole.sent, &cut.sent);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = Bench::open().feed(&noise);
    }
}
