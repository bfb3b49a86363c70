//! The server: start-up in order, then one loop until a signal.
//!
//! Map: `start` opens everything, the API's listeners by `entrance`, `run` is the loop over events,
//! questions, signals and time, `certificates` looks for renewed ones, `counting` gathers what
//! rooms count, `reloads` have a file read again, `declarations` looks for room for what it
//! declares and `reload` takes what changed, `ending` times the way down and `farewell` goes it,
//! `manager` tells the service manager how it goes, `watchdog` vouches for what turns,
//! `notify_socket` is the way to it, `pace` tells how well the loop keeps up, `cores` what the CPUs
//! of shards do beside them, `heap` gives memory back after a crowd, `upstream` has the coordinator
//! of this node called.

mod certificates;
mod control;
mod cores;
mod counting;
mod declarations;
mod ending;
mod entrance;
mod farewell;
mod heap;
mod manager;
mod notify_socket;
mod pace;
mod reload;
mod reloads;
mod renewal;
mod run;
mod start;
mod upstream;
mod watchdog;

pub use reload::{ConfigAsk, InForce, Reloaded};
pub use start::{configure, serve};
