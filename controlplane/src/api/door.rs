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
use crate::auth::Bearer;
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
    let pass = headers.get(PASS).map(|shown| known_pass(&warden, request.uri().path(), shown));
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

/// A pass as it is known again. Whoever attaches makes one each time, so that a server with a
/// former secret, which comes again and again, is known by who it says it is.
fn known_pass(warden: &Warden, path: &str, shown: &HeaderValue) -> u32 {
    let bearer = shown.to_str().ok().and_then(|text| Bearer::of(text.trim()));
    bearer.map_or_else(|| warden.shown(shown.as_bytes()), |bearer| warden.shown((path, bearer)))
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
    use crate::coordinator::wire::{Pass, Role};
    use crate::penalties::Access;
    use dataplane::config::AddrRange;
    use dataplane::ids::Secret;
    use std::time::SystemTime;

    #[test]
    fn a_server_with_a_former_secret_shows_one_pass_however_often_it_makes_it() {
        let warden = Warden::default();
        let pass = Pass::of(&Secret("former".to_owned())).unwrap();
        let known = |role: Role, age: u64| {
            let made = pass.issue(role, SystemTime::now() - Duration::from_secs(age)).0;
            known_pass(&warden, role.path(), &made.parse().unwrap())
        };
        assert_eq!(known(Role::Rtmp, 0), known(Role::Rtmp, 9));
        assert_ne!(known(Role::Rtmp, 0), known(Role::Hls, 0));
        let torn = |text: &'static str| known_pass(&warden, "/", &HeaderValue::from_static(text));
        assert_ne!(torn("guess.one"), torn("guess.two"));
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
