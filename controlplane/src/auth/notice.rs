//! Notice: what the log and the bus are told of a verdict. No secret is in it.

use dataplane::control::{AuthorizeRequest, Verdict};

use crate::events::{Asked, Kind, Party};

/// What a verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Basis {
    /// The configuration and the registry.
    Rules,
    /// What the peer showed, which is no good: why, in a word.
    Flawed(&'static str),
    /// An earlier answer of the application.
    Memory,
    /// Its answer.
    Application,
    /// It gave no sound answer: why, in a word.
    Failed(&'static str),
    /// It gave none in time.
    TimedOut,
}

impl Basis {
    /// The word; why there was no answer, if there was none.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Memory => "memory",
            Self::Application => "application",
            Self::Failed(why) | Self::Flawed(why) => why,
            Self::TimedOut => "timeout",
        }
    }
}

/// Writes a verdict into the log: what was refused, and why, where operators look first; what is
/// only remembered of a refusal is not said again.
pub(super) fn log(request: &AuthorizeRequest, verdict: &Verdict, basis: Basis) {
    let AuthorizeRequest { session, intent, stream, peer, .. } = request;
    let (intent, verdict_word, basis_name) = (intent.name(), word(verdict), basis.name());
    if matches!(verdict, Verdict::Deny(_)) && !matches!(basis, Basis::Memory) {
        tracing::info!(
            %session,
            intent,
            %stream,
            %peer,
            verdict = verdict_word,
            basis = basis_name,
            "not authorized"
        );
    } else {
        tracing::debug!(
            %session,
            intent,
            %stream,
            %peer,
            verdict = verdict_word,
            basis = basis_name,
            "authorize"
        );
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) => "allow",
        Verdict::Deny(denial) => denial.name(),
        Verdict::Elsewhere(_) => "elsewhere",
    }
}

/// The event of a verdict.
pub(super) fn notice(request: &AuthorizeRequest, verdict: &Verdict, basis: Basis) -> Kind {
    let asked = Asked {
        party: Party {
            session: request.session,
            protocol: request.protocol,
            peer: request.peer,
            agent: request.agent.clone(),
            claim: None,
        },
        intent: request.intent.name(),
        named: request.stream.to_string(),
    };
    let cached = matches!(basis, Basis::Memory);
    match (basis, verdict) {
        (Basis::Failed(reason), _) => {
            Kind::AuthorisationFailed { asked, reason: reason.to_owned() }
        }
        (Basis::TimedOut, _) => Kind::AuthorisationTimeout { asked },
        (_, Verdict::Allow(_)) => Kind::AuthorisationAllowed { asked, cached },
        (Basis::Flawed(reason), Verdict::Deny(_)) => {
            Kind::AuthorisationDenied { asked, reason, cached }
        }
        (_, Verdict::Deny(denial)) => {
            Kind::AuthorisationDenied { asked, reason: denial.name(), cached }
        }
        (_, Verdict::Elsewhere(_)) => {
            Kind::AuthorisationDenied { asked, reason: "elsewhere", cached }
        }
    }
}
