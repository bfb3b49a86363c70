//! Life: what becomes of publications when servers, encoders and publishers come and go.

use dataplane::ids::{Secret, SessionId};

use super::super::peer::{LINK_MAX, PeerId};
use super::super::table::News;
use super::bench::{Bench, PICTURES, id, name, over};
use super::harm::number;
use crate::coordinator::policy::Policy;
use crate::coordinator::wire::{Output, Role};

const PULL: &str = "rtmp://192.0.2.7:1935/cam7/k1";

#[test]
fn a_publisher_comes_and_goes_and_the_end_is_told_when_its_encoder_is_done() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(Some(1)));
    assert_eq!((server, encoder), (PeerId(2), PeerId(3)), "this node is 1");
    bench.publishes(server, "cam7", 1);
    // It pulls before the publisher is live.
    assert_eq!(bench.hears(encoder), [format!("start cam7 01 {PULL}")]);
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7"]);
    assert_eq!(bench.active(), [("cam7".to_owned(), 2, 3)]);
    let output = Output::live("cam7", id(1), "640x360-30");
    let news = bench.available(encoder, "cam7", 1);
    assert_eq!(news, [News::Output(name("cam7"), id(1), output)]);
    let end = bench.end("cam7", 1);
    bench.says(server, end);
    assert_eq!(bench.hears(encoder), ["stop cam7 01"]);
    assert_eq!((bench.active(), bench.table.news()), (Vec::new(), Vec::new()));
    assert_eq!(bench.table.load(), 1, "it is not done yet");
    let closed = bench.closed("cam7", 1);
    bench.says(encoder, closed.clone());
    assert_eq!((bench.table.news(), bench.table.load()), (vec![over(1)], 0));
    bench.says(encoder, closed);
    assert_eq!(bench.table.news(), [], "once");
}

#[test]
fn who_comes_back_is_denied_while_the_old_one_is_live_and_then_has_a_new_number() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 1);
    assert!(bench.asks(server, "cam7").is_none());
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7", "deny cam7 q-cam7"]);
    // So is one who asked before the old one was let in.
    let end = bench.end("cam7", 1);
    bench.says(server, end.clone());
    let [first, second] = [(); 2].map(|()| bench.asks(server, "cam7").unwrap().number);
    for (question, number) in [(first, 2), (second, 3)] {
        let granted = Some((name("cam7"), id(number), Policy::default()));
        bench.table.answered(question, granted, bench.now);
    }
    assert_eq!(bench.hears(server), ["accept cam7 02 q-cam7", "deny cam7 q-cam7"]);
    // The end of the old one is late news.
    bench.says(server, end);
    assert_eq!(bench.active(), [("cam7".to_owned(), 2, 3)]);
    assert_eq!(bench.hears(encoder).len(), 3);
}

#[test]
fn a_task_that_ends_by_itself_ends_the_publication() {
    let mut bench = Bench::new();
    let (server, encoder) = (bench.server(), bench.encoder(Some(1)));
    bench.publishes(server, "cam7", 1);
    let closed = bench.closed("cam7", 1);
    bench.says(encoder, closed);
    assert_eq!((bench.table.news(), bench.table.load()), (vec![over(1)], 0));
    assert_eq!(bench.hears(server), ["accept cam7 01 q-cam7", "kill cam7 01"]);
    assert!(bench.asks(server, "cam7").is_none(), "until its publisher is gone");
    bench.hears(server);
    let end = bench.end("cam7", 1);
    bench.says(server, end);
    assert!(bench.asks(server, "cam7").is_some());
    assert_eq!(bench.hears(encoder), [format!("start cam7 01 {PULL}")], "nothing is left to stop");

    // A publisher of this node is sent away by this node.
    bench.here("cam8", 2);
    let closed = bench.closed("cam8", 2);
    bench.table.news();
    bench.says(encoder, closed);
    assert_eq!(bench.table.news(), [over(2), News::Kick(name("cam8"), id(2))]);
}

#[test]
fn a_lost_encoder_is_followed_by_the_least_loaded_one_under_the_same_number() {
    let mut bench = Bench::new();
    let server = bench.server();
    let (first, second, third) =
        (bench.encoder(Some(2)), bench.encoder(Some(1)), bench.encoder(Some(0)));
    for (channel, number) in [("cam7", 1), ("cam8", 2)] {
        bench.publishes(server, channel, number);
    }
    assert_eq!(bench.hears(first), [format!("start cam7 01 {PULL}")], "the oldest of equals");
    assert_eq!(bench.hears(second).len(), 1);
    bench.breaks(second);
    let moved = ["start cam8 02 rtmp://192.0.2.7:1935/cam8/k1"];
    assert_eq!(bench.hears(first), moved);
    assert_eq!(bench.table.news(), [News::Lost(second, Role::Hls, "connection_lost")]);
    let expected = [("cam7".to_owned(), 2, first.0), ("cam8".to_owned(), 2, first.0)];
    assert_eq!(bench.active(), expected);
    // Nobody has room any more: publishers have to go, and are told over when they are gone.
    bench.hears(server);
    bench.breaks(first);
    assert_eq!(bench.hears(server), ["kill cam7 01", "kill cam8 02"]);
    assert_eq!(bench.hears(third), [""; 0]);
    assert_eq!(bench.table.news(), [News::Lost(first, Role::Hls, "connection_lost")]);
    for (channel, number) in [("cam7", 1), ("cam8", 2)] {
        let end = bench.end(channel, number);
        bench.says(server, end);
    }
    assert_eq!(bench.table.news(), [over(1), over(2)]);
}

