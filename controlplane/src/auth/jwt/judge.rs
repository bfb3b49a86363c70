//! Judge: whether a token lets a request in.

use std::net::IpAddr;

use dataplane::control::{AuthorizeRequest, Denial};

use super::claims::Claims;
use super::endpoint::Source;
use super::key_set::{KeySet, select};
use super::token::{Token, is_token};
use crate::auth::moment::Moment;
use crate::auth::ruling::{Ruling, Terms};
use crate::auth::seconds::Seconds;
use crate::registry::TenantName;

/// Why a token opens nothing. The peer is not told: it hears that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is not written as a token must be.
    Malformed,
    /// It demands something that nothing here knows.
    Critical,
    /// Its algorithm is not spoken here, or not that of its key.
    Algorithm,
    /// No key has that name.
    UnknownKey,
    /// It names no key, and several would do.
    AmbiguousKey,
    /// Its signature is not that of the key.
    Signature,
    /// It is of another issuer.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// It is not good yet.
    Early,
    /// It is no longer good.
    Expired,
    /// It has no end.
    Endless,
    /// It does not open this stream in this direction.
    Stream,
    /// It is good for another address.
    Address,
    /// It names another bearer.
    Subject,
}

impl Flaw {
    /// One word for events, logs and metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Critical => "token_critical",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_key_unknown",
            Self::AmbiguousKey => "token_key_ambiguous",
            Self::Signature => "token_signature",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Early => "token_early",
            Self::Expired => "token_expired",
            Self::Endless => "token_endless",
            Self::Stream => "token_stream",
            Self::Address => "token_address",
            Self::Subject => "token_subject",
        }
    }
}

/// Whose tokens are taken, and how they are judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuer {
    /// What they must name as their issuer, if anything.
    pub issuer: Option<String>,
    /// Whom they must be for, if anybody.
    pub audience: Vec<String>,
    /// By how many seconds the issuer's clock may differ from ours.
    pub leeway: u64,
    /// Who was let in is sent away when the token ends.
    pub enforce: bool,
    /// The keys of the configuration.
    pub keys: KeySet,
    /// The keys of the file.
    pub file: KeySet,
    /// Where more keys are fetched.
    pub source: Option<Source>,
}

/// What a token is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It lets in until then; whose the stream is that is published by it.
    Good(Seconds, Option<TenantName>),
    /// It does not.
    Bad(Flaw),
}

impl Issuer {
    /// What the token of `request` is worth, by its keys and those that were `fetched`; `None` if
    /// there is no token.
    pub(crate) fn judge(
        &self,
        fetched: Option<&KeySet>,
        request: &AuthorizeRequest,
        moment: Moment,
    ) -> Option<Judged> {
        let role = request.intent.role()?;
        let text = Some(request.key.0.as_str()).filter(|text| is_token(text))?;
        let judged = Token::read(text).and_then(|token| {
            let sets: Vec<_> = [&self.keys, &self.file].into_iter().chain(fetched).collect();
            let key = select(&sets, token.kid.as_deref(), token.algorithm)?;
            // Nothing that it claims is read before somebody has vouched for it.
            if !key.verifies(token.signed, &token.signature) {
                return Err(Flaw::Signature);
            }
            let claims = Claims::read(&token.claims)?;
            let over = claims.judge(self, role, request, moment)?;
            Ok(Judged::Good(over, claims.tenant(role)?))
        });
        Some(judged.unwrap_or_else(Judged::Bad))
    }

    /// The ruling that `judged` comes to.
    pub(in crate::auth) fn ruling(&self, judged: Judged) -> Ruling {
        match judged {
            Judged::Good(over, tenant) => {
                let terms = Terms::until(over, self.enforce);
                // It stands for the stream's own key.
                Ruling::Allow(Terms { key_judged: true, tenant, ..terms })
            }
            Judged::Bad(flaw) => Ruling::Flawed(flaw.name()),
        }
    }
}

/// The rulings on those who show one token, whose key may be one that the issuer made since its
/// keys were fetched, now that they were fetched once more.
///
/// Those who are not in by it are judged once, or by address if it is for some addresses alone: a
/// signature takes a while to verify, and thousands may wait.
pub(in crate::auth) struct Refreshed<'a> {
    issuer: &'a Issuer,
    fetched: Option<&'a KeySet>,
    /// The last one on somebody who comes in, and from where if it is good for there alone.
    of_newcomers: Option<(Option<IpAddr>, Ruling)>,
}

impl<'a> Refreshed<'a> {
    pub(in crate::auth) const fn new(issuer: &'a Issuer, fetched: Option<&'a KeySet>) -> Self {
        Self { issuer, fetched, of_newcomers: None }
    }

    /// The one on `request`.
    pub(in crate::auth) fn on(&mut self, request: &AuthorizeRequest) -> Ruling {
        if request.since.is_some() {
            return self.judged(request);
        }
        let from = request.peer.ip().to_canonical();
        if let Some((of, ruling)) = &self.of_newcomers
            && of.is_none_or(|of| of == from)
        {
            return ruling.clone();
        }
        let ruling = self.judged(request);
        let of = is_bound(&request.key.0).then_some(from);
        self.of_newcomers = Some((of, ruling.clone()));
        ruling
    }

    fn judged(&self, request: &AuthorizeRequest) -> Ruling {
        match (self.issuer.judge(self.fetched, request, Moment::of(request)), self.fetched) {
            // Nobody can tell whether the token is good.
            (Some(Judged::Bad(Flaw::UnknownKey)), None) | (None, _) => {
                Ruling::Deny(Denial::Unavailable)
            }
            (Some(judged), _) => self.issuer.ruling(judged),
        }
    }
}

/// True if a token says that it is for some addresses alone, whatever it is worth.
fn is_bound(token: &str) -> bool {
    let claims = Token::read(token).and_then(|token| Claims::read(&token.claims));
    claims.is_ok_and(|claims| claims.is_bound())
}
