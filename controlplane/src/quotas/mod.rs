//! Quotas: how much of a stream may be used, and what is done when it is.
//!
//! ```text
//!   verdicts --stream with quotas--> Meters --shared counts of players--> shards, who refuse
//!   batches of usage --> Meter of the stream, Meter of its tenant: bits of the last seconds
//!   totals of usage  ------+                                       bytes of the period
//!                          +--every second--> how many more may play, who is told and closed
//! ```
//!
//! Players are counted to the player, by the shards; what is measured is looked at every second.
//! Nobody who plays is slowed. What a publisher sends is measured apart from what its players ask
//! for; one that sends too much is closed, and nobody may publish its stream for a while (`Bar`).
//!
//! Lives on: the control thread. With it stopped players are still counted and refused; what is
//! measured is looked at when it runs again.
//! Limits: [`meters_max`] streams with quotas, and as many tenants; those that nobody uses go for
//! others.

mod bar;
mod load;
mod meter;
mod meters;
mod window;

#[cfg(test)]
mod tests;

pub use meter::Over;
pub use meters::{Bounds, Exceeded, METER_BYTES, Meters, Used, meters_max};
