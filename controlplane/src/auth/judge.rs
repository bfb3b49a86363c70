//! Judge: what the rules alone say of a request, mode by mode.
//!
//! | what is shown | `signed` | `jwt` | `keys` | `open` | `callback`, `coordinator` |
//! |---|---|---|---|---|---|
//! | a signature | decides | next | next | lets in | asked |
//! | a token | next | decides | next | lets in | asked |
//! | a key that is listed | next | next | lets in | lets in | asked |
//! | another key | next | next | no, unless an application is asked at the end | lets in | asked |
//! | nothing | next | next | next | lets in | asked |
//!
//! Where `open` lets in, a stream with a key of its own is still published with that alone.

use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol};

use super::declared::Declared;
use super::jwt::{Flaw, Judged, KeySet, is_token};
use super::key_hash::KeyHash;
use super::keyring::admits;
use super::mode::Mode;
use super::modes::Modes;
use super::moment::Moment;
use super::rules::Rules;
use super::ruling::{Ruling, Terms};
use super::signed::Signed;

/// What follows for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is decided.
    Ruled(Ruling),
    /// The application of this mode is to be asked.
    Ask(Mode),
    /// Its token names a key that nobody knows: the issuer may have made it a moment ago.
    Unknown(Ruling),
}

const NO: Ruling = Ruling::Deny(Denial::Forbidden);

/// What `modes` say of `request` at that moment; `fetched` are the keys of the issuer of tokens.
pub(super) fn judge(
    rules: &Rules,
    modes: Modes,
    fetched: Option<&KeySet>,
    (request, declared): (&AuthorizeRequest, &Declared),
    moment: Moment,
) -> Step {
    let yes = || Ruling::Allow(Terms { key_judged: true, ..Terms::default() });
    let own_key = own_key(declared, request);
    for mode in modes.iter() {
        let ruling = match (mode, request.intent) {
            (Mode::Open, _) => {
                let fits = own_key.is_none_or(|key| key.matches(&request.key.0));
                if fits { yes() } else { NO }
            }
            // A peer that only comes in has shown nothing yet.
            (Mode::Keys | Mode::Signed | Mode::Jwt | Mode::Coordinator, Intent::Connect) => yes(),
            (Mode::Keys, _) => {
                // Both are compared, so that the time taken does not tell which one fitted.
                let own = own_key.is_some_and(|key| key.matches(&request.key.0));
                match own | admits(&rules.keys, request) {
                    true => yes(),
                    false if request.key.0.is_empty() || is_for_others(modes, request) => continue,
                    false => NO,
                }
            }
            (Mode::Signed, _) => match rules.signed.judge(request, moment) {
                None => continue,
                Some(Ok(over)) => {
                    let terms = Terms::until(over, rules.signed.enforce);
                    let tenant = rules.signed.tenant(request);
                    // It stands for the stream's own key.
                    Ruling::Allow(Terms { key_judged: true, tenant, ..terms })
                }
                Some(Err(flaw)) => Ruling::Flawed(flaw.name()),
            },
            (Mode::Jwt, _) => match rules.issuer.judge(fetched, request, moment) {
                None => continue,
                Some(judged @ Judged::Bad(Flaw::UnknownKey)) if rules.issuer.source.is_some() => {
                    return Step::Unknown(rules.issuer.ruling(judged));
                }
                Some(judged) => rules.issuer.ruling(judged),
            },
            (Mode::Coordinator, Intent::Play) => Ruling::Allow(coordinated(request)),
            (Mode::Callback, _) | (Mode::Coordinator, Intent::Publish) => return Step::Ask(mode),
        };
        return Step::Ruled(ruling);
    }
    Step::Ruled(NO)
}

/// The key that a stream is published with.
pub(super) fn own_key<'a>(
    declared: &'a Declared,
    request: &AuthorizeRequest,
) -> Option<&'a KeyHash> {
    declared.key.as_ref().filter(|_| request.intent == Intent::Publish)
}

/// True if another one of `modes` than `keys` judges what `request` shows.
fn is_for_others(modes: Modes, request: &AuthorizeRequest) -> bool {
    modes.asks()
        || modes.contains(Mode::Jwt) && is_token(&request.key.0)
        || modes.contains(Mode::Signed) && Signed::is_shown(&request.query.0)
}

/// How the coordinator's players are let in: HLS is open to everybody, everything else is for those
/// who show the key that the stream is published with, and waits for a publisher.
pub(super) fn coordinated(request: &AuthorizeRequest) -> Terms {
    let open = request.protocol == Protocol::Hls;
    Terms { waits: !open, same_key: !open, ..Terms::default() }
}
