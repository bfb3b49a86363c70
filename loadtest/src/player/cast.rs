//! Who plays what: players are dealt to formats by their shares and to streams by their weights.
//!
//! Shape: smooth weighted round robin, once over the parts and once over the streams in each part,
//! so that any number of players has every share to within one, and the same player always plays
//! the same.

use crate::stream_url::{Scheme, StreamUrl};

/// Players that play alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What they are called in results.
    pub name: String,
    /// What is played; players take turns with the streams.
    pub url: StreamUrl,
    /// Their share of all players, against the other parts' shares.
    pub share: f64,
    /// How fast they read.
    pub pace: Pace,
}

impl Part {
    /// Which parts' latency is told as that of all: players of segments are seconds behind by
    /// design, so they count only among themselves.
    #[must_use]
    pub fn timely(parts: &[Self]) -> Vec<bool> {
        let is_live = |part: &Self| part.url.scheme != Scheme::Hls;
        let anybody_live = parts.iter().any(is_live);
        parts.iter().map(|part| is_live(part) || !anybody_live).collect()
    }
}

/// How fast a player reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as bytes come.
    Live,
    /// So many bytes a second once the first frame has come; the kernel keeps [`SLOW_BUFFER`] more.
    Slow {
        /// Bytes a second; none at 0.
        bytes_per_s: u64,
    },
}

