//! Question: what an application is asked, in its dialect, and what its answer means.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dataplane::control::{AuthorizeRequest, Denial, Intent};
use http::HeaderName;
use http::header::AUTHORIZATION;
use tokio::sync::oneshot;

use super::application::{Application, OnFailure};
use super::flights::Outcome;
use super::json;
use super::judge::coordinated;
use super::keeping::Keeping;
use super::mode::Mode;
use super::rules::Rules;
use super::ruling::{Answered, Ruling, Terms};
use crate::coordinator::client::Publisher;
use crate::coordinator::{self, Claim, Question, is_identifier};
use crate::dialect::{Dialect, Envelope, Reply, Yes, refuses};
use crate::outbound::{Address, Answer, Call, Client, Failure, SIGNATURE_HEADER};

/// Its contract follows redirects; within the origin, and not in circles.
const KEY_REQUEST_REDIRECTS_MAX: u8 = 5;

/// The contract asks for every publication, so that no answer is good for a second one.
const EACH: Keeping = Keeping {
    on_failure: OnFailure::Deny,
    allowed: Duration::ZERO,
    denied: Duration::ZERO,
    lasts: false,
};

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
        /// About whom the coordinator of this node is to be asked, by whoever has the link to it.
        errand: Option<Publisher>,
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
        (Mode::Coordinator, _) if rules.follows => errand(rules, request),
        (Mode::Coordinator, _) => key_request(rules, request, client),
        (_, Some(application)) => of_application(application, request, client),
        // The configuration demands an address of whoever chooses the mode.
        (_, None) => Asked::Ruled(Ruling::Deny(Denial::Unavailable)),
    }
}

fn of_application(application: &Application, request: &AuthorizeRequest, client: &Client) -> Asked {
    let (dialect, on_failure) = (application.dialect, application.on_failure);
    let Some(address) = application.addresses.of(request.intent) else {
        // The applications of other servers are asked about what they have an address for.
        return Asked::Ruled(Ruling::Allow(Terms::default()));
    };
    if dialect.is_native() {
        let call = json::call(application, address, request, &name());
        let (allowed, denied) = (application.cache, application.cache_denied);
        let keeping = Keeping { on_failure, allowed, denied, lasts: false };
        return Asked::Asking { keeping, asking: asking(client, call, json_answer), errand: None };
    }
    let Some(note) = dialect.question(&application.asker, request) else {
        let by_key = dialect == Dialect::RtmpEvent && request.intent == Intent::Play;
        let terms = if by_key { coordinated(request) } else { Terms::default() };
        return Asked::Ruled(Ruling::Allow(terms));
    };
    let secret = Some(application.secret.0.as_str());
    let envelope = Envelope { dialect, verb: application.verb, secret };
    let Ok(mut call) = envelope.call(address, &note, SystemTime::now(), application.timeout) else {
        return Asked::Ruled(Ruling::Deny(Denial::Unavailable));
    };
    let headers = &mut call.headers;
    headers.extend(application.authorization.clone().map(|value| (AUTHORIZATION, value)));
    if let Some(key) = &application.signing {
        let signature = key.sign(SystemTime::now(), &call.body);
        headers.insert(HeaderName::from_static(SIGNATURE_HEADER), signature);
    }
    let (allowed, denied) = match dialect.forgets_questions() {
        true => (application.cache, application.cache_denied),
        false => (Duration::ZERO, Duration::ZERO),
    };
    let lasts = !dialect.forgets_questions();
    let keeping = Keeping { on_failure, allowed, denied, lasts };
    // CONTROL: one copy for each question.
    let (asker, about) = (application.asker.clone(), request.clone());
    let read = move |answer: &Answer| match dialect.reply(&asker, &about, answer) {
        Ok(Reply::Yes(yes)) => {
            let Yes { stream, stream_id, options } = yes;
            let terms = Terms { stream, stream_id, options, ..Terms::default() };
            Outcome::Answered(Answered { ruling: Ruling::Allow(terms), ttl: None })
        }
        Ok(Reply::No(denial)) => {
            Outcome::Answered(Answered { ruling: Ruling::Deny(denial), ttl: None })
        }
        Ok(Reply::Elsewhere(url)) => {
            Outcome::Answered(Answered { ruling: Ruling::Elsewhere(url), ttl: None })
        }
        Ok(Reply::NotNow) => {
            Outcome::Answered(Answered { ruling: Ruling::Closed(Denial::Forbidden), ttl: None })
        }
        Err(why) => Outcome::Failed { word: "answer", why: why.to_owned() },
    };
    Asked::Asking { keeping, asking: asking(client, call, read), errand: None }
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
    Asked::Asking { keeping: EACH, asking: asking(client, call, key_answer), errand: None }
}

