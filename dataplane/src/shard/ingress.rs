//! Ingress: received bytes to sessions, and what sessions then want.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::asked::Asked;
use super::cipher::Tls;
use super::connection::{Connection, Receiving};
use super::queues::Class;
use super::session_events::reason_of;
use super::shard::Shard;
use crate::config::LimitId;
use crate::control::CloseReason;
use crate::error::Error;
use crate::reactor::{Reactor, RecvBuf, RecvMode};
use crate::session::Event;

/// Bytes of replies that wait for a peer before it is heard again.
const REPLIES_PAUSE: usize = 64 << 10;

impl Shard {
    /// A receive buffer was filled for this connection.
    pub(super) fn received(&mut self, slot: u32, buf: RecvBuf) {
        let awaits_head = self.connections.awaits_head(slot);
        if let Some(connection) = self.connections.get_mut(slot) {
            let len = self.reactor.recv_bytes(&buf).len() as u64;
            connection.received += len;
            self.usage.received(slot, len);
            self.counters.bytes_received += len;
            if connection.receiving == Receiving::Once {
                connection.receiving = Receiving::Off;
            }
            match connection {
                Connection { closing: Some(_), .. } => {}
                _ if awaits_head => self.received_head(slot, &buf),
                Connection { tls: Some(_), .. } => {
                    self.received_ciphertext(slot, &Source::Received(&buf));
                }
                _ => self.take_bytes(slot, &Source::Received(&buf)),
            }
        }
        self.reactor.release(buf);
        self.arm(slot);
    }

    /// Gives plain bytes to a session, or keeps them until it hears.
    pub(super) fn take_bytes(&mut self, slot: u32, source: &Source<'_>) {
        let Self { connections, reactor, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        if connection.parked.is_empty() && connection.hears() {
            self.feed(slot, source);
            return;
        }
        // COPY(handover): the session waits for a verdict and the receive buffer goes back.
        connection.parked.extend_from_slice(source.bytes(reactor));
        if self.may_park(slot) {
            self.feed_parked(slot);
        }
    }

    /// Takes bytes that were decrypted; the buffer comes back for the next ones.
    pub(super) fn take_decrypted(&mut self, slot: u32, plain: Vec<u8>) -> Vec<u8> {
        let source = Source::Held(plain);
        self.take_bytes(slot, &source);
        match source {
            Source::Held(plain) => plain,
            Source::Received(_) => Vec::new(),
        }
    }

    /// False if too many bytes wait for a session, which is closed then.
    fn may_park(&mut self, slot: u32) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let limit = connection.session.parking_limit();
        let fits = connection.parked.len() as u64 <= self.config.limits.get(limit);
        if !fits {
            self.fail(slot, &Error::Limit(limit));
        }
        self.account(slot);
        fits
    }

    /// Gives a session the bytes that waited for it.
    pub(super) fn feed_parked(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.parked.is_empty() || !connection.hears() {
            return;
        }
        let parked = std::mem::take(&mut connection.parked);
        self.feed(slot, &Source::Held(parked));
        self.account(slot);
        self.arm(slot);
    }

