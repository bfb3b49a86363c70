//! A node as a streaming server of another node: the application of that one judges who publishes
//! to this one, its encoders pull from this one, and each failure has its one consequence.

use serde_json::Value;

use super::application::{Application, Fault};
use super::attached::pulls;
use super::client::{is, server_of};
use super::peer::{Peer, SECRET};
use super::stage::{close, node_with, report, report_until, url};
use crate::clip::Clip;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Server};

#[test]
fn a_node_is_a_server_of_another_one_on_io_uring() {
    a_node_is_a_server_of_another_one(Backend::IoUring);
}

#[test]
fn a_node_is_a_server_of_another_one_on_epoll() {
    a_node_is_a_server_of_another_one(Backend::Epoll);
}

fn a_node_is_a_server_of_another_one(backend: Backend) {
    let application = Application::start(5..=9);
    // Its own encoder has no place, so that without another one nobody is let in.
    let (secret, full) = (("CONTROL_SECRET", SECRET), ("SERVER_CAPACITY", "0"));
    let coordinator = node_with(backend, &application, Folder::new(), &[secret, full]);
    let address = coordinator.control.to_string();
    let edge = server_of(backend, &format!("ws://{address}"), &[]);
    is(&edge, "connected");
    publish(&edge, 7, "right-7").is_refused();
    let mut encoder = encoder(&coordinator, 2);
    who_has_no_key_is_refused(&edge, &application);
    let servers = report(&coordinator)["streamingServers"].clone();
    assert_eq!(servers[1]["port"], edge.rtmp.port(), "{servers:#}");

    an_encoder_pulls_from_it(&coordinator, &edge, &application, &mut encoder);
    the_end_of_a_task_is_the_end_of_the_publisher(&edge, &mut encoder);

    let publisher = publish(&edge, 9, "right-9");
    // He is in: the yes to him may come after what the encoder is told.
    pulls(&encoder.wait("ENCODE-START", "cam9"));
    let folder = coordinator.kill();
    is(&edge, "away");
    let place = ("GRANDSTAND_LISTENERS__CONTROL__ADDR", address.as_str());
    let again = node_with(backend, &application, folder, &[secret, full, place]);
    let mut encoder = self::encoder(&again, 2);
    // Without an encoder it said no; the publication stays and is asked about again.
    let start = encoder.wait("ENCODE-START", "cam9");
    assert_eq!(start.get("Stream-Source-URI"), url(&edge, "cam9", "right-9"));
    pulls(&start);
    publisher.interrupt();
    encoder.wait("ENCODE-STOP", "cam9");
    encoder.tell("STREAM-CLOSED", "cam9", start.get("Stream-ID"));

    let publisher = publish(&edge, 9, "right-9");
    let id = encoder.wait("ENCODE-START", "cam9").get("Stream-ID").to_owned();
    edge.stop();
    publisher.ends();
    assert_eq!(encoder.wait("ENCODE-STOP", "cam9").get("Stream-ID"), id);
    report_until(&again, |report| report["streamingServers"][1].is_null());
    again.stop();
}

/// An encoder that takes any number, as the `number`th of the coordinator.
fn encoder(coordinator: &Server, number: usize) -> Peer {
    let mut encoder = Peer::attach(coordinator, "hls", &[]);
    encoder.register("-1");
    let is = |report: &Value| report["encoders"].as_array().is_some_and(|all| all.len() == number);
    report_until(coordinator, is);
    encoder
}

fn publish(edge: &Server, number: u32, key: &str) -> Publisher {
    Publisher::ffmpeg_endless(Clip::Small, &url(edge, &format!("cam{number}"), key))
}

fn who_has_no_key_is_refused(edge: &Server, application: &Application) {
    publish(edge, 7, "wrong").is_refused();
    assert_eq!(application.wait_asked("cam7", 1).header("x-user-ip"), "127.0.0.1");
    application.fail_keys("cam5", Fault::Error);
    publish(edge, 5, "right-5").is_refused();
}

fn an_encoder_pulls_from_it(
    coordinator: &Server,
    edge: &Server,
    application: &Application,
    encoder: &mut Peer,
) {
    let publisher = publish(edge, 7, "right-7");
    let start = encoder.wait("ENCODE-START", "cam7");
    assert_eq!(start.get("Stream-Source-URI"), url(edge, "cam7", "right-7"));
    pulls(&start);
    let id = start.get("Stream-ID");
    encoder.available("cam7", id);
    application.wait_available("cam7");
    // Nobody else has the channel, at either node.
    publish(coordinator, 7, "right-7").is_refused();
    assert_eq!(close(coordinator, "cam7", id, true), "200");
    publisher.ends();
    assert_eq!(encoder.wait("ENCODE-STOP", "cam7").get("Stream-ID"), id);
    encoder.tell("STREAM-CLOSED", "cam7", id);
    application.wait_closed(id);
}

fn the_end_of_a_task_is_the_end_of_the_publisher(edge: &Server, encoder: &mut Peer) {
    let publisher = publish(edge, 8, "right-8");
    let start = encoder.wait("ENCODE-START", "cam8");
    pulls(&start);
    encoder.tell("STREAM-CLOSED", "cam8", start.get("Stream-ID"));
    publisher.ends();
    let client = is(edge, "connected");
    assert_eq!(client["kills"], 2, "{client:#}");
}
