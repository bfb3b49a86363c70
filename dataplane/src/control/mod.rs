//! What shards and the control plane tell each other: plain data over bounded mailboxes.

mod authorize;
mod command;
mod event;
mod protocol;
mod status;
mod turned;

pub use authorize::*;
pub use command::*;
pub use event::*;
pub use protocol::*;
pub use status::*;
pub use turned::*;
