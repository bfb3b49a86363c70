//! Every state with every input.

use std::sync::Arc;
use std::time::Duration;

use dataplane::session::{Command, Refusal};

use crate::bench::{Bench, get, request};

/// A server in the state of that name.
fn bench_in(state: &str) -> Bench {
    let mut bench = match state {
        "streaming" => Bench::answered(Command::PlayStarted),
        _ => Bench::new(),
    };
    let bytes = match state {
        "head" => Vec::new(),
        "asking_directory" => get("/streams.json"),
        "asking_challenge" => get("/.well-known/acme-challenge/t"),
        "asking_play" | "streaming" => get("/cam.flv"),
        _ => request("GET", "/n.o", "Connection: close\r\n"),
    };
    bench.feed(&bytes).unwrap();
    bench.verdict = None;
    assert_eq!(bench.server.state_name(), state);
    bench
}

fn outcome(state: &str, input: &str) -> String {
    let mut bench = bench_in(state);
    let directory = || Command::Directory(Arc::from(&b"[]"[..]));
    let result = match input {
        "page" => bench.feed(&get("/")),
        "flv" => bench.feed(&get("/cam.flv")),
        "json" => bench.feed(&get("/streams.json")),
        "challenge" => bench.feed(&get("/.well-known/acme-challenge/t")),
        "noise" => bench.feed(b"\x00"),
        "PublishStarted" => bench.command(Command::PublishStarted),
        "PlayStarted" => bench.command(Command::PlayStarted),
        "Refused" => bench.command(Command::Refused(Refusal::NotFound)),
        "Elsewhere" => bench.command(Command::Elsewhere("http://b/cam.flv".into())),
        "Directory" => bench.command(directory()),
        "Challenge" => bench.command(Command::Challenge(None)),
        "StreamEnded" => bench.command(Command::StreamEnded),
        "Shutdown" => bench.command(Command::Shutdown { reason: "draining" }),
        _ => bench.server.handle_timeout(bench.now + Duration::from_secs(60)),
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
    let states =
        ["head", "asking_directory", "asking_challenge", "asking_play", "streaming", "closing"];
    // `.` is the same state, `!` misbehaved; a parked or closing session takes no byte.
    for (input, outcomes) in [
        ("page", [".", ".", ".", ".", ".", "."]),
        ("flv", ["asking_play", ".", ".", ".", ".", "."]),
        ("json", ["asking_directory", ".", ".", ".", ".", "."]),
        ("challenge", ["asking_challenge", ".", ".", ".", ".", "."]),
        ("noise", ["!malformed", ".", ".", ".", ".", "."]),
        ("PublishStarted", ["!", "!", "!", "!", "!", "!"]),
        ("PlayStarted", ["!", "!", "!", "streaming", "!", "!"]),
        ("Refused", ["!", "!", "!", "head", "!", "!"]),
        ("Elsewhere", ["!", "!", "!", "head", "!", "!"]),
        ("Directory", ["!", "head", "!", "!", "!", "!"]),
        ("Challenge", ["!", "!", "head", "!", "!", "!"]),
        ("StreamEnded", ["!", "!", "!", "!", "closing", "!"]),
        ("Shutdown", ["closing"; 6]),
        ("timeout", ["!request_head", ".", ".", ".", ".", "."]),
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
