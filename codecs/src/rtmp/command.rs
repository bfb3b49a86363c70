//! RTMP commands: calls, their results, and `onStatus`.
//!
//! Spec: RTMP 1.0 section 7.2; Enhanced RTMP v2 for what `connect` negotiates.
//! Shape: AMF values in a row: name, transaction id, command object, arguments.
//! Not here: which command is allowed when.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::Error;
use crate::amf0::{self, Limits, Value};

/// The code of a status, as peers compare it.
pub mod code {
    macro_rules! codes {
        ($($name:ident = $text:literal),* $(,)?) => {
            $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)*
        };
    }

    codes! {
        CONNECT_SUCCESS = "NetConnection.Connect.Success",
        CONNECT_REJECTED = "NetConnection.Connect.Rejected",
        CONNECT_FAILED = "NetConnection.Connect.Failed",
        CONNECT_CLOSED = "NetConnection.Connect.Closed",
        CONNECT_INVALID_APP = "NetConnection.Connect.InvalidApp",
        CONNECT_APP_SHUTDOWN = "NetConnection.Connect.AppShutdown",
        CONNECT_RECONNECT_REQUEST = "NetConnection.Connect.ReconnectRequest",
        CALL_FAILED = "NetConnection.Call.Failed",
        PUBLISH_START = "NetStream.Publish.Start",
        PUBLISH_BAD_NAME = "NetStream.Publish.BadName",
        PUBLISH_DENIED = "NetStream.Publish.Denied",
        PUBLISH_IDLE = "NetStream.Publish.Idle",
        UNPUBLISH_SUCCESS = "NetStream.Unpublish.Success",
        PLAY_RESET = "NetStream.Play.Reset",
        PLAY_START = "NetStream.Play.Start",
        PLAY_STOP = "NetStream.Play.Stop",
        PLAY_COMPLETE = "NetStream.Play.Complete",
        PLAY_FAILED = "NetStream.Play.Failed",
        PLAY_BAD_NAME = "NetStream.Play.BadName",
        PLAY_STREAM_NOT_FOUND = "NetStream.Play.StreamNotFound",
        PLAY_PUBLISH_NOTIFY = "NetStream.Play.PublishNotify",
        PLAY_UNPUBLISH_NOTIFY = "NetStream.Play.UnpublishNotify",
        PLAY_INSUFFICIENT_BW = "NetStream.Play.InsufficientBW",
        PAUSE_NOTIFY = "NetStream.Pause.Notify",
        UNPAUSE_NOTIFY = "NetStream.Unpause.Notify",
        SEEK_NOTIFY = "NetStream.Seek.Notify",
        SEEK_FAILED = "NetStream.Seek.Failed",
        SEEK_INVALID_TIME = "NetStream.Seek.InvalidTime",
        RECORD_START = "NetStream.Record.Start",
        RECORD_STOP = "NetStream.Record.Stop",
        RECORD_NO_ACCESS = "NetStream.Record.NoAccess",
        RECORD_FAILED = "NetStream.Record.Failed",
        DATA_START = "NetStream.Data.Start",
        FAILED = "NetStream.Failed",
    }
}

/// A command message.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The procedure, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// What ties a result to its call; 0 if none is wanted.
    pub transaction_id: f64,
    /// The command object; null for most.
    pub object: Value,
    /// What follows.
    pub args: Vec<Value>,
}

impl Command {
    /// Reads a command message's body; `amf3` for message type 17.
    ///
    /// Peers leave trailing values out: the transaction id is then 0 and the object null.
    ///
    /// # Errors
    /// Those of [`amf0::decode`]; [`Error::Invalid`] if there is no name.
    pub fn parse(body: &[u8], limits: &Limits, amf3: bool) -> Result<Self, Error> {
        let mut values = parse_data(body, limits, amf3)?.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(Error::Invalid { what: "rtmp.command.name", value: 0 });
        };
        let transaction_id = values.next().and_then(|value| value.as_f64()).unwrap_or_default();
        let object = values.next().unwrap_or(Value::Null);
        Ok(Self { name, transaction_id, object, args: values.collect() })
    }

    /// Appends the body of a command message of type 20.
    pub fn encode(&self, out: &mut Vec<u8>) {
        amf0::encode(&Value::from(self.name.as_str()), out);
        amf0::encode(&Value::Number(self.transaction_id), out);
        amf0::encode(&self.object, out);
        for arg in &self.args {
            amf0::encode(arg, out);
        }
    }

    /// The first argument's text.
    #[must_use]
    pub fn first_str(&self) -> Option<&str> {
        self.args.first().and_then(Value::as_str)
    }
}

/// Reads the values of a data message; `amf3` for message type 15.
///
/// # Errors
/// Those of [`amf0::decode`].
pub fn parse_data(body: &[u8], limits: &Limits, amf3: bool) -> Result<Vec<Value>, Error> {
    // Types 15 to 17 have a format byte of 0 before AMF0 values; some senders leave it out, and
    // it cannot be a value, as the first one is a string.
    let body = if amf3 { body.strip_prefix(&[0]).unwrap_or(body) } else { body };
    amf0::decode_all(body, limits)
}

