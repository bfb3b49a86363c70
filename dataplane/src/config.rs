//! What a node is started with: typed values, each limit named, counted and bounded.
//!
//! The control plane fills these from the configuration file; the data plane never parses text.

use std::fmt;
use std::time::Duration;

use codecs::time::MediaTime;

use crate::ids::ShardId;
pub use crate::listener::*;
use crate::rates::Rate;
use crate::reactor::ReactorConfig;
use crate::session::tls::Identity;
use crate::session::view_token::ViewKeys;
pub use crate::srt::*;

/// Everything that a node needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// One shard per item, in order.
    pub shards: Vec<ShardConfig>,
    /// Overrides of the placement of streams, first match wins.
    pub pins: Vec<Pin>,
    /// The reactor of every shard.
    pub reactor: ReactorConfig,
    /// Sockets that accept peers.
    pub listeners: Vec<ListenerConfig>,
    /// The certificate of listeners inside TLS.
    pub tls: Option<Identity>,
    /// Bounds of peers, messages and time.
    pub limits: Limits,
    /// How players are served.
    pub egress: EgressConfig,
    /// How streams are kept.
    pub stream: StreamConfig,
    /// How sessions are judged.
    pub session: SessionConfig,
    /// What the control plane is asked.
    pub auth: AuthConfig,
    /// How SRT peers are served.
    pub srt: SrtConfig,
    /// What the tokens of viewers of HLS are signed with.
    pub view_keys: ViewKeys,
    /// Page memory of all shards together, bytes: the ceiling of media memory.
    pub page_bytes: u64,
    /// Freed pages are filled with a pattern: for tests of reclamation.
    pub poison: bool,
    /// The stream that plays while nobody publishes it.
    pub demo: Option<DemoConfig>,
}

/// One shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// The CPU that its thread is pinned to; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
}

/// Streams whose name matches `pattern` have their home on `shard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// A stream name in which `*` stands for any run of letters, `/` included.
    pub pattern: String,
    /// The home shard.
    pub shard: ShardId,
}

/// The built-in stream.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Its name.
    pub name: crate::ids::StreamName,
    /// An FLV file with H.264 and AAC that starts with a keyframe.
    pub flv: &'static [u8],
}

/// How streams are kept: windows, grace, takeover.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamConfig {
    /// Access units are kept this long, and at least one GOP.
    pub retain: MediaTime,
    /// A GOP beyond this is not kept for joiners, who then wait for the next keyframe.
    pub gop_bytes_max: u64,
    /// Bytes of one packaged log, and of the access units of one stream.
    pub bytes_max: u64,
    /// Players stay this long after their publisher was lost.
    pub grace: Duration,
    /// A second publisher takes over if the holder delivered nothing for this long.
    pub takeover_after: Duration,
    /// A packaged log without readers is dropped after this long.
    pub idle_log: Duration,
    /// A jump of a timestamp beyond this, forward or back, is taken as a new time base.
    pub jump_max: MediaTime,
    /// How the stream is cut into segments.
    pub hls: HlsConfig,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            retain: MediaTime::from_millis(10_000),
            gop_bytes_max: 16 << 20,
            bytes_max: 32 << 20,
            grace: Duration::from_secs(10),
            takeover_after: Duration::from_secs(3),
            idle_log: Duration::from_secs(10),
            jump_max: MediaTime::from_millis(5_000),
            hls: HlsConfig::default(),
        }
    }
}

/// When segments are packaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HlsMode {
    /// From the first request on, until nobody asked for [`HlsConfig::idle`].
    #[default]
    OnDemand,
    /// As long as the stream lasts.
    Always,
    /// Never: there is no HLS.
    Off,
}

/// How a viewer of HLS is told from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HlsSession {
    /// By a token in the addresses that its playlists list.
    Token,
    /// By a cookie.
    Cookie,
    /// Not at all: everybody gets the same playlists.
    #[default]
    Off,
}

