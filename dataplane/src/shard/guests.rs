//! Guests: viewers of HLS who show no token and are known by address, agent and stream.
//!
//! Two of the same address and agent are one guest. Each of its requests is asked about, so it
//! needs no word of its own to be refused, except when it is kicked: then its number is revoked for
//! a while. It cannot be for ever, because the next one behind the address may be somebody else.
//!
//! Limits: [`GUESTS_MAX`] guests of a shard who were kicked are remembered for [`GUESTS_FOR`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::shard::Shard;
use crate::ids::{SessionId, ShardId, StreamName};
use crate::session::view_token::id_by_address;

/// Guests of one shard who are remembered as kicked at most.
const GUESTS_MAX: usize = 4_096;
/// How long they are.
const GUESTS_FOR: Duration = Duration::from_secs(600);

/// Guests who were kicked. Lives on: the shard of their view. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Guests(VecDeque<(Instant, SessionId)>);

impl Shard {
    /// The guest whose request the connection in `slot` carries.
    pub(super) fn guest(&self, slot: u32, stream: &StreamName) -> Option<SessionId> {
        let connection = self.connections.get(slot)?;
        let peer = connection.peer.ip.to_canonical();
        let named = (stream.as_str(), peer, &**connection.session.agent());
        let hash = self.shared.views.hash_of(named);
        let shard = ShardId((hash >> 48) as u16 % self.shared.shards() as u16);
        Some(id_by_address(shard, hash))
    }

    /// A guest was kicked.
    pub(super) fn turn_guest_away(&mut self, id: SessionId) {
        let revoked = &self.shared.revoked;
        if revoked.has(id) {
            return;
        }
        revoked.revoke(id);
        let Guests(guests) = &mut self.views.guests;
        if guests.len() >= GUESTS_MAX
            && let Some((_, oldest)) = guests.pop_front()
        {
            revoked.forget(oldest);
        }
        guests.push_back((self.now + GUESTS_FOR, id));
    }

    /// Guests who were kicked long ago may come again.
    pub(super) fn let_guests_return(&mut self) {
        let Guests(guests) = &mut self.views.guests;
        while let Some(&(until, id)) = guests.front()
            && until <= self.now
        {
            guests.pop_front();
            self.shared.revoked.forget(id);
        }
    }
}
