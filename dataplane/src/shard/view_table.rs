//! The views of the node: which sessions of HLS there are, when each was heard last, what it was
//! sent, and until when what the control plane said of it holds. A viewer asks on any connection to
//! any shard, so every shard notes it here.
//!
//! ```text
//!   empty -- first piece asked for --> live -- silence, a kick, a no, end of the stream --> empty
//! ```
//!
//! Shape: sets of [`WAYS`] places, found by the number of the view. A place is the number (0 if it
//! is empty), bytes sent, the moment of the last request, a print of the token, two parts of the
//! permit and the moment at which the viewer was let in by it, the moments of the verdict and of
//! its end, the moment past which it is never taken, the moment until which an answer is awaited,
//! and a count of the segments that are being sent. There are four places for each view that may
//! be live, so that next to no set is full before the table is.
//!
//! A view is entered by the shard that was asked for its first piece, which then owns it: it alone
//! ends it. Two shards that were asked at the same time must not both enter it, so a set is claimed
//! first; who finds it claimed lets its request pass uncounted and enters with the next one. Nobody
//! waits. A place that is left and taken by another view between two looks of a third shard costs
//! that view nothing but a few bytes that were not its own: nothing else of a place is believed
//! before its number was read again behind it.
//!
//! One part of a permit names the question that the view was allowed by last, or begun with: a no
//! to that ends it, and a no to what somebody else asks who shows the same token does not. The
//! other names what was shown with it: who shows the same from another address is in as long.
//!
//! The print is of the token and the stream that it was verified for. While the view goes on it
//! vouches for the token, whatever became of the key that it was signed with.
//!
//! Units: verdicts are timed in ticks of [`TICK_MS`] ms since the first look at the table, from 1;
//! they count for eight years, those of viewers for four, and those of before are below zero.
//!
//! Limits: `hls_viewers_max` live views, then new viewers are refused.
//!
//! Lives on: every shard. Crosses by: atomics, a few for each request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use super::verdicts::{Permit, Term};
use crate::ids::{SessionId, StreamName};
use crate::session::view_token::ViewToken;

const WAYS: usize = 8;
/// Places for each view that may be live.
const PLACES_PER_VIEW: usize = 4;
const TICK_MS: u64 = 64;
/// A verdict without an end.
const FOR_EVER: u32 = u32::MAX;

/// The table. See the module.
#[derive(Debug)]
pub(crate) struct ViewTable {
    sets: Box<[Set]>,
    live: AtomicU32,
    max: u32,
    origin: OnceLock<Instant>,
    hasher: RandomState,
    question_keys: [RandomState; 2],
    /// Verdicts of this tick or before are to be asked for again; 0 if none is.
    doubted: AtomicU32,
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
    print: AtomicU64,
    /// The tick of the verdict, and the tick of its end in the lower half.
    verdict: AtomicU64,
    /// The tick from which the verdict is worth nothing; [`FOR_EVER`] if none was stated.
    until: AtomicU32,
    /// Bits of the permit.
    question: AtomicU32,
    /// Bits of what is shown.
    shown: AtomicU32,
    /// The tick in which the viewer was let in by that; below zero before the first look.
    since: AtomicI32,
    /// The tick until which an answer is awaited.
    asked: AtomicU32,
    serving: AtomicU32,
}

/// A place of the table, counted from 1 so that none takes no room.
pub(crate) type PlaceNumber = NonZeroU32;

/// A place of the table and the view that was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub number: PlaceNumber,
    pub id: SessionId,
}

/// What became of a view that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It begins here.
    New(Seat),
    /// It had begun.
    Known(Seat),
    /// Another shard looks for a place in the same set.
    Claimed,
    /// There is no room.
    Full,
}

/// What the verdict on a view is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It holds.
    Good,
    /// It is to be asked for again, and is taken meanwhile.
    Stale,
    /// It is over, or was to be asked for again for so long that it is taken no more.
    Nothing,
}

/// A token and the stream that it was verified for, as few bits that nobody outside can aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print(NonZeroU64);

