//! Who plays what: players are dealt to formats by their shares and to streams by their weights.
//!
//! Shape: smooth weighted round robin, once over the parts and once over the streams in each part,
//! so that any number of players has every share to within one, and the same player always plays
//! the same. Who is sampled is spread over the streams of a part, and dealt to threads apart from
//! the others: no stream and no thread has all of them.

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
    /// So many of the players of a step: those who come in it are sampled at the rate of so many
    /// to all, and whoever was sampled before still is.
    Count(usize),
    /// This share of all players, from 0 to 1.
    Share(f64),
}

impl Sampling {
    /// Nobody is to check more than the first frame.
    #[must_use]
    pub fn is_of_nobody(self) -> bool {
        match self {
            Self::Count(count) => count == 0,
            Self::Share(share) => share <= 0.0,
        }
    }
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
    /// Nobody of a part that is slow is sampled.
    samplers: Vec<Option<Sampler>>,
    sampling: Sampling,
    /// The share of all players that may be sampled.
    live_share: f64,
}

impl Cast {
    pub(super) fn new(parts: &[Part], streams: usize, skew: f64, sampling: Sampling) -> Self {
        let streams = streams.max(1);
        let weights: Vec<f64> = (0..streams).map(|at| (at as f64 + 1.).powf(-skew)).collect();
        let live = |part: &Part| if part.pace == Pace::Live { part.share } else { 0.0 };
        let live_share: f64 = parts.iter().map(live).sum();
        let all_share: f64 = parts.iter().map(|part| part.share).sum();
        let sampler = |part: &Part| (part.pace == Pace::Live).then(|| Sampler::new(streams));
        Self {
            samplers: parts.iter().map(sampler).collect(),
            streams: parts.iter().map(|_| Turns::new(weights.clone())).collect(),
            parts: Turns::new(parts.iter().map(|part| part.share).collect()),
            sampling,
            live_share: live_share / all_share,
        }
    }

    /// The rate at which those are sampled who make the players so many.
    pub(super) fn rate(&self, players: usize) -> f64 {
        match self.sampling {
            Sampling::Share(share) => share,
            Sampling::Count(count) => {
                (count as f64 / (players as f64 * self.live_share).max(1.0)).min(1.0)
            }
        }
    }

