//! Application: who is asked over HTTP, and on what terms.

use std::time::Duration;

use dataplane::control::Intent;
use dataplane::ids::Secret;
use http::HeaderValue;

use super::absences::AbsenceTerms;
use super::updates::UpdateTerms;
use crate::dialect::{Asker, Dialect, Verb};
use crate::outbound::{Address, SigningKey};

/// What a question without a sound answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No.
    #[default]
    Deny,
    /// Yes.
    Allow,
}

/// Where questions go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those that go nowhere else; nowhere if it is not set.
    pub all: Option<Address>,
    /// Whether a peer may come in.
    pub connect: Option<Address>,
    /// Whether it may publish.
    pub publish: Option<Address>,
    /// Whether it may play.
    pub play: Option<Address>,
}

impl Addresses {
    /// Where the question about `intent` goes; `None` if nobody is asked.
    #[must_use]
    pub fn of(&self, intent: Intent) -> Option<&Address> {
        let own = match intent {
            Intent::Connect => &self.connect,
            Intent::Publish => &self.publish,
            Intent::Play => &self.play,
        };
        own.as_ref().or(self.all.as_ref())
    }

    /// One of them, if there is any.
    #[must_use]
    pub fn first(&self) -> Option<&Address> {
        [&self.all, &self.publish, &self.play, &self.connect].into_iter().find_map(Option::as_ref)
    }
}

/// Who is asked in mode `callback`.
#[derive(Clone, Debug)]
pub struct Application {
    /// How.
    pub dialect: Dialect,
    /// Where.
    pub addresses: Addresses,
    /// On what terms it is asked who may stay.
    pub updates: Option<UpdateTerms>,
    /// What is asked about players without a stream, and streams without a player.
    pub absences: AbsenceTerms,
    /// How forms are sent.
    pub verb: Verb,
    /// What this node shows of itself.
    pub authorization: Option<HeaderValue>,
    /// What questions are signed with.
    pub signing: Option<SigningKey>,
    /// What tokens are signed with, of dialects that have them.
    pub secret: Secret,
    /// Who asks.
    pub asker: Asker,
    /// An answer is waited for no longer than this.
    pub timeout: Duration,
    /// What a question without a sound answer means.
    pub on_failure: OnFailure,
    /// A yes is good for this long.
    pub cache: Duration,
    /// A no is good for this long.
    pub cache_denied: Duration,
}