/// How streams are cut into segments, and how long those are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HlsConfig {
    /// When segments are packaged; where they begin is decided all the time.
    pub mode: HlsMode,
    /// How viewers are told apart.
    pub session: HlsSession,
    /// A viewer that asks for nothing for this long has left.
    pub session_idle: Duration,
    /// A segment ends at the first keyframe after this.
    pub segment: MediaTime,
    /// A group of pictures beyond this is cut where it is no keyframe.
    pub gop_max: MediaTime,
    /// Segments that a playlist lists at least; it lists three target durations at least, too.
    pub listed: u32,
    /// Segments that are kept at least, once they were there; those that a playlist listed stay as
    /// long as its viewers may ask for them (RFC 8216 6.2.2).
    pub kept: u32,
    /// Bytes of the packets of one stream while its segments are kept.
    pub bytes_max: u64,
    /// Segments are dropped when nobody asked for them for this long.
    pub idle: Duration,
    /// A first playlist is waited for this long.
    pub first_playlist_wait: Duration,
    /// What the control plane allowed a viewer is taken as allowed this long.
    pub verdict: Duration,
    /// And, while it is asked again, so much longer: a control plane that gives no answer stops
    /// nobody who views before.
    pub verdict_stale: Duration,
    /// The last playlist of a stream that ended, and its segments, stay this long.
    pub ended: Duration,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            mode: HlsMode::OnDemand,
            session: HlsSession::Token,
            session_idle: Duration::from_secs(30),
            segment: MediaTime::from_millis(2_000),
            gop_max: MediaTime::from_millis(10_000),
            listed: 6,
            kept: 13,
            bytes_max: 128 << 20,
            idle: Duration::from_secs(60),
            first_playlist_wait: Duration::from_secs(10),
            verdict: Duration::from_secs(30),
            verdict_stale: Duration::from_secs(300),
            ended: Duration::from_secs(60),
        }
    }
}

/// Whether players are refused before those who play suffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// A shard that has no room, as it measures, refuses new players.
    #[default]
    Measured,
    /// Only limits refuse.
    Off,
}

/// How players are served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EgressConfig {
    /// Whether new players are refused for lack of room.
    pub admission: Admission,
    /// Share of a core that may be in use, frames gathered for [`Self::batch_max`], before new
    /// players are refused, 0 to 1.
    pub admission_target: f64,
    /// Share of a shard's time that sending each frame at once may take, 0 to 1: above it frames
    /// are gathered.
    pub gather_above: f64,
    /// Share of a shard's time that sending may take while frames are gathered, 0 to 1.
    pub utilisation_target: f64,
    /// Frames are gathered at most this long.
    pub batch_max: Duration,
    /// Frames are gathered at least this long, even when there is room: 0 sends each at once.
    pub batch_min: Duration,
    /// A cursor further behind than this jumps to the newest join point.
    pub player_lag_max: MediaTime,
    /// Jumps within [`Self::jump_window`] before the player is closed.
    pub jumps_max: u8,
    /// The window of [`Self::jumps_max`].
    pub jump_window: Duration,
    /// A player that accepts no byte for this long is closed.
    pub stall: Duration,
    /// Kernel bytes not yet sent before a socket counts as full.
    pub notsent_lowat_bytes: u32,
    /// Cap of a player's kernel send buffer.
    pub send_buffer_bytes: u32,
    /// Unacknowledged data closes the connection after this long.
    pub user_timeout: Duration,
    /// Bytes of a join burst per shard and turn.
    pub join_bytes_per_turn: u32,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            admission: Admission::Measured,
            admission_target: 0.90,
            gather_above: 0.40,
            utilisation_target: 0.20,
            batch_max: Duration::from_millis(160),
            batch_min: Duration::ZERO,
            player_lag_max: MediaTime::from_millis(5_000),
            jumps_max: 5,
            jump_window: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            notsent_lowat_bytes: 128 << 10,
            send_buffer_bytes: 512 << 10,
            user_timeout: Duration::from_secs(30),
            join_bytes_per_turn: 4 << 20,
        }
    }
}

/// Where peers are asked to reconnect: an absolute URL, or a reference relative to theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectUrl(std::sync::Arc<str>);

impl ReconnectUrl {
    /// Bytes of one at most.
    pub const BYTES_MAX: usize = 1_024;

