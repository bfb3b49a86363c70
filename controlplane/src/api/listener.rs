//! Listener: accepts and bounds connections of the API, with and without TLS around them.
//!
//! Limits: `listeners.control.connections_max` connections, of which a quiet one goes for a new
//! one, or one of the address that holds most (`callers.rs`); [`HANDSHAKE_DEADLINE`] for TLS,
//! [`HEAD_DEADLINE`] for a request's head and a balancer's, [`CONNECTION_DEADLINE`] for a
//! connection as a whole, [`HEAD_BYTES_MAX`] for what is buffered of one; who does not read his
//! answer is left (`progress.rs`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use codecs::proxy_protocol::Origin;
use dataplane::session::tls::Identity;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::callers::Caller;
use super::door::{Arrival, Door, Introduced};
use super::head::{Headed, take_head};
use super::progress::Progress;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(300);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A failed accept, as without free file descriptors, is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Who is not let in hears this, unless TLS would have to say it.
const CROWDED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// The certificates in force, if there are any: a new connection takes them from here.
pub type Certificates = watch::Receiver<Option<Identity>>;

/// Serves until the future is dropped; inside TLS with `certificates`.
pub async fn serve(
    listener: TcpListener,
    certificates: Option<Certificates>,
    router: Router,
    door: Door,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if !door.warden.admits(peer.ip(), door.listener, Instant::now()) {
                    continue;
                }
                let Some(caller) = door.callers.enter(peer.ip()).await else {
                    refuse(&stream, certificates.is_some());
                    continue;
                };
                let tls = match &certificates {
                    None => None,
                    Some(certificates) => match acceptor(certificates) {
                        Some(acceptor) => Some(acceptor),
                        None => continue,
                    },
                };
                tokio::spawn(connection((stream, peer), tls, router.clone(), caller, door.clone()));
            }
            Err(error) => {
                tracing::warn!(reason = %error, "the control listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What shakes hands with the certificates of now.
fn acceptor(certificates: &Certificates) -> Option<TlsAcceptor> {
    certificates.borrow().as_ref().map(|identity| TlsAcceptor::from(identity.https().clone()))
}

fn refuse(stream: &TcpStream, tls: bool) {
    if !tls {
        // A fresh socket has room for it; whoever does not read it sees the end.
        let _ = stream.try_write(CROWDED);
    }
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<TlsAcceptor>,
    router: Router,
    caller: Caller,
    door: Door,
) {
    let answered = async {
        let begun = timeout(HEAD_DEADLINE, begin(&stream, peer, &door, &caller)).await;
        let Ok(Some((first, arrival))) = begun else {
            return tracing::debug!(%peer, "a balancer told of nobody who may come");
        };
        let peer = arrival.peer;
        let service = TowerToHyperService::new(router);
        let service = caller.served_by(Introduced { inner: service, arrival }, peer);
        let stream = Headed::new(first, Progress::new(stream));
        match tls {
            None => answer(stream, peer, service).await,
            Some(acceptor) => match timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => answer(stream, peer, service).await,
                Ok(Err(error)) => tracing::debug!(%peer, reason = %error, "no TLS with a caller"),
                Err(_) => tracing::debug!(%peer, "a caller was too slow for TLS"),
            },
        }
    };
    tokio::select! {
        _ = timeout(CONNECTION_DEADLINE, answered) => {}
        () = caller.told_to_leave() => tracing::debug!(%peer, "a connection of the API made room"),
    }
}

/// Whose the connection is, and what was read to know it; `None` if he may not come.
async fn begin(
    stream: &TcpStream,
    peer: SocketAddr,
    door: &Door,
    caller: &Caller,
) -> Option<(Vec<u8>, Arrival)> {
    let is_proxy = door.warden.believes(peer.ip());
    let (listener, caller) = (door.listener, caller.clone());
    let arrival = Arrival { peer, is_proxy, listener, caller };
    if !(is_proxy && door.proxied) {
        return Some((Vec::new(), arrival));
    }
    let (origin, first) = match take_head(stream).await {
        Ok(head) => head,
        Err(error) => {
            tracing::debug!(%peer, reason = %error, "no head of a balancer");
            return None;
        }
    };
    let Origin::Client { source, .. } = origin else {
        // The balancer itself looks whether we live; whoever it is, he is no proxy of HTTP.
        return Some((first, Arrival { is_proxy: false, ..arrival }));
    };
    arrival.caller.is_of(source.ip());
    let is_proxy = door.warden.believes(source.ip());
    let admitted = door.warden.admits(source.ip(), listener, Instant::now());
    admitted.then_some((first, Arrival { peer: source, is_proxy, ..arrival }))
}

/// Answers requests until one side ends.
async fn answer<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    service: S,
) where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        // Who becomes a WebSocket is bounded there, and has no place here any more.
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, reason = %error, "a connection of the API ended");
    }
}
