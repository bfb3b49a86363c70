//! Feed: events as Server-Sent Events, for as long as somebody reads them.
//!
//! Spec: WHATWG HTML, server-sent events.
//!
//! A client that reads slowly holds up nobody: its cursor stays where it is, and when the ring has
//! passed it the client is told `missed` with the number of events and goes on. One that takes
//! nothing for [`STALL`] is dropped: its seat is for somebody who listens.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::events::{Cursor, Event, StreamPattern, Told, TypePattern};

/// Clients at one time: each has a connection of its own.
pub(crate) const CLIENTS_MAX: usize = 32;
/// Patterns of types, or of streams, that one client may name.
pub(super) const PATTERNS_MAX: usize = 32;
/// A silent feed says a comment this often, so that nobody between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A client that takes nothing for so long is dropped.
const STALL: Duration = Duration::from_secs(30);
/// Events that are read from the ring at one time.
pub(crate) const BATCH: usize = 64;
/// Pieces of a feed that wait to be sent at most: one is on its way and the next one ready.
const PIECES: usize = 1;
/// After this long a client whose connection broke comes again, in milliseconds.
const RETRY_MS: u32 = 1_000;

/// What a client wants to hear of; nothing named is everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) types: Vec<TypePattern>,
    pub(super) streams: Vec<StreamPattern>,
}

impl Wanted {
    fn includes(&self, event: &Event) -> bool {
        let name = event.kind().name();
        let of_type = self.types.is_empty() || self.types.iter().any(|p| p.matches(name));
        let of_stream = self.streams.is_empty()
            || event.stream().is_some_and(|stream| self.streams.iter().any(|p| p.matches(stream)));
        of_type && of_stream
    }
}

/// The body of an answer that goes on.
pub(super) struct Feed(mpsc::Receiver<Bytes>);

impl Feed {
    /// Tells what `cursor` reads and `wanted` includes; `seat` is kept while somebody listens.
    pub(super) fn start(cursor: Cursor, wanted: Wanted, seat: OwnedSemaphorePermit) -> Self {
        let (pieces, feed) = mpsc::channel(PIECES);
        tokio::spawn(async move {
            tell(cursor, &wanted, &pieces).await;
            drop(seat);
        });
        Self(feed)
    }
}

/// Ends when the client is gone.
async fn tell(mut cursor: Cursor, wanted: &Wanted, pieces: &mpsc::Sender<Bytes>) {
    let mut piece = format!("retry: {RETRY_MS}\n\n");
    loop {
        if !piece.is_empty() {
            // Waits until there is room, so that what a slow client does not take stays in the
            // ring alone.
            let room = match timeout(STALL, pieces.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return,
                Err(_) => {
                    tracing::warn!("a client of events takes nothing and is dropped");
                    return;
                }
            };
            room.send(Bytes::from(std::mem::take(&mut piece)));
        }
        tokio::select! {
            () = pieces.closed() => return,
            news = timeout(KEEP_ALIVE, cursor.ready()) => match news {
                Ok(()) => write(&mut piece, &cursor.read(BATCH), wanted),
                Err(_) => piece.push_str(": nothing new\n\n"),
            },
        }
    }
}

fn write(piece: &mut String, told: &Told, wanted: &Wanted) {
    // Writing into a string cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = piece.write_fmt(args);
    };
    match told.missed {
        Some(Some(count)) => line(format_args!("event: missed\ndata: {{\"missed\":{count}}}\n\n")),
        Some(None) => line(format_args!("event: missed\ndata: {{\"missed\":null}}\n\n")),
        None => {}
    }
    for event in told.events.iter().filter(|event| wanted.includes(event)) {
        let (id, name) = (event.id(), event.kind().name());
        line(format_args!("id: {id}\nevent: {name}\ndata: {}\n\n", event.json()));
    }
}

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Bus, Kind, RingLimits};
    use dataplane::ids::StreamName;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    fn bus(events: u32) -> Bus {
        Bus::new("edge-1".into(), RingLimits { events, bytes: 1 << 20 })
    }

    fn lost(bus: &Bus, stream: &str) {
        bus.publish(Some(&StreamName::parse(stream).unwrap()), None, Kind::StreamLost {});
    }

    fn seat() -> (Arc<Semaphore>, OwnedSemaphorePermit) {
        let seats = Arc::new(Semaphore::new(1));
        let seat = Arc::clone(&seats).try_acquire_owned().unwrap();
        (seats, seat)
    }

    async fn piece(feed: &mut Feed) -> String {
        String::from_utf8(feed.0.recv().await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_feed_says_so_and_a_client_that_goes_gives_its_seat_back() {
        let (seats, seat) = seat();
        let mut feed = Feed::start(bus(8).cursor(), Wanted::default(), seat);
        assert_eq!(piece(&mut feed).await, "retry: 1000\n\n");
        assert_eq!(piece(&mut feed).await, ": nothing new\n\n");
        drop(feed);
        let _back = seats.acquire().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_dropped_and_its_seat_is_free() {
        let (seats, seat) = seat();
        let mut feed = Feed::start(bus(8).cursor(), Wanted::default(), seat);
        // It has the first piece and never takes another: one waits, the next finds no room.
        let start = tokio::time::Instant::now();
        let _back = seats.acquire().await.unwrap();
        assert!(start.elapsed() >= STALL);
        assert_eq!(piece(&mut feed).await, "retry: 1000\n\n");
        assert_eq!(feed.0.recv().await, None, "the answer ends, so that it comes again");
    }

    #[tokio::test]
    async fn a_client_hears_what_it_wants_with_the_id_to_go_on_from() {
        let bus = bus(8);
        let wanted = Wanted {
            types: vec![TypePattern::parse("stream.*").unwrap()],
            streams: vec![StreamPattern::parse("news/*").unwrap()],
        };
        let mut feed = Feed::start(bus.cursor(), wanted, seat().1);
        let mut witness = bus.cursor();
        piece(&mut feed).await;
        lost(&bus, "sport/1");
        bus.publish(None, None, Kind::ShardStarted { shard: 0 });
        lost(&bus, "news/1");
        let event = witness.read(9).events.pop().unwrap();
        let text = piece(&mut feed).await;
        let (id, json) = (event.id(), event.json());
        assert_eq!(text, format!("id: {id}\nevent: stream.lost\ndata: {json}\n\n"));
    }

    #[tokio::test]
    async fn a_slow_client_is_told_what_it_missed_and_goes_on() {
        let bus = bus(4);
        let mut feed = Feed::start(bus.cursor(), Wanted::default(), seat().1);
        tokio::task::yield_now().await;
        for _ in 0..10 {
            lost(&bus, "a");
        }
        assert_eq!(piece(&mut feed).await, "retry: 1000\n\n");
        let text = piece(&mut feed).await;
        assert!(text.starts_with("event: missed\ndata: {\"missed\":6}\n\nid: "), "{text}");
        assert_eq!(text.matches("event: stream.lost").count(), 4);
        lost(&bus, "a");
        assert!(piece(&mut feed).await.starts_with("id: "));
    }
}
