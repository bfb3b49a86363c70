//! Viewers who are asked about again while they view: ends of verdicts, doubt, control planes that
//! give no answer, kicks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dataplane::config::{Config, HlsSession, ListenerConfig, Reload};
use dataplane::control::{
    AuthorizeRequest, CloseReason, Command, Denial, Grant, Intent, Role, SessionEvent, Verdict,
};
use dataplane::ids::StreamId;

use super::views::{ended, everywhere, started, token_of, told_apart};
use super::{node, publish};
use crate::node::{Server, TIME_BOUND, Viewer};
use crate::on_both_backends;

on_both_backends! {
    a_verdict_that_ended_is_asked_for_again_and_a_no_ends_the_view
    doubted_verdicts_are_taken_until_the_answer_comes
    a_stated_end_is_the_end_though_nobody_answers
    who_was_let_in_goes_on_while_nobody_answers
    who_is_in_is_asked_about_with_the_time_at_which_he_came_in
    what_lets_nobody_in_any_more_sends_nobody_away
    an_application_judges_every_piece_by_the_same_words
    a_no_to_somebody_elses_question_ends_no_view
    a_kick_withdraws_what_it_names
    a_kicked_viewer_has_no_use_of_a_spare_token
    viewers_of_a_publication_are_known_by_address_and_agent
}

/// Longer than any case.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// Asks with this from now on, and counts the questions of players.
pub(super) fn judge(
    server: &Server,
    verdict: impl Fn(&AuthorizeRequest) -> Option<Verdict> + Send + 'static,
) -> Arc<AtomicU64> {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    server.control.judge(Box::new(move |request| {
        if request.intent == Intent::Play {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        verdict(request)
    }));
    asked
}

pub(super) fn yes(request: &AuthorizeRequest) -> Verdict {
    Verdict::Allow(Grant::to(request.stream.clone()))
}

fn no(_: &AuthorizeRequest) -> Option<Verdict> {
    Some(Verdict::Deny(Denial::Forbidden))
}

/// Asks for `target` again and again until `is` says so; it is always answered with a status of
/// `expected`.
fn poll(viewer: &mut Viewer, target: &str, expected: &[u16], is: impl Fn(u16) -> bool) {
    let late = Instant::now() + TIME_BOUND;
    loop {
        let status = viewer.get(target).status;
        assert!(expected.contains(&status), "{target}: {status}");
        if is(status) {
            return;
        }
        assert!(Instant::now() < late, "{target}: never");
        std::thread::yield_now();
    }
}

fn a_verdict_that_ended_is_asked_for_again_and_a_no_ends_the_view(mut config: Config) {
    config.stream.hls.verdict = Duration::ZERO;
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let asked = judge(&server, |request| {
        let holds = Some(Duration::ZERO);
        Some(Verdict::Allow(Grant { holds, ..Grant::to(request.stream.clone()) }))
    });
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    let list = viewer.found(&media);
    let (_, session, _) = started(&server);
    let first = asked.load(Ordering::Relaxed);
    // It is asked for twice more, a second apart, and the viewer notices nothing.
    poll(&mut viewer, &media, &[200], |_| asked.load(Ordering::Relaxed) >= first + 2);
    judge(&server, no);
    poll(&mut viewer, &media, &[200, 403], |status| status == 403);
    assert_eq!(ended(&server, session).0, CloseReason::Expired);
    everywhere(&server, &media, 403);
    everywhere(&server, &format!("/cam/{}", list.uris()[0]), 403);
    assert_eq!(viewer.get("/cam/index.m3u8?key=k").status, 403);
    judge(&server, |request| Some(yes(request)));
    let again = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    viewer.found(&again);
    everywhere(&server, &media, 403);
}

fn doubted_verdicts_are_taken_until_the_answer_comes(mut config: Config) {
    config.session.authorize_deadline = Duration::from_millis(300);
    config.stream.hls.verdict_stale = LONG;
    let config = told_apart(config);
    let server = Server::start(config.clone());
    let listeners = server.listeners();
    let patient = stale_for(&config, listeners, LONG);
    let strict = stale_for(&config, listeners, Duration::ZERO);
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    viewer.found(&media);
    let (_, session, _) = started(&server);
    // No answer comes: the viewer is served.
    let asked = judge(&server, |_| None);
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    poll(&mut viewer, &media, &[200], |_| asked.load(Ordering::Relaxed) >= 2);
    // But not for longer than he may be.
    server.control.send_all(|| Command::Reload(Arc::clone(&strict)));
    server.control.snapshot();
    poll(&mut viewer, &media, &[200, 503], |status| status == 503);
    // Whoever asks meanwhile is refused for now only: the view is the same when an answer comes.
    judge(&server, |request| Some(yes(request)));
    everywhere(&server, &media, 200);
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 1);
    // Nobody knows is no no.
    server.control.send_all(|| Command::Reload(Arc::clone(&patient)));
    judge(&server, |_| Some(Verdict::Deny(Denial::Unavailable)));
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    viewer.found(&media);
    judge(&server, no);
    server.control.send_all(|| Command::DoubtVerdicts);
    poll(&mut viewer, &media, &[200, 403], |status| status == 403);
    assert_eq!(ended(&server, session).0, CloseReason::Expired);
}

