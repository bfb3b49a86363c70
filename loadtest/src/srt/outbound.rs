//! What we send: kept until it is acknowledged or too late, so that it can be sent again.
//!
//! Spec: draft-sharabayko-srt 4.6 and 4.8.
//!
//! Shape: packets leave when they are put, so the pace is that of the stream. What is asked for
//! again goes at once, unless it went again within a way there and back; what is no longer there is
//! answered as dropped.
//!
//! Limits: a packet is kept for the latency and [`LATE_US`]; [`WINDOW_PACKETS_MAX`] of them, or
//! what the receiver has room for.

use std::collections::VecDeque;

use codecs::srt::{
    Ack, ControlType, DataHeader, DropRequest, HEADER_BYTES, KeySlot, LossRange, MessageNumber,
    Position, SeqNumber, SocketId,
};

use super::inbound::WINDOW_PACKETS_MAX;
use super::keys::Keys;
use super::outbox::{ControlHead, Outbox};
use super::round_trip::RoundTrip;

/// Bytes of a payload: seven transport packets.
pub const PAYLOAD_BYTES: usize = 7 * 188;

/// How long beyond the latency a packet is kept.
const LATE_US: u64 = 20_000;

/// How long it takes at least until the same packet is sent again.
const AGAIN_US_MIN: u64 = 10_000;

#[derive(Debug)]
struct Sent {
    put_us: u64,
    /// When it went last.
    last_us: u64,
    header: DataHeader,
    /// As it travels.
    payload: Vec<u8>,
}

/// What went, by packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departures {
    /// Packets that were sent, each once.
    pub packets: u64,
    /// Packets that were sent again.
    pub again: u64,
    /// Packets that nobody had acknowledged when their time was over.
    pub late: u64,
}

#[derive(Debug)]
pub(super) struct Outbound {
    destination: SocketId,
    latency_us: u64,
    /// The packet after the last one.
    next: SeqNumber,
    messages: u64,
    /// All that are kept, the oldest first.
    sent: VecDeque<Sent>,
    /// Packets that may be kept: what the receiver has room for.
    window: usize,
    departures: Departures,
}

impl Outbound {
    pub(super) fn new(destination: SocketId, first: SeqNumber, latency_us: u64) -> Self {
        Self {
            destination,
            latency_us,
            next: first,
            messages: 0,
            sent: VecDeque::new(),
            window: WINDOW_PACKETS_MAX,
            departures: Departures::default(),
        }
    }

    /// Packets that may be put.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.sent.len())
    }

    pub(super) fn take_departures(&mut self) -> Departures {
        std::mem::take(&mut self.departures)
    }

    /// Sends a payload of [`PAYLOAD_BYTES`] at most.
    pub(super) fn put(
        &mut self,
        payload: &[u8],
        keys: Option<&Keys>,
        now_us: u64,
        out: &mut Outbox,
    ) {
        assert!(payload.len() <= PAYLOAD_BYTES, "what is put fits a packet");
        let header = DataHeader {
            sequence: self.next,
            position: Position::Only,
            in_order: false,
            key: keys.map(|_| KeySlot::Even),
            retransmitted: false,
            message: MessageNumber::nth(self.messages),
            timestamp: now_us as u32,
            destination: self.destination,
        };
        let mut payload = payload.to_vec();
        if let Some(keys) = keys {
            keys.hide(self.next, &mut payload);
        }
        put_data(&header, &payload, out);
        self.sent.push_back(Sent { put_us: now_us, last_us: now_us, header, payload });
        self.next = self.next.after(1);
        self.messages += 1;
        self.departures.packets += 1;
    }

    /// The receiver has all before a packet.
    pub(super) fn acknowledged(&mut self, ack: &Ack) {
        // Nothing is acknowledged that was never sent.
        if ack.next.since(self.next) > 0 {
            return;
        }
        let is_before = |sent: &mut Sent| ack.next.since(sent.header.sequence) > 0;
        while self.sent.pop_front_if(is_before).is_some() {}
        if let Some(report) = ack.report {
            self.window = WINDOW_PACKETS_MAX.min(report.buffer_free as usize);
        }
    }

    /// The receiver asks for packets again.
    pub(super) fn asked(
        &mut self,
        range: LossRange,
        way: &RoundTrip,
        now_us: u64,
        out: &mut Outbox,
    ) {
        let oldest = self.sent.front().map_or(self.next, |sent| sent.header.sequence);
        if range.last.since(self.next) >= 0 {
            // Nobody can have lost what was never sent.
            return;
        }
        if range.first.since(oldest) < 0 {
            let last = if range.last.since(oldest) < 0 {
                range.last
            } else {
                oldest.after(SeqNumber::MAX)
            };
            let dropped = DropRequest { message: 0, first: range.first, last };
            let head = ControlHead {
                kind: ControlType::DropRequest,
                info: 0,
                now_us,
                destination: self.destination,
            };
            out.put_control(head, DropRequest::BYTES, |writer| dropped.encode(writer));
        }
        let Ok(end) = usize::try_from(range.last.since(oldest) + 1) else { return };
        let start = usize::try_from(range.first.since(oldest)).unwrap_or(0);
        let again_us = u64::from(way.rtt_us()).max(AGAIN_US_MIN);
        for sent in self.sent.range_mut(start..end) {
            let is_first = !sent.header.retransmitted;
            if !is_first && now_us - sent.last_us < again_us {
                continue;
            }
            sent.header.retransmitted = true;
            sent.last_us = now_us;
            self.departures.again += 1;
            put_data(&sent.header, &sent.payload, out);
        }
    }

    /// Lets go of what nobody could show any more.
    pub(super) fn expire(&mut self, now_us: u64) {
        let kept_us = self.latency_us + LATE_US;
        let is_late = |sent: &mut Sent| now_us.saturating_sub(sent.put_us) > kept_us;
        while self.sent.pop_front_if(is_late).is_some() {
            self.departures.late += 1;
        }
    }
}

fn put_data(header: &DataHeader, payload: &[u8], out: &mut Outbox) {
    out.put(HEADER_BYTES + payload.len(), |writer| {
        header.encode(writer);
        writer.put(payload);
    });
}
