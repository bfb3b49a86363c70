//! Who may view is asked of the control plane once, not with each segment.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod node;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dataplane::config::{Config, Reload};
use dataplane::control::{
    AuthorizeRequest, CloseReason, Command, Denial, Grant, Intent, Protocol, Verdict,
};
use dataplane::ids::StreamName;
use node::{FRAME_MS, Publisher, Server, TIME_BOUND, Viewer, certificate};

on_both_backends! {
    one_question_for_many_requests
    a_verdict_is_for_one_key
    a_refusal_is_asked_about_again
    a_verdict_ends_with_its_time
    a_kick_of_somebody_else_forgets_nothing_and_a_reload_asks_again
    a_verdict_may_rename
    unknown_streams_leave_no_verdict
    an_answer_that_does_not_come_is_a_refusal
}

const SEGMENT_FRAMES: u32 = 2_000 / FRAME_MS;

/// One shard, because each remembers for itself; a stream with two segments, and every question
/// about viewers, which `judge` answers.
fn scene(
    mut config: Config,
    judge: impl Fn(&AuthorizeRequest) -> Option<Verdict> + Send + 'static,
) -> (Server, Publisher, Receiver<AuthorizeRequest>) {
    config.shards.truncate(1);
    let server = Server::start(config);
    let (told, questions) = channel();
    server.control.judge(Box::new(move |request| {
        if request.intent == Intent::Publish {
            return Some(Verdict::Allow(Grant::to(request.stream.clone())));
        }
        drop(told.send(request.clone()));
        judge(request)
    }));
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2 * SEGMENT_FRAMES + 1);
    (server, publisher, questions)
}

fn allow(request: &AuthorizeRequest) -> Option<Verdict> {
    Some(Verdict::Allow(Grant::to(request.stream.clone())))
}

fn one_question_for_many_requests(config: Config) {
    let (server, _publisher, questions) = scene(config, allow);
    let mut viewer = Viewer::connect(server.http);
    viewer.ask("GET", "/cam/index.m3u8?key=k", "User-Agent: v/1\r\n");
    assert_eq!(viewer.answer().status, 200);
    let asked = questions.try_recv().unwrap();
    assert_eq!((asked.intent, asked.protocol), (Intent::Play, Protocol::Hls));
    assert_eq!((asked.stream.as_str(), &*asked.key.0, &*asked.agent), ("cam", "k", "v/1"));
    assert_eq!(asked.peer, viewer.socket.local_addr().unwrap());
    let list = viewer.found("/cam/media.m3u8?key=k");
    for uri in list.uris() {
        viewer.found(&format!("/cam/{uri}"));
    }
    // The same viewer on another connection.
    Viewer::connect(server.http).found("/live/cam/index.m3u8?key=k");
    assert!(questions.try_recv().is_err(), "asked once");
    assert_eq!(server.control.snapshot().sum(|c| c.authorize_asked), 2, "and the publisher");
}

fn a_verdict_is_for_one_key(config: Config) {
    let (server, _publisher, questions) = scene(config, |request| {
        let known = request.key.0 == "k";
        if known { allow(request) } else { Some(Verdict::Deny(Denial::Forbidden)) }
    });
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/index.m3u8?key=k");
    for key in ["", "?key=", "?key=K", "?key=kk", "?key=k%00"] {
        let status = viewer.get(&format!("/cam/index.m3u8{key}")).status;
        assert!(matches!(status, 403 | 404), "{key}: {status}");
    }
    viewer.found("/cam/index.m3u8?key=k");
    let keys: Vec<_> = questions.try_iter().map(|request| request.key.0).collect();
    assert_eq!(keys, ["k", "", "", "K", "kk"]);
}

fn a_refusal_is_asked_about_again(config: Config) {
    let (server, _publisher, questions) = scene(config, |_| Some(Verdict::Deny(Denial::Forbidden)));
    let mut viewer = Viewer::connect(server.http);
    for _ in 0..5 {
        assert_eq!(viewer.get("/cam/seg.1.ts").status, 403);
    }
    assert_eq!(questions.try_iter().count(), 5);
}

fn a_verdict_ends_with_its_time(mut config: Config) {
    config.stream.hls.verdict = Duration::from_millis(200);
    config.limits.http_requests_max = u64::MAX;
    let (server, _publisher, questions) = scene(config, allow);
    let mut viewer = Viewer::connect(server.http);
    let late = Instant::now() + TIME_BOUND;
    let mut requests = 0;
    while questions.try_iter().count() == 0 || requests < 2 {
        assert!(Instant::now() < late, "never asked again");
        viewer.found("/cam/index.m3u8");
        requests += 1;
    }
    while questions.try_recv().is_err() {
        assert!(Instant::now() < late, "never asked again");
        viewer.found("/cam/index.m3u8");
        std::thread::yield_now();
    }
}

fn a_kick_of_somebody_else_forgets_nothing_and_a_reload_asks_again(config: Config) {
    let reload = Arc::new(Reload {
        limits: config.limits.clone(),
        egress: config.egress,
        session: config.session.clone(),
        auth: config.auth,
        stream: config.stream,
        listeners: Vec::new(),
        srt: config.srt.clone(),
        tls: None,
    });
    let (server, _publisher, questions) = scene(config, allow);
    let asked = || questions.try_iter().count();
    let mut viewer = Viewer::connect(server.http);
    viewer.found("/cam/index.m3u8");
    viewer.found("/cam/index.m3u8");
    assert_eq!(asked(), 1);
    let kicked = Viewer::connect(server.http);
    let peer = kicked.socket.local_addr().unwrap();
    let shown = |totals: &node::Totals| totals.session_of(peer).is_some();
    let (shard, session) = server.control.until("it is shown", shown).session_of(peer).unwrap();
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    server.control.until("it is gone", |totals| !shown(totals));
    viewer.found("/cam/index.m3u8");
    assert_eq!(asked(), 0, "it did not name who views");
    server.control.send(shard, Command::Identity(certificate().identity()));
    server.control.snapshot();
    viewer.found("/cam/index.m3u8");
    server.control.snapshot();
    assert_eq!(asked(), 0, "a renewed certificate is no reason to doubt anybody");
    server.control.send(shard, Command::Reload(reload));
    server.control.snapshot();
    // It is served meanwhile.
    viewer.found("/cam/index.m3u8");
    questions.recv_timeout(TIME_BOUND).unwrap();
}

fn a_verdict_may_rename(config: Config) {
    let (server, _publisher, questions) =
        scene(config, |_| Some(Verdict::Allow(Grant::to(StreamName::parse("cam").unwrap()))));
    let mut viewer = Viewer::connect(server.http);
    let index = viewer.found("/alias/index.m3u8");
    let list = viewer.found(&format!("/alias/{}", index.uris()[0]));
    viewer.found(&format!("/alias/{}", list.uris()[0]));
    assert_eq!(questions.try_iter().count(), 1);
}

fn unknown_streams_leave_no_verdict(config: Config) {
    let (server, _publisher, questions) = scene(config, allow);
    let mut viewer = Viewer::connect(server.http);
    for _ in 0..3 {
        assert_eq!(viewer.get("/nobody/index.m3u8").status, 404);
    }
    assert_eq!(questions.try_iter().count(), 3);
}

fn an_answer_that_does_not_come_is_a_refusal(mut config: Config) {
    config.session.authorize_deadline = Duration::from_millis(200);
    let (server, _publisher, questions) = scene(config, |_| None);
    let mut viewer = Viewer::connect(server.http);
    let answer = viewer.get("/cam/index.m3u8");
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("2")));
    assert_eq!(questions.try_iter().count(), 1);
}
