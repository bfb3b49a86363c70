//! Ruling: what was decided, before it becomes a verdict for one peer.

use std::sync::Arc;
use std::time::Duration;

use codecs::srt::Passphrase;
use dataplane::control::Denial;
use dataplane::ids::StreamName;

use super::seconds::Seconds;
use crate::coordinator::Policy;
use crate::dialect::PublishOptions;
use crate::registry::TenantName;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Yes, on these terms.
    Allow(Terms),
    /// No.
    Deny(Denial),
    /// No, but at that address.
    Elsewhere(Arc<str>),
    /// No, whatever was shown.
    Closed(Denial),
    /// No, because what was shown is no good: why, in a word.
    Flawed(&'static str),
}

impl Ruling {
    /// What a peer hears of a no.
    pub(super) const fn denial(&self) -> Denial {
        match self {
            Self::Deny(denial) | Self::Closed(denial) => *denial,
            Self::Allow(_) | Self::Elsewhere(_) | Self::Flawed(_) => Denial::Forbidden,
        }
    }
}

/// The terms of a yes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Another name than the one that was asked for.
    pub(super) stream: Option<StreamName>,
    /// A player waits for a stream that nobody publishes.
    pub(super) waits: bool,
    /// A player shows the key that the stream is published with.
    pub(super) same_key: bool,
    /// A publisher's key was compared with all that it may be, the stream's own one included;
    /// else that one is demanded besides.
    pub(super) key_judged: bool,
    /// What the stream may do, of a publisher.
    pub(super) policy: Option<Arc<Policy>>,
    /// What it offers its players, of a publisher.
    pub(super) options: PublishOptions,
    /// Whose the stream is, of a publisher.
    pub(super) tenant: Option<TenantName>,
    /// What the application calls the publication.
    pub(super) stream_id: Option<Arc<str>>,
    /// What it encrypts with, of a peer of SRT.
    pub(super) passphrase: Option<Box<Passphrase>>,
    /// When it is over, and whoever was let in is sent away.
    pub(super) until: Option<Seconds>,
    /// When it lets in nobody else any more.
    pub(super) entry: Option<Seconds>,
}

impl Terms {
    /// Those of what is good until `over`, to come in by, or with `enforce` to stay by, too.
    pub(super) fn until(over: Seconds, enforce: bool) -> Self {
        Self { until: enforce.then_some(over), entry: Some(over), ..Self::default() }
    }
}

/// A ruling, and how long it is good; `None` for as long as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) ruling: Ruling,
    pub(super) ttl: Option<Duration>,
}
