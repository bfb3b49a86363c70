//! Every state with every input.

use std::sync::Arc;

use codecs::amf0::Value;
use codecs::rtmp::handshake::C0C1_LEN;
use codecs::rtmp::message::MessageKind;
use dataplane::config::{AuthConfig, Terms};
use dataplane::session::{Command, Refusal};

use crate::peer::*;

/// A server in the state of that name.
fn bench_in(state: &str) -> Bench {
    let connected = [hello(), connect_with("live", 1.0)].concat();
    let publishing = Some(Command::PublishStarted);
    let playing = Some(Command::PlayStarted);
    let to = |verdict, last: Vec<u8>| Bench::after(verdict, &[connected.clone(), last]);
    let mut bench = match state {
        "hello" => Bench::after(None, &[hello()[..1].to_vec()]),
        "ack" => Bench::after(None, &[hello()[..C0C1_LEN].to_vec()]),
        "open" => Bench::after(None, &[hello()]),
        "entering" => {
            let mut bench = Bench::after(None, &[hello()]);
            let auth = AuthConfig { connect: true, ..AuthConfig::default() };
            bench.server.reload(&Arc::new(Terms { auth, ..Terms::default() }));
            bench.feed(&connect_with("live", 1.0)).unwrap();
            bench
        }
        "connected" => Bench::after(None, std::slice::from_ref(&connected)),
        "asking_publish" => to(None, publish("cam")),
        "asking_play" => to(None, play("cam")),
        "publishing" => to(publishing, publish("cam")),
        "playing" => to(playing, play("cam")),
        "idle" => to(Some(Command::PlayIdle), play("cam")),
        "paused" => {
            let mut bench = to(playing, play("cam"));
            bench.feed(&call("pause", 0.0, 1, &[Value::Boolean(true)])).unwrap();
            bench
        }
        "closing" => to(Some(Command::Refused(Refusal::Denied)), play("cam")),
        _ => panic!("{state} is no state"),
    };
    assert_eq!(bench.server.state_name(), state);
    bench.verdict = None;
    bench
}

/// The state after the input, or the reason of the error.
fn outcome(state: &str, input: &str) -> String {
    let mut bench = bench_in(state);
    let id = [Value::Number(1.0)];
    let result = match input {
        "connect" => bench.feed(&connect("live")),
        "createStream" => bench.feed(&create_stream()),
        "publish" => bench.feed(&publish("cam")),
        "play" => bench.feed(&play("cam")),
        "pause" => bench.feed(&call("pause", 0.0, 1, &[Value::Boolean(true)])),
        "resume" => bench.feed(&call("pause", 0.0, 1, &[Value::Boolean(false)])),
        "deleteStream" => bench.feed(&call("deleteStream", 0.0, 0, &id)),
        "unknown" => bench.feed(&call("unknown", 8.0, 0, &[])),
        "media" => bench.feed(&message(4, MessageKind::Audio, 0, 1, &[0xaf, 1, 0])),
        "data" => bench.feed(&message(4, MessageKind::DataAmf0, 0, 1, &[2, 0, 1, b'x'])),
        "ConnectAllowed" => bench.command(Command::ConnectAllowed),
        "PlayIdle" => bench.command(Command::PlayIdle),
        "PublishStarted" => bench.command(Command::PublishStarted),
        "PlayStarted" => bench.command(Command::PlayStarted),
        "Refused" => bench.command(Command::Refused(Refusal::Denied)),
        "Elsewhere" => bench.command(Command::Elsewhere("rtmp://b/live/cam".into())),
        "StreamEnded" => bench.command(Command::StreamEnded),
        "Shutdown" => bench.command(Command::Shutdown { reason: "draining" }),
        "Reconnect" => bench.command(Command::Reconnect),
        "Directory" => bench.command(Command::Directory([0_u8; 2].into())),
        "Challenge" => bench.command(Command::Challenge(None)),
        "timeout" => match bench.server.poll_timeout() {
            None => Ok(()),
            Some(_) => {
                let end = bench.now + std::time::Duration::from_secs(60);
                bench.server.handle_timeout(end)
            }
        },
        _ => panic!("{input} is no input"),
    };
    let outcome = match result {
        Ok(()) => bench.server.state_name().to_owned(),
        Err(error) => {
            assert_eq!(bench.server.state_name(), "closing", "an error closes");
            format!("!{}", error.reason())
        }
    };
    bench.close();
    outcome
}

