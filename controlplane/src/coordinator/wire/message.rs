//! Message: what each frame means.
//!
//! Errors: a parameter that the message needs is missing, or is longer than it may be. A type that
//! nobody knows is [`Message::Unknown`], which both sides ignore.
//! Not here: whether a channel or a key is one, which its reader judges.

use dataplane::ids::{Secret, StreamId};

use super::frame::{Flaw, Frame};
use super::role::Role;
use crate::coordinator::policy::{Policy, Resolutions};

const REQUEST: &str = "Request-ID";
const CHANNEL: &str = "Stream-Channel";
const ID: &str = "Stream-ID";

/// Bytes of the path of an index at most.
const PATH_BYTES_MAX: usize = 512;
/// Letters of when something begins at most: seconds with as many digits as anybody counts.
const START_BYTES_MAX: usize = 32;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// "I am there."
    Heartbeat,
    /// Something went wrong; it is only logged.
    Error {
        /// One word.
        code: String,
        /// A sentence.
        message: String,
    },
    /// A publisher wants to begin.
    PublishRequest {
        /// The server's own number of the question.
        request: String,
        /// The channel.
        channel: String,
        /// What he shows.
        key: Secret,
        /// Where he comes from.
        user_ip: String,
    },
    /// He may.
    PublishAccept {
        /// The number of the question.
        request: String,
        /// The channel.
        channel: String,
        /// His publication.
        id: String,
    },
    /// He may not.
    PublishDeny {
        /// The number of the question.
        request: String,
        /// The channel.
        channel: String,
    },
    /// He is gone.
    PublishEnd {
        /// The channel.
        channel: String,
        /// His publication.
        id: String,
    },
    /// He has to go; `*` and nothing mean whoever publishes the channel.
    StreamKill {
        /// The channel.
        channel: String,
        /// The publication.
        id: String,
    },
    /// An encoder takes so many streams; `None` for as many as come.
    Register {
        /// Streams at one time.
        capacity: Option<u32>,
    },
    /// A stream is to be encoded.
    EncodeStart(Task),
    /// It is over.
    EncodeStop {
        /// The channel.
        channel: String,
        /// The publication.
        id: String,
    },
    /// Something of a stream can be played.
    StreamAvailable {
        /// The channel.
        channel: String,
        /// The publication.
        id: String,
        /// What.
        output: Output,
    },
    /// Nothing more comes of a stream.
    StreamClosed {
        /// The channel.
        channel: String,
        /// The publication.
        id: String,
    },
    /// Of a type that nobody knows.
    Unknown,
}

/// What an encoder is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The channel.
    pub channel: String,
    /// The publication.
    pub id: String,
    /// How it is pulled.
    pub source: Source,
    /// Where it is pulled; the key is in it.
    pub uri: Secret,
    /// What is made of it.
    pub policy: Policy,
}

/// How an encoder pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By RTMP.
    Rtmp,
    /// By WebSocket.
    Ws,
}

impl Source {
    /// How a server of that role is pulled from.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Rtmp => Self::Rtmp,
            Role::Wss | Role::Hls => Self::Ws,
        }
    }

    /// As the contract writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "RTMP",
            Self::Ws => "WS",
        }
    }
}

/// Something that can be played.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Output {
    /// What it is.
    pub kind: OutputKind,
    /// Its size and pace.
    pub resolution: String,
    /// Its index, below the storage's root.
    pub index_file: String,
    /// Where a part begins, in seconds; empty for the beginning.
    pub start_time: String,
}

impl Output {
    /// The live playlist of a publication, where the contract has it.
    #[must_use]
    pub fn live(channel: &str, id: StreamId, resolution: &str) -> Self {
        Self {
            kind: OutputKind::Live,
            resolution: resolution.to_owned(),
            index_file: format!("hls/{channel}/{id}/{resolution}/live.m3u8"),
            start_time: String::new(),
        }
    }
}

/// What can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OutputKind {
    /// The live stream.
    #[serde(rename = "HLS-LIVE")]
    Live,
    /// Its recording.
    #[serde(rename = "HLS-VOD")]
    Vod,
    /// Pictures of it.
    #[serde(rename = "IMG-PREVIEW")]
    Previews,
}

