//! Report: rows of the store and of the ledger, added up for whoever asks.

use std::collections::BTreeMap;

use dataplane::control::Usage;
use dataplane::ids::StreamName;

use super::book::{Book, ROWS};
use super::hour::{By, Hour};
use super::row::{self, Account, RowKey};
use crate::registry::TenantName;
use crate::store::{StoreError, Table};

/// Lines of one report at most.
const LINES_MAX: usize = 20_000;
/// Bytes of the one report that may be made at one time: sums, lines and their text.
pub const REPORT_BYTES: u64 = LINES_MAX as u64 * 640;
/// Hours that a report without a beginning looks back.
const LOOKS_BACK: u32 = 24;

/// The hours of a report: those from the first to before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Hour,
    /// The one after the last.
    pub to: Hour,
}

impl Span {
    /// The hours between; without an end up to now, without a beginning the day before the end.
    #[must_use]
    pub fn of(from: Option<Hour>, to: Option<Hour>) -> Self {
        let to = to.unwrap_or_else(|| Hour::now().next());
        let from = from.unwrap_or(Hour(to.0.saturating_sub(LOOKS_BACK)));
        Self { from, to }
    }
}

/// Whose use is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// That of each stream.
    #[default]
    Stream,
    /// That of each tenant.
    Tenant,
}

/// What is reported.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this stream alone.
    pub stream: Option<StreamName>,
    /// Of this tenant alone.
    pub tenant: Option<TenantName>,
    /// In which steps.
    pub by: By,
    /// Of whom.
    pub per: Per,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first hour of its step.
    pub start: Hour,
    /// Whose it is.
    pub tenant: Option<TenantName>,
    /// The stream; `None` of a tenant's streams together.
    pub stream: Option<StreamName>,
    /// How.
    pub protocol: &'static str,
    /// What was used.
    pub used: Usage,
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It would be too long.
    #[error(
        "more than {LINES_MAX} lines; ask for fewer hours, for days or months, or for one tenant \
             or stream"
    )]
    TooMuch,
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A report in the making.
struct Sums<'a> {
    filter: &'a Filter,
    sums: BTreeMap<(Hour, Account), Usage>,
}

impl Sums<'_> {
    fn add(&mut self, RowKey { hour, mut account, .. }: RowKey, used: Usage) -> bool {
        let Filter { stream, tenant, by, per } = self.filter;
        let other_stream = stream.is_some() && account.stream != *stream;
        if other_stream || tenant.is_some() && account.tenant != *tenant {
            return true;
        }
        if *per == Per::Tenant {
            account.stream = None;
        }
        let sum = self.sums.entry((hour.start_of(*by), account)).or_default();
        *sum = sum.and(used);
        self.sums.len() <= LINES_MAX
    }
}

impl Book {
    /// What was used in `span`, to the last batch that a shard told.
    ///
    /// Errors: it is too much, or the store does not answer.
    pub async fn report(&self, span: Span, filter: &Filter) -> Result<Vec<Line>, ReportError> {
        let mut sums = Sums { filter, sums: BTreeMap::new() };
        let mut fits = true;
        self.read(span.from, |key, used| {
            let over = key.hour >= span.to;
            fits &= over || sums.add(key.clone(), used);
            fits && !over
        })
        .await?;
        if fits { Ok(lines(sums)) } else { Err(ReportError::TooMuch) }
    }

    /// Shows `to` each row from that hour on until it says no, those of the ledger first, as they
    /// are now: they say more than the same rows of the disk, which may be older. However many
    /// there are, others have their turn while the store looks for the next [`ROWS`].
    pub(super) async fn read(
        &self,
        from: Hour,
        mut to: impl FnMut(&RowKey, Usage) -> bool,
    ) -> Result<(), StoreError> {
        let (writers, newest) = self.ledger(|ledger| {
            for (key, used) in ledger.since(from) {
                // Hours that nobody asked for are no end.
                to(&key, used);
            }
            ledger.writers()
        });
        let mut from = from.0.to_be_bytes().to_vec();
        loop {
            let rows = self.store().scan(Table::Usage, from, ROWS).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            // The least key after the last one.
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in rows {
                // Another version may have written rows that this one does not read.
                let Some(key) = RowKey::from_bytes(&key) else { continue };
                let Some(used) = row::used(&value) else { continue };
                let in_memory = writers.contains(&key.writer);
                // An hour that began after the look at the ledger is not in it.
                let later = newest.is_before(key.writer);
                if !in_memory && !later && !to(&key, used) {
                    return Ok(());
                }
            }
        }
    }
}

