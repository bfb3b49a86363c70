//! The views of the node: which sessions of HLS there are, when each was heard last, what it was
//! sent. A viewer asks on any connection to any shard, so every shard notes it here.
//!
//! ```text
//!   empty -- first piece asked for --> live -- silence, end of the stream --> empty
//!                                       | kicked
//!                                       v
//!                                    revoked -- its time, or its place is needed --> empty
//! ```
//!
//! Shape: sets of [`WAYS`] places, found by the number of the view. A place is the number (0 if it
//! is empty), bytes sent, the moment of the last request, and a word: its highest bit says that the
//! view was revoked, the others count the segments that are being sent. There are four places for
//! each view that may be live, so that next to no set is full before the table is.
//!
//! A view is entered by the shard that was asked for its first piece, which then owns it: it alone
//! ends it. Two shards that were asked at the same time must not both enter it, so a set is claimed
//! first; who finds it claimed lets its request pass uncounted and enters with the next one. Nobody
//! waits. A place that is left and taken by another view between two looks of a third shard costs
//! that view nothing but a few bytes that were not its own.
//!
//! Limits: `hls_viewers_max` live views, then new viewers are refused. Revoked ones are kept while
//! there is room.
//!
//! Lives on: every shard. Crosses by: atomics, a few for each request.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ids::SessionId;

const WAYS: usize = 8;
/// Places for each view that may be live.
const PLACES_PER_VIEW: usize = 4;
const REVOKED: u32 = 1 << 31;

/// The table. See the module.
#[derive(Debug)]
pub(crate) struct ViewTable {
    sets: Box<[Set]>,
    live: AtomicU32,
    max: u32,
    origin: OnceLock<Instant>,
}

/// Bytes of a table for each view that there is room for.
pub(crate) const fn bytes_per_view() -> usize {
    // A power of two of sets is up to twice what is needed.
    2 * PLACES_PER_VIEW * size_of::<Set>() / WAYS
}

#[derive(Debug, Default)]
struct Set {
    /// A shard looks for a place here.
    claimed: AtomicBool,
    places: [Place; WAYS],
}

#[derive(Debug, Default)]
struct Place {
    id: AtomicU64,
    bytes: AtomicU64,
    heard_ms: AtomicU64,
    word: AtomicU32,
}

/// A place of the table, counted from 1 so that none takes no room.
pub(crate) type PlaceNumber = NonZeroU32;

/// A place of the table and the view that was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub number: PlaceNumber,
    pub id: SessionId,
}

/// What is known of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: it has not begun, or it ended.
    Unknown,
    /// It goes on.
    Live(Seat),
    /// It was kicked.
    Revoked,
}

/// What became of a view that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It begins here.
    New(Seat),
    /// It had begun.
    Known(Standing),
    /// Another shard looks for a place in the same set.
    Claimed,
    /// There is no room.
    Full,
}

/// A view as its owner finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub bytes: u64,
    /// Since its last request, or the end of its last segment.
    pub silent: Duration,
    /// Segments are being sent.
    pub serving: bool,
}

