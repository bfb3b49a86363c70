//! Environment: the variables that a streaming coordinator and its servers are configured with,
//! as settings of this node.
//!
//! The family's own names are kept, so that what was written for it configures this node
//! unchanged. A variable of theirs overrides the file and is overridden by `GRANDSTAND_*`. As
//! with them, `.env` in the working directory is read as well, below the real environment.
//!
//! Map: `table` lists every variable, `reading` turns their texts into values, `address` puts ports
//! and the address to bind to together, `dotenv` reads `.env`, `variables` does all that.

mod address;
mod dotenv;
mod reading;
mod table;
mod variables;

pub use dotenv::{DOTENV, Dotenv, dotenv};
#[cfg(test)]
pub(super) use table::SWITCHES;
pub(super) use variables::read;
pub use variables::{Outcome, Used};
