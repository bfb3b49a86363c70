//! Judge: whether what a request shows was signed for it.

use dataplane::control::{AuthorizeRequest, Intent};

use super::key::SignedKey;
use super::stamp::Stamp;
use super::statement::Statement;
use crate::auth::moment::Moment;
use crate::auth::seconds::Seconds;
use crate::registry::TenantName;

/// Why a signature opens nothing. The peer is not told: it hears that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A part of it is missing, is there twice, or is not written as it must be.
    Malformed,
    /// No key has that name.
    UnknownKey,
    /// The key is no longer good.
    RetiredKey,
    /// It is not that of the key under this direction, stream, time and address.
    Mismatch,
    /// It is not good yet.
    Early,
    /// It is no longer good.
    Expired,
    /// It is good for another address.
    Address,
}

impl Flaw {
    /// One word for events, logs and metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "signature_malformed",
            Self::UnknownKey => "signature_key_unknown",
            Self::RetiredKey => "signature_key_retired",
            Self::Mismatch => "signature_wrong",
            Self::Early => "signature_early",
            Self::Expired => "signature_expired",
            Self::Address => "signature_address",
        }
    }
}

/// What signatures are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Whose signatures are good.
    pub keys: Vec<SignedKey>,
    /// By how many seconds the clock of whoever signs may differ from ours.
    pub leeway: u64,
    /// Who was let in is sent away when the time is over.
    pub enforce: bool,
}

impl Signed {
    /// True if `query` shows a signature, whatever it is worth.
    pub(crate) fn is_shown(query: &str) -> bool {
        Stamp::read(query).is_some()
    }

    /// Whose the stream is that `request` may publish by its signature, which was judged to be
    /// good.
    pub(crate) fn tenant(&self, request: &AuthorizeRequest) -> Option<TenantName> {
        let stamp = Stamp::read(&request.query.0)?.ok()?;
        let key = self.keys.iter().find(|key| key.id == stamp.kid)?;
        key.tenant.clone().filter(|_| request.intent == Intent::Publish)
    }

    /// The name of the key that `query` is signed with, whatever that is worth.
    pub(crate) fn signer(query: &str) -> Option<String> {
        Some(Stamp::read(query)?.ok()?.kid)
    }

    /// What the signature of `request` is worth; `None` if it shows none.
    ///
    /// A good one says when its time is over, for whoever comes in.
    pub(crate) fn judge(
        &self,
        request: &AuthorizeRequest,
        moment: Moment,
    ) -> Option<Result<Seconds, Flaw>> {
        let now = moment.now;
        let role = request.intent.role()?;
        let stamp = Stamp::read(&request.query.0)?;
        Some(stamp.map_err(|()| Flaw::Malformed).and_then(|stamp| {
            let key = self.keys.iter().find(|key| key.id == stamp.kid).ok_or(Flaw::UnknownKey)?;
            let statement = Statement {
                role,
                stream: &request.stream,
                expires: stamp.expires,
                not_before: stamp.not_before,
                ip: stamp.ip(),
            };
            // First of all, so that nobody learns more by showing what he made up.
            if !key.verifies(&statement, &stamp.signature) {
                return Err(Flaw::Mismatch);
            }
            // Whoever takes a key away means everybody who came in by it.
            if key.not_after.is_some_and(|last| now > last) {
                return Err(Flaw::RetiredKey);
            }
            if stamp.not_before.is_some_and(|from| now.0.saturating_add(self.leeway) < from.0) {
                return Err(Flaw::Early);
            }
            let over = Seconds(stamp.expires.0.saturating_add(self.leeway));
            if moment.of_end(self.enforce) > over {
                return Err(Flaw::Expired);
            }
            if !stamp.covers(request.peer.ip()) {
                return Err(Flaw::Address);
            }
            Ok(key.not_after.map_or(over, |last| over.min(last)))
        }))
    }
}