fn lines(sums: Sums<'_>) -> Vec<Line> {
    let line = |((start, Account { tenant, stream, protocol }), used)| Line {
        start,
        tenant,
        stream,
        protocol: protocol.0,
        used,
    };
    sums.sums.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataplane::control::{Protocol, UsageBatch, UsageRow};
    use dataplane::ids::ShardId;

    use super::*;
    use crate::config::UsageSection;
    use crate::store::Disk;

    fn hour(text: &str) -> Hour {
        Hour::parse(text).unwrap()
    }

    fn batch(at: &str, uses: &[(&str, Protocol, u64)]) -> UsageBatch {
        let row = |&(stream, protocol, bytes_out): &(&str, Protocol, u64)| UsageRow {
            stream: StreamName::parse(stream),
            protocol,
            used: Usage { bytes_out, play_us: 1_000, ..Usage::default() },
            publish_bytes_in: 0,
        };
        let at_ms = u64::from(hour(at).0) * 3_600_000 + 1_800_000;
        let rows: Arc<[UsageRow]> = uses.iter().map(row).collect();
        UsageBatch { shard: ShardId(0), number: 1, at_ms, rows, more: false }
    }

    /// Streams of `acme/` are acme's, others nobody's.
    fn tenant(row: &UsageRow) -> Option<TenantName> {
        let acme = row.stream.as_ref()?.as_str().starts_with("acme/");
        acme.then(|| TenantName::parse("acme"))?
    }

    fn open(disk: &Disk) -> Book {
        Book::new(disk.store(), UsageSection::default(), 2_000)
    }

    async fn told(book: &Book, from: &str, to: &str, filter: Filter) -> Vec<String> {
        let span = Span { from: hour(from), to: hour(to) };
        let line = |line: &Line| {
            let tenant = line.tenant.as_ref().map_or("-", TenantName::as_str);
            let stream = line.stream.as_ref().map_or("-", StreamName::as_str);
            format!("{} {tenant} {stream} {} {}", line.start, line.protocol, line.used.bytes_out)
        };
        book.report(span, &filter).await.unwrap().iter().map(line).collect()
    }

    #[tokio::test]
    async fn days_and_months_end_where_the_calendar_says() {
        let book = open(&Disk::default());
        for (at, bytes) in [
            ("2026-01-31T22", 1),
            ("2026-01-31T23", 10),
            ("2026-02-01T00", 100),
            ("2026-02-28T23", 1_000),
            ("2026-03-01T00", 10_000),
        ] {
            book.add(&batch(at, &[("acme/a", Protocol::Hls, bytes)]), tenant);
            assert!(book.flush().await);
        }
        let of = |by| Filter { by, ..Filter::default() };
        assert_eq!(
            told(&book, "2026-01-01", "2026-04-01", of(By::Month)).await,
            [
                "2026-01-01T00:00:00Z acme acme/a hls 11",
                "2026-02-01T00:00:00Z acme acme/a hls 1100",
                "2026-03-01T00:00:00Z acme acme/a hls 10000",
            ]
        );
        let days = told(&book, "2026-01-31", "2026-02-02", of(By::Day)).await;
        assert_eq!(
            days,
            ["2026-01-31T00:00:00Z acme acme/a hls 11", "2026-02-01T00:00:00Z acme acme/a hls 100"]
        );
        let hours = told(&book, "2026-01-31T23", "2026-02-01T00", of(By::Hour)).await;
        assert_eq!(hours, ["2026-01-31T23:00:00Z acme acme/a hls 10"]);
    }

    #[tokio::test]
    async fn runs_and_tenants_are_added_up_and_told_apart() {
        let disk = Disk::default();
        let at = "2026-05-05T05";
        let uses = [
            ("acme/a", Protocol::Rtmp, 1),
            ("acme/b", Protocol::Rtmp, 2),
            ("c", Protocol::Rtmp, 4),
        ];
        for run in 0..3 {
            let book = open(&disk);
            book.add(&batch(at, &uses), tenant);
            if run < 2 {
                assert!(book.flush().await);
                // A second flush, and one after more, change no sum.
                assert!(book.flush().await);
            }
            let filter = Filter { per: Per::Tenant, ..Filter::default() };
            let sum = run + 1;
            assert_eq!(
                told(&book, "2026-05-05", "2026-05-06", filter).await,
                [
                    format!("2026-05-05T05:00:00Z - - rtmp {}", 4 * sum),
                    format!("2026-05-05T05:00:00Z acme - rtmp {}", 3 * sum),
                ],
                "what the ledger has and the disk has not is told, too"
            );
        }
        let book = open(&disk);
        let filter = Filter { stream: StreamName::parse("acme/b"), ..Filter::default() };
        let lines = told(&book, "2026-05-05", "2026-05-06", filter).await;
        assert_eq!(lines, ["2026-05-05T05:00:00Z acme acme/b rtmp 4"], "the third run was killed");
        let filter = Filter { tenant: TenantName::parse("other"), ..Filter::default() };
        assert!(told(&book, "2026-05-05", "2026-05-06", filter).await.is_empty());
    }

    #[tokio::test]
    async fn what_a_failed_disk_refused_is_written_once_when_it_works() {
        let disk = Disk::default();
        let book = open(&disk);
        book.add(&batch("2026-05-05T05", &[("a", Protocol::Hls, 7)]), tenant);
        disk.fail_after(0);
        assert!(!book.flush().await);
        let span = Span { from: hour("2026-05-05"), to: hour("2026-05-06") };
        let error = book.report(span, &Filter::default()).await.unwrap_err();
        assert!(matches!(error, ReportError::Store(_)), "{error}");
        book.add(&batch("2026-05-05T05", &[("a", Protocol::Hls, 1)]), tenant);
        disk.repair_for(book.store());
        assert!(book.flush().await && book.flush().await);
        let again = open(&disk);
        let lines = told(&again, "2026-05-05", "2026-05-06", Filter::default()).await;
        assert_eq!(lines, ["2026-05-05T05:00:00Z - a hls 8"]);
    }

    #[tokio::test]
    async fn what_is_too_old_is_deleted_and_nothing_else() {
        let disk = Disk::default();
        let section = UsageSection { retention_days: 31, ..UsageSection::default() };
        let book = Book::new(disk.store(), section, 2_000);
        let streams: Vec<_> = (0..1_500).map(|n| format!("s{n}")).collect();
        let uses: Vec<_> = streams.iter().map(|s| (s.as_str(), Protocol::Hls, 1)).collect();
        book.add(&batch("2026-01-01T22", &uses), tenant);
        book.add(&batch("2026-01-01T23", &[("kept", Protocol::Hls, 2)]), tenant);
        assert!(book.flush().await);
        book.prune(hour("2026-02-01T23")).await;
        let later = open(&disk);
        let lines = told(&later, "2026-01-01", "2026-01-02", Filter::default()).await;
        assert_eq!(lines, ["2026-01-01T23:00:00Z - kept hls 2"]);
    }

    #[tokio::test]
    async fn a_report_has_so_many_lines() {
        let section = UsageSection::default();
        let book = Book::new(Disk::default().store(), section, 25_000);
        let streams: Vec<_> = (0..=LINES_MAX).map(|n| format!("s{n}")).collect();
        let uses: Vec<_> = streams.iter().map(|s| (s.as_str(), Protocol::Hls, 1)).collect();
        book.add(&batch("2026-01-01T00", &uses), tenant);
        let span = Span { from: hour("2026-01-01"), to: hour("2026-01-02") };
        let error = book.report(span, &Filter::default()).await.unwrap_err();
        assert_eq!(error, ReportError::TooMuch);
        let few = Filter { stream: StreamName::parse("s7"), ..Filter::default() };
        assert_eq!(book.report(span, &few).await.unwrap().len(), 1);
        let filter = Filter { per: Per::Tenant, ..Filter::default() };
        assert_eq!(book.report(span, &filter).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_month_has_as_many_rows_as_it_has() {
        let section = UsageSection::default();
        let book = Book::new(Disk::default().store(), section, 25_000);
        let streams: Vec<_> = (0..LINES_MAX / 4).map(|n| format!("acme/{n}")).collect();
        let mut uses: Vec<_> = streams.iter().map(|s| (s.as_str(), Protocol::Hls, 1)).collect();
        uses.extend(streams.iter().map(|s| (s.as_str(), Protocol::Rtmp, 1)));
        // More rows than any report has lines.
        for at in ["2026-01-01T00", "2026-01-02T00", "2026-01-31T23"] {
            book.add(&batch(at, &uses), tenant);
            assert!(book.flush().await);
        }
        let filter = Filter { by: By::Month, per: Per::Tenant, ..Filter::default() };
        let bytes = 3 * LINES_MAX / 4;
        assert_eq!(
            told(&book, "2026-01-01", "2026-02-01", filter).await,
            [
                format!("2026-01-01T00:00:00Z acme - hls {bytes}"),
                format!("2026-01-01T00:00:00Z acme - rtmp {bytes}"),
            ]
        );
    }
}
