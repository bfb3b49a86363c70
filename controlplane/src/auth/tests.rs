//! The gate against scripted applications.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dataplane::config::ListenerNumber;
use dataplane::control::{AuthorizeRequest, Denial, Grant, Intent, Protocol, Ticket, Verdict};
use dataplane::ids::{Secret, SessionId, ShardId, StreamName};

use super::*;
use crate::coordinator::Endpoint;
use crate::dialect::{Asker, Dialect, Verb};
use crate::events::{Bus, Cursor, RingLimits};
use crate::outbound::scripted::{Application as Scripted, Reply};
use crate::outbound::{Address, Credentials, SigningKey};

/// Long enough for every exchange that is to end by itself.
const AMPLE: Duration = Duration::from_secs(20);

pub(crate) fn request(intent: Intent, stream: &str, key: &str) -> AuthorizeRequest {
    AuthorizeRequest {
        session: SessionId(7),
        intent,
        protocol: Protocol::Rtmp,
        tls: false,
        stream: StreamName::parse(stream).unwrap(),
        key: Secret(key.to_owned()),
        login: Secret::default(),
        query: Secret::default(),
        url: format!("rtmp://h/{stream}").into(),
        referer: None,
        peer: "192.0.2.1:5".parse().unwrap(),
        local: "192.0.2.2:1935".parse().unwrap(),
        listener: ListenerNumber(1),
        agent: "test".into(),
        since: None,
    }
}

pub(crate) fn application(url: &str) -> Application {
    Application {
        dialect: Dialect::Native,
        addresses: Addresses { all: Address::parse(url), ..Addresses::default() },
        updates: None,
        absences: AbsenceTerms::default(),
        verb: Verb::Post,
        authorization: Credentials::bearer("t0ken").unwrap().header().cloned(),
        signing: Some(SigningKey::new(b"secret")),
        secret: Secret::default(),
        asker: Asker { node: "edge-1".into(), ..Asker::default() },
        timeout: AMPLE,
        on_failure: OnFailure::Deny,
        cache: Duration::from_secs(10),
        cache_denied: Duration::from_secs(2),
    }
}

pub(crate) fn asking(application: Application) -> Rules {
    Rules {
        publish: Mode::Callback.into(),
        play: Mode::Callback.into(),
        application: Some(application),
        calls_max: 8,
        cache_entries_max: 64,
        cache_per_peer: true,
        ..Rules::default()
    }
}

pub(super) fn coordinated(url: Option<&str>) -> Rules {
    Rules {
        publish: Mode::Coordinator.into(),
        play: Mode::Coordinator.into(),
        coordinator: Endpoint {
            url: url.map(|url| Address::parse(url).unwrap()),
            ..Endpoint::default()
        },
        key_request: AMPLE,
        id_bytes_max: 128,
        ..asking(application("http://127.0.0.1:1/"))
    }
}

/// A gate, and the numbers of the questions that it was asked.
pub(super) struct Bench {
    pub(super) gate: Gate,
    cursor: Cursor,
    asked: u32,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(rules: Rules) -> Self {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let cursor = bus.cursor();
        Self { gate: Gate::new(rules, bus), cursor, asked: 0, now: Instant::now() }
    }

    /// Asks; a verdict at once, or `None`.
    fn ask(&mut self, request: AuthorizeRequest) -> Option<Verdict> {
        self.ask_with(request, &())
    }

    pub(super) fn ask_with(
        &mut self,
        request: AuthorizeRequest,
        registry: &impl Declarations,
    ) -> Option<Verdict> {
        self.asked += 1;
        let ticket = Ticket { slot: 1, generation: 1, epoch: self.asked };
        self.gate.ask(ShardId(1), ticket, Box::new(request), registry, self.now)
    }

    /// The events since it was looked last.
    fn told(&mut self) -> Vec<&'static str> {
        self.cursor.read(1_000).events.iter().map(|event| event.kind().name()).collect()
    }

    /// What lands next: (number of the question, verdict) for each who waited.
    pub(super) async fn land(&mut self) -> Vec<(u32, Verdict)> {
        let landing = self.gate.landed().await.expect("a question is under way");
        let settled = self.gate.settle(landing, &(), self.now);
        settled.into_iter().map(|(_, ticket, verdict)| (ticket.epoch, verdict)).collect()
    }

    /// Asks, and waits for the one verdict.
    pub(super) async fn verdict(&mut self, request: AuthorizeRequest) -> Verdict {
        if let Some(verdict) = self.ask(request) {
            return verdict;
        }
        let mut landed = self.land().await;
        assert_eq!(landed.len(), 1);
        landed.remove(0).1
    }

    fn ended(&self, intent: Intent) -> Vec<(&'static str, u64)> {
        let of = |&(of, _, count): &(Intent, &'static str, u64)| of == intent && count > 0;
        self.gate.figures().ends().filter(of).map(|(_, word, count)| (word, count)).collect()
    }
}

