//! Client: sends calls over pooled connections, so many at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::call::{Answer, Call};
use super::failure::Failure;
use super::names::Names;
use crate::authorities;

/// Bytes of an answer's status line and headers at most.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A connection that nobody used for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Connections of one origin that are kept for later calls.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// A connection must stand within this, or within the call's deadline if that is shorter.
const CONNECT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("grandstand/", env!("CARGO_PKG_VERSION"));

/// Sends calls. Clones share connections, names and the bound.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) http: legacy::Client<HttpsConnector<HttpConnector<Names>>, Full<Bytes>>,
    seats: Arc<Semaphore>,
}

impl Client {
    /// A client that has `calls_max` calls under way at most, inside TLS with those that the
    /// system's authorities vouch for. They are read once, for the first client, which is there
    /// before anybody is served: later ones must not wait for a disk on the control thread.
    ///
    /// Errors: none here; without authorities each call inside TLS fails and says so.
    #[must_use]
    pub fn new(calls_max: usize) -> Self {
        Self::with_roots(calls_max, authorities::at_start())
    }

    /// As [`Self::new`], with those that `roots` vouch for.
    #[must_use]
    pub fn with_roots(calls_max: usize, roots: impl Into<Arc<RootCertStore>>) -> Self {
        Self::with_names(calls_max, roots.into(), Names::of_system())
    }

    fn with_names(calls_max: usize, roots: Arc<RootCertStore>, names: Names) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new_with_resolver(names);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Self { http, seats: Arc::new(Semaphore::new(calls_max)) }
    }

    /// Sends `call` and takes the whole answer.
    ///
    /// Errors: one word of [`Failure`]; an answer of any status is none.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        let Ok(_seat) = self.seats.try_acquire() else { return Err(Failure::Busy) };
        let exchange = tokio::time::timeout(call.deadline, self.exchange(call));
        exchange.await.unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, mut call: Call) -> Result<Answer, Failure> {
        loop {
            let response =
                self.http.request(request(&call)).await.map_err(|error| unsent(&error))?;
            if !is_redirect(response.status()) || call.redirects_max == 0 {
                return whole(response, call.answer_bytes_max).await;
            }
            call = redirected(call, &response)?;
        }
    }
}

fn request(call: &Call) -> Request<Full<Bytes>> {
    // CONTROL: the body is shared, the head is copied for each hop.
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.address.uri().clone();
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    request
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The call that a redirecting answer asks for: 307 and 308 keep the method, the others make it a
/// GET without a body, as every browser and Go's client do.
fn redirected(mut call: Call, response: &Response<Incoming>) -> Result<Call, Failure> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| call.address.follow(location));
    call.address = next.ok_or(Failure::Redirect)?;
    // The answer that comes when the last one is used up may redirect no more.
    call.redirects_max -= 1;
    if !matches!(response.status().as_u16(), 307 | 308) {
        call.method = Method::GET;
        call.body = Bytes::new();
        call.headers.remove(header::CONTENT_TYPE);
    }
    Ok(call)
}

async fn whole(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| match error
        .is::<LengthLimitError>(
    ) {
        true => Failure::TooLarge,
        false => Failure::Protocol(innermost(error.as_ref())),
    })?;
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

/// Why a request brought no head of an answer.
pub(super) fn unsent(error: &legacy::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Failure::Tls(tls.to_string());
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return Failure::TooLarge;
        }
        // The time for a connection is a part of the time for an answer.
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return Failure::Timeout;
        }
        cause = within(error);
    }
    match error.is_connect() {
        true => Failure::Connect(innermost(error)),
        false => Failure::Protocol(innermost(error)),
    }
}

/// The words of the innermost cause, which name no address and nothing that was sent.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(inner) = within(last) {
        last = inner;
    }
    last.to_string()
}

