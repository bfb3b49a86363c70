//! Losses: the coordinator goes and comes back.

use std::time::Duration;

use super::super::publisher::Answer;
use super::super::rejoining::{ANSWER_MAX, REJOINING_MAX};
use super::super::standing::LinkState;
use super::super::terms::{NewWhileAway, RunningWhileAway, Terms};
use super::bench::Bench;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn while_it_is_away_nobody_new_is_let_in_and_who_is_there_stays() {
    let mut bench = Bench::away(Terms::default());
    assert_eq!(bench.asks(1, "cam1", "k1").try_recv(), Ok(Answer::Away));
    bench.connects();
    bench.publishes(7, "cam7", "0a");
    let mut waits = bench.asks(8, "cam8", "k1");
    bench.breaks();
    assert_eq!(waits.try_recv(), Ok(Answer::Away), "who waits is told at once");
    assert_eq!(bench.asks(9, "cam9", "k1").try_recv(), Ok(Answer::Away));
    bench.passes(600 * SECOND);
    assert!(bench.kicked().is_empty());
    let standing = bench.client.standing(bench.now);
    assert_eq!(standing.state, LinkState::Away("connection_lost"));
    assert_eq!((standing.since_s, standing.publications, standing.requests.away), (600, 1, 3));
}

#[test]
fn what_is_on_the_air_is_asked_about_again_and_goes_on_under_its_new_number() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.publishes(8, "cam8", "0b");
    bench.breaks();
    bench.ends("cam8");
    bench.connects();
    assert_eq!(bench.hears(), ["request cam7 k1 203.0.113.9 3"]);
    bench.accepts("3", "cam7", "0c");
    // The number of before is nobody's any more.
    bench.kills("cam7", "0a");
    assert!(bench.kicked().is_empty());
    bench.kills("cam7", "0c");
    assert_eq!(bench.kicked(), ["cam7"]);
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0c"]);
    assert_eq!(bench.client.standing(bench.now).requests.rejoined, 1);
}

/// A coordinator that has not noticed that the first connection is dead takes the channel for
/// busy.
#[test]
fn a_no_to_what_was_let_in_before_is_asked_about_until_the_dead_link_is_noticed() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.breaks();
    bench.connects();
    let (mut asked, mut kicked) = (0, Vec::new());
    loop {
        let heard = bench.hears();
        let Some(request) = heard.first() else { break };
        let request = request.rsplit_once(' ').unwrap().1.to_owned();
        asked += 1;
        bench.denies(&request, "cam7");
        kicked = bench.kicked();
        assert_eq!(kicked.is_empty(), asked < 16, "after {asked}");
        bench.passes(5 * SECOND);
    }
    assert_eq!((asked, kicked.as_slice()), (16, ["cam7".to_owned()].as_slice()));
    bench.ends("cam7");
    assert!(bench.hears().is_empty(), "it has none of it");

    let mut patient = Bench::new();
    patient.publishes(7, "cam7", "0a");
    patient.breaks();
    patient.connects();
    patient.denies("2", "cam7");
    patient.hears();
    patient.passes(5 * SECOND);
    assert_eq!(patient.hears(), ["request cam7 k1 203.0.113.9 3"]);
    patient.accepts("3", "cam7", "0b");
    patient.passes(600 * SECOND);
    assert!(patient.kicked().is_empty());
}

#[test]
fn a_question_without_an_answer_is_asked_again_and_a_late_yes_counts() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.breaks();
    bench.connects();
    assert_eq!(bench.client.due(), Some(bench.now + ANSWER_MAX));
    bench.hears();
    bench.passes(ANSWER_MAX);
    assert_eq!(bench.hears(), ["request cam7 k1 203.0.113.9 3"]);
    bench.accepts("2", "cam7", "0b");
    // The second one finds the channel taken by the first.
    bench.denies("3", "cam7");
    bench.passes(600 * SECOND);
    assert!(bench.kicked().is_empty() && bench.hears().is_empty());
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0b"]);
}

#[test]
fn one_that_ends_while_it_is_asked_about_is_ended_there_too() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.breaks();
    bench.connects();
    bench.ends("cam7");
    bench.hears();
    bench.accepts("2", "cam7", "0b");
    assert_eq!(bench.hears(), ["end cam7 0b"]);
    assert_eq!(bench.client.standing(bench.now).waiting, 0);
}

/// He leaves while it is asked about him, and is back, as another one, before the answer.
#[test]
fn an_answer_counts_for_the_publication_that_was_asked_about() {
    let back = || {
        let mut bench = Bench::new();
        bench.publishes(7, "cam7", "0a");
        bench.breaks();
        bench.connects();
        bench.ends("cam7");
        let answer = bench.asks(8, "cam7", "k1");
        assert_eq!(bench.hears().len(), 2);
        (bench, answer)
    };
    let goes_on = |mut bench: Bench| {
        bench.passes(600 * SECOND);
        assert!(bench.kicked().is_empty());
        assert!(bench.hears().is_empty(), "nothing is asked about again");
        bench.ends("cam7");
        assert_eq!(bench.hears(), ["end cam7 0c"]);
        assert_eq!(bench.client.standing(bench.now).waiting, 0);
    };
    let yes = |bench: &mut Bench, answer: &mut tokio::sync::oneshot::Receiver<Answer>| {
        bench.accepts("3", "cam7", "0c");
        assert_eq!(answer.try_recv(), Ok(Answer::Accepted("0c".to_owned())));
        bench.begins("cam7", 8);
    };
    // The answers come in the wrong order: a no, another yes, or none at all.
    let (mut bench, mut answer) = back();
    yes(&mut bench, &mut answer);
    bench.passes(ANSWER_MAX - SECOND);
    bench.denies("2", "cam7");
    goes_on(bench);
    let (mut bench, mut answer) = back();
    yes(&mut bench, &mut answer);
    bench.accepts("2", "cam7", "0b");
    assert_eq!(bench.hears(), ["end cam7 0b"]);
    goes_on(bench);
    let (mut bench, mut answer) = back();
    yes(&mut bench, &mut answer);
    goes_on(bench);
    // And in the right one.
    let (mut bench, mut answer) = back();
    bench.accepts("2", "cam7", "0b");
    assert_eq!(bench.hears(), ["end cam7 0b"]);
    yes(&mut bench, &mut answer);
    goes_on(bench);
}

