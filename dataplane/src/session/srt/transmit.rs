//! The control packets that a connection has to send.

use std::time::{Duration, Instant};

use codecs::srt::{
    ACK_BYTES_MAX, Ack, AckReport, ControlHeader, ControlType, DropRequest, HEADER_BYTES,
    LossRange, PACKET_BYTES_MAX,
};
use codecs::writer::Writer;

use super::acknowledgements::Due;
use super::connection::{Connection, KEEP_ALIVE};
use super::negotiation::stamp;

/// A lost packet is asked for again after this long at the earliest.
const NAK_PAUSE_MIN: Duration = Duration::from_millis(20);
/// What an answer may be late at least.
const NAK_MARGIN_MIN: Duration = Duration::from_millis(10);
/// Bytes of a NAK at most: what fits the smallest MTU.
const NAK_BYTES_MAX: usize = 192;

/// A datagram that is written.
pub type Scratch = [u8; PACKET_BYTES_MAX];

impl Connection {
    /// Writes the next control packet into `out` and gives its length.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        let len = self.next_control(now, out)?;
        self.last_said = now;
        Some(len)
    }

    fn next_control(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        if self.closed.is_some() {
            return std::mem::take(&mut self.says_shutdown)
                .then(|| self.write(now, ControlType::Shutdown, 0, &[0; 4], out));
        }
        if std::mem::take(&mut self.says_greeting)
            && let Some(greeting) = &self.greeting
        {
            let len = greeting.len();
            // CONTROL: the answer to a handshake.
            out[..len].copy_from_slice(greeting);
            stamp(out, self.timestamp(now));
            return Some(len);
        }
        if let Some(answer) = self.key_answer.take() {
            return Some(self.write(now, ControlType::KeyResponse, 0, &answer, out));
        }
        if let Some(len) = self.write_key_message(now, out) {
            return Some(len);
        }
        if let Some(number) = self.acks.take_answer() {
            return Some(self.write(now, ControlType::AckAck, number, &[0; 4], out));
        }
        let missing = self.receiver.first_missing();
        if let Some(due) = self.acks.poll(now, missing, &self.trip) {
            return Some(self.write_ack(now, missing, due, out));
        }
        if let Some(len) = self.write_nak(now, out) {
            return Some(len);
        }
        if let Some(request) = self.sender.take_drop_request() {
            let mut body = [0; DropRequest::BYTES];
            request.encode(&mut Writer::new(&mut body));
            let kind = ControlType::DropRequest;
            return Some(self.write(now, kind, request.message, &body, out));
        }
        (now >= self.last_said + KEEP_ALIVE)
            .then(|| self.write(now, ControlType::KeepAlive, 0, &[0; 4], out))
    }

    fn write_key_message(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        let pause = self.key_pause();
        // CONTROL: key material.
        let message = self.keys.as_mut()?.poll_message(now, pause)?.to_vec();
        Some(self.write(now, ControlType::KeyRequest, 0, &message, out))
    }

    fn write_ack(&mut self, now: Instant, missing: u64, due: Due, out: &mut Scratch) -> usize {
        self.counts.pkt_sent_ack += 1;
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let (number, report) = match due {
            Due::Light => (0, None),
            Due::Full { number } => {
                let report = AckReport {
                    rtt_us: micros(self.trip.mean()),
                    rtt_variance_us: micros(self.trip.variance()),
                    // A window of less than two would stop libsrt for good.
                    buffer_free: u32::try_from(self.receiver.room()).unwrap_or(u32::MAX).max(2),
                    rates: None,
                };
                (number, Some(report))
            }
        };
        let ack = Ack { number, next: self.receiver.sequence(missing), report };
        let mut body = [0; ACK_BYTES_MAX];
        ack.encode(&mut Writer::new(&mut body));
        self.write(now, ControlType::Ack, number, &body[..ack.encoded_len()], out)
    }

    fn write_nak(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        let pause = self.nak_pause();
        let mut body = [0; NAK_BYTES_MAX];
        let mut writer = Writer::new(&mut body);
        while writer.written() + 8 <= NAK_BYTES_MAX {
            let Some(loss) = self.receiver.losses().take_due(now, pause) else { break };
            let first = self.receiver.sequence(loss.start);
            let last = self.receiver.sequence(loss.end - 1);
            LossRange { first, last }.encode(&mut writer);
        }
        let len = writer.written();
        if len == 0 {
            return None;
        }
        self.counts.pkt_sent_nak += 1;
        Some(self.write(now, ControlType::Nak, 0, &body[..len], out))
    }

    /// When something is asked for again: its answer is overdue then, and there is time for more
    /// than one try.
    fn nak_pause(&self) -> Duration {
        let margin = (self.trip.variance() * 4).max(NAK_MARGIN_MIN);
        let tries = (self.clock.latency() / 4).max(self.trip.mean() + NAK_MARGIN_MIN);
        (self.trip.mean() + margin).min(tries).max(NAK_PAUSE_MIN)
    }

    pub(super) fn next_nak(&self) -> Option<Instant> {
        self.receiver.next_nak()
    }

    fn write(
        &self,
        now: Instant,
        kind: ControlType,
        info: u32,
        body: &[u8],
        out: &mut Scratch,
    ) -> usize {
        let mut writer = Writer::new(out);
        let timestamp = self.timestamp(now);
        let destination = self.peer_socket;
        ControlHeader { kind, info, timestamp, destination }.encode(&mut writer);
        writer.put(body);
        debug_assert_eq!(writer.written(), HEADER_BYTES + body.len());
        writer.written()
    }
}
