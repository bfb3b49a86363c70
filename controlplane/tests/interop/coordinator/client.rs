//! A node with a coordinator elsewhere, which is scripted: what it asks and tells, and what it does
//! when the coordinator is slow, sloppy, hostile or gone.

use std::process::Command;

use serde_json::Value;
use tungstenite::Message;

use super::attached::pulls;
use super::peer::{Frame, Peer, SECRET};
use super::stage::url;
use super::superior::Superior;
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};

const ID: &str = "000001890a5b3c7d00000007deadbeef";
const LATER: &str = "000001890a5b3c7d00000008deadbeef";

/// A server of the coordinator at `base`, with these variables, too.
pub(super) fn server_of(backend: Backend, base: &str, more: &[(&str, &str)]) -> Server {
    let folder = Folder::new();
    let mut command: Command = Options::on(backend).command(&folder);
    command.env("CONTROL_USE", "YES").env("CONTROL_BASE_URL", base).env("CONTROL_SECRET", SECRET);
    // Who leaves is gone at once, unless a test says otherwise.
    command.env("GRANDSTAND_STREAM__GRACE_MS", "0").envs(more.iter().copied());
    Server::run(&mut command, folder)
}

/// Waits until the link to the coordinator is as `state` says.
pub(super) fn is(node: &Server, state: &str) -> Value {
    let view = node.api_until("/api/v1/coordinator", |view| view["client"]["state"] == state);
    view["client"].clone()
}

fn publish(node: &Server, channel: &str, key: &str) -> Publisher {
    Publisher::ffmpeg_endless(Clip::Small, &url(node, channel, key))
}

/// A publisher is let in under `id`.
fn accept(superior: &mut Peer, request: &Frame, id: &str) {
    let params = [
        ("Request-ID", request.get("Request-ID")),
        ("Stream-Channel", request.get("Stream-Channel")),
        ("Stream-ID", id),
    ];
    superior.say("PUBLISH-ACCEPT", &params);
}

fn on_air(node: &Server, channel: &str) {
    node.api_until("/api/v1/streams", |list| {
        let streams = list["streams"].as_array().expect("a list");
        streams.iter().any(|stream| stream["name"] == channel && stream["publisher"].is_string())
    });
}

#[test]
fn each_publisher_is_asked_about_and_goes_when_he_is_told_to() {
    let superior = Superior::new();
    let node = server_of(Backend::Auto, &superior.base(), &[]);
    let (mut superior, caller) = superior.called();
    caller.is_a_server();
    assert_eq!(caller.header("x-custom-port"), node.rtmp.port().to_string());
    assert_eq!((caller.header("x-external-ip"), caller.header("x-ssl-use")), ("", ""));
    is(&node, "connected");

    let mut wrong = publish(&node, "cam7", "wrong-7");
    let request = superior.wait("PUBLISH-REQUEST", "cam7");
    assert_eq!(["Stream-Key", "User-IP"].map(|name| request.get(name)), ["wrong-7", "127.0.0.1"]);
    let number = request.get("Request-ID");
    superior.send(Message::text(format!("publish-deny\r\nREQUEST-ID:{number}\r\n\r\nno")));
    wrong.is_refused();

    // What no coordinator says is as if it had not been said.
    superior.send(Message::binary(vec![0; 99]));
    superior.say("GREETING", &[("Name", "x")]);
    superior.say("ENCODE-START", &[("Stream-Channel", "cam7"), ("Stream-ID", ID)]);
    assert_eq!(superior.next().kind, "ERROR", "that one lacks what it needs");
    superior.send(Message::text("PUBLISH-ACCEPT"));
    assert_eq!(superior.next().get("Error-Code"), "BAD_MESSAGE");

    let publisher = publish(&node, "cam7", "right-7");
    let request = superior.wait("PUBLISH-REQUEST", "cam7");
    accept(&mut superior, &request, ID);
    on_air(&node, "cam7");
    let source = format!("rtmp://{}/cam7/right-7", node.rtmp);
    pulls(&Frame::of("ENCODE-START", &[("Stream-Source-URI", &source)]));
    assert_eq!(get(node.http, "/cam7.flv?key=wrong-7", "").0, 403);
    assert_eq!(get(node.http, "/cam7/index.m3u8", "").0, 404, "HLS is off");
    let client = is(&node, "connected");
    assert_eq!((&client["publications"], &client["requests"]["accepted"]), (&1.into(), &1.into()));
    let text = String::from_utf8(get(node.control, "/metrics", "").1).expect("text");
    let samples = [
        "coordinator_client{state=\"connected\"} 1",
        "coordinator_client_publications 1",
        "coordinator_client_requests_total{outcome=\"denied\"} 1",
    ];
    assert!(samples.iter().all(|sample| text.contains(sample)), "{text}");

    superior.tell("STREAM-KILL", "cam7", LATER);
    superior.tell("STREAM-KILL", "cam8", "*");
    assert_eq!(superior.wait("PUBLISH-END", "cam8").get("Stream-ID"), "", "nobody is there");
    superior.tell("STREAM-KILL", "cam7", "*");
    publisher.ends();
    assert_eq!(superior.wait("PUBLISH-END", "cam7").get("Stream-ID"), ID);
    node.stop();
}

