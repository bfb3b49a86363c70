//! Transport: requests to an authority, by the client of all requests of this node.
//!
//! Limits: a request has [`DEADLINE`], an answer [`ANSWER_BYTES_MAX`]; no redirect is followed, and
//! nothing is asked outside of TLS, whatever the directory says.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::RootCertStore;

use super::rest::WAIT_MAX;
use crate::outbound::{Address, Call, Client};

/// A whole exchange is over within this.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of an answer at most: a chain of certificates has some ten thousand.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Nobody is asked again sooner than this, though he says so.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Requests at the same time at most: there is one.
const CALLS_MAX: usize = 4;

/// The way to one authority.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: Client,
    /// Requests are inside TLS.
    tls: bool,
    heard: Heard,
}

/// For how long an authority wants to be left alone. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<Option<Duration>>>);

impl Heard {
    /// What it said since the last call.
    pub(super) fn take(&self) -> Option<Duration> {
        self.wait().take()
    }

    fn wait(&self) -> MutexGuard<'_, Option<Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
struct Unanswered {
    address: String,
    reason: String,
}

impl Transport {
    /// The way to the authority at `directory`, for which one of `roots` vouches. What it says
    /// about being left alone is `heard`.
    pub(super) fn new(directory: &Address, roots: RootCertStore, heard: Heard) -> Self {
        let client = Client::with_roots(CALLS_MAX, roots);
        Self { client, tls: directory.is_tls(), heard }
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
        let wait = answer.header(header::RETRY_AFTER.as_str()).and_then(wait);
        // An authority that has enough says for how long; others say it of one answer.
        if matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        {
            let mut heard = self.heard.wait();
            *heard = wait.max(*heard);
        }
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        // The library adds to its clock whatever is written there, and panics past its end.
        match wait {
            Some(wait) => response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into()),
            None => response.headers_mut().remove(header::RETRY_AFTER),
        };
        Ok(BytesResponse::from(response))
    }
}

/// How long `Retry-After` says, within a second and [`WAIT_MAX`]; `None` if it is neither a number
/// nor a date.
///
/// Spec: RFC 9110 section 10.2.3.
fn wait(text: &str) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large for us is a long time.
        text.parse().map_or(WAIT_MAX, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(text).ok()?;
        at.duration_since(SystemTime::now()).unwrap_or_default()
    };
    Some(wait.clamp(WAIT_MIN, WAIT_MAX))
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
        Transport::new(&Address::parse(url).unwrap(), RootCertStore::empty(), Heard::default())
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
        assert_eq!(transport.heard.take(), None, "it is for a poll, not for everything");
        transport.request(request(&application.url("/busy"))).await.unwrap();
        assert_eq!(transport.heard.take(), Some(Duration::from_secs(120)));
        assert_eq!(transport.heard.take(), None);
        assert!(application.seen()[0].ends_with("\r\n\r\n{}"), "{:?}", application.seen());
    }

    #[test]
    fn a_wait_is_within_reason_whatever_is_written() {
        let of = |text: &str| wait(text).map(|wait| wait.as_secs());
        let (second, week) = (Some(1), Some(7 * 86_400));
        let huge = "9".repeat(400);
        for (text, expected) in [
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("0", second),
            ("9300000000000000000", week),
            ("18446744073709551615", week),
            (huge.as_str(), week),
            ("Fri, 31 Dec 1999 23:59:59 GMT", second),
            ("Tue, 31 Dec 2999 23:59:59 GMT", week),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("soon", None),
            ("Fri, 99 Dec 9999 23:59:59 GMT", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        let soon = SystemTime::now() + Duration::from_secs(600);
        let seconds = of(&httpdate::fmt_http_date(soon)).unwrap();
        assert!((1..=600).contains(&seconds), "{seconds}");
    }

    #[tokio::test]
    async fn the_library_reads_no_wait_that_is_past_the_end_of_its_clock() {
        for (written, read) in [("9300000000000000000", Some("604800")), ("soon", None)] {
            let head = format!("retry-after: {written}\r\n");
            let application = Application::start(move |_| Reply::status(503, &head, "{}"));
            let transport = to(&application.url("/dir"));
            let answer = transport.request(request(&application.url("/dir"))).await.unwrap();
            let told = answer.parts.headers.get(header::RETRY_AFTER);
            assert_eq!(told.map(|value| value.to_str().unwrap()), read, "{written}");
            let heard = read.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
            assert_eq!(transport.heard.take(), heard);
        }
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
