//! Modes one after the other: who decides on what is shown, by every list that there may be.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::config::ListenerNumber;
use dataplane::control::{AuthorizeRequest, Denial, Grant, Intent, Role, Ticket, Verdict};
use dataplane::ids::{Secret, ShardId, StreamName};
use serde_json::{Value, json};

use super::jwt::issuing::{SECRET, hs256, p256, token};
use super::tests::{application, request};
use super::*;
use crate::events::{Bus, RingLimits};
use crate::outbound::Address;
use crate::outbound::scripted::{Application as Scripted, Reply};

fn now() -> u64 {
    Seconds::of(SystemTime::now()).0
}

fn signing() -> SignedKey {
    SignedKey::new("main", SECRET, None).unwrap()
}

/// An address of `stream` for so many seconds from now.
fn signature(role: Role, stream: &str, seconds: u64) -> String {
    let stream = StreamName::parse(stream).unwrap();
    let expires = Seconds(now() + seconds);
    Statement { role, stream: &stream, expires, not_before: None, ip: None }.query(&signing())
}

fn claims(seconds: u64) -> Value {
    json!({"exp": now() + seconds, "streams": "*", "play": true, "publish": true})
}

fn good_token(seconds: u64) -> String {
    token(&json!({"alg": "HS256"}), &claims(seconds), hs256(SECRET))
}

fn rules(modes: &[Mode]) -> Rules {
    let modes = Modes::new(modes).unwrap();
    Rules {
        publish: modes,
        play: modes,
        keys: vec![KeyRule {
            pattern: "*".into(),
            allows: Allows::Both,
            key: KeyHash::make("listed").unwrap(),
        }],
        signed: Signed { keys: vec![signing()], leeway: 0, enforce: false },
        issuer: Arc::new(Issuer {
            keys: KeySet::new(vec![VerifyingKey::secret(None, SECRET.as_bytes()).unwrap()])
                .unwrap(),
            ..Issuer::default()
        }),
        calls_max: 64,
        cache_entries_max: 64,
        cache_per_peer: true,
        ..Rules::default()
    }
}

fn gate(rules: Rules) -> Gate {
    Gate::new(rules, Bus::new("edge-1".into(), RingLimits::default()))
}

fn ask(gate: &mut Gate, request: AuthorizeRequest) -> Option<Verdict> {
    let ticket = Ticket { slot: 1, generation: 1, epoch: 1 };
    gate.ask(ShardId(0), ticket, Box::new(request), &(), Instant::now())
}

/// A play of news that shows so much.
fn shows(key: &str, query: &str) -> AuthorizeRequest {
    AuthorizeRequest { query: Secret(query.to_owned()), ..request(Intent::Play, "news", key) }
}

fn told(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "asked",
        Some(Verdict::Allow(_)) => "yes",
        Some(Verdict::Deny(Denial::Forbidden)) => "no",
        Some(Verdict::Deny(denial)) => denial.name(),
        Some(Verdict::Elsewhere(_)) => "elsewhere",
    }
}

#[tokio::test]
async fn the_first_mode_that_a_request_is_meant_for_decides() {
    use Mode::{Callback, Jwt, Keys, Open, Signed};
    let silent = Scripted::start(|_| Reply::Hang);
    let (good, over) = (signature(Role::Play, "news", 60), signature(Role::Play, "other", 60));
    let (token, forged) = (good_token(60), format!("{}A", good_token(60)));
    let shown = [
        ("a signature", shows("", &good)),
        ("one of another stream", shows("", &over)),
        ("that and a listed key", shows("listed", &over)),
        ("a token", shows(&token, "")),
        ("a forged token", shows(&forged, "")),
        ("a listed key", shows("listed", "")),
        ("another key", shows("another", "")),
        ("nothing", shows("", "")),
    ];
    // What comes of each of them, in that order.
    for (modes, expected) in [
        (&[Open][..], "yes yes yes yes yes yes yes yes"),
        (&[Keys], "no no yes no no yes no no"),
        (&[Signed], "yes no no no no no no no"),
        (&[Jwt], "no no no yes no no no no"),
        (&[Callback], "asked asked asked asked asked asked asked asked"),
        (&[Signed, Jwt, Keys], "yes no no yes no yes no no"),
        (&[Keys, Signed, Jwt], "yes no yes yes no yes no no"),
        (&[Signed, Open], "yes no no yes yes yes yes yes"),
        (&[Jwt, Open], "yes yes yes yes no yes yes yes"),
        (&[Keys, Open], "yes yes yes no no yes no yes"),
        (&[Signed, Jwt, Keys, Callback], "yes no no yes no yes asked asked"),
    ] {
        let mut rules = rules(modes);
        rules.application = Some(application(&silent.url("/")));
        let mut gate = gate(rules);
        let came: Vec<_> =
            shown.iter().map(|(_, shown)| told(ask(&mut gate, shown.clone()))).collect();
        let what: Vec<_> = shown.iter().map(|(what, _)| *what).collect();
        assert_eq!(came.join(" "), expected, "{modes:?} of {what:?}");
    }
}

