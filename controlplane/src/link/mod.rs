//! Link: the control WebSockets, on which a coordinator, its streaming servers and its encoders
//! speak.
//!
//! Map: `speech` carries messages both ways, `pace` is how fast the other side may talk, `calling`
//! keeps the connection of this node to a coordinator of its own. Peers of this node come in by
//! `api/sockets`; what messages mean is the affair of `coordinator`.

mod calling;
mod pace;
mod speech;

pub(crate) use calling::{Call, Calling};
pub(crate) use speech::{Line, socket, speak};
