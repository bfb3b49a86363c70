//! Guess: whether a refusal is one of somebody who tries what may be right.
//!
//! What was right once, elsewhere or for somebody else is none: it takes knowing it. Nor is what
//! the server could not judge, nor what is refused whatever is shown for it. Viewers over HTTP are
//! many behind one address, and each may have a pass of his own: an application that refuses them,
//! or one that signs with a former secret, must not shut out their whole house. Of them only keys
//! that the configuration knows better are.
//!
//! The same guess is known again: a key by itself; of what an application refuses all that it was
//! asked with, since it alone knows which part is the secret; of a token or signature who made it
//! for whom, because peers with a former secret make another one each time.

use std::time::Instant;

use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol};

use super::jwt::Bearer;
use super::keyring::lists;
use super::notice::Basis;
use super::rules::Rules;
use super::ruling::Ruling;
use super::signed::Signed;
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

/// Tells `warden` of a no, and what it rests on.
pub(super) fn tell(
    warden: &Warden,
    rules: &Rules,
    request: &AuthorizeRequest,
    (no, basis): (&Ruling, Basis),
) {
    let is_listed = || lists(&rules.keys, &request.key.0);
    let is_guess = is_guess(request, no, basis) && !is_listed();
    let reason = match basis {
        Basis::Rules | Basis::Memory | Basis::Application => no.denial().name(),
        Basis::Flawed(_) | Basis::Failed(_) | Basis::TimedOut => basis.name(),
    };
    let refused = Refused {
        peer: request.peer.ip(),
        listener: listener_name(request.listener),
        proto: request.protocol.name(),
        stream: is_public(basis).then(|| request.stream.as_str()),
        reason,
        guess: is_guess.then(|| shown(warden, request, basis)),
    };
    warden.refused(&refused, Instant::now());
}

/// True if the name of the stream is no secret: where an application is asked it may be the key,
/// for which the application gives another name.
const fn is_public(basis: Basis) -> bool {
    matches!(basis, Basis::Rules | Basis::Flawed(_))
}

fn is_guess(request: &AuthorizeRequest, no: &Ruling, basis: Basis) -> bool {
    let is_viewer = request.intent == Intent::Play
        && !matches!(request.protocol, Protocol::Rtmp | Protocol::Srt);
    let (key, login, query) = (&request.key.0, &request.login.0, &request.query.0);
    // Who is asked about again was right when he came in.
    matches!(no, Ruling::Deny(Denial::Forbidden) | Ruling::Flawed(_))
        && request.since.is_none()
        && match basis {
            // A player without a key asks again and again, and adds this and that to its query.
            Basis::Rules => !key.is_empty(),
            Basis::Flawed(why) => !is_viewer && is_forged(why),
            // Publishers are known by the name of their stream alone, where that is the key.
            Basis::Memory | Basis::Application => {
                let is_shown = [key, login, query].iter().any(|shown| !shown.is_empty());
                !is_viewer && (is_shown || request.intent == Intent::Publish)
            }
            Basis::Failed(_) | Basis::TimedOut => false,
        }
}

