//! Harm: who is refused, who is late, who is too much, and who means it badly.

use std::time::Duration;

use dataplane::ids::{Secret, StreamId};

use super::super::peer::{LINK_MAX, PeerId};
use super::super::servers::{PUBLICATIONS_MAX, REQUESTS_MAX};
use super::super::table::{KILL_MAX, News, STOP_MAX};
use super::bench::{Bench, LEASE, id, name, over};
use crate::coordinator::policy::Policy;
use crate::coordinator::transcript::transcript;
use crate::coordinator::wire::{Message, Output, Role};

#[test]
fn without_an_encoder_a_publication_is_denied() {
    let mut bench = Bench::new();
    let server = bench.server();
    let silent = bench.try_attach(Role::Hls, 80).unwrap();
    assert!(bench.asks(server, "cam7").is_none(), "it has not said what it takes");
    bench.says(silent, Message::Register { capacity: Some(0) });
    assert!(bench.asks(server, "cam7").is_none(), "and it takes nothing");
    assert_eq!(bench.hears(server), ["deny cam7 q-cam7"; 2]);
    // The last place goes while somebody is asked.
    bench.says(silent, Message::Register { capacity: Some(1) });
    let [one, two] = ["cam7", "cam8"].map(|channel| bench.asks(server, channel).unwrap().number);
    bench.table.answered(one, Some((name("cam7"), id(1), Policy::default())), bench.now);
    bench.table.answered(two, Some((name("cam8"), id(2), Policy::default())), bench.now);
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7", "deny cam8 q-cam8"]);
    // To say so again does not forget what it has.
    bench.says(silent, Message::Register { capacity: Some(1) });
    assert_eq!((bench.table.load(), bench.table.spare()), (1, Some(0)));
}

#[test]
fn who_may_not_publish_is_denied() {
    let mut bench = Bench::new();
    let server = bench.server();
    bench.encoder(None);
    // The application says no, or nothing.
    let question = bench.asks(server, "cam7").unwrap();
    assert_eq!(question.user.to_string(), "203.0.113.9");
    bench.table.answered(question.number, None, bench.now);
    assert_eq!(bench.hears(server), ["deny cam7 q-cam7"]);
    bench.table.answered(question.number, None, bench.now);
    assert_eq!(bench.hears(server), [""; 0], "an answer is given once");
    // It says yes to another name, by which the encoder could not pull.
    let question = bench.asks(server, "cam7").unwrap().number;
    bench.table.answered(question, Some((name("cam9"), id(1), Policy::default())), bench.now);
    assert_eq!(bench.hears(server), ["deny cam7 q-cam7"]);
    // It says yes when the server has given up.
    let question = bench.asks(server, "cam7").unwrap().number;
    let late = bench.now + Duration::from_secs(15);
    bench.table.answered(question, Some((name("cam7"), id(1), Policy::default())), late);
    assert_eq!(bench.hears(server), ["deny cam7 q-cam7"]);
    // What is no channel or key is not asked about.
    for (channel, key) in [("", "k"), ("a/b", "k"), ("a b", "k"), ("cam7", ""), ("cam7", "k/x")] {
        let (request, user_ip) = ("1".to_owned(), String::new());
        let (channel, key) = (channel.to_owned(), Secret(key.to_owned()));
        let shown = format!("deny {channel} 1");
        let asked = bench.says(server, Message::PublishRequest { request, channel, key, user_ip });
        assert!(asked.is_none());
        assert_eq!(bench.hears(server), [shown]);
    }
    assert_eq!(bench.active(), []);
}

#[test]
fn a_channel_whose_publisher_never_came_is_free_again() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 1);
    // The encoder finds nothing to pull; the server knows of no such publisher, and is silent.
    let closed = bench.closed("cam7", 1);
    bench.says(encoder, closed);
    bench.passes(KILL_MAX - Duration::from_millis(1));
    assert!(bench.asks(server, "cam7").is_none());
    assert_eq!(bench.table.due(), Some(bench.now + Duration::from_millis(1)));
    bench.passes(Duration::from_millis(1));
    assert!(bench.asks(server, "cam7").is_some());
    assert!(bench.table.news().iter().all(|news| *news == over(1)));
}

