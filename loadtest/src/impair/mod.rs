//! A bad network between two programs: a relay of datagrams or connections that loses, delays,
//! disorders, repeats, throttles, stalls and cuts.
//!
//! What becomes of a packet is decided without IO ([`Path`]): the decisions are a function of the
//! seed, the client, the direction and the number of the packet, and nothing else. Every client has
//! a path of its own, as behind a line of its own.
//!
//! Limits: [`CLIENTS_MAX`] clients, [`HELD_BYTES_MAX`] bytes of packets on their way.

mod chance;
mod impairment;
mod joint;
mod path;
mod relay;
mod schedule;
mod tcp;
mod totals;
mod udp;

pub use chance::Chance;
pub use impairment::{Impairment, Stall};
pub use path::{Fate, Flow, Path};
pub use relay::{CLIENTS_MAX, HELD_BYTES_MAX, ImpairPlan, Relay, Transport};
pub use totals::{DirectionTotals, ImpairSummary};