pub(super) fn stream_of(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Allow(grant) => grant.stream.as_str(),
        Verdict::Deny(denial) => denial.name(),
        Verdict::Elsewhere(url) => url,
    }
}

#[test]
fn open_lets_everybody_in_who_knows_the_streams_own_key() {
    struct Own(KeyHash);
    impl Declarations for Own {
        fn declared(&self, _: &AuthorizeRequest, stream: &StreamName) -> Declared {
            let key = (stream.as_str() == "locked").then(|| self.0.clone());
            let off = stream.as_str() == "off";
            let verdict = if off { Err(Denial::NotFound) } else { Ok(()) };
            Declared { verdict, key, waits: stream.as_str() == "late", ..Declared::default() }
        }
    }
    let registry = Own(KeyHash::make("own").unwrap());
    for mode in [Mode::Open, Mode::Keys] {
        let keys = vec![KeyRule {
            pattern: "*".into(),
            allows: Allows::Both,
            key: KeyHash::make("static").unwrap(),
        }];
        let mut bench =
            Bench::new(Rules { publish: mode.into(), play: mode.into(), keys, ..Rules::default() });
        let open = mode == Mode::Open;
        let yes = |stream| if open { stream } else { "forbidden" };
        for (intent, stream, key, expected) in [
            (Intent::Publish, "news", "", yes("news")),
            (Intent::Play, "news", "", yes("news")),
            (Intent::Play, "news", "static", "news"),
            (Intent::Publish, "locked", "own", "locked"),
            (Intent::Publish, "locked", "wrong", "forbidden"),
            (Intent::Publish, "locked", "", "forbidden"),
            (Intent::Play, "locked", "", yes("locked")),
            (Intent::Publish, "off", "static", "not_found"),
            (Intent::Connect, "news", "", "news"),
        ] {
            let verdict = bench.ask_with(request(intent, stream, key), &registry).unwrap();
            assert_eq!(stream_of(&verdict), expected, "{mode:?} {intent:?} {stream} {key}");
        }
        let verdict = bench.ask_with(request(Intent::Play, "late", "static"), &registry);
        assert!(matches!(verdict, Some(Verdict::Allow(Grant { waits: true, .. }))));
    }
}

