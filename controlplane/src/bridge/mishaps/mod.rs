//! Mishaps: what shards tell comes late, across each other, or never; the tables hold all the same.
//!
//! A model of shards with small mailboxes stands in for the real ones. Sessions and streams begin,
//! end and move in any order; mailboxes overflow and are read in any order; lists are gathered in
//! slices between all of it. At every step nobody who is there may be told to have gone, and nobody
//! may be told twice; when all is read, what the control thread knows is what there is.

mod shard;
mod world;
