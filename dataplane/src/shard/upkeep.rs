//! Upkeep of memory: pages that nobody needs go back to the machine, and the kernel is asked what
//! sockets hold.
//!
//! Both go on a little at a time with the shard's housekeeping, so that no turn is long. Heaps are
//! the control plane's to look after.

use super::shard::Shard;

/// Housekeepings in which a page must not have been needed, before it goes back.
const IDLE_LOOKS: u32 = 20;
/// Bytes of pages that go back at one time: a few hundred microseconds of the kernel's work.
const GIVEN_BACK_MAX: u64 = 4 << 20;
/// Sockets that are asked at one time.
const WEIGHED_MAX: usize = 512;

/// How far the round over all connections is. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    looks: u32,
    /// The slot that is asked next.
    next: usize,
    /// What the sockets before it hold.
    sum: u64,
    /// What all sockets held in the last round.
    pub socket_bytes: u64,
    /// The most of a round.
    pub socket_bytes_peak: u64,
}

impl Shard {
    /// Gives pages back that were free for a while.
    pub(super) fn give_back_pages(&mut self) {
        self.upkeep.looks += 1;
        if self.upkeep.looks == IDLE_LOOKS {
            self.upkeep.looks = 0;
            self.pool.look();
        }
        self.counters.page_bytes_given_back += self.pool.give_back(GIVEN_BACK_MAX);
    }

    /// Asks the kernel about some sockets; after the last one, the round is over.
    pub(super) fn weigh_sockets(&mut self) {
        let Self { connections, upkeep, .. } = self;
        let end = connections.capacity();
        let mut weighed = 0;
        while upkeep.next < end && weighed < WEIGHED_MAX {
            let slot = u32::try_from(upkeep.next).expect("slots are counted in 32 bits");
            if let Some(connection) = connections.get(slot) {
                let bytes = connection.fd().and_then(|fd| crate::reactor::memory_bytes(fd).ok());
                upkeep.sum += bytes.unwrap_or(0);
                weighed += 1;
            }
            upkeep.next += 1;
        }
        if upkeep.next >= end {
            upkeep.socket_bytes = std::mem::take(&mut upkeep.sum);
            upkeep.socket_bytes_peak = upkeep.socket_bytes_peak.max(upkeep.socket_bytes);
            upkeep.next = 0;
        }
    }
}
