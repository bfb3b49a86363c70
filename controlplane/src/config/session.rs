//! `[session]`: how sessions are judged and paced.

use dataplane::config::UrlDialect;

use super::field::words;
use super::key::{Key, Section};

const HOUR: u64 = 3_600_000;

words!(UrlDialect {
    "name" => UrlDialect::Name,
    "channel_key" => UrlDialect::ChannelKey,
});

const KEYS: &[Key] = &[
    Key::new(
        "connect_deadline_ms",
        "From accept to the publish or play command, the wait for the verdict not counted.",
        |s| &mut s.session.connect_deadline,
    )
    .range(100, HOUR)
    .millis()
    .now(),
    Key::new(
        "authorize_deadline_ms",
        "No verdict within this is a refusal. The key request of the coordinator's contract may \
         take four fifths of it.",
        |s| &mut s.session.authorize_deadline,
    )
    .range(100, HOUR)
    .millis()
    .now(),
    Key::new("publish_idle_ms", "A publisher that sends no media for this long is closed.", |s| {
        &mut s.session.publish_idle
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "publish_bps_min",
        "A publisher slower than this over publish_idle_ms is closed, in bits per second.",
        |s| &mut s.session.publish_bps_min,
    )
    .range(0, 1_000_000_000)
    .now(),
    Key::new("ping_interval_ms", "RTMP peers and WebSocket players are pinged this often.", |s| {
        &mut s.session.ping_interval
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new("keep_alive_ms", "An idle HTTP connection is closed after this long.", |s| {
        &mut s.session.keep_alive
    })
    .range(100, HOUR)
    .millis()
    .now(),
    Key::new(
        "play_wait_ms",
        "A player of an unknown stream waits this long for its publisher, a request of HTTP for a \
         live format at most 60000; 0 refuses at once.",
        |s| &mut s.session.play_wait,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "idle_play_ms",
        "A player that is allowed to wait for its stream, as the coordinator's contract wants, \
         waits this long; a request of HTTP at most 60000.",
        |s| &mut s.session.idle_play,
    )
    .range(1_000, 24 * HOUR)
    .millis()
    .now(),
    Key::new(
        "url",
        "What the address of an RTMP peer says. \"name\": the stream's name, with the key in its \
         query. \"channel_key\": rtmp://host/CHANNEL/KEY, to publish and to play; then \
         ?cache=clear of a player makes those who come after it begin at the next keyframe.",
        |s| &mut s.session.url,
    )
    .now(),
    Key::new(
        "id_bytes_max",
        "Bytes of a channel, and of a key, where url is \"channel_key\". A channel has 128 at \
         most.",
        |s| &mut s.session.id_bytes_max,
    )
    .range(1, 1_024)
    .bytes()
    .now(),
    Key::new(
        "rtmp_chunk_bytes",
        "Bytes of an RTMP chunk that we send: the same for everybody, so that chunks can be \
         shared.",
        |s| &mut s.session.rtmp_chunk_bytes,
    )
    .range(128, 65_536)
    .bytes(),
    Key::new(
        "receive_buffer_bytes",
        "Receive buffer of a socket whose peer does not publish; the kernel takes twice that.",
        |s| &mut s.session.receive_buffer_bytes,
    )
    .range(4 << 10, 16 << 20)
    .bytes()
    .now(),
    Key::new(
        "publish_receive_bytes",
        "Receive buffer of a publisher's socket: what is under way at most, its bit rate times the \
         path's delay. The kernel takes twice that; where net.core.rmem_max is below, it adapts \
         the buffer up to net.ipv4.tcp_rmem.",
        |s| &mut s.session.publish_receive_bytes,
    )
    .range(64 << 10, 64 << 20)
    .bytes()
    .now(),
    Key::new(
        "proxies",
        "Addresses and ranges of the balancers and proxies in front of the server, whose word \
         about their clients' addresses, and whether those speak TLS to them, is believed. The \
         caps per address do not count them.",
        |s| &mut s.session.proxies,
    )
    .now(),
    Key::new(
        "refuse_ms",
        "When the server is told to end, for this long nobody is sent away: /readyz says no and \
         new publishers and players are refused, so that a load balancer looks elsewhere.",
        |s| &mut s.session.refuse,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "drain_ms",
        "After that, sessions get this long to end: who can reconnect (Enhanced RTMP) is asked to \
         and served on, all others hear their protocol's end.",
        |s| &mut s.session.drain,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "drain_serve",
        "Whether everybody is served until drain_ms is nearly over, not only who can reconnect.",
        |s| &mut s.session.drain_serve,
    )
    .now(),
    Key::new(
        "reconnect_url",
        "Where peers that can reconnect (Enhanced RTMP) are sent at the end, while they are served \
         on; relative to their own address, or a whole one. \"\" is the address they have.",
        |s| &mut s.session.reconnect_url,
    )
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("session", "How sessions are judged and paced.", KEYS)
}
