//! Guess: whether a refusal is one of somebody who tries what may be right.
//!
//! What was right once, elsewhere or for somebody else is none: it takes knowing it. Nor is what
//! the server could not judge. Viewers over HTTP are many behind one address, and each may have a
//! pass of his own: an application that refuses them, or one that signs with a former secret, must
//! not shut out their whole house. Of them only keys that the configuration knows better are.

use std::time::Instant;

use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol, Verdict};

use super::notice::Basis;
use crate::config::listener_name;
use crate::penalties::{Refused, Warden};

/// Flaws of what nobody was ever given.
const NEVER_VALID: [&str; 6] = [
    "signature_malformed",
    "signature_wrong",
    "token_malformed",
    "token_critical",
    "token_algorithm",
    "token_signature",
];

/// True if whoever shows this was never given it.
pub(crate) fn is_forged(flaw: &str) -> bool {
    NEVER_VALID.contains(&flaw)
}

/// Tells `warden` of a verdict, if it is a refusal.
pub(super) fn tell(warden: &Warden, request: &AuthorizeRequest, verdict: &Verdict, basis: Basis) {
    let Verdict::Deny(denial) = *verdict else { return };
    let shown = is_guess(request, denial, basis).then(|| {
        let key = if request.key.0.is_empty() { &request.query.0 } else { &request.key.0 };
        warden.shown((request.stream.as_str(), key))
    });
    let reason = match basis {
        Basis::Rules | Basis::Memory | Basis::Application => denial.name(),
        Basis::Flawed(_) | Basis::Failed(_) | Basis::TimedOut => basis.name(),
    };
    let refused = Refused {
        peer: request.peer.ip(),
        listener: listener_name(request.listener),
        proto: request.protocol.name(),
        stream: request.stream.as_str(),
        reason,
        guess: shown,
    };
    warden.refused(&refused, Instant::now());
}

fn is_guess(request: &AuthorizeRequest, denial: Denial, basis: Basis) -> bool {
    let is_viewer = request.intent == Intent::Play && request.protocol != Protocol::Rtmp;
    // Who is asked about again was right when he came in.
    denial == Denial::Forbidden
        && request.since.is_none()
        && match basis {
            // A player without a key asks again and again, and adds this and that to its query.
            Basis::Rules => !request.key.0.is_empty(),
            Basis::Flawed(why) => !is_viewer && is_forged(why),
            Basis::Memory | Basis::Application => !is_viewer,
            Basis::Failed(_) | Basis::TimedOut => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::request;
    use dataplane::control::Intent;

    #[test]
    fn a_guess_is_what_nobody_was_given() {
        let rtmp = request(Intent::Publish, "news", "key");
        let over = |protocol| AuthorizeRequest { protocol, ..request(Intent::Play, "news", "key") };
        let (hls, flv) = (over(Protocol::Hls), over(Protocol::HttpFlv));
        let again = AuthorizeRequest { since: Some(Instant::now()), ..hls.clone() };
        let forbidden = Denial::Forbidden;
        for (basis, denial, by_rtmp, by_viewers) in [
            (Basis::Rules, forbidden, true, true),
            (Basis::Rules, Denial::NotFound, false, false),
            (Basis::Rules, Denial::Busy, false, false),
            (Basis::Application, forbidden, true, false),
            (Basis::Memory, forbidden, true, false),
            (Basis::Application, Denial::Full, false, false),
            (Basis::Flawed("signature_wrong"), forbidden, true, false),
            (Basis::Flawed("token_signature"), forbidden, true, false),
            (Basis::Flawed("signature_expired"), forbidden, false, false),
            (Basis::Flawed("token_expired"), forbidden, false, false),
            (Basis::Flawed("token_key_unknown"), forbidden, false, false),
            (Basis::Flawed("signature_address"), forbidden, false, false),
            (Basis::Failed("connect"), forbidden, false, false),
            (Basis::TimedOut, forbidden, false, false),
        ] {
            let found = [&rtmp, &hls, &flv].map(|request| is_guess(request, denial, basis));
            let wanted = [by_rtmp, by_viewers, by_viewers];
            assert_eq!(found, wanted, "{} {denial:?}", basis.name());
            assert!(!is_guess(&again, denial, basis), "{}", basis.name());
        }
        let keyless = request(Intent::Play, "news", "");
        assert!(!is_guess(&keyless, forbidden, Basis::Rules));
        // Where streams are named by their keys, the application alone knows one.
        assert!(is_guess(&keyless, forbidden, Basis::Application));
    }
}