/// Its server gave up before the yes came, and its encoder waits for ever for somebody to pull.
#[test]
fn a_publication_that_nobody_speaks_of_is_ended_and_its_channel_free_again() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 1);
    bench.publishes(server, "cam8", 2);
    bench.available(encoder, "cam8", 2);
    bench.here("cam9", 3);
    bench.hears(server);
    bench.passes(LEASE - Duration::from_millis(1));
    assert_eq!(bench.hears(server), [""; 0]);
    bench.passes(Duration::from_millis(1));
    assert_eq!(bench.hears(server), ["kill cam7 01"]);
    bench.passes(KILL_MAX);
    assert!(bench.asks(server, "cam7").is_some());
    // What can be played, and what is published here, stays for as long as it likes.
    bench.passes(10 * LEASE);
    assert_eq!(bench.active().len(), 2);
}

#[test]
fn an_encoder_that_never_says_that_it_is_done_is_taken_to_be() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(Some(1)));
    bench.publishes(server, "cam7", 1);
    let end = bench.end("cam7", 1);
    bench.says(server, end);
    bench.passes(STOP_MAX - Duration::from_millis(1));
    assert_eq!((bench.table.news(), bench.table.load()), (Vec::new(), 1));
    bench.passes(Duration::from_millis(1));
    assert_eq!((bench.table.news(), bench.table.load()), (vec![over(1)], 0));
    // One that dies meanwhile is done at once.
    bench.here("cam8", 2);
    bench.table.ended_here(id(2), bench.now);
    bench.breaks(encoder);
    let lost = News::Lost(encoder, Role::Hls, "connection_lost");
    assert_eq!(bench.table.news(), [lost, over(2)]);
}

#[test]
fn one_that_complains_all_the_time_is_told_of_now_and_then() {
    let every = Duration::from_secs(10);
    let mut bench = Bench::new();
    for peer in [bench.server(), bench.encoder(None)] {
        let complain = |bench: &mut Bench| {
            for _ in 0..1_000 {
                let (code, message) = ("E".to_owned(), "it broke".to_owned());
                bench.says(peer, Message::Error { code, message });
            }
        };
        let told = transcript("complain", || complain(&mut bench));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("it broke"), "{told:?}");
        assert_eq!(bench.table.due(), Some(bench.now + every));
        let told = transcript("complain", || bench.passes(every));
        assert!(told.len() == 1 && told[0].contains("left_out=999"), "{told:?}");
        assert_eq!(bench.table.due(), None);
        // It is as quiet again, and its loss tells the rest.
        assert_eq!(transcript("complain", || complain(&mut bench)), [""; 0]);
        let told = transcript("complain", || bench.breaks(peer));
        assert!(told.len() == 1 && told[0].contains("left_out=1000"), "{told:?}");
    }
}

#[test]
fn a_close_reaches_the_server_that_has_the_publication() {
    let mut bench = Bench::new();
    let (server, _encoder) = (bench.server(), bench.encoder(None));
    for (text, meant) in [
        ("*".to_owned(), true),
        (String::new(), true),
        (id(1).to_string(), true),
        (id(2).to_string(), false),
        ("**".to_owned(), false),
    ] {
        bench.publishes(server, "cam7", 1);
        bench.hears(server);
        assert_eq!(bench.table.close("cam7", &text, bench.now), meant, "{text}");
        let expected: &[&str] = if meant { &["kill cam7 01"] } else { &[] };
        assert_eq!(bench.hears(server), expected);
        // Once is enough.
        bench.table.close("cam7", &text, bench.now);
        assert_eq!(bench.hears(server), [""; 0]);
        let end = bench.end("cam7", 1);
        bench.says(server, end);
        let encoder = PeerId(3);
        let closed = bench.closed("cam7", 1);
        bench.says(encoder, closed);
    }
    bench.here("cam8", 9);
    assert!(!bench.table.close("cam8", "*", bench.now), "this node closes its own");
    assert!(!bench.table.close("../x", "*", bench.now));
}

