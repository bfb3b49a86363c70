//! The rules of RFC 8216, for every window that one log shows after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataplane::log::Log;
use dataplane::segment::{Window, uri};
use m3u8_rs::{MediaPlaylist, MediaSegment};

use super::stream::{bytes, packets};

/// A segment that left the list, and until when it can be asked for.
struct Removed {
    number: u64,
    until: Instant,
}

/// What was seen of one log.
#[derive(Default)]
pub(crate) struct Rules {
    before: Option<(MediaPlaylist, Window)>,
    /// The period and the entry of each segment that was listed lately.
    known: BTreeMap<u64, (u64, MediaSegment)>,
    longest: BTreeMap<u64, f64>,
    removed: Vec<Removed>,
    pub(crate) windows: u32,
    /// Breaks that were listed, each once.
    pub(crate) breaks: u64,
    pub(crate) ended: bool,
}

pub(crate) fn media(window: &Window) -> MediaPlaylist {
    let (rest, list) = m3u8_rs::parse_media_playlist(window.media.body()).expect("a playlist");
    assert!(rest.is_empty(), "all of it is a playlist");
    assert_eq!(list.version, Some(3));
    assert!(list.unknown_tags.is_empty(), "{:?}", list.unknown_tags);
    list
}

fn total(list: &MediaPlaylist) -> f64 {
    list.segments.iter().map(|segment| f64::from(segment.duration)).sum()
}

/// The number of the break before each segment.
pub(crate) fn periods(list: &MediaPlaylist) -> Vec<u64> {
    let mut period = list.discontinuity_sequence;
    let of = |segment: &MediaSegment| {
        period += u64::from(segment.discontinuity);
        period
    };
    list.segments.iter().map(of).collect()
}

impl Rules {
    /// Looks at what the log shows now.
    pub(crate) fn see(&mut self, log: &Log, now: Instant) {
        let Some(shown) = log.window() else { return };
        if self.before.as_ref().is_some_and(|(_, before)| *before == *shown) {
            return;
        }
        self.windows += 1;
        let list = media(&shown);
        assert!(!list.segments.is_empty());
        self.one_list(&list);
        self.numbers(&list);
        if let Some((before, _)) = &self.before {
            follows(before, &list);
        }
        self.removals(&list, &shown, now);
        bytes_of(log, &list, &shown);
        renditions(&list, &shown);
        self.ended = list.end_list;
        self.before = Some((list, (*shown).clone()));
    }

    fn one_list(&self, list: &MediaPlaylist) {
        let target = list.target_duration as f64;
        for segment in &list.segments {
            assert!(segment.duration > 0.0);
            assert!(f64::from(segment.duration).round() <= target, "{list:?}");
        }
        for (at, segment) in list.segments.iter().enumerate() {
            let number = list.media_sequence + at as u64;
            assert_eq!(segment.uri, format!("seg.{number}.ts"));
            let asset = uri::parse(&format!("a/b/{}", segment.uri)).map(|(_, asset)| asset);
            assert_eq!(asset, Some(uri::Asset::Segment(number)));
        }
        for pair in list.segments.windows(2) {
            let date = |segment: &MediaSegment| {
                segment.program_date_time.expect("each has its date").timestamp_millis()
            };
            let step = date(&pair[1]) - date(&pair[0]);
            assert!(step > 0, "dates go on");
            if !pair[1].discontinuity {
                let lasts = (f64::from(pair[0].duration) * 1_000.0) as i64;
                assert!((step - lasts).abs() <= 7 || step > lasts + 9_000, "{step} for {lasts} ms");
            }
        }
    }

    /// A segment keeps its number, its period, its duration and its date.
    fn numbers(&mut self, list: &MediaPlaylist) {
        for (at, (segment, period)) in list.segments.iter().zip(periods(list)).enumerate() {
            let number = list.media_sequence + at as u64;
            let seen = (period, segment.clone());
            let known = self.known.entry(number).or_insert_with(|| {
                self.breaks += u64::from(seen.1.discontinuity);
                seen.clone()
            });
            assert_eq!(*known, seen, "segment {number}");
        }
        // A day has more of them than need to be compared.
        self.known = self.known.split_off(&list.media_sequence.saturating_sub(200));
        self.longest = self.longest.split_off(&list.media_sequence.saturating_sub(200));
        let periods = self.known.values().map(|(period, _)| *period).collect::<Vec<_>>();
        assert!(periods.windows(2).all(|pair| pair[0] <= pair[1]), "{periods:?}");
    }

