//! Endpoint: the keys of an issuer, fetched from where it shows them and kept fresh.
//!
//! ```text
//!   start, every `ttl` -- fetch --> keys     an unknown name of a key -- fetch, `retry` apart
//!                           | fails
//!                           v
//!                   the last ones serve on, for `stale` at most; again after `retry`
//! ```
//!
//! Whoever makes up names of keys has them fetched once in `retry`; whoever asks while they are
//! fetched waits for that one time, so many at most.
//!
//! Lives on: the control thread; its tasks share it behind a lock that is never held across a wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::key_set::KeySet;
use crate::outbound::{Address, Call, Client};

/// Keys are fetched within this.
const FETCH: Duration = Duration::from_secs(5);
/// Bytes of a key set at most.
const SET_BYTES_MAX: usize = 256 << 10;
/// Redirects that are followed at most, within the origin.
const REDIRECTS_MAX: u8 = 2;
/// Peers that wait for keys at most.
const WAITERS_MAX: usize = 32;

/// Where an issuer shows its keys, and how fresh they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where.
    pub address: Address,
    /// They are fetched again after this.
    pub ttl: Duration,
    /// Between two fetches that a failure or an unknown name asked for is as much at least.
    pub retry: Duration,
    /// Keys that could not be fetched again serve for no longer than this.
    pub stale: Duration,
}

/// The keys of a source. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    client: Client,
    known: Mutex<Known>,
    /// Held while keys are fetched.
    fetching: tokio::sync::Mutex<()>,
    waiters: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// When a fetch began last.
    tried: Option<Instant>,
    /// How many fetches are over.
    fetches: u64,
    failures: u64,
}

impl Endpoint {
    /// Keeps the keys of `source` fresh until the last clone is gone.
    pub(crate) fn start(source: Source, client: Client) -> Self {
        let shared = Arc::new(Shared {
            source,
            client,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            waiters: Arc::new(Semaphore::new(WAITERS_MAX)),
        });
        tokio::spawn(keep(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// Where it fetches.
    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }

    /// The keys, unless there never were any or they are too old.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        let known = self.0.known();
        let (keys, fetched) = known.keys.as_ref()?;
        (fetched.elapsed() <= self.0.source.stale).then(|| Arc::clone(keys))
    }

    /// A seat for one who waits until the keys are fetched again, because a token names one that
    /// nobody knows; `None` if they were fetched a moment ago, or too many wait.
    pub(crate) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        let under_way = self.0.fetching.try_lock().is_err();
        let long_ago = |tried: Instant| tried.elapsed() >= self.0.source.retry;
        let due = self.0.known().tried.is_none_or(long_ago);
        (under_way || due).then(|| Arc::clone(&self.0.waiters).try_acquire_owned().ok()).flatten()
    }

    /// Fetches the keys, or waits for whoever does.
    pub(crate) async fn refresh(&self) {
        let before = self.0.known().fetches;
        let _alone = self.0.fetching.lock().await;
        // Somebody else has, while this one waited for him.
        if self.0.known().fetches == before {
            self.0.fetch().await;
        }
    }

    /// Fetches that are over, and how many of them brought nothing.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let known = self.0.known();
        (known.fetches, known.failures)
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked while he held it left whole values.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) {
        self.known().tried = Some(Instant::now());
        let mut call = Call {
            method: Method::GET,
            answer_bytes_max: SET_BYTES_MAX,
            redirects_max: REDIRECTS_MAX,
            ..Call::post(self.source.address.clone(), Bytes::new(), FETCH)
        };
        let json = HeaderValue::from_static("application/jwk-set+json, application/json");
        call.headers.insert(header::ACCEPT, json);
        let read = match self.client.send(call).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                KeySet::read(&answer.body, false).map_err(str::to_owned)
            }
            Ok(answer) => Err(format!("its status is {}, not 200", answer.status.as_u16())),
            Err(failure) => Err(failure.to_string()),
        };
        let mut known = self.known();
        known.fetches += 1;
        let address = &self.source.address;
        match read {
            Ok(keys) => {
                tracing::debug!(%address, keys = keys.len(), "keys of tokens are fetched");
                if let Some(doubt) = keys.doubt() {
                    tracing::warn!(%address, "{doubt}");
                }
                known.keys = Some((Arc::new(keys), Instant::now()));
            }
            Err(why) => {
                known.failures += 1;
                tracing::warn!(%address, "keys of tokens cannot be fetched: {why}");
            }
        }
    }
}

