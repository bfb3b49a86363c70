//! What to do: the command line, and doing it.

mod command_line;
mod performance;
mod plan;

pub use command_line::{USAGE, parse};
pub use performance::{Outcome, perform};
pub use plan::{Action, Audience, CANONICAL_URL, Scenario};
