//! The control listener: health, metrics and the API over HTTP.
//!
//! Map: `listener` accepts and bounds connections, `router` says which path is answered by what,
//! `listing` bounds the long answers, `moving` moves streams, `guard` checks Host and token,
//! `token` keeps the secret, `view` is the JSON, `room` who else would fit, `metrics` the text for
//! Prometheus, `process` what the kernel counts of us.

mod guard;
mod listener;
mod listing;
mod metrics;
mod moving;
mod process;
mod reply;
pub(crate) mod room;
mod router;
mod token;
mod view;

pub use listener::serve;
pub use metrics::render;
pub use process::Process;
pub use router::{ApiState, router};
pub use token::Token;
pub(crate) use token::word_in;
