//! A connection that stands, either side of it.
//!
//! Spec: draft-sharabayko-srt 4.5 to 4.8 and 5.
//!
//! Limits: a peer that says nothing for [`SILENCE_US_MAX`] is gone.

use std::error::Error;
use std::fmt;

use anyhow::{Result, bail};
use codecs::srt::{
    Ack, AckReport, Control, ControlType, HEADER_BYTES, Header, LossRange, SeqNumber, SocketId,
};

use super::inbound::{Arrivals, Inbound, InboundSettings};
use super::keys::Keys;
use super::outbound::{Departures, Outbound};
use super::outbox::{ControlHead, Outbox};
use super::round_trip::RoundTrip;

/// How long a peer may say nothing.
pub const SILENCE_US_MAX: u64 = 5_000_000;

/// How often what arrived is acknowledged.
const ACK_US: u64 = 10_000;

/// After so long without a packet of ours, one says that we live.
const KEEP_ALIVE_US: u64 = 1_000_000;

/// The peer ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closed the connection")
    }
}

impl Error for Closed {}

/// What the handshake has agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) peer: SocketId,
    /// The number of the first packet, the same in both directions.
    pub(super) first: SeqNumber,
    pub(super) receive_latency_us: u64,
    pub(super) send_latency_us: u64,
    /// When the peer's clock was 0, on ours.
    pub(super) peer_zero_us: i64,
    pub(super) keys: Option<Keys>,
}

/// A connection that stands.
#[derive(Debug)]
pub struct Link {
    peer: SocketId,
    keys: Option<Keys>,
    inbound: Inbound,
    outbound: Outbound,
    way: RoundTrip,
    acks: u32,
    acked: SeqNumber,
    acked_us: u64,
    heard_us: u64,
    said_us: u64,
}

impl Link {
    pub(super) fn new(agreed: Agreed, now_us: u64) -> Self {
        let Agreed { peer, first, receive_latency_us, send_latency_us, peer_zero_us, keys } =
            agreed;
        let settings = InboundSettings { first, latency_us: receive_latency_us, peer_zero_us };
        Self {
            peer,
            keys,
            inbound: Inbound::new(settings),
            outbound: Outbound::new(peer, first, send_latency_us),
            way: RoundTrip::default(),
            acks: 0,
            acked: first,
            acked_us: now_us,
            heard_us: now_us,
            said_us: now_us,
        }
    }

    /// Packets are only counted from now on.
    pub fn only_count(&mut self) {
        self.inbound.only_count();
    }

    /// What came since this was last asked.
    pub fn take_arrivals(&mut self) -> Arrivals {
        self.inbound.take_arrivals()
    }

    /// What went since this was last asked.
    pub fn take_departures(&mut self) -> Departures {
        self.outbound.take_departures()
    }

    /// Packets that may be sent.
    #[must_use]
    pub fn room(&self) -> usize {
        self.outbound.room()
    }

    /// Sends a payload of [`PAYLOAD_BYTES`](super::PAYLOAD_BYTES) at most.
    pub fn send(&mut self, payload: &[u8], now_us: u64, out: &mut Outbox) {
        self.outbound.put(payload, self.keys.as_ref(), now_us, out);
        self.said_us = now_us;
    }

    /// Takes a datagram; what it releases is appended to `released`.
    ///
    /// # Errors
    /// [`Closed`] if the peer ends the connection; if it breaks the protocol.
    pub fn take(
        &mut self,
        datagram: &[u8],
        now_us: u64,
        out: &mut Outbox,
        released: &mut Vec<u8>,
    ) -> Result<()> {
        let header = Header::parse(datagram)?;
        let body = &datagram[HEADER_BYTES..];
        self.heard_us = now_us;
        match header {
            Header::Data(header) => {
                let keys = self.keys.as_ref();
                let gap = self.inbound.take(&header, body, keys, now_us, released);
                if self.inbound.locked() > 0 && header.key.is_some() && self.keys.is_none() {
                    bail!("the server encrypts, and there is no passphrase");
                }
                if let Some(gap) = gap {
                    self.put_nak(&[gap], now_us, out);
                }
            }
            Header::Control(header) => {
                let control = Control::parse(&header, body)?;
                self.obey(&control, now_us, out, released)?;
            }
        }
        Ok(())
    }

