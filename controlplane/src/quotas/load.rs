//! Load: what players of a stream, or of all streams of a tenant, are owed.

use super::window::{Rates, TYPICAL_BPS};

/// Bits a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// All players together. Who came a moment ago counts whole, though little was sent to him.
    owed: u64,
    /// One player of the stream that carries most; `None` if that is not known of any.
    each: Option<u64>,
}

impl Load {
    /// Of one stream that so many play.
    pub(super) fn of(rates: Rates, players: u32) -> Self {
        let each = rates.each.unwrap_or(TYPICAL_BPS);
        Self { owed: each.saturating_mul(players.into()).max(rates.egress), each: rates.each }
    }

    /// Of both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { owed: self.owed.saturating_add(other.owed), each: self.each.max(other.each) }
    }

    /// How many may play where so many do, so that they are sent no more than `max` together. What
    /// is not measured yet counts [`TYPICAL_BPS`], and lets one in whatever `max` is, who measures.
    pub(super) fn fitting(self, max: u64, players: u32) -> u32 {
        let more = max.saturating_sub(self.owed) / self.each.unwrap_or(TYPICAL_BPS).max(1);
        let fitting = players.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        fitting.max(u32::from(self.each.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(each: Option<u64>, egress: u64, players: u32) -> Load {
        Load::of(Rates { ingress: 0, egress, each, whole: true }, players)
    }

    #[test]
    fn as_many_fit_as_are_sent_no_more() {
        let fit =
            |each, egress, players| load(Some(each), egress, players).fitting(80_000, players);
        assert_eq!((fit(8_000, 0, 0), fit(8_000, 0, 9), fit(8_000, 90_000, 9)), (10, 10, 9));
        assert_eq!(fit(80_001, 0, 0), 0);
        let unmeasured = load(None, 0, 0);
        assert_eq!(unmeasured.fitting(1_000_000_000, 0), 500);
        assert_eq!(load(None, 0, 500).fitting(1_000_000_000, 500), 500, "however long it takes");
        assert_eq!(unmeasured.fitting(1, 0), 1);
        assert_eq!(load(None, 0, 1).fitting(1, 1), 1);
    }

    #[test]
    fn a_hundred_streams_of_a_tenant_fill_what_it_may_and_no_more() {
        let streams = |players| {
            let one = load(Some(4_000_000), 0, players);
            (0..100).fold(Load::default(), |all, _| all.and(one))
        };
        assert_eq!(streams(0).fitting(1_000_000_000, 0), 250);
        assert_eq!(streams(2).fitting(1_000_000_000, 200), 250);
        assert_eq!(streams(3).fitting(1_000_000_000, 300), 300, "nobody else");
        // Those who play count what they are sent, and who comes as if he came to the greatest.
        let all = load(Some(1_000), 0, 10).and(load(Some(20_000), 0, 1));
        assert_eq!(all.fitting(80_000, 11), 13);
    }
}
