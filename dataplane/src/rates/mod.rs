//! Rates: how often whoever has an address may come, and who may not come for a while.
//!
//! Both are judged for two ranges of each address: what one customer has, and what is around it
//! (`block.rs`). Buckets (`bucket.rs`) count every attempt without remembering anybody; penalties
//! (`penalties.rs`) are few, and are remembered one by one by the control plane, which tells this
//! table of them. Every shard looks at both before a connection costs anything.
//!
//! Lives on: every shard, and the control thread. Crosses by: atomics, one look for each arrival.

mod block;
mod bucket;
mod origin;
mod penalties;

pub use block::{address_of, prefix_of};
pub use bucket::{Buckets, Rate};
pub use penalties::{PENALTIES_MAX, Penalties};
