//! Streaming servers and encoders of the family with this node as their coordinator: encoders pull
//! from it, publishers of servers are verified, and each failure has its one consequence.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::application::{Application, Fault};
use super::peer::{Frame, Peer, SECRET};
use super::stage::{capacity, close, node_with, report, report_until, url};
use crate::clip::{Clip, FFMPEG};
use crate::http_flv::get;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Server};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn servers_and_encoders_attach_on_io_uring() {
    servers_and_encoders_attach(Backend::IoUring);
}

#[test]
fn servers_and_encoders_attach_on_epoll() {
    servers_and_encoders_attach(Backend::Epoll);
}

fn servers_and_encoders_attach(backend: Backend) {
    let application = Application::start(5..=9);
    let node = coordinator(backend, &application, Folder::new());
    strangers_are_refused(&node);
    let mut first = Peer::attach(&node, "hls", &[]);
    first.register("2");
    report_until(&node, |report| report["encoders"].as_array().is_some_and(|all| all.len() == 2));

    let publisher = publish(&node, 7);
    let seven = an_encoder_pulls(&node, &application, &mut first);
    let headers = [("x-external-ip", "198.51.100.4"), ("x-custom-port", "1936")];
    let mut server = Peer::attach(&node, "rtmp", &headers);
    let eight = publishers_of_a_server_are_verified(&node, &application, &mut server, &mut first);
    what_no_other_encoder_takes_is_encoded_here(&node, &application);

    let mut second = Peer::attach(&node, "hls", &[]);
    second.register("-1");
    peers_are_listed(&node);
    a_dead_encoder_is_replaced(&node, first, &mut second, [&seven, &eight]);
    a_close_ends_it_at_its_server(&node, &application, &mut server, &mut second, &eight);
    a_lost_server_ends_its_publications(&application, server, &mut second);
    // An encoder that gives up ends what is published here, too.
    second.tell("STREAM-CLOSED", "cam7", &seven);
    publisher.ends();
    application.wait_closed(&seven);
    second.available("cam7", &seven);
    a_restart_ends_what_was_announced(backend, &application, node, second);
}

fn coordinator(backend: Backend, application: &Application, folder: Folder) -> Server {
    node_with(backend, application, folder, &[("CONTROL_SECRET", SECRET)])
}

fn publish(node: &Server, number: u32) -> Publisher {
    let url = url(node, &format!("cam{number}"), &format!("right-{number}"));
    Publisher::ffmpeg_endless(Clip::Small, &url)
}

fn strangers_are_refused(node: &Server) {
    for role in ["rtmp", "wss", "hls"] {
        assert_eq!(get(node.control, &format!("/ws/control/{role}"), "").0, 403);
        let subject = format!("{role}-control");
        assert_eq!(Peer::refused(node, role, &subject, "another"), 403);
        assert_eq!(Peer::refused(node, role, "control", SECRET), 403);
    }
    assert_eq!(Peer::refused(node, "hls", "rtmp-control", SECRET), 403);
    assert_eq!(report(node)["encoders"], json!([{ "id": 1, "capacity": 3, "load": 0 }]));
}

/// The stream is the encoder's: it is told what to make of it, gets frames, and what it says is
/// told; what this node makes of it meanwhile is not.
fn an_encoder_pulls(node: &Server, application: &Application, encoder: &mut Peer) -> String {
    let start = encoder.wait("ENCODE-START", "cam7");
    let told = ["Stream-Source-Type", "Resolutions", "Record", "Previews"];
    assert_eq!(
        told.map(|name| start.get(name)),
        ["RTMP", "ORIGINAL,640x360-30", "True", "320x180,10"]
    );
    pulls(&start);
    let id = start.get("Stream-ID").to_owned();
    let index = encoder.available("cam7", &id);
    let event = application.wait_available("cam7");
    assert_eq!(event.header("x-index-file"), index);
    assert_eq!(event.header("x-streaming-id"), id);
    let pass = start.get("Stream-Source-URI").rsplit_once('/').expect("a path").1.to_owned();
    assert_ne!(pass, "right-7", "the publisher's key is not given away");
    assert_eq!(get(node.http, &format!("/cam7.flv?key={pass}x"), "").0, 403);
    encoder.say(
        "STREAM-AVAILABLE",
        &[
            ("stream-channel", "cam7"),
            ("stream-id", &id),
            ("stream-type", "HLS-VOD"),
            ("resolution", "640x360-30"),
            ("index-file", "vod/2.m3u8"),
            ("start-time", "61.5"),
        ],
    );
    let vod = application.wait_told(|told| told.header("x-stream-type") == "HLS-VOD");
    assert_eq!(vod.header("x-start-time"), "61.5");
    id
}

