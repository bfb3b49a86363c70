//! Transport: requests to an authority, by the client of all requests of this node.
//!
//! Limits: a request has [`DEADLINE`], an answer [`ANSWER_BYTES_MAX`]; no redirect is followed, and
//! nothing is asked outside of TLS, whatever the directory says.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;

use crate::outbound::{Address, Answer, Call, Client};

/// A whole exchange is over within this.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of an answer at most: a chain of certificates has some ten thousand.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Requests at the same time at most: there is one.
const CALLS_MAX: usize = 4;

/// The way to one authority. Clones share what was heard.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: Client,
    /// Requests are inside TLS.
    tls: bool,
    heard: Arc<Mutex<Heard>>,
}

/// What answers said beside what the library reads.
#[derive(Debug, Default)]
struct Heard {
    /// Nothing more is to be asked for so long.
    wait: Option<Duration>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
struct Unanswered {
    address: String,
    reason: String,
}

impl Transport {
    /// The way to the authority at `directory`, for which one of `roots` vouches.
    pub(super) fn new(directory: &Address, roots: RootCertStore) -> Self {
        let client = Client::with_roots(CALLS_MAX, roots);
        Self { client, tls: directory.is_tls(), heard: Arc::default() }
    }

    /// For how long the authority wants to be left alone, if it said so since the last call.
    pub(super) fn take_wait(&self) -> Option<Duration> {
        self.heard().wait.take()
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let unanswered = |reason: String| {
            // Without a query, which may hold a secret.
            let host = head.uri.host().unwrap_or_default();
            let port = head.uri.port().map_or_else(String::new, |port| format!(":{port}"));
            let address = format!("{host}{port}{}", head.uri.path());
            Error::Other(Box::new(Unanswered { address, reason }))
        };
        let address = Address::of(&head.uri).filter(|address| address.is_tls() == self.tls);
        let Some(address) = address else {
            return Err(unanswered("nothing can be asked there inside TLS".to_owned()));
        };
        let Ok(body) = body.collect().await;
        let call = Call {
            method: head.method.clone(),
            headers: head.headers.clone(),
            answer_bytes_max: ANSWER_BYTES_MAX,
            ..Call::post(address, body.to_bytes(), DEADLINE)
        };
        let answer = self.client.send(call).await;
        let answer = answer.map_err(|failure| unanswered(failure.to_string()))?;
        self.note(&answer);
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(BytesResponse::from(response))
    }

    /// An authority that has enough says for how long.
    fn note(&self, answer: &Answer) {
        let mut heard = self.heard();
        if !matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        {
            return;
        }
        let seconds =
            answer.header(header::RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        heard.wait = seconds.map(Duration::from_secs).or(heard.wait);
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::scripted::{Application, Reply};

    fn to(url: &str) -> Transport {
        Transport::new(&Address::parse(url).unwrap(), RootCertStore::empty())
    }

    fn request(url: &str) -> Request<BodyWrapper<Bytes>> {
        Request::post(url).body(BodyWrapper::from(b"{}".to_vec())).unwrap()
    }

    #[tokio::test]
    async fn an_authority_that_has_enough_is_left_alone() {
        let application = Application::start(|request| {
            let head = "replay-nonce: n\r\nretry-after: 120\r\n";
            Reply::status(if request.starts_with("POST /busy") { 429 } else { 200 }, head, "{}")
        });
        let transport = to(&application.url("/dir"));
        let answer = transport.request(request(&application.url("/dir"))).await.unwrap();
        assert_eq!(answer.parts.headers["replay-nonce"], "n");
        assert_eq!(transport.take_wait(), None, "it is for a poll, not for everything");
        transport.request(request(&application.url("/busy"))).await.unwrap();
        assert_eq!(transport.take_wait(), Some(Duration::from_secs(120)));
        assert_eq!(transport.take_wait(), None);
        assert!(application.seen()[0].ends_with("\r\n\r\n{}"), "{:?}", application.seen());
    }

    #[tokio::test]
    async fn what_cannot_be_asked_says_where_and_why() {
        let failed = |transport: Transport, url: &str| {
            let sent = transport.request(request(url));
            async move { sent.await.map(|_| ()).unwrap_err().to_string() }
        };
        let inside = to("https://ca.example/dir");
        let error = failed(inside, "http://ca.example/order?key=hunter2").await;
        assert_eq!(error, "ca.example/order: nothing can be asked there inside TLS");
        let endless = Application::start(|_| Reply::status(200, "", &"x".repeat(300_000)));
        let error = failed(to(&endless.url("/dir")), &endless.url("/dir")).await;
        assert_eq!(
            error,
            format!("localhost:{}/dir: the answer is too large", endless.addr.port())
        );
    }
}
