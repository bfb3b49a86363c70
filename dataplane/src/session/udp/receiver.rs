//! One input of a stream that comes in datagrams, from its socket's opening to its end.
//!
//! Shape:
//!
//! ```text
//!   listening --(PublishStarted)--> publishing --(silence, our end)--> over
//!       +------(Refused, our end)------------------------------------> over
//! ```
//!
//! The stream is claimed by the first datagram that begins with a packet: nobody holds a name for a
//! sender who does not send. One sender is heard at a time, because two would be one broken stream;
//! another has its turn once the first was silent for [`SENDER_SILENCE`].
//! In/Out: datagrams instead of bytes; nothing is ever sent.
//! Limits: those of [`Ingest`]; events wait for one datagram's payload only.
//! Not here: who may hold the name (`shard/pulls.rs`).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::framing::{Framing, Payload};
use crate::Error;
use crate::config::Terms;
use crate::control::{InputCounts, UdpInput};
use crate::ids::StreamName;
use crate::session::mpegts::Ingest;
use crate::session::{Command, Counts, Event};
use crate::slab::Pool;
use crate::words::Words;

/// A sender who was silent for so long is followed by another.
const SENDER_SILENCE: Duration = Duration::from_secs(1);

/// The receiving side of one input.
///
/// Lives on: the home shard of its stream. Crosses by: never.
#[derive(Debug)]
pub struct Receiver {
    state: State,
    stream: StreamName,
    agent: Arc<str>,
    input: Arc<UdpInput>,
    events: VecDeque<Event>,
    counts: InputCounts,
    terms: Arc<Terms>,
}

#[derive(Debug)]
enum State {
    Listening,
    Publishing(Box<Publishing>),
    Over,
}

#[derive(Debug)]
struct Publishing {
    ingest: Ingest,
    /// Who is heard, and how he speaks; nobody before the first datagram.
    sender: Option<(SocketAddr, Framing)>,
    /// When he was heard last.
    heard: Instant,
    /// Where its lines about the stream belong.
    span: tracing::Span,
    end: End,
}

/// How far the end of a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It goes on.
    Open,
    /// Nothing came for too long: what is whole is to be taken.
    Silent,
    /// It was taken.
    Taken,
}

impl Publishing {
    /// Tells what is whole of the stream, which goes on no more.
    fn finish(&mut self, now: Instant, pool: &Pool, events: &mut VecDeque<Event>) {
        let Self { ingest, span, .. } = self;
        let _entered = span.enter();
        ingest.finish(now, pool);
        while let Some(event) = ingest.poll() {
            events.push_back(event);
        }
    }

    /// The piece of the stream that a datagram brings, if it does.
    fn sort<'a>(
        &mut self,
        (peer, datagram): (SocketAddr, &'a [u8]),
        hears: bool,
        counts: &mut InputCounts,
    ) -> Option<&'a [u8]> {
        let is_first = hears && self.sender.is_none();
        let framing = if is_first { Framing::of(datagram) } else { None };
        if let Some(framing) = framing {
            self.sender = Some((peer, framing));
            self.span.in_scope(|| tracing::debug!(%peer, ?framing, "a sender is heard"));
        }
        let current = self.sender.as_mut().filter(|(current, _)| hears && *current == peer);
        let payload = current.map_or(Payload::Foreign, |(_, framing)| framing.payload(datagram));
        match payload {
            Payload::Next { bytes, missing } => {
                counts.datagrams += 1;
                counts.bytes += datagram.len() as u64;
                counts.missing += u64::from(missing);
                Some(bytes)
            }
            Payload::Late => {
                counts.late += 1;
                None
            }
            Payload::Foreign => {
                counts.foreign += 1;
                None
            }
        }
    }
}

impl Receiver {
    /// Bytes of its record, beside what it keeps in buffers.
    pub const BYTES: usize = size_of::<Self>() + size_of::<Publishing>();

