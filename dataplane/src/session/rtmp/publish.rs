//! `publish`, and what the shard answers.
//!
//! Types `live`, `record` and `append` are all taken as live: recording is the node's decision, not
//! the encoder's. A missing type is live, too (old librtmp).

use std::time::Instant;

use codecs::rtmp::command::{Command, code};
use codecs::rtmp::message::UserControl;

use super::limit::chunk_limits;
use super::pace::Supply;
use super::reply::MSID;
use super::server::Server;
use super::state::{Asking, PlayArgs, Publishing, State};
use super::url::{Target, illegal};
use crate::Error;
use crate::config::{LimitId, UrlDialect};
use crate::control::Role;
use crate::session::{Event, Refusal};

impl Server {
    pub(super) fn publish(
        &mut self,
        now: Instant,
        msid: u32,
        command: &Command,
    ) -> Result<(), Error> {
        if !matches!(self.state, State::Connected) {
            let text = "this connection publishes or plays already";
            self.replies.error(msid, code::PUBLISH_BAD_NAME, text);
            return Err(self.misbehaved("publish"));
        }
        let name = command.first_str().unwrap_or_default();
        let Some(target) = self.address.target(name, &self.terms.session) else {
            let text = illegal(self.terms.session.url);
            self.replies.error(msid, code::PUBLISH_BAD_NAME, text);
            return Err(Error::Rejected("bad_name"));
        };
        let play = PlayArgs { duration: None, reset: false };
        // Small encoders publish on stream 0; they get their status there.
        self.ask(now, Role::Publish, target, msid, play);
        Ok(())
    }

    /// Parks the session with its question.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        role: Role,
        target: Target,
        msid: u32,
        play: PlayArgs,
    ) {
        let options = target.params.play(crate::session::Format::Rtmp);
        self.events.push_back(Event::Authorize {
            intent: role.into(),
            stream: target.stream.clone(),
            credentials: target.credentials(),
            play: (role == Role::Play).then_some(options),
        });
        let left = self.deadline.saturating_duration_since(now);
        let asking = Box::new(Asking { role, target, msid, left, play });
        self.transition(State::Asking(asking), role.name());
    }

    pub(super) fn publish_started(&mut self, now: Instant, asking: Asking) {
        let Asking { target, msid, .. } = asking;
        self.replies.user_control(UserControl::StreamBegin(MSID));
        let text = format!("{} is now published", target.stream);
        self.replies.status(msid, code::PUBLISH_START, &text);
        self.reader.set_limits(chunk_limits(&self.terms.limits, LimitId::RtmpPartialBytesMax));
        let supply = Supply::new(now, &self.terms.session);
        let publishing = Box::new(Publishing { stream: target.stream, msid, supply });
        self.transition(State::Publishing(publishing), "publish_started");
    }

    pub(super) fn publish_refused(&mut self, msid: u32, refusal: Refusal) {
        let (code, text) = match refusal {
            // Encoders of the coordinator's contract know one word for a wrong key.
            Refusal::Denied | Refusal::Anonymous | Refusal::WrongKey
                if self.terms.session.url == UrlDialect::ChannelKey =>
            {
                (code::PUBLISH_BAD_NAME, "not allowed to publish here")
            }
            Refusal::Denied | Refusal::Anonymous | Refusal::WrongKey => {
                (code::PUBLISH_DENIED, "not allowed to publish here")
            }
            Refusal::NotFound | Refusal::NoTrack => (code::PUBLISH_BAD_NAME, "no such stream"),
            Refusal::Busy => (code::PUBLISH_BAD_NAME, "the stream is published by somebody else"),
            Refusal::Overloaded | Refusal::Full => {
                (code::CONNECT_REJECTED, "the server has no room")
            }
            Refusal::Unavailable => (code::PUBLISH_DENIED, "nobody can authorise this now"),
            Refusal::Timeout => (code::PUBLISH_DENIED, "authorisation took too long"),
            Refusal::Draining => (code::CONNECT_REJECTED, "the server goes down"),
        };
        self.replies.error(msid, code, text);
    }
}
