//! Book: the guesses of addresses and prefixes, and the penalties that came of them.
//!
//! ```text
//!   guesses --enough within the window--> penalty --time, or lifted--> watched --time--> forgotten
//!      ^ forgotten one by one               (refused)      (the next one lasts twice as long)
//! ```
//!
//! Each row is in one of three classes, and each class is ordered by when its next state comes.
//! When the book is full, the row of another prefix goes whose loss does the least harm: one of the
//! fewest guesses, then one that is watched, then the penalty that ends first. A prefix has
//! [`SIBLINGS_MAX`] rows of addresses: further ones count for the prefix alone, so that whoever has
//! many addresses makes no room in everybody's book.
//!
//! What a row was shown is known again for as long as it is shown again within the window, though
//! the guesses themselves are forgotten sooner: encoders whose keys were changed, and which come
//! again and again, are one guess each.
//!
//! Limits: [`ROWS_MAX`] rows of [`ROW_BYTES`]; [`SHOWN_MAX`] guesses of a row are known again, and
//! no more of them than that begin a penalty.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::config::AddrRange;
use dataplane::rates::{PENALTIES_MAX, address_of, prefix_of};

use super::rules::PenaltyRules;

/// Rows at most: each may be a penalty.
pub const ROWS_MAX: usize = PENALTIES_MAX;
/// What one takes, its places in the indexes, what it was shown and its line while it is kept
/// included.
pub const ROW_BYTES: u64 = 1_792;
/// Rows of addresses in one prefix.
const SIBLINGS_MAX: usize = 32;
/// Things that were shown are known again, so many of them: guesses that begin a penalty at most.
pub const SHOWN_MAX: usize = 512;
/// Times that a penalty is doubled at most.
const DOUBLINGS_MAX: u32 = 20;

/// Where a row stands; its place among those of its class is when that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Guessing,
    Watched,
    Penalised,
}

impl Class {
    const COUNT: usize = 3;
}

/// What is known of one range.
#[derive(Clone, Debug)]
pub(super) struct Row {
    class: Class,
    /// When its class ends.
    due: Instant,
    /// When all its guesses are forgotten.
    clean_at: Instant,
    /// Half of the bits do: whoever is taken for another one is forgiven a guess.
    shown: Vec<u16>,
    /// Which of them goes next.
    oldest: usize,
    /// Penalties so far that are not forgotten.
    pub(super) strikes: u32,
    /// When the last one began.
    pub(super) began: Instant,
    /// Guesses since the row was opened.
    pub(super) guesses: u64,
    /// Connections and questions refused since the penalty began.
    pub(super) refused: u64,
    /// What the last guess was.
    pub(super) reason: Cow<'static, str>,
}

impl Row {
    /// One of a penalty of an earlier run.
    pub(super) const fn penalised(
        began: Instant,
        (strikes, guesses, refused): (u32, u64, u64),
        reason: Cow<'static, str>,
    ) -> Self {
        Self {
            class: Class::Penalised,
            due: began,
            clean_at: began,
            shown: Vec::new(),
            oldest: 0,
            strikes,
            began,
            guesses,
            refused,
            reason,
        }
    }

    /// The same, of a penalty that is over.
    pub(super) fn over(self) -> Self {
        Self { class: Class::Watched, ..self }
    }

    /// True if its penalty is in force.
    pub(super) fn refuses(&self) -> bool {
        self.class == Class::Penalised
    }

    /// Remembers what was shown, in the place of the oldest if there are too many.
    fn learn(&mut self, shown: u16) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(shown);
            return;
        }
        self.shown[self.oldest] = shown;
        self.oldest = (self.oldest + 1) % SHOWN_MAX;
    }
}

/// A penalty that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) whose: AddrRange,
    pub(super) lasts: Duration,
    pub(super) guesses: u64,
}

/// The book. Lives on: the control thread.
#[derive(Debug, Default)]
pub(super) struct Book {
    rows: HashMap<AddrRange, Row>,
    /// The rows of each class by when it ends.
    order: [BTreeSet<(Instant, AddrRange)>; Class::COUNT],
    /// Rows of addresses by their prefix.
    siblings: HashMap<AddrRange, usize>,
    /// Penalties that went for want of room, and of which that is not told yet.
    crowded_out: Vec<AddrRange>,
}

