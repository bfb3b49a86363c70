//! Room: how many more players of the current mix fit, and what bounds them.

use dataplane::config::LimitId;
use dataplane::control::{HeadroomStatus, ShardSnapshot};
use dataplane::metrics::NoRoom;
use serde::Serialize;
use utoipa::ToSchema;

/// What fits into a shard or into the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Room {
    /// Players of the current mix.
    pub(crate) players: u64,
    /// Their bits a second.
    bps: u64,
    /// "cpu"; "latency" if a key frame for more players would come late; or the limit that has the
    /// least room.
    limited_by: &'static str,
}

impl Room {
    /// Into one shard, which shares the node's limits with the others.
    pub(crate) fn of_shard(headroom: &HeadroomStatus) -> Self {
        let core = (headroom.bound, headroom.players_room);
        Self::within(core, headroom.player_bps, headroom.node)
    }

    /// Into all shards together; `None` if none of them answered.
    pub(crate) fn of_node(shards: &[ShardSnapshot]) -> Option<Self> {
        let shards: Vec<_> = shards.iter().map(|shard| shard.headroom).collect();
        Self::of_all(&shards)
    }

    fn of_all(shards: &[HeadroomStatus]) -> Option<Self> {
        let last = shards.last()?;
        let sum = |of: fn(&HeadroomStatus) -> u64| -> u64 {
            shards.iter().map(of).fold(0, u64::saturating_add)
        };
        let players = sum(|headroom| headroom.players);
        let bps = match sum(|headroom| headroom.owed_bps).checked_div(players) {
            Some(bps) => bps.max(1),
            None => last.player_bps,
        };
        let mean = |share: fn(&HeadroomStatus) -> f64| {
            let shares = shards.iter().map(|headroom| headroom.players as f64 * share(headroom));
            shares.sum::<f64>() / players as f64
        };
        let (mean, in_burst) = (mean(|h| h.player_share), mean(|h| h.player_in_burst));
        let room = shards.iter().map(|headroom| match headroom.bound {
            NoRoom::Latency => players_of(headroom, headroom.player_in_burst, in_burst),
            _ => players_of(headroom, headroom.player_share, mean),
        });
        let room = room.fold(0, u64::saturating_add);
        // What bounds the shard that has most room is what ends the room of all.
        let widest = shards.iter().max_by_key(|headroom| headroom.players_room);
        let bound = widest.map_or(NoRoom::Cpu, |headroom| headroom.bound);
        Some(Self::within((bound, room), bps, last.node))
    }

    fn within((bound, core): (NoRoom, u64), player_bps: u64, node: [(LimitId, u64); 3]) -> Self {
        let limits = node.map(|(limit, left)| match limit {
            LimitId::EgressBpsMax => (limit.name(), left / player_bps.max(1)),
            _ => (limit.name(), left),
        });
        let all = [(bound.name(), core)].into_iter().chain(limits);
        let (limited_by, players) = all.min_by_key(|&(_, left)| left).expect("the core is one");
        Self { players, bps: players.saturating_mul(player_bps), limited_by }
    }
}

/// How many players of whom each costs `share` of a core fit into what a shard has left, which it
/// counts in players of its `own` mix, and in such as are typical if it has none.
fn players_of(headroom: &HeadroomStatus, own: f64, share: f64) -> u64 {
    if own > 0.0 && share > 0.0 {
        (headroom.players_room as f64 * own / share).round() as u64
    } else {
        headroom.players_room
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const HEADROOM: HeadroomStatus = HeadroomStatus {
        players_room: 4_000,
        bound: NoRoom::Cpu,
        players: 1_000,
        full: false,
        player_share: 2e-4,
        player_in_burst: 4e-4,
        player_bps: 2_000_000,
        owed_bps: 2_000_000_000,
        in_use: 0.2,
        in_burst: 0.3,
        others: 0.01,
        send_s: 5e-6,
        byte_s: 2e-10,
        request_s: 3e-5,
        node: [
            (LimitId::ConnectionsMax, 9_000),
            (LimitId::PlayersMax, 8_000),
            (LimitId::EgressBpsMax, 1 << 40),
        ],
    };

    #[test]
    fn the_scarcest_thing_bounds_the_room() {
        let room = |headroom| {
            let Room { players, bps, limited_by } = Room::of_shard(&headroom);
            (players, bps, limited_by)
        };
        assert_eq!(room(HEADROOM), (4_000, 8_000_000_000, "cpu"));
        let late = HeadroomStatus { bound: NoRoom::Latency, ..HEADROOM };
        assert_eq!(room(late), (4_000, 8_000_000_000, "latency"));
        let mut node = HEADROOM.node;
        node[2].1 = 3_999_999;
        assert_eq!(room(HeadroomStatus { node, ..HEADROOM }), (1, 2_000_000, "egress_bps_max"));
        node[1].1 = 0;
        assert_eq!(room(HeadroomStatus { node, ..HEADROOM }), (0, 0, "players_max"));
        assert_eq!(Room::of_node(&[]), None);
    }

    #[test]
    fn a_shard_without_players_has_room_for_those_of_the_node() {
        let node = [(LimitId::EgressBpsMax, u64::MAX); 3];
        let all = |shards: &[HeadroomStatus]| {
            let Room { players, bps, limited_by } = Room::of_all(shards).unwrap();
            (players, bps, limited_by)
        };
        let room = |shards: &[HeadroomStatus]| {
            let (players, bps, limited_by) = all(shards);
            assert_eq!(limited_by, "cpu");
            (players, bps)
        };
        let typical = HeadroomStatus { players: 0, owed_bps: 0, node, ..HEADROOM };
        // Each of them is four typical players.
        let busy = HeadroomStatus {
            players_room: 600,
            players: 500,
            player_share: 8e-4,
            player_bps: 8_000_000,
            owed_bps: 4_000_000_000,
            ..typical
        };
        assert_eq!(room(&[typical, typical]), (8_000, 16_000_000_000));
        assert_eq!(room(&[busy, typical]), (1_600, 12_800_000_000));
        assert_eq!(room(&[typical, busy]), (1_600, 12_800_000_000));
        // A shard of one who costs next to nothing is no other case.
        let one = HeadroomStatus { players_room: 32_000, players: 1, player_share: 2.5e-5, ..busy };
        let (players, _) = room(&[busy, HeadroomStatus { owed_bps: 64_000, ..one }]);
        assert!((1_600..1_610).contains(&players), "{players}");
        // Where key frames bound it, it is those that are compared.
        let late = |headroom| HeadroomStatus { bound: NoRoom::Latency, ..headroom };
        let bursts = HeadroomStatus { player_in_burst: 1.2e-3, ..late(busy) };
        let (players, bps, _) = all(&[bursts, late(typical)]);
        assert_eq!((players, bps), (600 + 4_000 / 3, (600 + 4_000 / 3) * 8_000_000));
        assert_eq!(all(&[bursts, late(typical)]).2, "latency");
        let full = HeadroomStatus { players_room: 0, full: true, ..busy };
        assert_eq!(room(&[full, typical]).0, 1_000);
    }
}
