//! The server's side of an HTTP connection.

use std::sync::Arc;
use std::time::Instant;

use codecs::http1::{Method, Request, parse_request};

use super::events::Events;
use super::fetch::{Fetch, credentials_of_piece};
use super::limits::{limit_of, request_limits};
use super::reply::Replies;
use super::routes::{Route, credentials};
use super::shown_token::ShownToken;
use super::socket::Upgrade;
use super::state::{Pending, State};
use crate::Error;
use crate::config::{LimitId, Terms};
use crate::control::{Intent, Protocol, Role};
use crate::ids::StreamName;
use crate::session::rtmp::name_agent;
use crate::session::{Command, Counts, Event, Framing, PlayOptions};
use crate::slab::Pool;
use crate::words::Words;

/// Answers of pipelined requests that wait before the next request is read.
const REPLIES_PAUSE_BYTES: usize = 64 << 10;

/// The server's side of one HTTP connection.
///
/// Lives on: the shard of its connection. Crosses by: never.
/// Limits: `http_*`; at most one request head is kept, and only while it is incomplete.
#[derive(Debug)]
pub struct Server {
    pub(super) state: State,
    /// The head in hand, if a read ended within it.
    pub(super) head: Vec<u8>,
    pub(super) replies: Replies,
    pub(super) events: Events,
    pub(super) terms: Arc<Terms>,
    pub(super) deadline: Instant,
    requests: u32,
    /// Bytes that were heard while a stream ran.
    ignored: u32,
    agent: Arc<str>,
}

impl Server {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(now: Instant, terms: &Arc<Terms>) -> Self {
        Self {
            state: State::Head,
            head: Vec::new(),
            replies: Replies::default(),
            events: Events::default(),
            terms: Arc::clone(terms),
            deadline: now + terms.session.connect_deadline,
            requests: 0,
            ignored: 0,
            agent: Arc::from(""),
        }
    }

