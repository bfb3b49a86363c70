//! `[hls]`: how streams are cut into segments, and how long those are kept.

use dataplane::config::{HlsMode, HlsSession};

use super::field::words;
use super::key::{Key, Section};

const HOUR: u64 = 3_600_000;

words!(HlsMode {
    "on_demand" => HlsMode::OnDemand,
    "always" => HlsMode::Always,
    "off" => HlsMode::Off,
});

words!(HlsSession {
    "token" => HlsSession::Token,
    "cookie" => HlsSession::Cookie,
    "off" => HlsSession::Off,
});

const KEYS: &[Key] = &[
    Key::new(
        "mode",
        "\"on_demand\" packages segments from the first request on, \"always\" as long as a stream \
         lasts, \"off\" never. A stream whose segments are packaged takes up to hls.bytes_max for \
         them.",
        |s| &mut s.stream.hls.mode,
    )
    .now(),
    Key::new(
        "session",
        "How viewers are told apart, so that each has a session that is listed, counted and can be \
         kicked: \"token\" puts ?s= into the addresses that its playlists list, which every player \
         takes; \"cookie\" keeps those addresses the same for everybody, for players of the same \
         site; \"off\" tells nobody apart: the same playlists for all, as a cache in front wants.",
        |s| &mut s.stream.hls.session,
    )
    .now(),
    Key::new("session_idle_ms", "A viewer that asks for nothing for this long has left.", |s| {
        &mut s.stream.hls.session_idle
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new("segment_ms", "A segment ends at the first keyframe after this.", |s| {
        &mut s.stream.hls.segment
    })
    .range(500, 60_000)
    .millis()
    .now(),
    Key::new(
        "gop_ms_max",
        "A group of pictures beyond this is cut where it is no keyframe; shorter ones decide the \
         target duration of a stream's playlist, at least twice segment_ms.",
        |s| &mut s.stream.hls.gop_max,
    )
    .range(1_000, 120_000)
    .millis()
    .now(),
    Key::new(
        "listed",
        "Segments that a playlist lists at least; it lists three target durations at least, too.",
        |s| &mut s.stream.hls.listed,
    )
    .range(3, 60)
    .now(),
    Key::new(
        "kept",
        "Segments that are kept at least. Those that a playlist listed stay as long as its viewers \
         may ask for them, which is up to 16 at the defaults.",
        |s| &mut s.stream.hls.kept,
    )
    .range(3, 120)
    .now(),
    Key::new(
        "bytes_max",
        "Bytes of one stream's transport packets while segments are kept; beyond, the oldest \
         segments go early.",
        |s| &mut s.stream.hls.bytes_max,
    )
    .range(1 << 20, 2 << 30)
    .bytes()
    .now(),
    Key::new(
        "idle_ms",
        "In mode \"on_demand\" segments are dropped when nobody asked for this long.",
        |s| &mut s.stream.hls.idle,
    )
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "first_playlist_wait_ms",
        "Who asks for a stream that has no finished segment yet waits this long, then hears 503.",
        |s| &mut s.stream.hls.first_playlist_wait,
    )
    .range(0, 60_000)
    .millis()
    .now(),
    Key::new(
        "verdict_ms",
        "A viewer that was allowed is not asked about again for this long, for the same stream, \
         query, page and address, but for no longer than what it showed lets in; one that has a \
         session not before what allowed it has ended, either.",
        |s| &mut s.stream.hls.verdict,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "verdict_stale_ms",
        "While a viewer is asked about again it is served, and goes on to be when no answer comes, \
         but no longer than this, nor past the end of what it showed: then it waits for one.",
        |s| &mut s.stream.hls.verdict_stale,
    )
    .range(0, 24 * HOUR)
    .millis()
    .now(),
    Key::new(
        "ended_ms",
        "The last playlist of a stream that ended, and its segments, stay this long.",
        |s| &mut s.stream.hls.ended,
    )
    .range(0, HOUR)
    .millis()
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("hls", "HLS. Applies to streams that start afterwards.", KEYS)
}
