//! Harm: a coordinator that is sloppy, slow or hostile.

use std::time::Duration;

use super::super::holding::{SPARE, link_max};
use super::super::publisher::Answer;
use super::super::rejoining::REJOINING_MAX;
use super::super::standing::LinkState;
use super::bench::Bench;
use crate::coordinator::policy::Policy;
use crate::coordinator::transcript::transcript;
use crate::coordinator::wire::{Message, Source, Task};
use dataplane::ids::Secret;

/// The wedge of the family: a yes for one who has left keeps the channel busy for ever.
#[test]
fn a_yes_that_nobody_waits_for_is_answered_with_the_end() {
    let mut bench = Bench::new();
    drop(bench.asks(7, "cam7", "k1"));
    bench.hears();
    bench.accepts("1", "cam7", "0a");
    bench.accepts("1", "cam7", "0a");
    bench.accepts("99", "cam8", "0b");
    bench.accepts("no number", "cam9", "0c");
    assert_eq!(bench.hears(), ["end cam7 0a", "end cam7 0a", "end cam8 0b", "end cam9 0c"]);
    let standing = bench.client.standing(bench.now);
    assert_eq!((standing.publications, standing.waiting, standing.requests.late), (0, 0, 4));
}

#[test]
fn a_yes_that_nobody_asked_for_touches_nothing_that_is_on_the_air() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.accepts("99", "cam7", "0b");
    assert_eq!(bench.hears(), ["end cam7 0b"], "nobody publishes that one");
    bench.accepts("99", "cam7", "0a");
    bench.accepts("99", "cam7", "");
    assert!(bench.hears().is_empty(), "an end would end what is on the air");
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0a"]);
}

#[test]
fn an_answer_about_another_channel_is_a_no() {
    let mut bench = Bench::new();
    let mut answer = bench.asks(7, "cam7", "k1");
    bench.hears();
    bench.accepts("1", "cam8", "0a");
    assert_eq!(answer.try_recv(), Ok(Answer::Denied));
    assert_eq!(bench.hears(), ["end cam8 0a"]);
}

#[test]
fn two_who_ask_at_once_do_not_both_begin_whatever_it_says() {
    let mut bench = Bench::new();
    let (mut first, mut second) = (bench.asks(7, "cam7", "k1"), bench.asks(8, "cam7", "k1"));
    bench.accepts("1", "cam7", "0a");
    bench.hears();
    bench.accepts("2", "cam7", "0b");
    assert_eq!(first.try_recv(), Ok(Answer::Accepted("0a".to_owned())));
    assert_eq!(second.try_recv(), Ok(Answer::Denied));
    assert_eq!(bench.hears(), ["end cam7 0b"], "or it has that one for ever");
    bench.begins("cam7", 7);
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0a"]);
}

#[test]
fn one_that_never_answers_keeps_no_questions() {
    let mut bench = Bench::new();
    for session in 0..1_000 {
        drop(bench.asks(session, "cam7", "k1"));
        bench.hears();
    }
    assert!(bench.client.standing(bench.now).waiting <= 1);
}

#[test]
fn one_that_reads_late_is_asked_later_and_who_waits_is_told_of_its_loss() {
    let mut bench = Bench::new();
    bench.connects_with(SPARE + 3);
    let ask = |bench: &mut Bench, n| bench.asks(n, &format!("cam{n}"), "k1");
    let mut answers: Vec<_> = (1..=5).map(|n| ask(&mut bench, n)).collect();
    // A place in the link is for each question, and one for the end of what it asks about.
    assert_eq!(bench.hears(), ["request cam1 k1 203.0.113.9 1", "request cam2 k1 203.0.113.9 2"]);
    bench.accepts("1", "cam1", "0a");
    bench.denies("2", "cam2");
    // Who gives up is not asked about, whoever comes later waits behind the others.
    drop(answers.remove(3));
    answers.push(ask(&mut bench, 6));
    assert_eq!(bench.client.standing(bench.now).waiting, 3);
    bench.passes_to_due();
    assert_eq!(bench.hears(), ["request cam3 k1 203.0.113.9 3"]);
    bench.denies("3", "cam3");
    bench.passes_to_due();
    assert_eq!(bench.hears(), ["request cam5 k1 203.0.113.9 4"]);
    let state = |bench: &Bench| bench.client.standing(bench.now).state;
    assert_eq!(state(&bench), LinkState::Connected);
    bench.breaks();
    let mut told = answers.iter_mut().map(|answer| answer.try_recv().unwrap());
    let accepted = Answer::Accepted("0a".to_owned());
    assert_eq!(
        told.by_ref().take(3).collect::<Vec<_>>(),
        [accepted, Answer::Denied, Answer::Denied]
    );
    assert_eq!(told.collect::<Vec<_>>(), [Answer::Away, Answer::Away]);
    bench.connects();
    bench.publishes(7, "cam7", "0b");
}

#[test]
fn who_needs_no_question_waits_behind_nobody() {
    let mut bench = Bench::new();
    bench.connects_with(SPARE);
    bench.publishes(7, "cam7", "0a");
    // From here on it reads nothing: one is asked about, and the others wait.
    let mut asked = bench.asks(8, "cam8", "k1");
    let mut same = bench.asks(9, "cam8", "k1");
    let mut held = bench.asks(10, "cam9", "k1");
    assert_eq!(bench.client.standing(bench.now).waiting, 3);
    let accepted = |id: &str| Ok(Answer::Accepted(id.to_owned()));
    assert_eq!(bench.asks(11, "cam7", "k1").try_recv(), accepted("0a"), "he comes back");
    assert_eq!(bench.asks(12, "cam7", "k2").try_recv(), Ok(Answer::Denied));
    // One whose channel begins while he waits is answered by what begins.
    bench.accepts("2", "cam8", "0b");
    assert_eq!(asked.try_recv(), accepted("0b"));
    bench.passes_to_due();
    assert_eq!(same.try_recv(), accepted("0b"));
    assert!(held.try_recv().is_err(), "he needs room");
    assert_eq!(bench.hears(), ["request cam8 k1 203.0.113.9 2"]);
    bench.passes_to_due();
    assert_eq!(bench.hears(), ["request cam9 k1 203.0.113.9 3"]);
}

