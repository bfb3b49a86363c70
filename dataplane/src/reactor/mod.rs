//! The completion loop of a shard: sockets, receive buffers, wake-ups; two backends, one interface.
//!
//! A [`Reactor`] is created on its shard's own thread and never leaves it. The shard starts
//! operations, calls [`Reactor::submit`] or [`Reactor::submit_and_wait`] once per turn, and drains
//! [`Reactor::next_completion`]. A completion carries the [`Token`] that its operation was started
//! with; the reactor keeps no other reference to the shard.
//!
//! Shape: `backend` dispatches to `uring` (default) or `epoll` (where the kernel or a container
//! forbids io_uring), both over the same receive buffers, counters, wakers and sockets.
//!
//! In/Out: a receive operation owns no buffer while it waits; a completed one lends a [`RecvBuf`]
//! that the shard gives back with [`Reactor::release`]. Bytes to send are borrowed until the next
//! submit returns, never longer: sends do not wait, a blocked one is a [`Completion::SendBlocked`].
//!
//! Limits: receive buffers are a fixed group; with all of them lent, receives pause and go on by
//! themselves after the next release. No queue here grows beyond the operations that the shard
//! started.
//!
//! UDP sockets are shared by many peers: `datagrams` are the runs that one receive gives, `train`s
//! the runs that one send takes, `steering` leads a peer's datagrams to its shard.
//!
//! Not here: protocols (`session`), who may sleep (`shard/wake.rs`), timers (`shard/timer.rs`).

mod address;
mod backend;
mod buffers;
mod completion;
mod config;
mod core;
mod counters;
mod datagrams;
mod epoll;
mod host;
mod listener;
mod multicast;
mod socket;
mod steering;
mod token;
mod train;
mod udp;
mod uring;
mod waker;

pub use backend::Reactor;
pub use buffers::RecvBuf;
pub use completion::{Completion, RecvMode, SEND_PARTS_MAX, SendPart};
pub use config::{
    BackendChoice, BackendKind, DATAGRAM_BUFFERS_MAX, RECV_BUFFER_BYTES_MAX, RECV_BUFFERS_MAX,
    ReactorConfig, SQ_ENTRIES_MAX,
};
pub use counters::{OpCount, OpCounters, OpKind};
pub use datagrams::{DATAGRAM_BUFFER_BYTES, DatagramBuf};
pub use host::{affinity_cpus, pin_to_cpu, raise_nofile, thread_cpu_time};
pub use listener::{ListenOptions, Listener};
pub use multicast::{Membership, bind_to_interface, interface_index, join, send_to_groups};
pub use socket::{
    SocketOptions, acknowledge_at_once, apply, datagrams_dropped, local_addr, memory_bytes,
    outgoing_queue_bytes, peer_addr, tcp_socket, widen_receive,
};
pub use steering::{steer, steer_group, steered_id};
pub use token::Token;
pub use train::{TRAIN_BYTES_MAX, TRAIN_DATAGRAMS_MAX, TRAIN_PARTS_MAX};
pub use udp::{UdpBuffers, UdpOptions, find_route, send_datagram, udp_buffers, udp_socket};
pub use waker::Waker;
