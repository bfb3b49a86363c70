//! The server's side of an RTMP connection: the contract of `session`, and the way of a fragment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use codecs::amf0;
use codecs::rtmp::chunk_reader::{ChunkReader, Fragment};
use codecs::rtmp::handshake;
use codecs::rtmp::message::{MessageKind, UserControl};

use super::assembly::{Assembly, Body};
use super::ingest::Ingest;
use super::limit::{amf_limits, chunk_limits, limit_of};
use super::pace::Rates;
use super::reply::Replies;
use super::state::{Hello, HelloPart, State};
use super::url::Address;
use super::window::Window;
use crate::Error;
use crate::config::{LimitId, Terms};
use crate::control::Role;
use crate::ids::StreamName;
use crate::session::{Command, Counts, Credentials, Event};
use crate::slab::Pool;
use crate::words::Words;

/// Events that wait before the session stops consuming bytes.
pub(in crate::session) const EVENTS_MAX: usize = 64;

/// The server's side of one RTMP connection.
///
/// Lives on: the shard of its connection; a publisher moves to its stream's home shard while it is
/// parked, when it holds no page. Crosses by: mailbox, then.
/// Limits: see [`crate::config::Limits`]; before authorisation at most
/// `rtmp_partial_bytes_preauth_max` of unread messages are kept.
#[derive(Debug)]
pub struct Server {
    pub(super) state: State,
    pub(super) reader: ChunkReader,
    pub(super) assembly: Assembly,
    pub(super) ingest: Option<Box<Ingest>>,
    pub(super) replies: Replies,
    pub(super) events: VecDeque<Event>,
    pub(super) terms: Arc<Terms>,
    pub(super) window: Window,
    rates: Rates,
    born: Instant,
    /// Until when the peer must publish or play; counts in states where it does neither.
    pub(super) deadline: Instant,
    ping_at: Instant,
    /// What `connect` said.
    pub(super) address: Address,
    pub(super) agent: Arc<str>,
    pub(super) streams_created: u32,
    /// It understands a request to reconnect.
    pub(super) reconnects: bool,
}

impl Server {
    /// A connection that was just accepted; `seed` fills the handshake.
    #[must_use]
    pub fn new(now: Instant, terms: &Arc<Terms>, seed: [u8; 32]) -> Self {
        let Terms { limits, session: config, .. } = &**terms;
        Self {
            state: State::Hello(Hello { part: None, seed }),
            reader: ChunkReader::new(chunk_limits(limits, LimitId::RtmpPartialBytesPreauthMax)),
            assembly: Assembly::default(),
            ingest: None,
            replies: Replies::new(),
            events: VecDeque::new(),
            terms: Arc::clone(terms),
            window: Window::new(),
            rates: Rates::default(),
            born: now,
            deadline: now + config.connect_deadline,
            ping_at: now + config.ping_interval,
            address: Address::default(),
            agent: Arc::from(""),
            streams_created: 0,
            reconnects: false,
        }
    }

    /// The application that the peer named at `connect`, and what it showed there.
    #[must_use]
    pub fn application(&self) -> Option<(StreamName, Box<Credentials>)> {
        let target = self.address.application()?;
        let credentials = target.credentials();
        Some((target.stream, credentials))
    }