    /// Takes visible ASCII only; a scheme, if there is one, is `rtmp` or `rtmps`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let legal = !text.is_empty()
            && text.len() <= Self::BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let known = scheme.is_none_or(|scheme| matches!(scheme, "rtmp" | "rtmps"));
        (legal && known).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the address of an RTMP peer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlDialect {
    /// The stream's name; a key is a parameter of the query.
    #[default]
    Name,
    /// `rtmp://host/CHANNEL/KEY`: the application is the stream's name and what follows is the key,
    /// for who publishes and for who plays.
    ChannelKey,
}

/// How sessions are judged and paced.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionConfig {
    /// From accept to the publish or play command, the wait for the control plane not counted.
    pub connect_deadline: Duration,
    /// No verdict of the control plane within this is a refusal.
    pub authorize_deadline: Duration,
    /// A publisher that sends no media for this long is closed.
    pub publish_idle: Duration,
    /// A publisher slower than this over [`Self::publish_idle`] is closed, bits per second.
    pub publish_bps_min: u64,
    /// RTMP peers and WebSocket players are pinged this often.
    pub ping_interval: Duration,
    /// An idle HTTP connection is closed after this long.
    pub keep_alive: Duration,
    /// A player of an unknown stream waits this long for its publisher, a viewer of HLS too.
    pub play_wait: Duration,
    /// A player that was told to wait for its stream
    /// ([`Grant::waits`](crate::control::Grant::waits)) does so this long.
    pub idle_play: Duration,
    /// What the addresses of RTMP peers say.
    pub url: UrlDialect,
    /// Bytes of a channel, and of a key, in [`UrlDialect::ChannelKey`].
    pub id_bytes_max: u32,
    /// Bytes of a chunk that we send, the same for everybody so that chunks can be shared.
    pub rtmp_chunk_bytes: u32,
    /// Receive buffer of the socket of a peer that does not publish.
    pub receive_buffer_bytes: u32,
    /// Receive buffer of a publisher's socket; the kernel's own choice where it has no room for it.
    pub publish_receive_bytes: u32,
    /// When the node goes down, new publishers and players are refused for this long before those
    /// who are there are sent away.
    pub refuse: Duration,
    /// Sessions get this long to end, and their last part to take their protocol's farewell.
    pub drain: Duration,
    /// Everybody is served while the node drains, not only who was asked to reconnect.
    pub drain_serve: bool,
    /// Where peers that can reconnect are sent when the node goes down; the same address if `None`.
    pub reconnect_url: Option<ReconnectUrl>,
    /// Balancers and proxies whose word about their clients' addresses is believed; the caps per
    /// address do not count them.
    pub proxies: Vec<AddrRange>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(10),
            authorize_deadline: Duration::from_secs(10),
            publish_idle: Duration::from_secs(15),
            publish_bps_min: 1_000,
            ping_interval: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            play_wait: Duration::ZERO,
            idle_play: Duration::from_secs(3_600),
            url: UrlDialect::Name,
            id_bytes_max: 128,
            rtmp_chunk_bytes: 60_000,
            receive_buffer_bytes: 64 << 10,
            publish_receive_bytes: 1 << 20,
            refuse: Duration::ZERO,
            drain: Duration::from_secs(3),
            drain_serve: false,
            reconnect_url: None,
            proxies: Vec::new(),
        }
    }
}

/// What the control plane is asked, beside every publish and every play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// Whether a peer may come in, at RTMP's `connect`, if the application that it names is a
    /// legal name of a stream.
    pub connect: bool,
    /// Whether viewers show who they are by user and password of HTTP (`Authorization: Basic`). If
    /// not, those are for somebody in front of us, and nobody here is told of them.
    pub logins: bool,
}

/// What sessions are judged by: one value per shard, shared by all its sessions.
///
/// Lives on: each shard. Crosses by: cloning a reference, with a publisher that moves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Bounds of peers and messages.
    pub limits: Limits,
    /// Deadlines and pace.
    pub session: SessionConfig,
    /// What the control plane is asked.
    pub auth: AuthConfig,
    /// How viewers of HLS are told apart.
    pub hls_session: HlsSession,
}

/// An address range: the first `bits` bits of `addr` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddrRange {
    /// Any address of the range; IPv4 is kept as IPv4.
    pub addr: std::net::IpAddr,
    /// Leading bits that must match.
    pub bits: u8,
}

impl LimitId {
    /// True if tables are made for its value when a node starts, so that only a restart changes it.
    #[must_use]
    pub const fn sizes_tables(self) -> bool {
        matches!(self, Self::ConnectionsMax | Self::HlsViewersMax)
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $variant:ident, $field:ident = $default:expr;)*) => {
        /// Bounds of peers and messages. A peer that reaches one is closed with its name as reason.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: u64,)*
            /// Ranges that caps, rates and penalties of addresses do not bind.
            pub exempt: Vec<AddrRange>,
            /// Ranges that may play live formats; everybody may if there are none.
            pub play_from: Vec<AddrRange>,
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* exempt: AddrRange::loopback(), play_from: Vec::new() }
            }
        }

        /// One of the [`Limits`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LimitId { $($(#[doc = $doc])+ $variant,)* }

        impl LimitId {
            /// Every limit, in the order of the configuration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The key in the configuration file and the label in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }

            /// What it bounds, for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)* }
            }
        }

        impl Limits {
            /// The value in force of `id`.
            #[must_use]
            pub const fn get(&self, id: LimitId) -> u64 {
                match id { $(LimitId::$variant => self.$field,)* }
            }

            /// Replaces the value of `id`.
            pub const fn set(&mut self, id: LimitId, value: u64) {
                match id { $(LimitId::$variant => self.$field = value,)* }
            }
        }
    };
}

