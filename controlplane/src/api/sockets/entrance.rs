//! Entrance: who may attach, and the upgrade to a WebSocket.
//!
//! Spec: RFC 6455 4.2. Errors: 403 without a good pass, and always without a secret; 404 where the
//! contract is not in force; 426 for who does not ask for a WebSocket; 503 where there are as many
//! as may be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::SEC_WEBSOCKET_VERSION;
use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{self, handshake::derive_accept_key};

use crate::api::callers::PeerAddr;
use crate::auth::is_forged;
use crate::bridge::{Ask, AttachedAsk};
use crate::config::CoordinatorSection;
use crate::coordinator::attached::LINK_MAX;
use crate::coordinator::wire::{PASS, Pass, Role, Whereabouts};
use crate::counts::Counts;
use crate::link::{Line, socket, speak};

/// Whoever was let in speaks the other protocol within this.
const UPGRADE_MAX: Duration = Duration::from_secs(10);
/// A refusal is logged this often at most; the others are counted.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the key of a handshake at most; it has 24.
const KEY_BYTES_MAX: usize = 64;
/// Why a peer is not let in, as it is counted.
const REFUSALS: [&str; 5] = ["secret_missing", "pass", "no_websocket", "full", "busy"];

/// Of an answer: the pass that was shown was made with another secret.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ForgedPass;

/// Where peers attach. Clones are one.
#[derive(Clone, Debug)]
pub struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asks: mpsc::Sender<Ask>,
    on: bool,
    pass: Option<Pass>,
    messages_per_s_max: u32,
    refused: [AtomicU64; REFUSALS.len()],
    /// When a refusal was last logged.
    told: Mutex<Option<Instant>>,
}

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody can have a pass.
    NoSecret,
    /// It shows none, or a bad one: why, in a word.
    Pass(&'static str),
    /// It asks for no WebSocket.
    NoWebSocket,
    /// There are too many.
    Full,
    /// Nobody has time for it.
    Busy,
}

impl Refusal {
    const fn place(self) -> usize {
        match self {
            Self::NoSecret => 0,
            Self::Pass(_) => 1,
            Self::NoWebSocket => 2,
            Self::Full => 3,
            Self::Busy => 4,
        }
    }
}

impl Sockets {
    /// Lets in who has a pass of the configured secret, to the loop behind `asks`.
    #[must_use]
    pub fn new(asks: mpsc::Sender<Ask>, section: &CoordinatorSection) -> Self {
        Self(Arc::new(Inner {
            asks,
            on: section.is_on(),
            pass: Pass::of(&section.control_secret),
            messages_per_s_max: section.messages_per_s_max,
            refused: Default::default(),
            told: Mutex::default(),
        }))
    }

    /// The routes of all roles.
    pub fn router(&self) -> Router {
        Role::ALL.into_iter().fold(Router::new(), |router, role| {
            let sockets = self.clone();
            let enter = move |request: Request| async move { sockets.enter(role, request).await };
            router.route(role.path(), get(enter))
        })
    }

    /// Writes what was counted.
    pub fn count(&self, into: &mut Counts) {
        let refused =
            |(&reason, count): (&&'static str, &AtomicU64)| (reason, count.load(Ordering::Relaxed));
        into.counter_by(
            "coordinator_peers_refused_total",
            "Streaming servers and encoders that were not let in, by why.",
            "reason",
            REFUSALS.iter().zip(&self.0.refused).map(refused),
        );
    }

    async fn enter(self, role: Role, request: Request) -> Response {
        if !self.0.on {
            return (StatusCode::NOT_FOUND, "Not found.\n").into_response();
        }
        let from = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
        match self.try_enter(role, request, from).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(role, refusal, from),
        }
    }