/// What a view begins by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The question that was answered with yes.
    pub permit: Permit,
    /// For how long.
    pub term: Term,
    /// When the viewer was let in by it.
    pub since: Instant,
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
            hasher: RandomState::new(),
            question_keys: [RandomState::new(), RandomState::new()],
            doubted: AtomicU32::new(0),
        }
    }

    /// How many views go on.
    #[cfg(test)]
    fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// The view `id`, if it goes on.
    pub(super) fn find(&self, id: SessionId) -> Option<Seat> {
        if id.0 == 0 {
            return None;
        }
        let first = self.set_of(id) * WAYS;
        let way = self.sets[first / WAYS].find(id)?;
        Some(Seat { number: number(first + way), id })
    }

    /// What a view is recognised by that was begun with `token` for `stream`.
    pub(super) fn print(&self, stream: &StreamName, token: ViewToken) -> Print {
        Print(NonZeroU64::MIN | self.hasher.hash_one((stream.as_str(), token.as_str())))
    }

    /// What a view has that nobody has a token of.
    pub(super) fn print_of_nobody(&self, id: SessionId) -> Print {
        Print(NonZeroU64::MIN | self.hasher.hash_one(("nobody", id)))
    }

    /// What questions about viewers are named by.
    pub(super) fn question_keys(&self) -> [RandomState; 2] {
        self.question_keys.clone()
    }

    /// True if that is the question that the view was allowed by.
    pub(super) fn is_by(&self, seat: Seat, permit: Permit) -> bool {
        let question = self.place(seat.number).question.load(Ordering::Acquire);
        question == permit.print() && self.is_of(seat)
    }

    /// Since when the viewer is in by what `permit` shows, from wherever: if that is what the view
    /// was allowed by last.
    pub(super) fn since(&self, seat: Seat, permit: Permit) -> Option<Instant> {
        let place = self.place(seat.number);
        let same = place.shown.load(Ordering::Acquire) == permit.shown();
        let ticks = place.since.load(Ordering::Acquire);
        let time = Duration::from_millis(u64::from(ticks.unsigned_abs()) * TICK_MS);
        let origin = self.origin.get()?;
        let since = match ticks {
            0.. => origin.checked_add(time)?,
            _ => origin.checked_sub(time)?,
        };
        (same && self.is_of(seat)).then_some(since)
    }

    /// A number that names the viewer of `stream` at an address with this agent.
    pub(super) fn hash_of(&self, named: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(named)
    }

    /// The view whose token has this print, if it goes on.
    pub(super) fn recognise(&self, id: SessionId, print: Print) -> Option<Seat> {
        let seat = self.find(id)?;
        let place = self.place(seat.number);
        let same = place.print.load(Ordering::Acquire).ct_eq(&print.0.get());
        (bool::from(same) && self.is_of(seat)).then_some(seat)
    }

    /// The view `id` asks for its first piece; the verdict on it holds as the term says.
    pub(super) fn enter(
        &self,
        id: SessionId,
        print: Print,
        allowed: Allowed,
        now: Instant,
    ) -> Entered {
        debug_assert!(id.0 != 0, "0 is no viewer's number");
        let at = self.set_of(id);
        let set = &self.sets[at];
        if set.claimed.swap(true, Ordering::Acquire) {
            return Entered::Claimed;
        }
        let entered = match self.find(id) {
            None => self.take_place(at, (id, print), allowed, now),
            Some(seat) => Entered::Known(seat),
        };
        set.claimed.store(false, Ordering::Release);
        entered
    }

    fn take_place(
        &self,
        set: usize,
        (id, print): (SessionId, Print),
        allowed: Allowed,
        now: Instant,
    ) -> Entered {
        if self.live.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Entered::Full;
        }
        let Some(way) = self.sets[set].free() else {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Entered::Full;
        };
        // The number is 0 since the view before left, and stays so until all else is written: who
        // reads of the new view meanwhile finds that the place is nobody's.
        let place = &self.sets[set].places[way];
        place.bytes.store(0, Ordering::Release);
        place.heard_ms.store(self.millis(now), Ordering::Release);
        place.print.store(print.0.get(), Ordering::Release);
        place.since.store(self.tick_of_entry(allowed.since), Ordering::Release);
        self.note(place, (allowed.permit, allowed.term), now);
        place.asked.store(0, Ordering::Release);
        place.id.store(id.0, Ordering::Release);
        Entered::New(Seat { number: number(set * WAYS + way), id })
    }

    /// A request of the view is answered with so many bytes; `serves` if they take a while.
    pub(super) fn answer(&self, seat: Seat, bytes: u64, serves: bool, now: Instant) -> bool {
        let place = self.place(seat.number);
        if serves {
            place.serving.fetch_add(1, Ordering::AcqRel);
        }
        if !self.is_of(seat) {
            if serves {
                place.serving.fetch_sub(1, Ordering::AcqRel);
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
        place.serving.fetch_sub(1, Ordering::AcqRel);
    }

    /// The view as it is now.
    pub(super) fn look(&self, seat: Seat, now: Instant) -> Seen {
        let place = self.place(seat.number);
        let silent = self.millis(now).saturating_sub(place.heard_ms.load(Ordering::Relaxed));
        Seen {
            bytes: place.bytes.load(Ordering::Relaxed),
            silent: Duration::from_millis(silent),
            serving: place.serving.load(Ordering::Acquire) != 0,
        }
    }

    /// What the verdict on a view is worth, which is taken for `stale_max` after it ended.
    pub(super) fn worth(&self, seat: Seat, stale_max: Duration, now: Instant) -> Worth {
        let place = self.place(seat.number);
        let verdict = place.verdict.load(Ordering::Acquire);
        let until = place.until.load(Ordering::Acquire);
        if !self.is_of(seat) {
            return Worth::Nothing;
        }
        let (given, ends) = ((verdict >> 32) as u32, verdict as u32);
        let doubted = self.doubted.load(Ordering::Acquire);
        let ends = if given <= doubted { ends.min(doubted) } else { ends };
        let now = self.tick(now);
        if until <= now {
            Worth::Nothing
        } else if ends == FOR_EVER || now < ends {
            Worth::Good
        } else if u64::from(now - ends) <= ticks(stale_max) {
            Worth::Stale
        } else {
            Worth::Nothing
        }
    }

    /// The control plane allowed a view anew. Whoever shows something else is let in only now.
    pub(super) fn allow(&self, seat: Seat, allowed: (Permit, Term), now: Instant) {
        let place = self.place(seat.number);
        if self.is_of(seat) {
            if place.shown.load(Ordering::Acquire) != allowed.0.shown() {
                place.since.store(self.tick_of_entry(now), Ordering::Release);
            }
            self.note(place, allowed, now);
            place.asked.store(0, Ordering::Release);
        }
    }

    /// Every verdict that was given so far is to be asked for again.
    pub(super) fn doubt_all(&self, now: Instant) {
        self.doubted.fetch_max(self.tick(now), Ordering::AcqRel);
    }

    /// True if the caller is to ask about a view: nobody else does until `patience` is over.
    pub(super) fn is_to_ask(&self, seat: Seat, patience: Duration, now: Instant) -> bool {
        let place = self.place(seat.number);
        let asked = place.asked.load(Ordering::Acquire);
        let now = self.tick(now);
        let until = now.saturating_add(u32::try_from(ticks(patience)).unwrap_or(u32::MAX)).max(1);
        asked <= now
            && self.is_of(seat)
            && place
                .asked
                .compare_exchange(asked, until, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// The view is over; told by its owner.
    pub(super) fn leave(&self, seat: Seat) {
        let (from, to) = (Ordering::AcqRel, Ordering::Relaxed);
        let left = self.place(seat.number).id.compare_exchange(seat.id.0, 0, from, to);
        debug_assert!(left.is_ok(), "its owner alone ends a view");
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// True if the place is still that of the view.
    fn is_of(&self, seat: Seat) -> bool {
        self.place(seat.number).id.load(Ordering::Acquire) == seat.id.0
    }

    fn note(&self, place: &Place, (permit, term): (Permit, Term), now: Instant) {
        let Term { holds, until, entry: _ } = term;
        let now = self.tick(now);
        let until = until.map_or(FOR_EVER, |until| self.tick(until));
        let ends = holds.map_or(FOR_EVER, |holds| {
            let holds = u32::try_from(ticks(holds)).unwrap_or(FOR_EVER);
            now.saturating_add(holds).min(FOR_EVER - 1)
        });
        let verdict = u64::from(now) << 32 | u64::from(ends);
        place.question.store(permit.print(), Ordering::Release);
        place.shown.store(permit.shown(), Ordering::Release);
        place.until.store(until, Ordering::Release);
        place.verdict.store(verdict, Ordering::Release);
    }

    fn tick(&self, now: Instant) -> u32 {
        u32::try_from(1 + self.millis(now) / TICK_MS).unwrap_or(FOR_EVER - 1)
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

    /// The tick that begins with or before a moment, which may be before the first look.
    fn tick_of_entry(&self, at: Instant) -> i32 {
        let origin = *self.origin.get_or_init(|| at);
        let before = origin.saturating_duration_since(at).as_millis() as u64;
        let ticks = |ticks: u64| i32::try_from(ticks).unwrap_or(i32::MAX);
        ticks(self.millis(at) / TICK_MS) - ticks(before.div_ceil(TICK_MS))
    }
}

impl Set {
    fn find(&self, id: SessionId) -> Option<usize> {
        self.places.iter().position(|place| place.id.load(Ordering::Acquire) == id.0)
    }

    /// A place that is nobody's, and of which nothing is being sent any more.
    fn free(&self) -> Option<usize> {
        let empty = |place: &Place| {
            place.id.load(Ordering::Acquire) == 0 && place.serving.load(Ordering::Acquire) == 0
        };
        self.places.iter().position(empty)
    }
}

const fn ticks(time: Duration) -> u64 {
    let millis = time.as_millis();
    if millis > u64::MAX as u128 { u64::MAX } else { millis as u64 / TICK_MS }
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

    const PRINT: Print = Print(NonZeroU64::MIN);
    const ASKED: Permit = Permit::of_test(7, 70);

    fn forever(since: Instant) -> Allowed {
        Allowed { permit: ASKED, term: Term::default(), since }
    }

    fn enter(table: &ViewTable, id: u64, now: Instant) -> Seat {
        match table.enter(SessionId(id), PRINT, forever(now), now) {
            Entered::New(seat) => seat,
            other => panic!("{id}: {other:?}"),
        }
    }

    #[test]
    fn a_view_is_known_until_it_is_left() {
        let (table, now) = (ViewTable::new(4), origin());
        let seat = enter(&table, 7, now);
        assert_eq!(table.find(SessionId(7)), Some(seat));
        assert_eq!(table.enter(SessionId(7), PRINT, forever(now), now), Entered::Known(seat));
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
        assert_eq!((table.find(SessionId(7)), table.live()), (None, 0));
        assert!(!table.answer(seat, 1, true, later), "it is over");
    }

    #[test]
    fn no_more_views_than_there_may_be() {
        let (table, now) = (ViewTable::new(2), origin());
        let first = enter(&table, 1, now);
        enter(&table, 2, now);
        assert_eq!(table.enter(SessionId(3), PRINT, forever(now), now), Entered::Full);
        table.leave(first);
        enter(&table, 3, now);
        assert_eq!(table.live(), 2);
    }

    #[test]
    fn a_place_that_is_still_sent_from_is_nobody_elses() {
        // One view, four places and so one set.
        let (table, now) = (ViewTable::new(1), origin());
        let old = enter(&table, 1, now);
        assert!(table.answer(old, 10, true, now));
        table.leave(old);
        let new = enter(&table, 2, now);
        assert_ne!(new.number, old.number);
        // Nothing that is asked of the old view meets the new one.
        assert_eq!(table.worth(old, Duration::MAX, now), Worth::Nothing);
        assert!(!table.is_to_ask(old, Duration::ZERO, now));
        table.answered(old.number, 0, now);
        table.leave(new);
        assert_eq!(enter(&table, 3, now).number, old.number);
        assert_eq!((table.find(old.id), table.recognise(old.id, PRINT)), (None, None));
    }

    #[test]
    fn a_view_vouches_for_its_token_and_no_other() {
        let (table, now) = (ViewTable::new(4), origin());
        let token = ViewToken::parse(&"A".repeat(32)).unwrap();
        let [cam, other] = ["cam", "other"].map(|name| StreamName::parse(name).unwrap());
        let print = table.print(&cam, token);
        let Entered::New(seat) = table.enter(SessionId(7), print, forever(now), now) else {
            panic!()
        };
        assert_eq!(table.recognise(SessionId(7), table.print(&cam, token)), Some(seat));
        let forged = ViewToken::parse(&"B".repeat(32)).unwrap();
        for print in [table.print(&other, token), table.print(&cam, forged)] {
            assert_eq!(table.recognise(SessionId(7), print), None);
        }
        table.leave(seat);
        assert_eq!(table.recognise(SessionId(7), print), None);
    }

    #[test]
    fn a_verdict_ends_and_is_taken_a_while_longer() {
        let (table, now) = (ViewTable::new(4), origin());
        let at = |seconds| now + Duration::from_secs(seconds);
        let (minute, stale_max) = (Duration::from_secs(60), Duration::from_secs(100));
        let seat = enter(&table, 1, now);
        assert_eq!(table.worth(seat, stale_max, at(1_000_000)), Worth::Good, "it has no end");
        table.allow(seat, (ASKED, Term { holds: Some(minute), ..Term::default() }), at(10));
        for (second, worth) in [
            (10, Worth::Good),
            (69, Worth::Good),
            (71, Worth::Stale),
            (169, Worth::Stale),
            (171, Worth::Nothing),
        ] {
            assert_eq!(table.worth(seat, stale_max, at(second)), worth, "{second}");
        }
        // One asks, and again when there was no answer.
        assert!(table.is_to_ask(seat, minute, at(71)) && !table.is_to_ask(seat, minute, at(72)));
        assert!(table.is_to_ask(seat, minute, at(132)));
        table.allow(seat, (ASKED, Term::default()), at(133));
        assert_eq!(table.worth(seat, stale_max, at(10_000)), Worth::Good);
        table.doubt_all(at(10_000));
        assert_eq!(table.worth(seat, stale_max, at(10_001)), Worth::Stale);
        assert_eq!(table.worth(seat, stale_max, at(10_101)), Worth::Nothing);
        let later = enter(&table, 2, at(10_001));
        assert_eq!(table.worth(later, stale_max, at(10_001)), Worth::Good, "it is newer");
        table.allow(seat, (ASKED, Term::default()), at(10_002));
        assert_eq!(table.worth(seat, stale_max, at(20_000)), Worth::Good);
    }

    #[test]
    fn nothing_is_taken_past_its_stated_end() {
        let (table, now) = (ViewTable::new(4), origin());
        let at = |second| now + Duration::from_secs(second);
        let (minute, stale_max) = (Duration::from_secs(60), Duration::from_secs(1_000));
        let seat = enter(&table, 1, at(0));
        table.allow(
            seat,
            (ASKED, Term { holds: Some(minute), until: Some(at(90)), entry: None }),
            at(0),
        );
        let worth = |second| table.worth(seat, stale_max, at(second));
        assert_eq!([59, 61, 89, 91].map(worth), {
            [Worth::Good, Worth::Stale, Worth::Stale, Worth::Nothing]
        });
        table.doubt_all(at(20));
        assert_eq!([21, 89, 91].map(worth), [Worth::Stale, Worth::Stale, Worth::Nothing]);
        table.allow(seat, (ASKED, Term { until: Some(at(200)), ..Term::default() }), at(100));
        assert_eq!([199, 201].map(worth), [Worth::Good, Worth::Nothing]);
        table.allow(seat, (ASKED, Term::default()), at(300));
        assert_eq!(worth(100_000), Worth::Good);
    }

    #[test]
    fn the_question_is_the_one_that_was_answered_last() {
        let (table, now) = (ViewTable::new(4), origin());
        let (seat, other) = (enter(&table, 1, now), Permit::of_test(7, 80));
        assert!(table.is_by(seat, ASKED) && !table.is_by(seat, other));
        table.allow(seat, (other, Term::default()), now);
        assert!(!table.is_by(seat, ASKED) && table.is_by(seat, other));
        table.leave(seat);
        assert!(!table.is_by(seat, other));
    }

    #[test]
    fn a_viewer_is_in_since_he_was_let_in_by_what_he_shows() {
        let (table, now) = (ViewTable::new(4), origin());
        let at = |ticks: u32| now + ticks * Duration::from_millis(TICK_MS);
        enter(&table, 1, at(0));
        // What he asks for first comes some seconds after he was given his token.
        let earlier = now.checked_sub(Duration::from_secs(16)).unwrap();
        let enter = |id, since| match table.enter(SessionId(id), PRINT, forever(since), at(13)) {
            Entered::New(seat) => seat,
            other => panic!("{other:?}"),
        };
        let (seat, first) = (enter(2, at(10)), enter(3, earlier));
        assert_eq!(table.since(seat, ASKED), Some(at(10)));
        assert_eq!(table.since(first, ASKED), Some(earlier), "before the first look at the table");
        table.allow(seat, (ASKED, Term::default()), at(60));
        assert_eq!(table.since(seat, ASKED), Some(at(10)), "he is asked about again, and stays in");
        // From another address, too.
        let elsewhere = Permit::of_test(7, 80);
        assert_eq!(table.since(seat, elsewhere), Some(at(10)));
        table.allow(seat, (elsewhere, Term::default()), at(65));
        assert_eq!(table.since(seat, ASKED), Some(at(10)));
        let other = Permit::of_test(8, 70);
        assert_eq!(table.since(seat, other), None, "he shows something else");
        table.allow(seat, (other, Term::default()), at(70));
        assert_eq!((table.since(seat, other), table.since(seat, ASKED)), (Some(at(70)), None));
        table.allow(seat, (ASKED, Term::default()), at(80));
        assert_eq!(table.since(seat, ASKED), Some(at(80)), "what he showed first came in anew");
        table.leave(seat);
        assert_eq!(table.since(seat, ASKED), None);
    }

    #[test]
    fn he_is_in_no_later_than_he_was_let_in() {
        let (table, now) = (ViewTable::new(4), origin());
        enter(&table, 1, now);
        let before = now.checked_sub(Duration::from_millis(1)).unwrap();
        for (id, since) in [(2, before), (3, now + Duration::from_millis(TICK_MS - 1))] {
            let Entered::New(seat) = table.enter(SessionId(id), PRINT, forever(since), now) else {
                panic!("{id}")
            };
            let told = table.since(seat, ASKED).unwrap();
            assert!(told <= since && since < told + Duration::from_millis(TICK_MS), "{id}");
        }
    }

    #[test]
    fn many_views_find_a_place_each() {
        let (table, now) = (ViewTable::new(10_000), origin());
        let mut ids = crate::session::view_token::ViewIds::default();
        let wall = codecs::time::WallTime::from_unix_millis(1_800_000_000_000);
        let full = (0..10_000).filter(|n| {
            let id = ids.next(crate::ids::ShardId(n % 2), wall);
            table.enter(id, PRINT, forever(now), now) == Entered::Full
        });
        assert_eq!(full.count(), 0);
    }

    #[test]
    fn a_claimed_set_makes_nobody_wait() {
        let (table, now) = (ViewTable::new(1), origin());
        table.sets[0].claimed.store(true, Ordering::Relaxed);
        assert_eq!(table.enter(SessionId(5), PRINT, forever(now), now), Entered::Claimed);
        table.sets[0].claimed.store(false, Ordering::Relaxed);
        enter(&table, 5, now);
    }
}