impl Book {
    /// `peer` showed something wrong; the penalties that it gets for that. The same thing shown
    /// again is no further guess.
    pub(super) fn guessed(
        &mut self,
        peer: IpAddr,
        (shown, reason): (u32, &'static str),
        rules: &PenaltyRules,
        now: Instant,
    ) -> Vec<Begun> {
        let (address, prefix) = (address_of(peer), prefix_of(peer));
        let has_row = self.rows.contains_key(&address);
        let room = self.siblings.get(&prefix).is_none_or(|&held| held < SIBLINGS_MAX);
        let mut begun = Vec::new();
        let mut is_new = true;
        if has_row || room {
            let max = rules.guesses_max;
            is_new = self.count(address, (shown, reason), (max, rules), now, &mut begun);
        }
        if is_new {
            let max = rules.prefix_guesses_max;
            self.count(prefix, (shown, reason), (max, rules), now, &mut begun);
        }
        begun
    }

    /// Penalties that went for others since this was asked last.
    pub(super) fn crowded_out(&mut self) -> Vec<AddrRange> {
        std::mem::take(&mut self.crowded_out)
    }

    /// Ends what is over; the penalties that ended.
    pub(super) fn tick(&mut self, rules: &PenaltyRules, now: Instant) -> Vec<AddrRange> {
        let mut ended = Vec::new();
        for class in [Class::Guessing, Class::Watched] {
            while let Some((due, whose)) = self.first(class)
                && due <= now
            {
                self.remove(&whose);
            }
        }
        while let Some((due, whose)) = self.first(Class::Penalised)
            && due <= now
        {
            self.move_to(&whose, Class::Watched, now + rules.longest);
            ended.push(whose);
        }
        ended
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.iter().filter_map(|class| class.first()).map(|(due, _)| *due).min()
    }

    /// Forgets everything about a range; true if it had a penalty.
    pub(super) fn lift(&mut self, whose: &AddrRange) -> bool {
        let penalised = self.rows.get(whose).is_some_and(|row| row.class == Class::Penalised);
        if penalised {
            self.remove(whose);
        }
        penalised
    }

    /// Somebody of a range was refused because of its penalty.
    pub(super) fn refused(&mut self, whose: &AddrRange, count: u64) {
        let prefix = prefix_of(whose.addr);
        for range in [whose, &prefix] {
            if let Some(row) = self.rows.get_mut(range)
                && row.class == Class::Penalised
            {
                row.refused += count;
                return;
            }
        }
    }

    /// The penalties in force with their ends, by range.
    pub(super) fn penalties(&self) -> impl Iterator<Item = (&AddrRange, &Row, Instant)> {
        self.of(Class::Penalised)
    }

    /// Those that are over and make the next one longer, with when they are forgotten.
    pub(super) fn over(&self) -> impl Iterator<Item = (&AddrRange, &Row, Instant)> {
        self.of(Class::Watched)
    }

    /// How many penalties are in force.
    pub(super) fn len(&self) -> usize {
        self.order[Class::Penalised as usize].len()
    }

    /// Counts a guess in one row; false if the same thing was shown there before.
    fn count(
        &mut self,
        whose: AddrRange,
        (shown, reason): (u32, &'static str),
        (max, rules): (u32, &PenaltyRules),
        now: Instant,
        begun: &mut Vec<Begun>,
    ) -> bool {
        if !self.rows.contains_key(&whose) {
            self.open(whose, reason, now);
        }
        let Some(row) = self.rows.get_mut(&whose) else { return true };
        let known_until = row.clean_at.max(now) + rules.window;
        if row.shown.contains(&(shown as u16)) {
            let (class, due) = (row.class, row.due.max(known_until));
            if class != Class::Penalised {
                self.move_to(&whose, class, due);
            }
            return false;
        }
        row.learn(shown as u16);
        row.guesses += 1;
        row.reason = Cow::Borrowed(reason);
        if row.class == Class::Penalised {
            // What was under way when it began makes it no longer.
            return true;
        }
        let each = rules.window / max.max(1);
        row.clean_at = row.clean_at.max(now) + each;
        // The first ones may have begun to be forgotten when the last one comes.
        if row.clean_at.duration_since(now) <= each * (max.max(1) - 1) {
            let (class, due) = (row.class, row.due.max(row.clean_at + rules.window));
            self.move_to(&whose, class, due);
            return true;
        }
        row.strikes += 1;
        let doubled = 1 << (row.strikes - 1).min(DOUBLINGS_MAX);
        let lasts = rules.first.saturating_mul(doubled).min(rules.longest.max(rules.first));
        (row.clean_at, row.began, row.refused) = (now, now, 0);
        begun.push(Begun { whose, lasts, guesses: row.guesses });
        self.move_to(&whose, Class::Penalised, now + lasts);
        true
    }

    fn open(&mut self, whose: AddrRange, reason: &'static str, now: Instant) {
        // An address and its prefix would make room for each other for ever, and gather no guesses.
        let prefix = prefix_of(whose.addr);
        let is_other = |(_, range): &&(Instant, AddrRange)| prefix_of(range.addr) != prefix;
        if self.rows.len() >= ROWS_MAX
            && let Some(&(_, least)) = self.order.iter().flatten().find(is_other)
        {
            if self.rows.get(&least).is_some_and(|row| row.class == Class::Penalised) {
                self.crowded_out.push(least);
            }
            self.remove(&least);
        }
        let reason = Cow::Borrowed(reason);
        let row = Row { class: Class::Guessing, ..Row::penalised(now, (0, 0, 0), reason) };
        self.insert(whose, row);
    }

    /// Goes on with a row of an earlier run until `due`; false if there is no room.
    pub(super) fn restore(&mut self, whose: AddrRange, row: Row, due: Instant) -> bool {
        let is_address = whose == address_of(whose.addr);
        let held = self.siblings.get(&prefix_of(whose.addr)).is_some_and(|&n| n >= SIBLINGS_MAX);
        let fits = self.rows.len() < ROWS_MAX && !(is_address && held);
        if !fits || self.rows.contains_key(&whose) {
            return false;
        }
        self.insert(whose, Row { due, ..row });
        true
    }

    fn insert(&mut self, whose: AddrRange, row: Row) {
        self.order[row.class as usize].insert((row.due, whose));
        self.rows.insert(whose, row);
        if whose == address_of(whose.addr) {
            *self.siblings.entry(prefix_of(whose.addr)).or_default() += 1;
        }
    }

    fn remove(&mut self, whose: &AddrRange) {
        let Some(row) = self.rows.remove(whose) else { return };
        self.order[row.class as usize].remove(&(row.due, *whose));
        let prefix = prefix_of(whose.addr);
        if *whose == address_of(whose.addr)
            && let Some(held) = self.siblings.get_mut(&prefix)
        {
            *held -= 1;
            if *held == 0 {
                self.siblings.remove(&prefix);
            }
        }
    }

    fn move_to(&mut self, whose: &AddrRange, class: Class, due: Instant) {
        let Some(row) = self.rows.get_mut(whose) else { return };
        self.order[row.class as usize].remove(&(row.due, *whose));
        (row.class, row.due) = (class, due);
        self.order[class as usize].insert((due, *whose));
    }

    fn of(&self, class: Class) -> impl Iterator<Item = (&AddrRange, &Row, Instant)> {
        let order = self.order[class as usize].iter();
        order.filter_map(|(due, whose)| Some((whose, self.rows.get(whose)?, *due)))
    }

    fn first(&self, class: Class) -> Option<(Instant, AddrRange)> {
        self.order[class as usize].first().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// No penalty begins.
    const NONE: [u64; 0] = [];

    fn rules() -> PenaltyRules {
        PenaltyRules {
            guesses_max: 4,
            prefix_guesses_max: 10,
            window: 60 * SECOND,
            first: 10 * SECOND,
            longest: 35 * SECOND,
            ..PenaltyRules::default()
        }
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    impl Book {
        /// So many different guesses at one moment; how long the penalties last that follow.
        fn guess(&mut self, from: &str, numbers: std::ops::Range<u64>, now: Instant) -> Vec<u64> {
            let mut lasts = Vec::new();
            for number in numbers {
                let begun = self.guessed(peer(from), (number as u32, "forbidden"), &rules(), now);
                lasts.extend(begun.iter().map(|begun| begun.lasts.as_secs()));
            }
            lasts
        }

        fn assert_sound(&self) {
            let ordered: usize = self.order.iter().map(BTreeSet::len).sum();
            assert_eq!(ordered, self.rows.len());
            for (whose, row) in &self.rows {
                assert!(self.order[row.class as usize].contains(&(row.due, *whose)), "{whose}");
            }
            let addresses = self.rows.keys().filter(|whose| **whose == address_of(whose.addr));
            assert_eq!(self.siblings.values().sum::<usize>(), addresses.count());
            assert!(self.siblings.values().all(|&held| (1..=SIBLINGS_MAX).contains(&held)));
            assert!(self.rows.len() <= ROWS_MAX);
        }
    }

    #[test]
    fn enough_guesses_begin_a_penalty_that_grows_each_time() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        assert_eq!(book.guess("192.0.2.1", 0..3, now), NONE);
        // What was shown before is no guess.
        for _ in 0..100 {
            assert_eq!(book.guess("192.0.2.1", 0..3, now), NONE);
        }
        assert_eq!(book.guess("192.0.2.1", 3..4, now), [10]);
        // While it is in force nothing makes it longer.
        assert_eq!(book.guess("192.0.2.1", 10..12, now), NONE);
        let mut number = 100;
        for lasts in [20, 35, 35] {
            now = book.due().unwrap();
            assert_eq!(book.tick(&rules(), now), [address_of(peer("192.0.2.1"))]);
            assert_eq!(book.len(), 0);
            number += 10;
            let begun = book.guess("192.0.2.1", number..number + 4, now);
            assert_eq!(begun.first(), Some(&lasts));
        }
        book.assert_sound();
        // Who did nothing for as long as the longest is a stranger again.
        while let Some(due) = book.due() {
            now = due;
            book.tick(&rules(), now);
        }
        assert!(book.rows.is_empty() && book.siblings.is_empty());
        assert_eq!(book.guess("192.0.2.1", 0..4, now), [10]);
    }

    #[test]
    fn guesses_need_not_come_at_one_moment() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        for number in 0..3 {
            assert_eq!(book.guess("192.0.2.1", number..number + 1, now), NONE, "{number}");
            now += SECOND;
        }
        assert_eq!(book.guess("192.0.2.1", 3..4, now), [10]);
    }

    #[test]
    fn slow_guesses_are_forgotten_one_by_one() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        for number in 0..200 {
            now += 15 * SECOND;
            assert_eq!(book.guess("192.0.2.1", number..number + 1, now), NONE, "{number}");
            book.tick(&rules(), now);
        }
        assert_eq!(book.guess("192.0.2.1", 300..303, now), [10]);
    }

    #[test]
    fn many_addresses_of_a_prefix_share_a_penalty_and_neighbours_beyond_it_do_not() {
        let (mut book, now) = (Book::default(), Instant::now());
        for last in 0..9 {
            let from = format!("192.0.2.{last}");
            assert_eq!(book.guess(&from, last * 10..last * 10 + 1, now), NONE);
        }
        assert_eq!(book.guess("192.0.2.200", 900..901, now), [10]);
        let begun: Vec<_> = book.penalties().map(|(whose, ..)| whose.to_string()).collect();
        assert_eq!(begun, ["192.0.2.0/24"]);
        assert_eq!(book.guess("192.0.3.1", 0..3, now), NONE);
        book.refused(&address_of(peer("192.0.2.77")), 5);
        assert_eq!(book.penalties().next().unwrap().1.refused, 5);
        assert!(!book.lift(&prefix_of(peer("192.0.3.1"))));
        assert!(book.lift(&prefix_of(peer("192.0.2.1"))));
        assert_eq!(book.len(), 0);
        book.assert_sound();
    }

    #[test]
    fn who_has_many_addresses_makes_room_in_nobody_elses_rows() {
        let (mut book, now) = (Book::default(), Instant::now());
        for last in 0..100 {
            assert_eq!(book.guess(&format!("198.51.{last}.1"), 0..4, now), [10]);
        }
        // Somebody who is about to be caught.
        assert_eq!(book.guess("203.0.113.1", 0..3, now), NONE);
        // Each /64 of a /56, and then single guesses of a great many /56.
        for block in 0..5_000 {
            book.guess(&format!("2001:db8:0:{:x}::1", block % 256), block..block + 1, now);
        }
        let held = book.rows.keys().filter(|whose| whose.addr.is_ipv6()).count();
        assert!(held <= SIBLINGS_MAX + 1, "{held}");
        for block in 0..3 * ROWS_MAX as u64 {
            book.guess(&format!("2001:{block:x}:1::1"), block..block + 1, now);
        }
        book.assert_sound();
        let kept = book.penalties().filter(|(whose, ..)| whose.addr.is_ipv4()).count();
        assert_eq!(kept, 100);
        assert_eq!(book.guess("203.0.113.1", 3..4, now), [10]);
    }

    #[test]
    fn a_book_of_penalties_gives_up_those_that_end_first() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        // One that was caught twice.
        book.guess("192.0.2.1", 0..4, now);
        now += 10 * SECOND;
        book.tick(&rules(), now);
        assert_eq!(book.guess("192.0.2.1", 10..14, now), [20]);
        for block in 0..ROWS_MAX as u64 {
            book.guess(&format!("2001:{block:x}:1::1"), 0..4, now);
        }
        book.assert_sound();
        assert!(book.penalties().any(|(whose, ..)| *whose == address_of(peer("192.0.2.1"))));
        // Those that went are told of, once.
        let gone = book.crowded_out();
        assert_eq!(gone.len(), ROWS_MAX + 1 - book.len());
        assert!(book.penalties().all(|(whose, ..)| !gone.contains(whose)));
        assert!(book.crowded_out().is_empty());
    }