impl OutputKind {
    /// As the contract writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "HLS-LIVE",
            Self::Vod => "HLS-VOD",
            Self::Previews => "IMG-PREVIEW",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let kinds = [Self::Live, Self::Vod, Self::Previews];
        kinds.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

impl Message {
    /// Reads a text.
    ///
    /// Errors: it is no frame, or something of the message is missing.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let frame = Frame::parse(text)?;
        let owned = |name| frame.word(name).map(str::to_owned);
        let needed = |name| match owned(name)? {
            word if word.is_empty() => Err(Flaw::Missing(name)),
            word => Ok(word),
        };
        Ok(match frame.kind() {
            "HEARTBEAT" => Self::Heartbeat,
            "ERROR" => {
                let message = frame.value("Error-Message")?.to_owned();
                Self::Error { code: owned("Error-Code")?, message }
            }
            "PUBLISH-REQUEST" => Self::PublishRequest {
                request: needed(REQUEST)?,
                channel: owned(CHANNEL)?,
                key: Secret(owned("Stream-Key")?),
                user_ip: owned("User-IP")?,
            },
            "PUBLISH-ACCEPT" => Self::PublishAccept {
                request: needed(REQUEST)?,
                channel: needed(CHANNEL)?,
                id: needed(ID)?,
            },
            "PUBLISH-DENY" => {
                Self::PublishDeny { request: needed(REQUEST)?, channel: owned(CHANNEL)? }
            }
            "PUBLISH-END" => Self::PublishEnd { channel: needed(CHANNEL)?, id: owned(ID)? },
            "STREAM-KILL" => Self::StreamKill { channel: needed(CHANNEL)?, id: owned(ID)? },
            "REGISTER" => Self::Register { capacity: capacity(frame.needed("Capacity")?)? },
            "ENCODE-START" => Self::EncodeStart(task(&frame)?),
            "ENCODE-STOP" => Self::EncodeStop { channel: needed(CHANNEL)?, id: owned(ID)? },
            "STREAM-AVAILABLE" => Self::StreamAvailable {
                channel: needed(CHANNEL)?,
                id: needed(ID)?,
                output: output(&frame)?,
            },
            "STREAM-CLOSED" => Self::StreamClosed { channel: needed(CHANNEL)?, id: owned(ID)? },
            _ => Self::Unknown,
        })
    }

    /// The text of one frame.
    #[must_use]
    pub fn to_text(&self) -> String {
        let about = |kind, channel: &String, id: &String| {
            Frame::new(kind).with(CHANNEL, channel).with(ID, id)
        };
        match self {
            Self::Heartbeat => Frame::new("HEARTBEAT"),
            Self::Error { code, message } => {
                Frame::new("ERROR").with("Error-Code", code).with("Error-Message", message)
            }
            Self::PublishRequest { request, channel, key, user_ip } => {
                Frame::new("PUBLISH-REQUEST")
                    .with(REQUEST, request)
                    .with(CHANNEL, channel)
                    .with("Stream-Key", &key.0)
                    .with("User-IP", user_ip)
            }
            Self::PublishAccept { request, channel, id } => {
                about("PUBLISH-ACCEPT", channel, id).with(REQUEST, request)
            }
            Self::PublishDeny { request, channel } => {
                Frame::new("PUBLISH-DENY").with(REQUEST, request).with(CHANNEL, channel)
            }
            Self::PublishEnd { channel, id } => about("PUBLISH-END", channel, id),
            Self::StreamKill { channel, id } => about("STREAM-KILL", channel, id),
            Self::Register { capacity } => {
                Frame::new("REGISTER").with("Capacity", capacity.map_or(-1, i64::from))
            }
            Self::EncodeStart(task) => about("ENCODE-START", &task.channel, &task.id)
                .with("Stream-Source-Type", task.source.name())
                .with("Stream-Source-URI", &task.uri.0)
                .with("Resolutions", &task.policy.resolutions)
                .with("Record", if task.policy.record { "True" } else { "False" })
                .with(
                    "Previews",
                    task.policy
                        .previews
                        .map_or("False".to_owned(), |previews| previews.to_string()),
                ),
            Self::EncodeStop { channel, id } => about("ENCODE-STOP", channel, id),
            Self::StreamAvailable { channel, id, output } => {
                let frame = about("STREAM-AVAILABLE", channel, id)
                    .with("Stream-Type", output.kind.name())
                    .with("Resolution", &output.resolution)
                    .with("Index-file", &output.index_file);
                match output.start_time.as_str() {
                    "" => frame,
                    start => frame.with("Start-Time", start),
                }
            }
            Self::StreamClosed { channel, id } => about("STREAM-CLOSED", channel, id),
            Self::Unknown => Frame::default(),
        }
        .to_string()
    }
}

