//! Load: how busy shards are, who plays, and who else would fit.

use dataplane::control::{HeadroomStatus, Protocol, ShardSnapshot};

use super::text::Text;
use crate::api::room::Room;

pub(super) fn load(text: &mut Text, shards: &[ShardSnapshot]) {
    type Value = fn(&ShardSnapshot) -> f64;
    let families: [(&str, &str, Value); 4] = [
        ("utilisation", "Share of the last second spent in turns.", |s| s.recent.utilisation),
        ("egress_utilisation", "Share of the last quarter of a second spent in egress.", |s| {
            s.utilisation
        }),
        (
            "egress_turn_share",
            "Share of the time in turns, of the last second, that egress took.",
            |s| s.recent.egress_turn_share,
        ),
        (
            "flush_interval_seconds",
            "How long frames are gathered now; 0 sends each at once.",
            |s| s.flush_interval_ms / 1000.0,
        ),
    ];
    for (name, help, value) in families {
        text.family(name, "gauge", help);
        for shard in shards {
            text.sample(name, format_args!("shard=\"{}\"", shard.shard), value(shard));
        }
    }
}

pub(super) fn players(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "protocol_players";
    text.family(NAME, "gauge", "Playing sessions by protocol.");
    for shard in shards {
        for (protocol, players) in Protocol::ALL.iter().zip(shard.counters.players_of) {
            if protocol.plays() {
                let (shard, protocol) = (shard.shard, protocol.name());
                text.sample(
                    NAME,
                    format_args!("shard=\"{shard}\",protocol=\"{protocol}\""),
                    players,
                );
            }
        }
    }
}

pub(super) fn room(text: &mut Text, shards: &[ShardSnapshot]) {
    type Column = fn(&HeadroomStatus) -> f64;
    let columns: [(&str, &str, Column); 7] = [
        ("players_room", "More players of the current mix that fit.", |headroom| {
            Room::of_shard(headroom).players as f64
        }),
        (
            "players_full",
            "1 while the core of the shard has no room for another player.",
            |headroom| f64::from(u8::from(headroom.full)),
        ),
        (
            "owed_bytes_per_second",
            "Byte rates of the streams that players play, for each player.",
            |headroom| headroom.owed_bps as f64 / 8.0,
        ),
        (
            "core_in_use",
            "Share of the core in use if frames were gathered as long as allowed.",
            |headroom| headroom.in_use,
        ),
        (
            "core_in_burst",
            "The same but for viewers of HLS, of an interval in which streams bring key frames.",
            |headroom| headroom.in_burst,
        ),
        ("send_cost_seconds", "CPU that one send costs.", |headroom| headroom.send_s),
        ("byte_cost_seconds", "CPU that one byte of a send costs.", |headroom| headroom.byte_s),
    ];
    for (name, help, column) in columns {
        text.family(name, "gauge", help);
        for shard in shards {
            let labels = format_args!("shard=\"{}\"", shard.shard);
            text.sample(name, labels, column(&shard.headroom));
        }
    }
    if let Some(room) = Room::of_node(shards) {
        let help = "More players of the current mix that fit into the node.";
        text.family("node_players_room", "gauge", help);
        text.line(format_args!("grandstand_node_players_room {}", room.players));
    }
}