    fn removals(&mut self, list: &MediaPlaylist, shown: &Window, now: Instant) {
        let lasts = total(list);
        if let Some((before, _)) = &self.before {
            let gone = before.media_sequence..list.media_sequence;
            if !gone.is_empty() {
                let least = 3.0 * list.target_duration as f64;
                assert!(lasts >= least - 0.01, "{lasts} s are less than three targets");
            }
            for number in gone {
                let own = f64::from(self.known[&number].1.duration);
                let stays = own + self.longest[&number];
                self.removed.push(Removed { number, until: now + Duration::from_secs_f64(stays) });
            }
        }
        for at in 0..list.segments.len() as u64 {
            let longest = self.longest.entry(list.media_sequence + at).or_default();
            *longest = longest.max(lasts);
        }
        self.removed.retain(|removed| removed.until > now + Duration::from_millis(50));
        for removed in &self.removed {
            assert!(shown.segment(removed.number).is_some(), "{} left too early", removed.number);
        }
    }
}

/// What may change from one list to the next.
fn follows(before: &MediaPlaylist, list: &MediaPlaylist) {
    assert_eq!(before.target_duration, list.target_duration, "it never changes");
    assert!(before.media_sequence <= list.media_sequence, "numbers never go back");
    assert!(before.discontinuity_sequence <= list.discontinuity_sequence);
    assert!(!before.end_list, "nothing follows the end");
    assert!(before.independent_segments || !list.independent_segments, "withdrawn for good");
    let end = |list: &MediaPlaylist| list.media_sequence + list.segments.len() as u64;
    assert!(end(before) <= end(list), "what was listed last stays until others follow");
}

/// What is in the packets of a window.
fn bytes_of(log: &Log, list: &MediaPlaylist, shown: &Window) {
    assert!(shown.segments.windows(2).all(|pair| pair[0].number + 1 == pair[1].number));
    assert!(shown.segments.windows(2).all(|pair| pair[0].to == pair[1].from), "end to end");
    let listed = shown.segments.iter().filter(|kept| kept.number >= list.media_sequence);
    assert_eq!(listed.count(), list.segments.len(), "all that is listed is kept");
    let newest = shown.segments.last().unwrap();
    assert!(newest.to <= log.committed(), "every byte is published");
    let head = bytes(log, shown.segments[0].from, shown.segments[0].from + 188);
    assert_eq!(packets(&head).next().unwrap().pid, 0, "the oldest is there, from its tables on");
    let content = bytes(log, newest.from, newest.to);
    let mut of = packets(&content);
    assert_eq!(of.next().unwrap().pid, 0, "tables come first");
    let first = of.find(|packet| packet.pes.is_some_and(|pes| pes.is_video()));
    if list.independent_segments
        && let Some(picture) = first
    {
        assert!(picture.random_access, "pictures begin with a keyframe");
    }
}

/// What the list of renditions says.
fn renditions(list: &MediaPlaylist, shown: &Window) {
    let (_, master) = m3u8_rs::parse_master_playlist(shown.multivariant.body()).unwrap();
    let [variant] = master.variants.as_slice() else { panic!("{master:?}") };
    assert_eq!(variant.uri, "media.m3u8");
    assert!(variant.average_bandwidth.unwrap() <= variant.bandwidth);
    for kept in &shown.segments {
        let lasts = kept.duration.as_nanos() as f64 / 1e9;
        if lasts >= list.target_duration as f64 / 2.0 && lasts <= list.target_duration as f64 {
            let bps = (kept.to - kept.from) as f64 * 8.0 / lasts;
            assert!(bps <= variant.bandwidth as f64 + 1.0, "{bps} of {}", variant.bandwidth);
        }
    }
    assert!(variant.codecs.as_ref().is_some_and(|codecs| !codecs.is_empty()));
}