    fn feed(&mut self, slot: u32, source: &Source<'_>) {
        let len = source.bytes(&self.reactor).len();
        let mut at = 0;
        while at < len {
            let hears = |c: &Connection| c.hears() && c.closing.is_none();
            if !self.connections.get(slot).is_some_and(hears) {
                break;
            }
            let Some(mut connection) = self.connections.take(slot) else { return };
            let (now, pool) = (self.now, &self.pool);
            let bytes = &source.bytes(&self.reactor)[at..];
            let result = fence(&mut connection, |session| session.handle_bytes(now, bytes, pool));
            self.connections.put(slot, connection);
            match result {
                Ok(consumed) => {
                    at += consumed;
                    let parked = self.settle(slot);
                    if consumed == 0 && !parked {
                        break;
                    }
                }
                Err(error) => {
                    self.settle(slot);
                    self.fail(slot, &error);
                    return;
                }
            }
        }
        let rest = &source.bytes(&self.reactor)[at..];
        if rest.is_empty() || self.connections.get(slot).is_none_or(|c| c.closing.is_some()) {
            return;
        }
        // COPY(handover): what follows a publish or play command waits for its verdict.
        let rest = rest.to_vec();
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.parked = [rest, std::mem::take(&mut connection.parked)].concat();
            self.may_park(slot);
        }
    }

    /// Gives a session a word of the shard.
    pub(super) fn tell(&mut self, slot: u32, command: crate::session::Command) {
        let Some(mut connection) = self.connections.take(slot) else { return };
        if let crate::session::Command::Shutdown { reason } = command
            && let Some(playing) = connection.playing_mut()
        {
            playing.over.get_or_insert(reason_of(reason));
            // Who cannot keep up is given no burst.
            if connection.fd.is_none() && reason != "too_slow" {
                self.connections.put(slot, connection);
                self.send_what_waits(slot);
                let Some(again) = self.connections.take(slot) else { return };
                connection = again;
            }
        }
        let now = self.now;
        let span = connection.span();
        if connection.fd.is_none() {
            self.connections.put(slot, connection);
            self.answer_call(slot, &command);
            let Some(again) = self.connections.take(slot) else { return };
            connection = again;
        }
        let result = span
            .in_scope(|| fence(&mut connection, |session| session.handle_command(now, command)));
        self.connections.put(slot, connection);
        self.settle(slot);
        if let Err(error) = result {
            self.fail(slot, &error);
        }
    }

    /// A connection's timer fired: its session, its question, its stall, its farewell.
    pub(super) fn timed_out(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.timer = None;
        }
        if self.question_expired(slot) || self.closing_expired(slot) || self.stalled(slot) {
            return;
        }
        if self.leave_expired(slot) {
            return;
        }
        let due = |c: &Connection| c.session.poll_timeout().is_some_and(|at| at <= self.now);
        if self.connections.get(slot).is_some_and(due) {
            let Some(mut connection) = self.connections.take(slot) else { return };
            let now = self.now;
            // A player in datagrams has a timer every 10 ms, in which it says nothing but at the
            // level of debugging: its span would cost more than all else that is done.
            let is_quiet = connection.fd.is_none()
                && connection.playing().is_some()
                && !tracing::enabled!(tracing::Level::DEBUG);
            let span = if is_quiet { tracing::Span::none() } else { connection.span() };
            let result =
                span.in_scope(|| fence(&mut connection, |session| session.handle_timeout(now)));
            self.connections.put(slot, connection);
            self.go_on_without(slot);
            self.settle(slot);
            if let Err(error) = result {
                self.fail(slot, &error);
                return;
            }
            if self.connections.get(slot).is_some_and(|c| c.session.pull().is_some()) {
                // Its pause is over.
                self.feed_parked(slot);
                self.arm(slot);
            }
        }
        self.rearm(slot);
    }

    /// Drains a session after it was called: its replies, its events, its deadline.
    ///
    /// True if there were events, so that the session may have room for more bytes.
    pub(super) fn settle(&mut self, slot: u32) -> bool {
        let any = self.take_events(slot);
        self.count(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return any };
        if connection.out.rest().len() as u64 > self.config.limits.get(LimitId::ReplyBytesMax) {
            self.fail(slot, &Error::Limit(LimitId::ReplyBytesMax));
            return any;
        }
        self.account(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return any };
        if connection.fd.is_none() {
            self.send_control(slot);
        } else if !connection.out.is_empty() || connection.has_ciphertext() {
            self.enqueue(slot, Class::Reply);
        }
        self.rearm(slot);
        any
    }

    /// Takes the replies and events that a session has; true if there were events.
    pub(super) fn take_events(&mut self, slot: u32) -> bool {
        let mut any = false;
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return any };
            connection.session.poll_transmit(&mut connection.out.bytes);
            let Some(event) = connection.session.poll_event() else { return any };
            any = true;
            self.on_event(slot, event);
        }
    }

    /// Adds what a session counted to what the shard counts.
    fn count(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let counts = connection.session.take_counts();
        self.counters.units_converted += u64::from(counts.units_converted);
        self.counters.http_requests += u64::from(counts.http_requests);
        self.counters.http_not_found += u64::from(counts.http_not_found);
        if counts.http_requests > 0 && connection.closing.is_none() {
            // Who reads pages or asks for the list is a peer like one that plays.
            self.shared.caps.established(&mut connection.admission);
        }
        self.count_datagrams(slot);
    }

    /// Adds what the connection of an SRT peer counted.
    pub(super) fn count_datagrams(&mut self, slot: u32) {
        let Self { connections, counters, .. } = self;
        if let Some(server) = connections.get_mut(slot).and_then(|c| c.session.srt_mut()) {
            counters.srt(&server.take_totals());
        }
    }

    fn on_event(&mut self, slot: u32, event: Event) {
        match event {
            Event::OnBehalf { client, tls } => self.on_behalf(slot, client, tls),
            Event::Authorize { intent, stream, play, .. } if self.is_dialled(slot) => {
                self.begin_dialled(slot, intent, stream, play);
            }
            Event::Authorize { intent, .. } if !self.may_ask(slot, intent) => {}
            Event::Authorize { intent, stream, credentials, play } => {
                let deadline = self.now + self.config.session.authorize_deadline;
                let key = credentials.key.digest();
                let asked = Asked::new(intent, stream, play, key, deadline);
                self.authorize(slot, *credentials, asked);
            }
            Event::Fetch { stream, credentials, viewer } => {
                self.fetch(slot, stream, *credentials, viewer);
            }
            Event::Media(unit) => self.media(slot, unit),
            Event::Config { track, codec, record, dts } => {
                self.with_hub(slot, |hub, sink| {
                    if let Err(error) = hub.set_config(track, codec, &record, dts, sink) {
                        sink.counters.units_dropped_malformed += 1;
                        tracing::warn!(stream = %hub.name(), %error, "configuration dropped");
                    }
                });
            }
            Event::Detail { track, codec, body, dts } => {
                self.with_hub(slot, |hub, sink| hub.set_detail(track, codec, body, dts, sink));
            }
            Event::Metadata { body, dts } => {
                self.with_hub(slot, |hub, sink| hub.set_metadata(body, dts, sink));
            }
            Event::Data { body, .. } => self.with_hub(slot, |hub, sink| hub.push_data(body, sink)),
            Event::Program(program) => {
                let mut viewers = Vec::new();
                self.with_hub(slot, |hub, sink| viewers = hub.set_program(*program, sink));
                self.part(viewers);
                self.push_program(slot);
            }
            Event::Relay(run) => self.relay(slot, run),
            Event::TrackEnded { kind, track } => {
                self.with_hub(slot, |hub, sink| hub.end_track(kind, track, sink));
            }
            Event::MediaDropped { reason } => self.media_dropped(slot, reason),
            Event::PublishEnded => self.publish_ended(slot, CloseReason::PeerClosed),
            Event::Pause => self.pause(slot, true),
            Event::Resume => self.pause(slot, false),
            Event::Filter { audio, video } => self.filter(slot, audio, video),
            Event::PlayEnded => self.play_ended(slot),
            Event::Directory => {
                let directory = self.directory.clone();
                self.tell(slot, crate::session::Command::Directory(directory));
            }
            Event::Challenge { token } => {
                let known = self.challenge.as_ref().filter(|known| known.token == token);
                let answer = known.map(|known| Arc::clone(&known.key_authorization));
                self.tell(slot, crate::session::Command::Challenge(answer));
            }
            Event::Close { reason } => self.close_after_words(slot, reason),
        }
    }

    /// Arms the next receive if the session wants bytes and nothing waits before them.
    pub(super) fn arm(&mut self, slot: u32) {
        let Self { connections, reactor, .. } = self;
        let (token, awaits_head) = (connections.token(slot), connections.awaits_head(slot));
        let Some(connection) = connections.get_mut(slot).filter(|c| c.fd.is_some()) else { return };
        // Who waits for its stream is listened to, that its end is heard.
        let idle = connection.asked.as_ref().is_some_and(|asked| asked.idle);
        let wants = connection.closing.is_some()
            || awaits_head
            || (connection.parked.is_empty() && (idle || connection.hears()));
        // A peer that ended its direction says no more, unless it turns out to be a player: then
        // its end is heard once more, and is the end.
        let ended = connection.half_closed && connection.playing().is_none();
        if !wants || ended || connection.receiving != Receiving::Off {
            return;
        }
        // Before it publishes or plays, a peer holds one receive at a time: it can park at any
        // byte. So does a server that we play from, as it may pause.
        let publishes = connection.publishing().is_some();
        let multi = match connection.session.pull() {
            Some(_) => false,
            None => publishes || connection.playing().is_some(),
        };
        let (mode, state) = if multi {
            (RecvMode::Multi, Receiving::Multi)
        } else {
            (RecvMode::Once, Receiving::Once)
        };
        connection.receiving = state;
        let Some(fd) = connection.fd() else { return };
        if !multi && !publishes {
            // An encoder that waits for our acknowledgement before its next small command (Nagle's
            // algorithm: ffmpeg) would lose 40 ms on each of them.
            crate::reactor::acknowledge_at_once(fd);
        }
        reactor.recv_start(fd, token, mode);
    }

    /// Sets the connection's timer to its nearest deadline.
    pub(super) fn rearm(&mut self, slot: u32) {
        let generation = match self.connections.get(slot) {
            Some(_) => self.connections.token(slot).generation,
            None => return,
        };
        let Self { connections, timers, config, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let Some(at) = connection.deadline(config.egress.stall) else { return };
        match connection.timer {
            // A timer that fires early finds nothing due and is set again: cheaper than moving it
            // on every packet.
            Some(id) if timers.fires_by(id, at) => {}
            Some(id) => {
                timers.replace(id, at);
            }
            None => {
                let key = super::shard::TimerKey::Connection { slot, generation };
                connection.timer = timers.insert(at, key);
            }
        }
    }
}