#[tokio::test]
async fn a_callback_allows_denies_renames_and_sets_a_policy() {
    let scripted = Scripted::start(|request| {
        let json = "content-type: application/json\r\n";
        match request {
            request if request.contains(r#""stream":"yes""#) => Reply::status(204, "", ""),
            request if request.contains(r#""stream":"old""#) => {
                let body = r#"{"stream":"new","wait":true,"policy":{"record":true}}"#;
                Reply::status(200, json, body)
            }
            request if request.contains(r#""stream":"gone""#) => Reply::status(404, "", ""),
            request if request.contains(r#""stream":"taken""#) => Reply::status(409, "", ""),
            request if request.contains(r#""stream":"evil""#) => {
                Reply::status(200, json, r#"{"stream":"../etc"}"#)
            }
            _ => Reply::status(403, "", "who are you"),
        }
    });
    let mut bench = Bench::new(asking(application(&scripted.url("/ask"))));
    for (stream, expected) in [
        ("yes", "yes"),
        ("old", "new"),
        ("gone", "not_found"),
        ("taken", "busy"),
        ("evil", "unavailable"),
        ("no", "forbidden"),
    ] {
        let verdict = bench.verdict(request(Intent::Publish, stream, "k")).await;
        assert_eq!(stream_of(&verdict), expected, "{stream}");
        let has_id = matches!(&verdict, Verdict::Allow(grant) if grant.id.is_some());
        assert_eq!(has_id, ["yes", "new"].contains(&expected));
        if let ("old", Verdict::Allow(Grant { stream, .. })) = (stream, verdict) {
            bench.gate.policies_mut().published(&stream, SessionId(7));
            assert!(bench.gate.policies().of(&stream).is_some_and(|policy| policy.record));
        }
    }
    assert_eq!(bench.ended(Intent::Publish), [("allowed", 2), ("denied", 3), ("failed", 1)]);
    let verdict = bench.verdict(request(Intent::Play, "old", "k")).await;
    assert!(matches!(verdict, Verdict::Allow(Grant { waits: true, id: None, .. })));
}

#[tokio::test]
async fn a_renamed_stream_is_still_one_that_must_be_allowed() {
    struct Off;
    impl Declarations for Off {
        fn declared(&self, _: &AuthorizeRequest, stream: &StreamName) -> Declared {
            let off = stream.as_str() == "off";
            Declared {
                verdict: if off { Err(Denial::Forbidden) } else { Ok(()) },
                ..Declared::default()
            }
        }
    }
    let scripted = Scripted::start(|_| {
        Reply::status(200, "content-type: application/json\r\n", r#"{"stream":"off"}"#)
    });
    let mut bench = Bench::new(asking(application(&scripted.url("/"))));
    assert_eq!(bench.ask_with(request(Intent::Publish, "on", "k"), &Off), None);
    let landing = bench.gate.landed().await.unwrap();
    let settled = bench.gate.settle(landing, &Off, bench.now);
    assert_eq!(settled[0].2, Verdict::Deny(Denial::Forbidden));
}

#[tokio::test]
async fn equal_questions_share_one_request_and_its_answer_for_a_while() {
    let scripted = Scripted::start(|request| match request {
        request if request.contains(r#""key":"k""#) => Reply::status(200, "", ""),
        _ => Reply::status(403, "", ""),
    });
    let mut bench = Bench::new(asking(application(&scripted.url("/"))));
    for _ in 0..3 {
        assert_eq!(bench.ask(request(Intent::Play, "news", "k")), None);
    }
    let landed = bench.land().await;
    assert_eq!(landed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(landed.iter().all(|(_, verdict)| stream_of(verdict) == "news"));
    assert!(bench.ask(request(Intent::Play, "news", "k")).is_some());
    assert_eq!(scripted.seen().len(), 1);
    assert_eq!(
        bench.verdict(request(Intent::Play, "news", "x")).await,
        Verdict::Deny(Denial::Forbidden)
    );
    assert!(bench.ask(request(Intent::Play, "news", "x")).is_some());
    bench.now += Duration::from_secs(2);
    assert!(bench.ask(request(Intent::Play, "news", "k")).is_some(), "a yes is good for longer");
    assert_eq!(stream_of(&bench.verdict(request(Intent::Play, "news", "x")).await), "forbidden");
    assert_eq!(scripted.seen().len(), 3);
    assert_eq!(bench.gate.forget(), 2);
    assert_eq!(stream_of(&bench.verdict(request(Intent::Play, "news", "k")).await), "news");
    bench.gate.set_rules(asking(application(&scripted.url("/"))));
    assert_eq!(stream_of(&bench.verdict(request(Intent::Play, "news", "k")).await), "news");
    assert_eq!(scripted.seen().len(), 5);
}

#[tokio::test]
async fn what_is_answered_after_all_was_forgotten_counts_for_who_asked_alone() {
    let scripted = Scripted::start(|_| Reply::status(200, "", ""));
    let rules = || asking(application(&scripted.url("/")));
    let ways: [fn(&mut Gate, Rules); 2] = [
        |gate, _| {
            gate.forget();
        },
        Gate::set_rules,
    ];
    for (at, doubt) in (1..).zip(ways) {
        let mut bench = Bench::new(rules());
        let news = || request(Intent::Play, "news", "k");
        assert_eq!(bench.ask(news()), None);
        doubt(&mut bench.gate, rules());
        let numbers = |landed: Vec<(u32, Verdict)>| {
            landed.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(bench.land().await), [1], "who asked is answered");
        assert_eq!(bench.ask(news()), None, "and nobody else by that");
        // One who asks while an older question is under way does not join it.
        doubt(&mut bench.gate, rules());
        assert_eq!(bench.ask(news()), None);
        let mut both = [bench.land().await, bench.land().await].map(numbers);
        both.sort_unstable();
        assert_eq!(both, [[2], [3]]);
        assert!(bench.ask(news()).is_some(), "what was asked since is remembered");
        assert_eq!(scripted.seen().len(), 3 * at);
    }
}

#[tokio::test]
async fn without_an_answer_the_configuration_decides() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let broken = Scripted::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::status(500, "", "")
    });
    let silent = Scripted::start(|_| Reply::Hang);
    // Nobody vouches for it.
    let (strange, _) = Scripted::start_tls(|_| Reply::status(200, "", ""));
    for (on_failure, expected) in [(OnFailure::Deny, "unavailable"), (OnFailure::Allow, "news")] {
        for (url, timeout, kind) in [
            (broken.url("/"), AMPLE, "authorisation.failed"),
            ("http://127.0.0.1:1/".to_owned(), AMPLE, "authorisation.failed"),
            (strange.url("/"), AMPLE, "authorisation.failed"),
            (silent.url("/"), Duration::from_millis(50), "authorisation.timeout"),
        ] {
            let (_, word) = kind.split_once('.').unwrap();
            let rules = asking(Application { timeout, on_failure, ..application(&url) });
            let mut bench = Bench::new(rules);
            for count in 1..=2 {
                let verdict = bench.verdict(request(Intent::Publish, "news", "k")).await;
                assert_eq!(stream_of(&verdict), expected, "{url}");
                assert_eq!(bench.ended(Intent::Publish), [(word, count)], "{url}");
                assert_eq!(bench.told(), [kind]);
            }
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4, "a failure is not remembered");
}

#[tokio::test]
async fn a_stalled_application_delays_nobody_else_and_is_asked_only_so_much() {
    let silent = Scripted::start(|_| Reply::Hang);
    let rules = Rules { play: Mode::Open.into(), ..asking(application(&silent.url("/"))) };
    let mut bench = Bench::new(rules);
    for number in 0..8 {
        assert_eq!(bench.ask(request(Intent::Publish, &format!("s{number}"), "k")), None);
    }
    let crowded = bench.ask(request(Intent::Publish, "s8", "k"));
    assert_eq!(crowded, Some(Verdict::Deny(Denial::Unavailable)));
    assert_eq!(bench.ask(request(Intent::Publish, "s7", "k")), None, "it joins");
    assert_eq!(stream_of(&bench.ask(request(Intent::Play, "s7", "")).unwrap()), "s7");
    assert_eq!(bench.told(), ["authorisation.failed", "authorisation.allowed"]);
    assert_eq!((bench.gate.figures().crowded, bench.gate.figures().joined), (1, 1));
}

#[tokio::test]
async fn the_key_request_is_that_of_the_contract() {
    let scripted = Scripted::start(|request| match request {
        request if request.contains("x-streaming-key: right") => {
            Reply::status(200, "x-record: TRUE\r\nx-resolutions: 640x360-30, ORIGINAL\r\n", "")
        }
        request if request.contains("x-streaming-key: empty") => Reply::status(204, "", ""),
        request if request.starts_with("POST /moved") => Reply::status(200, "", ""),
        _ => Reply::status(307, "location: /moved\r\n", ""),
    });
    let mut bench = Bench::new(coordinated(Some(&scripted.url("/keys"))));
    for (key, expected) in [("right", "cam7"), ("empty", "forbidden"), ("moved", "cam7")] {
        for _ in 0..2 {
            let verdict = bench.verdict(request(Intent::Publish, "cam7", key)).await;
            assert_eq!(stream_of(&verdict), expected, "{key}");
            if let ("right", Verdict::Allow(Grant { stream, .. })) = (key, &verdict) {
                assert_eq!(bench.gate.policies().of(stream), None);
                bench.gate.policies_mut().published(stream, SessionId(7));
                assert!(bench.gate.policies().of(stream).is_some_and(|policy| policy.record));
                bench.gate.policies_mut().ended(stream);
            }
        }
    }
    assert_eq!(scripted.seen().len(), 2 + 2 + 4, "each publication is asked for");
    // Two at the same moment are two questions, too.
    for _ in 0..2 {
        assert_eq!(bench.ask(request(Intent::Publish, "cam7", "right")), None);
    }
    for _ in 0..2 {
        assert_eq!(bench.land().await.len(), 1);
    }
    assert_eq!(scripted.seen().len(), 10);
    for (stream, key) in [("a/b", "right"), ("cam7", ""), ("cam7", "k\r\nx-evil: 1")] {
        let verdict = bench.ask(request(Intent::Publish, stream, key));
        assert_eq!(verdict, Some(Verdict::Deny(Denial::Forbidden)), "{stream} {key}");
    }
    let play = bench.ask(request(Intent::Play, "cam7", "any")).unwrap();
    assert!(matches!(play, Verdict::Allow(Grant { waits: true, same_key: true, .. })));
    let hls = AuthorizeRequest { protocol: Protocol::Hls, ..request(Intent::Play, "cam7", "") };
    let hls = bench.ask(hls).unwrap();
    assert!(matches!(hls, Verdict::Allow(Grant { waits: false, same_key: false, .. })));
    let mut nobody = Bench::new(coordinated(None));
    assert_eq!(stream_of(&nobody.ask(request(Intent::Publish, "cam7", "any")).unwrap()), "cam7");
}

#[tokio::test]
async fn no_secret_of_a_peer_is_told_or_shown() {
    let scripted = Scripted::start(|_| Reply::status(500, "", "hunter2"));
    let mut bench = Bench::new(asking(application(&scripted.url("/?app=secret1"))));
    let mut asked = request(Intent::Publish, "news", "hunter2");
    asked.query = Secret("key=hunter2".into());
    bench.verdict(asked.clone()).await;
    bench.ask(asked);
    let told = bench.cursor.read(1_000);
    let told: String = told.events.iter().map(|event| event.json().to_string()).collect();
    assert!(told.contains("authorisation.failed"), "{told}");
    let mut counts = crate::counts::Counts::default();
    bench.gate.count(&mut counts);
    let shown = format!("{:?}\n{told}\n{counts:?}", bench.gate);
    for secret in ["hunter2", "secret1", "t0ken"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