#[test]
fn what_is_on_the_air_outlives_its_coordinator() {
    let superior = Superior::new();
    let node = server_of(Backend::Auto, &superior.base(), &[]);
    let (mut first, _) = superior.called();
    let publisher = publish(&node, "cam7", "right-7");
    let request = first.wait("PUBLISH-REQUEST", "cam7");
    accept(&mut first, &request, ID);
    on_air(&node, "cam7");
    drop(first);
    is(&node, "away");
    publish(&node, "cam8", "right-8").is_refused();
    superior.refuses("403 Forbidden");
    let health = node.api_until("/api/v1/health", |health| {
        health.to_string().contains("coordinator.client.secret must be its CONTROL_SECRET")
    });
    assert_eq!(health["ready"], true, "players are served");
    assert!(health.to_string().contains("coordinator_away"), "{health:#}");
    superior.refuses("502 Bad Gateway");

    let (mut again, caller) = superior.called();
    caller.is_a_server();
    let request = again.wait("PUBLISH-REQUEST", "cam7");
    assert_eq!(request.get("Stream-Key"), "right-7");
    accept(&mut again, &request, LATER);
    // Who is killed under his number of before is not the one who is there.
    again.tell("STREAM-KILL", "cam7", ID);
    again.tell("STREAM-KILL", "cam9", ID);
    again.wait("PUBLISH-END", "cam9");
    on_air(&node, "cam7");
    let health = node.api("/api/v1/health");
    assert!(!health.to_string().contains("coordinator_away"), "{health:#}");
    assert_eq!(is(&node, "connected")["requests"]["rejoined"], 1);
    publisher.interrupt();
    assert_eq!(again.wait("PUBLISH-END", "cam7").get("Stream-ID"), LATER);
    let events = node.metrics();
    for (kind, count) in [("coordinator.connected", 2.0), ("coordinator.disconnected", 1.0)] {
        assert_eq!(events.sum_where("events_total", kind), count, "{kind}");
    }
    node.stop();
}

/// The server of the family waits twenty seconds, and then its channel is busy for ever.
#[test]
fn a_yes_that_comes_too_late_leaves_no_channel_busy() {
    let superior = Superior::new();
    let deadline = [("GRANDSTAND_SESSION__AUTHORIZE_DEADLINE_MS", "1000")];
    let node = server_of(Backend::Auto, &superior.base(), &deadline);
    let (mut superior, _) = superior.called();
    let mut impatient = publish(&node, "cam7", "right-7");
    let request = superior.wait("PUBLISH-REQUEST", "cam7");
    impatient.is_refused();
    accept(&mut superior, &request, ID);
    assert_eq!(superior.wait("PUBLISH-END", "cam7").get("Stream-ID"), ID);
    let publisher = publish(&node, "cam7", "right-7");
    let request = superior.wait("PUBLISH-REQUEST", "cam7");
    accept(&mut superior, &request, LATER);
    on_air(&node, "cam7");
    publisher.kill();
    assert_eq!(superior.wait("PUBLISH-END", "cam7").get("Stream-ID"), LATER);
    node.stop();
}

#[test]
fn a_node_that_ends_ends_its_publications_first() {
    let superior = Superior::new();
    let mut node = server_of(Backend::Auto, &superior.base(), &[]);
    let (mut superior, _) = superior.called();
    let publisher = publish(&node, "cam7", "right-7");
    let request = superior.wait("PUBLISH-REQUEST", "cam7");
    accept(&mut superior, &request, ID);
    on_air(&node, "cam7");
    node.terminate();
    publisher.ends();
    assert_eq!(superior.wait("PUBLISH-END", "cam7").get("Stream-ID"), ID);
    superior.hears_the_farewell();
    node.stop();
}
