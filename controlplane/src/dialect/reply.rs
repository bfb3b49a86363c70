//! Reply: what an application says to a question.

use std::sync::Arc;

use dataplane::control::Denial;
use dataplane::ids::StreamName;
use http::StatusCode;

use crate::outbound::Answer;
use crate::registry::Protocols;

/// What an application says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Yes.
    Yes(Yes),
    /// No, and why.
    No(Denial),
    /// No, for whatever reason: many say so until an event begins.
    NotNow,
    /// No, but at that address.
    Elsewhere(Arc<str>),
}

/// True if a status means that what was shown is no good.
pub fn refuses(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// The terms of a yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Yes {
    /// Another name for the stream.
    pub stream: Option<StreamName>,
    /// What the application calls the publication.
    pub stream_id: Option<Arc<str>>,
    /// What a publication offers its players.
    pub options: PublishOptions,
}

/// What a publication offers its players.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// How it may be played, if that was said.
    pub protocols: Option<Protocols>,
    /// It ends when nobody plays it.
    pub closes_unread: bool,
}

impl Reply {
    /// A yes without terms.
    pub(super) fn yes() -> Self {
        Self::Yes(Yes::default())
    }

    /// What a status says that is no yes: the application refuses, or it does not work.
    ///
    /// Errors: it does not work.
    pub(super) fn unless_broken(answer: &Answer) -> Result<Self, &'static str> {
        match answer.status {
            status if refuses(status) => Ok(Self::No(Denial::Forbidden)),
            status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
                Ok(Self::NotNow)
            }
            _ => Err("its status is neither a yes nor a no"),
        }
    }
}
