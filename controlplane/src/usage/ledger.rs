//! Ledger: the rows of this run that may still grow, and what of them is on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use dataplane::control::{Protocol, Usage, UsageRow};

use super::hour::Hour;
use super::row::{Account, RowKey, Word};
use crate::registry::TenantName;

/// An hour that nothing was added to for so long is no longer kept in memory once it is saved.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);
/// Hours that are in memory at most, as long as the disk answers: this one, the one before, and one
/// that the disk refused or a clock made that was set.
pub const LEDGER_HOURS_MAX: usize = 3;
/// Bytes of one row in memory, its names included.
pub const LEDGER_ROW_BYTES: u64 = 448;
/// Bits of a writer that number the hours of its run; those above are the run's.
const HOUR_BITS: u32 = 24;

/// Who alone writes the rows of an hour: one hour of one run. An hour that was forgotten and comes
/// again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WriterId(pub u64);

impl WriterId {
    /// The first hour of a run.
    fn first() -> Self {
        Self(RandomState::new().hash_one(0) >> HOUR_BITS << HOUR_BITS)
    }

    const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// True of an hour that the run of `self` began later.
    pub(super) const fn is_before(self, other: Self) -> bool {
        self.0 >> HOUR_BITS == other.0 >> HOUR_BITS && self.0 < other.0
    }
}

/// The rows. See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    hours: BTreeMap<Hour, Rows>,
    /// The one that was taken last.
    writer: WriterId,
    /// Hours that are being written.
    in_flight: BTreeSet<Hour>,
    rows_max: usize,
    /// All that was used since the start.
    total: Usage,
    /// What was counted together because an hour had too many rows.
    merged: u64,
}

/// The rows of an hour.
#[derive(Debug)]
struct Rows {
    /// Tells them from those of other runs, and from rows of this hour that were forgotten.
    writer: WriterId,
    rows: HashMap<Account, Row>,
    touched: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    used: Usage,
    /// What is on the disk.
    saved: Usage,
}

/// Some rows as they are to be written.
pub(super) type Unsaved = Vec<(RowKey, Usage)>;

