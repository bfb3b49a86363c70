//! One direction of a bad network, on a counted clock: loss by chance and in bursts, delay, jitter
//! and with it disorder, copies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// What the line does; chances in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    /// The chance that a burst begins; it takes `burst_packets`.
    pub(crate) burst: u64,
    pub(crate) burst_packets: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

/// The line.
pub(crate) struct Line {
    weather: Weather,
    seed: u64,
    burst_left: u64,
    count: u64,
    under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    /// Packets with payload that were lost.
    pub(crate) lost_data: u64,
}

impl Line {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        let seed = seed.wrapping_mul(2).wrapping_add(1);
        let under_way = BinaryHeap::new();
        Self { weather, seed, burst_left: 0, count: 0, under_way, lost_data: 0 }
    }

    /// A number that only the seed decides.
    fn dice(&mut self, sides: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    pub(crate) fn send(&mut self, now: Instant, datagram: &[u8]) {
        let Weather { loss, burst, burst_packets, duplicate, .. } = self.weather;
        if self.burst_left == 0 && self.dice(1_000) < burst {
            self.burst_left = burst_packets;
        }
        let in_burst = self.burst_left > 0;
        self.burst_left = self.burst_left.saturating_sub(1);
        if in_burst || self.dice(1_000) < loss {
            // The first bit tells control packets.
            let is_data = datagram.first().is_some_and(|byte| byte & 0x80 == 0);
            self.lost_data += u64::from(is_data);
            return;
        }
        let copies = if self.dice(1_000) < duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let spread = u64::try_from(self.weather.jitter.as_micros()).unwrap();
            let jitter = Duration::from_micros(self.dice(spread + 1));
            let due = now + self.weather.delay + jitter;
            self.count += 1;
            self.under_way.push(Reverse((due, self.count, datagram.to_vec())));
        }
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((due, ..))| *due)
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((.., datagram))| datagram)
    }
}
