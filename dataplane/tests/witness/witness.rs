//! A publisher and its players beside an attack: they must not notice anything.

#![allow(dead_code, reason = "each test binary uses its own part")]

use dataplane::config::LimitId;

use crate::node::assert_contiguous;
use crate::node::{FlvPlayer, Item, Player, Publisher, RtmpPlayer, Server, Totals};

/// Connections of a [`Witness`].
pub(crate) const WITNESS_CONNECTIONS: u64 = 3;

/// A publisher of the stream `good` and one player of each format.
pub(crate) struct Witness {
    pub(crate) publisher: Publisher,
    rtmp: RtmpPlayer,
    flv: FlvPlayer,
    /// The last items of the round before, per player.
    last: [Vec<Item>; 2],
}

impl Witness {
    pub(crate) fn start(server: &Server) -> Self {
        let mut publisher = Publisher::start(server.rtmp, "good");
        publisher.send_frames(1);
        let rtmp = RtmpPlayer::start(server.rtmp, "good");
        let flv = FlvPlayer::start(server.http, "good");
        let mut witness = Self { publisher, rtmp, flv, last: [Vec::new(), Vec::new()] };
        witness.works();
        witness
    }

    /// Sends some frames and sees every one of them arrive at both players.
    pub(crate) fn works(&mut self) {
        self.publish(3);
    }

    /// Sends `count` frames and sees every one of them arrive at both players.
    pub(crate) fn publish(&mut self, count: u32) {
        let end = self.publisher.send_frames(count);
        self.arrives(end);
    }

    /// Sees every frame before number `end` arrive at both players.
    pub(crate) fn arrives(&mut self, end: u32) {
        let Self { rtmp, flv, last, .. } = self;
        let rounds = [rtmp.items_to_audio(end - 1), flv.items_to_audio(end - 1)];
        for (last, round) in last.iter_mut().zip(rounds) {
            last.extend(round);
            assert_contiguous(last);
            // A video and an audio frame are enough to go on from.
            last.drain(..last.len().saturating_sub(2));
        }
    }
}

/// The limits that grew between two snapshots, and by how much.
pub(crate) fn grown(before: &Totals, after: &Totals) -> Vec<(LimitId, u64)> {
    let growth = |&id: &LimitId| (id, after.limit(id) - before.limit(id));
    LimitId::ALL.iter().map(growth).filter(|&(_, n)| n > 0).collect()
}
