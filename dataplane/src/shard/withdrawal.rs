//! Withdrawals: what was allowed to a viewer of HLS who is kicked is not any more, on any shard.
//!
//! Who is kicked may have another address as well, or tokens to spare. So whoever views the same
//! stream and is new, or was remembered, is asked about: kicks are rare, and nobody else notices.

use super::message::Message;
use super::shard::Shard;
use crate::control::Protocol;
use crate::ids::{ShardId, StreamName};

/// What was allowed to viewers of HLS of a stream. Crosses by: mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawal {
    pub stream: StreamName,
}

impl Shard {
    /// What the viewer of HLS was allowed whose request the connection in `slot` carries.
    pub(super) fn viewer_of(&self, slot: u32) -> Option<Withdrawal> {
        let connection = self.connections.get(slot)?;
        let views = connection.session.protocol() == Protocol::Hls;
        let stream = self.stream_of(slot).filter(|_| views)?.clone();
        Some(Withdrawal { stream })
    }

    /// No shard lets viewers of a stream in again before it has asked.
    pub(super) fn withdraw_everywhere(&mut self, whose: Withdrawal) {
        self.withdraw(&whose);
        for shard in (0..self.shared.shards()).map(|shard| ShardId(shard as u16)) {
            if shard != self.id {
                self.post(shard, Message::Withdraw(Box::new(whose.clone())));
            }
        }
    }

    pub(super) fn withdraw(&mut self, Withdrawal { stream }: &Withdrawal) {
        self.verdicts.withdraw(|leave| leave.stream == *stream);
        // After this shard has forgotten by what it would give other tokens.
        self.shared.revoked.doubt_given(self.wall);
    }
}
