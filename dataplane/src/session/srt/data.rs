//! The data packets that a connection has to send: which, with which header, by which key.

use std::time::{Duration, Instant};

use codecs::srt::{DataHeader, HEADER_BYTES, KeySlot, MessageNumber, Position, SeqNumber};
use codecs::writer::Writer;

use super::close_reason::CloseReason;
use super::connection::Connection;
use super::negotiation::wire_time;
use super::sender::{PacketIndex, Returned};
use super::settings::Settings;

/// A data packet to send: the header, then the payload of that number from the caller's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataTransmit {
    /// Which packet of the index.
    pub number: u64,
    /// What goes before its payload.
    pub header: [u8; HEADER_BYTES],
    /// What [`Connection::encrypt`] hides it with.
    pub key: Option<KeySlot>,
    /// Its wire number.
    pub sequence: SeqNumber,
    /// It was sent before.
    pub retransmitted: bool,
}

impl Connection {
    /// Says that the packets of the index before `end` may be sent.
    pub fn offer(&mut self, end: u64) {
        self.sender.offer(end);
    }

    /// True if everything that was offered was acknowledged, or was too late.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.sender.is_done()
    }

    /// Packets that were offered and neither sent nor given up.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.sender.unsent()
    }

    /// Packets that were offered and neither acknowledged nor given up.
    #[must_use]
    pub const fn unacknowledged(&self) -> u64 {
        self.sender.waiting()
    }

    /// For how long a packet is sent: one that is older is given up.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.sender.too_late()
    }

    /// How long it takes until a packet that the peer misses is there after all.
    pub(super) fn again_takes(&self) -> Duration {
        self.trip.patience() + self.trip.mean()
    }

    /// The next data packet to send.
    pub fn poll_data(&mut self, now: Instant, index: &impl PacketIndex) -> Option<DataTransmit> {
        if self.closed.is_some() {
            return None;
        }
        if let Some(keys) = &mut self.keys
            && !self.sender.is_done()
        {
            let Settings { key_refresh_packets, key_announce_packets, .. } = self.settings;
            let (next, acked) = (self.sender.next(), self.sender.acked());
            if !keys.advance(now, next, acked, key_refresh_packets, key_announce_packets) {
                self.close(CloseReason::Keys);
                return None;
            }
            if !keys.may_send() {
                return None;
            }
        }
        let now_us = self.micros(now);
        let counts = &mut self.counts;
        let outgoing = self.sender.poll(now, now_us, index, &self.trip, counts)?;
        let number = outgoing.number;
        if outgoing.len > self.payload_max {
            self.close(CloseReason::Mtu);
            return None;
        }
        let key = match &self.keys {
            Some(keys) => Some(keys.slot(number)?),
            None => None,
        };
        let sequence = self.sender.sequence(number);
        let header = DataHeader {
            sequence,
            position: Position::Only,
            in_order: false,
            key,
            retransmitted: outgoing.retransmitted,
            message: MessageNumber::nth(number),
            timestamp: wire_time(outgoing.at_us),
            destination: self.peer_socket,
        };
        let mut bytes = [0; HEADER_BYTES];
        header.encode(&mut Writer::new(&mut bytes));
        self.counts.pkt_sent += 1;
        self.counts.byte_sent += outgoing.len as u64;
        self.last_said = now;
        let retransmitted = outgoing.retransmitted;
        Some(DataTransmit { number, header: bytes, key, sequence, retransmitted })
    }

    /// A packet that [`Self::poll_data`] gave did not leave: it is given again, as soon as there
    /// is room.
    pub fn take_back(&mut self, packet: &Returned) {
        self.counts.pkt_sent -= 1;
        self.counts.byte_sent -= packet.len as u64;
        self.sender.take_back(packet, &mut self.counts);
    }

    /// Says whether there is room to send anything: nothing is given, nor waits for a time, while
    /// there is none.
    pub const fn block(&mut self, is_blocked: bool) {
        self.sender.block(is_blocked);
    }

    /// Hides a payload in the caller's scratch, if this connection encrypts.
    pub fn encrypt(&self, transmit: &DataTransmit, payload: &mut [u8]) {
        if let (Some(keys), Some(slot)) = (&self.keys, transmit.key) {
            keys.encrypt(slot, transmit.sequence, payload);
        }
    }
}
