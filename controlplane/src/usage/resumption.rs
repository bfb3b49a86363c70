//! Resumption: totals of this day and month go on where the last run left them.
//!
//! A store in which no run has kept totals yet has rows: they are added up once.

use std::collections::HashMap;
use std::time::Instant;

use super::book::{Book, ROWS};
use super::hour::{By, Hour};
use super::row::Account;
use super::totals::{self, TotalKey, Whose};
use crate::store::{StoreError, Table, Write};

/// There if totals are kept beside every row.
const KEPT: &[u8] = b"usage.totals";

impl Book {
    /// Reads the totals of the day and the month of `hour`, and later ones; without a store that
    /// answers they are looked for when somebody asks.
    pub async fn resume(&self, hour: Hour) {
        if let Err(error) = self.try_resume(hour).await {
            tracing::warn!(reason = %error, "cannot read what was used before");
        }
    }

    async fn try_resume(&self, hour: Hour) -> Result<(), StoreError> {
        if self.store().get(Table::Meta, KEPT.to_vec()).await?.is_none() {
            self.add_up(hour).await?;
        }
        for by in [By::Day, By::Month] {
            let begin = totals::period(by, hour.start_of(by));
            let mut from = begin.to_vec();
            loop {
                let rows = self.store().scan(Table::Totals, from, ROWS).await?;
                // Those of later periods, too: the clock may have been set back.
                let is_its = |key: &[u8]| key.first() == begin.first();
                let its = rows.iter().take_while(|(key, _)| is_its(key));
                let now = Instant::now();
                let fit = self.totals(|totals| {
                    for (key, value) in its {
                        if totals.are_full() {
                            return false;
                        }
                        let key = TotalKey::from_bytes(key);
                        if let Some((key, bytes)) = key.zip(totals::bytes(value)) {
                            totals.found(key, bytes, now);
                        }
                    }
                    true
                });
                if !fit {
                    // The others are looked for when somebody asks.
                    return Ok(());
                }
                let Some((last, _)) = rows.last().filter(|(key, _)| is_its(key)) else { break };
                // The least key after the last one.
                from = [last.as_slice(), &[0]].concat();
            }
        }
        self.totals(|totals| totals.are_whole(hour));
        Ok(())
    }

    /// Adds up the rows of the day and the month of `hour`, and writes their totals.
    async fn add_up(&self, hour: Hour) -> Result<(), StoreError> {
        let (day, month) = (hour.start_of(By::Day), hour.start_of(By::Month));
        let mut sums = HashMap::<TotalKey, u64>::new();
        self.read(month, |key, used| {
            let Account { tenant, stream, .. } = &key.account;
            let bytes = used.bytes_in.saturating_add(used.bytes_out);
            let stream = stream.clone().map(Whose::Stream);
            for whose in stream.into_iter().chain(tenant.clone().map(Whose::Tenant)) {
                let mut add = |by, start| {
                    let key = TotalKey { by, start, whose: whose.clone() };
                    let sum = sums.entry(key).or_default();
                    *sum = sum.saturating_add(bytes);
                };
                add(By::Month, key.hour.start_of(By::Month));
                if key.hour >= day {
                    add(By::Day, key.hour.start_of(By::Day));
                }
            }
            true
        })
        .await?;
        let mut writes: Vec<_> =
            sums.iter().map(|(key, &bytes)| totals::write(key, bytes)).collect();
        // Whoever comes to an end before this one begins anew.
        writes.push(Write { table: Table::Meta, key: KEPT.to_vec(), value: Some(b"1".to_vec()) });
        for writes in writes.chunks(ROWS) {
            self.store().commit(writes.to_vec()).await?;
        }
        Ok(())
    }

    /// Looks in the store for what somebody asked for and is not in memory.
    pub(super) async fn look_up(&self) {
        let _writing = self.writing().await;
        for key in self.totals(totals::Totals::wanted) {
            match self.total(&key).await {
                Ok(bytes) => self.totals(|totals| totals.found(key, bytes, Instant::now())),
                Err(error) => {
                    // A disk that failed is told by the store, once; it is asked for again.
                    tracing::debug!(reason = %error, "cannot tell what was used before");
                    return;
                }
            }
        }
    }

