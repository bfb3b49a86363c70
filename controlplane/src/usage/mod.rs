//! Usage: who used how much, hour by hour, kept so that it can be billed.
//!
//! ```text
//!   shards --batches--> Collector --rows with tenants--> Ledger --flush--> store (disk)
//!                                                           |               |
//!                                     API: hours or days <--+--- scan ------+
//! ```
//!
//! A shard tells each use in one batch ([`dataplane::control::UsageBatch`]); the collector takes
//! each number once. The ledger adds up what came into rows of an hour, a tenant, a stream and a
//! protocol, and writes each row whole, as the sum that it has by then: so a row that is written
//! twice, or again after an error, is right all the same. Every run writes rows of its own, which
//! are added up when they are read: so none reads, adds and writes, and nothing is counted twice
//! over a crash. What is lost by one is what came since the last flush.
//!
//! What quotas bound is added up beside that, by day and month (`totals`), and written with the
//! rows.
//!
//! Units: hours of UTC, by the clock of the shard when it made the batch.
//! Lives on: the control thread and a task of it; the store has a thread of its own.
//! Limits: `usage.rows_per_hour_max`; the streams that come later in an hour are counted together,
//! by tenant; `usage.retention_days`.

mod book;
mod collector;
mod hour;
mod ledger;
mod report;
mod resumption;
mod row;
mod totals;

pub use book::Book;
pub use collector::Collector;
pub use hour::{By, Hour};
pub use ledger::{LEDGER_HOURS_MAX, LEDGER_ROW_BYTES};
pub use report::{Filter, Line, Per, REPORT_BYTES, ReportError, Span};
pub use totals::{TOTAL_BYTES, Whose, totals_max};