    async fn try_enter(
        &self,
        role: Role,
        mut request: Request,
        from: Option<SocketAddr>,
    ) -> Result<Response, Refusal> {
        self.judge(role, request.headers())?;
        let accept = accept(request.headers()).ok_or(Refusal::NoWebSocket)?;
        let from = from.ok_or(Refusal::Busy)?;
        let at = Whereabouts::read(role, request.headers(), from.ip());
        let (link, orders) = mpsc::channel(LINK_MAX);
        let (reply, answer) = oneshot::channel();
        let attach = Ask::Attached(AttachedAsk::Attach { role, at, link, reply });
        self.0.asks.try_send(attach).map_err(|_| Refusal::Busy)?;
        let peer = answer.await.map_err(|_| Refusal::Busy)?.ok_or(Refusal::Full)?;
        let upgrade = hyper::upgrade::on(&mut request);
        let (asks, per_s) = (self.0.asks.clone(), self.0.messages_per_s_max);
        tokio::spawn(async move {
            let reason = match tokio::time::timeout(UPGRADE_MAX, upgrade).await {
                Ok(Ok(stream)) => {
                    let heard = |message| Ask::Attached(AttachedAsk::Heard { peer, message });
                    let asks = asks.clone();
                    let line = Line { orders, asks, heard, messages_per_s_max: per_s };
                    let side = tungstenite::protocol::Role::Server;
                    speak(socket(TokioIo::new(stream), side).await, peer, line).await
                }
                _ => "connection_lost",
            };
            // If the loop is over, nobody is attached to it any more.
            let _ = asks.send(Ask::Attached(AttachedAsk::Left { peer, reason })).await;
        });
        let head = [
            (CONNECTION, "Upgrade".to_owned()),
            (UPGRADE, "websocket".to_owned()),
            (SEC_WEBSOCKET_ACCEPT, accept),
        ];
        Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
    }

    /// Whether the pass that is shown is one for `role`.
    fn judge(&self, role: Role, headers: &HeaderMap) -> Result<(), Refusal> {
        let pass = self.0.pass.as_ref().ok_or(Refusal::NoSecret)?;
        let shown = headers.get(PASS).and_then(|value| value.to_str().ok());
        let shown = shown.ok_or(Refusal::Pass("token_missing"))?;
        pass.judge(role, shown.trim(), SystemTime::now()).map_err(Refusal::Pass)
    }

    fn refuse(&self, role: Role, refusal: Refusal, from: Option<SocketAddr>) -> Response {
        self.0.refused[refusal.place()].fetch_add(1, Ordering::Relaxed);
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        if self.may_tell(Instant::now()) {
            let role = role.name();
            match refusal {
                Refusal::NoSecret => tracing::warn!(
                    role,
                    peer = from,
                    "nobody may attach, because coordinator.control_secret is not set; set it \
                     (CONTROL_SECRET) to the secret of the servers and encoders"
                ),
                Refusal::Pass(reason) => tracing::warn!(
                    role,
                    peer = from,
                    reason,
                    "a peer of the coordinator shows no good x-control-auth-token; its \
                     CONTROL_SECRET must be coordinator.control_secret"
                ),
                Refusal::Full => tracing::warn!(
                    role,
                    peer = from,
                    "as many are attached as may be; raise coordinator.servers_max or \
                     coordinator.encoders_max"
                ),
                Refusal::NoWebSocket | Refusal::Busy => {
                    tracing::debug!(role, peer = from, ?refusal, "a peer was not let in");
                }
            }
        }
        match refusal {
            Refusal::NoSecret => {
                (StatusCode::FORBIDDEN, "nobody may attach unless CONTROL_SECRET is set\n")
                    .into_response()
            }
            Refusal::Pass(reason) => {
                let no = "x-control-auth-token is no pass for this role\n";
                let mut response = (StatusCode::FORBIDDEN, no).into_response();
                if is_forged(reason) {
                    response.extensions_mut().insert(ForgedPass);
                }
                response
            }
            Refusal::NoWebSocket => {
                let head = [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
                (StatusCode::UPGRADE_REQUIRED, head, "this is a WebSocket\n").into_response()
            }
            Refusal::Full | Refusal::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "no room for another one\n").into_response()
            }
        }
    }

    fn may_tell(&self, now: Instant) -> bool {
        // Nothing that could panic is done while it is held.
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let may = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if may {
            *told = Some(now);
        }
        may
    }
}

