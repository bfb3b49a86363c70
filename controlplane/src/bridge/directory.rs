//! Directory: what every shard gives to the pages: where RTMP is spoken, and the list of streams.
//!
//! It is asked of the shards when a stream starts, ends or moves, a few times after that because
//! tracks and codecs show themselves later, and then rarely while streams live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::config::{ListenerConfig, ListenerKind, UrlDialect};
use serde::Serialize;

use super::gathered::Gathered;

/// From one refresh to the next, after the last start or end of a stream.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Where and how peers of RTMP say which stream they mean.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct RtmpAddress {
    /// `rtmp` or, where nobody is heard without TLS, `rtmps`.
    scheme: &'static str,
    port: u16,
    /// As `session.url` is written: `name` or `channel_key`.
    url: &'static str,
}

impl RtmpAddress {
    /// That of the listeners that are open, the first without TLS before others.
    pub(crate) fn of(open: impl Iterator<Item = ListenerConfig>, url: UrlDialect) -> Option<Self> {
        let url = match url {
            UrlDialect::Name => "name",
            UrlDialect::ChannelKey => "channel_key",
        };
        let address = |listener: ListenerConfig| {
            let scheme = match listener.kind {
                ListenerKind::Rtmp => "rtmp",
                ListenerKind::Rtmps => "rtmps",
                _ => return None,
            };
            Some(Self { scheme, port: listener.addr.port(), url })
        };
        open.filter_map(address).min_by_key(|address| address.scheme.len())
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    rtmp: Option<RtmpAddress>,
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
    rtmp: Option<RtmpAddress>,
    refreshed: Option<Instant>,
    due: Option<Instant>,
    step: usize,
}

impl Directory {
    /// Nothing is known yet, so the first refresh is due.
    pub(crate) fn new(now: Instant) -> Self {
        let json = Arc::from([].as_slice());
        Self { json, rtmp: None, refreshed: None, due: Some(now), step: 0 }
    }

    /// Listeners were opened or closed.
    pub(crate) fn set_rtmp(&mut self, rtmp: Option<RtmpAddress>, now: Instant) {
        if self.rtmp != rtmp {
            self.rtmp = rtmp;
            self.changed(now);
        }
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
        let json = render(gathered, self.rtmp);
        if *json == *self.json {
            return None;
        }
        self.json = Arc::from(json);
        Some(Arc::clone(&self.json))
    }
}

fn render(gathered: &Gathered, rtmp: Option<RtmpAddress>) -> Vec<u8> {
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
    serde_json::to_vec(&Listing { rtmp, streams }).expect("texts and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_the_rtmp_that_most_encoders_speak() {
        let open = |kind, port| ListenerConfig::new(kind, ([0, 0, 0, 0], port).into());
        let all = [
            open(ListenerKind::Http, 8080),
            open(ListenerKind::Rtmps, 443),
            open(ListenerKind::Rtmp, 1936),
        ];
        let of = |open: &[ListenerConfig], url| RtmpAddress::of(open.iter().copied(), url);
        let plain = RtmpAddress { scheme: "rtmp", port: 1936, url: "name" };
        assert_eq!(of(&all, UrlDialect::Name), Some(plain));
        let inside_tls = RtmpAddress { scheme: "rtmps", port: 443, url: "channel_key" };
        assert_eq!(of(&all[..2], UrlDialect::ChannelKey), Some(inside_tls));
        assert_eq!(of(&all[..1], UrlDialect::Name), None);
    }
}
