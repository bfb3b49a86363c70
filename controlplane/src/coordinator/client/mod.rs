//! Client: this node as a streaming server of another coordinator.
//!
//! ```text
//!            PUBLISH-ACCEPT              it begins                 it is over
//!   nothing ---------------> let in -----------------> on the air ----------> nothing
//!      ^                        |                        |     ^      PUBLISH-END
//!      |  it does not begin in  |          the link is   |     | PUBLISH-ACCEPT
//!      +--- GRANT_MAX, or is ---+          back: asked   v     | PUBLISH-DENY: asked again for
//!           refused: PUBLISH-END           again        asked -+ REJOIN_MAX, then it has to go
//! ```
//!
//! Each publisher is asked about, and his publication lasts as long as its stream, grace included:
//! whoever comes back with the same key meanwhile goes on with it, and nobody is asked. The
//! coordinator forgets its servers with their connections, so that what is on the air is asked
//! about again on a new one, and gets a new number there; it goes on here meanwhile.
//!
//! Nothing that the coordinator says touches what it was not asked about.
//!
//! Map: `base` is where it is, `terms` what holds while it is away, `publisher` who is asked about,
//! `publication` what it let in, `table` holds those, `answers` is what is said of who was asked
//! about, `rejoining` asks about them again, `holding` has who waits for room in the link,
//! `standing` tells how it is.
//!
//! In/Out: no clock and no IO; messages go into the link, what this node has to do comes out as
//! names of streams whose publishers have to go.
//! Limits: questions are as many as the gate has under way; of those that are asked again
//! [`REJOINING_MAX`]; publications are streams of this node, and the link takes the ends of all of
//! them at one moment: [`link_max`].

mod answers;
mod base;
mod holding;
mod publication;
mod publisher;
mod rejoining;
mod standing;
mod table;
mod terms;
#[cfg(test)]
mod tests;

pub use base::Base;
pub use holding::link_max;
pub use publisher::{Answer, Publisher};
pub use rejoining::REJOINING_MAX;
pub use standing::{LinkState, Requests, Standing};
pub use table::Client;
pub use terms::{NewWhileAway, RunningWhileAway, Terms};