    /// Encoders whose keys were changed come again every five seconds, for half an hour; the
    /// penalties that begin.
    fn encoders(address: impl Fn(u32) -> String, count: u32, rules: &PenaltyRules) -> usize {
        let (mut book, mut now, mut begun) = (Book::default(), Instant::now(), 0);
        for _ in 0..360 {
            for encoder in 0..count {
                let shown = (encoder, "forbidden");
                begun += book.guessed(peer(&address(encoder)), shown, rules, now).len();
                now += 5 * SECOND / count;
                book.tick(rules, now);
            }
            book.assert_sound();
        }
        begun
    }

    #[test]
    fn encoders_whose_keys_were_changed_are_one_guess_each() {
        let rules = PenaltyRules::default();
        let (one, each) = (|_| "192.0.2.1".to_owned(), |at| format!("192.0.2.{at}"));
        assert_eq!(encoders(one, 40, &rules), 0);
        assert_eq!(encoders(one, rules.guesses_max - 1, &rules), 0);
        // More of them than addresses of a prefix have rows.
        assert_eq!(encoders(each, 40, &rules), 0);
        assert_eq!(encoders(each, 250, &rules), 0);
        // Far slower than guesses are forgotten, too.
        let few = PenaltyRules { guesses_max: 2, prefix_guesses_max: 2, ..rules };
        assert_eq!(encoders(one, 1, &few), 0);
        // So many that they begin a penalty begin one: they are known afterwards.
        assert_eq!(encoders(one, 2 * rules.guesses_max, &rules), 1);
    }

