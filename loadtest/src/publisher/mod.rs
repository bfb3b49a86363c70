//! Publishing: any number of synthetic streams, paced by one thread.

mod bank;
mod totals;

pub use bank::{BACKLOG_BYTES_MAX, PublishPlan, publish};
pub use totals::{PublishSummary, PublishTotals};