    /// The role of the next player, sampled at this rate.
    pub(super) fn next(&mut self, rate: f64) -> Role {
        let part = self.parts.next();
        let stream = self.streams[part].next();
        let sampled =
            self.samplers[part].as_mut().is_some_and(|sampler| sampler.next(stream, rate));
        Role { part, stream, sampled }
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

/// Picks an even share of a part's players, the first one first.
///
/// Shape: players come in blocks of `1 / rate`, and one of each is picked: the first whose stream
/// has had least of what is due to it, or the last.
struct Sampler {
    /// Players that should have been picked, before rounding up to whole ones.
    due: f64,
    picked: u64,
    /// What is due to each stream, less what it had.
    credit: Vec<f64>,
}

impl Sampler {
    fn new(streams: usize) -> Self {
        Self { due: 0.0, picked: 0, credit: vec![0.0; streams] }
    }

    fn next(&mut self, stream: usize, rate: f64) -> bool {
        // Rounding must not add one to a share that divides the players evenly.
        let begun = |due: f64| (due - 1e-9).ceil() as u64;
        self.due += rate;
        self.credit[stream] += rate;
        let is_last = begun(self.due + rate) > begun(self.due);
        let most = self.credit.iter().copied().fold(f64::MIN, f64::max);
        let is_picked =
            begun(self.due) > self.picked && (is_last || self.credit[stream] > most - 1e-9);
        if is_picked {
            self.picked += 1;
            self.credit[stream] -= 1.0;
        }
        is_picked
    }
}

/// Deals players to threads: those of a part take turns, and its sampled ones by themselves, so
/// that each thread has as many as any other.
pub(super) struct Deal {
    threads: usize,
    /// Whose turn it is, for the quiet and the sampled of each part.
    turns: Vec<[usize; 2]>,
}

impl Deal {
    pub(super) fn new(parts: usize, threads: usize) -> Self {
        // They do not all begin with the same thread, or it would have those left over.
        let turns = (0..parts).map(|part| [part, part + 1]);
        Self { threads, turns: turns.collect() }
    }

    /// The thread of the next player.
    pub(super) fn next(&mut self, role: Role) -> usize {
        let turn = &mut self.turns[role.part][usize::from(role.sampled)];
        *turn += 1;
        (*turn - 1) % self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, share: f64, pace: Pace) -> Part {
        let url = StreamUrl::parse("rtmp://h/live/a").unwrap();
        Part { name: name.to_owned(), url, share, pace }
    }

    /// So many players more, who make all of them so many.
    fn deal(cast: &mut Cast, players: usize, all: usize) -> Vec<Role> {
        let rate = cast.rate(all);
        (0..players).map(|_| cast.next(rate)).collect()
    }

    fn sampled(roles: &[Role]) -> usize {
        roles.iter().filter(|role| role.sampled).count()
    }

    #[test]
    fn shares_hold_for_any_number_of_players() {
        let parts = [50., 20., 5., 5., 20.].map(|share| part("x", share, Pace::Live));
        let mut cast = Cast::new(&parts, 3, 0.0, Sampling::Count(10));
        let roles = deal(&mut cast, 100, 100);
        let of = |at| roles.iter().filter(|role| role.part == at).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [50, 20, 5, 5, 20]);
        let sampled = |at| roles.iter().filter(|role| role.part == at && role.sampled).count();
        assert_eq!([0, 1, 2, 3, 4].map(sampled), [5, 2, 1, 1, 2], "every part has some");
        for stream in 0..3 {
            let of_first = |role: &&Role| role.part == 0 && role.stream == stream;
            assert!((16..=17).contains(&roles.iter().filter(of_first).count()));
        }
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
        let mut cast = Cast::new(&parts, 4, 1.0, Sampling::Share(0.25));
        let roles = deal(&mut cast, 250, 250);
        let of = |at| roles.iter().filter(|role| role.stream == at).count();
        assert_eq!([0, 1, 2, 3].map(of), [120, 60, 40, 30], "1, 1/2, 1/3, 1/4");
        assert!((62..=63).contains(&sampled(&roles)), "a quarter, to within one");
    }

    #[test]
    fn the_slow_are_never_sampled() {
        let slow = part("slow", 20.0, Pace::Slow { bytes_per_s: 0 });
        let parts = [part("witness", 80.0, Pace::Live), slow];
        let roles = deal(&mut Cast::new(&parts, 1, 0.0, Sampling::Count(4)), 10, 10);
        assert_eq!(roles.iter().filter(|role| role.part == 1).count(), 2);
        let sampled: Vec<_> = roles.iter().filter(|role| role.sampled).collect();
        assert!(sampled.len() == 4 && sampled.iter().all(|role| role.part == 0), "{sampled:?}");
        let nobody = deal(&mut Cast::new(&parts, 1, 0.0, Sampling::Count(0)), 10, 10);
        assert!(nobody.iter().all(|role| !role.sampled));
    }

    #[test]
    fn every_stream_and_thread_has_its_share_of_the_sampled() {
        let parts = [part("x", 1.0, Pace::Live)];
        for (players, count, streams, threads) in [
            (1000, 10, 20, 2),
            (1000, 20, 20, 2),
            (1000, 40, 20, 2),
            (1000, 10, 1, 2),
            (1000, 100, 10, 4),
            (1000, 30, 7, 3),
            (997, 33, 16, 2),
            (8, 4, 4, 2),
            (20, 20, 20, 3),
        ] {
            let mut cast = Cast::new(&parts, streams, 0.0, Sampling::Count(count));
            let mut threads = (Deal::new(1, threads), vec![[0; 2]; threads]);
            let mut of_stream = vec![0; streams];
            for role in deal(&mut cast, players, players) {
                threads.1[threads.0.next(role)][usize::from(role.sampled)] += 1;
                of_stream[role.stream] += usize::from(role.sampled);
            }
            let is_even = |of: &mut dyn Iterator<Item = usize>, most_apart| {
                let all: Vec<_> = of.collect();
                all.iter().max().unwrap() - all.iter().min().unwrap() <= most_apart
            };
            assert_eq!(of_stream.iter().sum::<usize>(), count, "{of_stream:?}");
            assert!(is_even(&mut of_stream.iter().copied(), 1), "{of_stream:?}");
            for kind in 0..2 {
                assert!(is_even(&mut threads.1.iter().map(|of| of[kind]), 1), "{:?}", threads.1);
            }
        }
    }

    #[test]
    fn those_who_come_later_are_sampled_too() {
        let parts = [part("x", 1.0, Pace::Live)];
        let mut cast = Cast::new(&parts, 2, 0.0, Sampling::Count(10));
        let mut step = |players, all| sampled(&deal(&mut cast, players, all));
        assert_eq!([step(1000, 1000), step(3000, 4000), step(4000, 8000)], [10, 8, 5]);
    }
}