/// What proves that a request for a WebSocket was understood; `None` if it is none.
fn accept(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let has = |name, word: &str| {
        let list = text(name).unwrap_or_default();
        list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let key = text(SEC_WEBSOCKET_KEY)?.trim();
    let good = has(CONNECTION, "upgrade")
        && has(UPGRADE, "websocket")
        && text(SEC_WEBSOCKET_VERSION)?.trim() == "13"
        && (1..=KEY_BYTES_MAX).contains(&key.len());
    good.then(|| derive_accept_key(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use dataplane::ids::Secret;
    use tower_service::Service;

    use super::*;
    use crate::config::Auto;

    const PEER: PeerAddr =
        PeerAddr(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 5));

    fn sockets(secret: &str, enabled: Auto<bool>) -> (Sockets, mpsc::Receiver<Ask>) {
        let section = CoordinatorSection {
            enabled,
            control_secret: Secret(secret.to_owned()),
            ..CoordinatorSection::default()
        };
        let (asks, asked) = mpsc::channel(1);
        (Sockets::new(asks, &section), asked)
    }

    fn request(role: Role, token: Option<&str>, websocket: bool) -> Request {
        let mut request = http::Request::get(role.path()).extension(PEER);
        if let Some(token) = token {
            request = request.header(PASS, token);
        }
        if websocket {
            request = request
                .header(CONNECTION, "keep-alive, Upgrade")
                .header(UPGRADE, "WebSocket")
                .header(SEC_WEBSOCKET_VERSION, "13")
                .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        }
        request.body(Body::empty()).unwrap()
    }

    async fn status(sockets: &Sockets, request: Request) -> u16 {
        sockets.router().call(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn only_a_pass_of_the_secret_and_the_role_opens() {
        let pass = Pass::of(&Secret("hush".to_owned())).unwrap();
        let other = Pass::of(&Secret("other".to_owned())).unwrap();
        let now = SystemTime::now();
        let (sockets, _asked) = sockets("hush", Auto::Auto);
        for role in Role::ALL {
            let good = pass.issue(role, now).0;
            let old = pass.issue(role, now - Duration::from_secs(7_200)).0;
            for bad in [None, Some(""), Some("hush"), Some(old.as_str())] {
                assert_eq!(status(&sockets, request(role, bad, true)).await, 403, "{bad:?}");
            }
            let forged = other.issue(role, now).0;
            for (shown, is_forged) in [(&forged, true), (&old, false)] {
                let request = request(role, Some(shown), true);
                let answer = sockets.router().call(request).await.unwrap();
                assert_eq!(answer.status().as_u16(), 403);
                assert_eq!(answer.extensions().get::<ForgedPass>().is_some(), is_forged);
            }
            let wrong = Role::ALL.into_iter().find(|other| *other != role).unwrap();
            assert_eq!(status(&sockets, request(wrong, Some(&good), true)).await, 403);
            assert_eq!(status(&sockets, request(role, Some(&good), false)).await, 426);
        }
        let mut counts = Counts::default();
        sockets.count(&mut counts);
        assert!(format!("{counts:?}").contains("21"), "{counts:?}");
    }

    #[tokio::test]
    async fn without_a_secret_or_the_contract_nobody_attaches() {
        let (open, _asked) = sockets("", Auto::Set(true));
        assert_eq!(status(&open, request(Role::Rtmp, None, true)).await, 403);
        let (off, _asked) = sockets("hush", Auto::Set(false));
        let good = Pass::of(&Secret("hush".to_owned())).unwrap();
        let good = good.issue(Role::Hls, SystemTime::now()).0;
        assert_eq!(status(&off, request(Role::Hls, Some(&good), true)).await, 404);
    }

    #[tokio::test]
    async fn who_is_let_in_is_told_so_once_the_loop_agrees() {
        let good = Pass::of(&Secret("hush".to_owned())).unwrap();
        let good = good.issue(Role::Rtmp, SystemTime::now()).0;
        for (number, expected) in
            [(Some(crate::coordinator::attached::PeerId(2)), 101), (None, 503)]
        {
            let (sockets, mut asked) = sockets("hush", Auto::Auto);
            let request = request(Role::Rtmp, Some(&good), true);
            let answering = tokio::spawn(async move {
                let answer = sockets.router().call(request).await.unwrap();
                let accept = answer.headers().get(SEC_WEBSOCKET_ACCEPT).cloned();
                (answer.status().as_u16(), accept)
            });
            let Some(Ask::Attached(AttachedAsk::Attach { role, at, reply, .. })) =
                asked.recv().await
            else {
                panic!("the loop is asked");
            };
            assert_eq!((role, at.ip, at.port), (Role::Rtmp, PEER.0.ip(), 1935));
            reply.send(number).unwrap();
            let (status, accept) = answering.await.unwrap();
            assert_eq!(status, expected);
            if status == 101 {
                // The example of RFC 6455 1.3.
                assert_eq!(accept.unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                // The request was none of a connection: its upgrade fails, and the loop hears it.
                let left = asked.recv().await;
                assert!(matches!(left, Some(Ask::Attached(AttachedAsk::Left { .. }))), "{left:?}");
            }
        }
    }

    #[test]
    fn refusals_are_logged_once_a_second() {
        let (sockets, _asked) = sockets("hush", Auto::Auto);
        let now = Instant::now();
        let told =
            [0, 10, 999, 1_000, 1_001].map(|ms| sockets.may_tell(now + Duration::from_millis(ms)));
        assert_eq!(told, [true, false, false, true, false]);
    }
}
