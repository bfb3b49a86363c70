//! What a client asks of a server.

use codecs::amf0::Value;
use codecs::rtmp::command::{Command, caps_ex, four_cc_info};
use codecs::rtmp::message::UserControl;

use super::client::{Awaited, Client, State};
use crate::Error;
use crate::session::rtmp::connect::names;

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intent {
    /// To publish the address's stream.
    Publish,
    /// To play it.
    Play {
        /// Seconds into a recording, -1 for live only, -2 for live or else recorded.
        start: f64,
        /// Seconds to play, -1 for all.
        duration: f64,
        /// Whether earlier streams of the playlist are forgotten.
        reset: bool,
    },
    /// Nothing but calls.
    Call,
}

/// How long a server may buffer for us.
const BUFFER_MS: u32 = 3_000;

impl Client {
    /// `connect` with everything that servers look at.
    pub(super) fn connect(&mut self) {
        let address = &self.address;
        let list = names(None).map(|name| Value::from(name.as_str())).collect();
        let flags = f64::from(four_cc_info::CAN_DECODE | four_cc_info::CAN_FORWARD);
        let map = || Value::object([("*", Value::Number(flags))]);
        let caps = caps_ex::MULTITRACK | caps_ex::MOD_EX | caps_ex::NANO_OFFSET;
        let object = Value::object([
            ("app", Value::from(address.app.as_str())),
            ("flashVer", Value::from(self.flash_ver.as_str())),
            ("tcUrl", Value::from(address.tc_url.as_str())),
            ("fpad", Value::Boolean(false)),
            ("capabilities", Value::Number(15.0)),
            ("audioCodecs", Value::Number(4071.0)),
            ("videoCodecs", Value::Number(252.0)),
            ("videoFunction", Value::Number(1.0)),
            ("objectEncoding", Value::Number(0.0)),
            ("fourCcList", Value::StrictArray(list)),
            ("videoFourCcInfoMap", map()),
            ("audioFourCcInfoMap", map()),
            ("capsEx", Value::Number(f64::from(caps))),
        ]);
        self.request("connect", object, Vec::new(), Awaited::Connect);
    }

    /// After `connect`: what the intent needs until the stream exists.
    pub(super) fn create_stream(&mut self) {
        let stream = Value::from(self.address.stream.0.as_str());
        match self.intent {
            Intent::Call => return,
            Intent::Publish => {
                self.request("releaseStream", Value::Null, vec![stream.clone()], Awaited::Nothing);
                self.request("FCPublish", Value::Null, vec![stream], Awaited::Nothing);
            }
            Intent::Play { .. } => {}
        }
        self.request("createStream", Value::Null, Vec::new(), Awaited::Stream);
        self.transition(State::Creating, "create_stream");
    }

    /// After `createStream`: the intent itself.
    pub(super) fn start(&mut self, msid: u32) {
        self.msid = msid;
        let stream = Value::from(self.address.stream.0.as_str());
        let (name, args) = match self.intent {
            Intent::Call => return,
            Intent::Publish => ("publish", vec![stream, Value::from("live")]),
            Intent::Play { start, duration, reset } => {
                let numbers = [Value::Number(start), Value::Number(duration)];
                let args = [stream].into_iter().chain(numbers).chain([Value::Boolean(reset)]);
                ("play", args.collect())
            }
        };
        self.stream_command(name, args);
        if let Intent::Play { .. } = self.intent {
            self.user_control(UserControl::SetBufferLength { msid, ms: BUFFER_MS });
        }
        self.transition(State::Starting, name);
    }

    /// Calls a procedure of the server; the number comes back with
    /// [`ClientEvent::CallResult`](super::ClientEvent::CallResult).
    ///
    /// # Errors
    /// [`Error::Misbehaved`] before the connection stands.
    pub fn call(&mut self, name: &str, args: Vec<Value>) -> Result<u32, Error> {
        self.connected("call")?;
        Ok(self.request(name, Value::Null, args, Awaited::Call))
    }

    /// Pauses or resumes a play at `ms`.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] unless playing.
    pub fn pause(&mut self, pause: bool, ms: u32) -> Result<(), Error> {
        self.playing("pause")?;
        let args = vec![Value::Boolean(pause), Value::Number(f64::from(ms))];
        self.stream_command("pause", args);
        Ok(())
    }

    /// Seeks a play to `ms`.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] unless playing.
    pub fn seek(&mut self, ms: u32) -> Result<(), Error> {
        self.playing("seek")?;
        self.stream_command("seek", vec![Value::Number(f64::from(ms))]);
        Ok(())
    }

    /// Wants audio and video, or not.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] unless playing.
    pub fn receive(&mut self, audio: bool, video: bool) -> Result<(), Error> {
        self.playing("receive")?;
        self.stream_command("receiveAudio", vec![Value::Boolean(audio)]);
        self.stream_command("receiveVideo", vec![Value::Boolean(video)]);
        Ok(())
    }

    /// Ends the publication or play; the connection stays.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] without a stream.
    pub fn delete_stream(&mut self) -> Result<(), Error> {
        if !matches!(self.state, State::Publishing | State::Playing | State::Starting) {
            return Err(self.misbehaved("delete_stream"));
        }
        if self.intent == Intent::Publish {
            let stream = Value::from(self.address.stream.0.as_str());
            self.request("FCUnpublish", Value::Null, vec![stream], Awaited::Nothing);
        }
        let id = Value::Number(f64::from(self.msid));
        self.request("deleteStream", Value::Null, vec![id], Awaited::Nothing);
        self.transition(State::Connected, "delete_stream");
        Ok(())
    }

    fn connected(&self, got: &'static str) -> Result<(), Error> {
        match self.state {
            State::Hello(_) | State::Connecting | State::Closed => Err(self.misbehaved(got)),
            _ => Ok(()),
        }
    }

    fn playing(&self, got: &'static str) -> Result<(), Error> {
        if matches!(self.state, State::Playing) { Ok(()) } else { Err(self.misbehaved(got)) }
    }

    fn request(&mut self, name: &str, object: Value, args: Vec<Value>, awaited: Awaited) -> u32 {
        self.transaction += 1;
        let transaction = self.transaction;
        self.await_answer(transaction, awaited);
        let transaction_id = f64::from(transaction);
        self.command(0, &Command { name: name.into(), transaction_id, object, args });
        transaction
    }

    fn stream_command(&mut self, name: &str, args: Vec<Value>) {
        let command = Command { name: name.into(), transaction_id: 0.0, object: Value::Null, args };
        self.command(self.msid, &command);
    }
}
