//! A peer that we call: its session until it answers, and what is particular about it then.
//!
//! Shape: nobody is asked whether it may be called. It is named by [`Event::Authorize`] all the
//! same, once its connection stands, and begins as one that was let in.
//! Limits: those of [`Caller`] and [`Rendezvous`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use codecs::srt::{RejectReason, SocketId};

use super::caller::{Caller, Progress};
use super::close_reason::CloseReason;
use super::rendezvous::Rendezvous;
use super::server::{Server, State};
use super::target;
use super::transmit::Scratch;
use crate::config::Terms;
use crate::control::Role;
use crate::ids::StreamName;
use crate::session::mpegts::TransportTerms;
use crate::session::rtmp::Params;
use crate::session::{Credentials, Event, Format, Framing, PlayOptions};

/// What is particular about a peer that was called.
#[derive(Debug)]
pub(super) struct Called {
    /// Why it did not take the call.
    pub(super) refused: Option<RejectReason>,
}

/// How a peer is called.
#[derive(Debug)]
pub enum Attempt {
    /// It listens.
    Call(Caller),
    /// It calls us, too.
    Meet(Rendezvous),
}

/// Whom a session calls, and for what.
#[derive(Debug)]
pub struct Outgoing {
    /// The call.
    pub attempt: Attempt,
    /// What the peer will do: publish to us, or play from us.
    pub role: Role,
    /// Which of our streams.
    pub stream: StreamName,
    /// The socket of the shard by which it is called.
    pub port: u8,
    /// What is chosen of its transport stream.
    pub transport: TransportTerms,
}

impl Server {
    /// Calls a peer.
    #[must_use]
    pub fn calling(outgoing: Outgoing, terms: &Arc<Terms>) -> Self {
        let Outgoing { attempt, role, stream, port, transport } = outgoing;
        let (socket, terms) = (Some(attempt.socket()), Arc::clone(terms));
        Self {
            state: State::Calling(Box::new(attempt)),
            role,
            stream,
            agent: Arc::from("srt"),
            port,
            socket,
            is_anonymous: true,
            called: Some(Box::new(Called { refused: None })),
            events: VecDeque::new(),
            terms,
            transport: Some(Box::new(transport)),
        }
    }

    /// True if we called the peer.
    #[must_use]
    pub const fn is_called(&self) -> bool {
        self.called.is_some()
    }

    /// Why the peer did not take the call, if it did not.
    #[must_use]
    pub fn refused_with(&self) -> Option<RejectReason> {
        self.called.as_deref().and_then(|called| called.refused)
    }

    /// How far the call is.
    pub(super) fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Waiting => {}
            Progress::Connected(connection) => {
                if let State::Calling(caller) = &self.state {
                    self.agent = target::agent(caller.peer_version());
                }
                self.entered("calling", State::Open(Box::new((None, *connection))), "connected");
                let options = Params::default().play(Format::MpegTs);
                let options = PlayOptions { framing: Framing::Srt, ..options };
                self.events.push_back(Event::Authorize {
                    intent: self.role.into(),
                    stream: self.stream.clone(),
                    credentials: Box::new(Credentials::default()),
                    play: (self.role == Role::Play).then_some(options),
                });
            }
            Progress::Refused(reason) => {
                if let Some(called) = &mut self.called {
                    called.refused = Some(reason);
                }
                tracing::info!(code = reason.0, %reason, "the peer does not take the call");
                self.transition(State::Over(None), "refused");
                self.say_over("refused");
            }
        }
    }

    /// A peer that we called hears that we end what stands; others were not answered yet.
    pub(super) fn take_back(&mut self, reason: &'static str) {
        let prev = self.state_name();
        let over = match std::mem::replace(&mut self.state, State::Over(None)) {
            State::Open(open) if self.is_called() => {
                let mut connection = open.1;
                connection.close(CloseReason::Closed(reason));
                State::Over(Some(Box::new(connection)))
            }
            _ => State::Over(None),
        };
        self.entered(prev, over, reason);
    }

    /// The peer may have answered.
    pub(super) fn handle_call(&mut self, now: Instant, datagram: &[u8]) {
        if let State::Calling(caller) = &mut self.state {
            let progress = caller.handle_datagram(now, datagram);
            self.progress(progress);
        }
    }

    /// The call may take no longer.
    pub(super) fn call_timeout(&mut self, now: Instant) {
        if let State::Calling(caller) = &mut self.state {
            let progress = caller.handle_timeout(now);
            self.progress(progress);
        }
    }
}

/// Calls the same of either.
macro_rules! each {
    ($self:ident, $attempt:ident => $call:expr) => {
        match $self {
            Self::Call($attempt) => $call,
            Self::Meet($attempt) => $call,
        }
    };
}

impl Attempt {
    /// Our socket.
    const fn socket(&self) -> SocketId {
        each!(self, attempt => attempt.call.socket)
    }

    const fn peer_version(&self) -> u32 {
        each!(self, attempt => attempt.peer_version)
    }

    pub(super) const fn awaits_keys(&self) -> bool {
        each!(self, attempt => attempt.awaits_keys())
    }

    pub(super) fn derive_keys(&mut self) {
        each!(self, attempt => attempt.derive_keys());
    }

    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Progress {
        each!(self, attempt => attempt.handle_datagram(now, datagram))
    }

    fn handle_timeout(&mut self, now: Instant) -> Progress {
        each!(self, attempt => attempt.handle_timeout(now))
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        each!(self, attempt => attempt.poll_transmit(now, out))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        each!(self, attempt => attempt.poll_timeout())
    }
}
