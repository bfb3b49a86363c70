//! Kind: everything that can happen, as one closed enum.

use std::net::SocketAddr;
use std::sync::Arc;

use dataplane::control::Protocol;
use dataplane::ids::SessionId;
use dataplane::session::view_token::asked_as;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::event::text;
use crate::dialect::Claim;

/// Who is at the other end of a session.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Party {
    /// Its session.
    #[serde(serialize_with = "number")]
    #[schema(value_type = String)]
    pub session: SessionId,
    /// How it speaks.
    #[serde(serialize_with = "protocol_name")]
    #[schema(value_type = String)]
    pub protocol: Protocol,
    /// Where it comes from.
    #[schema(value_type = String)]
    pub peer: SocketAddr,
    /// `flashVer` or `User-Agent`.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    pub agent: Arc<str>,
    /// How it came in, if it leaves and somebody is to be told of it in those words.
    #[serde(skip)]
    pub claim: Option<Arc<Claim>>,
}

/// A question whether a peer may do something.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Asked {
    /// Who wants it.
    #[serde(flatten)]
    pub party: Party,
    /// What it wants: `connect`, `publish` or `play`.
    pub intent: &'static str,
    /// The stream that it named, which the verdict may have changed.
    pub named: String,
}

/// The number by which an application was asked about a session, and everybody is told of it.
fn number<S: Serializer>(session: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&asked_as(*session))
}

fn protocol_name<S: Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(protocol.name())
}