#[test]
fn a_crowd_is_asked_about_a_few_at_a_time() {
    let mut bench = Bench::new();
    let channels: Vec<_> = (0..REJOINING_MAX * 2 + 3).map(|n| format!("cam{n:03}")).collect();
    for (session, channel) in (1..).zip(&channels) {
        bench.publishes(session, channel, &format!("id-{channel}"));
    }
    bench.breaks();
    bench.connects();
    let mut again = Vec::new();
    loop {
        let heard = bench.hears();
        if heard.is_empty() {
            break;
        }
        assert!(heard.len() <= REJOINING_MAX);
        for request in heard {
            let words: Vec<_> = request.split(' ').collect();
            bench.accepts(words[4], words[1], "again");
            again.push(words[1].to_owned());
        }
    }
    again.sort();
    assert_eq!(again, channels);
    assert_eq!(bench.client.due(), None);
}

#[test]
fn by_choice_new_ones_are_let_in_and_asked_about_later() {
    let terms = Terms { new: NewWhileAway::Allow, ..Terms::default() };
    let mut bench = Bench::away(terms);
    for (session, channel) in [(7, "cam7"), (8, "cam8")] {
        let mut answer = bench.asks(session, channel, "k1");
        assert_eq!(answer.try_recv(), Ok(Answer::Accepted(String::new())));
        bench.begins(channel, session);
    }
    bench.connects();
    assert_eq!(bench.hears(), ["request cam7 k1 203.0.113.9 1", "request cam8 k1 203.0.113.9 2"]);
    bench.accepts("1", "cam7", "0a");
    // It was never let in there: nothing of it can be in its own way.
    bench.denies("2", "cam8");
    assert_eq!(bench.kicked(), ["cam8"]);
    bench.ends("cam8");
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0a"]);
}

#[test]
fn by_choice_who_waits_is_let_in_when_the_link_is_lost() {
    let terms = Terms { new: NewWhileAway::Allow, running: RunningWhileAway::End };
    let mut bench = Bench::away(terms);
    bench.connects();
    let mut answers = [("cam7", "k1"), ("cam7", "k1"), ("cam7", "k2"), ("cam8", "k1")]
        .map(|(channel, key)| bench.asks(7, channel, key));
    drop(bench.asks(8, "cam9", "k1"));
    bench.breaks();
    let in_at_once = Answer::Accepted(String::new());
    let told = answers.each_mut().map(|answer| answer.try_recv().unwrap());
    let expected = [in_at_once.clone(), in_at_once.clone(), Answer::Denied, in_at_once];
    assert_eq!(told, expected, "one channel has one key");
    bench.begins("cam7", 7);
    assert!(bench.kicked().is_empty(), "they came with the loss, not before it");
    bench.connects();
    let heard = bench.hears();
    assert_eq!(heard.len(), 2, "nobody waits for cam9: {heard:?}");
    // Who waits for room in the link is in with its loss, too.
    bench.breaks();
    bench.connects_with(1);
    bench.client.changes();
    let mut waiting = ["cam9", "cam10"].map(|channel| bench.asks(9, channel, "k1"));
    assert!(waiting.iter_mut().all(|answer| answer.try_recv().is_err()));
    bench.breaks();
    for answer in &mut waiting {
        assert_eq!(answer.try_recv(), Ok(Answer::Accepted(String::new())));
    }
    assert_eq!(bench.client.changes(), [LinkState::Away("connection_lost")]);
}

#[test]
fn by_choice_everybody_goes_with_the_coordinator_but_not_at_the_farewell() {
    let terms = Terms { running: RunningWhileAway::End, ..Terms::default() };
    let mut bench = Bench::away(terms);
    bench.connects();
    bench.publishes(7, "cam7", "0a");
    bench.breaks();
    assert_eq!(bench.kicked(), ["cam7"]);
    bench.ends("cam7");
    bench.connects();
    assert!(bench.hears().is_empty(), "there is nothing to be asked about");
    bench.publishes(8, "cam8", "0b");
    bench.client.leave(bench.now);
    assert!(bench.kicked().is_empty());
}

#[test]
fn whoever_has_to_go_is_not_asked_about_again() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.kills("cam7", "0a");
    bench.breaks();
    bench.connects();
    assert_eq!(bench.kicked(), ["cam7"]);
    bench.ends("cam7");
    assert!(bench.hears().is_empty(), "it knows nothing of him any more");
    assert_eq!(bench.client.due(), None);
}

#[test]
fn the_farewell_comes_after_everything_that_was_said() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    bench.ends("cam7");
    bench.client.leave(bench.now);
    assert_eq!(bench.hears(), ["end cam7 0a"]);
    let mut link = bench.link.take().unwrap();
    assert_eq!(link.try_recv().unwrap_err(), tokio::sync::mpsc::error::TryRecvError::Disconnected);
    assert_eq!(bench.client.standing(bench.now).state, LinkState::Away("leaving"));
}
