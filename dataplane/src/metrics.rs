//! Counters of one shard: plain integers that one thread counts and copies out as a snapshot.

use crate::config::LimitId;
use crate::session::tls::TlsFailure;

/// Buckets of [`Histogram`]: upper bounds in microseconds, the last one open.
pub const BUCKETS_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000, u64::MAX];

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations per bucket, not cumulative.
    pub counts: [u64; BUCKETS_US.len()],
    /// Sum of all observations, microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&mut self, us: u64) {
        let at = BUCKETS_US.iter().position(|&bound| us <= bound).unwrap_or(BUCKETS_US.len() - 1);
        self.counts[at] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }
}

macro_rules! counters {
    (
        counters { $($(#[doc = $doc:literal])+ $name:ident,)* }
        gauges { $($(#[doc = $gdoc:literal])+ $gname:ident,)* }
        histograms { $($(#[doc = $hdoc:literal])+ $hname:ident,)* }
    ) => {
        /// Everything that one shard counts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct ShardCounters {
            $($(#[doc = $doc])+ pub $name: u64,)*
            $($(#[doc = $gdoc])+ pub $gname: u64,)*
            $($(#[doc = $hdoc])+ pub $hname: Histogram,)*
            /// Sessions closed per limit, in the order of [`LimitId::ALL`].
            pub limits: [u64; LimitId::ALL.len()],
            /// TLS connections that failed, in the order of [`TlsFailure::ALL`].
            pub tls_failures: [u64; TlsFailure::ALL.len()],
        }

        impl Default for ShardCounters {
            fn default() -> Self {
                Self {
                    $($name: 0,)*
                    $($gname: 0,)*
                    $($hname: Histogram::default(),)*
                    limits: [0; LimitId::ALL.len()],
                    tls_failures: [0; TlsFailure::ALL.len()],
                }
            }
        }

        impl ShardCounters {
            /// (name, help, value) of every counter.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+), self.$name),)*].into_iter()
            }

            /// (name, help, value) of every gauge.
            pub fn gauges(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($gname), concat!($($gdoc),+), self.$gname),)*].into_iter()
            }

            /// (name, help, value) of every histogram; a name ends in `_us`, its unit.
            pub fn histograms(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, Histogram)> {
                [$((stringify!($hname), concat!($($hdoc),+), self.$hname),)*].into_iter()
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
        /// Connections given to a less used shard at accept.
        connections_rebalanced,
        /// Publishers handed over to their home shard.
        publishers_handed_over,
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
        /// Requests for playlists and segments that the peer had already.
        hls_not_modified,
        /// Requests for HLS that waited for a first playlist.
        hls_waits,
        /// Viewers closed because their segment was lost before it was sent.
        viewers_too_slow,
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
        /// Slices of egress that ended at their budget.
        egress_slices_cut,
        /// Events that a full mailbox to the control plane lost.
        events_lost,
        /// TLS handshakes completed.
        tls_handshakes,
        /// TLS handshakes that a ticket shortened.
        tls_handshakes_resumed,
        /// Turns that left TLS handshakes to the next one.
        tls_handshakes_put_off,
        /// Plain bytes encrypted.
        tls_bytes_encrypted,
    }
    gauges {
        /// Open connections.
        connections,
        /// Publishing sessions.
        publishers,
        /// Playing sessions.
        players,
        /// Sessions that are sent a segment.
        viewers,
        /// Streams whose home is here.
        streams,
        /// Packaged logs written here.
        logs,
        /// Retired pages that wait for their epoch.
        pages_retired,
        /// Open connections inside TLS.
        tls_connections,
        /// Bytes of buffers of TLS connections, and of the shard that encrypts for them.
        tls_buffer_bytes,
    }
    histograms {
        /// Time of a turn without its wait.
        turn_us,
        /// From a timer's deadline to its run.
        timer_lag_us,
        /// From a play request's acceptance to the first media byte given to the kernel.
        first_byte_us,
    }
}

impl ShardCounters {
    /// Counts a session that reached `limit`.
    pub const fn limit(&mut self, limit: LimitId) {
        self.limits[limit as usize] += 1;
    }

    /// Counts a TLS connection that failed.
    pub const fn tls_failure(&mut self, failure: TlsFailure) {
        self.tls_failures[failure as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_observation_once() {
        let mut h = Histogram::default();
        for us in [0, 50, 51, 5_000_000] {
            h.observe(us);
        }
        assert_eq!(h.counts.iter().sum::<u64>(), 4);
        assert_eq!((h.counts[0], h.counts[1], h.counts[11]), (2, 1, 1));
        assert_eq!(h.sum_us, 5_000_101);
    }
}
