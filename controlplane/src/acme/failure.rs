//! Failure: why there is no certificate, and what to do about it.

use instant_acme::Problem;

use crate::config::ChallengeKind;
use crate::error::Error;

/// Letters of what an authority says that are told on at most.
const DETAIL_LETTERS_MAX: usize = 300;
/// What is tried again needs nobody.
pub(super) const AGAIN: &str = "it is tried again by itself";

/// What a person can do about an account that is refused.
const REFUSED: &str = "our account is deactivated or blocked there: ask who runs the authority, or \
                       remove account.json below acme/ in the data directory for a new one";

/// How much an attempt cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// The authority was not reached, or did nothing: it may be asked again soon.
    Nothing,
    /// It counts what failed, and refuses who fails often.
    Counted,
}

/// Whom a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The name that was asked for.
    Name,
    /// Perhaps every name: who has a limit says seldom whose.
    Perhaps,
    /// The authority, or our account there: other names fare the same.
    Authority,
}

/// Why an attempt brought no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What went wrong.
    pub(super) what: String,
    /// What to do about it.
    pub(super) mend: &'static str,
    /// What it cost.
    pub(super) cost: Cost,
    /// Whom it is about.
    pub(super) reach: Reach,
    /// The authority knows our account no more.
    pub(super) is_stranger: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

impl From<Error> for Failure {
    /// A file that cannot be used: the error names its mend itself.
    fn from(error: Error) -> Self {
        Self::free(error.to_string(), AGAIN)
    }
}

impl Failure {
    /// One that cost the authority nothing.
    pub(super) fn free(what: impl Into<String>, mend: &'static str) -> Self {
        let (what, cost) = (what.into(), Cost::Nothing);
        Self { what, mend, cost, reach: Reach::Name, is_stranger: false }
    }

    /// One that the authority counts.
    pub(super) fn counted(what: impl Into<String>, mend: &'static str) -> Self {
        Self { cost: Cost::Counted, ..Self::free(what, mend) }
    }

    /// This one, of all names.
    pub(super) fn of_authority(self) -> Self {
        Self { reach: Reach::Authority, ..self }
    }

    /// True if it is our account that is refused, or not known.
    pub(super) fn is_account(&self) -> bool {
        self.is_stranger || self.reach == Reach::Authority
    }

    /// What the library says went wrong.
    pub(super) fn of(error: &instant_acme::Error, cost: Cost, kind: ChallengeKind) -> Self {
        use instant_acme::Error as Of;
        let failure = match error {
            Of::Api(problem) => return Self { cost, ..Self::of_problem(problem, kind) },
            Of::Timeout(_) => Self::free("the authority did not come to an end", AGAIN),
            Of::Json(_) => Self::free(
                "the authority did not answer as one",
                "check that acme.directory is the URL of an ACME directory",
            ),
            other => Self::free(clean(&other.to_string()), "check acme.directory and acme.ca"),
        };
        Self { cost, ..failure }
    }

    /// What went wrong where our account was to do something, which may be what is refused. Only
    /// what the authority itself answered costs.
    pub(super) fn of_account(error: &instant_acme::Error, kind: ChallengeKind) -> Self {
        let instant_acme::Error::Api(problem) = error else {
            return Self::of(error, Cost::Nothing, kind);
        };
        let failure = Self::of_problem(problem, kind);
        if problem.r#type.as_deref().is_some_and(|name| name.ends_with(":unauthorized")) {
            return Self { mend: REFUSED, reach: Reach::Authority, ..failure };
        }
        failure
    }

    /// What the authority says went wrong.
    pub(super) fn of_problem(problem: &Problem, kind: ChallengeKind) -> Self {
        let name = problem.r#type.as_deref().unwrap_or_default();
        let name = name.rsplit(':').next().unwrap_or_default();
        let mend = match (name, kind) {
            ("connection" | "unauthorized" | "incorrectResponse" | "tls", ChallengeKind::Http) => {
                "let port 80 of the name lead to listeners.http of this node"
            }
            ("connection" | "unauthorized" | "incorrectResponse" | "tls", _) => {
                "let port 443 of the name lead to listeners.https or listeners.rtmps of this node, \
                 without anything between that ends TLS"
            }
            ("dns", _) => "give the name an address that leads here",
            ("caa", _) => "let the CAA record of the name allow the authority",
            ("rejectedIdentifier" | "unsupportedIdentifier", _) => {
                "the authority gives no certificate for it: remove it from acme.domains"
            }
            ("externalAccountRequired", _) => "set acme.eab_key_id and acme.eab_key",
            ("invalidContact" | "unsupportedContact", _) => "correct acme.contact",
            ("userActionRequired", _) => "the authority's terms changed: agree to them there",
            _ => AGAIN,
        };
        let mut detail = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            detail.push_str("; ");
            detail.push_str(&sub.to_string());
        }
        let name = if name.is_empty() { "an error" } else { name };
        let what = format!("the authority says {}: {}", clean(name), clean(&detail));
        let is_stranger = name == "accountDoesNotExist";
        let reach = if name == "rateLimited" { Reach::Perhaps } else { Reach::Name };
        Self { is_stranger, reach, ..Self::counted(what, mend) }
    }
}