impl ViewTable {
    /// Room for `max` live views.
    pub(crate) fn new(max: u64) -> Self {
        let max = u32::try_from(max).unwrap_or(u32::MAX >> 4);
        let sets = (max as usize * PLACES_PER_VIEW).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            live: AtomicU32::new(0),
            max,
            origin: OnceLock::new(),
        }
    }

    /// How many views go on.
    #[cfg(test)]
    fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// What is known of the view `id`.
    pub(super) fn find(&self, id: SessionId) -> Standing {
        let first = self.set_of(id) * WAYS;
        let found = self.sets[first / WAYS].find(id);
        found.map_or(Standing::Unknown, |(way, place)| match place.is_revoked() {
            true => Standing::Revoked,
            false => Standing::Live(Seat { number: number(first + way), id }),
        })
    }

    /// The view `id` asks for its first piece.
    pub(super) fn enter(&self, id: SessionId, now: Instant) -> Entered {
        debug_assert!(id.0 != 0, "0 is no viewer's number");
        let at = self.set_of(id);
        let set = &self.sets[at];
        if set.claimed.swap(true, Ordering::Acquire) {
            return Entered::Claimed;
        }
        let entered = match self.find(id) {
            Standing::Unknown => self.take_place(at, id, now),
            known => Entered::Known(known),
        };
        set.claimed.store(false, Ordering::Release);
        entered
    }

    fn take_place(&self, set: usize, id: SessionId, now: Instant) -> Entered {
        if self.live.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Entered::Full;
        }
        let Some(way) = self.sets[set].free() else {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Entered::Full;
        };
        let place = &self.sets[set].places[way];
        place.bytes.store(0, Ordering::Relaxed);
        // A late request of the view before may be counting here, for a moment.
        place.word.fetch_and(!REVOKED, Ordering::AcqRel);
        place.heard_ms.store(self.millis(now), Ordering::Relaxed);
        place.id.store(id.0, Ordering::Release);
        Entered::New(Seat { number: number(set * WAYS + way), id })
    }

    /// A request of the view is answered with so many bytes; `serves` if they take a while.
    pub(super) fn answer(&self, seat: Seat, bytes: u64, serves: bool, now: Instant) -> bool {
        let place = self.place(seat.number);
        if serves {
            place.word.fetch_add(1, Ordering::AcqRel);
        }
        if place.id.load(Ordering::Acquire) != seat.id.0 {
            if serves {
                place.word.fetch_sub(1, Ordering::AcqRel);
            }
            return false;
        }
        place.bytes.fetch_add(bytes, Ordering::Relaxed);
        place.heard_ms.fetch_max(self.millis(now), Ordering::Relaxed);
        true
    }

    /// What [`Self::answer`] announced is over; `unsent` bytes were not taken.
    pub(super) fn answered(&self, number: PlaceNumber, unsent: u64, now: Instant) {
        let place = self.place(number);
        place.bytes.fetch_sub(unsent, Ordering::Relaxed);
        place.heard_ms.fetch_max(self.millis(now), Ordering::Relaxed);
        place.word.fetch_sub(1, Ordering::AcqRel);
    }

    /// The view as it is now.
    pub(super) fn look(&self, seat: Seat, now: Instant) -> Seen {
        let place = self.place(seat.number);
        let silent = self.millis(now).saturating_sub(place.heard_ms.load(Ordering::Relaxed));
        Seen {
            bytes: place.bytes.load(Ordering::Relaxed),
            silent: Duration::from_millis(silent),
            serving: place.word.load(Ordering::Acquire) & !REVOKED != 0,
        }
    }

    /// The view is over, and every request of it is refused from now on; told by its owner.
    pub(super) fn revoke(&self, seat: Seat) {
        self.place(seat.number).word.fetch_or(REVOKED, Ordering::AcqRel);
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The view is over; told by its owner.
    pub(super) fn leave(&self, seat: Seat) {
        self.forget(seat);
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// A view that was revoked is remembered no longer; another may have its place already.
    pub(super) fn forget(&self, seat: Seat) {
        let (from, to) = (Ordering::AcqRel, Ordering::Relaxed);
        // Whether it was still there makes no difference.
        let _ = self.place(seat.number).id.compare_exchange(seat.id.0, 0, from, to);
    }

    fn place(&self, number: PlaceNumber) -> &Place {
        let at = number.get() as usize - 1;
        &self.sets[at / WAYS].places[at % WAYS]
    }

    /// Numbers of viewers are told by their owner and time: those that come together are spread.
    fn set_of(&self, id: SessionId) -> usize {
        let mixed = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.sets.len() - 1)
    }

    fn millis(&self, now: Instant) -> u64 {
        let origin = self.origin.get_or_init(|| now);
        now.saturating_duration_since(*origin).as_millis() as u64
    }
}

impl Set {
    fn find(&self, id: SessionId) -> Option<(usize, &Place)> {
        let mut places = self.places.iter().enumerate();
        places.find(|(_, place)| place.id.load(Ordering::Acquire) == id.0)
    }

