//! Door: whose a connection and each of its requests is, and whether he may call now.
//!
//! ```text
//!   accept -> penalty? rate? -> place -> head of a balancer -> penalty? rate? -> TLS -> requests
//!   request -> X-Forwarded-For of a proxy -> penalty? rate? -> 429, or the router; 401 is counted
//! ```
//!
//! Only those whom `session.proxies` names are believed about others, as on the media listeners.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use codecs::http1::forwarded_for;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::service::Service;

use super::callers::{Caller, Callers, PeerAddr};
use super::reply::Refusal;
use super::sockets::ForgedPass;
use crate::coordinator::wire::PASS;
use crate::penalties::Warden;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a listener of the API lets in.
#[derive(Clone, Debug)]
pub struct Door {
    /// What the file calls it.
    pub listener: &'static str,
    /// Balancers begin there with a head.
    pub proxied: bool,
    /// Places for connections.
    pub callers: Callers,
    /// Who may not come.
    pub warden: Warden,
}

/// Whose a connection is.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) peer: SocketAddr,
    /// It speaks for others, by a header of each request.
    pub(super) is_proxy: bool,
    pub(super) listener: &'static str,
    pub(super) caller: Caller,
}

impl Arrival {
    /// Whose a request with these headers is.
    fn client(&self, headers: &HeaderMap, warden: &Warden) -> IpAddr {
        let lists = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let named = || forwarded_for(lists, |addr| warden.believes(addr));
        self.is_proxy.then(named).flatten().unwrap_or(self.peer.ip()).to_canonical()
    }
}

/// A service that is told whose its requests are.
#[derive(Clone, Debug)]
pub(super) struct Introduced<S> {
    pub(super) inner: S,
    pub(super) arrival: Arrival,
}

impl<S, B> Service<http::Request<B>> for Introduced<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: http::Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.arrival.clone());
        self.inner.call(request)
    }
}

/// These routes, for those who may call.
pub fn judged_by(warden: &Warden, routes: Router) -> Router {
    routes.layer(from_fn_with_state(warden.clone(), judge))
}