/// Where bytes for a session lie.
pub(super) enum Source<'a> {
    Received(&'a RecvBuf),
    Held(Vec<u8>),
}

impl Source<'_> {
    pub(super) fn bytes<'s>(&'s self, reactor: &'s Reactor) -> &'s [u8] {
        match self {
            Self::Received(buf) => reactor.recv_bytes(buf),
            Self::Held(bytes) => bytes,
        }
    }
}

impl Connection {
    /// True if its session takes bytes now. A peer that asks without reading the answers is not
    /// heard until it has read them.
    fn hears(&self) -> bool {
        let waits = |tls: &Tls| tls.is_queued() || tls.link.waiting().len() >= REPLIES_PAUSE;
        self.session.wants_bytes()
            && self.out.rest().len() < REPLIES_PAUSE
            && !self.tls.as_deref().is_some_and(waits)
    }

    /// The nearest of its deadlines.
    fn deadline(&self, stall: std::time::Duration) -> Option<Instant> {
        let stalled = match self.sending {
            super::connection::Sending::Blocked => Some(self.progressed() + stall),
            _ => None,
        };
        let question = self.asked.as_ref().map(|asked| asked.deadline);
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let nearest = [self.session.poll_timeout(), stalled, question, closing, self.leave_ends()];
        nearest.into_iter().flatten().min()
    }
}

/// Calls a session behind a fence: a panic of its closes this connection and no other.
pub(super) fn fence<T>(
    connection: &mut Connection,
    call: impl FnOnce(&mut crate::session::Session) -> Result<T, Error>,
) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(|| call(&mut connection.session))).unwrap_or(Err(Error::Panicked))
}
