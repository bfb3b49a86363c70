//! What to do: the command line, and doing it.

mod amount;
mod casting;
mod command;
mod command_line;
mod impair_line;
mod knee;
mod option;
mod performance;
mod plan;
mod settings;
mod soak;
mod unreachable;
mod verdict;

pub use command_line::parse;
pub use knee::{Knee, KneeStep, StepVerdict};
pub use performance::{Outcome, perform};
pub use plan::{
    Action, Audience, CANONICAL_URL, KneePlan, Load, Plot, Scenario, SoakPlan, StormPlan,
};
pub use soak::Soak;
