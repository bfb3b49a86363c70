//! `[egress]`: how players are served.

use super::key::{Key, Section};

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new(
        "admission_target",
        "Share of a core that may be in use, with frames gathered for batch_ms_max, before new \
         players are refused (limits.admission): what is left is for joins, ingest and bursts.",
        |s| &mut s.egress.admission_target,
    )
    .now(),
    Key::new(
        "gather_above",
        "Share of a shard's time that sending each frame at once may take. Above it frames are \
         gathered, so that one core serves more players.",
        |s| &mut s.egress.gather_above,
    )
    .now(),
    Key::new(
        "utilisation_target",
        "Share of a shard's time that sending may take while frames are gathered: they are \
         gathered for as long as this needs, up to batch_ms_max.",
        |s| &mut s.egress.utilisation_target,
    )
    .now(),
    Key::new("batch_ms_max", "Frames are gathered at most this long.", |s| &mut s.egress.batch_max)
        .range(0, 10_000)
        .millis()
        .now(),
    Key::new(
        "batch_ms_min",
        "Frames are gathered at least this long; 0 sends each at once.",
        |s| &mut s.egress.batch_min,
    )
    .range(0, 10_000)
    .millis()
    .now(),
    Key::new(
        "player_lag_ms_max",
        "A player further behind than this jumps to the newest keyframe. At most 3/4 of \
         stream.retain_ms.",
        |s| &mut s.egress.player_lag_max,
    )
    .range(100, HOUR)
    .millis()
    .now(),
    Key::new("jumps_max", "Jumps within jump_window_ms before the player is closed.", |s| {
        &mut s.egress.jumps_max
    })
    .range(1, 255)
    .now(),
    Key::new("jump_window_ms", "The window of jumps_max.", |s| &mut s.egress.jump_window)
        .range(1_000, HOUR)
        .millis()
        .now(),
    Key::new("stall_ms", "A player that accepts no byte for this long is closed.", |s| {
        &mut s.egress.stall
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "notsent_lowat_bytes",
        "Bytes not yet sent in the kernel before a player's socket counts as full \
         (TCP_NOTSENT_LOWAT).",
        |s| &mut s.egress.notsent_lowat_bytes,
    )
    .range(4 << 10, 16 << 20)
    .bytes()
    .now(),
    Key::new(
        "send_buffer_bytes",
        "Cap of a player's send buffer in the kernel (SO_SNDBUF); the kernel takes up to twice \
         that for each slow player.",
        |s| &mut s.egress.send_buffer_bytes,
    )
    .range(16 << 10, 64 << 20)
    .bytes()
    .now(),
    Key::new(
        "user_timeout_ms",
        "Data that a player does not acknowledge for this long closes its connection \
         (TCP_USER_TIMEOUT).",
        |s| &mut s.egress.user_timeout,
    )
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "join_bytes_per_turn",
        "Bytes that a shard sends to joining players in one turn of its loop, so that a crowd of \
         them delays nobody else.",
        |s| &mut s.egress.join_bytes_per_turn,
    )
    .range(64 << 10, 1 << 30)
    .bytes()
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("egress", "How players are served.", KEYS)
}
