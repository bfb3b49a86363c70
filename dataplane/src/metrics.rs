//! Counters of one shard: plain integers that one thread counts and copies out as a snapshot.

use crate::config::LimitId;
use crate::control::Protocol;
pub use crate::histogram::{BUCKETS, BYTES, Histogram, MICROSECONDS, Scale};
use crate::session::srt::Totals;
use crate::session::tls::TlsFailure;

/// Why a new player found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoRoom {
    /// The core of the shard.
    Cpu,
    /// The core of the shard, which would send a burst so long that its frames came late.
    Latency,
    /// `limits.egress_bps_max`.
    EgressBps,
    /// `limits.players_max`.
    Players,
    /// A quota of its stream.
    Quota,
}

impl NoRoom {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Cpu, Self::Latency, Self::EgressBps, Self::Players, Self::Quota];

    /// The label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Latency => "latency",
            Self::EgressBps => LimitId::EgressBpsMax.name(),
            Self::Players => LimitId::PlayersMax.name(),
            Self::Quota => "quota",
        }
    }
}

macro_rules! counters {
    (
        counters { $($(#[doc = $doc:literal])+ $name:ident,)* }
        times { $($(#[doc = $tdoc:literal])+ $tname:ident,)* }
        gauges { $($(#[doc = $gdoc:literal])+ $gname:ident,)* }
        histograms { $($(#[doc = $hdoc:literal])+ $hname:ident: $scale:ident,)* }
    ) => {
        /// Everything that one shard counts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct ShardCounters {
            $($(#[doc = $doc])+ pub $name: u64,)*
            $($(#[doc = $tdoc])+ pub $tname: u64,)*
            $($(#[doc = $gdoc])+ pub $gname: u64,)*
            $($(#[doc = $hdoc])+ pub $hname: Histogram,)*
            /// Playing sessions per protocol, in the order of [`Protocol::ALL`].
            pub players_of: [u64; Protocol::ALL.len()],
            /// Sessions closed per limit, in the order of [`LimitId::ALL`].
            pub limits: [u64; LimitId::ALL.len()],
            /// TLS connections that failed, in the order of [`TlsFailure::ALL`].
            pub tls_failures: [u64; TlsFailure::ALL.len()],
            /// New players that found no room, in the order of [`NoRoom::ALL`].
            pub no_room: [u64; NoRoom::ALL.len()],
        }

        impl Default for ShardCounters {
            fn default() -> Self {
                Self {
                    $($name: 0,)*
                    $($tname: 0,)*
                    $($gname: 0,)*
                    $($hname: Histogram::new(&$scale),)*
                    players_of: [0; Protocol::ALL.len()],
                    limits: [0; LimitId::ALL.len()],
                    tls_failures: [0; TlsFailure::ALL.len()],
                    no_room: [0; NoRoom::ALL.len()],
                }
            }
        }

        impl ShardCounters {
            /// (name, help, value) of every counter.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)*].into_iter()
            }

            /// (name, help, value) of every sum of time; a name ends in `_ns`, its unit.
            pub fn times(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($tname), concat!($($tdoc),+), self.$tname),)*].into_iter()
            }

            /// (name, help, value) of every gauge.
            pub fn gauges(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($gname), concat!($($gdoc),+), self.$gname),)*].into_iter()
            }

            /// (name, help, value) of every histogram; a name ends in `_us` or `_bytes`, its
            /// unit.
            pub fn histograms(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
                [$((stringify!($hname), concat!($($hdoc),+), &self.$hname),)*].into_iter()
            }
        }
    };
}

counters! {
    counters {
        /// Turns of the loop.
        turns,
        /// Connections accepted.
        connections_accepted,
        /// Connections closed.
        connections_closed,
        /// Connections refused before their first byte was read.
        connections_shed,
        /// Connections and questions refused because of a penalty.
        penalties_enforced,
        /// Connections given to a less used shard at accept.
        connections_rebalanced,
        /// Publishers handed over to their home shard.
        publishers_handed_over,
        /// Streams moved to another shard.
        streams_moved,
        /// Peers that were refused at RTMP's `connect`.
        connects_refused,
        /// Publish requests accepted.
        publishes_started,
        /// Publish requests refused.
        publishes_refused,
        /// Publishers that took a stream over from a silent one.
        publishes_taken_over,
        /// Publishers that returned within the grace time.
        publishes_resumed,
        /// Peers that were asked to reconnect because the node goes down.
        reconnects_requested,
        /// Play requests accepted.
        plays_started,
        /// Play requests refused.
        plays_refused,
        /// Authorisation questions sent to the control plane.
        authorize_asked,
        /// Authorisation questions without an answer in time.
        authorize_timeouts,
        /// Bytes received from peers.
        bytes_received,
        /// Bytes sent to peers.
        bytes_sent,
        /// Sends handed to the kernel.
        sends,
        /// Sends that the kernel cut short or refused for lack of room.
        sends_blocked,
        /// Datagrams that the kernel could not send: their peers have no route, or it had no room
        /// for what is pushed in them.
        datagrams_unsent,
        /// Datagrams received for sockets that nobody has.
        datagrams_unknown,
        /// Datagrams received for a connection from another address than its peer's.
        datagrams_foreign,
        /// Datagrams received for connections of another shard, and handed to it.
        datagrams_handed_over,
        /// Receives of datagrams that failed and were started again after a pause.
        receives_failed,
        /// Datagrams taken of inputs.
        input_datagrams,
        /// Datagrams of inputs that came from another sender than the one that is heard, or are no
        /// transport stream.
        input_datagrams_foreign,
        /// Packets of RTP of inputs that came too late, or a second time.
        input_datagrams_late,
        /// Packets of RTP of inputs that were missing when a later one came.
        input_datagrams_missing,
        /// Datagrams of inputs that the kernel dropped because its buffer was full.
        input_datagrams_overflowed,
        /// Packets of transport streams of inputs.
        input_packets,
        /// Packets that are missing in transport streams of inputs.
        input_packets_lost,
        /// Access units received.
        units_received,
        /// Payload bytes of access units received.
        unit_bytes_received,
        /// Access units dropped because a page pool was empty.
        units_dropped_memory,
        /// Access units dropped because they were malformed or of an unknown track.
        units_dropped_malformed,
        /// Timestamps repaired.
        timestamps_repaired,
        /// Time bases re-anchored after a jump.
        timeline_jumps,
        /// RTMP log entries packaged.
        entries_packaged_rtmp,
        /// RTMP log bytes packaged.
        bytes_packaged_rtmp,
        /// FLV log entries packaged.
        entries_packaged_flv,
        /// FLV log bytes packaged.
        bytes_packaged_flv,
        /// MPEG-TS log entries packaged.
        entries_packaged_ts,
        /// MPEG-TS log bytes packaged.
        bytes_packaged_ts,
        /// Access units that MPEG-TS cannot carry.
        units_left_out_ts,
        /// Access units whose NAL unit lengths were widened to four bytes.
        units_converted,
        /// Players that jumped to the newest join point.
        player_jumps,
        /// Players closed because they could not keep up.
        players_too_slow,
        /// Playlists served.
        playlists_served,
        /// Whole segments served.
        segments_served,
        /// Ranges of segments served.
        segment_ranges_served,
        /// Bytes of segments that requests were answered with.
        segment_bytes_served,
        /// Requests for playlists and segments that the peer had already.
        hls_not_modified,
        /// Requests for HLS that waited for a first playlist.
        hls_waits,
        /// Viewers closed because their segment was lost before it was sent.
        viewers_too_slow,
        /// Sessions of HLS viewers that began.
        views_started,
        /// Sessions of HLS viewers that ended.
        views_ended,
        /// Joins that wait for the next keyframe.
        joins_waiting,
        /// Entries sent one by one to filtered players.
        entries_filtered,
        /// GOPs too large to be kept for joiners.
        gops_oversized,
        /// Segments that began, packaged or not.
        segments_begun,
        /// Segments that began without a keyframe, because a GOP was longer than the target
        /// duration.
        gops_cut,
        /// Windows of segments shown: playlists written.
        windows_shown,
        /// Requests answered with 404.
        http_not_found,
        /// HTTP requests answered.
        http_requests,
        /// Sessions closed for malformed bytes.
        sessions_malformed,
        /// Sessions closed for messages out of order.
        sessions_misbehaved,
        /// Sessions closed by a deadline.
        sessions_timed_out,
        /// Panics caught at the border of a session.
        panics,
        /// Messages that a full mailbox refused.
        mailbox_full,
        /// Wake-ups sent to other shards.
        wakes_sent,
        /// Wake-ups received.
        wakes_received,
        /// Dirty bits found set.
        dirty_logs,
        /// Pages freed after their epoch.
        pages_reclaimed,
        /// Bytes of pages that went back to the machine because nobody needed them.
        page_bytes_given_back,
        /// Slices of egress that ended at their budget.
        egress_slices_cut,
        /// Events that a full mailbox to the control plane lost.
        events_lost,
        /// Words of sessions and streams that found no room to wait in, and were told as lost.
        tombstones_lost,
        /// TLS handshakes completed.
        tls_handshakes,
        /// TLS handshakes that a ticket shortened.
        tls_handshakes_resumed,
        /// Turns that left TLS handshakes to the next one.
        tls_handshakes_put_off,
        /// Plain bytes encrypted.
        tls_bytes_encrypted,
        /// SRT data packets sent, those that were sent again too.
        srt_packets_sent,
        /// SRT data packets sent again.
        srt_packets_sent_again,
        /// SRT data packets that players said they miss.
        srt_packets_missed,
        /// SRT data packets that were too late to be sent, or no longer there.
        srt_packets_sent_too_late,
        /// SRT data packets received, those that came twice too.
        srt_packets_received,
        /// SRT data packets received that publishers sent again.
        srt_packets_received_again,
        /// SRT data packets found missing.
        srt_packets_lost,
        /// SRT data packets that were not waited for any longer.
        srt_packets_given_up,
        /// SRT data packets that came when nobody waited for them.
        srt_packets_belated,
        /// SRT data packets that could not be decrypted.
        srt_packets_undecrypted,
        /// SRT packets that break their format, or say what cannot be.
        srt_packets_invalid,
        /// Turns that left keys of SRT callers to the next one.
        srt_keys_put_off,
        /// Handshakes of SRT that were not heard: too many came in one turn, or from one address.
        srt_handshakes_dropped,
    }
    times {
        /// Time spent in turns, without their waits.
        busy_ns,
        /// Time spent in the egress part of turns.
        egress_ns,
    }
    gauges {
        /// Open connections.
        connections,
        /// Publishing sessions.
        publishers,
        /// Playing sessions.
        players,
        /// Players that wait for their stream.
        players_idle,
        /// Sessions of HLS viewers that go on, where `hls.session` tells them apart.
        viewers,
        /// Connections that are sent a segment.
        downloads,
        /// Streams whose home is here.
        streams,
        /// Packaged logs written here.
        logs,
        /// Packaged logs of streams that were moved away, which readers still drain.
        logs_sealed,
        /// Retired pages that wait for their epoch.
        pages_retired,
        /// Bytes of buffers of connections, of what `limits.buffer_bytes_max` allows.
        buffer_bytes,
        /// Most bytes of buffers of connections at one time.
        buffer_bytes_peak,
        /// Bytes of kernel memory that sockets of connections hold: the last round over all.
        socket_bytes,
        /// Most bytes of kernel memory that a round found.
        socket_bytes_peak,
        /// Open connections inside TLS.
        tls_connections,
        /// Bytes of buffers of TLS connections, and of the shard that encrypts for them.
        tls_buffer_bytes,
    }
    histograms {
        /// Time of a turn without its wait: what a peer that becomes ready meanwhile may wait.
        turn_us: MICROSECONDS,
        /// From when a timer, a flush or a probe of the loop was due to its run.
        loop_lag_us: MICROSECONDS,
        /// From a play request's acceptance to the first media byte given to the kernel.
        first_byte_us: MICROSECONDS,
        /// From a play request's acceptance to the last byte of the first keyframe given to the
        /// kernel.
        first_frame_us: MICROSECONDS,
        /// How long the first byte of a send to a live player had been there.
        send_lag_us: MICROSECONDS,
        /// Bytes that the kernel took of one send.
        send_bytes: BYTES,
    }
}

impl ShardCounters {
    /// Counts a session that reached `limit`.
    pub const fn limit(&mut self, limit: LimitId) {
        self.limits[limit as usize] += 1;
    }

    /// Counts a new player that found no room.
    pub const fn no_room(&mut self, reason: NoRoom) {
        self.no_room[reason as usize] += 1;
    }

    /// Counts what a connection of SRT counted.
    pub const fn srt(&mut self, news: &Totals) {
        self.srt_packets_sent += news.pkt_sent;
        self.srt_packets_sent_again += news.pkt_retrans;
        self.srt_packets_missed += news.pkt_snd_loss;
        self.srt_packets_sent_too_late += news.pkt_snd_drop;
        self.srt_packets_received += news.pkt_recv;
        self.srt_packets_received_again += news.pkt_rcv_retrans;
        self.srt_packets_lost += news.pkt_rcv_loss;
        self.srt_packets_given_up += news.pkt_rcv_drop;
        self.srt_packets_belated += news.pkt_rcv_belated;
        self.srt_packets_undecrypted += news.pkt_rcv_undecrypt;
        self.srt_packets_invalid += news.pkt_recv_invalid;
    }

    /// Counts a TLS connection that failed.
    pub const fn tls_failure(&mut self, failure: TlsFailure) {
        self.tls_failures[failure as usize] += 1;
    }
}

/// What a shard did lately: rates of its last whole second, and how its loop kept up over the last
/// five to ten.
#[derive(Clone, Debug, PartialEq)]
pub struct Recent {
    /// Share of the second spent in turns, 0 to 1.
    pub utilisation: f64,
    /// Share of the time in turns that egress took, 0 to 1.
    pub egress_turn_share: f64,
    /// Turns in the second.
    pub turns: u64,
    /// Sends in the second.
    pub sends: u64,
    /// Bytes sent in the second.
    pub bytes_sent: u64,
    /// Bytes received in the second.
    pub bytes_received: u64,
    /// Turns without their waits.
    pub turn_us: Histogram,
    /// How late the loop was for what was due.
    pub loop_lag_us: Histogram,
}

impl Default for Recent {
    fn default() -> Self {
        let histogram = Histogram::new(&MICROSECONDS);
        Self {
            utilisation: 0.0,
            egress_turn_share: 0.0,
            turns: 0,
            sends: 0,
            bytes_sent: 0,
            bytes_received: 0,
            turn_us: histogram.clone(),
            loop_lag_us: histogram,
        }
    }
}