/// What somebody else wrote, short and on one line.
fn clean(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut letters = line.trim().chars();
    let mut short: String = letters.by_ref().take(DETAIL_LETTERS_MAX).collect();
    if letters.next().is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, detail: &str) -> Problem {
        let json = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{name}"),
            "detail": detail,
            "status": 403,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_an_authority_says_has_its_mend() {
        for (name, kind, expected) in [
            ("connection", ChallengeKind::Http, "port 80"),
            ("unauthorized", ChallengeKind::TlsAlpn, "port 443"),
            ("dns", ChallengeKind::Http, "an address"),
            ("caa", ChallengeKind::Http, "CAA"),
            ("rejectedIdentifier", ChallengeKind::Http, "acme.domains"),
            ("externalAccountRequired", ChallengeKind::Http, "acme.eab_key_id"),
            ("rateLimited", ChallengeKind::Http, "by itself"),
            ("new in 2030", ChallengeKind::Http, "by itself"),
        ] {
            let failure = Failure::of_problem(&problem(name, "no"), kind);
            assert!(failure.mend.contains(expected), "{name}: {failure}");
            assert_eq!(failure.cost, Cost::Counted);
            assert!(failure.to_string().starts_with(&format!("the authority says {name}: no; ")));
            assert!(!failure.is_stranger);
        }
        let gone = Failure::of_problem(&problem("accountDoesNotExist", ""), ChallengeKind::Http);
        assert!(gone.is_stranger);
    }

    #[test]
    fn an_account_that_is_refused_is_not_a_port_that_leads_elsewhere() {
        let of = |name| {
            let error = instant_acme::Error::Api(problem(name, "no"));
            Failure::of_account(&error, ChallengeKind::Http)
        };
        let refused = of("unauthorized");
        assert!(refused.mend.contains("remove account.json"), "{refused}");
        assert_eq!((refused.reach, refused.cost), (Reach::Authority, Cost::Counted));
        assert_eq!(of("rateLimited").reach, Reach::Perhaps);
        assert_eq!(of("rejectedIdentifier").reach, Reach::Name);
        assert!(of("accountDoesNotExist").is_stranger);
        let unreached = instant_acme::Error::Str("nobody is there");
        assert_eq!(Failure::of_account(&unreached, ChallengeKind::Http).cost, Cost::Nothing);
    }

    #[test]
    fn what_somebody_else_wrote_is_short_and_one_line() {
        let long = format!("a\r\nb\u{1b}[31m{}", "x".repeat(10_000));
        let failure = Failure::of_problem(&problem("dns", &long), ChallengeKind::Http);
        assert!(failure.what.len() < 400, "{}", failure.what.len());
        assert!(!failure.what.contains(char::is_control) && failure.what.ends_with("..."));
        let json = serde_json::from_str::<u8>("<html>").unwrap_err();
        let error = instant_acme::Error::Json(json);
        let failure = Failure::of(&error, Cost::Nothing, ChallengeKind::Http);
        assert!(failure.mend.contains("acme.directory"), "{failure}");
    }
}