/// Fetches the keys now and again.
async fn keep(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let endpoint = Endpoint(strong);
        let failed = endpoint.counts().1;
        endpoint.refresh().await;
        let Source { ttl, retry, .. } = *endpoint.source();
        let pause = if endpoint.counts().1 == failed { ttl } else { retry };
        // Whoever drops the last clone is not held up by this task.
        drop(endpoint);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::scripted::{Application, Reply};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    fn source(url: &str) -> Source {
        let hour = Duration::from_secs(3_600);
        Source { address: Address::parse(url).unwrap(), ttl: hour, retry: hour, stale: hour }
    }

    /// Waits until that many fetches are over.
    async fn fetched(endpoint: &Endpoint, fetches: u64) {
        while endpoint.counts().0 < fetches {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_unknown_name_has_keys_fetched_once_and_no_flood_more() {
        let application = Application::start(|_| Reply::status(200, "", SET));
        let source = source(&application.url("/jwks?secret=1"));
        let endpoint = Endpoint::start(source, Client::new(4));
        fetched(&endpoint, 1).await;
        assert_eq!(endpoint.keys().map(|keys| keys.len()), Some(1));
        assert!(endpoint.seat().is_none(), "they were fetched a moment ago");
        let seen = application.seen();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].starts_with("GET /jwks?secret=1 "), "{}", seen[0]);
        let eager = Source { retry: Duration::ZERO, ..endpoint.source().clone() };
        let endpoint = Endpoint::start(eager, Client::new(4));
        fetched(&endpoint, 1).await;
        let seats: Vec<_> = (0..100).filter_map(|_| endpoint.seat()).collect();
        assert_eq!(seats.len(), WAITERS_MAX);
        // All who ask at the same time are served by one fetch.
        let before = application.seen().len();
        tokio::join!(endpoint.refresh(), endpoint.refresh(), endpoint.refresh());
        assert_eq!(application.seen().len() - before, 1);
    }

    #[tokio::test]
    async fn keys_serve_on_while_the_endpoint_is_down_but_not_for_ever() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let application =
            Application::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::status(200, "", SET),
                1 => Reply::status(500, "", SET),
                2 => Reply::status(200, "", "{}"),
                3 => Reply::status(200, "", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
                _ => Reply::status(200, "", &" ".repeat(SET_BYTES_MAX + 1)),
            });
        let endpoint = Endpoint::start(source(&application.url("/")), Client::new(4));
        fetched(&endpoint, 1).await;
        for failures in 1..=4 {
            endpoint.refresh().await;
            assert_eq!(endpoint.counts(), (failures + 1, failures));
            assert_eq!(endpoint.keys().map(|keys| keys.len()), Some(1));
        }
        let brief = Source { stale: Duration::ZERO, ..endpoint.source().clone() };
        asked.store(0, Ordering::SeqCst);
        let endpoint = Endpoint::start(brief, Client::new(4));
        fetched(&endpoint, 1).await;
        assert!(endpoint.keys().is_none(), "they are older than they may be");
    }

    #[tokio::test]
    async fn a_source_that_nobody_wants_any_more_is_left_alone() {
        let application = Application::start(|_| Reply::status(200, "", SET));
        let eager = Source { ttl: Duration::ZERO, ..source(&application.url("/")) };
        let endpoint = Endpoint::start(eager, Client::new(4));
        fetched(&endpoint, 3).await;
        let left = Arc::downgrade(&endpoint.0);
        drop(endpoint);
        while left.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
