//! One push of a stream in datagrams, from its socket's opening to its end.
//!
//! Shape:
//!
//! ```text
//!   open --(PlayStarted)--> pushing --(StreamEnded, our end)--> over
//!     |                              +---(no way to there)----> over
//!     +-----(Refused, our end)--------------------------------> over
//! ```
//!
//! Nobody answers: what was sent is forgotten. What is due is said by its cursor (`package`), how
//! much of that leaves at once by its pacer.
//! Spec: RFC 2250 section 2 and RFC 3550 section 5.1 for headers of RTP, whose timestamp is when
//! the packet leaves. No RTCP is sent.
//! In/Out: commands alone; the shard sends what [`Pushing::poll`] gives.
//! Not here: the socket (`shard/pushes.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::rtp::{PAYLOAD_TYPE_MPEG_TS, RtpHeader};
use codecs::writer::Writer;

use super::pacer::Pacer;
use crate::Error;
use crate::config::Terms;
use crate::control::UdpPeer;
use crate::ids::StreamName;
use crate::log::Succession;
use crate::package::{DatagramCursor, Paced, Payload, PlayTerms};
use crate::session::{Command, Counts, Event};
use crate::slab::Pool;
use crate::words::Words;

/// Ticks of the clock of MPEG-TS in RTP in a millisecond (RFC 2250).
const TICKS_PER_MS: i64 = 90;

/// The sending side of one push.
///
/// Lives on: the home shard of its stream. Crosses by: never.
#[derive(Debug)]
pub struct Sender {
    state: State,
    stream: StreamName,
    agent: Arc<str>,
    push: Arc<UdpPeer>,
    /// Makes the numbers of RTP hard to guess.
    seed: u64,
    events: VecDeque<Event>,
    /// What the system said when it could not send.
    failed_with: Option<i32>,
}

#[derive(Debug)]
enum State {
    Open,
    Pushing(Box<Pushing>),
    Over,
}

/// A push of which media flows.
#[derive(Debug)]
pub struct Pushing {
    cursor: DatagramCursor,
    /// Nothing follows in its log.
    pub ends: bool,
    began: Instant,
    /// Numbers that were sent.
    sent: u64,
    rtp: Option<Rtp>,
    pacer: Pacer,
    /// When the next one is due, of those that are there.
    due: Option<Instant>,
}

/// What is counted in headers of RTP.
#[derive(Clone, Copy, Debug)]
struct Rtp {
    sequence: u16,
    timestamp: u32,
    source: u32,
}

/// What is to be done for a push.
#[derive(Clone, Copy, Debug)]
pub enum DuePush {
    /// This is to be sent: so many bytes of a header, then the payload.
    Datagram {
        /// The number of the datagram.
        number: u64,
        /// The header.
        header: [u8; RtpHeader::BYTES],
        /// Bytes of it: none without RTP.
        header_len: usize,
        /// The payload.
        payload: Payload,
    },
    /// It was too far behind and goes on at the newest join point.
    Jumped,
    /// Nothing until the log grows, or until [`Sender::poll_timeout`].
    Nothing,
    /// The stream ended, and everything was sent.
    Ended,
}

impl Pushing {
    fn new(now: Instant, is_rtp: bool, seed: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = seed.to_be_bytes();
        let rtp = Rtp {
            sequence: u16::from_be_bytes([a, b]),
            timestamp: u32::from_be_bytes([e, f, g, h]),
            source: u32::from_be_bytes([c, d, a, b]),
        };
        Self {
            cursor: DatagramCursor::new(),
            ends: false,
            began: now,
            sent: 0,
            rtp: is_rtp.then_some(rtp),
            pacer: Pacer::new(now),
            due: None,
        }
    }

    /// What is to be done now; again until it answers otherwise than with a datagram or a jump.
    pub fn poll(&mut self, logs: &Succession, terms: &PlayTerms, now: Instant) -> DuePush {
        let now_us = self.micros(now);
        self.due = None;
        loop {
            let Self { cursor, pacer, sent, .. } = self;
            match cursor.poll_paced(*sent, logs, terms, now_us) {
                Paced::Due => {}
                Paced::Later(at_us) => {
                    pacer.rest();
                    let after = Duration::from_micros(u64::try_from(at_us).unwrap_or(0));
                    self.due = self.began.checked_add(after);
                    return DuePush::Nothing;
                }
                Paced::Jumped => return DuePush::Jumped,
                Paced::Nothing => {
                    pacer.rest();
                    return DuePush::Nothing;
                }
                Paced::Ended => return DuePush::Ended,
            }
            if !pacer.is_open(now, || cursor.waiting_paced(*sent, logs, now_us)) {
                self.due = Some(pacer.opens());
                return DuePush::Nothing;
            }
            pacer.spend();
            let Some((number, payload)) = cursor.take_paced(sent, logs) else { continue };
            let mut header = [0; RtpHeader::BYTES];
            let header_len = self.write_header(now_us, &mut header);
            return DuePush::Datagram { number, header, header_len, payload };
        }
    }

