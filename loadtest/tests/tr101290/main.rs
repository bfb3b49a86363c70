//! The checker of transport streams: each fault is told by its indicator and by no other.
#![allow(clippy::unwrap_used, reason = "streams are made by the test")]

mod faults;
mod hostile;
mod judged;
mod multiplex;
