//! Commands of a peer: which one is allowed where, and what it hears.

use std::time::Instant;

use codecs::amf0::Value;
use codecs::rtmp::command::{Command, code, error, info, result};

use super::reply::MSID;
use super::server::Server;
use super::state::State;
use crate::Error;
use crate::config::LimitId;
use crate::session::Event;

impl Server {
    /// One command message.
    pub(super) fn command(
        &mut self,
        now: Instant,
        msid: u32,
        body: &[u8],
        amf3: bool,
    ) -> Result<(), Error> {
        let command =
            Command::parse(body, &self.amf_limits(), amf3).map_err(|e| self.limit_of(e))?;
        tracing::trace!(name = command.name, state = self.state.name(), "rtmp command");
        match (&self.state, command.name.as_str()) {
            (State::Open, "connect") => self.connect(now, &command),
            (State::Open, _) => Err(self.misbehaved("command before connect")),
            (_, "connect") => Err(self.misbehaved("connect")),
            (_, "publish") => self.publish(now, msid, &command),
            (_, "play") => self.play(now, msid, &command),
            (_, "play2") => self.play2(now, msid, &command),
            (_, "deleteStream") => {
                // Some encoders leave the id out; they have one stream.
                let id = command.args.first().and_then(Value::as_u32).unwrap_or(MSID);
                self.end_stream(now, id);
                Ok(())
            }
            (_, "closeStream") => {
                self.end_stream(now, if msid == 0 { MSID } else { msid });
                Ok(())
            }
            (_, "FCUnpublish") => {
                self.fc_reply("onFCUnpublish", code::UNPUBLISH_SUCCESS, &command);
                if matches!(self.state, State::Publishing(_)) {
                    self.end_stream(now, MSID);
                }
                Ok(())
            }
            (_, "createStream") => self.create_stream(&command),
            (State::Playing(_), "pause" | "pauseRaw") => {
                self.pause(&command);
                Ok(())
            }
            (State::Playing(_), "seek") => {
                self.seek(&command);
                Ok(())
            }
            (State::Playing(_), "receiveAudio" | "receiveVideo") => {
                self.receive(&command);
                Ok(())
            }
            _ => {
                self.answer(&command);
                Ok(())
            }
        }
    }

    fn create_stream(&mut self, command: &Command) -> Result<(), Error> {
        self.streams_created = self.streams_created.saturating_add(1);
        if u64::from(self.streams_created) > self.terms.limits.rtmp_streams_max {
            return Err(Error::Limit(LimitId::RtmpStreamsMax));
        }
        // One stream a connection, always the same: players share bytes that name it.
        let id = Value::Number(f64::from(MSID));
        self.replies.command(0, &result(command.transaction_id, Value::Null, [id]));
        Ok(())
    }

    /// Commands that change nothing here: encoders and players ask them all the same.
    fn answer(&mut self, command: &Command) {
        let transaction = command.transaction_id;
        let wanted = transaction != 0.0;
        match command.name.as_str() {
            "FCPublish" => self.fc_reply("onFCPublish", code::PUBLISH_START, command),
            "FCSubscribe" => self.fc_reply("onFCSubscribe", code::PLAY_START, command),
            "getStreamLength" | "getMovLen" if wanted => {
                // Live streams have no length.
                let length = Value::Number(0.0);
                self.replies.command(0, &result(transaction, Value::Null, [length]));
            }
            "releaseStream" | "_checkbw" | "FCUnsubscribe" | "setPeerInfo" if wanted => {
                self.replies.command(0, &result(transaction, Value::Null, [Value::Undefined]));
            }
            "_result" | "_error" | "onStatus" => {
                tracing::debug!(name = command.name, "an answer to no question is ignored");
            }
            name if wanted => {
                tracing::debug!(name, "unknown command");
                let text = "the procedure does not exist or cannot be called now";
                self.replies.command(0, &error(transaction, code::CALL_FAILED, text));
            }
            name => tracing::debug!(name, state = self.state.name(), "command ignored"),
        }
    }

    /// `onFC...`: Flash Media Live Encoder waits for it, and librtmp for the result beside it.
    fn fc_reply(&mut self, name: &str, code: &str, command: &Command) {
        let stream = command.first_str().unwrap_or_default();
        let level = codecs::rtmp::command::Level::Status;
        let args = vec![info::<&str>(level, code, stream, [])];
        let reply = Command { name: name.into(), transaction_id: 0.0, object: Value::Null, args };
        self.replies.command(0, &reply);
        if command.transaction_id != 0.0 {
            let nothing = result(command.transaction_id, Value::Null, [Value::Undefined]);
            self.replies.command(0, &nothing);
        }
    }

    /// The peer is done with its stream; an id that was never given out names nothing.
    fn end_stream(&mut self, now: Instant, id: u32) {
        let event = match &self.state {
            State::Publishing(publishing) if id == MSID || id == publishing.msid => {
                let msid = publishing.msid;
                self.replies.status(msid, code::UNPUBLISH_SUCCESS, "the publication ended");
                Event::PublishEnded
            }
            State::Playing(_) if id == MSID => Event::PlayEnded,
            _ => return,
        };
        self.events.push_back(event);
        self.deadline = now + self.terms.session.connect_deadline;
        self.transition(State::Connected, "stream_ended_by_peer");
    }
}
