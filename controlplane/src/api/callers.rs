//! Callers: the open connections of the API, and which of them goes when there are too many.
//!
//! A connection that asks for nothing, or has not said its whole request yet, holds a place that
//! somebody else could use. So nobody waits behind them: when all places are taken, the one that
//! has been quiet for longest is closed for the new one. If all are being answered, the address
//! that holds most places gives its oldest one to an address that holds fewer: nobody keeps
//! everybody else out by asking much and reading slowly. A new one of the address that holds most
//! is refused instead, so that it keeps nobody waiting behind it.
//!
//! Limits: `listeners.control.connections_max` places.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::Request;
use hyper::body::{Frame, SizeHint};
use hyper::service::Service;
use tokio::sync::Notify;

use crate::counts::Counts;

/// All places. Clones are one. Lives on: the control thread; the lock is never waited for.
#[derive(Clone, Debug)]
pub struct Callers(Arc<Places>);

#[derive(Debug)]
struct Places {
    max: usize,
    table: Mutex<Table>,
    /// A place may be free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Who has a place, the oldest first.
    open: BTreeMap<u64, Open>,
    /// Who is quiet, the longest first.
    quiet: BTreeMap<u64, u64>,
    /// Places by address.
    held: BTreeMap<IpAddr, usize>,
    next: u64,
    ended: Ended,
}

/// One connection.
#[derive(Debug)]
struct Open {
    from: IpAddr,
    leave: Arc<Notify>,
    /// It was told to leave.
    leaving: bool,
}

/// Connections that went, or were not let in, for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    quiet: u64,
    crowd: u64,
    refused: u64,
}

/// What becomes of a new connection.
enum Entry {
    Seated(Caller),
    /// Somebody goes for it, or will.
    Wait,
    Refused,
}

impl Callers {
    /// Places for so many connections.
    #[must_use]
    pub fn new(max: u32) -> Self {
        let table = Mutex::new(Table::default());
        Self(Arc::new(Places { max: max.max(1) as usize, table, freed: Notify::new() }))
    }

    /// Takes a place for a new connection, for which another one may have to go; `None` if its own
    /// address holds more than half of them.
    pub(super) async fn enter(&self, from: IpAddr) -> Option<Caller> {
        loop {
            // Before the look, so that a place which is freed after it wakes this.
            let freed = self.0.freed.notified();
            match self.try_enter(from) {
                Entry::Seated(caller) => return Some(caller),
                Entry::Wait => freed.await,
                Entry::Refused => return None,
            }
        }
    }

    fn try_enter(&self, from: IpAddr) -> Entry {
        let from = block(from);
        let mut table = self.0.table();
        if table.open.len() >= self.0.max {
            return table.make_room(from, self.0.max);
        }
        let leave = Arc::new(Notify::new());
        let id = table.next();
        table.open.insert(id, Open { from, leave: Arc::clone(&leave), leaving: false });
        *table.held.entry(from).or_default() += 1;
        let order = table.quieten(id);
        let state = Mutex::new(Quiet { order: Some(order), answers: 0 });
        Entry::Seated(Caller(Arc::new(Seat { places: Arc::clone(&self.0), id, leave, state })))
    }

    /// What it counts.
    pub fn count(&self, into: &mut Counts) {
        let table = self.0.table();
        let (open, Ended { quiet, crowd, refused }) = (table.open.len(), table.ended);
        drop(table);
        let help = "Open connections of the API.";
        into.gauge("control_connections", help, open as f64);
        into.counter_by(
            "control_connections_ended_total",
            "Connections of the API that went, or were not let in, for others: they were quiet, \
             their address held most places, or it held more than half.",
            "reason",
            [("quiet", quiet), ("crowd", crowd), ("refused", refused)],
        );
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn block(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from(u128::from(addr) >> 64 << 64)),
        addr => addr,
    }
}

impl Places {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that could panic is done while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    const fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn quieten(&mut self, id: u64) -> u64 {
        let order = self.next();
        self.quiet.insert(order, id);
        order
    }

    /// Tells somebody to leave for a new one of the address `from`, if somebody should.
    fn make_room(&mut self, from: IpAddr, max: usize) -> Entry {
        if self.open.values().any(|open| open.leaving) {
            return Entry::Wait;
        }
        if let Some((_, id)) = self.quiet.pop_first() {
            self.ended.quiet += 1;
            return self.dismiss(id);
        }
        let own = self.held.get(&from).copied().unwrap_or(0);
        let most =
            self.held.iter().max_by_key(|&(_, held)| *held).map(|(&addr, &held)| (addr, held));
        if let Some((addr, held)) = most
            && held > own + 1
            && let Some((&id, _)) = self.open.iter().find(|(_, open)| open.from == addr)
        {
            self.ended.crowd += 1;
            return self.dismiss(id);
        }
        if 2 * own > max {
            self.ended.refused += 1;
            return Entry::Refused;
        }
        Entry::Wait
    }

    fn dismiss(&mut self, id: u64) -> Entry {
        if let Some(open) = self.open.get_mut(&id) {
            open.leaving = true;
            open.leave.notify_one();
        }
        Entry::Wait
    }

    fn leave(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else { return };
        self.give(open.from);
    }