const STATES: [&str; 12] = [
    "hello",
    "ack",
    "open",
    "entering",
    "connected",
    "asking_publish",
    "asking_play",
    "publishing",
    "idle",
    "playing",
    "paused",
    "closing",
];

/// Per input, the outcome in each of the states; `.` is the same state, `!` misbehaved. The
/// handshake takes any byte as its filler, and a parked or closing session takes none.
const TABLE: [(&str, [&str; 12]); 22] = [
    ("connect", [".", ".", "connected", ".", "!", ".", ".", "!", "!", "!", "!", "."]),
    ("createStream", [".", ".", "!", ".", ".", ".", ".", ".", ".", ".", ".", "."]),
    ("publish", [".", ".", "!", ".", "asking_publish", ".", ".", "!", "!", "!", "!", "."]),
    ("play", [".", ".", "!", ".", "asking_play", ".", ".", "!", "!", "!", "!", "."]),
    ("pause", [".", ".", "!", ".", ".", ".", ".", ".", ".", "paused", ".", "."]),
    ("resume", [".", ".", "!", ".", ".", ".", ".", ".", ".", ".", "playing", "."]),
    (
        "deleteStream",
        [
            ".",
            ".",
            "!",
            ".",
            ".",
            ".",
            ".",
            "connected",
            "connected",
            "connected",
            "connected",
            ".",
        ],
    ),
    ("unknown", [".", ".", "!", ".", ".", ".", ".", ".", ".", ".", ".", "."]),
    ("media", [".", ".", "!", ".", ".", ".", ".", ".", "!", "!", "!", "."]),
    ("data", [".", ".", ".", ".", ".", ".", ".", ".", ".", ".", ".", "."]),
    ("ConnectAllowed", ["!", "!", "!", "connected", "!", "!", "!", "!", "!", "!", "!", "!"]),
    ("PublishStarted", ["!", "!", "!", "!", "!", "publishing", "!", "!", "!", "!", "!", "!"]),
    ("PlayStarted", ["!", "!", "!", "!", "!", "!", "playing", "!", "playing", "!", "!", "!"]),
    ("PlayIdle", ["!", "!", "!", "!", "!", "!", "idle", "!", "!", "idle", "idle", "!"]),
    (
        "Refused",
        ["!", "!", "!", "closing", "!", "closing", "closing", "!", "closing", "!", "!", "!"],
    ),
    ("Elsewhere", ["!", "!", "!", "closing", "!", "closing", "closing", "!", "!", "!", "!", "!"]),
    ("StreamEnded", ["!", "!", "!", "!", "!", "!", "!", "!", "!", "closing", "closing", "!"]),
    ("Shutdown", ["closing"; 12]),
    ("Directory", ["!"; 12]),
    ("Challenge", ["!"; 12]),
    // These peers said at connect that they can.
    ("Reconnect", ["!", "!", "!", "!", "!", "!", "!", ".", ".", ".", ".", "!"]),
    (
        "timeout",
        [
            "!connect_deadline",
            "!connect_deadline",
            "!connect_deadline",
            ".",
            "!connect_deadline",
            ".",
            ".",
            "!publish_idle",
            ".",
            ".",
            ".",
            ".",
        ],
    ),
];

#[test]
fn every_state_with_every_input() {
    for (input, outcomes) in TABLE {
        for (state, expected) in STATES.into_iter().zip(outcomes) {
            let expected = match expected {
                "." => state,
                "!" => "!misbehaved",
                other => other,
            };
            assert_eq!(outcome(state, input), expected, "{state} x {input}");
        }
    }
}