/// What is within an error; that of an IO error is not its source, but itself one level down.
fn within<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::scripted::{Application, Reply};
    use crate::outbound::{Address, Credentials};

    /// Long enough for every exchange that is to end by itself.
    const AMPLE: Duration = Duration::from_secs(20);

    fn call(url: &str) -> Call {
        Call::post(Address::parse(url).unwrap(), Bytes::from_static(b"{}"), AMPLE)
    }

    fn plain() -> Client {
        Client::with_roots(8, RootCertStore::empty())
    }

    async fn failure(client: &Client, call: Call) -> &'static str {
        client.send(call).await.map_or_else(|failure| failure.name(), |_| "an answer")
    }

    #[tokio::test]
    async fn calls_share_a_connection_and_carry_what_they_are_given() {
        let application =
            Application::start(|_| Reply::status(418, "x-record: TRUE\r\n", "short and stout"));
        let (client, mut call) = (plain(), call(&application.url("/verify?a=1")));
        let secret = Credentials::bearer("abc").unwrap();
        call.headers.insert(header::AUTHORIZATION, secret.header().unwrap().clone());
        for _ in 0..3 {
            let answer = client.send(call.clone()).await.unwrap();
            assert_eq!(answer.status.as_u16(), 418);
            assert_eq!(answer.header("X-Record"), Some("TRUE"));
            assert_eq!(answer.body, "short and stout");
        }
        assert_eq!(application.connections(), 1);
        let seen = application.seen();
        assert!(seen[0].starts_with("POST /verify?a=1 HTTP/1.1\r\n"), "{}", seen[0]);
        assert!(seen[0].contains("authorization: Bearer abc\r\n"), "{}", seen[0]);
        assert!(seen[0].ends_with("\r\n\r\n{}"), "{}", seen[0]);
        assert!(!format!("{call:?}").contains("abc"));
    }

    #[tokio::test]
    async fn no_answer_is_waited_for_longer_than_the_deadline() {
        let hang = Application::start(|_| Reply::Hang);
        let half = Application::start(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nconte".to_vec()));
        let body = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
        let starved = Application::start(|_| Reply::Bytes(body.into()));
        for application in [&hang, &half, &starved] {
            let deadline = Duration::from_millis(50);
            let call = Call { deadline, ..call(&application.url("/")) };
            assert_eq!(failure(&plain(), call).await, "timeout");
        }
    }

    #[tokio::test]
    async fn answers_are_bounded_and_must_be_http() {
        let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
        let endless_head = format!("x-fill: {}\r\n", "y".repeat(1_000));
        let head = "HTTP/1.1 200 OK\r\n";
        for (what, reply, expected) in [
            ("a long body", Reply::status(200, "", &"x".repeat(65_537)), "too_large"),
            (
                "a long body in chunks",
                Reply::Bytes(
                    format!("{head}transfer-encoding: chunked\r\n\r\n{}", chunk(70_000)).into(),
                ),
                "too_large",
            ),
            ("no end of headers", Reply::Endless(endless_head.clone().into()), "protocol"),
            ("one endless line", Reply::Endless(vec![b'H'; 4_096]), "protocol"),
            ("garbage", Reply::Last(b"\x16\x03\x01 no http\r\n\r\n".to_vec()), "protocol"),
            (
                "an end in the body",
                Reply::Last(format!("{head}content-length: 9\r\n\r\nhalf").into()),
                "protocol",
            ),
            ("an end before all", Reply::Last(Vec::new()), "protocol"),
            (
                "two lengths",
                Reply::Last(
                    format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nab").into(),
                ),
                "protocol",
            ),
        ] {
            let reply = std::sync::Mutex::new(Some(reply));
            let application = Application::start(move |_| {
                reply.lock().unwrap().take().unwrap_or(Reply::Last(Vec::new()))
            });
            assert_eq!(failure(&plain(), call(&application.url("/"))).await, expected, "{what}");
        }
        let many = format!("{head}{}\r\n", endless_head.repeat(40));
        let application = Application::start(move |_| Reply::Bytes(many.clone().into()));
        assert_eq!(failure(&plain(), call(&application.url("/"))).await, "too_large");
    }

    #[tokio::test]
    async fn redirects_are_followed_only_if_told_and_never_in_circles_or_elsewhere() {
        let application = Application::start(|request| {
            let path = request.split(' ').nth(1).unwrap();
            match path {
                "/there" => Reply::status(200, "", "there"),
                "/moved" => Reply::status(307, "location: /there\r\n", ""),
                "/see" => Reply::status(303, "location: /there\r\n", ""),
                "/away" => Reply::status(307, "location: http://127.0.0.2:1/\r\n", ""),
                _ => Reply::status(308, "location: /circle\r\n", ""),
            }
        });
        let client = plain();
        let told = |path: &str| Call { redirects_max: 3, ..call(&application.url(path)) };
        let untold = client.send(call(&application.url("/moved"))).await.unwrap();
        assert_eq!(untold.status.as_u16(), 307);
        for path in ["/moved", "/see"] {
            assert_eq!(client.send(told(path)).await.unwrap().body, "there");
        }
        let seen = application.seen();
        assert!(seen[2].starts_with("POST /there") && seen[2].ends_with("{}"), "{seen:?}");
        assert!(seen[4].starts_with("GET /there") && !seen[4].ends_with("{}"), "{seen:?}");
        assert_eq!(failure(&client, told("/away")).await, "redirect");
        let before = application.seen().len();
        assert_eq!(client.send(told("/circle")).await.unwrap().status.as_u16(), 308);
        assert_eq!(application.seen().len() - before, 4);
    }

    #[tokio::test]
    async fn one_call_too_many_is_refused_at_once() {
        let application = Application::start(|_| Reply::Hang);
        let client = Client::with_roots(1, RootCertStore::empty());
        let slow = Call { deadline: Duration::from_millis(200), ..call(&application.url("/")) };
        let (first, second) =
            tokio::join!(failure(&client, slow), failure(&client, call(&application.url("/"))));
        assert_eq!((first, second), ("timeout", "busy"));
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_an_address_never() {
        let application = Application::start(|_| Reply::Last(b"HTTP/1.1 200 OK\r\n\r\n".into()));
        let port = application.addr.port();
        let looked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&looked);
        let names = Names::new(move |name| {
            seen.lock().unwrap().push(name.to_owned());
            match name {
                "app.example" => Ok(vec![([127, 0, 0, 1], 0).into()]),
                _ => Err(std::io::Error::other("nobody knows it")),
            }
        });
        let client = Client::with_names(8, RootCertStore::empty().into(), names);
        for host in ["app.example", "APP.example", "127.0.0.1"] {
            client.send(call(&format!("http://{host}:{port}/"))).await.unwrap();
        }
        let unknown = || client.send(call("http://else.example/"));
        for _ in 0..3 {
            let failed = unknown().await.unwrap_err();
            assert_eq!(failed, Failure::Connect("nobody knows it".to_owned()));
        }
        assert_eq!(*looked.lock().unwrap(), ["app.example", "else.example"]);
    }

    #[tokio::test]
    async fn nobody_there_is_told_as_such() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let call = |host: &str| call(&format!("http://{host}:{}/", free.port()));
        assert_eq!(failure(&plain(), call("127.0.0.1")).await, "connect");
        assert_eq!(failure(&plain(), call("name.invalid")).await, "connect");
    }

    #[tokio::test]
    async fn inside_tls_the_application_must_prove_itself() {
        let (application, roots) = Application::start_tls(|_| Reply::status(200, "", ""));
        let trusting = Client::with_roots(8, roots);
        assert!(trusting.send(call(&application.url("/"))).await.is_ok());
        assert_eq!(failure(&plain(), call(&application.url("/"))).await, "tls");
        let by_address = format!("https://127.0.0.1:{}/", application.addr.port());
        assert_eq!(failure(&trusting, call(&by_address)).await, "tls");
        let no_tls = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/", no_tls.local_addr().unwrap().port());
        let speaks_first = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = no_tls.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            // Until the client leaves: an early end would be what it tells of.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(failure(&trusting, call(&url)).await, "tls");
        speaks_first.join().unwrap();
    }
}
