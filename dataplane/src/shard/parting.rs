//! Parting: players and viewers of segments read one log of packets, until those of the publisher's
//! own follow for players.
//!
//! Players stay in the log. The segments are in another one, which holds those that were there as
//! far as their units are kept; whoever waits for a playlist, or wants the next, asks for it anew.

use super::message::Message;
use super::shard::Shard;
use crate::hub::Subscriber;

impl Shard {
    /// The segments that these read are in another log from now on.
    pub(super) fn part(&mut self, viewers: Vec<Subscriber>) {
        for Subscriber { shard, slot, number } in viewers {
            if shard == self.id {
                self.parted((slot, number));
            } else {
                self.post(shard, Message::Parted { reader: (slot, number) });
            }
        }
    }

    /// The segments of a reader, told by slot and number, are in another log from now on.
    pub(super) fn parted(&mut self, (slot, number): (u32, u64)) {
        let reader = self.readers.get_mut(slot).filter(|reader| reader.number == number);
        let Some(reader) = reader else { return };
        let waiting = std::mem::take(&mut reader.waiting);
        self.readers.retire(slot);
        self.answer_viewers(waiting, slot, true);
    }
}
