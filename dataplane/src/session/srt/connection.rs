//! A connection that stands, both directions of it.
//!
//! Spec: draft-sharabayko-srt 4.
//! Shape:
//!
//! ```text
//!   open --(SHUTDOWN, silence, broken keys)--> closed
//!     +------------(close)------------> closing --(SHUTDOWN sent)--> closed
//! ```
//!
//! In/Out: [`Connection::handle_datagram`] decrypts in place and gives payload in order as it lies
//! in the caller's buffer; then [`Connection::poll_payload`] until it has none. What is sent comes
//! from a [`super::PacketIndex`] of the caller's: [`Connection::poll_data`] says which packet, and
//! [`Connection::encrypt`] hides it in the caller's scratch.
//! Errors: a datagram that breaks its format is counted and ignored: it may be anybody's.
//! Not here: whose datagram it is. Who hands it in compares the peer's address first, or anybody
//! who sees or guesses a socket's id ends its connection.

use std::time::{Duration, Instant};

use codecs::srt::{
    Control, DataHeader, HEADER_BYTES, Handshake, HandshakeKind, Header, KeyState, SocketId,
};

use super::acknowledgements::Acknowledgements;
use super::close_reason::CloseReason;
use super::keyring::Keyring;
use super::negotiation::{Agreement, timestamp};
use super::play_clock::PlayClock;
use super::receiver::{Arrival, Fate, Payload, Receiver};
use super::round_trip::RoundTrip;
use super::sender::Sender;
use super::settings::{FLOW_WINDOW_MAX, LOWER_HEADERS_BYTES, Settings};
use super::statistics::{Gauges, Statistics, Totals};

/// Silence after which the peer is told that we live.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Key messages wait this long for an answer at least.
const KEY_RETRY_MIN: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) settings: Settings,
    pub(super) socket: SocketId,
    pub(super) peer_socket: SocketId,
    pub(super) began: Instant,
    pub(super) payload_max: usize,
    pub(super) clock: PlayClock,
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    pub(super) keys: Option<Box<Keyring>>,
    pub(super) trip: RoundTrip,
    pub(super) acks: Acknowledgements,
    pub(super) counts: Statistics,
    /// What its shard has added up of them.
    added: Totals,
    pub(super) send_latency: Duration,
    pub(super) last_heard: Instant,
    pub(super) last_said: Instant,
    pub(super) greeting: Option<Vec<u8>>,
    pub(super) says_greeting: bool,
    /// The answer to new keys of the peer.
    pub(super) key_answer: Option<Vec<u8>>,
    pub(super) closed: Option<CloseReason>,
    pub(super) says_shutdown: bool,
}

impl Connection {
    pub(super) fn new(settings: &Settings, agreement: Agreement, now: Instant) -> Self {
        let (heard, peer_time) = agreement.heard;
        let window = settings.receive_window.clamp(1, FLOW_WINDOW_MAX);
        let initial = agreement.initial;
        let headers = LOWER_HEADERS_BYTES + u32::try_from(HEADER_BYTES).expect("16");
        let payload_max = usize::try_from(agreement.mtu.saturating_sub(headers)).unwrap_or(0);
        let latency = agreement.receive_latency;
        Self {
            socket: agreement.socket,
            peer_socket: agreement.peer_socket,
            began: agreement.began,
            payload_max: payload_max.min(codecs::srt::PAYLOAD_BYTES_MAX),
            clock: PlayClock::new(heard, peer_time, latency),
            receiver: Receiver::new(initial, window, settings.held_bytes_max, latency),
            sender: Sender::new(&agreement, settings, now),
            keys: agreement.keys.map(Box::new),
            trip: RoundTrip::new(),
            acks: Acknowledgements::new(now),
            counts: Statistics::default(),
            added: Totals::default(),
            send_latency: agreement.send_latency,
            last_heard: now,
            last_said: now,
            says_greeting: agreement.greeting.is_some(),
            greeting: agreement.greeting,
            key_answer: None,
            closed: None,
            says_shutdown: false,
            settings: settings.clone(),
        }
    }

    /// Our socket: packets with this destination are for this connection.
    #[must_use]
    pub const fn socket(&self) -> SocketId {
        self.socket
    }

    /// Bytes of a payload at most, both ways.
    #[must_use]
    pub const fn payload_max(&self) -> usize {
        self.payload_max
    }

