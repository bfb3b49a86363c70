//! `[stream]`: how streams are kept.

use super::key::{Key, Section};

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new("retain_ms", "Frames are kept this long, and at least one group of pictures.", |s| {
        &mut s.stream.retain
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "gop_bytes_max",
        "A group of pictures beyond this is not kept for joining players, who then wait for the \
         next keyframe.",
        |s| &mut s.stream.gop_bytes_max,
    )
    .range(64 << 10, 1 << 30)
    .bytes()
    .now(),
    Key::new(
        "bytes_max",
        "Bytes of one packaged log, and of the frames of one stream: a stream takes up to this \
         much once for its frames and once for each format that somebody plays.",
        |s| &mut s.stream.bytes_max,
    )
    .range(256 << 10, 4 << 30)
    .bytes()
    .now(),
    Key::new(
        "grace_ms",
        "Players stay this long, in silence, after their publisher was lost.",
        |s| &mut s.stream.grace,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "takeover_after_ms",
        "A second publisher takes a stream over if the first delivered nothing for this long; \
         else it is refused.",
        |s| &mut s.stream.takeover_after,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new("idle_log_ms", "A format that nobody plays is dropped after this long.", |s| {
        &mut s.stream.idle_log
    })
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "jump_ms_max",
        "A timestamp further off than this, forward or back, is taken as a new time base.",
        |s| &mut s.stream.jump_max,
    )
    .range(100, HOUR)
    .millis()
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("stream", "How streams are kept. Applies to streams that start afterwards.", KEYS)
}
