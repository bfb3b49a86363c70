//! Directory: the list of streams that every shard gives to the page.
//!
//! It is asked of the shards when a stream starts, ends or moves, a few times after that because
//! tracks and codecs show themselves later, and then rarely while streams live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::gathered::Gathered;

/// From one refresh to the next, after the last start or end of a stream.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

#[derive(Serialize)]
struct Listing<'a> {
    streams: Vec<Item<'a>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Item<'a> {
    name: &'a str,
    tracks: Vec<Track<'a>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Track<'a> {
    codec: &'static str,
    codec_string: &'a str,
    width: Option<u32>,
    height: Option<u32>,
}

/// The list in force, and when it is due again.
#[derive(Debug)]
pub(crate) struct Directory {
    json: Arc<[u8]>,
    refreshed: Option<Instant>,
    due: Option<Instant>,
    step: usize,
}

impl Directory {
    /// Nothing is known yet, so the first refresh is due.
    pub(crate) fn new(now: Instant) -> Self {
        Self { json: Arc::from([].as_slice()), refreshed: None, due: Some(now), step: 0 }
    }

    /// A stream started, ended or moved.
    pub(crate) fn changed(&mut self, now: Instant) {
        let earliest = self.refreshed.map_or(now, |at| at + PAUSES[0]);
        self.due = Some(earliest.max(now));
        self.step = 0;
    }

    /// When the shards are to be asked again.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The shards were asked.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.refreshed = Some(now);
        self.step = (self.step + 1).min(PAUSES.len() - 1);
        self.due = Some(now + PAUSES[self.step]);
    }

    /// Takes the answers; the list if it is another one now.
    pub(crate) fn update(&mut self, gathered: &Gathered) -> Option<Arc<[u8]>> {
        // A shard that did not answer would make its streams vanish for a moment.
        if !gathered.missing.is_empty() {
            return None;
        }
        let json = render(gathered);
        if *json == *self.json {
            return None;
        }
        self.json = Arc::from(json);
        Some(Arc::clone(&self.json))
    }
}

fn render(gathered: &Gathered) -> Vec<u8> {
    let streams = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.streams);
    let mut streams: Vec<_> = streams
        .map(|stream| Item {
            name: stream.name.as_str(),
            tracks: stream
                .tracks
                .iter()
                .map(|track| {
                    let config = track.config.as_ref();
                    let video = config.and_then(|config| config.video);
                    Track {
                        codec: track.codec.name(),
                        codec_string: config.map_or("", |config| &config.codec_string),
                        width: video.map(|video| video.width),
                        height: video.map(|video| video.height),
                    }
                })
                .collect(),
        })
        .collect();
    streams.sort();
    // A stream that moved while the shards were asked is seen on both.
    streams.dedup_by(|one, other| one.name == other.name);
    serde_json::to_vec(&Listing { streams }).expect("texts and numbers always serialise")
}
