//! Servers of RTMP that a node plays from by itself: another node, ffmpeg as a server, and servers
//! that do not do as they should.

use serde_json::{Value, json};

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};
use crate::srt::session;

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

on_both_backends! { nodes }