/// Appends the body of a data message of type 18.
pub fn encode_data<'a>(values: impl IntoIterator<Item = &'a Value>, out: &mut Vec<u8>) {
    for value in values {
        amf0::encode(value, out);
    }
}

/// How grave a status is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All is well.
    Status,
    /// Something is off.
    Warning,
    /// The operation failed.
    Error,
}

impl Level {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The information object of a status: level, code and description, then `extra`.
#[must_use]
pub fn info<K: Into<String>>(
    level: Level,
    code: &str,
    description: &str,
    extra: impl IntoIterator<Item = (K, Value)>,
) -> Value {
    let fixed = [("level", level.as_str()), ("code", code), ("description", description)];
    let fixed = fixed.into_iter().map(|(key, text)| (key.to_string(), Value::from(text)));
    Value::Object(fixed.chain(extra.into_iter().map(|(key, value)| (key.into(), value))).collect())
}

/// An `onStatus` command.
#[must_use]
pub fn status<K: Into<String>>(
    level: Level,
    code: &str,
    description: &str,
    extra: impl IntoIterator<Item = (K, Value)>,
) -> Command {
    let args = [info(level, code, description, extra)].into();
    Command { name: "onStatus".into(), transaction_id: 0.0, object: Value::Null, args }
}

/// A `_result` command.
#[must_use]
pub fn result(transaction_id: f64, object: Value, args: impl Into<Vec<Value>>) -> Command {
    Command { name: "_result".into(), transaction_id, object, args: args.into() }
}

/// An `_error` command with its information object.
#[must_use]
pub fn error(transaction_id: f64, code: &str, description: &str) -> Command {
    let args = [info::<&str>(Level::Error, code, description, [])].into();
    Command { name: "_error".into(), transaction_id, object: Value::Null, args }
}

/// Bits of `capsEx`.
pub mod caps_ex {
    /// Understands a reconnect request.
    pub const RECONNECT: u32 = 1;
    /// Understands multitrack messages.
    pub const MULTITRACK: u32 = 2;
    /// Understands `ModEx` signals.
    pub const MOD_EX: u32 = 4;
    /// Understands nanosecond offsets.
    pub const NANO_OFFSET: u32 = 8;
}

/// Bits of an entry in a `FourCC` information map.
pub mod four_cc_info {
    /// Can decode.
    pub const CAN_DECODE: u32 = 1;
    /// Can encode.
    pub const CAN_ENCODE: u32 = 2;
    /// Can forward.
    pub const CAN_FORWARD: u32 = 4;
}

/// What a client tells of itself in `connect`; texts are empty and numbers 0 where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The application.
    pub app: String,
    /// The URL that the client dialled.
    pub tc_url: String,
    /// The client's software.
    pub flash_ver: String,
    /// The player's address.
    pub swf_url: String,
    /// The address of the page around it.
    pub page_url: String,
    /// 0 for AMF0, 3 for AMF3.
    pub object_encoding: u32,
    /// `fourCcList`: the codecs of Enhanced RTMP v1.
    pub four_cc_list: Vec<String>,
    /// `videoFourCcInfoMap`: bits of [`four_cc_info`] for each video codec.
    pub video_four_cc_info: Vec<(String, u32)>,
    /// `audioFourCcInfoMap`, likewise.
    pub audio_four_cc_info: Vec<(String, u32)>,
    /// Bits of [`caps_ex`].
    pub caps_ex: u32,
}

impl ConnectInfo {
    /// Reads the command object of a `connect`.
    #[must_use]
    pub fn from_command(command: &Command) -> Self {
        let object = &command.object;
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let number = |key| object.get(key).and_then(Value::as_u32).unwrap_or_default();
        let list = match object.get("fourCcList") {
            Some(Value::StrictArray(elements)) => elements.as_slice(),
            _ => &[],
        };
        Self {
            app: text("app"),
            tc_url: text("tcUrl"),
            flash_ver: text("flashVer"),
            swf_url: text("swfUrl"),
            page_url: text("pageUrl"),
            object_encoding: number("objectEncoding"),
            four_cc_list: list.iter().filter_map(Value::as_str).map(ToString::to_string).collect(),
            video_four_cc_info: info_map(object.get("videoFourCcInfoMap")),
            audio_four_cc_info: info_map(object.get("audioFourCcInfoMap")),
            caps_ex: number("capsEx"),
        }
    }

    /// True if the client says that it can decode or forward this codec in its enhanced form.
    #[must_use]
    pub fn accepts(&self, four_cc: &str) -> bool {
        let names = |name: &str| name == four_cc || name == "*";
        let wanted = four_cc_info::CAN_DECODE | four_cc_info::CAN_FORWARD;
        self.four_cc_list.iter().any(|name| names(name))
            || self
                .video_four_cc_info
                .iter()
                .chain(&self.audio_four_cc_info)
                .any(|(name, bits)| names(name) && bits & wanted != 0)
    }
}