limits! {
    /// Connections of the process.
    ConnectionsMax, connections_max = 16_000;
    /// Connections of one address (IPv6: one /64).
    ConnectionsPerIpMax, connections_per_ip_max = 256;
    /// Connections of one IPv4 /24 or IPv6 /56.
    ConnectionsPerPrefixMax, connections_per_prefix_max = 2_048;
    /// Connections of one address that neither publish nor play yet.
    HalfOpenPerIpMax, half_open_per_ip_max = 32;
    /// Connections that one address (IPv6: one /64) opens in a second, for as long as it goes on;
    /// four times as many at one time.
    ConnectsPerIpMax, connects_per_ip_per_second_max = 256;
    /// Connections that one IPv4 /24 or IPv6 /56 opens in a second, for as long as it goes on; four
    /// times as many at one time.
    ConnectsPerPrefixMax, connects_per_prefix_per_second_max = 1_024;
    /// Streams of the process.
    StreamsMax, streams_max = 2_000;
    /// Players of the process.
    PlayersMax, players_max = 15_000;
    /// Players of the process that wait for their stream.
    IdlePlayersMax, idle_players_max = 4_000;
    /// Players of one address (IPv6: one /64) that wait for their stream.
    IdlePlayersPerIpMax, idle_players_per_ip_max = 128;
    /// Bits a second of all that players of the process play: the bit rates of their streams,
    /// however much of that is sent.
    EgressBpsMax, egress_bps_max = 1_000_000_000_000;
    /// Tracks of one stream.
    TracksMax, tracks_max = 8;
    /// Chunk streams of one RTMP connection.
    RtmpChunkStreamsMax, rtmp_chunk_streams_max = 64;
    /// Bytes of one RTMP media message.
    RtmpMessageBytesMax, rtmp_message_bytes_max = 8 << 20;
    /// Bytes of one RTMP command, data or control message.
    RtmpCommandBytesMax, rtmp_command_bytes_max = 64 << 10;
    /// Bytes of all unfinished messages of one RTMP connection.
    RtmpPartialBytesMax, rtmp_partial_bytes_max = 16 << 20;
    /// Bytes of all unfinished messages of one RTMP connection before it may publish or play.
    RtmpPartialBytesPreauthMax, rtmp_partial_bytes_preauth_max = 64 << 10;
    /// Messages in one second of one RTMP connection.
    RtmpMessagesPerSecondMax, rtmp_messages_per_second_max = 5_000;
    /// Chunks in one second of one RTMP connection.
    RtmpChunksPerSecondMax, rtmp_chunks_per_second_max = 200_000;
    /// Control and command messages in one second of one RTMP connection.
    RtmpControlPerSecondMax, rtmp_control_per_second_max = 200;
    /// Message streams that one RTMP connection creates.
    RtmpStreamsMax, rtmp_streams_max = 16;
    /// Nesting of AMF values.
    AmfDepthMax, amf_depth_max = 16;
    /// Elements of all AMF values of one message.
    AmfElementsMax, amf_elements_max = 1_024;
    /// Bytes of one request head.
    HttpHeadBytesMax, http_head_bytes_max = 8_192;
    /// Header fields of one request.
    HttpHeadersMax, http_headers_max = 64;
    /// Requests on one HTTP connection.
    HttpRequestsMax, http_requests_max = 10_000;
    /// Bytes of requests that wait while one is answered.
    HttpPipelineBytesMax, http_pipeline_bytes_max = 16 << 10;
    /// Bytes of one message of a WebSocket player.
    WebsocketMessageBytesMax, websocket_message_bytes_max = 16 << 10;
    /// Frames in one second of a WebSocket player.
    WebsocketFramesPerSecondMax, websocket_frames_per_second_max = 100;
    /// Viewers of one stream on one shard who wait for its first playlist.
    HlsWaitersMax, hls_waiters_max = 4_096;
    /// Viewers of HLS that have a session, if hls.session tells them apart.
    HlsViewersMax, hls_viewers_max = 15_000;
    /// Viewers of HLS of one address (IPv6: one /64) that have a session.
    HlsViewersPerIpMax, hls_viewers_per_ip_max = 256;
    /// Bytes of buffers of all connections together: messages in hand, bytes that wait for a
    /// verdict, replies and ciphertext that wait for the socket. Unless it is set, it is an eighth
    /// of memory_max at most, and more with TLS.
    BufferBytesMax, buffer_bytes_max = 64 << 20;
    /// Bytes of the receive buffers of all inputs that come in datagrams, which the kernel takes
    /// as far as datagrams wait.
    InputBufferBytesMax, input_buffer_bytes_max = 256 << 20;
    /// Bytes that wait for one connection outside the shared logs.
    ReplyBytesMax, reply_bytes_max = 256 << 10;
    /// Bytes received while a session waits for a verdict or for its home shard.
    ParkedBytesMax, parked_bytes_max = 256 << 10;
    /// TLS handshakes of one shard at one time.
    TlsHandshakesMax, tls_handshakes_max = 4_096;
    /// Bytes of one TLS connection that are no whole record or handshake message yet.
    TlsPendingBytesMax, tls_pending_bytes_max = 32 << 10;
}