#[test]
fn a_hostile_peer_touches_only_what_is_its_own() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(Some(1)));
    bench.publishes(server, "cam7", 1);
    let (bad_server, bad_encoder) = (bench.server(), bench.encoder(Some(1)));
    bench.here("cam8", 2);
    let handed = bench.hears(bad_encoder);
    assert_eq!(handed.len(), 1);
    let output = Output::live("cam7", id(1), "1x1-1");
    let available = |of: u8| Message::StreamAvailable {
        channel: "cam7".to_owned(),
        id: id(of).to_string(),
        output: output.clone(),
    };
    for (peer, message) in [
        // Those of others, and those that it may not say at all.
        (bad_server, bench.end("cam7", 1)),
        (bad_server, bench.end("cam8", 2)),
        (bad_server, Message::PublishEnd { channel: "cam7".to_owned(), id: String::new() }),
        (bad_server, bench.closed("cam7", 1)),
        (bad_server, Message::Register { capacity: None }),
        (bad_server, available(1)),
        (bad_encoder, bench.closed("cam7", 1)),
        (bad_encoder, Message::StreamClosed { channel: "cam7".to_owned(), id: String::new() }),
        (bad_encoder, available(1)),
        // Its own number with the name of another one.
        (bad_encoder, available(2)),
        (bad_encoder, bench.end("cam7", 1)),
        (server, bench.closed("cam7", 1)),
        (server, bench.end("cam8", 2)),
        (PeerId(99), bench.end("cam7", 1)),
        (PeerId::SELF, bench.end("cam8", 2)),
    ] {
        let shown = format!("{peer} {message:?}");
        assert!(bench.says(peer, message).is_none(), "{shown}");
        assert_eq!(bench.table.news(), [], "{shown}");
    }
    let request = Message::PublishRequest {
        request: "1".to_owned(),
        channel: "cam9".to_owned(),
        key: Secret("k".to_owned()),
        user_ip: String::new(),
    };
    assert!(bench.says(encoder, request).is_none(), "an encoder does not publish");
    let expected = [("cam7".to_owned(), 2, 3), ("cam8".to_owned(), 1, bad_encoder.0)];
    assert_eq!(bench.active(), expected);
    assert_eq!((bench.hears(bad_server).len(), bench.hears(bad_encoder).len()), (0, 0));
}

#[test]
fn peers_questions_and_waiting_messages_are_bounded() {
    let mut bench = Bench::new();
    let (server, _) = (bench.server(), bench.server());
    assert!(bench.try_attach(Role::Rtmp, 1935).is_none());
    assert!(bench.try_attach(Role::Wss, 80).is_some(), "each role has its own places");
    for _ in 0..3 {
        bench.encoder(None);
    }
    assert!(bench.try_attach(Role::Hls, 80).is_none());
    for number in 0..REQUESTS_MAX {
        assert!(bench.asks(server, &format!("c{number}")).is_some());
    }
    assert!(bench.asks(server, "more").is_none());
    assert_eq!(bench.hears(server), ["deny more q-more"]);
    // A server that does not take its messages is lost.
    for _ in 0..=LINK_MAX {
        bench.asks(server, "more");
    }
    assert_eq!(bench.table.news(), [News::Lost(server, Role::Rtmp, "stuck")]);
    assert!(bench.asks(server, "c1").is_none());
    // So is one whose task is over without a word.
    let (gone, orders) = bench.links.remove(1);
    drop(orders);
    bench.passes(Duration::ZERO);
    assert_eq!(bench.table.news(), [News::Lost(gone, Role::Rtmp, "closed")]);
}