fn info_map(map: Option<&Value>) -> Vec<(String, u32)> {
    let members = map.map(Value::members).unwrap_or_default();
    let entry = |(name, bits): &(String, Value)| bits.as_u32().map(|bits| (name.clone(), bits));
    members.iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn parse(body: &[u8]) -> Result<Command, Error> {
        Command::parse(body, &Limits::default(), false)
    }

    #[test]
    fn commands_survive_the_round_trip() {
        let commands = [
            status(Level::Status, code::PUBLISH_START, "Go.", [("details", Value::from("a"))]),
            result(1.0, Value::Null, [Value::from(1.0)]),
            error(2.0, code::CONNECT_REJECTED, "No."),
        ];
        for command in commands {
            let mut body = Vec::new();
            command.encode(&mut body);
            assert_eq!(parse(&body), Ok(command.clone()));
            body.insert(0, 0);
            assert_eq!(Command::parse(&body, &Limits::default(), true), Ok(command));
        }
    }

    #[test]
    fn a_status_reads_as_players_expect() {
        let command = status::<&str>(Level::Status, code::PLAY_START, "Playing.", []);
        assert_eq!((command.name.as_str(), command.transaction_id), ("onStatus", 0.0));
        let info = &command.args[0];
        assert_eq!(info.get("level").and_then(Value::as_str), Some("status"));
        assert_eq!(info.get("code").and_then(Value::as_str), Some("NetStream.Play.Start"));
        assert_eq!(info.get("description").and_then(Value::as_str), Some("Playing."));
    }

    #[test]
    fn fewer_than_three_values_are_enough() {
        let bare = Command {
            name: "a".into(),
            transaction_id: 0.0,
            object: Value::Null,
            args: Vec::new(),
        };
        assert_eq!(parse(b"\x02\0\x01a"), Ok(bare.clone()));
        assert_eq!(parse(b"\x02\0\x01a\x05"), Ok(bare.clone()));
        let numbered = Command { transaction_id: 1.0, ..bare };
        assert_eq!(parse(b"\x02\0\x01a\0\x3f\xf0\0\0\0\0\0\0"), Ok(numbered));
    }

    #[test]
    fn a_command_needs_a_name() {
        let error = Error::Invalid { what: "rtmp.command.name", value: 0 };
        assert_eq!(parse(b""), Err(error));
        assert_eq!(parse(b"\x05"), Err(error));
    }

    #[test]
    fn the_amf3_format_byte_may_be_missing() {
        let body = b"\x02\0\x01a";
        assert_eq!(Command::parse(body, &Limits::default(), true), parse(body));
    }

    fn connect(object: Value) -> ConnectInfo {
        let name = "connect".into();
        let args = Vec::new();
        ConnectInfo::from_command(&Command { name, transaction_id: 1.0, object, args })
    }

    #[test]
    fn connect_tells_the_client() {
        let info = connect(Value::object([
            ("app", "live".into()),
            ("tcUrl", "rtmp://h/live".into()),
            ("flashVer", "FMLE/3.0".into()),
            ("objectEncoding", 3.0.into()),
            ("capsEx", 15.0.into()),
            ("fourCcList", Value::StrictArray(vec!["av01".into(), Value::Null, "hvc1".into()])),
            ("videoFourCcInfoMap", Value::object([("vp09", 4.0.into()), ("vp08", 2.0.into())])),
            ("audioFourCcInfoMap", Value::object([("*", 1.0.into())])),
        ]));
        assert_eq!((info.app.as_str(), info.tc_url.as_str()), ("live", "rtmp://h/live"));
        assert_eq!((info.flash_ver.as_str(), info.page_url.as_str()), ("FMLE/3.0", ""));
        assert_eq!((info.object_encoding, info.caps_ex), (3, 15));
        assert_eq!(info.caps_ex & caps_ex::RECONNECT, 1);
        assert_eq!(info.four_cc_list, ["av01", "hvc1"]);
        assert_eq!(info.video_four_cc_info, [("vp09".into(), 4), ("vp08".into(), 2)]);
    }

    #[test]
    fn codecs_are_accepted_by_list_map_or_wildcard() {
        let list = |name: &str| {
            connect(Value::object([("fourCcList", Value::StrictArray(vec![name.into()]))]))
        };
        assert!(list("hvc1").accepts("hvc1") && !list("hvc1").accepts("av01"));
        assert!(list("*").accepts("av01"));
        let map = |name: &str, bits: f64| {
            connect(Value::object([(
                "videoFourCcInfoMap",
                Value::object([(name, Value::from(bits))]),
            )]))
        };
        assert!(map("av01", 1.0).accepts("av01") && map("*", 4.0).accepts("av01"));
        assert!(!map("av01", 2.0).accepts("av01"), "a client that only encodes");
        assert!(!connect(Value::Null).accepts("hvc1"));
    }
}
