//! The whole of it in one run: accounts, keys, publications, viewers, refusals, failures, returns,
//! orders, a crash and what is left of it.

use std::time::Duration;

use serde_json::json;

use super::application::{Application, Fault, Request};
use super::stage::{capacity, close, live, node, report, report_until, url, view, watch};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Server};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_application_owns_channels_keys_and_viewers_on_io_uring() {
    an_application_owns_channels_keys_and_viewers(Backend::IoUring);
}

#[test]
fn an_application_owns_channels_keys_and_viewers_on_epoll() {
    an_application_owns_channels_keys_and_viewers(Backend::Epoll);
}

fn an_application_owns_channels_keys_and_viewers(backend: Backend) {
    let application = Application::start(4..=9);
    let node = node(backend, &application, Folder::new());
    strangers_are_refused(&application, &node);
    let unanswered = nobody_verifies(&application, &node);
    // Two players wait for the channel; one of them has another key.
    let mut waiting = watch(&node, "cam7", "right-7", "4");
    let mut wrong = watch(&node, "cam7", "wrong-7", "4");
    node.wait_for_players("cam7", 2);
    application.fail_events("cam7", Fault::Error, 1);
    let publisher = publish(&node, 7, Clip::H264);
    let first = is_announced(&application, &node);
    waiting.finish(PATIENCE);
    assert!(!wrong.wait(PATIENCE).success(), "{}", wrong.output());
    publish(&node, 7, Clip::H264).is_refused();
    assert_eq!(report(&node)["encoders"][0], json!({ "id": 1, "capacity": 3, "load": 1 }));
    is_watched(&node, &first);
    what_it_may_do_is_shown(&node);
    nobody_waits_for_another_channel(&application, &node);
    for mut publisher in unanswered {
        publisher.is_refused();
    }
    let publisher = a_publisher_comes_back(&application, &node, publisher, &first);
    orders_are_obeyed(&application, &node, publisher, &first);
    a_crash_loses_nothing(&application, backend, node);
    each_announcement_has_one_end(&application);
}

/// An encoder that publishes `camN` with its key until it is stopped.
fn publish(node: &Server, number: u32, clip: Clip) -> Publisher {
    let url = url(node, &format!("cam{number}"), &format!("right-{number}"));
    Publisher::ffmpeg_endless(clip, &url)
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
    assert_eq!(report(node)["activeStreams"], json!([]));
    assert!(application.told().is_empty());
}

/// Right keys about which the application gives no answer, or none in time: both will be refused.
fn nobody_verifies(application: &Application, node: &Server) -> [Publisher; 2] {
    application.fail_keys("cam4", Fault::Error);
    application.fail_keys("cam5", Fault::Silence);
    let publishers = [4, 5].map(|number| publish(node, number, Clip::Small));
    application.wait_asked("cam4", 1);
    application.wait_asked("cam5", 1);
    publishers
}

