//! Metrics: everything that shards and the control plane count, in the text format of Prometheus.
//!
//! Map: `page` puts the families together, `text` writes them; each other file is a group of
//! families. Units are seconds and bytes; labels come from closed sets or from the configuration,
//! never from a peer.

mod control;
mod counts;
mod histogram;
mod load;
mod page;
mod pools;
mod process;
mod reactor;
mod refusals;
mod text;

pub use page::render;
