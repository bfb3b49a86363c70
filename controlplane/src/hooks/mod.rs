//! Hooks: events on their way to whoever asked for them, kept until they are there.
//!
//! ```text
//!   Bus --cursor--> Ledger --one commit for many--> Store (outbox)
//!                     |  after the commit
//!                     +--> Queue of each hook --> Carrier of each hook --> HTTP endpoint or file
//!                     <--- delivered, given up ---+
//! ```
//!
//! An event is in the store before it is tried and leaves it after it was taken, so that each is
//! delivered at least once, also over a crash; its id stays the same, so that a receiver knows one
//! that it has had. A batch that nobody answered is tried again as it was, under the same key.
//!
//! Events arrive in their order within a lane: what a stream and its publishers do, what
//! one player does, what is asked for one peer, what the node does. One that fails holds up the
//! later ones of its lane and hook, and nothing else.
//!
//! Lives on: the control thread; writing to files is left to the runtime's blocking threads.
//! Limits: [`HOOKS_MAX`] hooks; each has a queue bounded in number and bytes, whose oldest events
//! become dead letters beyond that, of the class that has the most; all together have
//! `events.hooks_bytes_max`, beyond which the hook that holds the most gives up its oldest;
//! [`DEAD_LETTERS_MAX`] dead letters a hook, whose oldest go.

mod admission;
mod allotment;
mod attempt;
mod batch;
mod beat;
mod carrier;
mod counting;
mod fate;
mod file;
mod hook;
mod keeper;
mod lane;
mod ledger;
mod letter;
mod loading;
mod order;
mod parcel;
mod queue;
mod room;
mod spec;

#[cfg(test)]
mod tests;

pub use admission::{Admitted, NoRoom};
pub(crate) use allotment::{QUEUES_BYTES_MAX, REQUESTS_SHARE};
pub use attempt::Delivery;
pub(crate) use file::WRITERS_MAX;
pub(crate) use keeper::KEEPER_BYTES;
pub use ledger::{DeadLetter, HookState, Hooks, HooksError};
pub use letter::DEAD_LETTERS_MAX;
pub use order::{Made, Moved};
pub use spec::{Fsync, HOOKS_MAX, HookKind, HookSecret, HookSpec, Origin, StreamChoice};