    /// Copies the payload of a datagram to `out`, for one that does not lie in the log: how many
    /// bytes there are, or `None` if it is gone.
    #[must_use]
    pub fn read(&self, number: u64, logs: &Succession, out: &mut [u8]) -> Option<usize> {
        self.cursor.index(logs).read(number, out)
    }

    fn write_header(&mut self, now_us: i64, header: &mut [u8; RtpHeader::BYTES]) -> usize {
        let Some(rtp) = &mut self.rtp else { return 0 };
        let ticks = now_us.saturating_mul(TICKS_PER_MS).div_euclid(1_000);
        let written = RtpHeader {
            marker: false,
            payload_type: PAYLOAD_TYPE_MPEG_TS,
            sequence: rtp.sequence,
            // It wraps.
            timestamp: rtp.timestamp.wrapping_add(ticks as u32),
            source: rtp.source,
        };
        written.encode(&mut Writer::new(header));
        rtp.sequence = rtp.sequence.wrapping_add(1);
        RtpHeader::BYTES
    }

    /// The first offset of what is not sent yet; `None` while it waits for a join point.
    #[must_use]
    pub fn needed_from(&self, logs: &Succession) -> Option<u64> {
        self.cursor.needed_paced(self.sent, logs)
    }

    /// True if it had a join point to begin at.
    #[must_use]
    pub const fn has_joined(&self) -> bool {
        self.cursor.has_joined()
    }

    /// True if there may be something to send now, or nothing ever again.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.ends || self.due.is_some_and(|at| at <= now)
    }

    fn micros(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.began).as_micros();
        i64::try_from(since).unwrap_or(i64::MAX)
    }
}

impl Sender {
    /// Bytes of its record.
    pub const BYTES: usize = size_of::<Self>() + size_of::<Pushing>();

    /// A socket was opened for it; `seed` is different each time.
    #[must_use]
    pub fn new(stream: StreamName, push: Arc<UdpPeer>, seed: u64) -> Self {
        let agent = Arc::from(if push.is_rtp { "rtp" } else { "udp" });
        let (state, events, failed_with) = (State::Open, VecDeque::new(), None);
        Self { state, stream, agent, push, seed, events, failed_with }
    }

    /// The push of which media flows.
    #[must_use]
    pub fn pushing_mut(&mut self) -> Option<&mut Pushing> {
        match &mut self.state {
            State::Pushing(pushing) => Some(pushing),
            State::Open | State::Over => None,
        }
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.state, command) {
            (State::Open, Command::PlayStarted) => {
                let pushing = Box::new(Pushing::new(now, self.push.is_rtp, self.seed));
                self.transition(State::Pushing(pushing), "play_started");
            }
            (State::Open | State::Over, Command::Refused(refusal)) => self.end(refusal.name()),
            (State::Open | State::Over, Command::Elsewhere(_)) => self.end("elsewhere"),
            (State::Pushing(_), Command::StreamEnded) => self.end("stream_ended"),
            (_, Command::Shutdown { reason }) => self.end(reason),
            (_, command) => {
                return Err(Error::Misbehaved { state: self.state_name(), got: command.name() });
            }
        }
        Ok(())
    }

    /// The system cannot send to there, and said so with that number: it is over.
    pub fn fail(&mut self, errno: i32) {
        self.failed_with.get_or_insert(errno);
        self.end("unreachable");
    }

    /// What the system said when it could not send.
    #[must_use]
    pub const fn failed_with(&self) -> Option<i32> {
        self.failed_with
    }

    fn end(&mut self, reason: &'static str) {
        if !matches!(self.state, State::Over) {
            self.transition(State::Over, reason);
            self.events.push_back(Event::Close { reason });
        }
    }

    fn transition(&mut self, next: State, event: &'static str) {
        let prev = self.state_name();
        self.state = next;
        tracing::debug!(prev, next = self.state_name(), event, "transition");
    }

    /// Lets time pass: what is due is for the shard.
    ///
    /// # Errors
    /// None.
    pub const fn handle_timeout(&mut self, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was counted since the last call: nothing.
    #[must_use]
    pub fn take_counts(&mut self) -> Counts {
        Counts::default()
    }

    /// When there is more to send, of what is there.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Pushing(pushing) => pushing.due,
            State::Open | State::Over => None,
        }
    }

    /// The stream that is pushed.
    #[must_use]
    pub const fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The word for a peer that says nothing of itself.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        &self.agent
    }

    /// Bytes of buffers that it holds beside its record.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        0
    }

    /// The word for the state.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Open => "open",
            State::Pushing(_) => "pushing",
            State::Over => "over",
        }
    }

    pub(crate) fn share(&mut self, words: &mut Words) {
        self.stream.share(words);
        words.share(&mut self.agent);
    }

    /// Takes new limits: it has none.
    pub const fn reload(&mut self, _: &Arc<Terms>) {}

    /// Gives every page back: it has none.
    pub const fn close(&mut self, _: &Pool) {}
}