    /// Takes received bytes and returns how many were consumed: fewer than all only if the session
    /// is parked, closing, or its replies must be drained first.
    ///
    /// # Errors
    /// The session is over; what the peer must hear is in [`Self::poll_transmit`].
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        bytes: &[u8],
        _pool: &Pool,
    ) -> Result<usize, Error> {
        let mut at = 0;
        while at < bytes.len() && self.wants_bytes() && self.replies.len() < REPLIES_PAUSE_BYTES {
            if let State::Streaming(..) = self.state {
                return self.ignore(bytes.len() - at).map(|()| bytes.len());
            }
            let read = match self.state {
                State::Socket(..) | State::SocketClosing(..) => self.hear(now, &bytes[at..]),
                _ => self.read(now, &bytes[at..]),
            };
            match read {
                Ok(taken) => at += taken,
                Err(error) => {
                    if !matches!(self.state, State::Closing) {
                        self.refuse(&error);
                    }
                    return Err(error);
                }
            }
        }
        Ok(at)
    }

    /// What a player says while its stream runs means nothing, but it must end.
    fn ignore(&mut self, bytes: usize) -> Result<(), Error> {
        self.ignored = self.ignored.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if u64::from(self.ignored) > self.terms.limits.http_pipeline_bytes_max {
            self.transition(State::Closing, "ignored_bytes");
            return Err(Error::Limit(LimitId::HttpPipelineBytesMax));
        }
        Ok(())
    }

    /// One request, or a part of its head.
    fn read(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, Error> {
        if self.head.is_empty() {
            // Empty lines before a request are legal and cost nothing.
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank > 0 {
                return Ok(blank);
            }
            if self.requests > 0 {
                self.deadline = now + self.terms.session.connect_deadline;
            }
        }
        let limits = request_limits(&self.terms.limits);
        let before = self.head.len();
        let room = limits.head_bytes_max.saturating_sub(before).max(1);
        let taken = bytes.len().min(room);
        let new = &bytes[..taken];
        // A head can only end with a line, so other bytes are not worth another look, unless they
        // are the last that a head may have or the first, which tell at once who is no browser.
        let look = before == 0 || new.contains(&b'\n') || taken == room;
        if before == 0 {
            if let Some((request, len)) = parse_request(new, &limits).map_err(limit_of)? {
                self.answer(now, &request)?;
                return Ok(len);
            }
            // CONTROL: a request head that came in pieces.
            self.head.extend_from_slice(new);
            return Ok(taken);
        }
        // CONTROL: a request head that came in pieces.
        self.head.extend_from_slice(new);
        if !look {
            return Ok(taken);
        }
        let head = std::mem::take(&mut self.head);
        match parse_request(&head, &limits).map_err(limit_of)? {
            Some((request, len)) => {
                self.answer(now, &request)?;
                Ok(len.saturating_sub(before))
            }
            None => {
                self.head = head;
                Ok(taken)
            }
        }
    }

    fn answer(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Error> {
        self.requests = self.requests.saturating_add(1);
        name_agent(&mut self.agent, request.header("user-agent").unwrap_or_default());
        self.deadline = now + self.terms.session.keep_alive;
        let pending = Pending {
            head_only: request.method == Method::Head,
            keep_alive: request.keep_alive() && self.may_ask_again(),
        };
        let closes = Pending { keep_alive: false, ..pending };
        if matches!(request.method, Method::Post | Method::Other) {
            // Its body, if it has one, is not read, so the connection cannot go on.
            self.replies.refusal(405, "method not allowed\n", closes);
            self.end("method_not_allowed");
            return Ok(());
        }
        match request.content_length() {
            Err(_) => {
                self.replies.refusal(400, "bad request\n", closes);
                self.end("request_body");
                return Ok(());
            }
            Ok(_) if request.expects_body() => {
                self.replies.refusal(413, "no request may have a body\n", closes);
                self.end("request_body");
                return Ok(());
            }
            Ok(_) => {}
        }
        if request.method == Method::Options {
            self.replies.options(pending);
            return self.answered(pending);
        }
        self.resource(request, pending)
    }

    fn resource(&mut self, request: &Request<'_>, pending: Pending) -> Result<(), Error> {
        match Route::of(request.path, request.query) {
            Route::Page(page) => self.replies.page(page, pending),
            Route::Icon => self.replies.icon(pending),
            Route::Unknown => self.replies.not_found(pending),
            Route::Elsewhere(location) => self.replies.elsewhere(&location, pending),
            Route::Hls(stream, asset, params) => {
                return self.enter(request, pending, (stream, asset), params);
            }
            Route::Publication(stream, id, asset, params) => {
                let shown = ShownToken::of_publication(self.terms.hls_session);
                let fetch = Fetch::new(request, pending, (stream, asset), shown);
                self.tell_for_whom(request);
                let credentials = credentials_of_piece(request, params, self.terms.auth);
                self.fetch(fetch.of_publication(id), credentials);
                return Ok(());
            }
            Route::Directory => {
                self.events.push(Event::Directory);
                self.transition(State::AskingDirectory(pending), "directory");
                return Ok(());
            }
            Route::Challenge(token) => {
                self.events.push(Event::Challenge { token });
                self.transition(State::AskingChallenge(pending), "challenge");
                return Ok(());
            }
            Route::Stream(stream, format, params) => {
                let upgrade = match Upgrade::asked_by(request, pending, format) {
                    Ok(upgrade) => upgrade,
                    Err((status, text)) => {
                        self.replies.refusal(status, text, pending);
                        return self.answered(pending);
                    }
                };
                let framing = upgrade.as_ref().map_or(Framing::Bare, |_| Framing::WebSocket);
                self.tell_for_whom(request);
                self.events.push(Event::Authorize {
                    intent: Intent::Play,
                    stream: stream.clone(),
                    play: Some(PlayOptions { framing, ..params.play(format) }),
                    credentials: credentials(request, params, self.terms.auth),
                });
                let asking = match upgrade {
                    Some(upgrade) => State::AskingSocket(upgrade, stream),
                    None => State::AskingPlay(pending, stream, format),
                };
                self.transition(asking, "play");
                return Ok(());
            }
        }
        self.answered(pending)
    }

    /// An answer is complete: the next request may come, or the connection ends.
    pub(super) fn answered(&mut self, pending: Pending) -> Result<(), Error> {
        if !self.may_ask_again() {
            let limit = LimitId::HttpRequestsMax;
            self.transition(State::Closing, limit.name());
            return Err(Error::Limit(limit));
        }
        if !pending.keep_alive {
            self.end("connection_close");
        } else if !matches!(self.state, State::Head) {
            self.transition(State::Head, "answered");
        }
        Ok(())
    }

    fn may_ask_again(&self) -> bool {
        u64::from(self.requests) < self.terms.limits.http_requests_max
    }

    pub(super) fn end(&mut self, reason: &'static str) {
        self.events.push(Event::Close { reason });
        self.transition(State::Closing, reason);
    }

    /// Tells a peer what was wrong with its request.
    fn refuse(&mut self, error: &Error) {
        if let State::Socket(..) | State::SocketClosing(..) = self.state {
            return self.fail_socket(error);
        }
        let (status, text) = match error {
            Error::Limit(LimitId::HttpHeadBytesMax | LimitId::HttpHeadersMax) => {
                (431, "the request head is too large\n")
            }
            Error::Malformed(codecs::Error::Unsupported { .. }) => {
                (505, "this version of HTTP is not spoken here\n")
            }
            Error::Timeout { .. } => (408, "the request took too long\n"),
            _ => (400, "bad request\n"),
        };
        self.replies.refusal(status, text, Pending { head_only: false, keep_alive: false });
        self.transition(State::Closing, error.reason());
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        if let State::Socket(..) | State::SocketClosing(..) = self.state {
            return self.command_socket(now, command);
        }
        self.deadline = now + self.terms.session.keep_alive;
        match (&self.state, &command) {
            (State::AskingDirectory(pending), Command::Directory(json)) => {
                let pending = *pending;
                self.replies.directory(json, pending);
                self.answered(pending)?;
            }
            (State::AskingChallenge(pending), Command::Challenge(answer)) => {
                let pending = *pending;
                match answer {
                    Some(answer) => self.replies.challenge(answer, pending),
                    None => self.replies.not_found(pending),
                }
                self.answered(pending)?;
            }
            (State::AskingPlay(pending, stream, format), Command::PlayStarted) => {
                let (pending, stream, format) = (*pending, stream.clone(), *format);
                self.replies.stream(format);
                self.transition(State::Streaming(stream, format), "play_started");
                if pending.head_only {
                    self.events.push(Event::PlayEnded);
                    self.end("head_only");
                }
            }
            (State::AskingSocket(..), Command::PlayStarted) => {
                let asking = std::mem::replace(&mut self.state, State::Closing);
                if let State::AskingSocket(upgrade, stream) = asking {
                    self.open_socket(now, &upgrade, stream);
                }
            }
            (&State::Serving(pending, _), Command::Served) => self.answered(pending)?,
            // The last bytes of a segment went out behind the last word.
            (State::Closing, Command::Served) => {}
            (
                State::AskingPlay(..) | State::AskingSocket(..) | State::Fetching(_),
                Command::Refused(_) | Command::Elsewhere(_),
            ) => self.refused(&command)?,
            (State::Streaming(..), Command::StreamEnded) => self.end("stream_ended"),
            // Told twice, or after the last word was spoken: there is nothing left to do.
            (State::Closing, Command::Shutdown { .. }) => {}
            (state, &Command::Shutdown { reason }) => {
                if let Some(pending) = state.pending() {
                    let closes = Pending { keep_alive: false, ..pending };
                    self.replies.farewell(reason, closes);
                }
                self.end(reason);
            }
            (state, command) => {
                let error = Error::Misbehaved { state: state.name(), got: command.name() };
                self.transition(State::Closing, error.reason());
                return Err(error);
            }
        }
        Ok(())
    }

    fn refused(&mut self, command: &Command) -> Result<(), Error> {
        let Some(pending) = self.state.pending() else { return Ok(()) };
        match command {
            Command::Refused(refusal) => self.replies.refused(*refusal, pending),
            Command::Elsewhere(location) => self.replies.elsewhere(location, pending),
            _ => {}
        }
        self.answered(pending)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`] if a request head did not come in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if !matches!(self.state, State::Head) {
            return self.time_socket(now);
        }
        if self.requests > 0 && self.head.is_empty() {
            self.end("keep_alive");
            return Ok(());
        }
        let error = Error::Timeout { what: "request_head" };
        self.refuse(&error);
        Err(error)
    }

    /// Appends the replies that wait; true if there were any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        self.replies.drain(out)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// What was counted since the last call.
    pub const fn take_counts(&mut self) -> Counts {
        self.replies.take_counts()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Head | State::Socket(..) | State::SocketClosing(..) => Some(self.deadline),
            _ => None,
        }
    }

    /// False while parked or closing.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        matches!(
            self.state,
            State::Head | State::Streaming(..) | State::Socket(..) | State::SocketClosing(..)
        )
    }

    /// HTTP, or a stream over it or WebSocket once one was asked for.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.state.protocol()
    }

    /// What the peer does, once that is known.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        if self.stream().is_some() { Some(Role::Play) } else { None }
    }

    /// The stream that the peer named, while it is asked for or played.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamName> {
        self.state.stream()
    }

    /// `User-Agent` of the last request.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        &self.agent
    }

    /// The state's word.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Shares with other sessions what they say, too.
    pub(crate) fn share(&mut self, words: &mut Words) {
        words.share(&mut self.agent);
        match &mut self.state {
            State::AskingPlay(_, stream, _)
            | State::Streaming(stream, _)
            | State::AskingSocket(_, stream)
            | State::Serving(_, stream)
            | State::Socket(_, stream) => stream.share(words),
            _ => {}
        }
    }

    /// Takes new limits and settings.
    pub fn reload(&mut self, terms: &Arc<Terms>) {
        if let State::Socket(socket, _) | State::SocketClosing(socket, _) = &mut self.state {
            socket.reload(&terms.limits);
        }
        self.terms = Arc::clone(terms);
    }

    /// Ends the session, which holds no page.
    pub fn close(&mut self, _pool: &Pool) {
        self.events.clear();
        self.transition(State::Closing, "closed");
    }

    /// The only way from one state to another.
    pub(super) fn transition(&mut self, next: State, event: &'static str) {
        tracing::debug!(prev = self.state.name(), next = next.name(), event, "http session");
        self.state = next;
    }
}
