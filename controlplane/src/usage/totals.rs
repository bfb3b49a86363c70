//! Totals: what each stream and each tenant used in the days and months of quotas, kept up as it
//! is used, so that one look tells it.
//!
//! ```text
//!   add --> Sum: what the store has, and what is new --flush, with the rows--> store
//!                     ^                                                          |
//!                     +-- at the start those of this day and month, later -------+
//!                         what somebody asked for and was not in memory
//! ```
//!
//! A period that begins while the server runs has a total of its own from its first byte on, so
//! that nothing has to be added up when it begins. What is in memory is a part of what the store
//! has: a total that is not is known at least as far as it was used since.
//!
//! Shape of a key: a byte of the period (`d`, `m`), 4 bytes of its first hour, a byte of whose it
//! is (`a` of a tenant, `s` of a stream), the name; numbers are big endian. The totals of a period
//! lie together, those of tenants first.
//! Limits: as many sums as it is told; beyond that those that were used longest ago go.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};

use super::hour::{By, Hour};
use crate::registry::TenantName;
use crate::store::{Table, Write};

/// Bytes of one total in memory, its name included.
pub const TOTAL_BYTES: u64 = 208;
/// Totals that are looked for in the store at one time.
const WANTED_MAX: usize = 1_024;
/// The version of a value.
const VERSION: u64 = 1;

/// Totals in memory at most, where an hour has so many rows: the day and the month of each.
#[must_use]
pub const fn totals_max(rows_max: u64) -> usize {
    2 * rows_max as usize
}

/// Whose total it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A stream's, whosever that is.
    Stream(StreamName),
    /// That of all streams of a tenant.
    Tenant(TenantName),
}

/// Which total.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TotalKey {
    pub by: By,
    /// The first hour of the period.
    pub start: Hour,
    pub whose: Whose,
}

impl TotalKey {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, name) = match &self.whose {
            Whose::Stream(stream) => (b's', stream.as_str()),
            Whose::Tenant(tenant) => (b'a', tenant.as_str()),
        };
        [&period(self.by, self.start)[..], &[kind], name.as_bytes()].concat()
    }

    /// The key that `bytes` are; `None` if another version wrote them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[by, ref start @ ..], rest) = bytes.split_first_chunk::<5>()?;
        let (&kind, name) = rest.split_first()?;
        let by = [By::Day, By::Month].into_iter().find(|&known| letter(known) == by)?;
        let name = str::from_utf8(name).ok()?;
        let whose = match kind {
            b's' => Whose::Stream(StreamName::parse(name)?),
            b'a' => Whose::Tenant(TenantName::parse(name)?),
            _ => return None,
        };
        Some(Self { by, start: Hour(u32::from_be_bytes(*start)), whose })
    }
}

/// What the keys of a period begin with.
pub(super) fn period(by: By, start: Hour) -> [u8; 5] {
    let [a, b, c, d] = start.0.to_be_bytes();
    [letter(by), a, b, c, d]
}

const fn letter(by: By) -> u8 {
    match by {
        By::Hour => b'h',
        By::Day => b'd',
        By::Month => b'm',
    }
}

#[derive(Serialize, Deserialize)]
struct Value {
    v: u64,
    bytes: u64,
}

pub(super) fn write(key: &TotalKey, bytes: u64) -> Write {
    let value = serde_json::to_vec(&Value { v: VERSION, bytes }).expect("numbers serialise");
    Write { table: Table::Totals, key: key.to_bytes(), value: Some(value) }
}

/// The bytes of a value; `None` if another version wrote it.
pub(super) fn bytes(value: &[u8]) -> Option<u64> {
    let Value { v, bytes } = serde_json::from_slice(value).ok()?;
    (v == VERSION).then_some(bytes)
}

/// One total.
#[derive(Clone, Copy, Debug)]
struct Sum {
    /// What the store has; `None` if that is not known.
    saved: Option<u64>,
    /// What came since.
    unsaved: u64,
    touched: Instant,
}

/// A total that is to be written: what the store has, if that is known, and what came since.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub key: TotalKey,
    pub saved: Option<u64>,
    pub more: u64,
}

/// The totals. See the module.
#[derive(Debug)]
pub(super) struct Totals {
    sums: HashMap<TotalKey, Sum>,
    /// Those that somebody asked for and that are to be looked for in the store.
    wanted: HashSet<TotalKey>,
    /// Those of these days and months and later that are not in memory are nothing.
    whole_from: Option<[Hour; 2]>,
    max: usize,
}

impl Totals {
    pub(super) fn new(max: usize) -> Self {
        Self { sums: HashMap::new(), wanted: HashSet::new(), whole_from: None, max }
    }

    /// So many bytes of a stream, and of whose it is, were used in `hour`.
    pub(super) fn add(
        &mut self,
        hour: Hour,
        (stream, tenant): (Option<&StreamName>, Option<&TenantName>),
        bytes: u64,
        now: Instant,
    ) {
        if bytes == 0 {
            return;
        }
        let stream = stream.cloned().map(Whose::Stream);
        for whose in stream.into_iter().chain(tenant.cloned().map(Whose::Tenant)) {
            for by in [By::Day, By::Month] {
                let key = TotalKey { by, start: hour.start_of(by), whose: whose.clone() };
                if let Some(sum) = self.sum(key, now) {
                    sum.unsaved = sum.unsaved.saturating_add(bytes);
                }
            }
        }
    }