    /// An empty place, or else that of the view that was revoked longest ago.
    fn free(&self) -> Option<usize> {
        let empty = |place: &Place| {
            place.id.load(Ordering::Acquire) == 0
                && place.word.load(Ordering::Acquire) & !REVOKED == 0
        };
        self.places.iter().position(empty).or_else(|| {
            let revoked = |place: &Place| place.word.load(Ordering::Acquire) == REVOKED;
            let places = self.places.iter().enumerate().filter(|(_, place)| revoked(place));
            let oldest = places.min_by_key(|(_, place)| place.heard_ms.load(Ordering::Relaxed));
            oldest.map(|(way, _)| way)
        })
    }
}

impl Place {
    fn is_revoked(&self) -> bool {
        self.word.load(Ordering::Acquire) & REVOKED != 0
    }
}

fn number(place: usize) -> PlaceNumber {
    let number = u32::try_from(place + 1).ok().and_then(PlaceNumber::new);
    number.expect("the table has fewer places than 32 bits tell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn enter(table: &ViewTable, id: u64, now: Instant) -> Seat {
        match table.enter(SessionId(id), now) {
            Entered::New(seat) => seat,
            other => panic!("{id}: {other:?}"),
        }
    }

    #[test]
    fn a_view_is_known_until_it_is_left() {
        let (table, now) = (ViewTable::new(4), origin());
        let seat = enter(&table, 7, now);
        assert_eq!(table.find(SessionId(7)), Standing::Live(seat));
        assert_eq!(table.enter(SessionId(7), now), Entered::Known(Standing::Live(seat)));
        assert!(table.answer(seat, 100, false, now) && table.answer(seat, 50, true, now));
        let later = now + Duration::from_secs(9);
        assert_eq!(
            table.look(seat, later),
            Seen { bytes: 150, silent: Duration::from_secs(9), serving: true }
        );
        table.answered(seat.number, 20, later);
        assert_eq!(
            table.look(seat, later),
            Seen { bytes: 130, silent: Duration::ZERO, serving: false }
        );
        table.leave(seat);
        assert_eq!((table.find(SessionId(7)), table.live()), (Standing::Unknown, 0));
        assert!(!table.answer(seat, 1, true, later), "it is over");
    }

    #[test]
    fn no_more_views_than_there_may_be() {
        let (table, now) = (ViewTable::new(2), origin());
        let first = enter(&table, 1, now);
        enter(&table, 2, now);
        assert_eq!(table.enter(SessionId(3), now), Entered::Full);
        table.leave(first);
        enter(&table, 3, now);
        assert_eq!(table.live(), 2);
    }

    #[test]
    fn who_was_revoked_is_remembered_while_there_is_room() {
        let (table, now) = (ViewTable::new(1), origin());
        // One view, four places and so one set.
        let seats: Vec<_> = (1..=WAYS as u64)
            .map(|id| {
                let seat = enter(&table, id, now + Duration::from_secs(id));
                table.revoke(seat);
                assert_eq!(table.find(seat.id), Standing::Revoked);
                seat
            })
            .collect();
        enter(&table, 99, now);
        assert_eq!(table.find(SessionId(1)), Standing::Unknown, "the oldest made room");
        assert_eq!(table.find(SessionId(2)), Standing::Revoked);
        // Its owner forgets it later, and not the view that took its place.
        seats.iter().for_each(|&seat| table.forget(seat));
        assert!(matches!(table.find(SessionId(99)), Standing::Live(_)));
        assert_eq!(table.find(SessionId(2)), Standing::Unknown);
    }

    #[test]
    fn many_views_find_a_place_each() {
        let (table, now) = (ViewTable::new(10_000), origin());
        let mut ids = crate::session::view_token::ViewIds::default();
        let wall = codecs::time::WallTime::from_unix_millis(1_800_000_000_000);
        let full = (0..10_000).filter(|n| {
            let id = ids.next(crate::ids::ShardId(n % 2), wall, false);
            table.enter(id, now) == Entered::Full
        });
        assert_eq!(full.count(), 0);
    }

    #[test]
    fn a_claimed_set_makes_nobody_wait() {
        let (table, now) = (ViewTable::new(1), origin());
        table.sets[0].claimed.store(true, Ordering::Relaxed);
        assert_eq!(table.enter(SessionId(5), now), Entered::Claimed);
        table.sets[0].claimed.store(false, Ordering::Relaxed);
        enter(&table, 5, now);
    }
}
