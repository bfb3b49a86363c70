//! Wire: how a coordinator, its streaming servers and its encoders speak on a control WebSocket.
//!
//! ```text
//!   GET /ws/control/{rtmp,wss,hls}          x-control-auth-token: JWT of the role
//!   server  -> PUBLISH-REQUEST, PUBLISH-END                  x-external-ip, x-custom-port,
//!   server <-  PUBLISH-ACCEPT, PUBLISH-DENY, STREAM-KILL     x-ssl-use: of servers alone
//!   encoder -> REGISTER, STREAM-AVAILABLE, STREAM-CLOSED
//!   encoder <- ENCODE-START, ENCODE-STOP
//!   both    -- HEARTBEAT, ERROR
//! ```
//!
//! Map: `frame` is the text of one message, `message` what it means, `role` who speaks, `pass` how
//! he proves it, `whereabouts` where he is found, `heartbeat` how each side knows that the other
//! one is there. Nothing here knows which side it is on.
//!
//! In/Out: no clock and no IO. Limits: those of `frame`.

mod frame;
mod heartbeat;
mod message;
mod pass;
mod role;
mod whereabouts;

pub use frame::{FRAME_BYTES_MAX, Flaw, Frame, PARAMS_MAX, VALUE_BYTES_MAX, WORD_BYTES_MAX};
pub use heartbeat::{HEARTBEAT_EVERY, SILENCE_MAX};
pub use message::{Message, Output, OutputKind, Source, Task};
pub use pass::{PASS, Pass};
pub use role::Role;
pub use whereabouts::Whereabouts;