impl Limits {
    /// True if a peer at `addr` may play live formats.
    #[must_use]
    pub fn may_play_from(&self, addr: std::net::IpAddr) -> bool {
        self.play_from.is_empty() || self.play_from.iter().any(|range| range.contains(addr))
    }

    /// True if a peer at `addr` is bound by no cap, rate and penalty of addresses.
    #[must_use]
    pub fn is_exempt(&self, addr: std::net::IpAddr) -> bool {
        self.exempt.iter().any(|range| range.contains(addr))
    }

    /// How often one address may connect.
    #[must_use]
    pub const fn connects_per_ip(&self) -> Rate {
        connects(self.connects_per_ip_per_second_max)
    }

    /// How often what is around an address may.
    #[must_use]
    pub const fn connects_per_prefix(&self) -> Rate {
        connects(self.connects_per_prefix_per_second_max)
    }
}

/// Who was quiet may open as many connections at one time as otherwise in so many seconds.
const CONNECTS_BURST_S: u64 = 4;

const fn connects(per_second: u64) -> Rate {
    Rate { per_second, burst: per_second.saturating_mul(CONNECTS_BURST_S) }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

impl AddrRange {
    /// Every address.
    pub const EVERYWHERE: [Self; 2] = {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        [
            Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 },
            Self { addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 0 },
        ]
    };

    /// 127.0.0.0/8 and ::1.
    #[must_use]
    pub fn loopback() -> Vec<Self> {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        vec![
            Self { addr: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
            Self { addr: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        ]
    }

    /// True if `addr` lies in the range; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, addr: std::net::IpAddr) -> bool {
        use std::net::IpAddr;
        match (self.addr, addr.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(addr)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                range.to_bits().checked_shr(shift) == addr.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(range), IpAddr::V6(addr)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                range.to_bits().checked_shr(shift) == addr.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// The values that a running node can take without a restart.
#[derive(Clone, Debug)]
pub struct Reload {
    /// New limits.
    pub limits: Limits,
    /// New egress settings.
    pub egress: EgressConfig,
    /// New session settings; `rtmp_chunk_bytes` stays as it was.
    pub session: SessionConfig,
    /// What the control plane is asked from now on.
    pub auth: AuthConfig,
    /// New stream settings; windows apply to streams that start afterwards.
    pub stream: StreamConfig,
    /// Listeners to have: new ones are opened, missing ones closed, players stay as they were.
    pub listeners: Vec<ListenerConfig>,
    /// How SRT peers are served who come from now on; the secret stays as it was.
    pub srt: SrtConfig,
    /// The certificate of handshakes that begin from now on.
    pub tls: Option<Identity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_one_name_and_a_value() {
        let mut limits = Limits::default();
        for (i, &id) in LimitId::ALL.iter().enumerate() {
            assert!(limits.get(id) > 0, "{}", id.name());
            limits.set(id, i as u64 + 7);
        }
        for (i, &id) in LimitId::ALL.iter().enumerate() {
            assert_eq!(limits.get(id), i as u64 + 7, "{}", id.name());
        }
    }

    #[test]
    fn ranges_match_by_prefix_and_through_mapped_addresses() {
        let range = AddrRange { addr: "10.1.0.0".parse().unwrap(), bits: 16 };
        assert!(range.contains("10.1.255.1".parse().unwrap()));
        assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!range.contains("10.2.0.1".parse().unwrap()));
        let all = AddrRange { addr: "0.0.0.0".parse().unwrap(), bits: 0 };
        assert!(all.contains("8.8.8.8".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
    }
}