/// An encoder reads frames at the address that it was told.
pub(super) fn pulls(start: &Frame) {
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]);
    command.arg(start.get("Stream-Source-URI"));
    command.args(["-frames:v", "20", "-f", "null", "-"]);
    Process::start(&mut command).finish(PATIENCE);
}

fn publishers_of_a_server_are_verified(
    node: &Server,
    application: &Application,
    server: &mut Peer,
    encoder: &mut Peer,
) -> String {
    assert_eq!(server.publish("1", "cam8", "wrong").kind, "PUBLISH-DENY");
    let asked = application.wait_asked("cam8", 1);
    assert_eq!(asked.header("x-user-ip"), "203.0.113.9");
    // One is on the air at this node, one is no channel, and the application fails about another.
    assert_eq!(server.publish("2", "cam7", "right-7").kind, "PUBLISH-DENY");
    assert_eq!(server.publish("3", "a/b", "right-8").kind, "PUBLISH-DENY");
    application.fail_keys("cam5", Fault::Error);
    assert_eq!(server.publish("4", "cam5", "right-5").kind, "PUBLISH-DENY");
    let accept = server.publish("5", "cam8", "right-8");
    assert_eq!(accept.kind, "PUBLISH-ACCEPT");
    let id = accept.get("Stream-ID").to_owned();
    let start = encoder.wait("ENCODE-START", "cam8");
    assert_eq!(start.get("Stream-ID"), id);
    assert_eq!(start.get("Stream-Source-URI"), "rtmp://198.51.100.4:1936/cam8/right-8");
    // The channel is taken, there and here.
    assert_eq!(server.publish("6", "cam8", "right-8").kind, "PUBLISH-DENY");
    publish(node, 8).is_refused();
    let report = report(node);
    let servers = report["streamingServers"].as_array().expect("a list");
    assert_eq!(
        servers[1..],
        [json!({
            "id": 3, "ip": "198.51.100.4", "port": 1936, "ssl": false, "serverType": "RTMP",
        })]
    );
    assert_eq!(report["encoders"][1], json!({ "id": 2, "capacity": 2, "load": 2 }));
    let ends = |stream: &Value| (stream["streamServer"].clone(), stream["encoder"].clone());
    let streams: Vec<_> =
        report["activeStreams"].as_array().expect("a list").iter().map(ends).collect();
    assert_eq!(streams, [(json!(1), json!(2)), (json!(3), json!(2))]);
    assert_eq!(capacity(node), json!({ "load": 2, "capacity": 5, "encoderCount": 2 }));
    encoder.available("cam8", &id);
    application.wait_available("cam8");
    id
}

fn what_no_other_encoder_takes_is_encoded_here(node: &Server, application: &Application) {
    let publisher = publish(node, 9);
    let event = application.wait_available("cam9");
    let (status, _) = get(node.http, &format!("/{}", event.header("x-index-file")), "");
    assert_eq!(status, 200);
    assert_eq!(capacity(node), json!({ "load": 3, "capacity": 5, "encoderCount": 2 }));
    assert_eq!(close(node, "cam9", "*", true), "200");
    publisher.ends();
    application.wait_closed(event.event().1);
}

