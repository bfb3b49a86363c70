//! The units that are open, in slab pages: one writer for each track that is carried.
//!
//! In/Out: a payload is copied once, from its transport packets to here. What belongs to a track
//! that is not carried goes nowhere, and its units are empty.
//! Errors: a unit for which no page was left is dropped, and counted for its track until that was
//! asked for.
//! Limits: the bytes of open units are the demultiplexer's to bound; beside them each track holds
//! the page that it fills.

use codecs::media::TrackKind;
use codecs::mpegts::demux::{NoRoom, TRACKS_MAX, TrackSlot, UnitStore};

use crate::slab::{AuBytes, AuWriter, Exhausted, PageClass, Pool};

/// Where the open unit of a track is.
#[derive(Debug, Default)]
enum Place {
    /// The track is not carried.
    #[default]
    Nowhere,
    Pages(AuWriter),
    /// On its way to the pages of another shard.
    Packed(Vec<u8>),
}

/// One track.
#[derive(Debug)]
struct OpenUnit {
    class: PageClass,
    place: Place,
    /// Units of it that were dropped for want of pages, and not asked for.
    starved: u32,
}

impl OpenUnit {
    const fn new() -> Self {
        Self { class: PageClass::Large, place: Place::Nowhere, starved: 0 }
    }

    /// The writer, with what was packed in its pages.
    fn writer(&mut self, pool: &Pool) -> Result<Option<&mut AuWriter>, Exhausted> {
        if let Place::Packed(bytes) = &mut self.place {
            let bytes = std::mem::take(bytes);
            self.place = Place::Pages(AuWriter::new());
            self.append(pool, &bytes)?;
        }
        match &mut self.place {
            Place::Pages(writer) => Ok(Some(writer)),
            Place::Nowhere | Place::Packed(_) => Ok(None),
        }
    }

    fn append(&mut self, pool: &Pool, bytes: &[u8]) -> Result<(), Exhausted> {
        let class = self.class;
        let Some(writer) = self.writer(pool)? else { return Ok(()) };
        let result = writer.append(pool, class, bytes);
        if result.is_err() {
            writer.abort(pool);
            self.starved = self.starved.saturating_add(1);
        }
        result
    }

    fn close(&mut self, pool: &Pool) {
        if let Place::Pages(writer) = std::mem::take(&mut self.place) {
            writer.close(pool);
        }
    }
}

/// The open units of all tracks. Lives on: the shard of its pool. Crosses by: packed.
#[derive(Debug, Default)]
pub(super) struct UnitPages {
    tracks: Vec<OpenUnit>,
}

impl UnitPages {
    /// The units of a track are kept from now on.
    pub(super) fn begin(&mut self, track: TrackSlot, kind: TrackKind) {
        let class = if kind == TrackKind::Video { PageClass::Large } else { PageClass::Small };
        if let Some(unit) = self.track(track) {
            (unit.class, unit.starved) = (class, 0);
            unit.place = Place::Pages(AuWriter::new());
        }
    }

    /// They are not any more.
    pub(super) fn end(&mut self, track: TrackSlot, pool: &Pool) {
        if let Some(unit) = self.tracks.get_mut(track.index()) {
            unit.close(pool);
        }
    }

    /// A track that lost units for want of pages since this was asked before, and how many.
    pub(super) fn take_starved(&mut self) -> Option<(usize, u32)> {
        let at = self.tracks.iter().position(|unit| unit.starved > 0)?;
        Some((at, std::mem::take(&mut self.tracks[at].starved)))
    }

    /// The demultiplexer's way here.
    pub(super) const fn store<'a>(&'a mut self, pool: &'a Pool) -> Store<'a> {
        Store { pages: self, pool }
    }

    /// Takes what is open out of the pages of this shard.
    pub(super) fn pack(&mut self, pool: &Pool) {
        for unit in &mut self.tracks {
            if let Place::Pages(writer) = &unit.place {
                let mut bytes = Vec::with_capacity(writer.len());
                // COPY(move): a unit in the making leaves the pages of this shard.
                pool.chunks(writer.open()).for_each(|chunk| bytes.extend_from_slice(chunk));
                unit.close(pool);
                unit.place = Place::Packed(bytes);
            }
        }
    }

    /// Gives every page back.
    pub(super) fn close(&mut self, pool: &Pool) {
        self.tracks.drain(..).for_each(|mut unit| unit.close(pool));
    }

    /// Bytes beside pages.
    pub(super) fn buffer_bytes(&self) -> usize {
        let packed = |unit: &OpenUnit| match &unit.place {
            Place::Packed(bytes) => bytes.capacity(),
            Place::Nowhere | Place::Pages(_) => 0,
        };
        self.tracks.capacity() * size_of::<OpenUnit>()
            + self.tracks.iter().map(packed).sum::<usize>()
    }

    fn track(&mut self, track: TrackSlot) -> Option<&mut OpenUnit> {
        if track.index() >= TRACKS_MAX {
            return None;
        }
        if self.tracks.len() <= track.index() {
            self.tracks.resize_with(track.index() + 1, OpenUnit::new);
        }
        self.tracks.get_mut(track.index())
    }
}

/// The open units, with the pool of the moment.
#[derive(Debug)]
pub(super) struct Store<'a> {
    pages: &'a mut UnitPages,
    pool: &'a Pool,
}

impl UnitStore for Store<'_> {
    type Unit = AuBytes;

    fn append(&mut self, track: TrackSlot, bytes: &[u8]) -> Result<(), NoRoom> {
        let Some(unit) = self.pages.tracks.get_mut(track.index()) else { return Ok(()) };
        // COPY(ingest): a piece of a frame, out of its transport packet.
        unit.append(self.pool, bytes).map_err(|Exhausted(_)| NoRoom)
    }

    fn overwrite(&mut self, track: TrackSlot, at: usize, bytes: [u8; 4]) {
        let Some(unit) = self.pages.tracks.get_mut(track.index()) else { return };
        match &mut unit.place {
            Place::Nowhere => {}
            Place::Pages(writer) => writer.overwrite(self.pool, at, bytes),
            Place::Packed(packed) => {
                let place = packed.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
                *place.expect("these bytes were appended before") = bytes;
            }
        }
    }

    fn finish(&mut self, track: TrackSlot) -> AuBytes {
        let unit = self.pages.tracks.get_mut(track.index());
        // A unit that was packed, and found no page again, is empty and counted.
        let writer = unit.and_then(|unit| unit.writer(self.pool).ok().flatten());
        writer.map_or(AuBytes::EMPTY, |writer| writer.finish(self.pool))
    }

    fn abort(&mut self, track: TrackSlot) {
        let Some(unit) = self.pages.tracks.get_mut(track.index()) else { return };
        match &mut unit.place {
            Place::Nowhere => {}
            Place::Pages(writer) => writer.abort(self.pool),
            Place::Packed(bytes) => bytes.clear(),
        }
    }
}
