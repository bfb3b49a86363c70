//! What a demultiplexer dropped, named for the shard one unit after the other.

use codecs::mpegts::demux::Counters;

/// The units that were told. Limits: none waits here; they are told as they are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    told: Counters,
    /// Units dropped for want of pages, which their owner tells.
    starved: u64,
}

impl Losses {
    /// So many units were dropped for want of pages, and that was told.
    pub(super) fn starved(&mut self, units: u32) {
        self.starved += u64::from(units);
    }

    /// The reason of the next unit that was dropped and not told.
    pub(super) fn next(&mut self, found: &Counters) -> Option<&'static str> {
        let Self { told, starved } = self;
        // The rest were over the bytes that may be open.
        let bounded = found.units_without_room.saturating_sub(*starved);
        let pairs = [
            (&mut told.units_damaged, found.units_damaged, "packet_loss"),
            (&mut told.units_too_large, found.units_too_large, "unit_bytes"),
            (&mut told.units_without_room, bounded, "open_bytes"),
            (&mut told.units_without_config, found.units_without_config, "no_config"),
            (&mut told.units_without_time, found.units_without_time, "no_time"),
            (&mut told.units_unreadable, found.units_unreadable, "unreadable"),
        ];
        pairs.into_iter().find_map(|(told, found, reason)| {
            (*told < found).then(|| {
                *told += 1;
                reason
            })
        })
    }
}
