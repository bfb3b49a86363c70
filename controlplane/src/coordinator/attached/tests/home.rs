//! What the encoder of this node pulls from servers, and how that ends.

use dataplane::ids::Secret;

use super::super::home::Pulled;
use super::super::peer::PeerId;
use super::super::table::News;
use super::bench::{Bench, PICTURES, id, name, over};
use crate::coordinator::wire::Role;

fn pull(channel: &str, number: u8) -> News {
    News::Pull(Pulled {
        channel: name(channel),
        id: id(number),
        uri: Secret(format!("rtmp://192.0.2.7:1935/{channel}/k1")),
        key: Secret("k1".to_owned()),
    })
}

fn unpull(channel: &str, number: u8) -> News {
    News::Unpull(name(channel), id(number))
}

/// A bench with a server whose publication `cam7` is pulled.
fn pulling() -> (Bench, PeerId) {
    let mut bench = Bench::new();
    bench.table.set_places(None);
    let server = bench.server();
    bench.publishes(server, "cam7", 7);
    assert_eq!(bench.hears(server), ["accept cam7 07 q-cam7"]);
    assert_eq!(bench.table.news(), [pull("cam7", 7)]);
    (bench, server)
}

#[test]
fn those_that_are_attached_come_first_and_a_server_of_websocket_has_no_other() {
    let mut bench = Bench::new();
    bench.table.set_places(Some(1));
    let (server, encoder) = (bench.server(), bench.encoder(Some(1)));
    bench.publishes(server, "cam6", 6);
    assert_eq!(bench.hears(encoder), ["start cam6 06 rtmp://192.0.2.7:1935/cam6/k1"]);
    let wss = bench.try_attach(Role::Wss, 80).unwrap();
    assert!(bench.asks(wss, "cam8").is_none(), "nobody here plays by WebSocket");
    bench.publishes(server, "cam7", 7);
    assert_eq!(bench.table.news(), [pull("cam7", 7)]);
    assert!(bench.asks(server, "cam8").is_none(), "there was one place");
    let rows = bench.active();
    assert_eq!(rows, [("cam6".to_owned(), 2, 3), ("cam7".to_owned(), 2, 1)]);
    assert_eq!((bench.table.pulled(), bench.table.handed_out()), ((1, 0), 0));
}

#[test]
fn what_is_pulled_is_encoded_as_what_is_published_here_and_ends_once() {
    let (mut bench, server) = pulling();
    bench.here("cam7", 7);
    assert!(!bench.table.made_here(id(7), PICTURES), "its application is told");
    assert_eq!(bench.table.pulled(), (1, 1));
    assert_eq!(bench.table.due(), None, "the lease is over");
    let end = bench.end("cam7", 7);
    bench.says(server, end.clone());
    assert_eq!(bench.table.news(), [unpull("cam7", 7)], "its stream is not over yet");
    bench.table.ended_here(id(7), bench.now);
    assert_eq!(bench.table.news(), [over(7)]);
    bench.says(server, end);
    assert!(bench.table.news().is_empty() && bench.hears(server).is_empty());
}

#[test]
fn one_that_never_began_is_over_with_its_publisher_or_its_server() {
    let (mut bench, server) = pulling();
    let end = bench.end("cam7", 7);
    bench.says(server, end);
    assert_eq!(bench.table.news(), [unpull("cam7", 7), over(7)]);
    bench.publishes(server, "cam7", 8);
    bench.table.news();
    bench.breaks(server);
    let news = bench.table.news();
    assert!(news.ends_with(&[unpull("cam7", 8), over(8)]), "{news:?}");
}

#[test]
fn a_publisher_goes_of_whom_nothing_comes() {
    let (mut bench, server) = pulling();
    bench.table.gave_up(id(7), bench.now);
    assert_eq!(bench.hears(server), ["kill cam7 07"]);
    assert_eq!(bench.table.news(), [unpull("cam7", 7), over(7)]);
    assert!(bench.asks(server, "cam7").is_none(), "he is not gone yet");
    let end = bench.end("cam7", 7);
    bench.says(server, end);
    assert_eq!(bench.table.news(), [over(7)], "who was told of it already is not told again");
    bench.publishes(server, "cam7", 8);
    bench.table.news();
    bench.hears(server);
    // It began and was played, and its stream ended here without a word of its server.
    bench.here("cam7", 8);
    bench.table.ended_here(id(8), bench.now);
    assert_eq!(bench.hears(server), ["kill cam7 08"]);
    assert_eq!(bench.table.news(), [unpull("cam7", 8), over(8)]);
}

#[test]
fn nothing_within_the_lease_ends_it_too() {
    let (mut bench, server) = pulling();
    bench.passes_to_due();
    assert_eq!(bench.hears(server), ["kill cam7 07"]);
    bench.passes_to_due();
    assert_eq!(bench.table.news(), [unpull("cam7", 7), over(7)]);
}

#[test]
fn what_a_lost_encoder_had_comes_home() {
    let mut bench = Bench::new();
    bench.table.set_places(None);
    let (server, encoder) = (bench.server(), bench.encoder(None));
    bench.publishes(server, "cam7", 7);
    bench.breaks(encoder);
    let news = bench.table.news();
    assert!(news.contains(&pull("cam7", 7)), "{news:?}");
    assert_eq!(bench.hears(server), ["accept cam7 07 q-cam7"], "nobody is told to go");
}