/// Declares [`Kind`] with the name of each variant, once.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:literal $variant:ident {
        $($(#[$field_meta:meta])* $field:ident: $kind:ty,)*
    })+) => {
        /// What happened. Each variant has a name of `group.word`, and its fields are the `data`
        /// of the event.
        #[derive(Clone, Debug, Serialize, ToSchema)]
        #[serde(untagged)]
        pub enum Kind {
            $($(#[$doc])* $variant { $($(#[$field_meta])* $field: $kind,)* },)+
        }

        impl Kind {
            /// Every name.
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// Its place in [`Self::NAMES`].
            #[must_use]
            pub const fn index(&self) -> usize {
                enum Place { $($variant),+ }
                match self { $(Self::$variant { .. } => Place::$variant as usize,)+ }
            }
        }
    };
}

kinds! {
    /// A stream was declared.
    "stream.created" StreamCreated {
        /// By whom: `config`, `api` or `runtime`.
        origin: &'static str,
    }
    /// A declared stream was changed.
    "stream.updated" StreamUpdated {
        /// By whom.
        origin: &'static str,
        /// The fields that differ.
        changed: Vec<&'static str>,
        /// It may no longer be published or played.
        disabled: bool,
    }
    /// A stream is declared no more.
    "stream.deleted" StreamDeleted {
        /// By whom it had been declared.
        origin: &'static str,
    }
    /// A stream began to live.
    "stream.started" StreamStarted {
        /// The shard that is its home.
        shard: u16,
        /// How it is published.
        #[serde(serialize_with = "protocol_name")]
        #[schema(value_type = String)]
        protocol: Protocol,
        /// Who publishes it; nobody does the built-in stream.
        party: Option<Party>,
    }
    /// A stream lost its publisher; players wait for its return.
    "stream.lost" StreamLost {}
    /// A stream has a publisher again.
    "stream.returned" StreamReturned {
        /// Who publishes now.
        session: Option<String>,
    }
    /// A stream is over.
    "stream.stopped" StreamStopped {
        /// Why.
        reason: &'static str,
    }
    /// An input of a stream delivers.
    "input.connected" InputConnected {
        /// Its number, by priority.
        input: u32,
        /// How it speaks.
        protocol: &'static str,
    }
    /// An input of a stream delivers no more; it is waited for, or was over as it should be.
    "input.lost" InputLost {
        /// Its number, by priority.
        input: u32,
        /// How it spoke.
        protocol: &'static str,
        /// Why.
        reason: &'static str,
    }
    /// An input of a stream failed, and is not waited for any more; one that the node fetches could
    /// not be opened, and is tried again.
    "input.failed" InputFailed {
        /// Its number, by priority.
        input: u32,
        /// How it spoke.
        protocol: &'static str,
        /// Why.
        reason: &'static str,
    }
    /// Somebody plays.
    "session.opened" SessionOpened {
        /// Who.
        party: Party,
        /// Inside TLS.
        tls: bool,
    }
    /// Somebody plays no more.
    "session.closed" SessionClosed {
        /// Who.
        party: Party,
        /// Bytes that it sent.
        bytes_in: u64,
        /// Bytes that it was sent.
        bytes_out: u64,
        /// How long it was there.
        duration_ms: u64,
        /// Why it ended.
        reason: &'static str,
    }
    /// A viewer of HLS was let in, and never asked for what he was let in for; told while an
    /// application is told of players that leave.
    "session.unopened" SessionUnopened {
        /// Who.
        party: Party,
    }
    /// Somebody was told to go.
    "session.kicked" SessionKicked {
        /// The session.
        #[serde(serialize_with = "number")]
        #[schema(value_type = String)]
        session: SessionId,
        /// Why.
        reason: &'static str,
    }
    /// Somebody publishes.
    "publish.started" PublishStarted {
        /// Who.
        party: Party,
        /// Inside TLS.
        tls: bool,
    }
    /// Somebody publishes no more.
    "publish.ended" PublishEnded {
        /// Who.
        party: Party,
        /// Bytes that it sent.
        bytes_in: u64,
        /// Bytes that it was sent.
        bytes_out: u64,
        /// How long it was there.
        duration_ms: u64,
        /// Why it ended.
        reason: &'static str,
    }
    /// Somebody wanted to publish and was refused.
    "publish.refused" PublishRefused {
        /// Who.
        party: Party,
        /// Why.
        reason: &'static str,
    }
    /// Somebody may do what it asked for.
    "authorisation.allowed" AuthorisationAllowed {
        /// The question.
        asked: Asked,
        /// An earlier verdict was remembered.
        cached: bool,
    }
    /// Somebody may not do what it asked for.
    "authorisation.denied" AuthorisationDenied {
        /// The question.
        asked: Asked,
        /// Why.
        reason: &'static str,
        /// An earlier verdict was remembered.
        cached: bool,
    }
    /// The application could not be asked, or answered nonsense.
    "authorisation.failed" AuthorisationFailed {
        /// The question.
        asked: Asked,
        /// What failed.
        reason: String,
    }
    /// The application did not answer in time.
    "authorisation.timeout" AuthorisationTimeout {
        /// The question.
        asked: Asked,
    }
    /// A streaming server or an encoder came whose coordinator this node is.
    "coordinator.attached" CoordinatorAttached {
        /// Its number.
        peer: u64,
        /// What it is.
        role: &'static str,
        /// Where it is.
        address: String,
    }
    /// One is gone.
    "coordinator.lost" CoordinatorLost {
        /// Its number.
        peer: u64,
        /// What it was.
        role: &'static str,
        /// Why, in a word.
        reason: &'static str,
    }
    /// The coordinator that this node is a server of is there.
    "coordinator.connected" CoordinatorConnected {}
    /// It is not any more.
    "coordinator.disconnected" CoordinatorDisconnected {
        /// Why, in a word.
        reason: &'static str,
    }
    /// A shard serves.
    "shard.started" ShardStarted {
        /// The shard.
        shard: u16,
    }
    /// A shard has no room for more players.
    "shard.overloaded" ShardOverloaded {
        /// The shard.
        shard: u16,
    }
    /// A shard is over.
    "shard.stopped" ShardStopped {
        /// The shard.
        shard: u16,
    }
    /// Another server is called, to send it a stream.
    "push.started" PushStarted {
        /// Where to, without secrets.
        url: String,
    }
    /// A stream is sent to another server.
    "push.active" PushActive {
        /// Where to, without secrets.
        url: String,
    }
    /// It is not at present, and is tried again after a pause.
    "push.reconnecting" PushReconnecting {
        /// Where to, without secrets.
        url: String,
        /// Attempts since it was connected for a minute.
        attempt: u32,
        /// Why.
        reason: String,
    }
    /// A stream is not sent to another server, though it should be.
    "push.failed" PushFailed {
        /// Where to, without secrets.
        url: String,
        /// Why.
        reason: String,
    }
    /// A quota of a stream, or of a tenant, is used up.
    "quota.exceeded" QuotaExceeded {
        /// The tenant whose quota it is; that of the stream if there is none.
        tenant: Option<String>,
        /// Its field, as `players_max`.
        quota: &'static str,
        /// What may be: players, bits a second or bytes.
        max: u64,
        /// What is.
        used: u64,
        /// Its publisher is closed for it.
        closes_publisher: bool,
        /// Its players are closed for it.
        closes_players: bool,
    }
    /// The first playlist of a publication can be served.
    "segment.ready" SegmentReady {
        /// Pixels of a row, 0 without pictures.
        width: u32,
        /// Rows, 0 without pictures.
        height: u32,
        /// Pictures in a thousand seconds.
        fps_milli: u32,
        /// What the playlist promises segments to last at most.
        target_ms: u32,
    }
    /// A segment of a stream is finished; told while somebody wants to hear of each.
    "segment.finished" SegmentFinished {
        /// Its number, which its address has.
        number: u64,
        /// How long it lasts.
        duration_ms: u64,
        /// Who publishes the stream.
        #[serde(skip)]
        publisher: Option<Party>,
    }
    /// A stream is being recorded in a file.
    "recording.started" RecordingStarted {
        /// The name of the file, by which the API knows it.
        recording: String,
        /// Where it is.
        path: String,
        /// Who publishes the stream.
        #[serde(skip)]
        publisher: Option<Party>,
    }
    /// A file of a recording is whole.
    "recording.finished" RecordingFinished {
        /// The name of the file, by which the API knows it.
        recording: String,
        /// Where it is.
        path: String,
        /// Its bytes.
        bytes: u64,
        /// How long it plays.
        duration_ms: u64,
        /// Why it ends there.
        reason: &'static str,
        /// Who published the stream.
        #[serde(skip)]
        publisher: Option<Party>,
    }
    /// A stream is not recorded, though it should be; it is tried again.
    "recording.failed" RecordingFailed {
        /// Why, in a word.
        reason: &'static str,
        /// What went wrong, and the mend.
        message: String,
    }
    /// A connection is closed by which somebody published or played; told while somebody wants to
    /// hear of each.
    "connection.closed" ConnectionClosed {
        /// Who.
        party: Party,
        /// Bytes that it sent, all told.
        bytes_in: u64,
        /// Bytes that it was sent.
        bytes_out: u64,
        /// How long it was there.
        duration_ms: u64,
        /// Why it ended.
        reason: &'static str,
    }
    /// The same of one by which nobody published or played.
    "connection.unused" ConnectionUnused {
        /// Who.
        party: Party,
        /// Bytes that it sent.
        bytes_in: u64,
        /// Bytes that it was sent.
        bytes_out: u64,
        /// How long it was there.
        duration_ms: u64,
        /// Why it ended.
        reason: &'static str,
    }
    /// The configuration was read again.
    "config.changed" ConfigChanged {
        /// On whose word: `signal` or `api`.
        source: &'static str,
        /// Keys whose new values are in force.
        applied: Vec<String>,
        /// Keys whose new values wait for the next start.
        restart: Vec<String>,
    }
    /// An authority gave a certificate, which is in force.
    "certificate.obtained" CertificateObtained {
        /// For which name.
        name: String,
        /// When it is over, in seconds since 1970.
        not_after: u64,
    }
    /// An authority gave no certificate; what is in force stays.
    "certificate.failed" CertificateFailed {
        /// For which name.
        name: String,
        /// What went wrong, and what to do about it.
        reason: String,
        /// When it is tried again, in seconds since 1970.
        again: u64,
    }
    /// A hook was made.
    "hook.created" HookCreated {
        /// The hook.
        hook: String,
    }
    /// A hook was changed.
    "hook.updated" HookUpdated {
        /// The hook.
        hook: String,
    }
    /// A hook is gone.
    "hook.deleted" HookDeleted {
        /// The hook.
        hook: String,
    }
    /// Somebody tries whether a hook works.
    "hook.test" HookTest {
        /// The hook.
        hook: String,
    }
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// How the session came in that it is about, if that is kept with it.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::SessionClosed { party, .. }
            | Self::SessionUnopened { party }
            | Self::PublishEnded { party, .. }
            | Self::ConnectionClosed { party, .. }
            | Self::ConnectionUnused { party, .. } => party.claim.as_deref(),
            Self::SegmentFinished { publisher, .. }
            | Self::RecordingStarted { publisher, .. }
            | Self::RecordingFinished { publisher, .. } => publisher.as_ref()?.claim.as_deref(),
            _ => None,
        }
    }

    /// The session that it is about, if it is about one, by the number that is told of it.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::SessionOpened { party, .. }
            | Self::SessionClosed { party, .. }
            | Self::SessionUnopened { party }
            | Self::PublishStarted { party, .. }
            | Self::PublishEnded { party, .. }
            | Self::PublishRefused { party, .. }
            | Self::ConnectionClosed { party, .. }
            | Self::ConnectionUnused { party, .. } => Some(asked_as(party.session)),
            Self::AuthorisationAllowed { asked, .. }
            | Self::AuthorisationDenied { asked, .. }
            | Self::AuthorisationFailed { asked, .. }
            | Self::AuthorisationTimeout { asked } => Some(asked_as(asked.party.session)),
            Self::SessionKicked { session, .. } => Some(asked_as(*session)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_of_their_variant() {
        for (at, name) in Kind::NAMES.into_iter().enumerate() {
            assert!(!Kind::NAMES[..at].contains(&name), "{name}");
            let (group, word) = name.split_once('.').unwrap();
            assert!(!group.is_empty() && !word.is_empty() && !word.contains('.'), "{name}");
        }
        assert_eq!(Kind::StreamLost {}.name(), "stream.lost");
        assert_eq!(Kind::HookTest { hook: "a".into() }.name(), "hook.test");
    }

    #[test]
    fn a_party_is_shown_in_words() {
        let party = Party {
            session: SessionId(7),
            protocol: Protocol::HttpFlv,
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "VLC".into(),
            claim: None,
        };
        let asked = Asked { party, intent: "play", named: "one".into() };
        let kind = Kind::AuthorisationDenied { asked, reason: "key", cached: true };
        let expected = serde_json::json!({
            "asked": {
                "session": "000000000007",
                "protocol": "http-flv",
                "peer": "192.0.2.1:5",
                "agent": "VLC",
                "intent": "play",
                "named": "one",
            },
            "reason": "key",
            "cached": true,
        });
        assert_eq!(serde_json::to_value(kind).unwrap(), expected);
        assert_eq!(serde_json::to_value(Kind::StreamLost {}).unwrap(), serde_json::json!({}));
    }
}
