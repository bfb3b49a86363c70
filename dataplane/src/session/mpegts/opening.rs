//! What a publisher sends first is held until each of its tracks has spoken, so that all of them
//! are told before the first unit: a configuration that comes later begins a new version of the
//! stream, which nobody joins before its next keyframe.
//!
//! Limits: [`UNITS_MAX`], [`BYTES_MAX`] and [`WAIT_MAX`], of stream time and on the wall; then what
//! is held goes on as it is. A program that lists a stream which never sends anything costs each
//! publication the whole of that wait at its start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::media::TrackKind;
use codecs::time::MediaTime;

use crate::session::{Event, TrackId};
use crate::slab::Pool;

/// Events that are held at most.
const UNITS_MAX: usize = 512;
/// Bytes of units that are held at most.
const BYTES_MAX: usize = 4 << 20;
/// How long a track that says nothing is waited for.
const WAIT_MAX: Duration = Duration::from_millis(2_000);
/// The same on the line of time.
const SPAN_MAX: MediaTime = MediaTime::from_millis(2_000);

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Opening {
    held: VecDeque<Event>,
    bytes: usize,
    first: Option<(MediaTime, Instant)>,
    is_over: bool,
}

impl Opening {
    /// Holds an event.
    pub(super) fn hold(&mut self, event: Event, now: Instant) {
        if let Event::Media(unit) = &event {
            self.bytes += unit.payload.len();
            let (first, since) = *self.first.get_or_insert((unit.dts, now));
            let waited = now.saturating_duration_since(since);
            self.is_over |= (unit.dts - first).abs() >= SPAN_MAX || waited >= WAIT_MAX;
        }
        self.held.push_back(event);
        self.is_over |= self.held.len() >= UNITS_MAX || self.bytes >= BYTES_MAX;
    }

    /// True if nothing more can be held.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What was held: the first configuration of each track, then all the rest.
    pub(super) fn release(self, events: &mut VecDeque<Event>) {
        let mut seen: Vec<(TrackKind, TrackId)> = Vec::new();
        let mut rest = VecDeque::with_capacity(self.held.len());
        for event in self.held {
            match &event {
                Event::Config { track, codec, .. } if !seen.contains(&(codec.kind(), *track)) => {
                    seen.push((codec.kind(), *track));
                    events.push_back(event);
                }
                _ => rest.push_back(event),
            }
        }
        events.append(&mut rest);
    }

    /// True if nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The time of the first unit.
    pub(super) fn began(&self) -> Option<MediaTime> {
        self.first.map(|(dts, _)| dts)
    }

    /// No page is left for more.
    pub(super) const fn give_up(&mut self) {
        self.is_over = true;
    }

    /// Drops the units that are held, and gives their pages back.
    pub(super) fn drop_units(&mut self, pool: &Pool) {
        self.bytes = 0;
        for event in std::mem::take(&mut self.held) {
            match event {
                Event::Media(unit) => pool.release(unit.payload),
                event => self.held.push_back(event),
            }
        }
    }

    /// Bytes beside pages.
    pub(super) fn buffer_bytes(&self) -> usize {
        let records = self.held.iter().map(|event| match event {
            Event::Config { record, .. } => record.capacity(),
            _ => 0,
        });
        self.held.capacity() * size_of::<Event>() + records.sum::<usize>()
    }
}