/// What was shown, as it is known again.
fn shown(warden: &Warden, request: &AuthorizeRequest, basis: Basis) -> u32 {
    let AuthorizeRequest { stream, key, login, query, .. } = request;
    let (stream, key, login, query) = (stream.as_str(), &key.0, &login.0, &query.0);
    match basis {
        Basis::Rules => return warden.shown(key),
        Basis::Flawed(_) => {
            if let Some(bearer) = Bearer::of(key) {
                return warden.shown((stream, bearer));
            }
            if let Some(signer) = Signed::signer(query) {
                return warden.shown((stream, signer));
            }
        }
        Basis::Memory | Basis::Application | Basis::Failed(_) | Basis::TimedOut => {}
    }
    warden.shown((stream, key, login, query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::jwt::issuing::{hs256, token};
    use crate::auth::key_hash::KeyHash;
    use crate::auth::keyring::{Allows, KeyRule};
    use crate::auth::tests::{Bench, request};
    use crate::auth::{Declarations, Declared, Mode};
    use dataplane::control::Verdict;
    use dataplane::ids::{Secret, StreamName};

    const NO: Ruling = Ruling::Deny(Denial::Forbidden);

    #[test]
    fn a_guess_is_what_nobody_was_given() {
        let rtmp = request(Intent::Publish, "news", "key");
        let over = |protocol| AuthorizeRequest { protocol, ..request(Intent::Play, "news", "key") };
        let (hls, flv) = (over(Protocol::Hls), over(Protocol::HttpFlv));
        let again = AuthorizeRequest { since: Some(Instant::now()), ..hls.clone() };
        let no = |denial| Ruling::Deny(denial);
        let flawed = |why| (Basis::Flawed(why), Ruling::Flawed(why));
        for ((basis, no), by_rtmp, by_viewers) in [
            ((Basis::Rules, NO), true, true),
            ((Basis::Rules, no(Denial::NotFound)), false, false),
            ((Basis::Rules, no(Denial::Busy)), false, false),
            // A stream that is disabled, or an application that says so until an event begins.
            ((Basis::Rules, Ruling::Closed(Denial::Forbidden)), false, false),
            ((Basis::Application, Ruling::Closed(Denial::Forbidden)), false, false),
            ((Basis::Application, NO), true, false),
            ((Basis::Memory, NO), true, false),
            ((Basis::Application, no(Denial::Full)), false, false),
            (flawed("signature_wrong"), true, false),
            (flawed("token_signature"), true, false),
            (flawed("signature_expired"), false, false),
            (flawed("token_expired"), false, false),
            (flawed("token_key_unknown"), false, false),
            (flawed("signature_address"), false, false),
            ((Basis::Failed("connect"), NO), false, false),
            ((Basis::TimedOut, NO), false, false),
        ] {
            let found = [&rtmp, &hls, &flv].map(|request| is_guess(request, &no, basis));
            let wanted = [by_rtmp, by_viewers, by_viewers];
            assert_eq!(found, wanted, "{} {no:?}", basis.name());
            assert!(!is_guess(&again, &no, basis), "{}", basis.name());
        }
        // Who shows nothing guesses nothing, but where publishers are named by their keys.
        for basis in [Basis::Rules, Basis::Application, Basis::Memory] {
            assert!(!is_guess(&request(Intent::Play, "news", ""), &NO, basis));
        }
        assert!(is_guess(&request(Intent::Publish, "s3cret", ""), &NO, Basis::Application));
    }

    fn asked(stream: &str, key: &str, query: &str) -> AuthorizeRequest {
        let query = Secret(query.to_owned());
        AuthorizeRequest { query, ..request(Intent::Publish, stream, key) }
    }

    /// How many guesses these are for `warden`.
    fn guesses(warden: &Warden, asked: &[AuthorizeRequest], basis: Basis) -> usize {
        let shown = asked.iter().map(|asked| shown(warden, asked, basis));
        shown.collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn whatever_an_application_is_asked_with_may_be_the_guess() {
        let warden = Warden::default();
        let by_password: Vec<_> = (0..40)
            .map(|guess| asked("cam", "x", &format!("token=x&user=admin&pass=guess{guess}")))
            .collect();
        let by_name: Vec<_> = (0..40).map(|guess| asked(&format!("key{guess}"), "", "")).collect();
        let made = "exp=1&kid=a&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let behind_a_stamp: Vec<_> =
            (0..40).map(|guess| asked("cam", "", &format!("{made}&pass={guess}"))).collect();
        for tried in [by_password, by_name, behind_a_stamp] {
            assert_eq!(guesses(&warden, &tried, Basis::Application), 40);
            assert_eq!(guesses(&warden, &tried, Basis::Memory), 40);
            // The same ones are none.
            let again: Vec<_> = tried.iter().chain(&tried).cloned().collect();
            assert_eq!(guesses(&warden, &again, Basis::Application), 40);
        }
    }

    #[test]
    fn a_key_is_one_guess_whatever_is_added_to_it() {
        let asked: Vec<_> = (0..40).map(|at| asked("cam", "old", &format!("_={at}"))).collect();
        assert_eq!(guesses(&Warden::default(), &asked, Basis::Rules), 1);
    }

    /// Declared keys are salted hashes: that one opens another stream is not looked for.
    #[test]
    fn a_key_of_another_declared_stream_is_one_guess_however_many_it_is_tried_for() {
        struct Own(Vec<(&'static str, KeyHash)>);
        impl Declarations for Own {
            fn declared(&self, _: &AuthorizeRequest, stream: &StreamName) -> Declared {
                let own = self.0.iter().find(|(name, _)| *name == stream.as_str());
                Declared { key: own.map(|(_, key)| key.clone()), ..Declared::default() }
            }
        }
        let names = ["cam1", "cam2", "cam3", "cam4"];
        let key_of = |name: &str| format!("of-{name}");
        let own = names.map(|name| (name, KeyHash::make(&key_of(name)).unwrap()));
        let own = Own(own.into());
        for mode in [Mode::Open, Mode::Keys] {
            let (warden, mut access) = (Warden::default(), crate::penalties::Access::default());
            access.penalties.guesses_max = 3;
            warden.set_access(access);
            let mut bench = Bench::new(Rules { publish: mode.into(), ..Rules::default() });
            bench.gate.watch_by(warden.clone());
            let mut tries = |stream: &str, key: &str| {
                let peer = "192.0.2.7:5".parse().unwrap();
                let asked = AuthorizeRequest { peer, ..request(Intent::Publish, stream, key) };
                matches!(bench.ask_with(asked, &own), Some(Verdict::Allow(_)))
            };
            for whose in ["cam1", "cam2"] {
                for stream in names {
                    assert_eq!(tries(stream, &key_of(whose)), stream == whose, "{mode:?}");
                }
            }
            assert!(warden.penalties(Instant::now()).is_empty(), "{mode:?}");
            assert!(!tries("cam1", &key_of("cam3")), "{mode:?}");
            assert_eq!(warden.penalties(Instant::now()).len(), 1, "{mode:?}");
        }
    }

    #[test]
    fn who_makes_tokens_with_a_former_secret_guesses_once() {
        let (warden, header) = (Warden::default(), serde_json::json!({"alg": "HS256", "kid": "a"}));
        let made = |sub: &str, exp: u64| {
            let claims = serde_json::json!({"sub": sub, "exp": exp});
            asked("cam", &token(&header, &claims, hs256("former")), "")
        };
        let flawed = Basis::Flawed("token_signature");
        let anew: Vec<_> = (0..40).map(|exp| made("encoder", exp)).collect();
        assert_eq!(guesses(&warden, &anew, flawed), 1);
        let others: Vec<_> = (0..40).map(|n| made(&format!("encoder{n}"), n)).collect();
        assert_eq!(guesses(&warden, &others, flawed), 40);
        let letters = "A".repeat(42);
        let signed: Vec<_> = (0..40)
            .map(|exp| asked("cam", "", &format!("exp={exp}&kid=a&sig={letters}A")))
            .collect();
        assert_eq!(guesses(&warden, &signed, Basis::Flawed("signature_wrong")), 1);
        // What is no token at all is known by its letters.
        let torn: Vec<_> = (0..40).map(|n| asked("cam", &format!("eyJ.{n}.x"), "")).collect();
        assert_eq!(guesses(&warden, &torn, Basis::Flawed("token_malformed")), 40);
    }

    #[test]
    fn a_key_of_another_stream_is_no_guess() {
        let warden = Warden::default();
        let rules = Rules {
            keys: (0..8)
                .map(|n| KeyRule {
                    pattern: format!("cam{n}"),
                    allows: Allows::Publish,
                    key: KeyHash::make(&format!("k{n}")).unwrap(),
                })
                .collect(),
            ..Rules::default()
        };
        let mut access = crate::penalties::Access::default();
        access.penalties.guesses_max = 2;
        warden.set_access(access);
        let from = |key: &str| AuthorizeRequest {
            peer: "192.0.2.7:5".parse().unwrap(),
            ..request(Intent::Play, "news", key)
        };
        for n in 0..8 {
            tell(&warden, &rules, &from(&format!("k{n}")), (&NO, Basis::Rules));
        }
        assert!(warden.penalties(Instant::now()).is_empty());
        for key in ["guess1", "guess2"] {
            tell(&warden, &rules, &from(key), (&NO, Basis::Rules));
        }
        assert_eq!(warden.penalties(Instant::now()).len(), 1);
    }
}