    #[test]
    fn what_is_shown_no_more_is_forgotten_and_so_is_the_oldest_of_too_many() {
        let (mut book, mut now) = (Book::default(), Instant::now());
        let whose = address_of(peer("192.0.2.1"));
        book.guess("192.0.2.1", 0..1, now);
        now += 59 * SECOND;
        book.tick(&rules(), now);
        assert!(book.rows.contains_key(&whose));
        // Shown again, it is known for a window more.
        book.guess("192.0.2.1", 0..1, now);
        now += 59 * SECOND;
        book.tick(&rules(), now);
        assert_eq!(book.rows[&whose].guesses, 1);
        now += SECOND;
        book.tick(&rules(), now);
        assert!(book.rows.is_empty());
        for number in 0..2 * SHOWN_MAX as u64 {
            book.guess("192.0.2.1", number..number + 1, now);
        }
        let row = &book.rows[&whose];
        assert_eq!((row.shown.len(), row.shown.capacity()), (SHOWN_MAX, SHOWN_MAX));
        assert!(row.shown.iter().all(|&shown| usize::from(shown) >= SHOWN_MAX));
    }

    #[test]
    fn a_row_takes_what_it_is_said_to() {
        // A table of rows is at most twice as large as what is in it; the two trees are half full.
        let key = size_of::<AddrRange>();
        let row = 2 * (key + size_of::<Row>() + 1);
        let place = 2 * (size_of::<(Instant, AddrRange)>() + size_of::<usize>());
        let sibling = 2 * (key + size_of::<usize>() + 1);
        let shown = SHOWN_MAX * size_of::<u16>();
        let sum = row + place + sibling + shown;
        assert!(sum as u64 <= ROW_BYTES, "{row} {place} {sibling} {shown}");
    }

    proptest! {
        #[test]
        fn whatever_comes_the_book_stays_sound(
            steps in proptest::collection::vec((0_u8..4, 0_u8..40, 0_u64..20, 0_u64..30), 1..400),
        ) {
            let (mut book, mut now) = (Book::default(), Instant::now());
            for (kind, last, number, seconds) in steps {
                let from = format!("10.0.{}.{last}", last % 3);
                match kind {
                    0 => {
                        now += Duration::from_secs(seconds);
                        for ended in book.tick(&rules(), now) {
                            prop_assert!(book.penalties().all(|(whose, ..)| *whose != ended));
                        }
                        prop_assert!(book.due().is_none_or(|due| due > now));
                    }
                    1 => {
                        book.lift(&address_of(peer(&from)));
                    }
                    _ => {
                        book.guess(&from, number..number + 3, now);
                    }
                }
                book.assert_sound();
            }
        }
    }
}