#[test]
fn what_is_published_here_goes_home_when_no_other_encoder_is_left() {
    let mut bench = Bench::new();
    bench.here("cam6", 9);
    assert_eq!(bench.active(), [], "nobody is attached");
    let encoder = bench.encoder(Some(2));
    bench.here("cam7", 1);
    bench.here("cam8", 2);
    let pull = bench.hears(encoder)[0].clone();
    let (_, pass) = pull.rsplit_once('/').unwrap();
    assert!(pull.starts_with("start cam7 01 rtmp://192.0.2.1:1935/cam7/"), "{pull}");
    let pass = Secret(pass.to_owned());
    assert!(bench.table.is_pass(&name("cam7"), &pass));
    for (channel, key) in [("cam8", pass.clone()), ("cam7", Secret::default())] {
        assert!(!bench.table.is_pass(&name(channel), &key), "{channel}");
    }
    assert!(bench.table.made_here(id(1), PICTURES) && !bench.table.made_here(id(9), PICTURES));
    assert_eq!((bench.table.handed_out(), bench.table.spare()), (2, Some(0)));
    bench.breaks(encoder);
    let home = |number, channel, made| News::Home(name(channel), id(number), made);
    assert_eq!(
        bench.table.news(),
        [
            News::Lost(encoder, Role::Hls, "connection_lost"),
            home(1, "cam7", Some(PICTURES)),
            home(2, "cam8", None),
        ]
    );
    assert!(!bench.table.is_pass(&name("cam7"), &pass) && !bench.table.has(id(1)));
    assert_eq!((bench.table.handed_out(), bench.active()), (0, Vec::new()));
}

#[test]
fn a_pass_is_good_for_one_task_of_one_encoder() {
    let mut bench = Bench::new();
    let (first, second) = (bench.encoder(None), bench.encoder(Some(1)));
    bench.here("cam7", 1);
    let pass = |heard: &[String]| Secret(heard[0].rsplit_once('/').unwrap().1.to_owned());
    let before = pass(&bench.hears(first));
    assert!(!bench.table.pulls(&name("cam7"), &Secret("guess".to_owned()), SessionId(8)));
    assert!(bench.table.pulls(&name("cam7"), &before, SessionId(7)));
    bench.breaks(first);
    let severed = News::Sever(SessionId(7));
    let lost = News::Lost(first, Role::Hls, "connection_lost");
    assert_eq!(bench.table.news(), [lost, severed], "what it pulled by ends with its task");
    let after = pass(&bench.hears(second));
    assert_ne!(before.0, after.0);
    assert!(!bench.table.is_pass(&name("cam7"), &before), "its task is another one's");
    assert!(bench.table.is_pass(&name("cam7"), &after));
    for session in 10..30 {
        assert!(bench.table.pulls(&name("cam7"), &after, SessionId(session)));
    }
    let closed = bench.closed("cam7", 1);
    bench.says(second, closed);
    assert!(!bench.table.is_pass(&name("cam7"), &after), "there is no task any more");
    let severed = bench.table.news();
    let severed = severed.iter().filter(|news| matches!(news, News::Sever(_))).count();
    assert_eq!(severed, 8, "a bounded number of its sessions");
}

#[test]
fn a_lost_server_takes_its_publications_and_questions_along_and_no_others() {
    let mut bench = Bench::new();
    let (server, other, encoder) = (bench.server(), bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 1);
    bench.publishes(other, "cam8", 2);
    let question = bench.asks(server, "cam9").unwrap().number;
    bench.hears(encoder);
    bench.breaks(server);
    // The number is the right one, so that the task is found.
    assert_eq!(bench.hears(encoder), ["stop cam7 01"]);
    assert_eq!(bench.active(), [("cam8".to_owned(), other.0, encoder.0)]);
    let granted = Some((name("cam9"), id(3), Policy::default()));
    bench.table.answered(question, granted, bench.now);
    assert_eq!((bench.hears(encoder).len(), bench.table.has(id(3))), (0, false));
    // It comes back: its publishers may, too, before the encoder is done with the old ones.
    let server = bench.server();
    bench.publishes(server, "cam7", 4);
    assert_eq!(bench.hears(server), ["accept cam7 04 q-cam7"]);
    bench.table.news();
    let closed = bench.closed("cam7", 1);
    bench.says(encoder, closed);
    assert_eq!(bench.table.news(), [over(1)]);
    assert!(bench.active().contains(&("cam7".to_owned(), server.0, encoder.0)));
}

#[test]
fn an_encoder_that_does_not_listen_has_no_places() {
    let mut bench = Bench::new();
    let busy = bench.encoder(None);
    assert_eq!(bench.table.spare(), None);
    let half = LINK_MAX / 2;
    for at in 0..half {
        bench.here_as(&format!("h{at}"), number(at));
    }
    assert_eq!((bench.table.handed_out(), bench.table.spare()), (half, Some(0)));
    // One that listens has as many as it says.
    bench.encoder(Some(3));
    assert_eq!(bench.table.spare(), Some(3));
    assert_eq!(bench.hears(busy).len(), half);
    assert_eq!(bench.table.spare(), None);
}
