//! Verdicts: every question of a shard gets its answer, whatever holds it up.

use std::time::{Duration, Instant};

use dataplane::control::{Command, Event, Grant, Intent, Verdict};
use dataplane::ids::ShardId;
use tokio::sync::oneshot;

use super::rig::{TwoShards, exchange, name, question};
use crate::auth::tests::application;
use crate::auth::{AuthAsk, Mode, Rules};
use crate::bridge::{Ask, Exchange};
use crate::events::{Bus, RingLimits};
use crate::outbound::scripted::{Application, Reply};

#[test]
fn every_question_gets_its_verdict_even_through_a_full_mailbox() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    exchange.fleet.full = true;
    for epoch in 0..3 {
        exchange.fleet.events.push_back((ShardId(1), question(epoch)));
    }
    assert!(!exchange.pump(now));
    assert!(exchange.fleet.sent.is_empty());
    assert_eq!(exchange.deadline(now), Some(now), "the directory is due before the retry");
    exchange.fleet.full = false;
    exchange.pump(now);
    let epochs: Vec<_> = exchange
        .fleet
        .sent
        .iter()
        .map(|(shard, command)| match command {
            Command::Verdict { ticket, verdict: Verdict::Allow(grant) } => {
                assert_eq!((shard.0, grant), (1, &Grant::to(name("one"))));
                ticket.epoch
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(epochs, [0, 1, 2]);
}

#[tokio::test]
async fn a_late_answer_comes_after_the_doubt_and_counts_for_who_asked_alone() {
    let scripted = Application::start(|_| Reply::status(200, "", ""));
    let rules = Rules {
        play: Mode::Callback.into(),
        application: Some(application(&scripted.url("/"))),
        calls_max: 8,
        cache_entries_max: 8,
        ..Rules::default()
    };
    let (now, bus) = (Instant::now(), Bus::new("edge-1".into(), RingLimits::default()));
    let mut exchange = Exchange::new(TwoShards::default(), rules, bus, now);
    let ask = |exchange: &mut Exchange<TwoShards>, epoch| {
        exchange.fleet.sent.clear();
        exchange.fleet.events.push_back((ShardId(1), question(epoch)));
        exchange.pump(now);
        exchange.fleet.sent.len()
    };
    assert_eq!(ask(&mut exchange, 0), 0, "the application is asked");
    let (reply, _answer) = oneshot::channel();
    exchange.ask(Ask::Auth(AuthAsk::Forget { reply }), now);
    let landing = exchange.landed().await.unwrap();
    exchange.settle(landing, now);
    let sent = std::mem::take(&mut exchange.fleet.sent);
    // Shards read in this order, and know what they asked before the doubt.
    let [doubts @ .., (ShardId(1), Command::Verdict { ticket, verdict })] = &*sent else {
        panic!("{sent:?}");
    };
    assert!(matches!(verdict, Verdict::Allow(_)) && ticket.epoch == 0, "{verdict:?}");
    let doubted = |(_, command): &(ShardId, Command)| matches!(command, Command::DoubtVerdicts);
    assert!(doubts.len() == 2 && doubts.iter().all(doubted), "{doubts:?}");
    // It is not remembered: who asks next is asked about anew, and that is.
    assert_eq!(ask(&mut exchange, 1), 0);
    let landing = exchange.landed().await.unwrap();
    exchange.settle(landing, now);
    assert_eq!(scripted.seen().len(), 2);
    assert_eq!(ask(&mut exchange, 2), 1, "from memory");
    assert_eq!(scripted.seen().len(), 2);
}

#[test]
fn an_encoder_without_room_takes_no_further_publication() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    let section = crate::config::CoordinatorSection {
        enabled: crate::config::Auto::Set(true),
        encoder_capacity: crate::config::Capacity(Some(1)),
        ..crate::config::CoordinatorSection::default()
    };
    let here = crate::coordinator::StreamingServer {
        ip: "192.0.2.1".parse().unwrap(),
        port: 1935,
        ssl: false,
    };
    exchange.coordinator().set_up(&section, here);
    let mut ask = |stream: &str, now| {
        let mut question = question(0);
        if let Event::Authorize { request, .. } = &mut question {
            (request.intent, request.stream) = (Intent::Publish, name(stream));
        }
        exchange.fleet.events.push_back((ShardId(0), question));
        exchange.pump(now);
        match exchange.fleet.sent.pop() {
            Some((_, Command::Verdict { verdict: Verdict::Allow(_), .. })) => "allowed",
            Some((_, Command::Verdict { verdict: Verdict::Deny(denial), .. })) => denial.name(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((ask("one", now), ask("two", now), ask("one", now)), ("allowed", "full", "allowed"));
    // Nobody came of those who were let in.
    assert_eq!(ask("two", now + Duration::from_secs(11)), "allowed");
}
