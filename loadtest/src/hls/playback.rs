//! What a player would show with the segments that it has.
//!
//! A player that has one segment of a young stream would run dry whenever the next playlist is
//! asked for a moment too late. So it shows nothing until it has two, at first and after it ran
//! dry, as players do that grow their distance to the live edge by each stall.

/// Segments that a player gathers before it shows them.
const GATHERED: u32 = 2;
/// A segment that is awaited for longer than so many of the last one is missed.
const AWAITED: u64 = 3;

/// The buffer of a player: it grows by segments and empties by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playback {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing came yet, or a stall was told.
    #[default]
    Dry,
    /// It has some segments, too few to show, and waits until then for one more.
    Gathering { segments: u32, buffered_ns: u64, until_ns: u64 },
    /// It shows what it has until then.
    Showing { empty_ns: u64 },
}

impl Playback {
    /// A segment came whole at `now_ns`.
    pub fn add(&mut self, duration_s: f64, now_ns: u64) {
        let duration_ns = (duration_s * 1e9) as u64;
        let (segments, buffered_ns) = match self.state {
            State::Dry => (1, duration_ns),
            State::Gathering { segments, buffered_ns, .. } => {
                (segments + 1, buffered_ns + duration_ns)
            }
            State::Showing { empty_ns } => {
                (GATHERED, empty_ns.saturating_sub(now_ns) + duration_ns)
            }
        };
        self.state = if segments >= GATHERED {
            State::Showing { empty_ns: now_ns + buffered_ns }
        } else {
            State::Gathering { segments, buffered_ns, until_ns: now_ns + AWAITED * duration_ns }
        };
    }

    /// True once each time that the buffer has run dry, or does not fill.
    pub fn starves(&mut self, now_ns: u64) -> bool {
        let is_dry = match self.state {
            State::Dry => false,
            State::Gathering { until_ns, .. } => now_ns >= until_ns,
            State::Showing { empty_ns } => now_ns >= empty_ns,
        };
        if is_dry {
            self.state = State::Dry;
        }
        is_dry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_dry_buffer_is_told_once() {
        let mut playback = Playback::default();
        assert!(!playback.starves(100 * S));
        playback.add(2.0, 100 * S);
        playback.add(2.0, 101 * S);
        assert!(!playback.starves(105 * S - 1), "both are shown from the second on");
        assert!(playback.starves(105 * S));
        assert!(!playback.starves(109 * S));
        playback.add(2.0, 110 * S);
        playback.add(2.0, 112 * S);
        assert!(!playback.starves(116 * S - 1));
        assert!(playback.starves(116 * S));
    }

    #[test]
    fn a_player_at_the_edge_gathers_and_is_not_dry_by_a_late_look() {
        let mut playback = Playback::default();
        // One segment every two seconds, seen up to a second late.
        for (n, late_ms) in [0, 900, 100, 700, 0, 990].into_iter().enumerate() {
            let now = 100 * S + n as u64 * 2 * S + late_ms * S / 1_000;
            assert!(!playback.starves(now), "segment {n}");
            playback.add(2.0, now);
        }
    }

    #[test]
    fn a_second_segment_that_never_comes_is_a_stall() {
        let mut playback = Playback::default();
        playback.add(2.0, 100 * S);
        assert!(!playback.starves(106 * S - 1));
        assert!(playback.starves(106 * S));
        assert!(!playback.starves(200 * S));
    }
}
