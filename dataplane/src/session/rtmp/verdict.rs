//! What the shard says to a session, and what the peer hears of it.

use std::sync::Arc;
use std::time::Instant;

use codecs::amf0::Value;
use codecs::rtmp::command::{Level, code, error, info, status};

use super::server::Server;
use super::state::{Entering, Playing, State};
use crate::Error;
use crate::control::Role;
use crate::session::{Command, Event, Refusal};

/// The shard's word for a node that goes down.
const DRAINING: &str = "draining";

impl Server {
    pub(super) fn obey(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.state, &command) {
            (State::Entering(_), Command::ConnectAllowed) => {
                if let Some(entering) = self.entered(now) {
                    self.connected(&entering, "connect_allowed");
                }
            }
            (State::Entering(_), Command::Refused(refusal)) => {
                let refusal = *refusal;
                if let Some(entering) = self.entered(now) {
                    self.connect_refused(entering.transaction, refusal);
                }
                self.end(refusal.name());
            }
            (State::Asking(asking), Command::PublishStarted) if asking.role == Role::Publish => {
                let asking = self.answered(now);
                self.publish_started(now, asking?);
            }
            (State::Asking(asking), Command::PlayStarted) if asking.role == Role::Play => {
                let asking = self.answered(now);
                self.play_started(now, asking?);
            }
            (State::Asking(asking), Command::PlayIdle) if asking.role == Role::Play => {
                let asking = self.answered(now);
                self.play_idle(now, asking?);
            }
            (State::Playing(Playing { idle: true, .. }), Command::PlayStarted) => {
                self.play_began();
            }
            (State::Playing(Playing { idle: false, .. }), Command::PlayIdle) => {
                self.play_waits_again();
            }
            (State::Playing(Playing { idle: true, .. }), Command::Refused(refusal)) => {
                let refusal = *refusal;
                self.play_refused(refusal);
                self.end(refusal.name());
            }
            (State::Asking(asking), Command::Refused(refusal)) => {
                let refusal = *refusal;
                match asking.role {
                    Role::Publish => self.publish_refused(asking.msid, refusal),
                    Role::Play => self.play_refused(refusal),
                }
                self.end(refusal.name());
            }
            (State::Entering(_) | State::Asking(_), Command::Elsewhere(url)) => {
                let url = Arc::clone(url);
                self.send_elsewhere(now, &url)?;
            }
            (State::Playing(Playing { idle: false, .. }), Command::StreamEnded) => {
                self.play_over("the stream ended");
                self.end("stream_ended");
            }
            (State::Publishing(_) | State::Playing(_), Command::Reconnect) if self.reconnects => {
                self.ask_to_reconnect();
            }
            // Told twice, or after the last word was spoken: there is nothing left to do.
            (State::Closing, Command::Shutdown { .. }) => {}
            (_, Command::Shutdown { reason }) => self.shut_down(reason),
            (state, command) => {
                return Err(Error::Misbehaved { state: state.name(), got: command.name() });
            }
        }
        self.replies.check(&self.terms.limits)
    }

    /// The peer hears at which address it may find what it asked for: as an answer to its
    /// `connect`, or for its connection as a whole. Clients of SRS and of Flash know this word.
    fn send_elsewhere(&mut self, now: Instant, url: &str) -> Result<(), Error> {
        const TEXT: &str = "it is elsewhere";
        let application = url.rsplit_once('/').map_or(url, |(application, _)| application);
        let at = |redirect: &str| {
            let fields = [("code", Value::Number(302.0)), ("redirect", Value::from(redirect))];
            let whole = ("redirect2", Value::from(url));
            [("ex", Value::object(fields.into_iter().chain([whole])))]
        };
        if let Some(entering) = self.entered(now) {
            let info = info(Level::Error, code::CONNECT_REJECTED, TEXT, at(url));
            let mut answer = error(entering.transaction, code::CONNECT_REJECTED, TEXT);
            answer.args = vec![info];
            self.replies.command(0, &answer);
        } else {
            self.answered(now)?;
            let status = status(Level::Error, code::CONNECT_REJECTED, TEXT, at(application));
            self.replies.command(0, &status);
        }
        self.end("elsewhere");
        Ok(())
    }

    /// Takes the `connect` that was answered, and lets the connect deadline run on.
    fn entered(&mut self, now: Instant) -> Option<Box<Entering>> {
        match std::mem::replace(&mut self.state, State::Open) {
            State::Entering(entering) => {
                self.deadline = now + entering.left;
                Some(entering)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Takes the question that was answered, and lets the connect deadline run on.
    fn answered(&mut self, now: Instant) -> Result<super::state::Asking, Error> {
        match std::mem::replace(&mut self.state, State::Connected) {
            State::Asking(asking) => {
                self.deadline = now + asking.left;
                Ok(*asking)
            }
            other => {
                self.state = other;
                Err(self.misbehaved("verdict"))
            }
        }
    }

    /// The peer goes to another node, or comes back, when it likes; until then nothing changes.
    fn ask_to_reconnect(&mut self) {
        let url = self.terms.session.reconnect_url.as_ref();
        let details = url.map(|url| ("tcUrl", Value::from(url.as_str())));
        let text = "the server goes down and serves on until it does";
        let request = status(Level::Status, code::CONNECT_RECONNECT_REQUEST, text, details);
        self.replies.command(0, &request);
    }

    fn shut_down(&mut self, reason: &'static str) {
        match &self.state {
            State::Playing(Playing { idle: false, .. }) => {
                self.play_over("the session was closed");
            }
            State::Publishing(publishing) => {
                let msid = publishing.msid;
                self.replies.status(msid, code::UNPUBLISH_SUCCESS, "the session was closed");
            }
            State::Entering(entering) => {
                let (transaction, going) = (entering.transaction, reason == DRAINING);
                let refusal = if going { Refusal::Draining } else { Refusal::Denied };
                self.connect_refused(transaction, refusal);
            }
            _ => {}
        }
        let connected = !matches!(
            self.state,
            State::Hello(_) | State::Ack(_) | State::Open | State::Entering(_)
        );
        if connected {
            let code = match reason {
                DRAINING => code::CONNECT_APP_SHUTDOWN,
                _ => code::CONNECT_CLOSED,
            };
            self.replies.status(0, code, reason);
        }
        self.end(reason);
    }

    fn end(&mut self, reason: &'static str) {
        self.events.push_back(Event::Close { reason });
        self.transition(State::Closing, reason);
    }
}
