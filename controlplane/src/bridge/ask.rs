//! Ask: what requests and tasks want of the things that the control thread's loop owns.

use std::sync::Arc;

use dataplane::control::{Detail, MoveOutcome};
use dataplane::ids::{SessionId, ShardId, StreamName};
use tokio::sync::oneshot;

use super::attached::AttachedAsk;
use super::client::ClientAsk;
use super::commands::CommandAsk;
use super::gathered::{Gathered, SessionSight, Sighting};
use crate::acme::AcmeAsk;
use crate::auth::AuthAsk;
use crate::counts::Counts;
use crate::record::Report;
use crate::registry::RegistryAsk;
use crate::server::ConfigAsk;
use crate::viewing::SessionsAsk;

/// A question to the loop.
#[derive(Debug)]
pub enum Ask {
    /// The state of every shard, asked for now or a moment ago.
    Snapshot {
        /// What is listed beside the counters.
        detail: Detail,
        /// Takes the answer, which others may share.
        reply: oneshot::Sender<Arc<Gathered>>,
    },
    /// One stream: what is wanted of it, and what it was seen to do.
    Stream {
        /// Its name.
        name: StreamName,
        /// Takes the answer.
        reply: oneshot::Sender<Sighting>,
    },
    /// One session: what it was seen to do, or what it was.
    Session {
        /// Its number.
        id: SessionId,
        /// Takes the answer.
        reply: oneshot::Sender<SessionSight>,
    },
    /// An order of an application, by the coordinator's contract.
    Command(CommandAsk),
    /// What a server or an encoder wants whose coordinator this node is.
    Attached(AttachedAsk),
    /// About the coordinator that this node is a server of.
    Client(ClientAsk),
    /// A stream is to be moved.
    Move {
        /// The stream.
        stream: StreamName,
        /// Where it shall be.
        to: ShardId,
        /// Takes the outcome.
        reply: oneshot::Sender<MoveOutcome>,
    },
    /// A question about the configuration, which is not for the shards.
    Config(ConfigAsk),
    /// A question about streams and templates that should exist, or a change of them.
    Registry(RegistryAsk),
    /// A word about certificates that an authority gives.
    Acme(AcmeAsk),
    /// What the control plane counts.
    Counts {
        /// Takes the answer.
        reply: oneshot::Sender<Counts>,
    },
    /// A question about verdicts.
    Auth(AuthAsk),
    /// About sessions.
    Sessions(SessionsAsk),
    /// A recording tells what became of it.
    Recording(Box<Report>),
}
