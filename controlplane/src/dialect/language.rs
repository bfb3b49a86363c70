//! Language: the dialects, a closed set, and what each can say.

use dataplane::control::{AuthorizeRequest, Intent, Role};
use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::claim::Asker;
use super::note::Note;
use super::peer::Peer;
use super::reply::Reply;
use super::{mediamtx, nginx_rtmp, rtmp_event, srs, zlmediakit};
use crate::events::{Event, Party};
use crate::outbound::Answer;

/// How an application is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// As this server does.
    #[default]
    Native,
    /// As the RTMP servers do that sign a header `rtmp-event`.
    RtmpEvent,
    /// As nginx-rtmp-module does.
    NginxRtmp,
    /// As SRS does.
    Srs,
    /// As ZLMediaKit does.
    Zlmediakit,
    /// As MediaMTX does.
    Mediamtx,
}

impl Dialect {
    /// What is told of each player that leaves, in any dialect.
    pub const OF_PLAYERS: [&str; 4] = ["play_done", "done", "on_stop", "on_flow_report"];

    /// Every dialect.
    pub const ALL: [Self; 6] = [
        Self::Native,
        Self::RtmpEvent,
        Self::NginxRtmp,
        Self::Srs,
        Self::Zlmediakit,
        Self::Mediamtx,
    ];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::RtmpEvent => "rtmp-event",
            Self::NginxRtmp => "nginx-rtmp",
            Self::Srs => "srs",
            Self::Zlmediakit => "zlmediakit",
            Self::Mediamtx => "mediamtx",
        }
    }

    /// True if it is ours.
    #[must_use]
    pub const fn is_native(&self) -> bool {
        matches!(self, Self::Native)
    }

    /// What it asks about: applications of the others are never asked about the rest.
    #[must_use]
    pub const fn asks(self, intent: Intent) -> bool {
        match self {
            Self::Native | Self::NginxRtmp | Self::Srs => true,
            Self::RtmpEvent => matches!(intent, Intent::Publish),
            Self::Zlmediakit | Self::Mediamtx => !matches!(intent, Intent::Connect),
        }
    }

    /// True if each question has a URL of its own, if it is given one.
    #[must_use]
    pub const fn has_questions(self) -> bool {
        matches!(self, Self::NginxRtmp | Self::Srs | Self::Zlmediakit)
    }

    /// True if it is told of user and password of HTTP.
    #[must_use]
    pub const fn asks_logins(self) -> bool {
        matches!(self, Self::Mediamtx)
    }

    /// True if an answer may serve more than one question: applications of the others count those
    /// who come by the questions, and those who leave by what they are told.
    #[must_use]
    pub const fn forgets_questions(self) -> bool {
        matches!(self, Self::Native | Self::Mediamtx)
    }

    /// What it tells, by name.
    #[must_use]
    pub const fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Native | Self::Mediamtx => &[],
            Self::RtmpEvent => &["stop"],
            Self::NginxRtmp => {
                &["publish_done", "play_done", "done", "record_started", "record_done"]
            }
            Self::Srs => &["on_unpublish", "on_stop", "on_close", "on_hls", "on_dvr"],
            Self::Zlmediakit => &[
                "on_flow_report",
                "on_stream_changed",
                "on_server_started",
                "on_server_exited",
                "on_server_keepalive",
            ],
        }
    }

    /// True if `call` comes all the time, so that it is told by its name alone.
    #[must_use]
    pub fn must_name(self, call: &str) -> bool {
        matches!((self, call), (Self::Srs, "on_hls") | (Self::Zlmediakit, "on_server_keepalive"))
    }

    /// Why it does not tell `call` here, if the server that it comes from does.
    #[must_use]
    pub fn cannot_call(self, call: &str) -> Option<&'static str> {
        const RECORDS: &str = "left out: what is recorded is FLV, and it tells of MP4 and TS alone";
        const QUESTION: &str = "left out: auth.callback asks it; set its url, or on_...";
        const NOTHING: &str = "left out: there is nothing that it would be about";
        match (self, call) {
            (Self::Zlmediakit, "on_record_mp4" | "on_record_ts") => Some(RECORDS),
            (Self::NginxRtmp, "connect" | "publish" | "play" | "update")
            | (Self::Srs, "on_connect" | "on_publish" | "on_play")
            | (
                Self::Zlmediakit,
                "on_publish" | "on_play" | "on_stream_not_found" | "on_stream_none_reader",
            ) => Some(QUESTION),
            (
                Self::Zlmediakit,
                "on_http_access"
                | "on_rtsp_realm"
                | "on_rtsp_auth"
                | "on_shell_login"
                | "on_rtp_server_timeout"
                | "on_send_rtp_stopped",
            ) => Some(NOTHING),
            _ => None,
        }
    }

    /// The question of `request`; `None` if it asks none of the kind.
    #[must_use]
    pub fn question(self, asker: &Asker, request: &AuthorizeRequest) -> Option<Note> {
        if !self.asks(request.intent) {
            return None;
        }
        let peer = Peer::of_request(&asker.node, request);
        Some(match self {
            Self::Native => return None,
            Self::RtmpEvent => rtmp_event::start(asker, &peer),
            Self::NginxRtmp => nginx_rtmp::question(request.intent, &peer),
            Self::Srs => srs::question(request.intent, &peer),
            Self::Zlmediakit => zlmediakit::question(request.intent, &peer),
            Self::Mediamtx => mediamtx::question(request.intent, &peer),
        })
    }

    /// The question whether a party may go on with what it does with `stream` since so many
    /// seconds; `None` if it asks none.
    #[must_use]
    pub fn update(
        self,
        node: &str,
        (party, role): (&Party, Role),
        stream: &StreamName,
        seconds: u64,
    ) -> Option<Note> {
        let peer = Peer::of_party(node, party, stream);
        let asks = matches!(self, Self::NginxRtmp);
        asks.then(|| nginx_rtmp::update(role, &peer, seconds))
    }

    /// What `answer` says of `request`, to who asks.
    ///
    /// Errors: what is wrong with it, if it says nothing.
    pub fn reply(
        self,
        asker: &Asker,
        request: &AuthorizeRequest,
        answer: &Answer,
    ) -> Result<Reply, &'static str> {
        match self {
            Self::Native => Err("our own dialect has other answers"),
            Self::RtmpEvent => rtmp_event::reply(answer),
            Self::NginxRtmp => nginx_rtmp::reply(asker, request, answer),
            Self::Srs => srs::reply(answer),
            Self::Zlmediakit => zlmediakit::reply(request, answer),
            Self::Mediamtx => mediamtx::reply(request, answer),
        }
    }

    /// The question about a player that waits for `stream`, which nobody publishes; `None` if it
    /// asks none.
    #[must_use]
    pub fn not_found(self, node: &str, party: &Party, stream: &StreamName) -> Option<Note> {
        let peer = Peer::of_party(node, party, stream);
        matches!(self, Self::Zlmediakit).then(|| zlmediakit::not_found(&peer))
    }

    /// The question about `stream`, which nobody plays; `None` if it asks none.
    #[must_use]
    pub fn none_reader(self, node: &str, stream: &StreamName) -> Option<Note> {
        matches!(self, Self::Zlmediakit).then(|| zlmediakit::none_reader(node, stream))
    }

    /// True if `answer` to one of these says that it is to end.
    #[must_use]
    pub fn closes(self, answer: &Answer) -> bool {
        matches!(self, Self::Zlmediakit) && zlmediakit::closes(answer)
    }

    /// That the node of that name is there, which is told again and again; `None` if it is not.
    #[must_use]
    pub fn alive(self, node: &str) -> Option<Note> {
        matches!(self, Self::Zlmediakit).then(|| zlmediakit::alive(node))
    }

    /// What it tells of `event` at the node of that name, in this order.
    #[must_use]
    pub fn notes(self, node: &str, event: &Event) -> Vec<Note> {
        match self {
            Self::Native | Self::Mediamtx => Vec::new(),
            Self::RtmpEvent => rtmp_event::notes(node, event),
            Self::NginxRtmp => nginx_rtmp::notes(node, event),
            Self::Srs => srs::notes(node, event),
            Self::Zlmediakit => zlmediakit::notes(node, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_one_word() {
        for dialect in Dialect::ALL {
            let word = format!("\"{}\"", dialect.name());
            assert_eq!(serde_json::to_string(&dialect).unwrap(), word);
            assert_eq!(serde_json::from_str::<Dialect>(&word).unwrap(), dialect);
            for call in dialect.calls() {
                assert_eq!(dialect.cannot_call(call), None, "{call}");
            }
        }
        assert!(serde_json::from_str::<Dialect>("\"wowza\"").is_err());
    }
}
