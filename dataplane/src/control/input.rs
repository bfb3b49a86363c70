//! Where a shard fetches a stream by itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A transport stream that is sent to us in datagrams, bare or in RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpInput {
    /// Where datagrams come to: a group of multicast, or an address of this host.
    pub addr: SocketAddr,
    /// The one sender whose datagrams are wanted; anybody's without.
    pub source: Option<IpAddr>,
    /// The network interface on which the group is joined; the routes say without.
    pub interface: Option<Arc<str>>,
    /// A stream without a datagram for so long is lost; as publishers' without.
    pub timeout: Option<Duration>,
    /// Bytes of datagrams that wait in the kernel at most.
    pub receive_buffer_bytes: u32,
    /// The number of the program that is read; the first one without.
    pub program: Option<u16>,
    /// The packet ids of it that are read; all of them if empty.
    pub pids: Vec<u16>,
}
