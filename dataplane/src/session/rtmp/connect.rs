//! `connect`: who the peer is, and what both ends can do.

use std::sync::Arc;
use std::time::Instant;

use codecs::amf0::Value;
use codecs::flv::enhanced::four_cc;
use codecs::media::{Codec, TrackKind};
use codecs::rtmp::command::{
    Command, ConnectInfo, Level, caps_ex, code, error, four_cc_info, info, result,
};
use codecs::rtmp::message::{Control, PeerBandwidthLimit};

use super::server::Server;
use super::state::{Entering, State};
use super::url::Address;
use super::window::WINDOW_BYTES;
use crate::Error;
use crate::control::Intent;
use crate::session::{Event, Refusal};

/// Letters of a peer's software that are kept.
const AGENT_CHARS_MAX: usize = 128;

/// Codecs that we forward in their enhanced form.
const CODECS: [Codec; 12] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Vvc,
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Aac,
    Codec::Mp3,
    Codec::Opus,
    Codec::Flac,
    Codec::Ac3,
    Codec::Eac3,
];

/// A peer's name for its software, fit for a log: short and without control letters.
fn agent_letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX)
}

/// Takes a peer's name for its software, unless it is the one that is known.
pub(in crate::session) fn name_agent(agent: &mut Arc<str>, text: &str) {
    if !agent_letters(text).eq(agent.chars()) {
        *agent = Arc::from(agent_letters(text).collect::<String>());
    }
}

impl Server {
    pub(super) fn connect(&mut self, now: Instant, command: &Command) -> Result<(), Error> {
        let peer = ConnectInfo::from_command(command);
        name_agent(&mut self.agent, &peer.flash_ver);
        self.reconnects = peer.caps_ex & caps_ex::RECONNECT != 0;
        self.address = Address::new(&peer);
        tracing::debug!(app = peer.app, agent = &*self.agent, ?now, "rtmp connect");
        if let Err(text) = self.address.check(&self.terms.session) {
            let transaction = command.transaction_id;
            self.replies.command(0, &error(transaction, code::CONNECT_INVALID_APP, text));
            return Err(Error::Rejected("bad_app"));
        }
        let asked = self.terms.auth.connect.then(|| self.address.application()).flatten();
        let left = self.deadline.saturating_duration_since(now);
        let entering = Entering { peer, transaction: command.transaction_id, left };
        if let Some(target) = asked {
            self.events.push_back(Event::Authorize {
                intent: Intent::Connect,
                credentials: target.credentials(),
                stream: target.stream,
                play: None,
            });
            self.transition(State::Entering(Box::new(entering)), "connect");
        } else {
            self.connected(&entering, "connect");
        }
        Ok(())
    }

    /// The peer may come in: it hears what both ends can do.
    pub(super) fn connected(&mut self, entering: &Entering, event: &'static str) {
        self.replies.control(Control::WindowAckSize(WINDOW_BYTES));
        let limit = PeerBandwidthLimit::Dynamic;
        self.replies.control(Control::SetPeerBandwidth { size: WINDOW_BYTES, limit });
        // Shared logs are framed with this size, so it is in force before the peer plays.
        self.replies.control(Control::SetChunkSize(self.terms.session.rtmp_chunk_bytes));
        let server = Value::object([
            ("fmsVer", Value::from("FMS/3,0,1,123")),
            ("capabilities", Value::Number(31.0)),
            ("mode", Value::Number(1.0)),
        ]);
        let args = [connected(&entering.peer)];
        self.replies.command(0, &result(entering.transaction, server, args));
        self.transition(State::Connected, event);
    }

    /// The peer may not come in.
    pub(super) fn connect_refused(&mut self, transaction: f64, refusal: Refusal) {
        let (code, text) = match refusal {
            Refusal::Denied | Refusal::Anonymous | Refusal::WrongKey => {
                (code::CONNECT_REJECTED, "not allowed to connect")
            }
            Refusal::NotFound | Refusal::NoTrack => {
                (code::CONNECT_INVALID_APP, "no such application")
            }
            Refusal::Busy | Refusal::Overloaded | Refusal::Full => {
                (code::CONNECT_REJECTED, "the server has no room")
            }
            Refusal::Unavailable => (code::CONNECT_REJECTED, "nobody can authorise this now"),
            Refusal::Timeout => (code::CONNECT_REJECTED, "authorisation took too long"),
            Refusal::Draining => (code::CONNECT_REJECTED, "the server goes down"),
        };
        self.replies.command(0, &error(transaction, code, text));
    }
}

/// The information object of the result, with our side of Enhanced RTMP for those who know it.
fn connected(peer: &ConnectInfo) -> Value {
    let mut extra = vec![("objectEncoding", Value::Number(f64::from(peer.object_encoding)))];
    if !peer.four_cc_list.is_empty() {
        let names = names(None).map(|name| Value::from(name.as_str())).collect();
        extra.push(("fourCcList", Value::StrictArray(names)));
    }
    for (key, theirs, kind) in [
        ("videoFourCcInfoMap", &peer.video_four_cc_info, TrackKind::Video),
        ("audioFourCcInfoMap", &peer.audio_four_cc_info, TrackKind::Audio),
    ] {
        if !theirs.is_empty() {
            let forward = Value::Number(f64::from(four_cc_info::CAN_FORWARD));
            let map = names(Some(kind)).map(|name| (name, forward.clone())).collect();
            extra.push((key, Value::Object(map)));
        }
    }
    if peer.caps_ex != 0 {
        let ours =
            caps_ex::RECONNECT | caps_ex::MULTITRACK | caps_ex::MOD_EX | caps_ex::NANO_OFFSET;
        extra.push(("capsEx", Value::Number(f64::from(ours))));
    }
    info(Level::Status, code::CONNECT_SUCCESS, "Connection succeeded.", extra)
}

/// The names of those of one kind, or of all.
pub(super) fn names(kind: Option<TrackKind>) -> impl Iterator<Item = String> {
    CODECS
        .into_iter()
        .filter(move |codec| kind.is_none_or(|kind| codec.kind() == kind))
        .filter_map(four_cc)
        .map(|name| String::from_utf8_lossy(&name).into_owned())
}
