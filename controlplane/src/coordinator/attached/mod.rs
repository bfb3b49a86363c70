//! Attached: streaming servers and encoders of other machines that have this node as their
//! coordinator.
//!
//! ```text
//!            PUBLISH-REQUEST, allowed           PUBLISH-END, server lost, over at this node
//!   nothing ------------------------> Live -----------------------------------+
//!                                      | task ended, none left, close, lease  v
//!                                      v                                    Ending --> forgotten
//!                                    Killed --PUBLISH-END, KILL_MAX----------^   STREAM-CLOSED,
//!                                                                  STOP_MAX, encoder lost: over
//! ```
//!
//! A publication has one encoder: of those attached that have room the one with the least load,
//! else the one of this node, which pulls what is published to a server of RTMP. When an encoder is
//! lost its publications go to another one, or to that of this node, under the same number.
//!
//! Nothing that a peer says touches what is not its own: a server ends publications that it began,
//! an encoder tells of tasks that it was given.
//!
//! Map: `peer` is who is attached, `publication` what is encoded elsewhere or published elsewhere,
//! `table` holds both, `servers` and `encoders` say what each of them may do, `home` is what
//! the encoder of this node pulls, `waiting` what encoders are told when they hear again, `report`
//! lists them.
//!
//! In/Out: no clock and no IO; messages go into the link of each peer, and what the application
//! and this node have to know comes out as [`News`].
//! Limits: [`Bounds`], [`REQUESTS_MAX`], [`PUBLICATIONS_MAX`], [`LINK_MAX`].

mod encoders;
mod home;
mod peer;
mod publication;
mod report;
mod servers;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

pub use home::Pulled;
pub use peer::{LINK_MAX, Link, PeerId};
pub use report::{ActiveReport, EncoderReport, PeerReport, Report, ServerReport};
pub use servers::{PUBLICATIONS_MAX, Question, REQUESTS_MAX};
pub use table::{Attached, Bounds, News};
