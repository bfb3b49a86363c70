//! What to do: the command line, and doing it.

mod command_line;
mod performance;
mod plan;
mod usage;

pub use command_line::parse;
pub use performance::{Outcome, perform};
pub use plan::{Action, Audience, CANONICAL_URL, Scenario};
pub use usage::USAGE;
