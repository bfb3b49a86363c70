//! Bench: the router without a socket, for tests of its answers.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::router::router;
use super::state::ApiState;
use super::token::Token;
use crate::bridge::Ask;
use crate::config::UsageSection;
use crate::events::{Bus, RingLimits};
use crate::hooks::Hooks;
use crate::store::Store;
use crate::troubles::Troubles;
use crate::usage::Book;

/// A router whose questions the test answers.
pub(crate) struct Bench {
    router: Router,
    pub(crate) state: ApiState,
    pub(crate) asks: mpsc::Receiver<Ask>,
    secret: String,
    dir: std::path::PathBuf,
    _ready: watch::Sender<bool>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) json: Value,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("grandstand-{name}-{}", std::process::id()));
        let token = Token::open(&dir, None).unwrap();
        let secret = std::fs::read_to_string(token.path()).unwrap().trim().to_owned();
        let (asks_in, asks) = mpsc::channel(64);
        let ready = watch::Sender::new(true);
        let limits = watch::Sender::new(dataplane::config::Limits::default());
        let (writer, _) = tracing_appender::non_blocking(std::io::sink());
        let counter = writer.error_counter();
        let secrets = (token, vec![]);
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let store = Store::open(&dir).unwrap();
        let troubles = Troubles::new(store.clone());
        let usage = Book::new(store.clone(), UsageSection::default(), 64);
        let hooks = Hooks::start(store, bus.clone(), &dir.join("hooks"), Vec::new());
        let (ready_out, limits) = (ready.subscribe(), limits.subscribe());
        let told = (bus, hooks, usage);
        let state = ApiState::new(asks_in, ready_out, limits, counter, secrets, told, troubles);
        Self { router: router(state.clone()), state, asks, secret, dir, _ready: ready }
    }

    /// A request without the token.
    pub(crate) fn stranger(&self, method: &Method, path: &str) -> Request<Body> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        request.body(Body::empty()).unwrap()
    }

    /// A request with the token and JSON.
    pub(crate) fn request(&self, method: &Method, path: &str, body: &str) -> Request<Body> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.secret));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body.to_owned())).unwrap()
    }

    /// The body of an answer that is text.
    pub(crate) async fn text(&self, request: Request<Body>) -> String {
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let body = to_bytes(answer.into_body(), 64 << 20).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 8 << 20).await.unwrap();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: head.status, headers: head.headers, json }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
