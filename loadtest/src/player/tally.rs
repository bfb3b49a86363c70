//! What a crowd counts.

use std::collections::BTreeMap;

use crate::srt::Arrivals;
use crate::stats::Histogram;
use crate::verify::Findings;

/// Counts over all players.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Bytes received.
    pub received: u64,
    /// Players whom the server refused, or whose stream it ended in words.
    pub refused: u64,
    /// Players whose connection failed or broke the protocol.
    pub failed: u64,
    /// Players whose connection the server closed.
    pub closed: u64,
    /// Connections that players opened after their first one: the server had ended the one before
    /// between two answers, or led elsewhere.
    pub reconnects: u64,
    /// Times that a playing player got nothing for two seconds, or ran out of segments.
    pub stalls: u64,
    /// From connecting to the first whole video frame.
    pub join: Histogram,
    /// From connecting to the start of the first picture.
    pub first_video: Histogram,
    /// From asking for a playlist to its last byte.
    pub playlist: Histogram,
    /// From asking for a segment to its last byte.
    pub segment: Histogram,
    /// Segments that were gone before they could be asked for or sent.
    pub missed_segments: u64,
    /// Packets of players of SRT.
    pub packets: Arrivals,
    /// Faults of the transport streams of sampled players.
    pub transport_faults: u64,
    /// The first of them.
    pub first_transport_fault: Option<String>,
    /// What all players found of their first frame.
    pub starts: Findings,
    /// What sampled players found of everything.
    pub sampled: Findings,
    /// Why the first player was lost.
    pub first_loss: Option<String>,
    /// Players lost, by reason; reasons beyond [`REASONS_MAX`] are `other`.
    pub losses: BTreeMap<String, u64>,
}

/// Reasons that are told apart.
pub const REASONS_MAX: usize = 32;

impl Tally {
    /// Players that were lost in any way.
    #[must_use]
    pub const fn lost_players(&self) -> u64 {
        self.refused + self.failed + self.closed
    }

    /// Frames that are not what was published: players' first ones, and all of sampled players.
    #[must_use]
    pub const fn corrupt(&self) -> u64 {
        self.starts.corrupt + self.sampled.corrupt
    }

    /// Streams that did not begin with configuration and keyframe, of all players.
    #[must_use]
    pub const fn undecodable_starts(&self) -> u64 {
        self.starts.undecodable_starts + self.sampled.undecodable_starts
    }

    /// Counts the reason of a loss.
    pub(super) fn lost_because(&mut self, reason: String, players: u64) {
        if self.first_loss.is_none() {
            self.first_loss = Some(reason.clone());
        }
        let is_known = self.losses.len() < REASONS_MAX || self.losses.contains_key(&reason);
        let reason = if is_known { reason } else { "other".to_owned() };
        *self.losses.entry(reason).or_default() += players;
    }

    /// Adds what was counted elsewhere, or later.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.refused += other.refused;
        self.failed += other.failed;
        self.closed += other.closed;
        self.reconnects += other.reconnects;
        self.stalls += other.stalls;
        self.missed_segments += other.missed_segments;
        self.packets.add(&other.packets);
        self.transport_faults += other.transport_faults;
        self.join.add(&other.join);
        self.first_video.add(&other.first_video);
        self.playlist.add(&other.playlist);
        self.segment.add(&other.segment);
        self.starts.add(&other.starts);
        self.sampled.add(&other.sampled);
        if self.first_transport_fault.is_none() {
            self.first_transport_fault.clone_from(&other.first_transport_fault);
        }
        if self.first_loss.is_none() {
            self.first_loss.clone_from(&other.first_loss);
        }
        for (reason, players) in &other.losses {
            self.lost_because(reason.clone(), *players);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_reasons_are_bounded() {
        let mut sum = Tally::default();
        for number in 0..2 * REASONS_MAX {
            let mut one = Tally { received: 10, closed: 1, ..Tally::default() };
            one.lost_because(format!("reason {number}"), 1);
            one.sampled.missing = 2;
            one.packets = Arrivals { packets: 4, recovered: 3, lost: 2, useless: 1 };
            one.join.record(number as u64);
            sum.add(&one);
        }
        assert_eq!((sum.received, sum.lost_players()), (640, 64));
        assert_eq!((sum.sampled.lost(), sum.join.len()), (128, 64));
        let packets = Arrivals { packets: 256, recovered: 192, lost: 128, useless: 64 };
        assert_eq!(sum.packets, packets);
        assert_eq!(sum.first_loss.as_deref(), Some("reason 0"));
        assert_eq!(sum.losses.len(), REASONS_MAX + 1);
        assert_eq!(sum.losses["other"], REASONS_MAX as u64);
    }
}
