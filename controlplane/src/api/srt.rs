//! SRT: what the connection of one peer counted, under the names that libsrt has for it.

use dataplane::control::SrtStatus;
use serde::Serialize;
use utoipa::ToSchema;

/// The connection of an SRT peer: packets (`pkt`) and payload bytes (`byte`) since it began, and
/// what holds now, named as `srt_bstats` of libsrt names them.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SrtConnection {
    /// Payload is encrypted.
    encrypted: bool,
    /// Data packets sent, those that were sent again too.
    pkt_sent: u64,
    byte_sent: u64,
    /// Those that were sent for the first time.
    pkt_sent_unique: u64,
    /// Those that were sent again.
    pkt_retrans: u64,
    byte_retrans: u64,
    /// Those that the peer said it misses.
    pkt_snd_loss: u64,
    /// Those that were too late to be sent, or no longer there.
    pkt_snd_drop: u64,
    /// Data packets received, those that came twice too.
    pkt_recv: u64,
    byte_recv: u64,
    /// Those that came for the first time.
    pkt_recv_unique: u64,
    /// Those that the peer sent again.
    pkt_rcv_retrans: u64,
    /// Those that were found missing.
    pkt_rcv_loss: u64,
    /// Those that came after later ones without having been sent again.
    pkt_reordered: u64,
    /// How far behind its place one of them came at most.
    pkt_reorder_distance: u64,
    /// Those that were not waited for any longer.
    pkt_rcv_drop: u64,
    /// Those that came when nobody waited for them: a second time, or too late.
    pkt_rcv_belated: u64,
    /// Those that could not be decrypted.
    pkt_rcv_undecrypt: u64,
    byte_rcv_undecrypt: u64,
    /// Those that came from a player.
    pkt_rcv_unwanted: u64,
    /// Those for which there was no room.
    pkt_rcv_no_room: u64,
    /// Packets that break their format, or say what cannot be.
    pkt_recv_invalid: u64,
    #[serde(rename = "pktSentACK")]
    pkt_sent_ack: u64,
    #[serde(rename = "pktRecvACK")]
    pkt_recv_ack: u64,
    #[serde(rename = "pktSentNAK")]
    pkt_sent_nak: u64,
    #[serde(rename = "pktRecvNAK")]
    pkt_recv_nak: u64,
    /// The time of a way there and back, in milliseconds.
    #[serde(rename = "msRTT")]
    ms_rtt: f64,
    /// Packets sent and not acknowledged.
    pkt_flight_size: u64,
    /// Packets that may be sent without being acknowledged.
    pkt_flow_window: u64,
    /// Packets that wait to be sent or acknowledged.
    pkt_snd_buf: u64,
    /// Packets from the first that is missing to the last that came.
    pkt_rcv_buf: u64,
    /// Bytes that came out of order and are kept.
    byte_rcv_buf: u64,
    /// How long an overtaken packet is waited for before it is asked for, in microseconds.
    us_reorder_tolerance: u32,
    /// How long a missing packet is waited for, in milliseconds.
    ms_rcv_tsb_pd_delay: u32,
    /// How long the peer waits for one, in milliseconds.
    ms_snd_tsb_pd_delay: u32,
}

impl From<&SrtStatus> for SrtConnection {
    fn from(&SrtStatus { encrypted, statistics, gauges }: &SrtStatus) -> Self {
        Self {
            encrypted,
            pkt_sent: statistics.pkt_sent,
            byte_sent: statistics.byte_sent,
            pkt_sent_unique: statistics.pkt_sent_unique,
            pkt_retrans: statistics.pkt_retrans,
            byte_retrans: statistics.byte_retrans,
            pkt_snd_loss: statistics.pkt_snd_loss,
            pkt_snd_drop: statistics.pkt_snd_drop,
            pkt_recv: statistics.pkt_recv,
            byte_recv: statistics.byte_recv,
            pkt_recv_unique: statistics.pkt_recv_unique,
            pkt_rcv_retrans: statistics.pkt_rcv_retrans,
            pkt_rcv_loss: statistics.pkt_rcv_loss,
            pkt_reordered: statistics.pkt_reordered,
            pkt_reorder_distance: statistics.pkt_reorder_distance,
            pkt_rcv_drop: statistics.pkt_rcv_drop,
            pkt_rcv_belated: statistics.pkt_rcv_belated,
            pkt_rcv_undecrypt: statistics.pkt_rcv_undecrypt,
            byte_rcv_undecrypt: statistics.byte_rcv_undecrypt,
            pkt_rcv_unwanted: statistics.pkt_rcv_unwanted,
            pkt_rcv_no_room: statistics.pkt_rcv_no_room,
            pkt_recv_invalid: statistics.pkt_recv_invalid,
            pkt_sent_ack: statistics.pkt_sent_ack,
            pkt_recv_ack: statistics.pkt_recv_ack,
            pkt_sent_nak: statistics.pkt_sent_nak,
            pkt_recv_nak: statistics.pkt_recv_nak,
            ms_rtt: f64::from(gauges.rtt_us) / 1_000.0,
            pkt_flight_size: gauges.pkt_flight_size,
            pkt_flow_window: gauges.pkt_flow_window,
            pkt_snd_buf: gauges.pkt_snd_buf,
            pkt_rcv_buf: gauges.pkt_rcv_buf,
            byte_rcv_buf: gauges.byte_rcv_buf,
            us_reorder_tolerance: gauges.us_reorder_tolerance,
            ms_rcv_tsb_pd_delay: gauges.ms_rcv_tsb_pd_delay,
            ms_snd_tsb_pd_delay: gauges.ms_snd_tsb_pd_delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::session::srt::{Gauges, Statistics};

    #[test]
    fn what_is_counted_has_the_names_of_libsrt() {
        let statistics = Statistics { pkt_sent: 7, pkt_recv_nak: 3, ..Statistics::default() };
        let gauges = Gauges { rtt_us: 1_500, pkt_flow_window: 9, ..Gauges::default() };
        let status = SrtStatus { encrypted: true, statistics, gauges };
        let shown = serde_json::to_value(SrtConnection::from(&status)).unwrap();
        for (name, value) in [("pktSent", 7.0), ("pktRecvNAK", 3.0), ("msRTT", 1.5)] {
            assert_eq!(shown[name].as_f64(), Some(value), "{name}");
        }
        // The members of SRT_TRACEBSTATS that are told, letter by letter.
        for name in [
            "pktSent",
            "byteSent",
            "pktSentUnique",
            "pktRetrans",
            "byteRetrans",
            "pktSndLoss",
            "pktSndDrop",
            "pktRecv",
            "byteRecv",
            "pktRecvUnique",
            "pktRcvRetrans",
            "pktRcvLoss",
            "pktReorderDistance",
            "pktRcvDrop",
            "pktRcvBelated",
            "pktRcvUndecrypt",
            "byteRcvUndecrypt",
            "pktSentACK",
            "pktRecvACK",
            "pktSentNAK",
            "pktRecvNAK",
            "msRTT",
            "pktFlightSize",
            "pktFlowWindow",
            "pktSndBuf",
            "pktRcvBuf",
            "byteRcvBuf",
            "msRcvTsbPdDelay",
            "msSndTsbPdDelay",
        ] {
            assert!(shown[name].is_number(), "{name}");
        }
        assert_eq!(shown["encrypted"], true);
    }
}