    /// Bytes that were used in the period of `hour`, at least; all of them unless this is the first
    /// time that it is asked for and was not in memory.
    pub(super) fn used(&mut self, whose: &Whose, by: By, hour: Hour) -> u64 {
        let key = TotalKey { by, start: hour.start_of(by), whose: whose.clone() };
        let sum = self.sums.get(&key).copied();
        let saved = match sum {
            Some(sum) => sum.saved,
            None => self.is_nothing(&key).then_some(0),
        };
        if saved.is_none() && self.wanted.len() < WANTED_MAX {
            self.wanted.insert(key);
        }
        saved.unwrap_or(0).saturating_add(sum.map_or(0, |sum| sum.unsaved))
    }

    /// True if somebody asked for what is not in memory.
    pub(super) fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Those that are to be looked for in the store.
    pub(super) fn wanted(&mut self) -> HashSet<TotalKey> {
        std::mem::take(&mut self.wanted)
    }

    /// The store has so much.
    pub(super) fn found(&mut self, key: TotalKey, bytes: u64, now: Instant) {
        if let Some(sum) = self.sum(key, now) {
            sum.saved.get_or_insert(bytes);
        }
    }

    /// True if one more makes others go.
    pub(super) fn are_full(&self) -> bool {
        self.sums.len() >= self.max
    }

    /// Everything that the store has of this day and this month, and later, was [`Self::found`].
    pub(super) fn are_whole(&mut self, hour: Hour) {
        self.whole_from = Some([hour.start_of(By::Day), hour.start_of(By::Month)]);
    }

    /// Those that are to be written, at most `limit`.
    pub(super) fn due(&self, limit: usize) -> Vec<Due> {
        let unsaved = self.sums.iter().filter(|(_, sum)| sum.unsaved > 0).take(limit);
        let due = |(key, sum): (&TotalKey, &Sum)| Due {
            key: key.clone(),
            saved: sum.saved,
            more: sum.unsaved,
        };
        unsaved.map(due).collect()
    }

    /// These are in the store; all that it has of each was known.
    pub(super) fn saved(&mut self, written: &[Due]) {
        for Due { key, saved, more } in written {
            let Some(sum) = self.sums.get_mut(key) else { continue };
            sum.saved = Some(saved.unwrap_or(0).saturating_add(*more));
            sum.unsaved = sum.unsaved.saturating_sub(*more);
        }
    }

    /// Forgets those of periods that are over, once they are in the store.
    pub(super) fn forget(&mut self, hour: Hour) {
        self.sums.retain(|key, sum| sum.unsaved > 0 || key.start >= hour.start_of(key.by));
        if let Some([day, month]) = &mut self.whole_from {
            // The clock may have been set back since the last time.
            *day = (*day).max(hour.start_of(By::Day));
            *month = (*month).max(hour.start_of(By::Month));
        }
    }

    /// True if the store has nothing of what is not in memory.
    fn is_nothing(&self, key: &TotalKey) -> bool {
        self.whole_from.is_some_and(|[day, month]| {
            key.start >= if matches!(key.by, By::Day) { day } else { month }
        })
    }

    /// The sum of a key; `None` if there is no room for one more.
    fn sum(&mut self, key: TotalKey, now: Instant) -> Option<&mut Sum> {
        if !self.sums.contains_key(&key) {
            if self.sums.len() >= self.max {
                self.make_room();
            }
            if self.sums.len() >= self.max {
                return None;
            }
        }
        let saved = self.is_nothing(&key).then_some(0);
        let sum = self.sums.entry(key).or_insert(Sum { saved, unsaved: 0, touched: now });
        sum.touched = now;
        Some(sum)
    }