async fn judge(State(warden): State<Warden>, mut request: Request, next: Next) -> Response {
    let Some(arrival) = request.extensions().get::<Arrival>().cloned() else {
        return next.run(request).await;
    };
    let headers = request.headers();
    let (client, listener) = (arrival.client(headers, &warden), arrival.listener);
    let token = headers.get(AUTHORIZATION).map(|shown| warden.shown(shown.as_bytes()));
    let pass = headers.get(PASS).map(|shown| warden.shown(shown.as_bytes()));
    let may_guess = token.is_some() || pass.is_some();
    arrival.caller.is_of(client);
    if client != arrival.peer.ip().to_canonical() {
        request.extensions_mut().insert(PeerAddr(SocketAddr::new(client, 0)));
    }
    if let Err(wait) = warden.call(client, (listener, may_guess), Instant::now()) {
        return too_many(wait);
    }
    let answer = next.run(request).await;
    let is_forged = answer.extensions().get::<ForgedPass>().is_some();
    let wrong = match answer.status() {
        StatusCode::UNAUTHORIZED => token.map(|shown| (shown, "api_token")),
        _ => pass.filter(|_| is_forged).map(|shown| (shown, "control_pass")),
    };
    if let Some(wrong) = wrong {
        warden.api_failed(client, wrong, listener, Instant::now());
    }
    answer
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let refusal = Refusal::fixed(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_calls",
        "this address called too often, or showed too many wrong tokens; come again after \
         Retry-After, or list it in limits.exempt",
        None,
    );
    ([(RETRY_AFTER, seconds.max(1).to_string())], refusal).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Sockets;
    use crate::config::{Auto, CoordinatorSection};
    use crate::coordinator::wire::{Pass, Role};
    use crate::penalties::Access;
    use dataplane::config::AddrRange;
    use dataplane::ids::Secret;
    use std::time::SystemTime;

    fn routes(warden: &Warden) -> Router {
        let section = CoordinatorSection {
            enabled: Auto::Set(true),
            control_secret: Secret("hush".to_owned()),
            ..CoordinatorSection::default()
        };
        // Nobody attaches here: what a good pass hears is that it came without a WebSocket.
        let (asks, _) = tokio::sync::mpsc::channel(1);
        judged_by(warden, Sockets::new(asks, &section).router())
    }

    /// What somebody hears who shows a pass of this secret that was made so many seconds ago.
    async fn hears(routes: &mut Router, arrival: &Arrival, (secret, age): (&str, u64)) -> u16 {
        let pass = Pass::of(&Secret(secret.to_owned())).unwrap();
        let pass = pass.issue(Role::Rtmp, SystemTime::now() - Duration::from_secs(age)).0;
        let request = Request::get(Role::Rtmp.path()).header(PASS, pass).extension(arrival.clone());
        let request = request.body(axum::body::Body::empty()).unwrap();
        tower_service::Service::call(routes, request).await.unwrap().status().as_u16()
    }

    async fn arrival() -> Arrival {
        let peer = SocketAddr::from(([192, 0, 2, 7], 5_000));
        let caller = Callers::new(4).enter(peer.ip()).await.unwrap();
        Arrival { peer, is_proxy: false, listener: "control", caller }
    }

    #[tokio::test]
    async fn whoever_tries_secrets_is_shut_out_and_a_good_pass_is_no_guess() {
        let (warden, mut access) = (Warden::default(), Access::default());
        access.penalties.guesses_max = 5;
        warden.set_access(access);
        let (mut routes, arrival) = (routes(&warden), arrival().await);
        for age in 0..20 {
            assert_eq!(hears(&mut routes, &arrival, ("hush", age)).await, 426);
        }
        for guess in ["hus", "hushh", "Hush", "h", "secret"] {
            assert_eq!(hears(&mut routes, &arrival, (guess, 0)).await, 403, "{guess}");
        }
        assert_eq!(hears(&mut routes, &arrival, ("hush", 0)).await, 429);
        let penalties = warden.penalties(Instant::now());
        assert_eq!((penalties.len(), &*penalties[0].reason), (1, "control_pass"));
    }

    /// A peer of a former secret makes a pass each ten seconds.
    #[tokio::test]
    async fn a_dozen_peers_of_a_former_secret_shut_nobody_out() {
        let warden = Warden::default();
        let (mut routes, arrival) = (routes(&warden), arrival().await);
        for age in 0..12 * 6 {
            assert_eq!(hears(&mut routes, &arrival, ("former", age)).await, 403);
        }
        assert_eq!(hears(&mut routes, &arrival, ("hush", 0)).await, 426);
        assert!(warden.penalties(Instant::now()).is_empty());
    }

    #[tokio::test]
    async fn a_request_is_of_whom_a_believed_proxy_names() {
        let warden = Warden::default();
        let range = |text: &str, bits| AddrRange { addr: text.parse().unwrap(), bits };
        warden.set_access(Access { proxies: vec![range("10.0.0.0", 8)], ..Access::default() });
        let callers = Callers::new(4);
        let caller = callers.enter([10, 0, 0, 1].into()).await.unwrap();
        let of = |peer: &str, is_proxy: bool, lists: &[&str]| {
            let peer = SocketAddr::new(peer.parse().unwrap(), 5000);
            let arrival = Arrival { peer, is_proxy, listener: "control", caller: caller.clone() };
            let fields = lists.iter().map(|list| (FORWARDED_FOR, list.parse().unwrap()));
            arrival.client(&fields.collect(), &warden).to_string()
        };
        for (peer, is_proxy, lists, client) in [
            ("10.0.0.1", true, &["192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", true, &["127.0.0.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", true, &["127.0.0.1", "192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", true, &["unknown"], "10.0.0.1"),
            ("10.0.0.1", true, &[], "10.0.0.1"),
            ("10.0.0.1", false, &["192.0.2.7"], "10.0.0.1"),
            ("198.51.100.1", false, &["127.0.0.1"], "198.51.100.1"),
        ] {
            assert_eq!(of(peer, is_proxy, lists), client, "{peer} {lists:?}");
        }
    }
}