#[test]
fn as_many_as_there_may_be_end_at_one_moment_and_lose_no_link() {
    let mut bench = Bench::new();
    bench.connects_with(link_max(2_000));
    for n in 0..2_000_u64 {
        bench.publishes(n, &format!("cam{n}"), "0a");
    }
    // Others ask while it reads nothing, and those are not in the way.
    let _waiting: Vec<_> =
        (0..700).map(|n| bench.asks(9_000 + n, &format!("new{n}"), "k")).collect();
    for n in 0..2_000_u64 {
        bench.ends(&format!("cam{n}"));
    }
    assert_eq!(bench.client.standing(bench.now).state, LinkState::Connected);
    let heard = bench.hears();
    let (asked, ended): (Vec<_>, Vec<_>) = heard.iter().partition(|it| it.starts_with("request"));
    assert_eq!((asked.len(), ended.len()), (256, 2_000));
    // Now there is room for all.
    bench.passes_to_due();
    assert_eq!(bench.hears().len(), 700 - 256);
}

/// `limits.streams_max` is raised while it is there: the link is of the size of before.
#[test]
fn a_link_that_was_made_for_fewer_asks_about_one_at_a_time() {
    let mut bench = Bench::new();
    bench.connects_with(link_max(8));
    let all = link_max(8) as u64 + 9;
    for n in 0..all {
        bench.publishes(n, &format!("cam{n}"), "0a");
    }
    let _waiting = ["new1", "new2"].map(|channel| bench.asks(9_000, channel, "k"));
    assert_eq!(bench.hears().len(), 1);
    bench.passes_to_due();
    assert_eq!(bench.hears().len(), 1);
    bench.breaks();
    bench.connects_with(link_max(8));
    loop {
        let heard = bench.hears();
        let Some(request) = heard.first() else { break };
        assert_eq!(heard.len(), 1, "{heard:?}");
        let words: Vec<_> = request.split(' ').collect();
        bench.accepts(words[4], words[1], "again");
    }
    assert_eq!(bench.client.standing(bench.now).requests.rejoined, all);
    // One of the size of now keeps nobody waiting.
    bench.breaks();
    bench.connects_with(link_max(all + 8));
    assert_eq!(bench.hears().len(), REJOINING_MAX);
}

#[test]
fn what_fills_the_link_for_nothing_loses_it() {
    let mut bench = Bench::new();
    bench.connects_with(SPARE);
    for n in 0..=SPARE {
        bench.accepts("99", &format!("cam{n}"), "0a");
    }
    assert_eq!(bench.client.standing(bench.now).state, LinkState::Away("stuck"));
}

#[test]
fn a_link_that_is_gone_is_noticed() {
    let mut bench = Bench::new();
    bench.link = None;
    bench.passes(Duration::from_secs(1));
    assert_eq!(bench.client.standing(bench.now).state, LinkState::Away("closed"));
}

#[test]
fn what_is_for_encoders_and_servers_is_ignored() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    let (channel, id) = ("cam7".to_owned(), "0a".to_owned());
    let (one, two) = ((channel.clone(), id.clone()), (channel.clone(), id.clone()));
    for message in [
        Message::EncodeStart(Task {
            channel,
            id,
            source: Source::Rtmp,
            uri: Secret("rtmp://192.0.2.1/cam7/k1".to_owned()),
            policy: Policy::default(),
        }),
        Message::PublishEnd { channel: one.0, id: one.1 },
        Message::EncodeStop { channel: two.0, id: two.1 },
        Message::Register { capacity: None },
        Message::Error { code: "E".to_owned(), message: "it broke".to_owned() },
        Message::Unknown,
    ] {
        bench.says(message);
    }
    assert!(bench.hears().is_empty() && bench.kicked().is_empty());
    assert_eq!(bench.client.standing(bench.now).publications, 1);
}

#[test]
fn one_that_complains_all_the_time_is_told_of_now_and_then() {
    let every = Duration::from_secs(10);
    let mut bench = Bench::new();
    let complain = |bench: &mut Bench| {
        for _ in 0..1_000 {
            bench.says(Message::Error { code: "E".to_owned(), message: "it broke".to_owned() });
        }
    };
    let told = transcript("complain", || complain(&mut bench));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("it broke"), "{told:?}");
    // A new link begins no new count.
    bench.breaks();
    bench.connects();
    assert_eq!(transcript("complain", || complain(&mut bench)), [""; 0]);
    assert_eq!(bench.client.due(), Some(bench.now + every));
    let told = transcript("complain", || bench.passes(every));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("left_out=1999"), "{told:?}");
    assert_eq!(bench.client.due(), None);
    // It is as quiet again, and the farewell tells the rest.
    assert_eq!(transcript("complain", || complain(&mut bench)), [""; 0]);
    let told = transcript("complain", || bench.client.leave(bench.now));
    assert!(told.len() == 1 && told[0].contains("left_out=1000"), "{told:?}");
}

#[test]
fn no_key_is_shown() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    let _waits = bench.asks(8, "cam8", "hush");
    let shown = format!("{:?}", bench.client);
    assert!(!shown.contains("hush") && !shown.contains("k1"), "{shown}");
}