    /// The total of the store.
    pub(super) async fn total(&self, key: &TotalKey) -> Result<u64, StoreError> {
        let value = self.store().get(Table::Totals, key.to_bytes()).await?;
        Ok(value.and_then(|value| totals::bytes(&value)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataplane::control::{Protocol, Usage, UsageBatch, UsageRow};
    use dataplane::ids::{ShardId, StreamName};

    use super::*;
    use crate::config::UsageSection;
    use crate::registry::TenantName;
    use crate::store::Disk;

    fn hour(text: &str) -> Hour {
        Hour::parse(text).unwrap()
    }

    fn stream(name: &str) -> Whose {
        Whose::Stream(StreamName::parse(name).unwrap())
    }

    fn acme() -> Whose {
        Whose::Tenant(TenantName::parse("acme").unwrap())
    }

    fn add(book: &Book, at: &str, uses: &[(&str, u64)]) {
        let row = |&(stream, bytes_out): &(&str, u64)| UsageRow {
            stream: StreamName::parse(stream),
            protocol: Protocol::Hls,
            used: Usage { bytes_out, ..Usage::default() },
            publish_bytes_in: 0,
        };
        let at_ms = u64::from(hour(at).0) * 3_600_000 + 1_800_000;
        let rows: Arc<[UsageRow]> = uses.iter().map(row).collect();
        let batch = UsageBatch { shard: ShardId(0), number: 1, at_ms, rows, more: false };
        book.add(&batch, |_| TenantName::parse("acme"));
    }

    async fn open(disk: &Disk, at: &str) -> Book {
        let book = Book::new(disk.store(), UsageSection::default(), 64);
        book.resume(hour(at)).await;
        book
    }

    #[tokio::test]
    async fn totals_are_those_of_all_runs_at_once_and_begin_anew_with_the_period() {
        let disk = Disk::default();
        for run in 1..=3 {
            let book = open(&disk, "2026-01-30T23").await;
            let used = |whose, by, at| book.used(&whose, by, hour(at));
            // Before anything happens what was used before is known.
            let before = 10 * (run - 1);
            assert_eq!(used(stream("a"), By::Month, "2026-01-30T23"), before);
            add(&book, "2026-01-30T23", &[("a", 3), ("b", 1)]);
            add(&book, "2026-01-31T00", &[("a", 7)]);
            for (whose, by, at, expected) in [
                (stream("a"), By::Day, "2026-01-30T23", 3 * run),
                (stream("a"), By::Day, "2026-01-31T10", 7 * run),
                (stream("a"), By::Month, "2026-01-31T10", 10 * run),
                (acme(), By::Month, "2026-01-31T10", 11 * run),
                (acme(), By::Month, "2026-02-01T00", 0),
                (stream("c"), By::Month, "2026-01-31T10", 0),
            ] {
                assert_eq!(used(whose.clone(), by, at), expected, "{run} {whose:?} {at}");
            }
            // A second flush, and one at the same moment, change no sum.
            let (one, two) = tokio::join!(book.flush(), book.flush());
            assert!(one && two && book.flush().await);
        }
        // What was not written down when a run was killed is lost, and nothing else.
        add(&open(&disk, "2026-01-31T01").await, "2026-01-31T01", &[("a", 1_000)]);
        let book = open(&disk, "2026-01-31T02").await;
        assert_eq!(book.used(&stream("a"), By::Month, hour("2026-01-31T02")), 30);
        let book = open(&disk, "2026-02-01T00").await;
        assert_eq!(book.used(&stream("a"), By::Month, hour("2026-02-01T00")), 0);
        // The clock is set back: the store knows.
        let _ = book.used(&stream("a"), By::Month, hour("2026-01-31T02"));
        book.look_up().await;
        assert_eq!(book.used(&stream("a"), By::Month, hour("2026-01-31T02")), 30);
    }

    #[tokio::test]
    async fn a_store_of_rows_alone_is_added_up_once() {
        let disk = Disk::default();
        let book = open(&disk, "2026-01-30T23").await;
        for at in ["2025-12-31T23", "2026-01-01T00", "2026-01-30T05"] {
            add(&book, at, &[("a", 5), ("b", 2)]);
        }
        assert!(book.flush().await);
        // As a version that kept no totals has left it.
        let keys = book.store().scan(Table::Totals, Vec::new(), 1_000).await.unwrap();
        let delete = |table, key| Write { table, key, value: None };
        let mut writes: Vec<_> =
            keys.into_iter().map(|(key, _)| delete(Table::Totals, key)).collect();
        writes.push(delete(Table::Meta, KEPT.to_vec()));
        book.store().commit(writes).await.unwrap();
        for _ in 0..2 {
            let book = open(&disk, "2026-01-30T06").await;
            let used = |whose, by| book.used(&whose, by, hour("2026-01-30T06"));
            assert_eq!([used(stream("a"), By::Day), used(stream("a"), By::Month)], [5, 10]);
            assert_eq!([used(acme(), By::Day), used(acme(), By::Month)], [7, 14]);
        }
    }

    #[tokio::test]
    async fn more_totals_than_fit_in_memory_are_in_the_store() {
        let disk = Disk::default();
        let names: Vec<_> = (0..2_000).map(|n| format!("s{n}")).collect();
        let book = open(&disk, "2026-01-05").await;
        for names in names.chunks(100) {
            let uses: Vec<_> = names.iter().map(|name| (name.as_str(), 3)).collect();
            add(&book, "2026-01-05T01", &uses);
            assert!(book.flush().await);
        }
        let again = open(&disk, "2026-01-05T02").await;
        for book in [&book, &again] {
            for name in names.iter().step_by(97) {
                let _ = book.used(&stream(name), By::Day, hour("2026-01-05T02"));
                book.look_up().await;
                assert_eq!(book.used(&stream(name), By::Day, hour("2026-01-05T02")), 3, "{name}");
            }
            let _ = book.used(&acme(), By::Month, hour("2026-01-05T02"));
            book.look_up().await;
            assert_eq!(book.used(&acme(), By::Month, hour("2026-01-05T02")), 6_000);
        }
    }

    #[tokio::test]
    async fn what_a_failed_disk_refused_is_in_the_total_once() {
        let disk = Disk::default();
        let book = open(&disk, "2026-01-05").await;
        add(&book, "2026-01-05", &[("a", 7)]);
        disk.fail_after(0);
        assert!(!book.flush().await);
        add(&book, "2026-01-05", &[("a", 1)]);
        assert_eq!(book.used(&stream("a"), By::Day, hour("2026-01-05")), 8);
        disk.repair_for(book.store());
        assert!(book.flush().await && book.flush().await);
        let again = open(&disk, "2026-01-05").await;
        assert_eq!(again.used(&stream("a"), By::Day, hour("2026-01-05")), 8);
    }

    #[tokio::test]
    async fn totals_are_kept_as_long_as_rows() {
        let disk = Disk::default();
        let section = UsageSection { retention_days: 31, ..UsageSection::default() };
        let book = Book::new(disk.store(), section, 64);
        for at in ["2025-11-30T05", "2026-01-01T22", "2026-01-05T05"] {
            add(&book, at, &[("a", 1)]);
        }
        assert!(book.flush().await);
        book.prune(hour("2026-02-02T00")).await;
        let keys = book.store().scan(Table::Totals, Vec::new(), 1_000).await.unwrap();
        let key = |(key, _): &(Vec<u8>, Vec<u8>)| TotalKey::from_bytes(key).unwrap();
        let mut left: Vec<_> = keys.iter().map(key).filter(|key| key.whose == acme()).collect();
        left.sort_by_key(|key| (key.start, matches!(key.by, By::Month)));
        let left: Vec<_> = left.iter().map(|key| (key.by, key.start)).collect();
        let day = hour("2026-01-05");
        assert_eq!(left, [(By::Month, hour("2026-01-01")), (By::Day, day)]);
    }
}
