//! Sockets: `/ws/control/`, where streaming servers and encoders attach to this node as to their
//! coordinator.
//!
//! Map: `entrance` lets in who shows a pass; `crate::link` carries messages then.
//!
//! Limits: `coordinator.servers_max` and `coordinator.encoders_max` peers; those of the listener
//! for the head of a request; [`FRAME_BYTES_MAX`](crate::coordinator::wire::FRAME_BYTES_MAX) for a
//! message, `coordinator.messages_per_s_max` of them in a second, and of what waits for a peer
//! [`LINK_MAX`](crate::coordinator::attached::LINK_MAX).

mod entrance;

pub(super) use entrance::ForgedPass;
pub use entrance::Sockets;