#[cfg(test)]
mod tests {
    use codecs::rtp::RtpPacket;

    use super::*;
    use crate::session::Refusal;

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn sender(is_rtp: bool) -> Sender {
        let push = UdpPeer { is_rtp, ttl: 1, interface: None, local: None };
        Sender::new(StreamName::parse("cam").unwrap(), Arc::new(push), 0x0123_4567_89ab_cdef)
    }

    fn closed_with(sender: &mut Sender) -> Option<&'static str> {
        match sender.poll_event() {
            Some(Event::Close { reason }) => Some(reason),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_state_takes_what_fits_it() {
        type Make = fn(Instant) -> Sender;
        let now = epoch();
        let states: [(&str, Make); 3] = [
            ("open", |_| sender(false)),
            ("pushing", |now| {
                let mut sender = sender(false);
                sender.handle_command(now, Command::PlayStarted).unwrap();
                sender
            }),
            ("over", |now| {
                let mut sender = sender(false);
                sender.handle_command(now, Command::Shutdown { reason: "kicked" }).unwrap();
                assert_eq!(closed_with(&mut sender), Some("kicked"));
                sender
            }),
        ];
        for (state, make) in states {
            for (command, next) in [
                (Command::PlayStarted, [Some("pushing"), None, None]),
                (Command::StreamEnded, [None, Some("over"), None]),
                (Command::Refused(Refusal::NotFound), [Some("over"), None, Some("over")]),
                (Command::Shutdown { reason: "draining" }, [Some("over"); 3]),
                (Command::PublishStarted, [None; 3]),
            ] {
                let mut sender = make(now);
                assert_eq!(sender.state_name(), state);
                let at = ["open", "pushing", "over"].iter().position(|&name| name == state);
                let (expected, word) = (next[at.unwrap()], command.name());
                let result = sender.handle_command(now, command);
                assert_eq!(result.is_ok(), expected.is_some(), "{state} {word}");
                assert_eq!(sender.state_name(), expected.unwrap_or(state), "{state} {word}");
                let ends = expected == Some("over") && state != "over";
                assert_eq!(closed_with(&mut sender).is_some(), ends, "{state} {word}");
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_ends_it_once_with_the_first_number() {
        let mut sender = sender(true);
        sender.handle_command(epoch(), Command::PlayStarted).unwrap();
        assert_eq!((sender.failed_with(), sender.state_name()), (None, "pushing"));
        sender.fail(libc::ENETUNREACH);
        sender.fail(libc::EPERM);
        assert_eq!(sender.failed_with(), Some(libc::ENETUNREACH));
        assert_eq!(closed_with(&mut sender), Some("unreachable"));
        assert_eq!(closed_with(&mut sender), None);
    }

    #[test]
    fn packets_of_rtp_count_and_tell_when_they_leave() {
        let mut pushing = Pushing::new(epoch(), true, u64::MAX << 1);
        let mut header = [0; RtpHeader::BYTES];
        let mut write = |now_us| {
            assert_eq!(pushing.write_header(now_us, &mut header), RtpHeader::BYTES);
            let packet = RtpPacket::parse(&header).unwrap();
            assert_eq!((packet.payload_type, packet.marker), (PAYLOAD_TYPE_MPEG_TS, false));
            (packet.sequence, packet.timestamp, packet.source)
        };
        let (sequence, timestamp, source) = write(0);
        assert_eq!((sequence, timestamp), (0xffff, 0xffff_fffe), "both are about to wrap");
        assert_eq!(write(40_000), (0, timestamp.wrapping_add(3_600), source));
        assert_eq!(write(41_000), (1, timestamp.wrapping_add(3_690), source));
        let mut bare = Pushing::new(epoch(), false, 7);
        assert_eq!(bare.write_header(0, &mut [0; RtpHeader::BYTES]), 0);
    }
}
