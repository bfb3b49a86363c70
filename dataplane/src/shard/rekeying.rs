//! Rekeying: a stream has a publisher with another key, and whoever was let in by the key of the
//! one before is let in by it no longer.
//!
//! Thousands may be: they are looked at one after the other, for a share of each turn, and those
//! after them, who play something else, are sent their frames meanwhile.
//!
//! Limits: one list of players for each reader; a later key of its stream takes the place of the
//! one before.

use std::collections::VecDeque;

use super::shard::Shard;
use super::turn::Round;
use crate::control::CloseReason;
use crate::ids::SecretDigest;
use crate::session::Command;

/// The players to be looked at. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Rekeyings(VecDeque<Rekeying>);

/// Those of one reader.
#[derive(Debug)]
struct Rekeying {
    reader: u32,
    /// Connections that played when the key came; the next one is the last.
    players: Vec<u32>,
}

impl Rekeyings {
    /// The stream of this reader has another key.
    fn put(&mut self, reader: u32, players: Vec<u32>) {
        self.0.retain(|rekeying| rekeying.reader != reader);
        if !players.is_empty() {
            self.0.push_back(Rekeying { reader, players });
        }
    }

    /// The next player, and the reader whose player it was.
    fn next(&mut self) -> Option<(u32, u32)> {
        let rekeying = self.0.front_mut()?;
        let (reader, player) = (rekeying.reader, rekeying.players.pop()?);
        if rekeying.players.is_empty() {
            self.0.pop_front();
        }
        Some((reader, player))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Shard {
    /// The stream of a reader, told by slot and number, has a publisher with another key.
    pub(super) fn rekeyed(&mut self, reader: (u32, u64), key: Option<SecretDigest>) {
        if let Some(players) = self.readers.rekey(reader, key) {
            self.rekeyings.put(reader.0, players);
        }
    }

    /// Looks at players of streams with another key, for a share of a turn; true if some are left.
    pub(super) fn rekey_some(&mut self) -> bool {
        let mut round = Round::default();
        while let Some((reader, slot)) = self.rekeyings.next() {
            if self.plays_by_another_key(slot, reader) {
                let reason = CloseReason::Expired.name();
                self.tell(slot, Command::Shutdown { reason });
            }
            if round.is_over() {
                break;
            }
        }
        !self.rekeyings.is_empty()
    }

    /// True if whoever has this connection now plays from `reader` by a key that its stream is not
    /// published with. Others may have come since, who were let in by the one in force.
    fn plays_by_another_key(&self, slot: u32, reader: u32) -> bool {
        let playing = self.connections.get(slot).and_then(|c| c.playing());
        let Some(playing) = playing.filter(|playing| playing.reader == reader) else {
            return false;
        };
        let published = self.readers.get(reader).and_then(|reader| reader.key_published);
        let asked = playing.again.as_ref();
        asked.is_some_and(|asked| asked.same_key && Some(asked.key) != published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_player_has_its_turn_and_a_later_key_begins_anew() {
        let mut rekeyings = Rekeyings::default();
        assert!(rekeyings.is_empty() && rekeyings.next().is_none());
        rekeyings.put(1, vec![10, 11, 12]);
        rekeyings.put(2, vec![20]);
        rekeyings.put(3, Vec::new());
        assert_eq!(rekeyings.next(), Some((1, 12)));
        // Some of the first reader have not been looked at when the next key comes.
        rekeyings.put(1, vec![10, 11, 12, 13]);
        let mut seen: Vec<_> = std::iter::from_fn(|| rekeyings.next()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(1, 10), (1, 11), (1, 12), (1, 13), (2, 20)]);
        assert!(rekeyings.is_empty());
    }
}
