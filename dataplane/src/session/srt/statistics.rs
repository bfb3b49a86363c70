//! What a connection counts, named as libsrt names it.

/// Totals since the connection began.
///
/// Units: packets (`pkt_`), payload bytes (`byte_`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Data packets sent, those that were sent again too.
    pub pkt_sent: u64,
    /// Their bytes.
    pub byte_sent: u64,
    /// Packets sent for the first time.
    pub pkt_sent_unique: u64,
    /// Packets sent again.
    pub pkt_retrans: u64,
    /// Their bytes.
    pub byte_retrans: u64,
    /// Packets that the peer said it misses.
    pub pkt_snd_loss: u64,
    /// Packets that were too late to be sent, or no longer there.
    pub pkt_snd_drop: u64,
    /// Data packets received, those that came twice too.
    pub pkt_recv: u64,
    /// Their bytes.
    pub byte_recv: u64,
    /// Packets received for the first time.
    pub pkt_recv_unique: u64,
    /// Packets that the peer marked as sent again.
    pub pkt_rcv_retrans: u64,
    /// Packets found missing.
    pub pkt_rcv_loss: u64,
    /// Packets that came after later ones without having been sent again.
    pub pkt_reordered: u64,
    /// How many packets one of them came behind its place at most.
    pub pkt_reorder_distance: u64,
    /// Packets that were not waited for any longer.
    pub pkt_rcv_drop: u64,
    /// Packets that came when nobody waited for them: a second time, or too late.
    pub pkt_rcv_belated: u64,
    /// Packets that could not be decrypted.
    pub pkt_rcv_undecrypt: u64,
    /// Their bytes.
    pub byte_rcv_undecrypt: u64,
    /// Packets that came where nothing is received.
    pub pkt_rcv_unwanted: u64,
    /// Packets for which there was no room.
    pub pkt_rcv_no_room: u64,
    /// ACKs sent.
    pub pkt_sent_ack: u64,
    /// ACKs received.
    pub pkt_recv_ack: u64,
    /// NAKs sent.
    pub pkt_sent_nak: u64,
    /// NAKs received.
    pub pkt_recv_nak: u64,
    /// Packets that break their format, or say what cannot be.
    pub pkt_recv_invalid: u64,
}

/// The part that is added up of all connections of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// As [`Statistics::pkt_sent`].
    pub pkt_sent: u64,
    /// As [`Statistics::pkt_retrans`].
    pub pkt_retrans: u64,
    /// As [`Statistics::pkt_snd_loss`].
    pub pkt_snd_loss: u64,
    /// As [`Statistics::pkt_snd_drop`].
    pub pkt_snd_drop: u64,
    /// As [`Statistics::pkt_recv`].
    pub pkt_recv: u64,
    /// As [`Statistics::pkt_rcv_retrans`].
    pub pkt_rcv_retrans: u64,
    /// As [`Statistics::pkt_rcv_loss`].
    pub pkt_rcv_loss: u64,
    /// As [`Statistics::pkt_rcv_drop`].
    pub pkt_rcv_drop: u64,
    /// As [`Statistics::pkt_rcv_belated`].
    pub pkt_rcv_belated: u64,
    /// As [`Statistics::pkt_rcv_undecrypt`].
    pub pkt_rcv_undecrypt: u64,
    /// As [`Statistics::pkt_recv_invalid`].
    pub pkt_recv_invalid: u64,
}

impl Statistics {
    /// That part.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        Totals {
            pkt_sent: self.pkt_sent,
            pkt_retrans: self.pkt_retrans,
            pkt_snd_loss: self.pkt_snd_loss,
            pkt_snd_drop: self.pkt_snd_drop,
            pkt_recv: self.pkt_recv,
            pkt_rcv_retrans: self.pkt_rcv_retrans,
            pkt_rcv_loss: self.pkt_rcv_loss,
            pkt_rcv_drop: self.pkt_rcv_drop,
            pkt_rcv_belated: self.pkt_rcv_belated,
            pkt_rcv_undecrypt: self.pkt_rcv_undecrypt,
            pkt_recv_invalid: self.pkt_recv_invalid,
        }
    }
}

impl Totals {
    /// Takes over what `now` has more, and gives that. What was counted and did not leave after all
    /// is counted back there; it is not here, and what takes its place is no news.
    pub(super) fn advance(&mut self, now: &Self) -> Self {
        let news = |told: &mut u64, now: u64| {
            let news = now.saturating_sub(*told);
            *told += news;
            news
        };
        Self {
            pkt_sent: news(&mut self.pkt_sent, now.pkt_sent),
            pkt_retrans: news(&mut self.pkt_retrans, now.pkt_retrans),
            pkt_snd_loss: news(&mut self.pkt_snd_loss, now.pkt_snd_loss),
            pkt_snd_drop: news(&mut self.pkt_snd_drop, now.pkt_snd_drop),
            pkt_recv: news(&mut self.pkt_recv, now.pkt_recv),
            pkt_rcv_retrans: news(&mut self.pkt_rcv_retrans, now.pkt_rcv_retrans),
            pkt_rcv_loss: news(&mut self.pkt_rcv_loss, now.pkt_rcv_loss),
            pkt_rcv_drop: news(&mut self.pkt_rcv_drop, now.pkt_rcv_drop),
            pkt_rcv_belated: news(&mut self.pkt_rcv_belated, now.pkt_rcv_belated),
            pkt_rcv_undecrypt: news(&mut self.pkt_rcv_undecrypt, now.pkt_rcv_undecrypt),
            pkt_recv_invalid: news(&mut self.pkt_recv_invalid, now.pkt_recv_invalid),
        }
    }
}

/// What holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The time of a way there and back, in microseconds.
    pub rtt_us: u32,
    /// Packets sent and not acknowledged.
    pub pkt_flight_size: u64,
    /// Packets that may be sent without being acknowledged.
    pub pkt_flow_window: u64,
    /// Packets that wait to be sent or acknowledged.
    pub pkt_snd_buf: u64,
    /// Packets from the first that is missing to the last that came.
    pub pkt_rcv_buf: u64,
    /// Bytes that came out of order and are kept.
    pub byte_rcv_buf: u64,
    /// How long an overtaken packet is waited for before it is asked for, in microseconds.
    pub us_reorder_tolerance: u32,
    /// How long a missing packet is waited for, in milliseconds.
    pub ms_rcv_tsb_pd_delay: u32,
    /// How long the peer waits for one, in milliseconds.
    pub ms_snd_tsb_pd_delay: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_back_is_never_told_twice() {
        let mut told = Totals::default();
        let mut news = |pkt_sent, pkt_rcv_loss| {
            let now = Statistics { pkt_sent, pkt_rcv_loss, ..Statistics::default() }.totals();
            let Totals { pkt_sent, pkt_rcv_loss, .. } = told.advance(&now);
            (pkt_sent, pkt_rcv_loss)
        };
        assert_eq!(news(10, 1), (10, 1));
        assert_eq!(news(10, 1), (0, 0));
        // Three of them did not leave, and leave later.
        assert_eq!(news(7, 4), (0, 3));
        assert_eq!(news(9, 4), (0, 0));
        assert_eq!(news(12, 4), (2, 0));
    }
}