/// The application is told, again after a failure; the event that it took.
fn is_announced(application: &Application, node: &Server) -> Request {
    let event = application.wait_available("cam7");
    let (_, id) = event.event();
    assert_eq!(id.len(), 32);
    assert_eq!(event.line, "POST /callbacks/events HTTP/1.1");
    assert_eq!(event.header("x-stream-type"), "HLS-LIVE");
    let resolution = event.header("x-resolution");
    let index = format!("hls/cam7/{id}/{resolution}/live.m3u8");
    assert_eq!(event.header("x-index-file"), index);
    let told = application.told_of("cam7");
    let told: Vec<_> = told.iter().map(|(_, _, status)| *status).collect();
    assert_eq!(told, [500, 200], "told again after the failure, and then no more");
    let active = report(node)["activeStreams"].clone();
    let expected = json!([{ "channel": "cam7", "streamId": id, "streamServer": 1, "encoder": 1 }]);
    assert_eq!(active, expected);
    event
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

/// The policy stands with the stream and with the session that publishes it, in its one form.
fn what_it_may_do_is_shown(node: &Server) {
    let policy = json!({
        "record": true, "previews": "320x180,10", "resolutions": "ORIGINAL,640x360-30",
    });
    assert_eq!(node.api("/api/v1/streams/cam7")["policy"], policy);
    let sessions = node.api("/api/v1/sessions?stream=cam7&role=publish");
    assert_eq!(sessions["sessions"][0]["policy"], policy, "{sessions:#}");
}

/// While one question is not answered and one event not taken, others are; and there is room for
/// no more channels than the encoder takes.
fn nobody_waits_for_another_channel(application: &Application, node: &Server) {
    application.hold("cam8");
    let slow = publish(node, 8, Clip::H264);
    application.wait_asked("cam8", 1);
    application.fail_events("cam9", Fault::Silence, 1);
    let quick = publish(node, 9, Clip::Small);
    live(node, &["cam7", "cam9"]);
    application.wait_told(|told| told.channel() == "cam9");
    application.let_go();
    live(node, &["cam7", "cam8", "cam9"]);
    assert_eq!(capacity(node), json!({ "load": 3, "capacity": 3, "encoderCount": 1 }));
    publish(node, 6, Clip::Small).is_refused();
    for event in [application.wait_available("cam8"), application.wait_available("cam9")] {
        view(node, event.header("x-index-file"), "1").finish(PATIENCE);
    }
    let told: Vec<_> = application.told_of("cam9").into_iter().map(|told| told.2).collect();
    assert_eq!(told, [0, 200], "told again when nobody answered");
    // One leaves as a person does, the other is told to.
    quick.interrupt();
    assert_eq!(close(node, "cam8", "*", true), "200");
    slow.ends();
    live(node, &["cam7"]);
}

/// An encoder that loses its connection and comes back goes on with its publication: nothing is
/// told, and who watches stays.
fn a_publisher_comes_back(
    application: &Application,
    node: &Server,
    lost: Publisher,
    first: &Request,
) -> Publisher {
    let (_, id) = first.event();
    let mut stays = watch(node, "cam7", "right-7", "12");
    let playing = "/api/v1/sessions?stream=cam7&role=play&protocol=rtmp";
    node.api_until(playing, |answer| answer["sessions"][0]["state"] == "playing");
    let before = node.api("/api/v1/streams/cam7")["publisher"].clone();
    lost.kill();
    node.api_until("/api/v1/streams/cam7", |stream| stream["state"] == "grace");
    assert_eq!(report(node)["activeStreams"][0]["streamId"], id, "within the grace time");
    let publisher = publish(node, 7, Clip::H264);
    node.api_until("/api/v1/streams/cam7", |stream| {
        stream["state"] == "live" && stream["publisher"] != before
    });
    application.wait_asked("cam7", 4);
    stays.finish(PATIENCE);
    view(node, first.header("x-index-file"), "2").finish(PATIENCE);
    assert_eq!(report(node)["activeStreams"][0]["streamId"], id, "the same publication");
    assert_eq!(application.told_of("cam7").len(), 2, "nothing was told");
    publisher
}

/// A close means the publication that it names; what ended is served for a while, as over.
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
    let closed = application.wait_closed(id);
    assert_eq!((closed.header("x-index-file"), closed.header("x-stream-type")), ("", ""));
    report_until(node, |report| report["activeStreams"] == json!([]));
    let (status, body) = get(node.http, &format!("/{}", first.header("x-index-file")), "");
    let list = String::from_utf8(body).expect("a list is text");
    assert!(status == 200 && list.contains("#EXT-X-ENDLIST"), "{status} {list}");
}

/// What was announced when the process died is told over when it starts again, once; what it had
/// not been able to announce is announced first.
fn a_crash_loses_nothing(application: &Application, backend: Backend, crashing: Server) {
    application.fail_events("cam6", Fault::Error, u32::MAX);
    let publishers = [6, 8].map(|number| publish(&crashing, number, Clip::H264));
    let untaken = application.wait_told(|told| told.channel() == "cam6");
    let (kind, id) = untaken.event();
    assert_eq!((kind, untaken.status), ("stream-available", 500));
    let told = |told: &Request| told.channel() == "cam8" && told.event().0 == "stream-available";
    let first = application.told_of("cam8")[0].1.clone();
    let taken = application.wait_told(|it| told(it) && it.event().1 != first);
    // Heard, and on the disk soon: both orders are right.
    let folder = crashing.kill();
    for publisher in publishers {
        publisher.ends();
    }
    application.take_events("cam6");
    let again = node(backend, application, folder);
    application.wait_closed(id);
    application.wait_closed(taken.event().1);
    let of_six = application.told_of("cam6");
    let taken: Vec<_> = of_six.iter().filter(|told| told.2 == 200).collect();
    let kinds: Vec<_> = taken.iter().map(|(kind, of, _)| (kind.as_str(), of == id)).collect();
    assert_eq!(kinds, [("stream-available", true), ("stream-closed", true)]);
    // The next start has nothing to tell.
    let count = application.told().len();
    let folder = again.stop_in_place();
    node(backend, application, folder).stop();
    assert_eq!(application.told().len(), count);
}

/// Of every publication: announced until that was taken, then its end, once.
fn each_announcement_has_one_end(application: &Application) {
    let told = application.told();
    let taken: Vec<_> = told.iter().filter(|told| told.status == 200).map(Request::event).collect();
    for &(_, id) in &taken {
        let mut kinds: Vec<_> = taken.iter().filter(|of| of.1 == id).map(|of| of.0).collect();
        // An answer that was on its way when the process died is asked for again.
        kinds.dedup();
        assert_eq!(kinds, ["stream-available", "stream-closed"], "{id}: {told:#?}");
        let ends = taken.iter().filter(|of| **of == ("stream-closed", id)).count();
        assert_eq!(ends, 1, "{id}: {told:#?}");
    }
}
