//! Claims: what a token says, once somebody has vouched for it.

use dataplane::control::{AuthorizeRequest, Role};
use dataplane::shard::placement::matches;
use serde::Deserialize;
use serde_json::Value;

use super::judge::{Flaw, Issuer};
use crate::auth::moment::Moment;
use crate::auth::seconds::Seconds;
use crate::config::parse_range;
use crate::registry::TenantName;

/// Names of streams in one list at most.
const PATTERNS_MAX: usize = 64;
/// The greatest number of seconds that a number of JSON tells exactly.
const SECONDS_MAX: f64 = 9_007_199_254_740_991.0;

/// The claims that mean something here. One that is there twice is an error.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: Option<String>,
    aud: Option<Words>,
    exp: Option<f64>,
    nbf: Option<f64>,
    streams: Option<Words>,
    publish: Option<Leave>,
    play: Option<Leave>,
    ip: Option<String>,
    /// Whatever it is: other applications may mean something else by the word.
    tenant: Option<Value>,
}

/// A text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

/// What may be done in one direction.
#[derive(Deserialize)]
#[serde(untagged)]
enum Leave {
    /// All streams of the token, or none.
    Of(bool),
    /// These streams.
    Streams(Words),
}

impl Words {
    fn list(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }

    /// True if one of so many patterns fits.
    fn fit(&self, name: &str) -> bool {
        let patterns = self.list();
        patterns.len() <= PATTERNS_MAX && patterns.iter().any(|pattern| matches(pattern, name))
    }
}

impl Claims {
    pub(super) fn read(json: &[u8]) -> Result<Self, Flaw> {
        serde_json::from_slice(json).map_err(|_| Flaw::Malformed)
    }

    /// Whether they let `request` in; when that is over.
    pub(super) fn judge(
        &self,
        issuer: &Issuer,
        role: Role,
        request: &AuthorizeRequest,
        moment: Moment,
    ) -> Result<Seconds, Flaw> {
        if issuer.issuer.as_ref().is_some_and(|expected| self.iss.as_ref() != Some(expected)) {
            return Err(Flaw::Issuer);
        }
        if !self.is_for(&issuer.audience) {
            return Err(Flaw::Audience);
        }
        let from = self.nbf.map(seconds).transpose()?;
        if from.is_some_and(|from| moment.now.0.saturating_add(issuer.leeway) < from.0) {
            return Err(Flaw::Early);
        }
        let end = seconds(self.exp.ok_or(Flaw::Endless)?)?;
        let over = Seconds(end.0.saturating_add(issuer.leeway));
        if moment.of_end(issuer.enforce) >= over {
            return Err(Flaw::Expired);
        }
        if !self.opens(role, request.stream.as_str()) {
            return Err(Flaw::Stream);
        }
        match self.ip.as_deref().map(parse_range) {
            Some(None) => Err(Flaw::Malformed),
            Some(Some(range)) if !range.contains(request.peer.ip()) => Err(Flaw::Address),
            _ => Ok(over),
        }
    }

    /// True if they are good for some addresses alone.
    pub(super) const fn is_bound(&self) -> bool {
        self.ip.is_some()
    }

    /// Whose the stream is that somebody publishes by them: a name that is none is a fault, because
    /// somebody would not be billed.
    pub(super) fn tenant(&self, role: Role) -> Result<Option<TenantName>, Flaw> {
        match &self.tenant {
            Some(claim) if role == Role::Publish => {
                let name = claim.as_str().and_then(TenantName::parse);
                name.map(Some).ok_or(Flaw::Malformed)
            }
            _ => Ok(None),
        }
    }

    /// A token that says whom it is for is for nobody else (RFC 7519 4.1.3).
    fn is_for(&self, audience: &[String]) -> bool {
        match &self.aud {
            None => audience.is_empty(),
            Some(said) => said.list().iter().any(|one| audience.contains(one)),
        }
    }

    fn opens(&self, role: Role, stream: &str) -> bool {
        let leave = match role {
            Role::Publish => &self.publish,
            Role::Play => &self.play,
        };
        match leave {
            None | Some(Leave::Of(false)) => false,
            Some(Leave::Of(true)) => self.streams.as_ref().is_some_and(|list| list.fit(stream)),
            Some(Leave::Streams(own)) => own.fit(stream),
        }
    }
}

/// A NumericDate (RFC 7519 2), whole seconds of it.
fn seconds(number: f64) -> Result<Seconds, Flaw> {
    if !(0.0..=SECONDS_MAX).contains(&number) {
        return Err(Flaw::Malformed);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is no less than 0, and every whole number of that size is exact"
    )]
    Ok(Seconds(number as u64))
}
