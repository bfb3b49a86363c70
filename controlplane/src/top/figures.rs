//! Figures: the part of the API's answers that is shown.

use std::collections::HashMap;

use serde::Deserialize;

/// What rows are sorted by, the greatest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Players.
    #[default]
    Players,
    /// Of shards the bytes sent, of streams the bytes received.
    Bitrate,
    /// Of shards how late their loop is, of streams how long they are silent.
    Lag,
}

impl Sort {
    /// Every order, as keys go through them.
    pub const ALL: [Self; 3] = [Self::Players, Self::Bitrate, Self::Lag];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Players => "players",
            Self::Bitrate => "bitrate",
            Self::Lag => "lag",
        }
    }

    /// The order after this one.
    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|&sort| sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// `GET /api/v1/shards`
#[derive(Debug, Deserialize)]
pub(super) struct Shards {
    shards: Vec<Shard>,
    missing: Vec<u16>,
}

/// `GET /api/v1/streams`
#[derive(Debug, Deserialize)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// The cursor of the next page.
    #[serde(default)]
    pub(super) next: Option<String>,
}

impl Streams {
    /// Adds the page that follows.
    pub(super) fn append(&mut self, page: Self) {
        self.streams.extend(page.streams);
        self.next = page.next;
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shard {
    pub(super) id: u16,
    pub(super) core: Option<usize>,
    pub(super) state: String,
    pub(super) utilisation: f64,
    pub(super) egress_turn_share: f64,
    pub(super) flush_interval_ms: f64,
    pub(super) loop_lag_ms: Percentiles,
    pub(super) bytes_sent_per_second: u64,
    pub(super) connections: u64,
    pub(super) publishers: u64,
    pub(super) players: u64,
    /// Nodes of earlier versions do not tell it.
    #[serde(default)]
    pub(super) viewers: u64,
    pub(super) streams: u64,
    pools: Vec<Pool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Percentiles {
    pub(super) p99: f64,
    pub(super) max: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Pool {
    page_bytes: u64,
    used: u64,
    total: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) shard: u16,
    pub(super) state: String,
    pub(super) silent_ms: u64,
    pub(super) players: u64,
    #[serde(default)]
    pub(super) viewers: u64,
    tracks: Vec<Track>,
}

#[derive(Clone, Debug, Deserialize)]
struct Track {
    codec: String,
    bps: u64,
}

impl Shard {
    /// Share of its pages that are in use.
    pub(super) fn memory(&self) -> f64 {
        let bytes = |count: fn(&Pool) -> u64| {
            self.pools.iter().map(|pool| pool.page_bytes.saturating_mul(count(pool))).sum::<u64>()
        };
        #[expect(clippy::cast_precision_loss, reason = "a share is shown with two digits")]
        let share = bytes(|pool| pool.used) as f64 / bytes(|pool| pool.total).max(1) as f64;
        share
    }
}

impl Stream {
    /// Bits per second of all its tracks.
    pub(super) fn bps(&self) -> u64 {
        self.tracks.iter().fold(0, |sum, track| sum.saturating_add(track.bps))
    }

    /// Its codecs, each once.
    pub(super) fn codecs(&self) -> String {
        let mut codecs: Vec<&str> = Vec::new();
        for track in &self.tracks {
            if !codecs.contains(&track.codec.as_str()) {
                codecs.push(&track.codec);
            }
        }
        codecs.join("+")
    }
}

/// Everything that a frame shows.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) shards: Vec<Shard>,
    pub(super) missing: Vec<u16>,
    pub(super) streams: Vec<Stream>,
}

impl Figures {
    /// A stream that moves between two answers may be listed twice: the one that is live stays.
    pub(super) fn new(shards: Shards, streams: Streams) -> Self {
        let Shards { shards, missing } = shards;
        let mut by_name: HashMap<String, Stream> = HashMap::new();
        for stream in streams.streams {
            let known = by_name.get(&stream.name);
            if known.is_none_or(|known| known.silent_ms > stream.silent_ms) {
                by_name.insert(stream.name.clone(), stream);
            }
        }
        Self { shards, missing, streams: by_name.into_values().collect() }
    }

    /// Sorts shards and streams, the greatest first; equal ones by number and by name.
    pub(super) fn sort(&mut self, by: Sort) {
        let lag = |shard: &Shard| (shard.loop_lag_ms.p99 * 1000.0).round() as u64;
        self.shards.sort_by_key(|shard| {
            let key = match by {
                Sort::Players => shard.players + shard.viewers,
                Sort::Bitrate => shard.bytes_sent_per_second,
                Sort::Lag => lag(shard),
            };
            (std::cmp::Reverse(key), shard.id)
        });
        self.streams.sort_by_cached_key(|stream| {
            let key = match by {
                Sort::Players => stream.players + stream.viewers,
                Sort::Bitrate => stream.bps(),
                Sort::Lag => stream.silent_ms,
            };
            (std::cmp::Reverse(key), stream.name.clone())
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two shards and three streams.
    pub(in super::super) fn figures() -> Figures {
        let shard = |id: u16, players: u64, sent: u64, lag: f64| {
            serde_json::json!({
                "id": id, "core": id, "state": "running", "utilisation": 0.25,
                "egress_turn_share": 0.9, "flush_interval_ms": 20.0,
                "loop_lag_ms": { "p50": 0.1, "p99": lag, "max": lag * 2.0 },
                "bytes_sent_per_second": sent, "connections": players + 1, "publishers": 1,
                "players": players, "viewers": 3 * id, "streams": 2,
                "pools": [{ "page_bytes": 65536, "used": 1, "total": 4 }],
            })
        };
        let stream = |name: &str, players: u64, bps: u64, silent: u64| {
            serde_json::json!({
                "name": name, "shard": 0, "state": "live", "silent_ms": silent, "players": players,
                "viewers": if name == "b" { 3 } else { 0 },
                "tracks": [{ "codec": "h264", "bps": bps }, { "codec": "aac", "bps": 0 }],
            })
        };
        let shards = serde_json::json!({
            "shards": [shard(0, 5, 4_000_000_000, 0.4), shard(1, 9, 10, 2.5)], "missing": [2],
        });
        let streams = serde_json::json!({
            "streams": [
                stream("news/one", 5, 2_000_000, 20),
                stream("quiet", 0, 0, 61_000),
                stream("b", 9, 900, 40),
            ],
        });
        Figures::new(
            serde_json::from_value(shards).unwrap(),
            serde_json::from_value(streams).unwrap(),
        )
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for() {
        let mut figures = figures();
        for (by, shards, streams) in [
            (Sort::Players, [1, 0], ["b", "news/one", "quiet"]),
            (Sort::Bitrate, [0, 1], ["news/one", "b", "quiet"]),
            (Sort::Lag, [1, 0], ["quiet", "b", "news/one"]),
        ] {
            figures.sort(by);
            assert_eq!(figures.shards.iter().map(|s| s.id).collect::<Vec<_>>(), shards);
            assert_eq!(
                figures.streams.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
                streams
            );
        }
        let all = [Sort::Players.next(), Sort::Bitrate.next(), Sort::Lag.next()];
        assert_eq!(all, [Sort::Bitrate, Sort::Lag, Sort::Players]);
    }
}
