//! What a player would show with the segments that it has.

/// The buffer of a player: it grows by segments and empties by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playback {
    /// When the buffer is empty; `None` before the first segment.
    empty_ns: Option<u64>,
    is_starved: bool,
}

impl Playback {
    /// A segment came whole at `now_ns`.
    pub fn add(&mut self, duration_s: f64, now_ns: u64) {
        let duration_ns = (duration_s * 1e9) as u64;
        // A player that ran dry goes on where it stopped.
        let from_ns = self.empty_ns.unwrap_or(now_ns).max(now_ns);
        self.empty_ns = Some(from_ns + duration_ns);
        self.is_starved = false;
    }

    /// True once each time that the buffer has run dry.
    pub fn starves(&mut self, now_ns: u64) -> bool {
        let is_dry = self.empty_ns.is_some_and(|empty_ns| now_ns >= empty_ns);
        is_dry && !std::mem::replace(&mut self.is_starved, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_buffer_is_told_once() {
        const S: u64 = 1_000_000_000;
        let mut playback = Playback::default();
        assert!(!playback.starves(100 * S));
        playback.add(2.0, 100 * S);
        playback.add(2.0, 101 * S);
        assert!(!playback.starves(104 * S - 1));
        assert!(playback.starves(104 * S));
        assert!(!playback.starves(109 * S));
        playback.add(2.0, 110 * S);
        assert!(!playback.starves(112 * S - 1));
        assert!(playback.starves(112 * S));
    }
}