#[test]
fn a_stream_comes_before_its_listener_and_that_before_the_rest() {
    struct Ways(super::Ways);
    impl Declarations for Ways {
        fn declared(&self, _: &AuthorizeRequest, stream: &StreamName) -> Declared {
            let own = stream.as_str() == "own";
            let ways = if own { self.0 } else { super::Ways::default() };
            Declared { ways, ..Declared::default() }
        }
    }
    let only = |mode: Mode| Some(Modes::only(mode));
    let registry = Ways(super::Ways { publish: only(Mode::Signed), play: None });
    let listener = super::Ways { publish: only(Mode::Keys), play: only(Mode::Open) };
    let rules = Rules { listeners: vec![(ListenerNumber(2), listener)], ..rules(&[Mode::Jwt]) };
    let mut gate = gate(rules);
    let (listed, signed) = ("listed".to_owned(), signature(Role::Publish, "own", 60));
    for (intent, stream, listener, key, query, expected) in [
        (Intent::Publish, "news", 1, &listed, "", "no"),
        (Intent::Publish, "news", 1, &good_token(60), "", "yes"),
        (Intent::Publish, "news", 2, &listed, "", "yes"),
        (Intent::Publish, "news", 2, &good_token(60), "", "no"),
        (Intent::Play, "news", 1, &String::new(), "", "no"),
        (Intent::Play, "news", 2, &String::new(), "", "yes"),
        (Intent::Publish, "own", 2, &listed, "", "no"),
        (Intent::Publish, "own", 2, &listed, &signed, "yes"),
        (Intent::Publish, "own", 1, &String::new(), &signed, "yes"),
        (Intent::Play, "own", 2, &String::new(), "", "yes"),
        (Intent::Play, "own", 1, &String::new(), "", "no"),
    ] {
        let request = AuthorizeRequest {
            query: Secret(query.to_owned()),
            listener: ListenerNumber(listener),
            ..request(intent, stream, key)
        };
        let ticket = Ticket { slot: 1, generation: 1, epoch: 1 };
        let verdict = gate.ask(ShardId(0), ticket, Box::new(request), &registry, Instant::now());
        assert_eq!(told(verdict), expected, "{intent:?} {stream} by {listener}");
    }
}

#[test]
fn leave_ends_with_what_was_shown_only_where_that_is_enforced() {
    let until = |enforce, request: AuthorizeRequest| {
        let mut rules = rules(&[Mode::Signed, Mode::Jwt]);
        rules.signed.enforce = enforce;
        let issuer = Arc::make_mut(&mut rules.issuer);
        (issuer.enforce, issuer.leeway) = (enforce, 3);
        match ask(&mut gate(rules), request) {
            Some(Verdict::Allow(Grant { until, .. })) => until,
            verdict => panic!("{verdict:?}"),
        }
    };
    let signed = || shows("", &signature(Role::Play, "news", 60));
    let held = || shows(&good_token(60), "");
    assert_eq!((until(false, signed()), until(false, held())), (None, None));
    // Its last second counts whole; nobody has to be quick.
    let near = |until: &dyn Fn() -> Option<Instant>, seconds: u64| {
        let (before, until, after) = (Instant::now(), until().unwrap(), Instant::now());
        let [least, most] = [seconds, seconds + 1].map(Duration::from_secs);
        let wrong = format!("{:?} to {:?} of {seconds}", until - before, until - after);
        assert!(before + least <= until && until <= after + most, "{wrong}");
    };
    near(&|| until(true, signed()), 60);
    near(&|| until(true, held()), 63);
    // A time beyond all is no end, and breaks nothing.
    let stream = StreamName::parse("news").unwrap();
    let endless = Statement {
        role: Role::Play,
        stream: &stream,
        expires: Seconds(u64::MAX),
        not_before: None,
        ip: None,
    };
    assert_eq!(until(true, shows("", &endless.query(&signing()))), None);
}