#[test]
fn a_crowd_that_moves_at_once_loses_no_encoder() {
    let mut bench = Bench::new();
    let (one, two) = (bench.server(), bench.server());
    let crowded = bench.encoder(None);
    for at in 0..2 * PUBLICATIONS_MAX {
        let server = if at < PUBLICATIONS_MAX { one } else { two };
        let question = bench.asks(server, &format!("c{at}")).expect("there is room").number;
        let granted = Some((name(&format!("c{at}")), number(at), Policy::default()));
        bench.table.answered(question, granted, bench.now);
        bench.hears(crowded);
        bench.hears(server);
    }
    assert!(bench.asks(one, "more").is_none(), "as many as a server may have");
    bench.hears(one);
    let other = bench.encoder(None);
    bench.breaks(crowded);
    // It is given as much as it hears at once, and the others when it has heard that.
    assert_eq!(bench.hears(other).len(), LINK_MAX / 2);
    bench.passes_to_due();
    assert_eq!(bench.hears(other).len(), 2 * PUBLICATIONS_MAX - LINK_MAX / 2);
    assert_eq!((bench.hears(one).len(), bench.hears(two).len()), (0, 0), "nobody has to go");
    // Its servers go at once, while it hears nothing: it is told of each end in the end.
    for at in 0..LINK_MAX / 2 {
        bench.here_as(&format!("h{at}"), number(10_000 + at));
    }
    bench.breaks(one);
    bench.breaks(two);
    let (mut starts, mut stops) = (0, 0);
    while !bench.table.waiting.is_empty() {
        for heard in bench.hears(other) {
            let is_start = heard.starts_with("start");
            starts += usize::from(is_start);
            stops += usize::from(!is_start);
        }
        bench.passes_to_due();
    }
    stops += bench.hears(other).len();
    assert_eq!((starts, stops), (LINK_MAX / 2, 2 * PUBLICATIONS_MAX));
    let lost = |news: &News| matches!(news, News::Lost(peer, ..) if *peer == other);
    assert!(!bench.table.news().iter().any(lost));
    bench.passes(STOP_MAX);
    assert_eq!(bench.table.load(), LINK_MAX / 2);
}

#[test]
fn who_waits_for_an_encoder_that_is_lost_has_to_go() {
    let mut bench = Bench::new();
    let (server, first) = (bench.server(), bench.encoder(None));
    let second = bench.encoder(Some(600));
    // As much as it hears at once waits for the second one already.
    for n in 0..LINK_MAX / 2 {
        bench.here_as(&format!("h{n}"), number(n));
        bench.here_as(&format!("i{n}"), number(10_000 + n));
    }
    bench.hears(first);
    for (n, channel) in ["cam7", "cam8"].into_iter().enumerate() {
        let question = bench.asks(server, channel).expect("the first one hears").number;
        let granted = Some((name(channel), number(20_000 + n), Policy::default()));
        bench.table.answered(question, granted, bench.now);
    }
    bench.hears(server);
    bench.breaks(first);
    assert_eq!(bench.hears(server), [""; 0], "the second one takes more, later");
    bench.says(server, Message::PublishEnd { channel: "cam8".to_owned(), id: String::new() });
    bench.breaks(second);
    bench.passes_to_due();
    let killed = bench.hears(server);
    assert_eq!(killed.len(), 1, "{killed:?}");
    assert!(killed[0].starts_with("kill cam7"), "{killed:?}");
    assert!(bench.table.waiting.is_empty());
}