    /// Takes received bytes and returns how many were consumed: fewer than all only if the session
    /// is parked, closing, or its events must be drained first.
    ///
    /// # Errors
    /// The session is over; what the peer must hear is in [`Self::poll_transmit`].
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        bytes: &[u8],
        pool: &Pool,
    ) -> Result<usize, Error> {
        let result = self.read(now, bytes, pool);
        if let Err(error) = &result {
            self.transition(State::Closing, error.reason());
        }
        result
    }

    fn read(&mut self, now: Instant, bytes: &[u8], pool: &Pool) -> Result<usize, Error> {
        let mut at = 0;
        while at < bytes.len() && self.wants_bytes() && self.events.len() < EVENTS_MAX {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Hello(_) => self.hello(now, rest)?,
                State::Ack(left) => {
                    let taken = rest.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.transition(State::Open, "c2");
                    }
                    taken
                }
                _ => self.chunk(now, rest, pool)?,
            };
        }
        if let Some(acknowledgement) = self.window.due() {
            self.replies.control(acknowledgement);
        }
        self.replies.check(&self.terms.limits)?;
        Ok(at)
    }

    fn hello(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Error> {
        let State::Hello(hello) = &mut self.state else { return Ok(0) };
        let random = super::filler::filler(hello.seed);
        let time_ms = millis(self.born, now);
        // Most come whole, and take no memory then.
        let (taken, whole) = match (&mut hello.part, bytes.first_chunk()) {
            (None, Some(whole)) => (whole.len(), whole),
            (part, _) => {
                let part = part.get_or_insert_with(HelloPart::boxed);
                let taken = part.take(bytes);
                // The version is the first byte: who speaks something else is told at once.
                handshake::parse_c0c1(&part.bytes)?;
                if part.len < part.bytes.len() {
                    return Ok(taken);
                }
                (taken, &part.bytes)
            }
        };
        let client = handshake::parse_c0c1(whole)?;
        self.replies.raw(&handshake::server_response(client.c1, &random, time_ms));
        self.transition(State::Ack(handshake::BODY_LEN), "c1");
        Ok(taken)
    }

    fn chunk(&mut self, now: Instant, bytes: &[u8], pool: &Pool) -> Result<usize, Error> {
        let (taken, fragment) = self.reader.feed(bytes).map_err(|e| self.limit_of(e))?;
        self.window.received(taken);
        if let Some(fragment) = fragment {
            self.fragment(now, fragment, pool)?;
        }
        Ok(taken)
    }

    fn fragment(&mut self, now: Instant, fragment: Fragment<'_>, pool: &Pool) -> Result<(), Error> {
        let header = fragment.header;
        let way = self.way(&header)?;
        let media = matches!(header.kind, MessageKind::Audio | MessageKind::Video);
        self.rates.count(millis(self.born, now), fragment.last, media, &self.terms.limits)?;
        if let State::Publishing(publishing) = &mut self.state
            && (media || header.kind == MessageKind::Aggregate)
        {
            publishing.supply.add(now, fragment.data.len());
        }
        match self.assembly.push(fragment, way, pool) {
            Body::Partial => Ok(()),
            Body::Dropped(reason) => {
                let (ingest, events) = self.ingest();
                ingest.dropped(header.kind, reason, events);
                Ok(())
            }
            Body::Unit(unit) => {
                let (ingest, events) = self.ingest();
                ingest.media(&header, unit, pool, events).map_err(Error::Limit)
            }
            Body::Bytes(body) => self.message(now, &header, body, pool),
        }
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        let result = self.obey(now, command);
        if let Err(error) = &result {
            self.transition(State::Closing, error.reason());
        }
        result
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`] closes the session.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let result = self.tick(now);
        if let Err(error) = &result {
            self.transition(State::Closing, error.reason());
        }
        result
    }

    fn tick(&mut self, now: Instant) -> Result<(), Error> {
        match &mut self.state {
            State::Entering(_) | State::Asking(_) | State::Closing => return Ok(()),
            State::Publishing(publishing) => publishing.supply.check(now, &self.terms.session)?,
            State::Playing(playing) if playing.ends_at.is_some_and(|at| at <= now) => {
                self.play_complete(now);
            }
            State::Playing(_) => {}
            _ if now >= self.deadline => {
                return Err(Error::Timeout { what: "connect_deadline" });
            }
            _ => {}
        }
        if now >= self.ping_at {
            self.ping_at = now + self.terms.session.ping_interval;
            if !matches!(self.state, State::Hello(_) | State::Ack(_)) {
                self.replies.user_control(UserControl::PingRequest(millis(self.born, now)));
            }
        }
        Ok(())
    }

    /// Appends the replies that wait; true if there were any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        self.replies.drain(out)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        // A player has no more events worth their room; a publisher has some with every packet.
        if event.is_none()
            && self.events.capacity() > 0
            && !matches!(self.state, State::Publishing(_))
        {
            self.events = VecDeque::new();
        }
        event
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        Counts {
            units_converted: self.ingest.as_mut().map_or(0, |ingest| ingest.take_converted()),
            http_requests: 0,
            http_not_found: 0,
        }
    }

    /// When to call [`Self::handle_timeout`]; `None` while the shard answers or closes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = match &self.state {
            State::Entering(_) | State::Asking(_) | State::Closing => return None,
            State::Publishing(publishing) => publishing.supply.deadline(),
            State::Playing(playing) => {
                return playing.ends_at.into_iter().chain([self.ping_at]).min();
            }
            _ => self.deadline,
        };
        Some(deadline.min(self.ping_at))
    }

    /// False while parked or closing.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Entering(_) | State::Asking(_) | State::Closing)
    }

    /// True if the peer said that it understands a request to reconnect.
    #[must_use]
    pub const fn reconnects(&self) -> bool {
        self.reconnects
    }

    /// What the peer does, once that is known.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        self.state.role()
    }

    /// The stream that the peer named, once that is known.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamName> {
        self.state.stream()
    }

    /// `flashVer`.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        &self.agent
    }

    /// Bytes of what it holds beside its record: a handshake, headers and messages in hand,
    /// replies, and an address too long to be shared.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let hello = match &self.state {
            State::Hello(Hello { part: Some(part), .. }) => size_of_val(&**part),
            _ => 0,
        };
        let messages = self.reader.table_bytes() + self.assembly.buffer_bytes();
        let events = self.events.capacity() * size_of::<Event>();
        hello + messages + events + self.replies.buffer_bytes() + self.address.buffer_bytes()
    }

    /// The state's word.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Shares with other sessions what they say, too.
    pub(crate) fn share(&mut self, words: &mut Words) {
        words.share(&mut self.agent);
        self.address.share(words);
        if let Some(stream) = self.state.stream_mut() {
            stream.share(words);
        }
    }

    /// Takes new limits and settings; the chunk size stays as it was announced.
    pub fn reload(&mut self, terms: &Arc<Terms>) {
        self.terms = Arc::clone(terms);
        let limits = &terms.limits;
        if let Some(ingest) = &mut self.ingest {
            ingest.reload(limits);
        }
        self.reader.set_limits(chunk_limits(limits, self.partial_limit()));
    }

    /// Gives every page back before the session moves to another shard.
    pub fn leave_pages(&mut self, pool: &Pool) {
        self.assembly.leave_pages(pool);
        if let Some(ingest) = &mut self.ingest {
            ingest.close(pool);
        }
    }

    /// Drops the messages in hand: nothing more is heard.
    pub(in crate::session) fn drop_messages(&mut self, pool: &Pool) {
        self.assembly.close(pool);
    }

    /// Takes messages in hand out of their pages before the session moves with its stream.
    pub fn pack_pages(&mut self, pool: &Pool) {
        self.assembly.pack(pool);
        if let Some(ingest) = &mut self.ingest {
            ingest.close(pool);
        }
    }

    /// Gives every page back; nothing may be called afterwards.
    pub fn close(&mut self, pool: &Pool) {
        self.assembly.close(pool);
        if let Some(ingest) = &mut self.ingest {
            ingest.close(pool);
        }
        for event in self.events.drain(..) {
            if let Event::Media(unit) = event {
                pool.release(unit.payload);
            }
        }
        self.transition(State::Closing, "closed");
    }

    /// The only way from one state to another.
    pub(super) fn transition(&mut self, next: State, event: &'static str) {
        tracing::debug!(prev = self.state.name(), next = next.name(), event, "rtmp session");
        self.state = next;
    }

    pub(super) const fn misbehaved(&self, got: &'static str) -> Error {
        Error::Misbehaved { state: self.state.name(), got }
    }

    /// What becomes of media, and where it goes. A player never has one.
    pub(super) fn ingest(&mut self) -> (&mut Ingest, &mut VecDeque<Event>) {
        let ingest = self.ingest.get_or_insert_with(|| Box::new(Ingest::new(&self.terms.limits)));
        (ingest, &mut self.events)
    }

    pub(super) fn amf_limits(&self) -> amf0::Limits {
        amf_limits(&self.terms.limits)
    }

    /// As [`limit_of`], but unfinished messages have a limit of their own before authorisation.
    pub(super) fn limit_of(&self, error: codecs::Error) -> Error {
        match limit_of(error) {
            Error::Limit(LimitId::RtmpPartialBytesMax) => Error::Limit(self.partial_limit()),
            error => error,
        }
    }

    const fn partial_limit(&self) -> LimitId {
        match self.state {
            State::Publishing(_) => LimitId::RtmpPartialBytesMax,
            _ => LimitId::RtmpPartialBytesPreauthMax,
        }
    }
}

/// Milliseconds of the session's life, as its clock on the wire.
pub(super) fn millis(born: Instant, now: Instant) -> u32 {
    let whole = now.saturating_duration_since(born).as_millis();
    u32::try_from(whole % (1 << 32)).unwrap_or_default()
}