    /// Nothing came yet for `stream`.
    #[must_use]
    pub fn new(stream: StreamName, input: Arc<UdpInput>, terms: &Arc<Terms>) -> Self {
        let (agent, terms) = (Arc::from("udp"), Arc::clone(terms));
        let (state, events, counts) = (State::Listening, VecDeque::new(), InputCounts::default());
        Self { state, stream, agent, input, events, counts, terms }
    }

    /// True until the stream is claimed.
    #[must_use]
    pub const fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening)
    }

    /// True if the stream can begin with this datagram; else it is passed over.
    #[must_use]
    pub fn begins_with(&mut self, peer: SocketAddr, datagram: &[u8]) -> bool {
        let begins = self.is_listening() && self.hears(peer) && Framing::of(datagram).is_some();
        if self.is_listening() && !begins {
            self.counts.foreign += 1;
        }
        begins
    }

    /// True if somebody follows the sender that is heard, which fell silent, and begins with this
    /// datagram: another one, or another source of RTP. A relay may mix two of them.
    #[must_use]
    pub fn is_followed(&self, now: Instant, peer: SocketAddr, datagram: &[u8]) -> bool {
        let State::Publishing(publishing) = &self.state else { return false };
        let Some((current, framing)) = publishing.sender else { return false };
        let silence = now.saturating_duration_since(publishing.heard);
        let is_other = current != peer || framing.is_of_another(datagram);
        let follows = is_other && silence >= SENDER_SILENCE && self.hears(peer);
        follows && Framing::of(datagram).is_some()
    }

    /// The sender is heard no more, and the stream is to be claimed for the next one: what is whole
    /// of it waits for [`Self::poll_event`].
    pub fn end_sender(&mut self, now: Instant, pool: &Pool) {
        self.counts = self.counts();
        let State::Publishing(publishing) = &mut self.state else { return };
        publishing.finish(now, pool, &mut self.events);
        publishing.ingest.close(pool);
        self.transition(State::Listening, "sender_followed");
    }

    /// Takes a datagram; then [`Self::poll_event`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        datagram: &[u8],
        pool: &Pool,
    ) {
        let hears = self.hears(peer);
        let Self { state, events, counts, .. } = self;
        let State::Publishing(publishing) = state else { return };
        let Some(mut payload) = publishing.sort((peer, datagram), hears, counts) else {
            return;
        };
        publishing.heard = now;
        let Publishing { ingest, span, .. } = &mut **publishing;
        let _entered = span.enter();
        while let Some(event) = ingest.feed(now, &mut payload, pool) {
            events.push_back(event);
        }
        while let Some((kind, track)) = ingest.take_ended() {
            events.push_back(Event::TrackEnded { kind, track });
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> InputCounts {
        let State::Publishing(publishing) = &self.state else { return self.counts };
        let found = publishing.ingest.counters();
        InputCounts {
            packets: self.counts.packets + found.packets,
            packets_lost: self.counts.packets_lost + found.packets_lost,
            ..self.counts
        }
    }

    /// Who is heard.
    #[must_use]
    pub fn sender(&self) -> Option<SocketAddr> {
        let State::Publishing(publishing) = &self.state else { return None };
        publishing.sender.map(|(sender, _)| sender)
    }

    fn hears(&self, peer: SocketAddr) -> bool {
        self.input.source.is_none_or(|source| source.to_canonical() == peer.ip().to_canonical())
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.state, command) {
            (State::Listening, Command::PublishStarted) => {
                let ingest = self.input.transport.ingest(&self.terms.limits);
                let span = tracing::Span::current();
                let (sender, heard, end) = (None, now, End::Open);
                let publishing = Publishing { ingest, sender, heard, span, end };
                self.transition(State::Publishing(Box::new(publishing)), "publish_started");
            }
            (State::Listening, Command::Refused(refusal)) => {
                self.transition(State::Over, "refused");
                self.say_over(refusal.name());
            }
            (State::Over, Command::Shutdown { .. }) => {}
            (State::Listening, Command::Shutdown { reason }) => {
                self.transition(State::Over, "shutdown");
                self.say_over(reason);
            }
            // Its units are given back when the session is closed.
            (State::Publishing(_), Command::Shutdown { reason }) => self.say_over(reason),
            (_, command) => {
                return Err(Error::Misbehaved { state: self.state_name(), got: command.name() });
            }
        }
        Ok(())
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`]: nothing came for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return Ok(());
        }
        if let State::Publishing(publishing) = &mut self.state
            && publishing.end == End::Open
        {
            publishing.end = End::Silent;
        }
        Err(Error::Timeout { what: "publish_idle" })
    }

    /// Takes what is whole of a stream whose sender fell silent; false if there is nothing to take.
    pub fn advance(&mut self, now: Instant, pool: &Pool) -> bool {
        let State::Publishing(publishing) = &mut self.state else { return false };
        if publishing.end != End::Silent {
            return false;
        }
        publishing.end = End::Taken;
        publishing.finish(now, pool, &mut self.events);
        true
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

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let State::Publishing(publishing) = &self.state else { return None };
        let timeout = self.input.timeout.unwrap_or(self.terms.session.publish_idle);
        Some(publishing.heard + timeout)
    }

    /// The stream that it is an input of.
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
    pub fn buffer_bytes(&self) -> usize {
        match &self.state {
            State::Publishing(publishing) => publishing.ingest.buffer_bytes(),
            State::Listening | State::Over => 0,
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Listening => "listening",
            State::Publishing(_) => "publishing",
            State::Over => "over",
        }
    }

    pub(crate) fn share(&mut self, words: &mut Words) {
        self.stream.share(words);
        words.share(&mut self.agent);
    }

    /// Takes new limits.
    pub fn reload(&mut self, terms: &Arc<Terms>) {
        self.terms = Arc::clone(terms);
        if let State::Publishing(publishing) = &mut self.state {
            publishing.ingest.reload(&terms.limits);
        }
    }

    /// Gives every page back: its own, and those of units that nobody took. Call it once, at the
    /// end.
    pub fn close(&mut self, pool: &Pool) {
        if let State::Publishing(publishing) = &mut self.state {
            publishing.ingest.close(pool);
        }
        for event in self.events.drain(..) {
            match event {
                Event::Media(unit) => pool.release(unit.payload),
                Event::Relay(run) => pool.release(run.packets),
                _ => {}
            }
        }
    }

    fn transition(&mut self, next: State, event: &'static str) {
        let prev = self.state_name();
        self.state = next;
        tracing::debug!(prev, next = self.state_name(), event, "transition");
    }

    fn say_over(&mut self, reason: &'static str) {
        let is_said = |event: &Event| matches!(event, Event::Close { .. });
        if !self.events.iter().any(is_said) {
            self.events.push_back(Event::Close { reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Refusal;
    use crate::session::clock::epoch;
    use crate::session::mpegts::TransportTerms;
    use crate::slab::{Region, RegionConfig};

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn pool() -> Pool {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 4,
            small_pages_per_shard: 4,
            poison: true,
        };
        Region::map(&config).unwrap().1.remove(0)
    }

    fn receiver(source: Option<&str>) -> Receiver {
        let input = UdpInput {
            addr: "239.1.2.3:5000".parse().unwrap(),
            source: source.map(|source| source.parse().unwrap()),
            interface: None,
            timeout: Some(TIMEOUT),
            receive_buffer_bytes: 1 << 20,
            transport: TransportTerms::default(),
        };
        let stream = StreamName::parse("cam").unwrap();
        Receiver::new(stream, Arc::new(input), &Arc::new(Terms::default()))
    }

    /// A packet without content.
    fn packet() -> Vec<u8> {
        let mut packet = vec![0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        packet
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_stream_begins_with_a_packet_of_its_sender() {
        let (mut anybody, mut one) = (receiver(None), receiver(Some("192.0.2.7")));
        let (wanted, other) = (addr("192.0.2.7:9"), addr("192.0.2.8:9"));
        assert!(anybody.begins_with(other, &packet()));
        assert!(!anybody.begins_with(other, b"something else"));
        assert!(one.begins_with(wanted, &packet()));
        assert!(one.begins_with(addr("[::ffff:192.0.2.7]:9"), &packet()));
        assert!(!one.begins_with(other, &packet()));
        assert_eq!((anybody.counts().foreign, one.counts().foreign), (1, 1));
    }

    #[test]
    fn one_sender_is_heard_until_it_is_silent() {
        let (mut receiver, pool, start) = (receiver(None), pool(), epoch());
        let (first, second) = (addr("192.0.2.7:9"), addr("192.0.2.8:9"));
        receiver.handle_command(start, Command::PublishStarted).unwrap();
        assert!(!receiver.begins_with(first, &packet()), "it began");
        for (sender, after_ms, is_heard) in [
            (first, 100, true),
            (second, 600, false),
            (first, 700, true),
            (second, 1_699, false),
            (second, 1_700, true),
            (first, 1_800, false),
        ] {
            let now = start + Duration::from_millis(after_ms);
            let follows = receiver.is_followed(now, sender, &packet());
            assert_eq!(follows, after_ms == 1_700, "{sender} after {after_ms} ms");
            if follows {
                receiver.end_sender(now, &pool);
                assert!(receiver.begins_with(sender, &packet()), "the stream is to be claimed");
                receiver.handle_command(now, Command::PublishStarted).unwrap();
            }
            receiver.handle_datagram(now, sender, &packet(), &pool);
            let moved = receiver.poll_timeout() == Some(now + TIMEOUT);
            assert_eq!(moved, is_heard, "{sender} after {after_ms} ms");
        }
        let expected =
            InputCounts { datagrams: 3, bytes: 3 * 188, foreign: 3, ..InputCounts::default() };
        assert_eq!(receiver.counts(), expected);
        assert_eq!(receiver.sender(), Some(second));
        let due = receiver.poll_timeout().unwrap();
        assert_eq!(receiver.handle_timeout(due - Duration::from_millis(1)), Ok(()));
        let silence = Err(Error::Timeout { what: "publish_idle" });
        assert!(!receiver.advance(due, &pool), "it goes on");
        assert_eq!(receiver.handle_timeout(due), silence);
        assert!(receiver.advance(due, &pool), "what is whole is taken, once");
        assert!(!receiver.advance(due, &pool));
        receiver.close(&pool);
    }

    #[test]
    fn each_state_takes_the_words_that_fit_it() {
        let now = epoch();
        let closes = |receiver: &mut Receiver| match receiver.poll_event() {
            Some(Event::Close { reason }) => Some(reason),
            _ => None,
        };
        let shutdown = Command::Shutdown { reason: "kicked" };
        let mut listening = receiver(None);
        listening.handle_command(now, shutdown.clone()).unwrap();
        assert_eq!((listening.state_name(), closes(&mut listening)), ("over", Some("kicked")));
        listening.handle_command(now, shutdown.clone()).unwrap();
        assert_eq!(closes(&mut listening), None, "it is told once");

        let mut refused = receiver(None);
        refused.handle_command(now, Command::Refused(Refusal::Overloaded)).unwrap();
        assert_eq!((refused.state_name(), closes(&mut refused)), ("over", Some("overloaded")));

        let mut publishing = receiver(None);
        publishing.handle_command(now, Command::PublishStarted).unwrap();
        let again = publishing.handle_command(now, Command::PublishStarted).unwrap_err();
        let misbehaved = Error::Misbehaved { state: "publishing", got: "publish_started" };
        assert_eq!(again, misbehaved);
        publishing.handle_command(now, shutdown).unwrap();
        assert_eq!(closes(&mut publishing), Some("kicked"));
        publishing.close(&pool());
    }
}
