//! Withdrawals: what was allowed to a viewer of HLS who is kicked is not any more, on any shard.

use std::net::IpAddr;

use super::message::Message;
use super::shard::Shard;
use crate::control::Protocol;
use crate::ids::{ShardId, StreamName};

/// The viewers of HLS of a stream at an address. Crosses by: mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawal {
    pub stream: StreamName,
    pub peer: IpAddr,
}

impl Shard {
    /// The viewer of HLS whose request the connection in `slot` carries.
    pub(super) fn viewer_of(&self, slot: u32) -> Option<Withdrawal> {
        let connection = self.connections.get(slot)?;
        let views = connection.session.protocol() == Protocol::Hls;
        let stream = self.stream_of(slot).filter(|_| views)?.clone();
        Some(Withdrawal { stream, peer: connection.peer.ip })
    }

    /// No shard lets viewers of a stream at an address in again before it has asked.
    pub(super) fn withdraw_everywhere(&mut self, whose: Withdrawal) {
        self.withdraw(&whose);
        for shard in (0..self.shared.shards()).map(|shard| ShardId(shard as u16)) {
            if shard != self.id {
                self.post(shard, Message::Withdraw(Box::new(whose.clone())));
            }
        }
    }

    pub(super) fn withdraw(&mut self, Withdrawal { stream, peer }: &Withdrawal) {
        let peer = peer.to_canonical();
        self.verdicts
            .withdraw(|leave| leave.stream == *stream && leave.peer.to_canonical() == peer);
    }
}