/// The same configuration, but what is stale is taken for so long.
fn stale_for(config: &Config, listeners: &[ListenerConfig], time: Duration) -> Arc<Reload> {
    let mut stream = config.stream;
    stream.hls.verdict_stale = time;
    Arc::new(Reload {
        limits: config.limits.clone(),
        egress: config.egress,
        session: config.session.clone(),
        auth: config.auth,
        stream,
        listeners: listeners.to_vec(),
        srt: config.srt.clone(),
        tls: None,
    })
}

fn a_stated_end_is_the_end_though_nobody_answers(mut config: Config) {
    config.session.authorize_deadline = Duration::from_millis(200);
    config.stream.hls.verdict_stale = LONG;
    for session in [HlsSession::Token, HlsSession::Off] {
        config.stream.hls.session = session;
        let server = Server::start(config.clone());
        let _publisher = publish(&server, "cam", 2);
        judge(&server, |request| {
            let until = Some(Instant::now() + Duration::from_secs(1));
            Some(Verdict::Allow(Grant { until, ..Grant::to(request.stream.clone()) }))
        });
        let mut viewer = Viewer::connect(server.http);
        let index = viewer.found("/cam/index.m3u8");
        let media = format!("/cam/{}", index.uris()[0]);
        poll(&mut viewer, &media, &[200, 503], |status| status == 200);
        judge(&server, |_| None);
        poll(&mut viewer, &media, &[200, 503], |status| status == 503);
        judge(&server, |request| Some(yes(request)));
        viewer.found(&media);
    }
}

fn who_was_let_in_goes_on_while_nobody_answers(mut config: Config) {
    config.stream.hls.session = HlsSession::Off;
    config.stream.hls.verdict = Duration::from_millis(1);
    config.session.authorize_deadline = Duration::from_millis(200);
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8?key=k");
    let segment = format!("/cam/{}", list.uris()[0]);
    let asked = judge(&server, |_| None);
    poll(&mut viewer, "/cam/media.m3u8?key=k", &[200], |_| asked.load(Ordering::Relaxed) >= 3);
    viewer.found(&segment);
    assert_eq!(viewer.get("/cam/media.m3u8?key=new").status, 503, "nobody let him in");
    judge(&server, no);
    poll(&mut viewer, "/cam/media.m3u8?key=k", &[200, 403], |status| status == 403);
    assert_eq!(viewer.get(&segment).status, 403);
}

fn who_is_in_is_asked_about_with_the_time_at_which_he_came_in(mut config: Config) {
    config.stream.hls.verdict = LONG;
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let (told, telling) = std::sync::mpsc::channel();
    judge(&server, move |request| {
        told.send((request.key.0.clone(), request.since)).unwrap();
        Some(yes(request))
    });
    let mut viewer = Viewer::connect(server.http);
    let before = Instant::now();
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    let given = Instant::now();
    assert_eq!(telling.recv().unwrap(), ("k".to_owned(), None), "he comes in");
    viewer.found(&media);
    let mut since = Vec::new();
    for _ in 0..2 {
        server.control.send_all(|| Command::DoubtVerdicts);
        server.control.snapshot();
        viewer.found(&media);
        let (key, at) = telling.recv().unwrap();
        assert_eq!(key, "k");
        since.push(at.unwrap());
        // The answer is there before the next doubt.
        server.control.snapshot();
    }
    // Tokens tell the second in which they were given.
    let second = Duration::from_secs(1);
    assert!(since[0] + 2 * second >= before && since[0] <= given, "{since:?}");
    assert_eq!(since[0], since[1]);
    // With other words he comes in anew, and is in by them from then on.
    let others = media.replace("key=k", "key=other");
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    viewer.found(&others);
    assert_eq!(telling.recv().unwrap(), ("other".to_owned(), None));
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    viewer.found(&others);
    let (key, at) = telling.recv().unwrap();
    assert!(key == "other" && at.unwrap() + second >= given, "{at:?}");
}

