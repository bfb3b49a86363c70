//! The budget: bytes that the connections of a shard hold in buffers, all together.
//!
//! Heads and messages in hand, bytes that wait for a verdict, replies and ciphertext that wait for
//! the socket, and the tables of a publisher's stream beyond the usual: a connection has a bound of
//! its own for each, but all of them at their bounds would be gigabytes, which no memory ceiling
//! can promise. So they share one budget. An eighth of what is left is the most that one connection
//! may hold (the dynamic threshold of shared-memory switches): hogs, however many, leave room for
//! smaller needs, and the one that asks for more is closed by `buffer_bytes_max`. The last quarter
//! is for those that publish, play or view: strangers cannot take it from them.
//!
//! Lives on: its shard. Crosses by: never; a publisher that goes home is counted there.
//! Limits: `buffer_bytes_max`, in equal parts for each shard. What is counted was taken already, so
//! the peak may pass the limit by what one connection takes in one call; who is closed for it holds
//! nothing but its last words from then on.

use super::connection::Connection;
use super::shard::Shard;
use crate::config::{Config, LimitId};
use crate::error::Error;
use crate::hub::{Hub, Publisher};

/// Bytes of a connection that count as a part of its record: what an acknowledgement, a ping and
/// the table of a player's chunk streams need.
pub(super) const UNCOUNTED_BYTES: usize = 512;
/// Bytes of a stream's tables that count as a part of the stream.
const UNCOUNTED_STREAM_BYTES: usize = 48 << 10;
/// One byte of this many is kept from strangers.
const RESERVE_SHARE: u64 = 4;
/// One connection may hold one byte of so many that are left.
const LEFT_SHARE: u64 = 8;

/// What is held of one shard's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    max: u64,
    held: u64,
    peak: u64,
}

impl Budget {
    /// An equal part of what the process may hold.
    pub(super) fn new(config: &Config) -> Self {
        Self { max: part_of(config), held: 0, peak: 0 }
    }

    /// Takes another limit; who holds more than it allows keeps what it has until it asks for more.
    pub(super) fn reload(&mut self, config: &Config) {
        self.max = part_of(config);
    }

    /// Bytes that are held.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// Most bytes that were held at one time.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }

    /// True if less than half is left: nobody takes more ahead than it must.
    pub(super) const fn is_tight(&self) -> bool {
        self.held > self.max / 2
    }

    /// Counts that a connection, which held `before`, now holds `after`.
    fn replace(&mut self, before: u32, after: u32) {
        self.held = self.held + u64::from(after) - u64::from(before);
        self.peak = self.peak.max(self.held);
    }

    /// True if a connection may go on that holds so much, as it is counted already.
    fn allows(&self, holds: u32, stranger: bool) -> bool {
        let kept = if stranger { self.max / RESERVE_SHARE } else { 0 };
        let left = (self.max - kept).saturating_sub(self.held);
        u64::from(holds) <= left / LEFT_SHARE
    }
}

fn part_of(config: &Config) -> u64 {
    config.limits.get(LimitId::BufferBytesMax) / config.shards.len() as u64
}

impl Connection {
    /// Bytes of its buffers that count.
    fn buffer_bytes(&self) -> u32 {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.link.buffer_bytes());
        let own = self.out.bytes.capacity() + self.parked.capacity();
        // What was asked of the control plane is held by it until it answers.
        let question = self.asked.as_ref().map_or(0, |asked| asked.question_bytes());
        let all = own + tls + question + self.session.buffer_bytes();
        u32::try_from(all.saturating_sub(UNCOUNTED_BYTES)).unwrap_or(u32::MAX)
    }
}

impl Shard {
    /// Counts what a connection holds, after anything that may have changed it; one that asked for
    /// more than is left is closed.
    pub(super) fn account(&mut self, slot: u32) {
        let Self { connections, budget, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let after = connection.buffer_bytes();
        let before = std::mem::replace(&mut connection.buffered, after);
        if after == before {
            return;
        }
        budget.replace(before, after);
        let asks = after > before && connection.closing.is_none();
        if asks && !budget.allows(after, connection.role.is_none()) {
            self.fail(slot, &Error::Limit(LimitId::BufferBytesMax));
        }
    }

    /// Counts the tables of a stream: many small units, or long words about it, cost more than the
    /// stream's own room. The publisher that asks for more than is left is closed.
    pub(super) fn account_stream(&mut self, slot: u32) {
        let Some((before, after)) = self.count_stream(slot) else { return };
        if after <= before || self.budget.allows(after, false) {
            return;
        }
        let publisher = self.streams.get(slot).map(Hub::publisher);
        if let Some(Publisher::Session { slot: publisher, .. }) = publisher {
            self.fail(publisher, &Error::Limit(LimitId::BufferBytesMax));
            // The stream stays for the grace time, without what it had too much of.
            self.with_stream(slot, |hub, sink| hub.forget(sink));
            self.count_stream(slot);
        }
    }

    /// Brings the budget up to what the tables of a stream take: before and now.
    fn count_stream(&mut self, slot: u32) -> Option<(u32, u32)> {
        let Self { streams, budget, .. } = self;
        let bytes = streams.get(slot)?.table_bytes().saturating_sub(UNCOUNTED_STREAM_BYTES);
        let after = u32::try_from(bytes).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut streams.counted[slot as usize], after);
        budget.replace(before, after);
        Some((before, after))
    }

    /// A stream is over, with all its tables.
    pub(super) fn forget_stream(&mut self, slot: u32) {
        self.budget.replace(std::mem::take(&mut self.streams.counted[slot as usize]), 0);
    }

    /// A connection leaves this shard, with all that it holds.
    pub(super) fn forget_buffers(&mut self, connection: &mut Connection) {
        self.budget.replace(std::mem::take(&mut connection.buffered), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as is allowed, by steps of a kilobyte.
    fn hog(budget: &mut Budget, stranger: bool) -> u32 {
        let mut holds = 0;
        while budget.allows(holds + 1024, stranger) {
            budget.replace(holds, holds + 1024);
            if !budget.allows(holds + 1024, stranger) {
                budget.replace(holds + 1024, holds);
                break;
            }
            holds += 1024;
        }
        holds
    }

    #[test]
    fn hogs_leave_room_for_small_needs_and_strangers_for_those_who_play() {
        let max = 8 << 20;
        let mut budget = Budget { max, held: 0, peak: 0 };
        let held: Vec<_> = (0..200).map(|_| hog(&mut budget, true)).collect();
        assert!(held[0] > 600 << 10 && held.is_sorted_by(|a, b| a >= b), "{held:?}");
        assert!(budget.held() <= max / 4 * 3, "strangers have three quarters");
        budget.replace(0, 4_096);
        assert!(budget.allows(4_096, false), "who plays finds room");
        assert!(budget.allows(200 << 10, false), "and much of it");
        budget.replace(4_096, 0);
        for holds in held {
            budget.replace(holds, 0);
        }
        assert_eq!((budget.held(), budget.peak() > max / 2), (0, true));
    }

    #[test]
    fn a_lower_limit_takes_nothing_away() {
        let mut budget = Budget { max: 4_000, held: 0, peak: 0 };
        budget.replace(0, 400);
        assert!(budget.allows(400, false) && !budget.is_tight());
        budget.max = 500;
        assert!(budget.is_tight() && !budget.allows(400, false));
        budget.replace(400, 0);
        assert!(budget.allows(0, true));
    }
}