/// An address of news that was over so many seconds ago.
fn signature_of_before(seconds: u64) -> String {
    let stream = StreamName::parse("news").unwrap();
    let expires = Seconds(now() - seconds);
    Statement { role: Role::Play, stream: &stream, expires, not_before: None, ip: None }
        .query(&signing())
}

fn ago(seconds: u64) -> Option<Instant> {
    Instant::now().checked_sub(Duration::from_secs(seconds))
}

#[test]
fn what_is_over_lets_nobody_in_and_sends_nobody_away() {
    let expired = json!({"exp": now() - 20, "streams": "*", "play": true});
    let expired = token(&json!({"alg": "HS256"}), &expired, hs256(SECRET));
    for shown in [shows("", &signature_of_before(20)), shows(&expired, "")] {
        for (enforce, since, expected) in [
            (false, None, "no"),
            (false, ago(40), "yes"),
            (false, ago(10), "no"),
            (true, ago(40), "no"),
        ] {
            let mut rules = rules(&[Mode::Signed, Mode::Jwt]);
            rules.signed.enforce = enforce;
            Arc::make_mut(&mut rules.issuer).enforce = enforce;
            let verdict =
                ask(&mut gate(rules), AuthorizeRequest { since, ..shown.clone() }).unwrap();
            if let Verdict::Allow(grant) = &verdict {
                assert!(grant.entry_until.unwrap() <= Instant::now(), "it lets in nobody else");
            }
            assert_eq!(told(Some(verdict)), expected, "{enforce} {since:?}");
        }
    }
    let entry = |request| match ask(&mut gate(rules(&[Mode::Signed, Mode::Jwt])), request) {
        Some(Verdict::Allow(grant)) => grant.entry_until,
        verdict => panic!("{verdict:?}"),
    };
    let before = Instant::now();
    for shown in [shows("", &signature(Role::Play, "news", 60)), shows(&good_token(60), "")] {
        let left = entry(shown).unwrap() - before;
        assert!((58..=90).contains(&left.as_secs()), "{left:?}");
    }
}

/// An issuer whose keys are good for an hour, and fetched at once for an unknown one.
fn fetched_from(issuer: &Scripted) -> Arc<Issuer> {
    Arc::new(Issuer {
        source: Some(Source {
            address: Address::parse(&issuer.url("/jwks")).unwrap(),
            ttl: Duration::from_secs(3_600),
            retry: Duration::ZERO,
            stale: Duration::from_secs(3_600),
        }),
        ..Issuer::default()
    })
}

#[tokio::test]
async fn who_waits_for_the_keys_of_one_token_is_judged_by_his_own_time() {
    let (new, by_new) = p256("new");
    let script = json!({"keys": [new]}).to_string();
    let issuer = Scripted::start(move |_| Reply::status(200, "", &script));
    let mut rules = rules(&[Mode::Jwt]);
    rules.issuer = fetched_from(&issuer);
    let mut gate = gate(rules);
    let over = json!({"exp": now() - 20, "streams": "*", "play": true});
    let over = token(&json!({"alg": "ES256", "kid": "new"}), &over, by_new);
    for since in [None, ago(40), None, ago(10)] {
        let request = AuthorizeRequest { since, ..shows(&over, "") };
        assert_eq!(ask(&mut gate, request), None, "nothing is known yet");
    }
    let landing = gate.landed().await.unwrap();
    let settled = gate.settle(landing, &(), Instant::now());
    let verdicts: Vec<_> = settled.into_iter().map(|(.., verdict)| told(Some(verdict))).collect();
    assert_eq!(verdicts, ["no", "yes", "no", "no"]);
}