fn peers_are_listed(node: &Server) {
    let listed = "/api/v1/coordinator/peers";
    let peers = node.api_until(listed, |list| list["peers"][2]["capacity"] == -1);
    let fields = |peer: &Value| {
        ["id", "role", "address", "capacity", "streams"].map(|field| peer[field].clone())
    };
    let peers: Vec<_> = peers["peers"].as_array().expect("a list").iter().map(fields).collect();
    assert_eq!(
        peers[..2],
        [
            [json!(2), json!("hls"), json!("127.0.0.1:80"), json!(2), json!(2)],
            [json!(3), json!("rtmp"), json!("198.51.100.4:1936"), Value::Null, json!(1)],
        ]
    );
    let (status, body) = get(node.control, "/metrics", "");
    let text = String::from_utf8(body).expect("text");
    let samples = ["coordinator_peers{role=\"hls\"} 2", "coordinator_encoder_load 2"];
    assert!(status == 200 && samples.iter().all(|sample| text.contains(sample)), "{text}");
}

fn a_dead_encoder_is_replaced(node: &Server, dead: Peer, other: &mut Peer, ids: [&str; 2]) {
    drop(dead);
    for (channel, id) in ["cam7", "cam8"].into_iter().zip(ids) {
        let start = other.wait("ENCODE-START", channel);
        assert_eq!(start.get("Stream-ID"), id, "the same publication");
        if channel == "cam7" {
            pulls(&start);
        }
    }
    let row = |report: &Value| report["activeStreams"][1]["encoder"].clone();
    assert_eq!(row(&report(node)), 4);
    assert_eq!(capacity(node)["capacity"], -1);
}

fn a_close_ends_it_at_its_server(
    node: &Server,
    application: &Application,
    server: &mut Peer,
    encoder: &mut Peer,
    id: &str,
) {
    assert_eq!(close(node, "cam8", "*", true), "200");
    assert_eq!(server.wait("STREAM-KILL", "cam8").get("Stream-ID"), id);
    server.tell("PUBLISH-END", "cam8", id);
    assert_eq!(encoder.wait("ENCODE-STOP", "cam8").get("Stream-ID"), id);
    let told = application.told_of("cam8");
    assert!(told.iter().all(|told| told.0 == "stream-available"), "its encoder is not done");
    encoder.tell("STREAM-CLOSED", "cam8", id);
    application.wait_closed(id);
}

fn a_lost_server_ends_its_publications(
    application: &Application,
    mut server: Peer,
    encoder: &mut Peer,
) {
    let accept = server.publish("8", "cam8", "right-8");
    let id = accept.get("Stream-ID").to_owned();
    encoder.wait("ENCODE-START", "cam8");
    encoder.available("cam8", &id);
    application.wait_told(|told| told.event() == ("stream-available", id.as_str()));
    drop(server);
    assert_eq!(encoder.wait("ENCODE-STOP", "cam8").get("Stream-ID"), id);
    encoder.tell("STREAM-CLOSED", "cam8", &id);
    application.wait_closed(&id);
}

/// The process dies with a publication that was announced: its end is told at the next start, and
/// of all publications once.
fn a_restart_ends_what_was_announced(
    backend: Backend,
    application: &Application,
    node: Server,
    mut encoder: Peer,
) {
    let mut server = Peer::attach(&node, "wss", &[("x-ssl-use", "true")]);
    let id = server.publish("1", "cam6", "right-6").get("Stream-ID").to_owned();
    let start = encoder.wait("ENCODE-START", "cam6");
    assert_eq!(start.get("Stream-Source-Type"), "WS");
    assert_eq!(start.get("Stream-Source-URI"), "wss://127.0.0.1:80/cam6/right-6");
    encoder.available("cam6", &id);
    application.wait_told(|told| told.event() == ("stream-available", id.as_str()));
    let folder = node.kill();
    server.hears_the_end();
    encoder.hears_the_end();
    let again = coordinator(backend, application, folder);
    application.wait_closed(&id);
    let again = again.stop_in_place();
    drop(again);
    let told = application.told();
    let ends: Vec<_> = told
        .iter()
        .filter(|told| told.event().0 == "stream-closed" && told.status == 200)
        .map(|told| told.event().1)
        .collect();
    let mut each = ends.clone();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), ends.len(), "{told:#?}");
}
