//! Publications of attached servers that no attached encoder takes: the encoder of the node pulls
//! them from their servers, one of which is ffmpeg.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use super::application::Application;
use super::peer::{Peer, SECRET};
use super::stage::{capacity, node_with, report_until, view};
use crate::clip::{Clip, FFMPEG};
use crate::http_flv::get;
use crate::process::Process;
use crate::server::{Backend, Folder};

#[test]
fn the_encoder_of_the_node_pulls_on_io_uring() {
    the_encoder_of_the_node_pulls(Backend::IoUring);
}

#[test]
fn the_encoder_of_the_node_pulls_on_epoll() {
    the_encoder_of_the_node_pulls(Backend::Epoll);
}

/// A port of this host that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has ports");
    listener.local_addr().expect("it is bound").port()
}

/// A server of RTMP that plays a clip to whoever comes first.
fn source(port: u16, path: &str) -> Process {
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-re"]);
    command.args(["-stream_loop", "-1", "-i"]).arg(Clip::Small.file());
    command.args(["-map", "0", "-c", "copy", "-f", "flv", "-listen", "1"]);
    command.arg(format!("rtmp://127.0.0.1:{port}/{path}"));
    Process::start(&mut command)
}

fn the_encoder_of_the_node_pulls(backend: Backend) {
    let application = Application::start(7..=8);
    let more = [("CONTROL_SECRET", SECRET), ("GRANDSTAND_STREAM__GRACE_MS", "1000")];
    let node = node_with(backend, &application, Folder::new(), &more);
    let port = free_port();
    let number = port.to_string();
    let headers = [("x-external-ip", "127.0.0.1"), ("x-custom-port", number.as_str())];
    let mut server = Peer::attach(&node, "rtmp", &headers);
    let _seven = source(port, "cam7/right-7");
    let accept = server.publish("1", "cam7", "right-7");
    assert_eq!(accept.kind, "PUBLISH-ACCEPT");
    let id = accept.get("Stream-ID").to_owned();
    let event = application.wait_available("cam7");
    assert_eq!(event.header("x-streaming-id"), id);
    let index = event.header("x-index-file").to_owned();
    assert_eq!(get(node.http, &format!("/{index}"), "").0, 200);
    view(&node, &index, "1").finish(std::time::Duration::from_secs(60));
    let active = report_until(&node, |report| report["activeStreams"][0]["channel"] == "cam7");
    let row = &active["activeStreams"][0];
    assert_eq!((&row["streamServer"], &row["encoder"]), (&json!(2), &json!(1)));
    assert_eq!(capacity(&node), json!({ "load": 1, "capacity": 3, "encoderCount": 1 }));
    // Whoever shows the publisher's key plays it here.
    let flv = |key: &str| {
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]);
        command.arg(super::stage::url(&node, "cam7", key));
        command.args(["-frames:v", "5", "-f", "null", "-"]);
        Process::start(&mut command)
    };
    flv("right-7").finish(std::time::Duration::from_secs(60));
    server.tell("PUBLISH-END", "cam7", &id);
    application.wait_closed(&id);

    // Its publisher goes without a word of his server: that is told that he has to.
    let mut eight = source(port, "cam8/right-8");
    let id = server.publish("2", "cam8", "right-8").get("Stream-ID").to_owned();
    application.wait_available("cam8");
    eight.signal("KILL");
    assert_eq!(server.wait("STREAM-KILL", "cam8").get("Stream-ID"), id);
    server.tell("PUBLISH-END", "cam8", &id);
    application.wait_closed(&id);
    let node = node.stop_in_place();
    drop(node);
    for channel in ["cam7", "cam8"] {
        let told = application.told_of(channel);
        let ends = told.iter().filter(|told| told.0 == "stream-closed" && told.2 == 200);
        assert_eq!(ends.count(), 1, "{told:#?}");
    }
}
