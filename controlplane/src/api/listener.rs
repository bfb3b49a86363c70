//! Listener: accepts and bounds connections of the API.
//!
//! Limits: `listeners.control.connections_max` connections, the rest wait in the kernel's backlog;
//! [`HEAD_DEADLINE`] for a request's head, [`CONNECTION_DEADLINE`] for a connection as a whole,
//! [`HEAD_BYTES_MAX`] for what is buffered of one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(300);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A failed accept, as without free file descriptors, is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router, connections_max: u32) {
    let room = Arc::new(Semaphore::new(connections_max as usize));
    loop {
        let seat = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(reason = %error, "the control listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_DEADLINE, served).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(reason = %error, "a connection of the API ended"),
    }
}
