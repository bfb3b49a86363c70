//! Timed data: the payload of each PES packet as it is.

use super::carriage::DataFormat;
use super::sink::{OpenUnit, Sink};
use super::store::UnitStore;
use crate::time::MediaTime;

/// Gathers the packets of one track.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataPackets {
    format: DataFormat,
    time: Option<MediaTime>,
    time_base: u32,
    unit: OpenUnit,
    is_open: bool,
}

impl DataPackets {
    pub(super) const fn new(format: DataFormat) -> Self {
        Self { format, time: None, time_base: 0, unit: OpenUnit::new(), is_open: false }
    }

    /// A PES packet begins.
    pub(super) const fn begin_pes(&mut self, time: Option<MediaTime>, time_base: u32) {
        (self.time, self.time_base, self.is_open) = (time, time_base, true);
    }

    /// Takes its payload.
    pub(super) fn payload<S: UnitStore>(&mut self, bytes: &[u8], sink: &mut Sink<'_, S>) {
        if self.is_open {
            self.unit.append(bytes, sink);
        }
    }

    /// It is over.
    pub(super) fn end_pes<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        if !core::mem::take(&mut self.is_open) || !self.unit.end() {
            return;
        }
        match self.time {
            Some(pts) => sink.give_data(self.format, pts, self.time_base),
            None => {
                sink.counters.units_without_time += 1;
                sink.abort();
            }
        }
    }

    /// Packets are missing here.
    pub(super) fn lose<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        sink.counters.units_damaged += u64::from(core::mem::take(&mut self.is_open));
        self.unit.abort(sink);
    }
}
