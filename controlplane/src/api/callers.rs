//! Callers: the open connections of the API, and which of them goes when there are too many.
//!
//! A connection that asks for nothing, or has not said its whole request yet, holds a place that
//! somebody else could use. So nobody waits behind them: when all places are taken, the one that
//! has been quiet for longest is closed for the new one. Who is being answered keeps its place; if
//! all are, the new one waits.
//!
//! Limits: `listeners.control.connections_max` places.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use hyper::service::Service;
use tokio::sync::Notify;

/// All places. Lives on: the control thread; the lock is never waited for.
#[derive(Clone, Debug)]
pub(super) struct Callers(Arc<Places>);

#[derive(Debug)]
struct Places {
    max: usize,
    table: Mutex<Table>,
    /// A place may be free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    /// Who is quiet, the longest first.
    quiet: BTreeMap<u64, Arc<Notify>>,
    next: u64,
    /// Connections that went for others.
    evicted: u64,
}

impl Callers {
    pub(super) fn new(max: u32) -> Self {
        let table = Mutex::new(Table::default());
        Self(Arc::new(Places { max: max.max(1) as usize, table, freed: Notify::new() }))
    }

    /// Takes a place for a new connection, for which a quiet one may have to go.
    pub(super) async fn enter(&self) -> Caller {
        loop {
            // Before the look, so that a place which is freed after it wakes this.
            let freed = self.0.freed.notified();
            if let Some(caller) = self.try_enter() {
                return caller;
            }
            freed.await;
        }
    }

    fn try_enter(&self) -> Option<Caller> {
        let mut table = self.0.table();
        if table.open >= self.0.max {
            if let Some((_, leave)) = table.quiet.pop_first() {
                table.evicted += 1;
                leave.notify_one();
            }
            return None;
        }
        table.open += 1;
        let leave = Arc::new(Notify::new());
        let order = table.quieten(Arc::clone(&leave));
        let state = Mutex::new(Quiet { order: Some(order), answers: 0 });
        Some(Caller(Arc::new(Seat { places: Arc::clone(&self.0), leave, state })))
    }

    /// Connections that went for others.
    #[cfg(test)]
    fn evicted(&self) -> u64 {
        self.0.table().evicted
    }
}

impl Places {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that could panic is done while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn quieten(&mut self, leave: Arc<Notify>) -> u64 {
        let order = self.next;
        self.next += 1;
        self.quiet.insert(order, leave);
        order
    }
}

/// The place of one connection, until the last of its clones goes.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    places: Arc<Places>,
    leave: Arc<Notify>,
    state: Mutex<Quiet>,
}

/// Where a connection stands among the quiet ones, and how many answers it waits for.
#[derive(Debug)]
struct Quiet {
    order: Option<u64>,
    answers: u32,
}

impl Caller {
    /// Waits until it has to go.
    pub(super) async fn told_to_leave(&self) {
        self.0.leave.notified().await;
    }

    /// Its requests are answered by `inner`; meanwhile it keeps its place.
    pub(super) fn served_by<S>(&self, inner: S) -> Answering<S> {
        Answering { inner, caller: self.clone() }
    }

    fn asks(&self) -> Asking {
        let mut state = self.0.state();
        state.answers += 1;
        if let Some(order) = state.order.take() {
            self.0.places.table().quiet.remove(&order);
        }
        Asking(self.clone())
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, Quiet> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let order = self.state().order.take();
        let mut table = self.places.table();
        if let Some(order) = order {
            table.quiet.remove(&order);
        }
        table.open -= 1;
        drop(table);
        self.places.freed.notify_one();
    }
}

/// A request that is being answered.
struct Asking(Caller);

impl Drop for Asking {
    fn drop(&mut self) {
        let seat = &self.0.0;
        let mut state = seat.state();
        state.answers -= 1;
        if state.answers == 0 {
            state.order = Some(seat.places.table().quieten(Arc::clone(&seat.leave)));
            drop(state);
            // Whoever waits may have this place now.
            seat.places.freed.notify_one();
        }
    }
}

/// A service whose caller keeps its place until the answer is read.
#[derive(Clone, Debug)]
pub(super) struct Answering<S> {
    inner: S,
    caller: Caller,
}

impl<S, R> Service<R> for Answering<S>
where
    S: Service<R, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: R) -> Self::Future {
        let asking = self.caller.asks();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            Ok(Response::from_parts(head, Body::new(Read { body, _asking: asking })))
        })
    }
}

/// An answer that is being read.
struct Read {
    body: Body,
    _asking: Asking,
}

impl hyper::body::Body for Read {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quietest_goes_for_a_new_one_and_who_is_answered_stays() {
        let callers = Callers::new(2);
        let (first, second) = (callers.try_enter().unwrap(), callers.try_enter().unwrap());
        let asking = first.asks();
        assert!(callers.try_enter().is_none(), "the second is told to leave");
        assert_eq!(callers.evicted(), 1);
        drop(second);
        let third = callers.try_enter().unwrap();
        let busy = third.asks();
        assert!(callers.try_enter().is_none(), "both are being answered");
        assert_eq!(callers.evicted(), 1);
        // Once answered, it is the newest of the quiet ones.
        drop((busy, asking));
        assert!(callers.try_enter().is_none());
        assert_eq!(callers.evicted(), 2);
        drop(third);
        assert!(callers.try_enter().is_some());
        drop(first);
        assert_eq!(callers.0.table().open, 0);
        assert!(callers.0.table().quiet.is_empty());
    }

    #[test]
    fn who_waits_for_a_place_hears_of_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let callers = Callers::new(1);
            let first = callers.enter().await;
            let asking = first.asks();
            let next = tokio::spawn({
                let callers = callers.clone();
                async move { drop(callers.enter().await) }
            });
            tokio::task::yield_now().await;
            assert!(!next.is_finished(), "the first is being answered");
            drop(asking);
            first.told_to_leave().await;
            drop(first);
            next.await.unwrap();
        });
    }
}