    /// Half of those that are in the store go, those that were used longest ago.
    fn make_room(&mut self) {
        let saved = self.sums.values().filter(|sum| sum.unsaved == 0);
        let mut touched: Vec<_> = saved.map(|sum| sum.touched).collect();
        let middle = touched.len() / 2;
        if touched.is_empty() {
            return;
        }
        let (_, &mut until, _) = touched.select_nth_unstable(middle);
        self.sums.retain(|_, sum| sum.unsaved > 0 || sum.touched > until);
        // What is not in memory any more is in the store.
        self.whole_from = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hour(text: &str) -> Hour {
        Hour::parse(text).unwrap()
    }

    fn stream(text: &str) -> Whose {
        Whose::Stream(StreamName::parse(text).unwrap())
    }

    fn add(totals: &mut Totals, at: &str, name: &str, bytes: u64, now: Instant) {
        let tenant = TenantName::parse("acme");
        let stream = StreamName::parse(name);
        totals.add(hour(at), (stream.as_ref(), tenant.as_ref()), bytes, now);
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_others_are_none() {
        let acme = Whose::Tenant(TenantName::parse("acme").unwrap());
        for whose in [stream("live/cam"), acme] {
            for by in [By::Day, By::Month] {
                let key = TotalKey { by, start: hour("2026-02-01"), whose: whose.clone() };
                let bytes = key.to_bytes();
                assert!(bytes.starts_with(&period(by, hour("2026-02-01"))));
                assert_eq!(TotalKey::from_bytes(&bytes), Some(key));
                for len in 0..7 {
                    assert_eq!(TotalKey::from_bytes(&bytes[..len]), None);
                }
            }
        }
        for bad in [&b"x0000sname"[..], b"h0000sname", b"d0000xname", b"d0000s\xff", b"d0000aa/b"] {
            assert_eq!(TotalKey::from_bytes(bad), None);
        }
        assert_eq!(bytes(b"{\"v\":2,\"bytes\":1}"), None);
    }

    #[test]
    fn days_and_months_are_told_apart_and_begin_anew() {
        let (mut totals, now) = (Totals::new(100), Instant::now());
        totals.are_whole(hour("2026-01-30T05"));
        for (at, bytes) in [("2026-01-30T23", 1), ("2026-01-31T00", 10), ("2026-02-01T00", 100)] {
            add(&mut totals, at, "a", bytes, now);
            add(&mut totals, at, "b", 1_000 * bytes, now);
        }
        let acme = Whose::Tenant(TenantName::parse("acme").unwrap());
        for (whose, by, at, expected) in [
            (stream("a"), By::Day, "2026-01-30T01", 1),
            (stream("a"), By::Day, "2026-01-31T23", 10),
            (stream("a"), By::Month, "2026-01-31T23", 11),
            (stream("a"), By::Month, "2026-02-01T00", 100),
            (stream("a"), By::Day, "2026-02-02T00", 0),
            (acme, By::Month, "2026-01-01", 11_011),
        ] {
            assert_eq!(totals.used(&whose, by, hour(at)), expected, "{whose:?} {at}");
        }
        assert!(!totals.are_wanted(), "all is known");
        // Of before the start nothing is.
        assert_eq!(totals.used(&stream("a"), By::Month, hour("2025-12-31")), 0);
        let december = TotalKey { by: By::Month, start: hour("2025-12-01"), whose: stream("a") };
        assert_eq!(totals.wanted(), [december.clone()].into());
        totals.found(december, 7, now);
        assert_eq!(totals.used(&stream("a"), By::Month, hour("2025-12-31")), 7);
        // What is over and in the store goes, and is asked for if the clock is set back.
        let due = totals.due(1_000);
        assert_eq!(due.len(), 3 * 3 + 2 * 3);
        totals.saved(&due);
        totals.forget(hour("2026-02-01T00"));
        assert_eq!(totals.sums.len(), 6, "of this day and this month");
        assert_eq!(totals.used(&stream("a"), By::Month, hour("2026-01-31")), 0);
        assert!(totals.are_wanted());
    }

    #[test]
    fn what_is_new_is_added_to_what_the_store_has_once_that_is_known() {
        let (mut totals, now) = (Totals::new(100), Instant::now());
        add(&mut totals, "2026-01-05", "a", 5, now);
        let used = |totals: &mut Totals| totals.used(&stream("a"), By::Month, hour("2026-01-05"));
        assert_eq!(used(&mut totals), 5, "at least");
        for key in totals.wanted() {
            totals.found(key, 100, now);
        }
        assert_eq!(used(&mut totals), 105);
        assert!(!totals.are_wanted());
        let due = totals.due(1_000);
        let saved = |due: &Due| due.saved == Some(100) && due.more == 5;
        assert_eq!(due.iter().filter(|due| saved(due)).count(), 1);
        // More comes while it is being written, and an answer that is older than that.
        add(&mut totals, "2026-01-05", "a", 1, now);
        totals.saved(&due);
        totals.found(due[0].key.clone(), 3, now);
        assert_eq!(used(&mut totals), 106);
        assert!(totals.due(1_000).iter().all(|due| due.more == 1));
    }

    #[test]
    fn as_many_as_it_is_told_are_in_memory_and_those_of_long_ago_go() {
        let (mut totals, now) = (Totals::new(100), Instant::now());
        totals.are_whole(hour("2026-01-05"));
        for n in 0..200_u64 {
            add(&mut totals, "2026-01-05", &format!("s{n}"), 1, now + Duration::from_secs(n));
        }
        assert_eq!(totals.sums.len(), 100, "nothing that is not in the store goes");
        let due = totals.due(1_000);
        totals.saved(&due);
        add(&mut totals, "2026-01-05", "new", 1, now + Duration::from_secs(300));
        assert!(totals.sums.len() < 60);
        assert_eq!(totals.used(&stream("s0"), By::Day, hour("2026-01-05")), 0);
        assert_eq!(totals.wanted().len(), 1, "it is in the store");
        for n in 0..2 * WANTED_MAX {
            totals.used(&stream(&format!("x{n}")), By::Day, hour("2026-01-05"));
        }
        assert_eq!(totals.wanted().len(), WANTED_MAX);
    }
}
