//! Listener: accepts and bounds connections of the API.
//!
//! Limits: `listeners.control.connections_max` connections, of which a quiet one goes for a new
//! one (`callers.rs`); [`HEAD_DEADLINE`] for a request's head, [`CONNECTION_DEADLINE`] for a
//! connection as a whole, [`HEAD_BYTES_MAX`] for what is buffered of one.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use super::callers::{Caller, Callers};

const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(300);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A failed accept, as without free file descriptors, is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router, connections_max: u32) {
    let callers = Callers::new(connections_max);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let caller = callers.enter().await;
                tokio::spawn(connection(stream, router.clone(), caller));
            }
            Err(error) => {
                tracing::warn!(reason = %error, "the control listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, caller: Caller) {
    let service = caller.served_by(TowerToHyperService::new(router));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = tokio::time::timeout(CONNECTION_DEADLINE, served) => {
            if let Ok(Err(error)) = served {
                tracing::debug!(reason = %error, "a connection of the API ended");
            }
        }
        () = caller.told_to_leave() => tracing::debug!("a quiet connection of the API made room"),
    }
}