/// The encoder of what can be played is lost, and the other one does not hear now; the server and
/// that one. The encoder of this node has so many places.
fn one_waits(places: Option<usize>) -> (Bench, PeerId, PeerId) {
    let mut bench = Bench::new();
    bench.table.set_places(places);
    let (server, first) = (bench.server(), bench.encoder(None));
    let second = bench.encoder(Some(600));
    for n in 0..LINK_MAX / 2 {
        bench.here_as(&format!("h{n}"), number(n));
        bench.here_as(&format!("i{n}"), number(10_000 + n));
    }
    bench.hears(first);
    bench.publishes(server, "cam7", 7);
    assert_eq!(bench.available(first, "cam7", 7).len(), 1);
    assert_eq!(bench.hears(server), ["accept cam7 07 q-cam7"]);
    bench.breaks(first);
    assert_eq!(bench.table.waiting.len(), 1);
    (bench, server, second)
}

#[test]
fn who_waits_for_an_encoder_comes_before_whoever_is_new() {
    for places in [Some(0), None] {
        let (mut bench, server, second) = one_waits(places);
        bench.hears(second);
        // There is room again, and nobody else takes it.
        assert!(bench.asks(server, "cam8").is_none());
        bench.here("cam9", 9);
        assert!(!bench.table.has(id(9)), "the encoder of this node has it");
        bench.passes_to_due();
        assert_eq!(bench.hears(second), ["start cam7 07 rtmp://192.0.2.7:1935/cam7/k1"]);
        assert!(bench.asks(server, "cam8").is_some());
        assert_eq!(bench.hears(server), ["deny cam8 q-cam8"]);
        let is_pull = |news: &News| matches!(news, News::Pull(_));
        assert!(!bench.table.news().iter().any(is_pull), "an attached one comes first");
    }
}

#[test]
fn who_waits_for_an_encoder_that_is_lost_is_pulled_if_the_node_has_a_place() {
    let (mut bench, server, second) = one_waits(None);
    bench.passes_to_due();
    let pulls = |bench: &mut Bench| {
        let news = bench.table.news();
        news.iter().filter(|news| matches!(news, News::Pull(pulled) if pulled.id == id(7))).count()
    };
    assert_eq!((pulls(&mut bench), bench.table.waiting.len()), (0, 1), "it takes more, later");
    bench.breaks(second);
    bench.passes_to_due();
    assert_eq!((pulls(&mut bench), bench.table.waiting.len()), (1, 0));
    assert_eq!(bench.hears(server), [""; 0], "nobody has to go");
}

#[test]
fn who_waits_for_an_encoder_that_hears_nothing_may_begin_anew_in_the_end() {
    let (mut bench, server, _second) = one_waits(Some(0));
    bench.passes(LEASE - Duration::from_millis(1));
    assert_eq!(bench.hears(server), [""; 0]);
    bench.passes(Duration::from_millis(1));
    assert_eq!(bench.hears(server), ["kill cam7 07"]);
    bench.table.news();
    bench.passes(KILL_MAX);
    assert_eq!(bench.table.news(), [over(7)]);
    assert!(bench.table.waiting.is_empty());
}

pub(super) fn number(at: usize) -> StreamId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(at as u64).to_be_bytes());
    StreamId(bytes)
}

#[test]
fn two_who_were_let_in_at_once_leave_the_one_of_this_node() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 1);
    bench.here("cam7", 2);
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7", "kill cam7 01"]);
    assert!(!bench.table.has(id(2)), "it stays with the encoder of this node");
    bench.table.ended_here(id(2), bench.now);
    let end = bench.end("cam7", 1);
    bench.says(server, end);
    assert_eq!(bench.hears(encoder).last().unwrap(), "stop cam7 01");
    assert!(bench.active().is_empty());
}

#[test]
fn a_number_that_the_application_says_again_is_given_to_nobody_else() {
    let mut bench = Bench::new();
    let server = bench.server();
    bench.encoder(None);
    bench.publishes(server, "cam7", 1);
    bench.publishes(server, "cam8", 1);
    bench.here("cam9", 1);
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7", "deny cam8 q-cam8"]);
    assert_eq!(bench.table.load(), 1);
    bench.breaks(server);
    bench.passes(Duration::from_secs(120));
    assert_eq!(bench.table.load(), 0, "what is left of it ends like any other");
}
