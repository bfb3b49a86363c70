//! Publisher: one about whom the coordinator is asked, and what it answers.

use std::net::IpAddr;

use dataplane::ids::{Secret, SessionId, StreamName};
use tokio::sync::oneshot;

/// Who wants to publish.
#[derive(Debug)]
pub struct Publisher {
    /// His session.
    pub session: SessionId,
    /// The channel.
    pub stream: StreamName,
    /// What he shows.
    pub key: Secret,
    /// Where he comes from.
    pub user: IpAddr,
    /// Takes the answer; closed once nobody waits for it any more.
    pub reply: oneshot::Sender<Answer>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// He may, under this number; empty if the coordinator has not given it yet.
    Accepted(String),
    /// He may not.
    Denied,
    /// The coordinator is away, and nobody else can say.
    Away,
}
