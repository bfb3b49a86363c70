//! Results: for people at the end of a run and while it lasts, for programs, and as a page.

mod document;
pub mod html;
mod live;
mod observation;
mod section;
mod text;
mod wall_time;

pub use document::{Report, SeriesPair, command};
pub use live::{Live, Manner, Moment, PLAIN_S};
pub use observation::{Observation, Seen};
pub use section::{Bounds, Observed, Section, ShardCost};
pub use text::{
    impaired, knee, measurement, observed, published, rounds, soak, table, three_numbers,
};
pub use wall_time::WallTime;
