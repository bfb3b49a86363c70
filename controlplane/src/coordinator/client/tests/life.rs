//! Life: publishers come, publish and leave while the coordinator is there.

use std::time::Duration;

use dataplane::ids::SessionId;

use super::super::publisher::Answer;
use super::super::table::GRANT_MAX;
use super::bench::{Bench, name};

#[test]
fn a_publisher_is_asked_about_and_his_end_is_told_once() {
    let mut bench = Bench::new();
    let mut answer = bench.asks(7, "cam7", "k1");
    assert_eq!(bench.hears(), ["request cam7 k1 203.0.113.9 1"]);
    assert!(answer.try_recv().is_err(), "nobody has answered");
    bench.accepts("1", "cam7", "0a");
    assert_eq!(answer.try_recv(), Ok(Answer::Accepted("0a".to_owned())));
    bench.begins("cam7", 7);
    bench.passes(10 * GRANT_MAX);
    assert_eq!((bench.hears(), bench.client.due()), (Vec::<String>::new(), None));
    bench.ends("cam7");
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0a"]);
    assert_eq!(bench.client.standing(bench.now).publications, 0);
    // The next one is another publication.
    bench.publishes(8, "cam7", "0b");
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0b"]);
}

#[test]
fn a_no_is_a_no_and_leaves_nothing() {
    let mut bench = Bench::new();
    let mut answer = bench.asks(7, "cam7", "wrong");
    bench.denies("1", "cam7");
    assert_eq!(answer.try_recv(), Ok(Answer::Denied));
    let standing = bench.client.standing(bench.now);
    assert_eq!((standing.publications, standing.waiting, standing.requests.denied), (0, 0, 1));
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["request cam7 wrong 203.0.113.9 1"]);
}

/// Within the grace of his stream, or because his first connection is half open.
#[test]
fn who_comes_back_with_his_key_goes_on_and_nobody_else_does() {
    let mut bench = Bench::new();
    bench.publishes(7, "cam7", "0a");
    let mut again = bench.asks(8, "cam7", "k1");
    assert_eq!(again.try_recv(), Ok(Answer::Accepted("0a".to_owned())));
    let mut other = bench.asks(9, "cam7", "k2");
    assert_eq!(other.try_recv(), Ok(Answer::Denied));
    // The stream ends just before he begins: it is still the same publication.
    bench.ends("cam7");
    assert_eq!(bench.hears(), Vec::<String>::new());
    bench.begins("cam7", 8);
    bench.ends("cam7");
    assert_eq!(bench.hears(), ["end cam7 0a"]);
}

#[test]
fn who_was_let_in_and_never_begins_is_said_to_be_gone() {
    let mut bench = Bench::new();
    drop(bench.asks(6, "cam6", "k1"));
    let mut answer = bench.asks(7, "cam7", "k1");
    bench.accepts("2", "cam7", "0a");
    assert!(answer.try_recv().is_ok());
    assert_eq!(bench.client.due(), Some(bench.now + GRANT_MAX));
    bench.passes(GRANT_MAX - Duration::from_millis(1));
    assert_eq!(bench.hears().len(), 2, "the two questions alone");
    bench.passes(Duration::from_millis(1));
    assert_eq!(bench.hears(), ["end cam7 0a"]);
    // He begins after all: nobody knows of him there, so he has to go.
    bench.begins("cam7", 7);
    assert_eq!(bench.kicked(), ["cam7"]);
    bench.begins("cam7", 7);
    assert!(bench.kicked().is_empty(), "it was said once");
}

#[test]
fn who_is_refused_by_this_node_is_said_to_be_gone_at_once() {
    let mut bench = Bench::new();
    let _answer = bench.asks(7, "cam7", "k1");
    bench.accepts("1", "cam7", "0a");
    bench.hears();
    bench.client.refused(&name("cam7"), SessionId(9), bench.now);
    assert_eq!(bench.hears(), Vec::<String>::new(), "that was another one");
    bench.client.refused(&name("cam7"), SessionId(7), bench.now);
    assert_eq!(bench.hears(), ["end cam7 0a"]);
    // Of one that is on the air nothing is over because a second one was refused.
    bench.publishes(7, "cam7", "0b");
    let _second = bench.asks(8, "cam7", "k1");
    bench.client.refused(&name("cam7"), SessionId(8), bench.now);
    assert_eq!(bench.hears(), Vec::<String>::new());
}

#[test]
fn an_order_ends_the_publication_that_it_means() {
    for id in ["0a", "*", ""] {
        let mut bench = Bench::new();
        bench.publishes(7, "cam7", "0a");
        bench.publishes(8, "cam8", "0b");
        bench.kills("cam7", "09");
        assert!(bench.kicked().is_empty(), "that one was before it");
        bench.kills("cam7", id);
        assert_eq!(bench.kicked(), ["cam7"], "{id:?}");
        let mut again = bench.asks(9, "cam7", "k1");
        assert_eq!(again.try_recv(), Ok(Answer::Denied), "he does not come back by his key");
        // An order that was lost on its way is given again.
        bench.passes(Duration::from_secs(5));
        assert_eq!(bench.kicked(), ["cam7"]);
        bench.ends("cam7");
        assert_eq!(bench.hears(), ["end cam7 0a"]);
        assert_eq!(
            (bench.client.due(), bench.client.standing(bench.now).requests.kills),
            (None, 2)
        );
    }
}

#[test]
fn an_order_for_nobody_is_answered_with_the_end() {
    let mut bench = Bench::new();
    bench.kills("cam7", "0a");
    bench.kills("cam8", "*");
    bench.kills("no channel", "0a");
    assert_eq!(bench.hears(), ["end cam7 0a", "end cam8 ", "end no channel 0a"]);
    assert!(bench.kicked().is_empty());
}

#[test]
fn one_who_has_to_go_before_he_began_goes_when_he_does() {
    let mut bench = Bench::new();
    let _answer = bench.asks(7, "cam7", "k1");
    bench.accepts("1", "cam7", "0a");
    bench.kills("cam7", "0a");
    assert!(bench.kicked().is_empty());
    bench.begins("cam7", 7);
    assert_eq!(bench.kicked(), ["cam7"]);
    bench.ends("cam7");
    assert_eq!(bench.hears()[1..], ["end cam7 0a"]);
}
