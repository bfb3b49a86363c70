//! Listing: how many long answers, and long requests, there are at one time.
//!
//! A list of all sessions of a full node has megabytes, twice while it is made; what is imported
//! has as many, and more once it is read. So few are made or read at one time; the next asker waits
//! for a seat, until its request is too old. What is done beside the control thread goes on though
//! whoever asked is gone: it holds the seat until then.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::reply::BUSY;

/// Lists that are made or read at one time.
const LISTINGS_MAX: usize = 2;
/// Bytes of a list that are given to a connection at one time.
const PIECE_BYTES: usize = 64 << 10;

/// The seats of those who ask for a list, or who say much. Clones are one.
#[derive(Clone, Debug)]
pub(super) struct Seats(Arc<Semaphore>);

impl Default for Seats {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LISTINGS_MAX)))
    }
}

impl Seats {
    /// One for whoever asks, one after the other.
    pub(super) fn alone() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The seat of a request, for what is done for it on another thread. It is free once nobody holds
/// it.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    _held: Option<Arc<OwnedSemaphorePermit>>,
}

impl<S: Send + Sync> FromRequestParts<S> for Seat {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self { _held: None }))
    }
}

/// Answers when there is a seat, which is kept until the answer is read.
pub(super) async fn take_seat(
    State(seats): State<Seats>,
    mut request: Request,
    next: Next,
) -> Response {
    let seat = seats.0.acquire_owned().await.expect("the semaphore is never closed");
    let seat = Seat { _held: Some(Arc::new(seat)) };
    request.extensions_mut().insert(seat.clone());
    let (head, body) = next.run(request).await.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(rest) => Response::from_parts(head, Body::new(Seated { rest, _seat: seat })),
        Err(_) => BUSY.into_response(),
    }
}

/// A list that is being read.
struct Seated {
    rest: Bytes,
    _seat: Seat,
}

impl hyper::body::Body for Seated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.rest.len().min(PIECE_BYTES);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;

    fn next(body: &mut Seated) -> Option<usize> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map(Bytes::len),
            _ => None,
        }
    }

    #[test]
    fn a_list_is_read_in_pieces_and_its_seat_is_free_afterwards() {
        let seats = Seats::default();
        let mut lists: Vec<_> = std::iter::from_fn(|| {
            let seat = Arc::clone(&seats.0).try_acquire_owned().ok()?;
            let seat = Seat { _held: Some(Arc::new(seat)) };
            Some(Seated { rest: vec![7; PIECE_BYTES + 5].into(), _seat: seat })
        })
        .collect();
        assert_eq!(lists.len(), LISTINGS_MAX, "the next one waits");
        let mut first = lists.remove(0);
        assert_eq!(first.size_hint().exact(), Some(PIECE_BYTES as u64 + 5));
        assert_eq!([(); 3].map(|()| next(&mut first)), [Some(PIECE_BYTES), Some(5), None]);
        assert!(first.is_end_stream() && seats.0.available_permits() == 0);
        drop(first);
        assert_eq!(seats.0.available_permits(), 1);
    }
}
