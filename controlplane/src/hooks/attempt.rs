//! Attempt: one try to deliver events, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::file::{Files, Lines};
use super::parcel::{Parcel, bare};
use super::spec::{Fsync, HookKind, HookSpec};
use crate::outbound::{Address, Call, Client, SIGNATURE_HEADER, SigningKey};

/// The same for each try of the same events: by it a receiver knows what it has had.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The hook's id.
const HOOK: HeaderName = HeaderName::from_static("grandstand-hook");
/// Events of a list.
const BATCH_SIZE: HeaderName = HeaderName::from_static("grandstand-batch-size");

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The status that the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why the events count as not delivered: one word and a sentence.
    pub failure: Option<(&'static str, String)>,
    /// How long it took.
    pub took: Duration,
}

/// Statuses of a receiver, or of what stands before it, that does not say whether it took the
/// events; every other one of 300 and more says that it did not.
const UNDECIDED: [u16; 6] = [408, 425, 429, 502, 503, 504];

impl Delivery {
    /// True if the receiver said that it did not take the events: then nothing speaks against
    /// trying each of them alone.
    pub(super) fn is_refused(&self) -> bool {
        let decided = self.status.is_some_and(|status| !UNDECIDED.contains(&status));
        decided && self.failure.is_some()
    }
}

/// Tries to deliver `parcels`; relative files lie below `files`.
pub(super) async fn attempt(
    client: &Client,
    files: &Files,
    spec: &HookSpec,
    parcels: &[Arc<Parcel>],
) -> Delivery {
    let start = Instant::now();
    let (status, failure) = match spec.kind {
        HookKind::Http if spec.dialect.is_native() => post(client, spec, parcels).await,
        HookKind::Http => tell(client, spec, parcels).await,
        HookKind::File => (None, append(files, spec, parcels).await.err()),
    };
    Delivery { status, failure, took: start.elapsed() }
}

type Posted = (Option<u16>, Option<(&'static str, String)>);

/// Says one note in the dialect of the hook. What waited under another dialect has none, and is
/// not told in this one.
async fn tell(client: &Client, spec: &HookSpec, parcels: &[Arc<Parcel>]) -> Posted {
    let Some(address) = Address::parse(&spec.target) else {
        return (None, Some(("address", "the target is no URL".to_owned())));
    };
    let mut status = None;
    for note in parcels.iter().filter_map(|parcel| parcel.note()) {
        let call = spec.envelope().call(&address, &note, SystemTime::now(), spec.timeout());
        let call = match call {
            Ok(call) => call,
            Err(why) => return (None, Some(("dialect", why.to_owned()))),
        };
        match send(client, call).await {
            (said, None) => status = said,
            failed => return failed,
        }
    }
    (status, None)
}

async fn post(client: &Client, spec: &HookSpec, parcels: &[Arc<Parcel>]) -> Posted {
    let Some(address) = Address::parse(&spec.target) else {
        return (None, Some(("address", "the target is no URL".to_owned())));
    };
    let body = Bytes::from(body(spec, parcels));
    let mut call = Call::post(address, body, spec.timeout());
    call.headers = headers(spec, parcels, &call.body);
    send(client, call).await
}

async fn send(client: &Client, call: Call) -> Posted {
    match client.send(call).await {
        Ok(answer) if answer.status.is_success() => (Some(answer.status.as_u16()), None),
        Ok(answer) => {
            let status = answer.status.as_u16();
            (Some(status), Some(("status", format!("the receiver answered {status}"))))
        }
        Err(failure) => (None, Some((failure.name(), failure.to_string()))),
    }
}

fn headers(spec: &HookSpec, parcels: &[Arc<Parcel>], body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut text = |name, text: &str| {
        // Ids of hooks and events, and digits, all fit a header.
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    text(HOOK, &spec.id);
    text(IDEMPOTENCY_KEY, &idempotency_key(parcels));
    if spec.batch_max > 1 || parcels.len() > 1 {
        text(BATCH_SIZE, &parcels.len().to_string());
    }
    if let Some(secret) = &spec.secret {
        let signature = SigningKey::new(secret.0.as_bytes()).sign(SystemTime::now(), body);
        headers.insert(HeaderName::from_static(SIGNATURE_HEADER), signature);
    }
    headers
}

/// An event's id; of several, the beginning of the hash over all, so that one key never stands for
/// different events.
fn idempotency_key(parcels: &[Arc<Parcel>]) -> String {
    if let [one] = parcels {
        return one.id.as_ref().to_owned();
    }
    let mut hash = Sha256::new();
    for parcel in parcels {
        hash.update(parcel.id.as_bytes());
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One event as an object, or a list if the hook takes several.
fn body(spec: &HookSpec, parcels: &[Arc<Parcel>]) -> String {
    let metadata = match spec.metadata.is_empty() {
        true => None,
        false => serde_json::to_string(&spec.metadata).ok(),
    };
    let event = |parcel: &Arc<Parcel>| {
        // It may have waited while the hook spoke another dialect.
        let json = bare(&parcel.json);
        match (&metadata, json.strip_suffix('}')) {
            (Some(metadata), Some(open)) => format!("{open},\"metadata\":{metadata}}}"),
            _ => json.into_owned(),
        }
    };
    match (spec.kind, parcels) {
        (HookKind::File, _) => parcels.iter().map(|parcel| event(parcel) + "\n").collect(),
        (HookKind::Http, [one]) if spec.batch_max == 1 => event(one),
        // Those that were put together before the hook was changed stay together.
        (HookKind::Http, _) => {
            format!("[{}]", parcels.iter().map(event).collect::<Vec<_>>().join(","))
        }
    }
}

async fn append(
    files: &Files,
    spec: &HookSpec,
    parcels: &[Arc<Parcel>],
) -> Result<(), (&'static str, String)> {
    let lines = Lines {
        path: files.dir().join(&spec.target),
        synced: spec.fsync == Fsync::Always,
        rotate_bytes: spec.rotate_bytes,
    };
    let written = files.append(lines, body(spec, parcels)).await;
    written.map_err(|error| ("file", crate::error::reason(&error)))
}
