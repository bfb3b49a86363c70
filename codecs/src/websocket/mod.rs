//! WebSocket: the opening handshake, frames, close codes.
//!
//! Spec: RFC 6455; base64 by RFC 4648 4.
//!
//! Not here: extensions, none of which is agreed to, and bodies of messages, which the caller has.

mod close;
mod frame;
mod handshake;
mod reader;

pub use close::{CLOSE_REASON_BYTES_MAX, CloseCode, encode_close};
pub use frame::{
    CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, SERVER_HEADER_BYTES_MAX, unmask,
};
pub use handshake::{ACCEPT_LEN, AcceptKey, Opening, VERSION, opening};
pub use reader::{Data, Event, FrameReader};