fn what_lets_nobody_in_any_more_sends_nobody_away(mut config: Config) {
    config.stream.hls.verdict = LONG;
    config.stream.hls.verdict_stale = LONG;
    let until_soon = |request: &AuthorizeRequest| {
        let entry_until = Some(Instant::now() + Duration::from_secs(1));
        Some(Verdict::Allow(Grant { entry_until, ..Grant::to(request.stream.clone()) }))
    };
    let newcomers = |request: &AuthorizeRequest| match request.since {
        Some(_) => Some(yes(request)),
        None => no(request),
    };
    let server = Server::start(told_apart(config.clone()));
    let _publisher = publish(&server, "cam", 2);
    judge(&server, until_soon);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    viewer.found(&media);
    judge(&server, newcomers);
    poll(&mut viewer, "/cam/index.m3u8", &[200, 403], |status| status == 403);
    everywhere(&server, &media, 200);
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    everywhere(&server, &media, 200);
    server.control.snapshot();
    everywhere(&server, &media, 200);
    assert_eq!(server.control.snapshot().sum(|c| c.views_ended), 0);
    // Where viewers are not told apart nobody is in: each request comes in.
    config.stream.hls.session = HlsSession::Off;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    judge(&server, until_soon);
    viewer = Viewer::connect(server.http);
    let list = viewer.found("/cam/media.m3u8");
    judge(&server, newcomers);
    poll(&mut viewer, "/cam/media.m3u8", &[200, 403], |status| status == 403);
    everywhere(&server, &format!("/cam/{}", list.uris()[0]), 403);
}

fn an_application_judges_every_piece_by_the_same_words(mut config: Config) {
    // Nothing is remembered, so that every piece is asked about.
    config.stream.hls.verdict = Duration::ZERO;
    config.stream.hls.session = HlsSession::Off;
    let server = Server::start(config);
    let _publisher = publish(&server, "cam", 2);
    let asked = judge(&server, |request| {
        let signed = &*request.query.0 == "key=k&e=9&sig=a%2Fb" && &*request.key.0 == "k";
        let place = &*request.url == "h/live/cam/index.m3u8";
        Some(if signed && place { yes(request) } else { Verdict::Deny(Denial::Forbidden) })
    });
    let mut viewer = Viewer::connect(server.http);
    let index = viewer.found("/live/cam/index.m3u8?key=k&e=9&sig=a%2Fb");
    assert_eq!(index.uris(), ["media.m3u8?key=k&e=9&sig=a%2Fb"]);
    let list = viewer.found(&format!("/live/cam/{}&_HLS_skip=YES", index.uris()[0]));
    viewer.found(&format!("/live/cam/{}", list.uris()[0]));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(viewer.get("/live/cam/seg.0.ts?key=k&e=10&sig=a%2Fb").status, 403);
}

fn a_no_to_somebody_elses_question_ends_no_view(mut config: Config) {
    config.stream.hls.verdict_stale = LONG;
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8?key=k");
    viewer.found(&media);
    let (_, session, _) = started(&server);
    let asked = judge(&server, |request| {
        let known = &*request.key.0 == "k";
        Some(if known { yes(request) } else { Verdict::Deny(Denial::Forbidden) })
    });
    server.control.send_all(|| Command::DoubtVerdicts);
    server.control.snapshot();
    // The same token with another key.
    let others = media.replace("key=k", "key=other");
    everywhere(&server, &others, 403);
    let before = asked.load(Ordering::Relaxed);
    poll(&mut viewer, &media, &[200], |_| asked.load(Ordering::Relaxed) > before);
    everywhere(&server, &media, 200);
    assert_eq!(server.control.snapshot().sum(|c| c.views_ended), 0);
    // A no to its own ends it.
    judge(&server, no);
    server.control.send_all(|| Command::DoubtVerdicts);
    poll(&mut viewer, &media, &[200, 403], |status| status == 403);
    assert_eq!(ended(&server, session).0, CloseReason::Expired);
}

