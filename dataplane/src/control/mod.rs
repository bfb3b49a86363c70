//! What shards and the control plane tell each other: plain data over bounded mailboxes.

mod authorize;
mod command;
mod dial;
mod event;
mod input;
mod protocol;
mod quota;
mod status;
mod turned;
mod usage;

pub use authorize::*;
pub use command::*;
pub use dial::*;
pub use event::*;
pub use input::*;
pub use protocol::*;
pub use quota::*;
pub use status::*;
pub use turned::*;
pub use usage::*;