    /// True if payload is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// What was counted.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.counts
    }

    /// What was counted since the last call.
    pub fn take_totals(&mut self) -> Totals {
        self.added.advance(&self.counts.totals())
    }

    /// What holds now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let whole = |number: u128| u32::try_from(number).unwrap_or(u32::MAX);
        Gauges {
            rtt_us: whole(self.trip.mean().as_micros()),
            pkt_flight_size: self.sender.in_flight(),
            pkt_flow_window: self.sender.window(),
            pkt_snd_buf: self.sender.waiting(),
            pkt_rcv_buf: self.receiver.waiting(),
            byte_rcv_buf: self.receiver.held_bytes() as u64,
            us_reorder_tolerance: whole(self.receiver.reorder().as_micros()),
            ms_rcv_tsb_pd_delay: whole(self.clock.latency().as_millis()),
            ms_snd_tsb_pd_delay: whole(self.send_latency.as_millis()),
        }
    }

    /// Bytes of what it keeps beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.receiver.buffer_bytes() + self.sender.buffer_bytes()
    }

    /// Why it is over, if it is.
    #[must_use]
    pub const fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Microseconds since the connection began, the clock of [`PacketMeta::at_us`].
    ///
    /// [`PacketMeta::at_us`]: super::PacketMeta::at_us
    #[must_use]
    pub fn micros(&self, now: Instant) -> i64 {
        let micros = now.saturating_duration_since(self.began).as_micros();
        i64::try_from(micros).unwrap_or(i64::MAX)
    }

    /// Takes a datagram of the peer; gives its payload if it is the next one. Then
    /// [`Self::poll_payload`].
    pub fn handle_datagram<'d>(
        &mut self,
        now: Instant,
        datagram: &'d mut [u8],
    ) -> Option<Payload<'d>> {
        let Some((head, body)) = datagram.split_at_mut_checked(HEADER_BYTES) else {
            self.counts.pkt_recv_invalid += 1;
            return None;
        };
        if self.closed.is_some() {
            return None;
        }
        match Header::parse(head) {
            Ok(Header::Data(header)) => self.handle_data(now, &header, body),
            Ok(Header::Control(header)) => {
                match Control::parse(&header, body) {
                    Ok(control) => self.handle_control(now, header.timestamp, control),
                    Err(_) => self.counts.pkt_recv_invalid += 1,
                }
                None
            }
            Err(_) => {
                self.counts.pkt_recv_invalid += 1;
                None
            }
        }
    }

    /// The next payload that came before its turn, and whose turn it is now.
    pub fn poll_payload(&mut self) -> Option<Payload<'_>> {
        self.receiver.poll()
    }

    fn handle_data<'d>(
        &mut self,
        now: Instant,
        header: &DataHeader,
        payload: &'d mut [u8],
    ) -> Option<Payload<'d>> {
        self.counts.pkt_recv += 1;
        self.counts.byte_recv += payload.len() as u64;
        self.counts.pkt_rcv_retrans += u64::from(header.retransmitted);
        if payload.is_empty() || payload.len() > self.payload_max {
            self.counts.pkt_recv_invalid += 1;
            return None;
        }
        self.hear(now);
        if !self.settings.receives {
            self.counts.pkt_rcv_unwanted += 1;
            return None;
        }
        let Some(number) = self.receiver.number(header.sequence) else {
            self.counts.pkt_rcv_belated += 1;
            return None;
        };
        if !self.receiver.wants(number, payload.len(), &mut self.counts) {
            return None;
        }
        // Who has keys takes nothing in the clear, and who has none understands nothing else.
        let is_clear = match (header.key, &self.keys) {
            (None, None) => true,
            (Some(slot), Some(keys)) => keys.decrypt(slot, header.sequence, payload),
            _ => false,
        };
        if !is_clear {
            self.counts.pkt_rcv_undecrypt += 1;
            self.counts.byte_rcv_undecrypt += payload.len() as u64;
            return None;
        }
        if self.counts.pkt_recv_unique == 0 {
            self.clock.begin(header.timestamp, now);
        }
        let sent_us = self.clock.unroll(header.timestamp, now);
        let due = self.clock.due(sent_us, now);
        let arrival = Arrival { number, sent_us, due, retransmitted: header.retransmitted };
        let fate = self.receiver.take(now, arrival, payload, &mut self.counts);
        self.acks.count();
        (fate == Fate::Next).then_some(Payload { number, sent_us, bytes: payload })
    }

    fn handle_control(&mut self, now: Instant, sent: u32, control: Control<'_>) {
        // A handshake that comes again says that the peer heard nothing of us yet.
        if let Control::Handshake(body) = control {
            let kind = Handshake::parse(body).map(|(handshake, _)| handshake.kind);
            // That it agrees says that it heard us.
            match kind {
                Ok(HandshakeKind::Agreement) => self.hear(now),
                _ => self.answer_again(),
            }
            return;
        }
        self.hear(now);
        match control {
            Control::Ack(ack) => {
                self.counts.pkt_recv_ack += 1;
                if !self.sender.acknowledge(ack.next, ack.report.as_ref()) {
                    self.counts.pkt_recv_invalid += 1;
                    return;
                }
                if let Some(report) = ack.report {
                    self.trip.sample(Duration::from_micros(report.rtt_us.into()));
                }
                // Small ones have a number of libsrt's and none of the specification's.
                if ack.number != 0 {
                    self.acks.answer(ack.number);
                }
            }
            Control::Nak(ranges) => {
                self.counts.pkt_recv_nak += 1;
                for range in ranges {
                    let is_good =
                        range.is_ok_and(|range| self.sender.miss(range, &mut self.counts));
                    if !is_good {
                        self.counts.pkt_recv_invalid += 1;
                        return;
                    }
                }
            }
            Control::AckAck(number) => {
                let Some(rtt) = self.acks.confirm(number, now) else { return };
                let before = self.trip.mean();
                self.trip.sample(rtt);
                let more = i64::try_from(rtt.as_micros()).unwrap_or(0)
                    - i64::try_from(before.as_micros()).unwrap_or(0);
                self.clock.observe(sent, now, more / 2);
            }
            Control::DropRequest(request) if self.settings.receives => {
                let ends = [request.first, request.last].map(|end| self.receiver.number(end));
                if let [first, Some(last)] = ends {
                    self.receiver.give_up(first.unwrap_or(0), last, &mut self.counts);
                }
            }
            Control::Shutdown => {
                self.closed = Some(CloseReason::Shutdown);
                self.receiver.give_up_all(&mut self.counts);
            }
            Control::KeyRequest(body) => {
                self.key_answer = match &mut self.keys {
                    Some(keys) => keys.handle_request(now, body),
                    None => Some(KeyState::NoSecret.to_wire().into()),
                };
            }
            Control::KeyResponse(body) => {
                if let Some(keys) = &mut self.keys {
                    keys.handle_response(body);
                }
            }
            _ => {}
        }
    }

    /// The peer repeats its handshake, which came another way: it heard nothing of us yet.
    pub const fn answer_again(&mut self) {
        self.says_greeting = self.greeting.is_some();
    }

    fn hear(&mut self, now: Instant) {
        self.last_heard = now;
        // Only who has our answer sends anything but handshakes.
        self.greeting = None;
        self.says_greeting = false;
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        if now >= self.last_heard + self.settings.idle_timeout {
            self.close(CloseReason::Idle);
            return;
        }
        self.receiver.give_up_late(now, &mut self.counts);
    }

    /// Ends the connection: the peer is told once.
    pub fn close(&mut self, reason: CloseReason) {
        if self.closed.is_none() {
            self.closed = Some(reason);
            self.says_shutdown = true;
        }
    }

    /// When [`Self::handle_timeout`] is to be called, and everything polled.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        // Without a key to send with there is nothing to wake up for but its answer.
        let may_send = self.keys.as_ref().is_none_or(|keys| keys.may_send());
        [
            Some(self.last_heard + self.settings.idle_timeout),
            Some(self.last_said + KEEP_ALIVE),
            self.receiver.gap_end(),
            self.next_nak(),
            self.acks.next_timeout(self.receiver.first_missing(), &self.trip),
            self.sender.next_timeout(&self.trip).filter(|_| may_send),
            self.keys.as_ref().and_then(|keys| keys.next_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How long new keys may be unanswered.
    pub(super) fn key_pause(&self) -> Duration {
        self.trip.patience().max(KEY_RETRY_MIN)
    }

    pub(super) fn timestamp(&self, now: Instant) -> u32 {
        timestamp(now, self.began)
    }
}