impl Ledger {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            hours: BTreeMap::new(),
            writer: WriterId::first(),
            in_flight: BTreeSet::new(),
            rows_max,
            total: Usage::default(),
            merged: 0,
        }
    }

    /// Adds what was used in `hour`.
    pub(super) fn add(
        &mut self,
        hour: Hour,
        tenant: Option<TenantName>,
        row: &UsageRow,
        now: Instant,
    ) {
        let Self { hours, writer, rows_max, total, merged, .. } = self;
        let rows = hours.entry(hour).or_insert_with(|| {
            *writer = writer.next();
            Rows { writer: *writer, rows: HashMap::new(), touched: now }
        });
        rows.touched = now;
        *total = total.and(row.used);
        let protocol = row.protocol.into();
        let mut account = Account { tenant, stream: row.stream.clone(), protocol };
        // At first streams share a row of their tenant; where those are too many, all share one.
        let len = rows.rows.len();
        if len >= *rows_max && !rows.rows.contains_key(&account) {
            *merged += 1;
            account.stream = None;
            if len >= 2 * *rows_max && !rows.rows.contains_key(&account) {
                account.tenant = None;
            }
        }
        let sum = rows.rows.entry(account).or_default();
        sum.used = sum.used.and(row.used);
        self.fold(now);
    }

    /// While the disk fails, no more than [`LEDGER_HOURS_MAX`] hours wait: what the first one has
    /// to say is said of the next. One that is being written is left alone: it may be saved.
    fn fold(&mut self, now: Instant) {
        if self.hours.len() <= LEDGER_HOURS_MAX {
            return;
        }
        let mut waiting = self.hours.keys().filter(|hour| !self.in_flight.contains(hour));
        let (Some(&first), Some(&next)) = (waiting.next(), waiting.next()) else { return };
        let Some(first) = self.hours.remove(&first) else { return };
        let total = self.total;
        for (Account { tenant, stream, protocol: Word(protocol) }, row) in first.rows {
            let protocol = Protocol::ALL.into_iter().find(|known| known.name() == protocol);
            let Some(protocol) = protocol.filter(|_| row.used != row.saved) else { continue };
            let used = row.used.since(row.saved);
            self.add(next, tenant, &UsageRow { stream, protocol, used, publish_bytes_in: 0 }, now);
        }
        self.total = total;
    }

    /// Rows that are to be written, at most `limit`; then they are [`Self::saved`] or
    /// [`Self::refused`].
    pub(super) fn unsaved(&mut self, limit: usize) -> Unsaved {
        let unsaved = self.rows().filter(|(_, row)| row.used != row.saved);
        let unsaved: Unsaved = unsaved.take(limit).map(|(key, row)| (key, row.used)).collect();
        self.in_flight.extend(unsaved.iter().map(|(key, _)| key.hour));
        unsaved
    }

    /// The rows in memory from that hour on.
    pub(super) fn since(&self, from: Hour) -> impl Iterator<Item = (RowKey, Usage)> {
        self.rows_since(from).map(|(key, row)| (key, row.used))
    }

    /// The writers of the hours in memory, and the one that was taken last.
    pub(super) fn writers(&self) -> (HashSet<WriterId>, WriterId) {
        (self.hours.values().map(|rows| rows.writer).collect(), self.writer)
    }

    fn rows(&self) -> impl Iterator<Item = (RowKey, &Row)> {
        self.rows_since(Hour(0))
    }

    fn rows_since(&self, from: Hour) -> impl Iterator<Item = (RowKey, &Row)> {
        self.hours.range(from..).flat_map(|(&hour, rows)| {
            let writer = rows.writer;
            rows.rows
                .iter()
                .map(move |(account, row)| (RowKey { hour, account: account.clone(), writer }, row))
        })
    }

    /// The disk refused what it was to write.
    pub(super) fn refused(&mut self) {
        self.in_flight.clear();
    }

    /// These rows are on the disk.
    pub(super) fn saved(&mut self, written: &Unsaved) {
        self.in_flight.clear();
        for (RowKey { hour, account, writer }, used) in written {
            let rows = self.hours.get_mut(hour).filter(|rows| rows.writer == *writer);
            if let Some(row) = rows.and_then(|rows| rows.rows.get_mut(account)) {
                row.saved = *used;
            }
        }
    }

    /// Forgets hours that are over and on the disk.
    pub(super) fn forget(&mut self, now: Instant) {
        self.hours.retain(|_, rows| {
            let unsaved = rows.rows.values().any(|row| row.used != row.saved);
            unsaved || now.saturating_duration_since(rows.touched) < KEPT_FOR
        });
    }

    /// Rows in memory, and those of them that are not on the disk.
    pub(super) fn len(&self) -> (usize, usize) {
        let rows = || self.hours.values().flat_map(|rows| rows.rows.values());
        (rows().count(), rows().filter(|row| row.used != row.saved).count())
    }

    /// All that was used since the start, and how often rows were counted together.
    pub(super) const fn totals(&self) -> (Usage, u64) {
        (self.total, self.merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::ids::StreamName;

    fn row(stream: &str, bytes_out: u64) -> UsageRow {
        let used = Usage { bytes_out, ..Usage::default() };
        UsageRow {
            stream: StreamName::parse(stream),
            protocol: Protocol::Hls,
            used,
            publish_bytes_in: 0,
        }
    }

    #[test]
    fn a_row_is_written_as_its_sum_and_again_when_it_grew() {
        let now = Instant::now();
        let mut ledger = Ledger::new(16);
        ledger.add(Hour(1), None, &row("a", 10), now);
        let first = ledger.unsaved(9);
        ledger.add(Hour(1), None, &row("a", 5), now);
        assert_eq!(first[0].1.bytes_out, 10);
        // What grew while it was written is not taken for written.
        ledger.saved(&first);
        let second = ledger.unsaved(9);
        assert_eq!((second[0].1.bytes_out, &second[0].0), (15, &first[0].0));
        ledger.saved(&second);
        assert!(ledger.unsaved(9).is_empty());
        // The clock goes back and forth: each hour has its own rows.
        ledger.add(Hour(9), None, &row("a", 1), now);
        ledger.add(Hour(0), None, &row("a", 2), now);
        ledger.add(Hour(1), None, &row("a", 3), now);
        let mut hours: Vec<_> = ledger.unsaved(9).iter().map(|(key, _)| key.hour.0).collect();
        hours.sort_unstable();
        assert_eq!(hours, [0, 1, 9]);
    }

    #[test]
    fn an_hour_is_forgotten_when_it_is_saved_and_over_and_returns_as_another() {
        let now = Instant::now();
        let mut ledger = Ledger::new(16);
        ledger.add(Hour(1), None, &row("a", 10), now);
        ledger.forget(now + 2 * KEPT_FOR);
        assert_eq!(ledger.len(), (1, 1), "it is not on the disk");
        let before = ledger.unsaved(9);
        ledger.saved(&before);
        ledger.forget(now + KEPT_FOR / 2);
        assert_eq!(ledger.len(), (1, 0));
        ledger.forget(now + KEPT_FOR);
        assert_eq!(ledger.len(), (0, 0));
        ledger.add(Hour(1), None, &row("a", 1), now);
        assert_ne!(ledger.unsaved(9)[0].0.writer, before[0].0.writer, "nothing is overwritten");
    }

    #[test]
    fn a_disk_that_fails_for_days_costs_hours_and_no_byte() {
        let now = Instant::now();
        let mut ledger = Ledger::new(16);
        ledger.add(Hour(0), None, &row("a", 10), now);
        let first = ledger.unsaved(9);
        ledger.saved(&first);
        for hour in 0..100 {
            ledger.add(Hour(hour), None, &row("a", 1), now);
            ledger.refused();
        }
        assert_eq!(ledger.hours.len(), LEDGER_HOURS_MAX);
        let unsaved = ledger.unsaved(1_000);
        assert_eq!(unsaved.iter().map(|(_, used)| used.bytes_out).sum::<u64>(), 100);
        assert_eq!(ledger.totals().0.bytes_out, 110);
        // What is on its way to the disk is told of no other hour.
        for hour in 100..110 {
            ledger.add(Hour(hour), None, &row("a", 1), now);
        }
        ledger.saved(&unsaved);
        let left = ledger.unsaved(1_000);
        assert_eq!(left.iter().map(|(_, used)| used.bytes_out).sum::<u64>(), 10);
    }

    #[test]
    fn an_hour_has_so_many_rows_whatever_names_come() {
        let now = Instant::now();
        let mut ledger = Ledger::new(16);
        let tenant = |n: u64| TenantName::parse(&format!("t{}", n % 40));
        for n in 0..1_000 {
            ledger.add(Hour(1), tenant(n), &row(&format!("s{n}"), 1), now);
        }
        let (rows, _) = ledger.len();
        assert!(rows <= 33, "{rows}");
        let all: Vec<_> = ledger.since(Hour(0)).collect();
        assert_eq!(all.iter().map(|(_, used)| used.bytes_out).sum::<u64>(), 1_000);
        let of_tenant = |(key, _): &&(RowKey, Usage)| {
            key.account.stream.is_none() && key.account.tenant.is_some()
        };
        assert!(all.iter().filter(of_tenant).count() > 0, "those that fit are told by tenant");
        // Who has a row keeps it.
        ledger.add(Hour(1), tenant(0), &row("s0", 7), now);
        let own: Vec<_> = ledger.since(Hour(0)).collect();
        let first = own.iter().find(|(key, _)| {
            key.account.stream.as_ref().is_some_and(|stream| stream.as_str() == "s0")
        });
        assert_eq!(first.unwrap().1.bytes_out, 8);
        assert_eq!(ledger.totals().0.bytes_out, 1_007);
    }
}
