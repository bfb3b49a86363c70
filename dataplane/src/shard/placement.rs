//! Which shard is a stream's home: rendezvous hashing, overridden by the operator's pins.

use std::hash::Hasher;

use crate::config::Pin;
use crate::ids::{ShardId, StreamName};

/// The map from stream names to home shards. Lives on: every shard, as an equal copy.
#[derive(Clone, Debug)]
pub struct Placement {
    shards: u16,
    pins: Vec<Pin>,
}

impl Placement {
    /// A map over `shards` shards; the first pin that matches wins.
    #[must_use]
    pub const fn new(shards: u16, pins: Vec<Pin>) -> Self {
        Self { shards, pins }
    }

    /// The home of `name`.
    ///
    /// The highest hash of (name, shard) wins, so that a change of the shard count moves only the
    /// streams that it must.
    #[must_use]
    pub fn home(&self, name: &StreamName) -> ShardId {
        if let Some(pin) = self.pins.iter().find(|pin| matches(&pin.pattern, name.as_str())) {
            return ShardId(pin.shard.0.min(self.shards - 1));
        }
        let weight = |shard: u16| {
            let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
            hash.write(name.as_str().as_bytes());
            hash.write(&shard.to_le_bytes());
            mix(hash.finish())
        };
        ShardId((0..self.shards).max_by_key(|&shard| weight(shard)).unwrap_or(0))
    }
}

/// True if `name` matches `pattern`, in which `*` stands for any run of letters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pattern.contains('*').then(|| parts.next_back()).flatten() else {
        return rest.is_empty();
    };
    let Some(mut middle) = rest.strip_suffix(last) else { return false };
    for part in parts {
        let Some(at) = middle.find(part) else { return false };
        middle = &middle[at + part.len()..];
    }
    true
}

/// FNV-1a: equal in every process, unlike the standard library's seeded hash.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Spreads the last bytes of an FNV hash over all its bits.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> StreamName {
        StreamName::parse(s).unwrap()
    }

    #[test]
    fn patterns_match_runs_of_letters() {
        for (pattern, text, expected) in [
            ("demo", "demo", true),
            ("demo", "demo2", false),
            ("news/*", "news/a/b", true),
            ("news/*", "news", false),
            ("*", "x", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*-hd", "cam-hd", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn pins_win_and_the_rest_spreads_evenly() {
        let pin = Pin { pattern: "news/*".into(), shard: ShardId(2) };
        let placement = Placement::new(4, vec![pin]);
        assert_eq!(placement.home(&name("news/one")), ShardId(2));
        let mut counts = [0; 4];
        for i in 0..4000 {
            counts[placement.home(&name(&format!("cam-{i}"))).index()] += 1;
        }
        assert!(counts.iter().all(|&n| (850..1150).contains(&n)), "{counts:?}");
    }

    #[test]
    fn a_new_shard_takes_only_its_share() {
        let (three, four) = (Placement::new(3, vec![]), Placement::new(4, vec![]));
        for i in 0..1000 {
            let n = name(&format!("s{i}"));
            let after = four.home(&n);
            assert!(after == three.home(&n) || after == ShardId(3));
        }
    }
}
