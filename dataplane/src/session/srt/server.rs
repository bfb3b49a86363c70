//! The server's side of one SRT peer, from its call to its end: the contract of `session`.
//!
//! Shape:
//!
//! ```text
//!   calling --(it answers)--+
//!     |                     v
//!   asking --let_in--> open --(PublishStarted)--> publishing --+
//!     |                 |  \---(PlayStarted)----> playing -----+--(SHUTDOWN, silence, our end)-->
//!     +---(Refused)-----+------------------------------------------------------------------> over
//!     +---(it repeats its call no more)----------------------------------------------------> over
//! ```
//!
//! A peer hears nothing before it publishes or plays: its call is answered then, or refused. Until
//! then it says that it is still there by its call, which it repeats.
//! In/Out: datagrams instead of bytes; payload of a publisher becomes events at once. What a player
//! is sent is polled of [`Server::playing`], with the packets of its log.
//! Limits: those of [`Connection`]; events wait for one datagram's payload only.
//! Not here: the socket, whose datagram it is, the listener that answers the call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use codecs::srt::SocketId;

use super::asking::Asking;
use super::calling::{Attempt, Called};
use super::close_reason::CloseReason;
use super::connection::Connection;
use super::keyring::Keyring;
use super::listener::Request;
use super::playing::Playing;
use super::publishing::{Publishing, take};
use super::statistics::Totals;
use super::target::{self, Target};
use super::transmit::Scratch;
use crate::Error;
use crate::config::Terms;
use crate::control::Role;
use crate::ids::StreamName;
use crate::package::DatagramCursor;
use crate::session::mpegts::TransportTerms;
use crate::session::rtmp::Supply;
use crate::session::{Command, Counts, Event, Refusal};
use crate::slab::Pool;
use crate::words::Words;

/// The server's side of one SRT connection.
///
/// Lives on: the shard of its connection; a publisher moves to its stream's home shard while it is
/// parked, before it is let in. Crosses by: mailbox, then.
#[derive(Debug)]
pub struct Server {
    pub(super) state: State,
    pub(super) role: Role,
    pub(super) stream: StreamName,
    pub(super) agent: Arc<str>,
    /// Which socket of its shard it came by.
    pub(super) port: u8,
    /// What its peer calls us.
    pub(super) socket: Option<SocketId>,
    /// It showed no secret.
    pub(super) is_anonymous: bool,
    /// We called it.
    pub(super) called: Option<Box<Called>>,
    pub(super) events: VecDeque<Event>,
    pub(super) terms: Arc<Terms>,
    /// What is chosen of a publisher's transport stream, if that is not what all others have.
    pub(super) transport: Option<Box<TransportTerms>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// We call it, and it has not answered.
    Calling(Box<Attempt>),
    /// The verdict is awaited, then the keys.
    Asking(Box<Asking>),
    /// It may come in, but for its name or its log.
    Open(Box<(Option<Request>, Connection)>),
    Publishing(Box<Publishing>),
    Playing(Box<Playing>),
    /// Its last word may be left to be sent.
    Over(Option<Box<Connection>>),
}

impl Server {
    /// Bytes of its record at most, beside what it keeps in buffers.
    pub const BYTES: usize = {
        let (publishing, playing) = (size_of::<Publishing>(), size_of::<Playing>());
        let state = if publishing > playing { publishing } else { playing };
        size_of::<Self>() + state + Keyring::BYTES
    };

    /// Whoever sent `request`, and wants `target`.
    #[must_use]
    pub fn new(request: Request, target: Target, port: u8, terms: &Arc<Terms>) -> Self {
        let (intent, is_anonymous) = (target.intent(), target.is_anonymous());
        let Target { role, stream, credentials, play } = target;
        let ask = Event::Authorize { intent, stream: stream.clone(), credentials, play };
        let agent = target::agent(request.peer_version());
        let (events, terms) = (VecDeque::from([ask]), Arc::clone(terms));
        let state = State::Asking(Box::new(Asking::new(request)));
        Self {
            state,
            role,
            stream,
            agent,
            port,
            socket: None,
            is_anonymous,
            called: None,
            events,
            terms,
            transport: None,
        }
    }

    /// What is chosen of the transport stream that it is about to publish.
    pub fn choose(&mut self, transport: Box<TransportTerms>) {
        self.transport = Some(transport);
    }

    /// Which socket of its shard it came by.
    #[must_use]
    pub const fn port(&self) -> u8 {
        self.port
    }