/// Streams at one time: a negative number means as many as come, 0 none.
fn capacity(text: &str) -> Result<Option<u32>, Flaw> {
    let number: i64 = text.parse().map_err(|_| Flaw::Value("Capacity"))?;
    Ok(if number < 0 { None } else { Some(u32::try_from(number).unwrap_or(u32::MAX)) })
}

fn task(frame: &Frame) -> Result<Task, Flaw> {
    let is =
        |name, word: &str| frame.value(name).map(|value: &str| value.eq_ignore_ascii_case(word));
    let policy = Policy {
        record: is("Record", "true")?,
        previews: frame.value("Previews")?.parse().ok(),
        // What is not understood is left out: a stream with less is better than none.
        resolutions: Resolutions::read(frame.value("Resolutions")?).0,
    };
    Ok(Task {
        channel: frame.needed(CHANNEL)?.to_owned(),
        id: frame.needed(ID)?.to_owned(),
        source: if is("Stream-Source-Type", "ws")? { Source::Ws } else { Source::Rtmp },
        uri: Secret(frame.needed("Stream-Source-URI")?.to_owned()),
        policy,
    })
}

fn output(frame: &Frame) -> Result<Output, Flaw> {
    let kind = frame.needed("Stream-Type")?;
    let start = frame.value("Start-Time")?;
    let is_time = |text: &str| {
        let time = text.parse::<f64>();
        text.len() <= START_BYTES_MAX && time.is_ok_and(|time| time.is_finite() && time > 0.0)
    };
    // They become headers of requests, in which other letters are none.
    let plain = |name: &'static str, value: &str| {
        let legal = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if legal && value.len() <= PATH_BYTES_MAX {
            Ok(value.to_owned())
        } else {
            Err(Flaw::Value(name))
        }
    };
    Ok(Output {
        kind: OutputKind::parse(kind).ok_or(Flaw::Value("Stream-Type"))?,
        resolution: plain("Resolution", frame.value("Resolution")?)?,
        index_file: plain("Index-file", frame.needed("Index-file")?)?,
        start_time: if is_time(start) { start.to_owned() } else { String::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::super::frame::WORD_BYTES_MAX;
    use super::*;

    fn every_message() -> Vec<Message> {
        let text = str::to_owned;
        let (request, channel, id) = (text("7"), text("cam7"), text("0a"));
        let (key, user_ip) = (Secret(text("k-1")), text("2001:db8::1"));
        let policy = Policy {
            record: true,
            previews: "256x144,3".parse().ok(),
            resolutions: "ORIGINAL,640x360-30~800".parse().unwrap(),
        };
        let task = |source, policy| Task {
            channel: text("cam7"),
            id: text("0a"),
            source,
            uri: Secret(text("rtmp://[::1]:1935/cam7/k-1")),
            policy,
        };
        let available = |kind, start: &str| Message::StreamAvailable {
            channel: text("cam7"),
            id: text("0a"),
            output: Output {
                kind,
                resolution: text("640x360-30"),
                index_file: text("hls/cam7/0a/640x360-30/live.m3u8"),
                start_time: text(start),
            },
        };
        let about = || (text("cam7"), text("0a"));
        let [end, kill, stop, closed] = [about(), about(), about(), about()];
        vec![
            Message::Heartbeat,
            Message::Error { code: text("E"), message: text("it broke: twice") },
            Message::PublishRequest { request: request.clone(), channel: text(""), key, user_ip },
            Message::PublishAccept { request: request.clone(), channel: channel.clone(), id },
            Message::PublishDeny { request, channel },
            Message::PublishEnd { channel: end.0, id: end.1 },
            Message::StreamKill { channel: kill.0, id: text("*") },
            Message::StreamKill { channel: text("cam7"), id: text("") },
            Message::Register { capacity: None },
            Message::Register { capacity: Some(0) },
            Message::EncodeStart(task(Source::Rtmp, policy)),
            Message::EncodeStart(task(Source::Ws, Policy::default())),
            Message::EncodeStop { channel: stop.0, id: stop.1 },
            available(OutputKind::Live, ""),
            available(OutputKind::Vod, "61.5"),
            available(OutputKind::Previews, ""),
            Message::StreamClosed { channel: closed.0, id: closed.1 },
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in every_message() {
            let text = message.to_text();
            assert_eq!(Message::parse(&text), Ok(message), "{text}");
        }
        assert_eq!(Message::parse("GREETING\nA: b"), Ok(Message::Unknown));
        assert_eq!(Message::parse(""), Ok(Message::Unknown));
    }

    #[test]
    fn an_encode_start_has_the_names_of_the_contract() {
        let task = every_message().into_iter().find(|message| {
            matches!(message, Message::EncodeStart(Task { source: Source::Rtmp, .. }))
        });
        let text = task.unwrap().to_text();
        let mut lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.remove(0), "ENCODE-START");
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "Previews: 256x144,3",
                "Record: True",
                "Resolutions: ORIGINAL,640x360-30~800",
                "Stream-Channel: cam7",
                "Stream-ID: 0a",
                "Stream-Source-Type: RTMP",
                "Stream-Source-URI: rtmp://[::1]:1935/cam7/k-1",
            ]
        );
    }

    #[test]
    fn what_is_missing_or_too_long_is_named() {
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        for (text, flaw) in [
            ("PUBLISH-REQUEST\nStream-Channel: a", Flaw::Missing("Request-ID")),
            ("PUBLISH-ACCEPT\nRequest-ID: 1\nStream-Channel: a", Flaw::Missing("Stream-ID")),
            ("PUBLISH-END\nStream-ID: 1", Flaw::Missing("Stream-Channel")),
            (&format!("PUBLISH-END\nStream-Channel: {long}"), Flaw::Value("Stream-Channel")),
            (&format!("PUBLISH-REQUEST\nRequest-ID: {long}"), Flaw::Value("Request-ID")),
            ("REGISTER", Flaw::Missing("Capacity")),
            ("REGISTER\nCapacity: many", Flaw::Value("Capacity")),
            ("ENCODE-START\nStream-Channel: a\nStream-ID: 1", Flaw::Missing("Stream-Source-URI")),
            (
                "STREAM-AVAILABLE\nStream-Channel: a\nStream-ID: 1\nStream-Type: DASH\n\
                 Index-file: x",
                Flaw::Value("Stream-Type"),
            ),
            (
                "STREAM-AVAILABLE\nStream-Channel: a\nStream-ID: 1\nStream-Type: HLS-VOD",
                Flaw::Missing("Index-file"),
            ),
            (
                "STREAM-AVAILABLE\nStream-Channel: a\nStream-ID: 1\nStream-Type: HLS-VOD\n\
                 Index-file: ü",
                Flaw::Value("Index-file"),
            ),
        ] {
            assert_eq!(Message::parse(text), Err(flaw), "{text}");
        }
    }

    #[test]
    fn a_capacity_below_nothing_is_any_and_a_huge_one_is_one() {
        for (text, capacity) in
            [("-1", None), ("-9", None), ("0", Some(0)), ("9999999999", Some(u32::MAX))]
        {
            let register = Message::parse(&format!("register\ncapacity:{text}"));
            assert_eq!(register, Ok(Message::Register { capacity }));
        }
    }

    #[test]
    fn a_start_time_of_more_letters_than_a_time_has_is_none() {
        let told = |start: &str| {
            let head = "STREAM-AVAILABLE\nStream-Channel: a\nStream-ID: 1";
            let text = format!("{head}\nStream-Type: HLS-VOD\nIndex-file: x\nStart-Time: {start}");
            let Ok(Message::StreamAvailable { output, .. }) = Message::parse(&text) else {
                panic!("{text}")
            };
            output.start_time
        };
        let time = |digits: usize| format!("61.{}", "5".repeat(digits));
        assert_eq!(told(&time(29)), time(29));
        assert_eq!(told(&time(30)), "");
    }

    #[test]
    fn keys_are_not_shown() {
        for message in every_message() {
            assert!(!format!("{message:?}").contains("k-1"), "{message:?}");
        }
    }
}