fn a_kick_withdraws_what_it_names(config: Config) {
    let server = Server::start(told_apart(config));
    let (_cam, _other) = (publish(&server, "cam", 2), publish(&server, "other", 2));
    let asked = judge(&server, |request| Some(yes(request)));
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    let others = token_of(&mut viewer, "/other/index.m3u8");
    viewer.found(&media);
    let (shard, session, _) = started(&server);
    viewer.found(&others);
    let before = asked.load(Ordering::Relaxed);
    token_of(&mut viewer, "/cam/index.m3u8");
    assert_eq!(asked.load(Ordering::Relaxed), before, "it is remembered");
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(ended(&server, session).0, CloseReason::Kicked);
    server.control.snapshot();
    everywhere(&server, &media, 403);
    everywhere(&server, &others, 200);
    token_of(&mut viewer, "/other/index.m3u8");
    assert_eq!(asked.load(Ordering::Relaxed), before, "it was not named");
    token_of(&mut viewer, "/cam/index.m3u8");
    assert_eq!(asked.load(Ordering::Relaxed), before + 1);
}

fn a_kicked_viewer_has_no_use_of_a_spare_token(config: Config) {
    let server = Server::start(told_apart(config));
    let _publisher = publish(&server, "cam", 2);
    let mut viewer = Viewer::connect(server.http);
    let media = token_of(&mut viewer, "/cam/index.m3u8");
    viewer.found(&media);
    let (shard, session, _) = started(&server);
    let spare = token_of(&mut viewer, "/cam/index.m3u8");
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(ended(&server, session).0, CloseReason::Kicked);
    server.control.snapshot();
    judge(&server, no);
    everywhere(&server, &spare, 403);
}

fn viewers_of_a_publication_are_known_by_address_and_agent(config: Config) {
    let server = Server::start(told_apart(config));
    let id = StreamId([7; 16]);
    let asked = judge(&server, move |request| {
        let grant = Grant { id: Some(id), ..Grant::to(request.stream.clone()) };
        let bad = &*request.key.0 == "bad";
        Some(if bad { Verdict::Deny(Denial::Forbidden) } else { Verdict::Allow(grant) })
    });
    let _publisher = publish(&server, "cam", 2);
    let folder = format!("/hls/cam/{id}/640x360-30");
    let get = |agent: &str, piece: &str| {
        let fields = format!("User-Agent: {agent}\r\n");
        Viewer::connect(server.http).get_with(&format!("{folder}/{piece}"), &fields)
    };
    let list = get("one/1", "live.m3u8");
    assert_eq!(list.status, 200);
    let first = list.uris()[0];
    assert!(!first.contains('?') && list.field("ETag").is_some(), "it is everybody's: {first}");
    assert_eq!(server.control.snapshot().sum(|c| c.views_started), 0);
    let mut bytes = 0;
    for _ in 0..8 {
        let segment = get("one/1", first);
        assert_eq!(segment.status, 200);
        bytes += segment.body.len() as u64;
        assert_eq!(get("one/1", "live.m3u8").status, 200);
    }
    let (shard, session, told) = started(&server);
    let SessionEvent::Started { role, stream, agent, .. } = told else { unreachable!() };
    assert_eq!((role, stream.as_str(), &*agent), (Role::Play, "cam", "one/1"));
    assert_eq!(get("two/1", first).status, 200);
    let (_, second, _) = started(&server);
    assert_ne!(second, session);
    let totals = server.control.snapshot();
    let shown = totals.sessions().find(|status| status.id == session).unwrap();
    assert!(shown.bytes_out >= bytes, "{} of {bytes}", shown.bytes_out);
    assert_eq!(totals.sum(|c| c.views_started), 2);
    // Somebody behind the same address is refused; he alone.
    assert_eq!(get("one/1", "live.m3u8?key=bad").status, 403);
    assert_eq!(get("one/1", "live.m3u8").status, 200);
    assert_eq!(get("one/1", first).status, 200);
    // One of them is kicked: he is refused on every shard, and the other is not.
    server.control.send(shard, Command::Kick { session, reason: CloseReason::Kicked });
    assert_eq!(ended(&server, session).0, CloseReason::Kicked);
    for _ in 0..8 {
        for piece in ["live.m3u8", first] {
            assert_eq!((get("one/1", piece).status, get("two/1", piece).status), (403, 200));
        }
    }
    // Each was asked about on each shard at most, the bad key, and once more for the kick.
    assert!(asked.load(Ordering::Relaxed) <= 7, "{asked:?}");
}
