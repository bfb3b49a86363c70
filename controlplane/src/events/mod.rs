//! Events: what happens on this node, told to whoever listens.
//!
//! ```text
//!   Exchange, Gate, Registry, API --publish--> Bus (ring) <--cursor-- clients of /api/v1/events
//!                                                         <--cursor-- hooks
//! ```
//!
//! The bus is a bounded ring of rendered events, and a listener is a cursor in it: nobody who
//! listens slowly costs memory or holds anybody up; it is told how many events it missed. Hooks,
//! which keep what they read, are given more room and time, because a crowd is faster than a disk.
//!
//! Lives on: the control thread; shards never see it.

mod backlog;
mod bus;
mod event;
mod id;
mod kind;
mod pattern;
mod ring;
mod schema;
mod sessions;
mod shards;

pub use backlog::Backlog;
pub use bus::{Bus, Cursor, Told, Wants};
pub use event::Event;
pub use id::EventId;
pub use kind::{Asked, Kind, Party};
pub use pattern::{StreamPattern, TypePattern};
pub use ring::{RingLimits, UNKEPT_FACTOR};
pub use sessions::told_of;
pub use shards::publish;
