//! Where the assembler of a track puts what it makes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::carriage::DataFormat;
use super::event::{Counters, DataUnit, Event, MediaUnit};
use super::settings::{DamagedUnits, Settings, TRACKS_MAX};
use super::store::{NoRoom, TrackSlot, UnitStore};
use crate::media::DecoderConfig;
use crate::time::MediaTime;

/// The bytes of the units that are open, of all tracks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenBytes {
    tracks: [usize; TRACKS_MAX],
    sum: usize,
}

impl OpenBytes {
    /// Adds bytes of a track, if that many may be open.
    fn add(&mut self, track: TrackSlot, count: usize, max: usize) -> Result<(), NoRoom> {
        let place = self.tracks.get_mut(track.index()).ok_or(NoRoom)?;
        if count > max.saturating_sub(self.sum) {
            return Err(NoRoom);
        }
        *place += count;
        self.sum += count;
        Ok(())
    }

    /// A track has nothing open any more.
    fn close(&mut self, track: TrackSlot) {
        if let Some(place) = self.tracks.get_mut(track.index()) {
            self.sum -= core::mem::take(place);
        }
    }
}

/// The way out for one track.
pub(super) struct Sink<'a, S: UnitStore> {
    pub(super) track: TrackSlot,
    pub(super) settings: &'a Settings,
    pub(super) store: &'a mut S,
    pub(super) open: &'a mut OpenBytes,
    pub(super) events: &'a mut VecDeque<Event<S::Unit>>,
    pub(super) counters: &'a mut Counters,
}

impl<S: UnitStore> Sink<'_, S> {
    /// Units that miss packets are given out.
    pub(super) fn keeps_damaged(&self) -> bool {
        self.settings.damaged_units == DamagedUnits::Keep
    }

    pub(super) fn configure(&mut self, config: DecoderConfig) {
        self.events.push_back(Event::Config { track: self.track, config: Box::new(config) });
    }

    /// Adds bytes to the open unit.
    fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.open.add(self.track, bytes.len(), self.settings.open_bytes_max)?;
        self.store.append(self.track, bytes)
    }

    fn finish(&mut self) -> S::Unit {
        self.open.close(self.track);
        self.store.finish(self.track)
    }

    /// Forgets the open unit.
    pub(super) fn abort(&mut self) {
        self.open.close(self.track);
        self.store.abort(self.track);
    }

    /// Ends the open unit and gives it out.
    pub(super) fn give(&mut self, unit: MediaUnit<()>) {
        let bytes = self.finish();
        self.counters.units += 1;
        self.counters.units_estimated += u64::from(unit.estimated);
        self.events.push_back(Event::Unit(MediaUnit {
            track: unit.track,
            codec: unit.codec,
            dts: unit.dts,
            pts: unit.pts,
            time_base: unit.time_base,
            keyframe: unit.keyframe,
            damaged: unit.damaged,
            after_gap: unit.after_gap,
            estimated: unit.estimated,
            bytes,
        }));
    }

    /// Ends the open unit and gives it out as data.
    pub(super) fn give_data(&mut self, format: DataFormat, pts: MediaTime, time_base: u32) {
        let bytes = self.finish();
        self.counters.data_units += 1;
        let track = self.track;
        self.events.push_back(Event::Data(DataUnit { track, format, pts, time_base, bytes }));
    }
}

/// The unit that is being gathered: its length, or that the rest of it is passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenUnit {
    len: usize,
    is_dropped: bool,
}

impl OpenUnit {
    pub(super) const fn new() -> Self {
        Self { len: 0, is_dropped: false }
    }

    pub(super) const fn len(self) -> usize {
        self.len
    }

    /// Nothing of it is kept, and nothing more is.
    pub(super) fn drop_rest<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        sink.abort();
        *self = Self { len: 0, is_dropped: true };
    }

    /// Adds bytes, if the unit may have them.
    pub(super) fn append<S: UnitStore>(&mut self, bytes: &[u8], sink: &mut Sink<'_, S>) {
        if self.is_dropped {
            return;
        }
        if bytes.len() > sink.settings.unit_bytes_max - self.len {
            sink.counters.units_too_large += 1;
            self.drop_rest(sink);
        } else if let Err(NoRoom) = sink.append(bytes) {
            sink.counters.units_without_room += 1;
            self.drop_rest(sink);
        } else {
            self.len += bytes.len();
        }
    }

    /// Writes over the length of a NAL unit.
    pub(super) fn set_length<S: UnitStore>(&self, at: usize, sink: &mut Sink<'_, S>) {
        let Some(len) = self.len.checked_sub(at + 4).filter(|_| !self.is_dropped) else { return };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        sink.store.overwrite(sink.track, at, len.to_be_bytes());
    }

    /// The unit is over; true if it is whole and in the store.
    pub(super) fn end(&mut self) -> bool {
        let unit = core::mem::take(self);
        !unit.is_dropped && unit.len > 0
    }

    /// Forgets what is open.
    pub(super) fn abort<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        sink.abort();
        *self = Self::default();
    }
}