impl Pace {
    /// Bytes that may have been read after so long.
    #[must_use]
    pub fn due(self, after_ns: u64) -> u64 {
        match self {
            Self::Live => u64::MAX,
            Self::Slow { bytes_per_s } => {
                let due = u128::from(bytes_per_s) * u128::from(after_ns) / 1_000_000_000;
                u64::try_from(due).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Bytes that the kernel keeps unread for a player who is slow.
pub const SLOW_BUFFER: usize = 64 * 1024;

/// How many players check all that they get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
    /// So many of the first step's players, spread over them; later ones are not sampled.
    Count(usize),
    /// This share of all players, from 0 to 1.
    Share(f64),
}

/// What one player does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) part: usize,
    pub(super) stream: usize,
    pub(super) sampled: bool,
}

/// Deals roles in the order of the players.
pub(super) struct Cast {
    parts: Turns,
    streams: Vec<Turns>,
    samplers: Vec<Sampler>,
}

impl Cast {
    /// `first` is how many players the first step has.
    pub(super) fn new(
        parts: &[Part],
        streams: usize,
        skew: f64,
        sampling: Sampling,
        first: usize,
    ) -> Self {
        let weights: Vec<f64> =
            (0..streams.max(1)).map(|at| (at as f64 + 1.).powf(-skew)).collect();
        let live = |part: &Part| if part.pace == Pace::Live { part.share } else { 0.0 };
        let live_share: f64 = parts.iter().map(live).sum();
        let all_share: f64 = parts.iter().map(|part| part.share).sum();
        let sampler = |part: &Part| match sampling {
            _ if part.pace != Pace::Live => Sampler::default(),
            Sampling::Share(share) => Sampler { share, quota: u64::MAX, seen: 0 },
            Sampling::Count(count) => {
                let players = (first as f64 * part.share / all_share).max(1.0);
                let quota = (count as f64 * part.share / live_share).ceil();
                Sampler { share: (quota / players).min(1.0), quota: quota as u64, seen: 0 }
            }
        };
        Self {
            samplers: parts.iter().map(sampler).collect(),
            streams: parts.iter().map(|_| Turns::new(weights.clone())).collect(),
            parts: Turns::new(parts.iter().map(|part| part.share).collect()),
        }
    }

    /// The role of the next player.
    pub(super) fn next(&mut self) -> Role {
        let part = self.parts.next();
        let stream = self.streams[part].next();
        Role { part, stream, sampled: self.samplers[part].next() }
    }
}

/// Smooth weighted round robin.
struct Turns {
    weights: Vec<f64>,
    sum: f64,
    credit: Vec<f64>,
}

impl Turns {
    fn new(weights: Vec<f64>) -> Self {
        let (sum, credit) = (weights.iter().sum(), vec![0.0; weights.len()]);
        Self { weights, sum, credit }
    }

    fn next(&mut self) -> usize {
        let mut best = 0;
        for at in 0..self.weights.len() {
            self.credit[at] += self.weights[at];
            // What rounding does to equal credits must not decide.
            if self.credit[at] > self.credit[best] + 1e-9 {
                best = at;
            }
        }
        self.credit[best] -= self.sum;
        best
    }
}

/// Picks an even share, the first one first.
#[derive(Default)]
struct Sampler {
    share: f64,
    quota: u64,
    seen: u64,
}

impl Sampler {
    fn next(&mut self) -> bool {
        // Rounding must not add one to a share that divides the players evenly.
        let picked = |of: u64| (of as f64 * self.share - 1e-9).ceil() as u64;
        let before = picked(self.seen);
        self.seen += 1;
        before < self.quota && picked(self.seen) > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, share: f64, pace: Pace) -> Part {
        let url = StreamUrl::parse("rtmp://h/live/a").unwrap();
        Part { name: name.to_owned(), url, share, pace }
    }

    fn deal(cast: &mut Cast, players: usize) -> Vec<Role> {
        (0..players).map(|_| cast.next()).collect()
    }

    #[test]
    fn shares_hold_for_any_number_of_players() {
        let parts = [50., 20., 5., 5., 20.].map(|share| part("x", share, Pace::Live));
        let mut cast = Cast::new(&parts, 3, 0.0, Sampling::Count(10), 100);
        let roles = deal(&mut cast, 100);
        let of = |at| roles.iter().filter(|role| role.part == at).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [50, 20, 5, 5, 20]);
        let sampled = |at| roles.iter().filter(|role| role.part == at && role.sampled).count();
        assert_eq!([0, 1, 2, 3, 4].map(sampled), [5, 2, 1, 1, 2], "every part has some");
        for stream in 0..3 {
            let of_first = |role: &&Role| role.part == 0 && role.stream == stream;
            assert!((16..=17).contains(&roles.iter().filter(of_first).count()));
        }
        assert!(deal(&mut cast, 1000).iter().all(|role| !role.sampled), "later ones are not");
    }

    #[test]
    fn latency_of_segments_counts_only_among_themselves() {
        let url = |text| StreamUrl::parse(text).unwrap();
        let live = part("rtmp", 1.0, Pace::Live);
        let hls = Part { url: url("http://h/a/index.m3u8"), ..part("hls", 1.0, Pace::Live) };
        assert_eq!(Part::timely(&[live.clone(), hls.clone()]), [true, false]);
        assert_eq!(Part::timely(&[hls.clone(), hls]), [true, true]);
        assert_eq!(Part::timely(&[live]), [true]);
    }

    #[test]
    fn skew_prefers_the_first_streams() {
        let parts = [part("x", 1.0, Pace::Live)];
        let mut cast = Cast::new(&parts, 4, 1.0, Sampling::Share(0.25), 1);
        let roles = deal(&mut cast, 250);
        let of = |at| roles.iter().filter(|role| role.stream == at).count();
        assert_eq!([0, 1, 2, 3].map(of), [120, 60, 40, 30], "1, 1/2, 1/3, 1/4");
        assert_eq!(roles.iter().filter(|role| role.sampled).count(), 63);
    }

    #[test]
    fn the_slow_are_never_sampled() {
        let slow = part("slow", 20.0, Pace::Slow { bytes_per_s: 0 });
        let parts = [part("witness", 80.0, Pace::Live), slow];
        let roles = deal(&mut Cast::new(&parts, 1, 0.0, Sampling::Count(4), 10), 10);
        assert_eq!(roles.iter().filter(|role| role.part == 1).count(), 2);
        let sampled: Vec<_> = roles.iter().filter(|role| role.sampled).collect();
        assert!(sampled.len() == 4 && sampled.iter().all(|role| role.part == 0), "{sampled:?}");
        let nobody = deal(&mut Cast::new(&parts, 1, 0.0, Sampling::Count(0), 10), 10);
        assert!(nobody.iter().all(|role| !role.sampled));
    }
}
