//! Where a shard fetches a stream by itself, and what became of that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{SessionId, StreamName};
use crate::session::mpegts::TransportTerms;

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
    /// What is chosen of it.
    pub transport: TransportTerms,
}

/// What an input is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// It is listened for, and delivers nothing that is taken.
    Listening,
    /// It delivers its stream.
    Delivering,
    /// It is opened again after a pause.
    Pausing,
}

/// What an input counted since it was declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputCounts {
    /// Datagrams that were taken.
    pub datagrams: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Datagrams that were passed over: of another sender than the one that is heard, or none of a
    /// transport stream.
    pub foreign: u64,
    /// Packets of RTP that came too late, or a second time.
    pub late: u64,
    /// Packets of RTP that were missing when a later one came; those that are late count here, too.
    pub missing: u64,
    /// Datagrams that the kernel dropped because its buffer was full.
    pub overflowed: u64,
    /// Packets of the transport stream.
    pub packets: u64,
    /// Packets that are missing in the transport stream, as its counters say.
    pub packets_lost: u64,
}

impl InputCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    /// What was counted since it was `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            datagrams: each(self.datagrams, other.datagrams),
            bytes: each(self.bytes, other.bytes),
            foreign: each(self.foreign, other.foreign),
            late: each(self.late, other.late),
            missing: each(self.missing, other.missing),
            overflowed: each(self.overflowed, other.overflowed),
            packets: each(self.packets, other.packets),
            packets_lost: each(self.packets_lost, other.packets_lost),
        }
    }
}

/// One input at one moment.
#[derive(Clone, Debug)]
pub struct InputStatus {
    /// The stream.
    pub stream: StreamName,
    /// Which of its inputs.
    pub input: Arc<UdpInput>,
    /// What it is doing.
    pub state: InputState,
    /// What ended it, or kept it from being opened, last; nothing once it delivers again.
    pub error: Option<&'static str>,
    /// The session that listens.
    pub session: Option<SessionId>,
    /// Who is heard.
    pub sender: Option<SocketAddr>,
    /// What was counted.
    pub counts: InputCounts,
}
