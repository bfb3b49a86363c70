//! Question: what an application is asked, in either dialect, and what its answer means.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataplane::control::{AuthorizeRequest, Denial};

use super::application::OnFailure;
use super::flights::{Keeping, Outcome};
use super::json;
use super::mode::Mode;
use super::rules::Rules;
use super::ruling::{Answered, Ruling, Terms};
use crate::coordinator::{self, Claim, Question};
use crate::outbound::{Address, Call, Client, Failure};

/// Its contract follows redirects; within the origin, and not in circles.
const KEY_REQUEST_REDIRECTS_MAX: u8 = 5;

type Asking = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What became of a request that an application is to be asked about.
pub(super) enum Asked {
    /// It need not be asked.
    Ruled(Ruling),
    /// It is asked.
    Asking {
        /// What is made of the answer.
        keeping: Keeping,
        /// The question.
        asking: Asking,
    },
}

/// Asks the application of `mode` about `request`.
pub(super) fn asked(
    rules: &Rules,
    mode: Mode,
    request: &AuthorizeRequest,
    client: &Client,
) -> Asked {
    match (mode, &rules.application) {
        (Mode::Coordinator, _) => key_request(rules, request, client),
        (_, Some(application)) => {
            let call = json::call(application, request, &name());
            let keeping = Keeping {
                on_failure: application.on_failure,
                allowed: application.cache,
                denied: application.cache_denied,
            };
            Asked::Asking { keeping, asking: asking(client, call, Dialect::Json) }
        }
        // The configuration demands an address of whoever chooses the mode.
        (_, None) => Asked::Ruled(Ruling::Deny(Denial::Unavailable)),
    }
}

fn key_request(rules: &Rules, request: &AuthorizeRequest, client: &Client) -> Asked {
    let (channel, peer) = (request.stream.as_str(), request.peer.ip());
    let claim = Claim { channel, key: &request.key, peer };
    let asked = match coordinator::question(&rules.coordinator, claim, rules.id_bytes_max) {
        Question::Refuse => return Asked::Ruled(Ruling::Deny(Denial::Forbidden)),
        Question::Grant => {
            let policy = Some(Arc::default());
            return Asked::Ruled(Ruling::Allow(Terms { policy, ..Terms::default() }));
        }
        Question::Ask(asked) => asked,
    };
    let Some(address) = Address::of(asked.uri()) else {
        return Asked::Ruled(Ruling::Deny(Denial::Unavailable));
    };
    let call = Call {
        method: asked.method().clone(),
        headers: asked.headers().clone(),
        redirects_max: KEY_REQUEST_REDIRECTS_MAX,
        ..Call::post(address, Bytes::new(), rules.key_request)
    };
    // The contract asks for every publication, so that no answer is good for a second one.
    let (on_failure, allowed, denied) = (OnFailure::Deny, Duration::ZERO, Duration::ZERO);
    let keeping = Keeping { on_failure, allowed, denied };
    Asked::Asking { keeping, asking: asking(client, call, Dialect::Coordinator) }
}

/// How an application speaks.
#[derive(Clone, Copy)]
enum Dialect {
    Json,
    Coordinator,
}

fn asking(client: &Client, call: Call, dialect: Dialect) -> Asking {
    let client = client.clone();
    Box::pin(async move {
        let answer = match client.send(call).await {
            Ok(answer) => answer,
            Err(Failure::Timeout) => return Outcome::TimedOut,
            Err(failure) => {
                return Outcome::Failed { word: failure.name(), why: failure.to_string() };
            }
        };
        match dialect {
            Dialect::Json => match json::read(&answer) {
                Ok(answered) => Outcome::Answered(answered),
                Err(why) => Outcome::Failed { word: "answer", why: why.to_owned() },
            },
            Dialect::Coordinator => Outcome::Answered(Answered {
                ruling: match coordinator::answer(answer.status, &answer.headers) {
                    Some((policy, unread)) => {
                        for part in unread {
                            tracing::warn!(header = part.header, "a part of a policy is unknown");
                        }
                        let policy = Some(Arc::new(policy));
                        Ruling::Allow(Terms { policy, ..Terms::default() })
                    }
                    None => Ruling::Deny(Denial::Forbidden),
                },
                ttl: None,
            }),
        }
    })
}

/// A name that no other question of this node has.
fn name() -> String {
    let mut random = [0; 16];
    // Without a source of chance names are no longer unique; nothing rests on them but logs.
    let _ = getrandom::fill(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