    fn rename(&mut self, id: u64, from: IpAddr) {
        let Some(open) = self.open.get_mut(&id).filter(|open| open.from != from) else { return };
        let former = std::mem::replace(&mut open.from, from);
        *self.held.entry(from).or_default() += 1;
        self.give(former);
    }

    /// An address holds one place less.
    fn give(&mut self, from: IpAddr) {
        if let Some(held) = self.held.get_mut(&from) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&from);
            }
        }
    }
}

/// The place of one connection, until the last of its clones goes.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    places: Arc<Places>,
    id: u64,
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

    /// Its requests, which come from `peer`, are answered by `inner`; meanwhile it keeps its place.
    pub(super) fn served_by<S>(&self, inner: S, peer: SocketAddr) -> Answering<S> {
        Answering { inner, caller: self.clone(), peer: PeerAddr(peer) }
    }

    /// It is somebody's whom its proxy names.
    pub(super) fn is_of(&self, from: IpAddr) {
        self.0.places.table().rename(self.0.id, block(from));
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
        table.leave(self.id);
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
            state.order = Some(seat.places.table().quieten(seat.id));
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
    peer: PeerAddr,
}

/// Where a request comes from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddr(pub(super) SocketAddr);

impl<S, B> Service<Request<B>> for Answering<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
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

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    impl Callers {
        fn seat(&self, last: u8) -> Caller {
            match self.try_enter(addr(last)) {
                Entry::Seated(caller) => caller,
                Entry::Wait => panic!("it is to wait"),
                Entry::Refused => panic!("it is refused"),
            }
        }

        fn waits(&self, last: u8) -> bool {
            matches!(self.try_enter(addr(last)), Entry::Wait)
        }

        fn ended(&self) -> [u64; 3] {
            let Ended { quiet, crowd, refused } = self.0.table().ended;
            [quiet, crowd, refused]
        }
    }

    #[test]
    fn the_quietest_goes_for_a_new_one_and_who_is_answered_stays() {
        let callers = Callers::new(2);
        let (first, second) = (callers.seat(1), callers.seat(2));
        let asking = first.asks();
        assert!(callers.waits(1), "the second is told to leave");
        assert_eq!(callers.ended(), [1, 0, 0]);
        drop(second);
        let third = callers.seat(2);
        let busy = third.asks();
        assert!(callers.waits(3), "both are being answered, each of an address of its own");
        assert_eq!(callers.ended(), [1, 0, 0]);
        // Once answered, it is the newest of the quiet ones.
        drop((busy, asking));
        assert!(callers.waits(3));
        assert_eq!(callers.ended(), [2, 0, 0]);
        drop(third);
        callers.seat(3);
        drop(first);
        let table = callers.0.table();
        assert!(table.open.is_empty() && table.quiet.is_empty() && table.held.is_empty());
    }

    #[test]
    fn an_address_that_holds_most_places_gives_way_and_is_refused_more() {
        let callers = Callers::new(4);
        let greedy: Vec<_> = (0..4).map(|_| callers.seat(1)).collect();
        let asking: Vec<_> = greedy.iter().map(Caller::asks).collect();
        assert!(matches!(callers.try_enter(addr(1)), Entry::Refused));
        assert!(callers.waits(2), "the oldest of the other address is told to leave");
        assert!(callers.waits(2), "and only that one");
        assert_eq!(callers.ended(), [0, 1, 1]);
        drop((asking, greedy));
        callers.seat(2);
    }

    #[test]
    fn a_place_behind_a_proxy_is_its_clients() {
        let callers = Callers::new(4);
        let all: Vec<_> = (0..4).map(|_| callers.seat(1)).collect();
        let asking: Vec<_> = all.iter().map(Caller::asks).collect();
        all[0].is_of(addr(7));
        all[1].is_of(addr(7));
        all[1].is_of(addr(8));
        let held = |callers: &Callers| {
            let held = callers.0.table().held.clone();
            held.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(held(&callers), [(addr(1), 2), (addr(7), 1), (addr(8), 1)]);
        // The proxy no longer holds too many.
        assert!(!matches!(callers.try_enter(addr(1)), Entry::Refused));
        drop((asking, all));
        assert!(held(&callers).is_empty());
    }

    #[test]
    fn an_address_of_ipv6_is_its_block() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(block(addr("2001:db8::1")), block(addr("2001:db8::ffff:1")));
        assert_ne!(block(addr("2001:db8::1")), block(addr("2001:db8:0:1::1")));
        assert_eq!(block(addr("::ffff:192.0.2.1")), addr("192.0.2.1"));
        assert_ne!(block(addr("127.0.0.1")), block(addr("127.0.0.2")));
    }

    #[test]
    fn who_waits_for_a_place_hears_of_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let callers = Callers::new(1);
            let first = callers.enter(addr(1)).await.unwrap();
            let asking = first.asks();
            let next = tokio::spawn({
                let callers = callers.clone();
                async move { callers.enter(addr(2)).await.is_some() }
            });
            tokio::task::yield_now().await;
            assert!(!next.is_finished(), "the first is being answered");
            drop(asking);
            first.told_to_leave().await;
            drop(first);
            assert!(next.await.unwrap());
        });
    }
}