#[tokio::test]
async fn who_waits_for_the_keys_of_one_token_is_judged_by_his_own_address() {
    let (new, by_new) = p256("new");
    let script = json!({"keys": [new]}).to_string();
    let issuer = Scripted::start(move |_| Reply::status(200, "", &script));
    // Equal questions of all addresses share one answer.
    let mut rules = Rules { cache_per_peer: false, ..rules(&[Mode::Jwt]) };
    rules.issuer = fetched_from(&issuer);
    let mut gate = gate(rules);
    let own = json!({"exp": now() + 60, "streams": "*", "play": true, "ip": "192.0.2.0/24"});
    let own = token(&json!({"alg": "ES256", "kid": "new"}), &own, by_new);
    for from in ["198.51.100.1:5", "192.0.2.1:5", "192.0.2.2:5", "198.51.100.1:6", "192.0.2.1:6"] {
        let request = AuthorizeRequest { peer: from.parse().unwrap(), ..shows(&own, "") };
        assert_eq!(ask(&mut gate, request), None, "nothing is known yet");
    }
    let landing = gate.landed().await.unwrap();
    let settled = gate.settle(landing, &(), Instant::now());
    let verdicts: Vec<_> = settled.into_iter().map(|(.., verdict)| told(Some(verdict))).collect();
    assert_eq!(verdicts, ["no", "yes", "yes", "no", "yes"]);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_fetched_and_made_up_ones_are_not() {
    let (old, by_old) = p256("old");
    let (new, by_new) = p256("new");
    let shown = Arc::new(std::sync::Mutex::new(json!({"keys": [old]})));
    let script = Arc::clone(&shown);
    let issuer =
        Scripted::start(move |_| Reply::status(200, "", &script.lock().unwrap().to_string()));
    let mut rules = rules(&[Mode::Jwt, Mode::Open]);
    rules.issuer = fetched_from(&issuer);
    let mut gate = gate(rules.clone());
    let of = |kid: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        shows(&token(&json!({"alg": "ES256", "kid": kid}), &claims(60), sign), "")
    };
    let (by_old, by_new) = (of("old", &by_old), of("new", &by_new));
    // Nothing is known yet: whoever comes waits for the keys.
    assert_eq!(ask(&mut gate, by_old.clone()), None);
    assert_eq!(ask(&mut gate, by_old.clone()), None, "it joins");
    let landing = gate.landed().await.unwrap();
    let settled = gate.settle(landing, &(), Instant::now());
    assert_eq!(settled.len(), 2);
    assert!(settled.iter().all(|(_, _, verdict)| matches!(verdict, Verdict::Allow(_))));
    assert_eq!(told(ask(&mut gate, by_old.clone())), "yes");
    // A name that nobody knows is looked up, and is a no when it is still unknown.
    assert_eq!(ask(&mut gate, by_new.clone()), None);
    let landing = gate.landed().await.unwrap();
    let verdict = gate.settle(landing, &(), Instant::now()).remove(0).2;
    assert_eq!(verdict, Verdict::Deny(Denial::Forbidden), "it does not fall through to open");
    *shown.lock().unwrap() = json!({"keys": [new]});
    assert_eq!(ask(&mut gate, by_new.clone()), None);
    let landing = gate.landed().await.unwrap();
    let verdict = gate.settle(landing, &(), Instant::now()).remove(0).2;
    assert!(matches!(verdict, Verdict::Allow(_)));
    // The old key is gone with the set that had it; a reload keeps what was fetched.
    gate.set_rules(rules.clone());
    assert_eq!(told(ask(&mut gate, by_new.clone())), "yes");
    let before = issuer.seen().len();
    let mut patient = rules;
    let source = Arc::make_mut(&mut patient.issuer).source.as_mut().unwrap();
    source.retry = Duration::from_secs(3_600);
    gate.set_rules(patient);
    assert_eq!(ask(&mut gate, by_new.clone()), None, "another source begins anew");
    let landing = gate.landed().await.unwrap();
    assert!(matches!(gate.settle(landing, &(), Instant::now())[0].2, Verdict::Allow(_)));
    for number in 0..5_000 {
        let made_up = of(&format!("made-up-{number}"), &|_| vec![0; 64]);
        assert_eq!(told(ask(&mut gate, made_up)), "no", "{number}");
    }
    assert_eq!(issuer.seen().len(), before + 1, "thousands of names cost no fetch");
}

#[tokio::test]
async fn without_any_keys_nobody_is_let_in_and_that_is_told_apart() {
    let mut rules = rules(&[Mode::Jwt]);
    let source = Source {
        address: Address::parse("http://127.0.0.1:1/jwks").unwrap(),
        ttl: Duration::from_secs(3_600),
        retry: Duration::from_secs(3_600),
        stale: Duration::from_secs(3_600),
    };
    rules.issuer = Arc::new(Issuer { source: Some(source), ..Issuer::default() });
    let mut gate = gate(rules);
    let request = shows(&good_token(60), "");
    assert_eq!(ask(&mut gate, request.clone()), None);
    let landing = gate.landed().await.unwrap();
    let verdict = gate.settle(landing, &(), Instant::now()).remove(0).2;
    assert_eq!(verdict, Verdict::Deny(Denial::Unavailable));
    assert_eq!(told(ask(&mut gate, request)), "unavailable");
}
