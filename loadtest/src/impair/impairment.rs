//! What is wrong with a direction.

use std::num::NonZero;

use super::chance::Chance;

/// Standing still again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// For how long nothing moves.
    pub stall_ns: u64,
    /// From the start of a stall to the start of the next; the first one comes after as long.
    pub every_ns: u64,
}

/// What is wrong with one direction of a path. The words are those of netem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impairment {
    /// How likely a packet is lost.
    pub loss: Chance,
    /// How many are lost one after another, on average; `None` if each is lost for itself.
    pub burst: Option<NonZero<u32>>,
    /// How likely it comes twice.
    pub duplicate: Chance,
    /// How likely it is not delayed, and so overtakes those before it.
    pub reorder: Chance,
    /// How long it is on its way.
    pub delay_ns: u64,
    /// How much longer or shorter than that, each time being as likely; at most the delay.
    pub jitter_ns: u64,
    /// Bits a second that pass.
    pub rate: Option<u64>,
    /// Bytes that may wait to pass; with connections, bytes that may be on their way.
    pub queue_bytes: u64,
    /// Standing still.
    pub stall: Option<Stall>,
}

impl Impairment {
    /// A queue as deep as those of home routers.
    pub const QUEUE_BYTES_DEFAULT: u64 = 256 << 10;

    /// Nothing is wrong.
    pub const NONE: Self = Self {
        loss: Chance::NEVER,
        burst: None,
        duplicate: Chance::NEVER,
        reorder: Chance::NEVER,
        delay_ns: 0,
        jitter_ns: 0,
        rate: None,
        queue_bytes: Self::QUEUE_BYTES_DEFAULT,
        stall: None,
    };
}