/// Asks the coordinator that this node is a client of.
fn errand(rules: &Rules, request: &AuthorizeRequest) -> Asked {
    let legal = |text: &str| is_identifier(text, rules.id_bytes_max);
    if !legal(request.stream.as_str()) || !legal(&request.key.0) {
        return Asked::Ruled(Ruling::Deny(Denial::Forbidden));
    }
    let (reply, answer) = oneshot::channel();
    let publisher = Publisher {
        session: request.session,
        stream: request.stream.clone(),
        key: request.key.clone(),
        user: request.peer.ip(),
        reply,
    };
    let deadline = rules.key_request;
    let asking = Box::pin(async move {
        match tokio::time::timeout(deadline, answer).await {
            Err(_) => Outcome::TimedOut,
            Ok(Ok(coordinator::client::Answer::Accepted(id))) => {
                let stream_id = Some(id).filter(|id| !id.is_empty()).map(Into::into);
                let terms = Terms { stream_id, ..Terms::default() };
                Outcome::Answered(Answered { ruling: Ruling::Allow(terms), ttl: None })
            }
            Ok(Ok(coordinator::client::Answer::Denied)) => {
                // Who guesses is its own matter: it says no when there is no room, too.
                let ruling = Ruling::Closed(Denial::Forbidden);
                Outcome::Answered(Answered { ruling, ttl: None })
            }
            Ok(Ok(coordinator::client::Answer::Away) | Err(_)) => {
                let why = "the coordinator of coordinator.client.url is away".to_owned();
                Outcome::Failed { word: "coordinator_away", why }
            }
        }
    });
    Asked::Asking { keeping: EACH, asking, errand: Some(publisher) }
}

fn asking(
    client: &Client,
    call: Call,
    read: impl Fn(&Answer) -> Outcome + Send + 'static,
) -> Asking {
    let client = client.clone();
    Box::pin(async move {
        let answer = match client.send(call).await {
            Ok(answer) => answer,
            Err(Failure::Timeout) => return Outcome::TimedOut,
            Err(failure) => {
                return Outcome::Failed { word: failure.name(), why: failure.to_string() };
            }
        };
        read(&answer)
    })
}

fn json_answer(answer: &Answer) -> Outcome {
    match json::read(answer) {
        Ok(answered) => Outcome::Answered(answered),
        Err(why) => Outcome::Failed { word: "answer", why: why.to_owned() },
    }
}

/// What an application says by the coordinator's contract.
fn key_answer(answer: &Answer) -> Outcome {
    let ruling = match coordinator::answer(answer.status, &answer.headers) {
        Some((policy, unread)) => {
            for part in unread {
                tracing::warn!(header = part.header, "a part of a policy is unknown");
            }
            let policy = Some(Arc::new(policy));
            Ruling::Allow(Terms { policy, ..Terms::default() })
        }
        None if refuses(answer.status) => Ruling::Deny(Denial::Forbidden),
        None => Ruling::Closed(Denial::Forbidden),
    };
    Outcome::Answered(Answered { ruling, ttl: None })
}

/// A name that no other question of this node has.
fn name() -> String {
    let mut random = [0; 16];
    // Without a source of chance names are no longer unique; nothing rests on them but logs.
    let _ = getrandom::fill(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
