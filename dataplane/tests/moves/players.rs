//! Players of every format, on both shards, while their stream moves.

use dataplane::config::Config;
use dataplane::control::{Role, SessionStatus};
use dataplane::ids::ShardId;

use super::node::{
    self, FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, Totals, TsPlayer, WsPlayer,
    assert_contiguous,
};
use super::orders::moved;
use crate::on_both_backends;

on_both_backends! {
    players_of_every_format_lose_nothing
    the_smallest_rings_and_buffers_lose_nothing
}

/// Frames of video, and of audio, between two moves: not whole groups of pictures.
const STEP: u32 = 23;
/// Where the stream goes.
const WAY: [(u16, u16); 4] = [(0, 1), (1, 0), (0, 1), (1, 0)];

/// A player, and what it has received.
pub(crate) struct Witness {
    player: Box<dyn Player>,
    items: Vec<Item>,
}

impl Witness {
    pub(crate) fn new(player: impl Player + 'static) -> Self {
        Self { player: Box::new(player), items: Vec::new() }
    }

    pub(crate) fn read_to(&mut self, number: u32) {
        self.items.extend(self.player.items_to_audio(number));
    }

    /// Nothing is missing from `first` up to what was read last, and it is in order.
    pub(crate) fn assert_whole(&self, first: u32, last: u32) {
        assert_contiguous(&self.items);
        for of in [Item::video as fn(&Item) -> _, Item::audio] {
            let numbers: Vec<_> = self.items.iter().filter_map(of).map(|f| f.number).collect();
            assert_eq!((numbers.first(), numbers.last()), (Some(&first), Some(&last)));
        }
    }

    /// The bytes from its first frame on.
    fn wire(&self) -> Vec<u8> {
        let first = self.items.iter().position(|item| item.frame().is_some()).unwrap();
        self.items[first..].iter().flat_map(|item| item.wire.clone()).collect()
    }
}

/// True if each shard has players of each of so many kinds.
fn plays_on_each(totals: &Totals) -> bool {
    (0..2).all(|shard| {
        let plays = |s: &&SessionStatus| s.role == Some(Role::Play) && s.shard == ShardId(shard);
        let mut kinds: Vec<_> = totals.sessions().filter(plays).map(|s| s.protocol).collect();
        kinds.sort_by_key(|kind| kind.name());
        kinds.dedup();
        kinds.len() == 4
    })
}

/// Players of every format, until each shard has each.
fn witnesses(server: &Server, name: &str) -> [Vec<Witness>; 4] {
    let mut witnesses = [const { Vec::new() }; 4];
    for _ in 0..64 {
        witnesses[0].push(Witness::new(RtmpPlayer::start(server.rtmp, name)));
        witnesses[1].push(Witness::new(FlvPlayer::start(server.http, name)));
        witnesses[2].push(Witness::new(TsPlayer::start(server.http, name)));
        witnesses[3].push(Witness::new(WsPlayer::start(server.http, name)));
        if plays_on_each(&server.control.snapshot()) {
            return witnesses;
        }
    }
    panic!("connections never spread over both shards");
}

fn lose_nothing(config: Config) {
    let server = Server::with_home(config, 0);
    let mut publisher = Publisher::start(server.rtmp, "news");
    publisher.send_frames(1);
    server.control.until("a picture and sound", |t| t.sum(|c| c.units_received) == 2);
    let mut witnesses = witnesses(&server, "news");
    let players: usize = witnesses.iter().map(Vec::len).sum();
    let mut last = publisher.send_frames(STEP) - 1;
    for (from, to) in WAY {
        moved(&server, "news", from, to);
        last = publisher.send_frames(STEP) - 1;
        let totals = server.control.snapshot();
        assert_eq!(totals.stream("news").unwrap().shard, ShardId(to));
        assert_eq!(totals.sum(|c| c.players), players as u64, "nobody was dropped");
        for witness in witnesses.iter_mut().flatten() {
            witness.read_to(last);
        }
    }
    for kind in &witnesses {
        for witness in kind {
            witness.assert_whole(0, last);
            assert!(witness.wire() == kind[0].wire(), "every player gets the same bytes");
        }
    }
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.streams_moved), WAY.len() as u64);
    assert_eq!(totals.sum(|c| c.player_jumps + c.units_dropped_malformed), 0);
    drop((publisher, witnesses));
    server.control.until("every log is given back", |t| t.sum(|c| c.logs_sealed) == 0);
}

fn players_of_every_format_lose_nothing(config: Config) {
    lose_nothing(config);
}

fn the_smallest_rings_and_buffers_lose_nothing(config: Config) {
    lose_nothing(node::tiny(config));
}
