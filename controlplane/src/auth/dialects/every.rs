//! What is so in every dialect.

use std::time::Instant;

use dataplane::control::Intent;

use super::super::OnFailure;
use super::super::tests::{Bench, request, stream_of};
use super::rig::*;
use crate::dialect::Dialect;
use crate::outbound::scripted::{Application as Scripted, Reply};
use crate::penalties::{Access, PenaltyRules, Warden};

/// Each question has an address of its own, if it is given one, and where none is, nobody asks.
#[tokio::test]
async fn a_question_without_an_address_is_not_asked() {
    let scripted = Scripted::start(|_| Reply::status(403, "", ""));
    let mut rules = speaking(Dialect::NginxRtmp, &scripted.url("/all"));
    let told = ask(rules.clone(), &scripted, &ALL).await;
    assert!(told.iter().all(|(verdict, _)| verdict == "forbidden"));
    if let Some(application) = &mut rules.application {
        let publish = application.addresses.all.take();
        application.addresses.publish = publish;
    }
    let told = ask(rules, &scripted, &ALL).await;
    let verdicts: Vec<_> = told.iter().map(|(verdict, _)| verdict.as_str()).collect();
    assert_eq!(
        (verdicts.as_slice(), scripted.seen().len()),
        (&["live", "forbidden", "cam-1"][..], 4)
    );
}

/// Applications count those who come, so that each is asked about; those who only look a peer up
/// are asked once.
#[tokio::test]
async fn whoever_counts_is_asked_about_everybody() {
    for dialect in Dialect::ALL {
        let scripted = Scripted::start(|_| Reply::status(200, "stream-id: a\r\n", r#"{"code":0}"#));
        let mut bench = Bench::new(speaking(dialect, &scripted.url("/")));
        for _ in 0..2 {
            let verdict = bench.verdict(request(Intent::Publish, "cam", "k")).await;
            assert_eq!(stream_of(&verdict), "cam", "{dialect:?}");
        }
        let asked = if dialect.forgets_questions() { 1 } else { 2 };
        assert_eq!(scripted.seen().len(), asked, "{dialect:?}");
    }
}

/// A yes without an answer is what the configuration makes of it, in every dialect.
#[tokio::test]
async fn silence_is_no_unless_the_configuration_says_yes() {
    for dialect in Dialect::ALL {
        let silent = Scripted::start(|_| Reply::Hang);
        for (on_failure, expected) in [(OnFailure::Deny, "unavailable"), (OnFailure::Allow, "cam")]
        {
            let mut rules = speaking(dialect, &silent.url("/"));
            if let Some(application) = &mut rules.application {
                application.on_failure = on_failure;
                application.timeout = std::time::Duration::from_millis(50);
            }
            let verdict = Bench::new(rules).verdict(request(Intent::Publish, "cam", "k")).await;
            assert_eq!(stream_of(&verdict), expected, "{dialect:?}");
        }
    }
}

/// Many say 404 until an event begins: that is a no, and none to what was shown. Whoever shows one
/// key after the other guesses where the answer is that they are no good.
#[tokio::test]
async fn what_is_not_there_costs_nobody_a_penalty() {
    for dialect in Dialect::ALL {
        for (status, word, is_guess) in
            [(403, "forbidden", true), (404, "forbidden", false), (410, "forbidden", false)]
        {
            let word = match (dialect, status) {
                (Dialect::Native, 404) => "not_found",
                (Dialect::Native, 410) => "unavailable",
                _ => word,
            };
            let scripted = Scripted::start(move |_| Reply::status(status, "", ""));
            let mut bench = Bench::new(speaking(dialect, &scripted.url("/")));
            let warden = Warden::default();
            let penalties = PenaltyRules { guesses_max: 3, ..PenaltyRules::default() };
            warden.set_access(Access { penalties, ..Access::default() });
            bench.gate.watch_by(warden.clone());
            let peer = request(Intent::Publish, "cam", "k").peer.ip();
            for guess in 0..6 {
                let asked = request(Intent::Publish, "cam", &format!("k{guess}"));
                assert_eq!(stream_of(&bench.verdict(asked).await), word, "{dialect:?} {status}");
            }
            let shut_out = warden.shuts_out(peer, "rtmp", Instant::now());
            assert_eq!(shut_out, is_guess, "{dialect:?} {status}");
        }
    }
}
