//! The whole of it in one run: accounts, keys, publications, viewers, refusals, failures, orders,
//! a crash and what is left of it.

use std::time::Duration;

use super::application::{Application, Request};
use super::stage::{close, node, report, report_until, url, view, watch};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::{Folder, Server};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_application_owns_channels_keys_and_viewers() {
    let application = Application::start(&[
        ("cam6", "right-6"),
        ("cam7", "right-7"),
        ("cam8", "right-8"),
        ("cam9", "right-9"),
    ]);
    let node = node(&application.variables(), Folder::new());
    strangers_are_refused(&application, &node);
    // Two players wait for the channel; one of them has another key.
    let mut waiting = watch(&node, "cam7", "right-7", "4");
    let mut wrong = watch(&node, "cam7", "wrong-7", "4");
    node.wait_for_players("cam7", 2);
    application.fail(1);
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &url(&node, "cam7", "right-7"));
    let first = is_announced(&application, &node, "cam7");
    waiting.finish(PATIENCE);
    assert!(!wrong.wait(PATIENCE).success(), "{}", wrong.output());
    a_channel_has_one_publisher(&node, "cam7", "right-7");
    is_watched(&node, &first);
    a_slow_answer_keeps_nobody_else_waiting(&application, &node);
    orders_are_obeyed(&application, &node, publisher, &first);
    a_crash_ends_what_was_announced(&application, node);
}

/// A wrong key, a name that is none, and who commands without the credential.
fn strangers_are_refused(application: &Application, node: &Server) {
    for (channel, key) in [("cam7", "wrong"), ("nobody", "right-7"), ("cam7", "not~legal")] {
        let mut publisher = Publisher::ffmpeg_endless(Clip::H264, &url(node, channel, key));
        publisher.is_refused();
    }
    let asked = application.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.header("x-streaming-key")).collect();
    assert_eq!(keys, ["wrong", "right-7"], "what cannot be a key is not asked about");
    for asked in &asked {
        assert_eq!(asked.line, "POST /callbacks/key_verification HTTP/1.1");
        assert_eq!(asked.header("x-user-ip"), "127.0.0.1");
        assert_eq!(asked.status, 403);
    }
    assert_eq!(close(node, "cam7", "*", false), "401");
    assert_eq!(report(node)["activeStreams"], serde_json::json!([]));
    assert!(application.told().is_empty());
}

/// The application is told, again after a failure; the event that it took.
fn is_announced(application: &Application, node: &Server, channel: &str) -> Request {
    let of = |told: &Request| told.header("x-streaming-channel") == channel;
    let event = application.wait_told(|told| of(told) && told.status == 200);
    let (kind, id) = event.event();
    assert_eq!((kind, id.len()), ("stream-available", 32));
    assert_eq!(event.header("x-stream-type"), "HLS-LIVE");
    let resolution = event.header("x-resolution");
    let index = format!("hls/{channel}/{id}/{resolution}/live.m3u8");
    assert_eq!(event.header("x-index-file"), index);
    let told = application.told();
    let told: Vec<_> = told.iter().filter(|told| of(told)).map(|told| told.status).collect();
    assert_eq!(told, [500, 200], "told again after the failure, and then no more");
    let active = report(node)["activeStreams"].clone();
    let expected = serde_json::json!([
        { "channel": channel, "streamId": id, "streamServer": 1, "encoder": 1 }
    ]);
    assert_eq!(active, expected);
    event
}

fn a_channel_has_one_publisher(node: &Server, channel: &str, key: &str) {
    let mut second = Publisher::ffmpeg_endless(Clip::H264, &url(node, channel, key));
    second.is_refused();
    assert_eq!(report(node)["encoders"][0]["load"], 1);
}

/// Players that were sent to the index file by the application find pictures there.
fn is_watched(node: &Server, event: &Request) {
    let index = event.header("x-index-file");
    let (status, body) = get(node.http, &format!("/{index}"), "");
    let list = String::from_utf8(body).expect("a list is text");
    assert_eq!(status, 200, "{list}");
    assert!(list.starts_with("#EXTM3U\n") && list.contains("\nseg."), "{list}");
    view(node, index, "2").finish(PATIENCE);
    let other = index.replace(event.header("x-streaming-id"), &"0".repeat(32));
    assert_eq!(get(node.http, &format!("/{other}"), "").0, 404);
}

/// While one question is not answered, others are asked and answered.
fn a_slow_answer_keeps_nobody_else_waiting(application: &Application, node: &Server) {
    application.hold("cam8");
    let slow = Publisher::ffmpeg_endless(Clip::H264, &url(node, "cam8", "right-8"));
    application.wait_asked("cam8");
    let quick = Publisher::ffmpeg_endless(Clip::Small, &url(node, "cam9", "right-9"));
    let live = |expected: &[&str]| {
        report_until(node, |report| {
            let active = report["activeStreams"].as_array().expect("a list");
            active.iter().map(|active| &active["channel"]).eq(expected.iter())
        })
    };
    live(&["cam7", "cam9"]);
    application.let_go();
    live(&["cam7", "cam8", "cam9"]);
    // One leaves as a person does, the other is told to.
    quick.interrupt();
    assert_eq!(close(node, "cam8", "*", true), "200");
    slow.ends();
    live(&["cam7"]);
}

/// A close means the publication that it names; the player waits on and the next one is another.
fn orders_are_obeyed(
    application: &Application,
    node: &Server,
    publisher: Publisher,
    first: &Request,
) {
    let (_, id) = first.event();
    assert_eq!(close(node, "cam7", &"0".repeat(32), true), "200");
    assert_eq!(report(node)["activeStreams"][0]["streamId"], id);
    assert_eq!(close(node, "cam7", id, true), "200");
    publisher.ends();
    let closed = application.wait_told(|told| told.event() == ("stream-closed", id));
    assert_eq!((closed.status, closed.header("x-index-file")), (200, ""));
    report_until(node, |report| report["activeStreams"] == serde_json::json!([]));
}

/// What was announced when the process died is told over when it starts again, once.
fn a_crash_ends_what_was_announced(application: &Application, crashing: Server) {
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &url(&crashing, "cam6", "right-6"));
    let announced = application.wait_told(|told| {
        told.header("x-streaming-channel") == "cam6" && told.event().0 == "stream-available"
    });
    let (_, id) = announced.event();
    // Once it was heard that it was taken, which is on the disk soon: both orders are right.
    let folder = crashing.kill();
    publisher.ends();
    let again = node(&application.variables(), folder);
    application.wait_told(|told| told.event() == ("stream-closed", id));
    let folder = again.stop_in_place();
    let last = node(&application.variables(), folder);
    last.stop();
    let told = application.told();
    let closed = |told: &&Request| told.event().0 == "stream-closed";
    let ends = told.iter().filter(closed).filter(|told| told.event().1 == id).count();
    assert_eq!(ends, 1, "{told:#?}");
    // Nothing ended that had not been announced.
    for end in told.iter().filter(closed) {
        let (_, id) = end.event();
        let announced = told.iter().any(|told| told.event() == ("stream-available", id));
        assert!(announced, "{id} was never announced: {told:#?}");
    }
}
