//! The list: which segments one log holds, which of them playlists list, how long the others stay.
//!
//! ```text
//!   ...dropped | kept: asked for by those who have an older playlist | listed         | open
//!              ^ hold_from: nothing behind it leaves the log          ^ first listed
//! ```
//!
//! Spec: RFC 8216 6.2.2. A list is no shorter than three target durations when a segment leaves it,
//! and a segment that left stays for its own duration and that of the longest list it was in.
//! Limits: [`SEGMENTS_MAX`]; the bytes are those of the log: what the log loses, the list loses.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::time::MediaTime;

use super::Segment;
use crate::config::HlsConfig;

/// Segments of one log at most: 40 s where each lasts no longer than a third of a second.
pub const SEGMENTS_MAX: usize = 128;

/// What decides how long the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListTerms {
    /// Segments that are listed at least.
    pub listed: usize,
    /// Segments that are kept at least, once they were there.
    pub kept: usize,
}

impl From<&HlsConfig> for ListTerms {
    fn from(config: &HlsConfig) -> Self {
        Self { listed: config.listed.max(1) as usize, kept: config.kept as usize }
    }
}

/// A finished segment and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) segment: Segment,
    pub(super) from: u64,
    pub(super) to: u64,
    /// When a playlist without it took the place of one with it.
    unlisted: Option<Instant>,
    /// The longest playlist that it was in.
    longest_list: MediaTime,
}

/// The segments of one log. Lives on: the home shard. Crosses by: never, but as a window.
#[derive(Debug)]
pub struct SegmentList {
    terms: ListTerms,
    kept: VecDeque<Kept>,
    /// How many at the front are listed no longer.
    unlisted: usize,
    /// The number and the offset of the segment that units go to.
    open: Option<(u64, u64)>,
    /// It changed since it was settled last.
    changed: bool,
    ended: bool,
}

impl SegmentList {
    /// Nothing in it.
    #[must_use]
    pub fn new(terms: ListTerms) -> Self {
        let (kept, open) = (VecDeque::new(), None);
        Self { terms, kept, unlisted: 0, open, changed: false, ended: false }
    }

    /// The segment `number` begins at the offset `at`; `finished` ended there.
    pub fn begin(&mut self, number: u64, at: u64, finished: Option<&Segment>) {
        self.finish(at, finished);
        self.open = Some((number, at));
    }

    /// The stream ended at the offset `at`; said once more, it changes nothing.
    pub fn end(&mut self, at: u64, finished: Option<&Segment>) {
        if self.ended {
            return;
        }
        self.finish(at, finished);
        self.open = None;
        (self.ended, self.changed) = (true, true);
    }

    fn finish(&mut self, at: u64, finished: Option<&Segment>) {
        let (Some((number, from)), Some(segment)) = (self.open.take(), finished) else { return };
        // Units may have been lost for want of memory: a segment without a byte is none.
        if segment.number != number || from == at {
            return;
        }
        if self.kept.len() == SEGMENTS_MAX {
            self.kept.pop_front();
            self.unlisted = self.unlisted.saturating_sub(1);
        }
        let (unlisted, longest_list) = (None, MediaTime::ZERO);
        self.kept.push_back(Kept { segment: *segment, from, to: at, unlisted, longest_list });
        self.changed = true;
    }

    /// Everything before the offset `tail` is gone.
    pub fn lose_before(&mut self, tail: u64) {
        while self.kept.front().is_some_and(|kept| kept.from < tail) {
            self.kept.pop_front();
            self.changed = true;
            self.unlisted = self.unlisted.saturating_sub(1);
        }
        if self.open.is_some_and(|(_, from)| from < tail) {
            self.open = None;
        }
    }

    /// Decides what the next playlist lists and what is dropped.
    pub fn settle(&mut self, target_s: u32, now: Instant) {
        self.changed = false;
        let three_targets = MediaTime::from_millis(i64::from(target_s) * 3_000);
        let mut total =
            self.listed().fold(MediaTime::ZERO, |sum, kept| sum + kept.segment.duration);
        while self.kept.len() - self.unlisted > self.terms.listed {
            let oldest = &mut self.kept[self.unlisted];
            if total - oldest.segment.duration < three_targets {
                break;
            }
            total = total - oldest.segment.duration;
            oldest.unlisted = Some(now);
            self.unlisted += 1;
        }
        for kept in self.kept.range_mut(self.unlisted..) {
            kept.longest_list = kept.longest_list.max(total);
        }
        while self.unlisted > 0 && self.kept.len() > self.terms.kept {
            let oldest = self.kept.front().expect("what is unlisted is kept");
            let stays = duration(oldest.segment.duration) + duration(oldest.longest_list);
            if oldest.unlisted.is_some_and(|since| now.saturating_duration_since(since) < stays) {
                break;
            }
            self.kept.pop_front();
            self.unlisted -= 1;
        }
    }

    /// The first offset that is still needed, the open segment's at last.
    #[must_use]
    pub fn hold_from(&self) -> Option<u64> {
        self.kept.front().map(|kept| kept.from).or(self.open.map(|(_, from)| from))
    }

    /// The offset from which on memory is kept to the last: the newest finished segment.
    #[must_use]
    pub fn newest_from(&self) -> Option<u64> {
        self.kept.back().map(|kept| kept.from)
    }

    /// True if what is listed or kept changed since it was settled.
    #[must_use]
    pub const fn has_changed(&self) -> bool {
        self.changed
    }

    /// True if no segment will follow.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// The segments that playlists list.
    pub fn listed_segments(&self) -> impl Iterator<Item = &Segment> {
        self.listed().map(|kept| &kept.segment)
    }

    pub(super) fn listed(&self) -> impl Iterator<Item = &Kept> {
        self.kept.range(self.unlisted..)
    }

    pub(super) fn kept(&self) -> impl ExactSizeIterator<Item = &Kept> {
        self.kept.iter()
    }
}

impl Kept {
    pub(super) const fn bits(&self) -> u64 {
        (self.to - self.from) * 8
    }
}

fn duration(time: MediaTime) -> Duration {
    Duration::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(0))
}
