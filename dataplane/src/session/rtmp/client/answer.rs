//! Commands of a server: answers to ours, and statuses.

use codecs::amf0::Value;
use codecs::rtmp::command::{Command, code};
use codecs::rtmp::message::Control;

use super::client::{Awaited, Client, State};
use super::event::ClientEvent;
use super::request::Intent;
use crate::Error;
use crate::session::rtmp::limit::{amf_limits, limit_of};

impl Client {
    pub(super) fn commanded(&mut self, body: &[u8], amf3: bool) -> Result<(), Error> {
        let limits = amf_limits(&self.limits);
        let command = Command::parse(body, &limits, amf3).map_err(limit_of)?;
        match command.name.as_str() {
            "_result" => self.answered(command, true),
            "_error" => self.answered(command, false),
            "onStatus" => self.status(&command),
            "onBWDone" | "onFCPublish" | "onFCUnpublish" | "onFCSubscribe" => Ok(()),
            _ => {
                let (name, values) = (command.name, command.args);
                self.events.push_back(ClientEvent::Called { name, values });
                Ok(())
            }
        }
    }

    fn answered(&mut self, command: Command, ok: bool) -> Result<(), Error> {
        let is = |(number, _): &(u32, Awaited)| f64::from(*number) == command.transaction_id;
        let Some(index) = self.awaited.iter().position(is) else { return Ok(()) };
        let Some((transaction, awaited)) = self.awaited.remove(index) else { return Ok(()) };
        match (awaited, ok) {
            (Awaited::Connect, true) if matches!(self.state, State::Connecting) => {
                let properties = command.object;
                let info = command.args.into_iter().next().unwrap_or(Value::Null);
                self.events.push_back(ClientEvent::Connected { properties, info });
                self.control(Control::SetChunkSize(self.chunk_bytes));
                self.writer.set_chunk_size(self.chunk_bytes);
                self.transition(State::Connected, "connect");
                self.create_stream();
            }
            (Awaited::Stream, true) if matches!(self.state, State::Creating) => {
                let msid = command.args.first().and_then(Value::as_u32);
                self.start(msid.ok_or(Error::Rejected("create_stream"))?);
            }
            (Awaited::Connect, _) => {
                self.push_status(command.args.first());
                return Err(Error::Rejected("connect"));
            }
            (Awaited::Stream, _) => {
                self.push_status(command.args.first());
                return Err(Error::Rejected("create_stream"));
            }
            (Awaited::Call, ok) => {
                let values = command.args;
                self.events.push_back(ClientEvent::CallResult { transaction, ok, values });
            }
            (Awaited::Nothing, _) => {}
        }
        Ok(())
    }

    fn status(&mut self, command: &Command) -> Result<(), Error> {
        let info = command.args.first();
        let text = |key| info.and_then(|info| info.get(key)).and_then(Value::as_str);
        let failed = text("level") == Some("error");
        let code = text("code").unwrap_or_default().to_owned();
        self.push_status(info);
        match (&self.state, code.as_str()) {
            (State::Starting, code::PUBLISH_START) if self.intent == Intent::Publish => {
                self.events.push_back(ClientEvent::PublishStarted);
                self.transition(State::Publishing, "publish_started");
            }
            (State::Starting, code::PLAY_START) if self.intent != Intent::Publish => {
                self.events.push_back(ClientEvent::PlayStarted);
                self.transition(State::Playing, "play_started");
            }
            (State::Starting, _) if failed => {
                let publish = self.intent == Intent::Publish;
                return Err(Error::Rejected(if publish { "publish" } else { "play" }));
            }
            (_, code::CONNECT_CLOSED | code::CONNECT_REJECTED | code::CONNECT_APP_SHUTDOWN) => {
                return Err(Error::Rejected("connection_closed"));
            }
            _ => {}
        }
        Ok(())
    }

    fn push_status(&mut self, info: Option<&Value>) {
        let text = |key| {
            let value = info.and_then(|info| info.get(key)).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (level, code) = (text("level"), text("code"));
        let description = text("description");
        // The first is the whole address where the server tells both.
        let ex = info.and_then(|info| info.get("ex"));
        let place = ex.and_then(|ex| ex.get("redirect2").or_else(|| ex.get("redirect")));
        let redirect = place.and_then(Value::as_str).map(str::to_owned);
        self.events.push_back(ClientEvent::Status { level, code, description, redirect });
    }
}
