//! The tracks of a program that are carried, and their numbers within their kinds.
//!
//! A track has the lowest number of its kind that is free when its program map lists it, so that
//! what takes another one's place has its number too. Streams of the program that cannot be
//! carried, or are too many, are told once in the log, with their PIDs and types.
//!
//! Limits: `tracks_max` at one time, and as many that ended; [`TOLD_MAX`] lines of the log.

use codecs::media::{DecoderConfig, TrackKind};
use codecs::mpegts::demux::programs::Program;
use codecs::mpegts::demux::{Carriage, Track as Listed, TrackSlot};

use super::time_line::Pulse;
use crate::session::TrackId;

/// Streams of programs that the log tells of at most.
const TOLD_MAX: usize = 64;

/// What is known of a track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: TrackKind,
    pub(super) id: TrackId,
    /// The program that it belongs to.
    pub(super) program: u16,
    pub(super) pulse: Option<Pulse>,
    /// The configuration that its next unit begins with.
    pub(super) config: Option<Box<DecoderConfig>>,
    /// Why its pictures up to the next keyframe are dropped, if they are.
    pub(super) awaits_keyframe: Option<&'static str>,
    /// A unit of it was told.
    pub(super) has_spoken: bool,
}

/// The tracks by their places in the demultiplexer.
#[derive(Debug)]
pub(super) struct Tracks {
    slots: Vec<Option<Track>>,
    max: u64,
    /// Those that ended and were not told, unless others took their numbers.
    ended: Vec<(TrackKind, TrackId)>,
    /// The PIDs and types that the log told of.
    told: Vec<(u16, u8)>,
}

impl Tracks {
    pub(super) const fn new(max: u64) -> Self {
        Self { slots: Vec::new(), max, ended: Vec::new(), told: Vec::new() }
    }

    /// Tracks that begin from now on are so many at most.
    pub(super) const fn limit(&mut self, max: u64) {
        self.max = max;
    }

    /// A track is listed; its kind if it is carried.
    pub(super) fn begin(&mut self, listed: &Listed, program: u16) -> Option<TrackKind> {
        let kind = listed.carriage.kind();
        let (pid, stream_type) = (listed.pid.get(), listed.stream_type);
        if kind == TrackKind::Data {
            self.tell_left_out(pid, stream_type, Some(listed.carriage), "data");
            return None;
        }
        let id = self.free_number(kind);
        let Some(id) = id.filter(|_| (self.slots.iter().flatten().count() as u64) < self.max)
        else {
            self.tell_left_out(pid, stream_type, Some(listed.carriage), "tracks_max");
            return None;
        };
        if self.is_news(pid, stream_type) {
            let carriage = listed.carriage;
            tracing::info!(pid, stream_type, ?carriage, ?kind, track = id, program, "track");
        }
        let track = Track {
            kind,
            id,
            program,
            pulse: None,
            config: None,
            awaits_keyframe: (kind == TrackKind::Video).then_some("before_keyframe"),
            has_spoken: false,
        };
        self.ended.retain(|&ended| ended != (kind, id));
        let at = listed.slot.index();
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(track);
        Some(kind)
    }

    /// A track is listed no more; what was known of it, if it was carried.
    pub(super) fn end(&mut self, slot: TrackSlot) -> Option<Track> {
        let track = self.slots.get_mut(slot.index())?.take()?;
        let (kind, id) = (track.kind, track.id);
        if track.has_spoken && !self.ended.contains(&(kind, id)) {
            // Bounded by the numbers that were given at one time.
            self.ended.push((kind, id));
        }
        Some(track)
    }

    /// A track that ended, once.
    pub(super) fn take_ended(&mut self) -> Option<(TrackKind, TrackId)> {
        self.ended.pop()
    }

    /// The track of a place, if it is carried.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Track> {
        self.slots.get_mut(at)?.as_mut()
    }

    /// The tracks that are carried.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        self.slots.iter_mut().flatten()
    }

    /// True if each has told a unit.
    pub(super) fn have_all_spoken(&self) -> bool {
        self.slots.iter().flatten().all(|track| track.has_spoken)
    }

    /// The tables said something new: what cannot be read is told.
    pub(super) fn look_at(&mut self, program: &Program) {
        for stream in program.streams.iter().filter(|stream| stream.carriage.is_none()) {
            self.tell_left_out(stream.pid.get(), stream.stream_type, None, "unknown");
        }
    }

    /// Bytes of its tables.
    pub(super) fn buffer_bytes(&self) -> usize {
        let configs = self.slots.iter().flatten().filter_map(|track| track.config.as_ref());
        let configs = configs.map(|config| size_of::<DecoderConfig>() + config.record.capacity());
        let slots = self.slots.capacity() * size_of::<Option<Track>>();
        let ended = self.ended.capacity() * size_of::<(TrackKind, TrackId)>();
        slots + ended + self.told.capacity() * size_of::<(u16, u8)>() + configs.sum::<usize>()
    }

    fn free_number(&self, kind: TrackKind) -> Option<TrackId> {
        let is_taken = |id: TrackId| {
            self.slots.iter().flatten().any(|track| track.kind == kind && track.id == id)
        };
        (0..=TrackId::MAX).find(|&id| !is_taken(id))
    }

    fn tell_left_out(
        &mut self,
        pid: u16,
        stream_type: u8,
        carriage: Option<Carriage>,
        reason: &'static str,
    ) {
        if self.is_news(pid, stream_type) {
            tracing::info!(pid, stream_type, ?carriage, reason, "stream of the program left out");
        }
    }

    /// True once for each stream, as long as there is room.
    fn is_news(&mut self, pid: u16, stream_type: u8) -> bool {
        let is_news = self.told.len() < TOLD_MAX && !self.told.contains(&(pid, stream_type));
        if is_news {
            self.told.push((pid, stream_type));
        }
        is_news
    }
}