    /// Our socket, once it has one.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketId> {
        self.socket
    }

    /// The connection, once there is one.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Calling(_) | State::Asking(_) | State::Over(None) => None,
            State::Open(open) => Some(&open.1),
            State::Publishing(publishing) => Some(&publishing.connection),
            State::Playing(playing) => Some(&playing.connection),
            State::Over(Some(connection)) => Some(connection),
        }
    }

    const fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.state {
            State::Calling(_) | State::Asking(_) | State::Over(None) => None,
            State::Open(open) => Some(&mut open.1),
            State::Publishing(publishing) => Some(&mut publishing.connection),
            State::Playing(playing) => Some(&mut playing.connection),
            State::Over(Some(connection)) => Some(connection),
        }
    }

    /// What a player is sent from.
    pub fn playing(&self) -> Option<&Playing> {
        match &self.state {
            State::Playing(playing) => Some(playing),
            _ => None,
        }
    }

    /// The same, to be sent something.
    pub fn playing_mut(&mut self) -> Option<&mut Playing> {
        match &mut self.state {
            State::Playing(playing) => Some(playing),
            _ => None,
        }
    }

    /// Takes a datagram of the peer; then [`Self::poll_event`] and [`Self::advance`].
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut [u8], pool: &Pool) {
        match &mut self.state {
            State::Publishing(publishing) => {
                let Publishing { connection, ingest, supply, span, .. } = &mut **publishing;
                if let Some(payload) = connection.handle_datagram(now, datagram) {
                    supply.add(now, payload.bytes.len());
                    let _entered = span.enter();
                    take(now, ingest, payload.bytes, pool, &mut self.events);
                }
                // What it ends with is taken first.
                return;
            }
            State::Playing(playing) => {
                let _unwanted = playing.connection.handle_datagram(now, datagram);
            }
            State::Open(open) => {
                let _early = open.1.handle_datagram(now, datagram);
            }
            State::Calling(_) => self.handle_call(now, datagram),
            State::Asking(_) | State::Over(_) => {}
        }
        self.notice_end();
    }

    /// Takes the payload of one more packet whose turn has come; false if there is none, and the
    /// end is noticed if that was it.
    pub fn advance(&mut self, now: Instant, pool: &Pool) -> bool {
        let State::Publishing(publishing) = &mut self.state else { return false };
        let Publishing { connection, ingest, supply, span, is_over } = &mut **publishing;
        let entered = span.enter();
        if let Some(payload) = connection.poll_payload() {
            supply.add(now, payload.bytes.len());
            take(now, ingest, payload.bytes, pool, &mut self.events);
            return true;
        }
        if connection.closed().is_some() && !*is_over {
            *is_over = true;
            ingest.finish(now, pool);
            while let Some(event) = ingest.poll() {
                self.events.push_back(event);
            }
            drop(entered);
            self.notice_end();
        }
        false
    }

    /// The peer repeats its call: it did not hear our answer.
    pub const fn answer_again(&mut self) {
        if let Some(connection) = self.connection_mut() {
            connection.answer_again();
        }
    }

    /// Writes the next datagram of the protocol's own into `out` and gives its length.
    pub fn poll_datagram(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        match &mut self.state {
            // Its call is answered when it is known what becomes of it.
            State::Asking(_) | State::Open(_) | State::Over(None) => None,
            // Its keys are derived in turn.
            State::Calling(caller) if caller.awaits_keys() => None,
            State::Calling(caller) => caller.poll_transmit(now, out),
            State::Publishing(publishing) => publishing.connection.poll_transmit(now, out),
            State::Playing(playing) => playing.connection.poll_transmit(now, out),
            State::Over(Some(connection)) => connection.poll_transmit(now, out),
        }
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.state, command) {
            (State::Open(_), Command::PublishStarted) if self.role == Role::Publish => {
                let connection = self.take_open("publish_started")?;
                let transport = self.transport.take().unwrap_or_default();
                let ingest = transport.ingest(&self.terms.limits);
                let supply = Supply::new(now, &self.terms.session);
                let span = tracing::Span::current();
                let publishing = Publishing { connection, ingest, supply, span, is_over: false };
                let publishing = Box::new(publishing);
                self.entered("open", State::Publishing(publishing), "publish_started");
            }
            (State::Open(_), Command::PlayStarted) if self.role == Role::Play => {
                let connection = self.take_open("play_started")?;
                let cursor = DatagramCursor::new();
                let playing = Box::new(Playing::new(connection, cursor));
                self.entered("open", State::Playing(playing), "play_started");
            }
            (State::Asking(_) | State::Open(_), Command::Refused(refusal)) => {
                self.take_back(refusal.name());
                self.say_over(refusal.name());
            }
            // Its call was turned away already.
            (State::Over(_), Command::Refused(refusal)) => self.say_over(refusal.name()),
            (State::Asking(_) | State::Open(_) | State::Over(_), Command::Elsewhere(_)) => {
                self.transition(State::Over(None), "elsewhere");
                self.say_over(Refusal::Denied.name());
            }
            (State::Playing(_), Command::StreamEnded) => self.end("stream_ended"),
            (State::Over(_), Command::Shutdown { .. }) => {}
            (_, Command::Shutdown { reason }) => self.end(reason),
            (_, command) => {
                return Err(Error::Misbehaved { state: self.state_name(), got: command.name() });
            }
        }
        Ok(())
    }

    fn take_open(&mut self, got: &'static str) -> Result<Connection, Error> {
        match std::mem::replace(&mut self.state, State::Over(None)) {
            State::Open(open) => Ok(open.1),
            state => {
                self.state = state;
                Err(Error::Misbehaved { state: self.state_name(), got })
            }
        }
    }

    /// Lets time pass; then [`Self::advance`].
    ///
    /// # Errors
    /// [`Error::Timeout`]: a publisher sends too little.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(connection) = self.connection_mut() {
            connection.handle_timeout(now);
        }
        self.call_timeout(now);
        if !matches!(self.state, State::Publishing(_)) {
            self.notice_end();
        }
        if self.is_gone(now) {
            // Whoever closes the session gives its call up.
            self.say_over(CloseReason::Idle.name());
        }
        if let State::Publishing(publishing) = &mut self.state
            && let Err(error) = publishing.supply.check(now, &self.terms.session)
        {
            publishing.connection.close(CloseReason::Closed(error.reason()));
            return Err(error);
        }
        Ok(())
    }

    /// The connection ended by itself or by its peer: the shard hears it once.
    fn notice_end(&mut self) {
        let ended = match &self.state {
            State::Publishing(_) | State::Playing(_) => {
                self.connection().and_then(Connection::closed)
            }
            _ => None,
        };
        match ended {
            // Who says goodbye does so on purpose; whom we called is called again.
            Some(CloseReason::Shutdown) if self.role == Role::Publish && !self.is_called() => {
                self.events.push_back(Event::PublishEnded);
                self.leave("peer_closed");
            }
            Some(CloseReason::Shutdown) => self.leave("peer_closed"),
            Some(reason) => self.leave(reason.name()),
            None => {}
        }
    }

    /// Ends the connection: the peer hears it once, and nothing if its call was never answered.
    fn end(&mut self, reason: &'static str) {
        match &mut self.state {
            State::Open(_) if self.called.is_some() => self.take_back(reason),
            State::Asking(_) | State::Calling(_) | State::Open(_) => {}
            _ => {
                if let Some(connection) = self.connection_mut() {
                    connection.close(CloseReason::Closed(reason));
                }
            }
        }
        self.leave(reason);
    }

    fn leave(&mut self, reason: &'static str) {
        // A publisher's units are given back when the session is closed.
        if !matches!(self.state, State::Publishing(_)) {
            let prev = self.state_name();
            let over = match std::mem::replace(&mut self.state, State::Over(None)) {
                State::Playing(playing) => State::Over(Some(Box::new(playing.connection))),
                State::Over(connection) => State::Over(connection),
                State::Calling(_) | State::Asking(_) | State::Open(_) | State::Publishing(_) => {
                    State::Over(None)
                }
            };
            self.entered(prev, over, reason);
        }
        self.say_over(reason);
    }

    pub(super) fn say_over(&mut self, reason: &'static str) {
        let is_said = |event: &Event| matches!(event, Event::Close { .. });
        if !self.events.iter().any(is_said) {
            self.events.push_back(Event::Close { reason });
        }
    }

    pub(super) fn transition(&mut self, next: State, event: &'static str) {
        self.entered(self.state_name(), next, event);
    }

    /// The rest of a move out of a state whose parts were taken.
    pub(super) fn entered(&mut self, prev: &'static str, next: State, event: &'static str) {
        self.state = next;
        tracing::debug!(prev, next = self.state_name(), event, "transition");
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was counted since the last call: nothing that is not told by
    /// [`Connection::statistics`].
    #[must_use]
    pub fn take_counts(&mut self) -> Counts {
        Counts::default()
    }

    /// What its connection counted since the last call, for the sums of its shard.
    pub fn take_totals(&mut self) -> Totals {
        self.connection_mut().map(Connection::take_totals).unwrap_or_default()
    }

    /// When to call [`Self::handle_timeout`], and to poll everything.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Over(_) => None,
            State::Open(open) if self.called.is_some() => open.1.poll_timeout(),
            State::Open(_) => None,
            State::Calling(caller) if caller.awaits_keys() => None,
            State::Calling(caller) => caller.poll_timeout(),
            State::Asking(asking) => Some(asking.gone_at()),
            State::Publishing(publishing) => {
                let supply = publishing.supply.deadline();
                let connection = publishing.connection.poll_timeout();
                Some(connection.map_or(supply, |at| at.min(supply)))
            }
            State::Playing(playing) => {
                playing.connection.poll_timeout().into_iter().chain(playing.over_at).min()
            }
        }
    }

    /// What the peer does.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The stream that the peer named.
    #[must_use]
    pub const fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Its program.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        &self.agent
    }

    /// Bytes of buffers that it holds beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let held = self.connection().map_or(0, Connection::buffer_bytes);
        let ingest = match &self.state {
            State::Publishing(publishing) => publishing.ingest.buffer_bytes(),
            _ => 0,
        };
        held.saturating_add(ingest)
    }

    /// The word for the state.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Calling(_) => "calling",
            State::Asking(_) => "asking",
            State::Open(_) => "open",
            State::Publishing(_) => "publishing",
            State::Playing(_) => "playing",
            State::Over(_) => "over",
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
}
