//! Publishing: any number of synthetic streams, paced by the threads of a crew.

mod bank;
mod datagram_publication;
mod feed;
mod multiplex;
mod outlet;
mod publication;
mod publishing;
mod totals;

pub use bank::BACKLOG_BYTES_MAX;
pub use feed::Recording;
pub use publishing::{OnAir, PublishPlan, Publishing};
pub use totals::{PublishSummary, PublishTotals};