    fn obey(
        &mut self,
        control: &Control<'_>,
        now_us: u64,
        out: &mut Outbox,
        released: &mut Vec<u8>,
    ) -> Result<()> {
        match control {
            Control::Ack(ack) => {
                self.outbound.acknowledged(ack);
                if let Some(report) = ack.report {
                    self.way.told(report.rtt_us, report.rtt_variance_us);
                }
                // An acknowledgement without a number wants no answer.
                if ack.number != 0 {
                    self.put(ControlType::AckAck, ack.number, &[0; 4], now_us, out);
                }
            }
            Control::Nak(ranges) => {
                for range in ranges.clone() {
                    self.outbound.asked(range?, &self.way, now_us, out);
                }
                self.said_us = now_us;
            }
            Control::AckAck(number) => self.way.answered(*number, now_us),
            Control::DropRequest(request) => self.inbound.give_up(request, released),
            Control::Shutdown => bail!(Closed),
            Control::PeerError(code) => bail!("the server failed with code {code}"),
            Control::KeyRequest(message) => {
                let Some(keys) = &mut self.keys else {
                    bail!("the server encrypts, and there is no passphrase");
                };
                keys.take(message)?;
                self.put(ControlType::KeyResponse, 0, message, now_us, out);
            }
            // Whoever asks again for a connection that stands has missed an answer that is not
            // ours: the caller does not answer.
            Control::Handshake(_)
            | Control::KeepAlive
            | Control::Congestion
            | Control::KeyResponse(_)
            | Control::Unknown(_) => {}
        }
        Ok(())
    }

    /// Time has passed: acknowledges, asks again, gives up, and shows that we live.
    ///
    /// # Errors
    /// If the peer has been silent for too long.
    pub fn tick(&mut self, now_us: u64, out: &mut Outbox, released: &mut Vec<u8>) -> Result<()> {
        if now_us.saturating_sub(self.heard_us) > SILENCE_US_MAX {
            bail!("the server has said nothing for {} s", SILENCE_US_MAX / 1_000_000);
        }
        self.inbound.expire(now_us, released);
        self.outbound.expire(now_us);
        let overdue = self.inbound.overdue(&self.way, now_us);
        if !overdue.is_empty() {
            self.put_nak(&overdue, now_us, out);
        }
        let next = self.inbound.next();
        if next != self.acked && now_us.saturating_sub(self.acked_us) >= ACK_US {
            self.put_ack(next, now_us, out);
        }
        if now_us.saturating_sub(self.said_us) >= KEEP_ALIVE_US {
            self.put(ControlType::KeepAlive, 0, &[0; 4], now_us, out);
        }
        Ok(())
    }

    /// Ends the connection.
    pub fn close(&mut self, now_us: u64, out: &mut Outbox) {
        self.put(ControlType::Shutdown, 0, &[0; 4], now_us, out);
    }

    fn put_ack(&mut self, next: SeqNumber, now_us: u64, out: &mut Outbox) {
        self.acks += 1;
        (self.acked, self.acked_us) = (next, now_us);
        self.way.sent(self.acks, now_us);
        let report = AckReport {
            rtt_us: self.way.rtt_us(),
            rtt_variance_us: self.way.variance_us(),
            buffer_free: self.inbound.room() as u32,
            rates: None,
        };
        let ack = Ack { number: self.acks, next, report: Some(report) };
        let head = self.head(ControlType::Ack, ack.number, now_us);
        out.put_control(head, ack.encoded_len(), |writer| ack.encode(writer));
    }

    fn put_nak(&mut self, ranges: &[LossRange], now_us: u64, out: &mut Outbox) {
        let len = ranges.iter().map(LossRange::encoded_len).sum();
        let head = self.head(ControlType::Nak, 0, now_us);
        out.put_control(head, len, |writer| ranges.iter().for_each(|range| range.encode(writer)));
    }

    fn put(&mut self, kind: ControlType, info: u32, body: &[u8], now_us: u64, out: &mut Outbox) {
        let head = self.head(kind, info, now_us);
        out.put_control(head, body.len(), |writer| writer.put(body));
    }

    const fn head(&mut self, kind: ControlType, info: u32, now_us: u64) -> ControlHead {
        self.said_us = now_us;
        ControlHead { kind, info, now_us, destination: self.peer }
    }
}
