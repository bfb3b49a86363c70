//! The recent access units of one stream: what a format that nobody used yet is packaged from.

use std::collections::VecDeque;

use codecs::media::TrackKind;
use codecs::time::MediaTime;

use super::packaged::AUDIO_JOIN_STEP;
use crate::session::{AccessUnit, TrackId};
use crate::slab::{AuBytes, AuWriter, PageClass, Pool};

/// Access units of one stream at most: small ones would otherwise be many within `bytes_max`.
const UNITS_MAX: usize = 65_536;

/// The newest pictures of one track.
#[derive(Debug)]
struct Pictures {
    track: TrackId,
    /// Number of the newest keyframe; `None` once nobody joins there any more.
    keyframe: Option<u64>,
    newest: MediaTime,
}

/// Access units in decode order, bounded in bytes, number and time.
///
/// Lives on: the home shard. Crosses by: never.
/// Limits: `bytes_max`; 65536 units; `retain` before the newest unit, but at least the newest GOP
/// of every track.
#[derive(Debug)]
pub struct UnitRing {
    units: VecDeque<AccessUnit>,
    /// Number of the unit at the front, counted from the stream's first.
    first: u64,
    /// Every video track that ever delivered.
    pictures: Vec<Pictures>,
    bytes: u64,
    bytes_max: u64,
    retain: MediaTime,
}

/// A unit whose payload is in no page.
#[derive(Debug)]
pub(super) struct PackedUnit {
    /// Without its payload.
    unit: AccessUnit,
    payload: Vec<u8>,
}

impl UnitRing {
    /// An empty ring.
    #[must_use]
    pub const fn new(bytes_max: u64, retain: MediaTime) -> Self {
        Self { units: VecDeque::new(), first: 0, pictures: Vec::new(), bytes: 0, bytes_max, retain }
    }

    /// Appends a unit and drops those that are too old or too many.
    pub fn push(&mut self, unit: AccessUnit, pool: &Pool) {
        let newest = unit.dts;
        if unit.codec.kind() == TrackKind::Video {
            self.picture(unit.track, unit.keyframe, newest);
        }
        for pictures in &mut self.pictures {
            if newest - pictures.newest > self.retain {
                // Nobody joins there any more, and it would keep all that follows.
                pictures.keyframe = None;
            }
        }
        self.bytes += unit.payload.len() as u64;
        self.units.push_back(unit);
        while self.front_is_spent(newest) {
            self.pop(pool);
        }
    }

    /// The number of the oldest unit that is kept.
    #[must_use]
    pub const fn first_number(&self) -> u64 {
        self.first
    }

    /// The number that the next unit gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// Nobody joins at a keyframe that is here.
    pub fn forget_keyframes(&mut self) {
        self.pictures.iter_mut().for_each(|pictures| pictures.keyframe = None);
    }

    /// Number of the newest keyframe of a video track that is kept.
    #[must_use]
    pub fn newest_keyframe(&self, track: TrackId) -> Option<u64> {
        self.pictures_of(track)?.keyframe.filter(|&number| number >= self.first)
    }

    /// True if pictures of a track came, but none for as long as units are kept.
    #[must_use]
    pub fn pictures_stalled(&self, track: TrackId, now: MediaTime) -> bool {
        self.pictures_of(track).is_some_and(|pictures| now - pictures.newest > self.retain)
    }

    fn pictures_of(&self, track: TrackId) -> Option<&Pictures> {
        self.pictures.iter().find(|pictures| pictures.track == track)
    }

    fn picture(&mut self, track: TrackId, keyframe: bool, newest: MediaTime) {
        let keyframe = keyframe.then(|| self.next_number());
        match self.pictures.iter_mut().find(|pictures| pictures.track == track) {
            Some(pictures) => {
                pictures.newest = newest;
                pictures.keyframe = keyframe.or(pictures.keyframe);
            }
            None => self.pictures.push(Pictures { track, keyframe, newest }),
        }
    }

    /// Number of the first unit of a newest GOP, whatever the track.
    fn newest_gops(&self) -> Option<u64> {
        let keyframes = self.pictures.iter().filter_map(|pictures| pictures.keyframe);
        keyframes.filter(|&number| number >= self.first).min()
    }

    /// Number of the first unit that is decoded at `since` or later.
    #[must_use]
    pub fn first_since(&self, since: MediaTime) -> u64 {
        self.first + self.units.partition_point(|unit| unit.dts < since) as u64
    }

    /// The units from `number` on.
    pub fn from(&self, number: u64) -> impl Iterator<Item = &AccessUnit> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.units.iter().skip(skip)
    }

    /// Bytes of payload held.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the table of units.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.units.capacity() * size_of::<AccessUnit>()
    }

    /// Drops everything.
    pub fn clear(&mut self, pool: &Pool) {
        while !self.units.is_empty() {
            self.pop(pool);
        }
        self.units = VecDeque::new();
    }

    /// Takes out what a log would be filled from, if it is no more than `bytes_max`, and drops the
    /// rest; the numbers go on.
    pub(super) fn pack(&mut self, bytes_max: u64, pool: &Pool) -> Vec<PackedUnit> {
        let newest = self.units.back().map_or(MediaTime::ZERO, |unit| unit.dts);
        let recent = || self.first_since(newest - AUDIO_JOIN_STEP);
        let from = self.newest_gops().unwrap_or_else(recent);
        while self.first < from {
            self.pop(pool);
        }
        if self.bytes > bytes_max {
            self.clear(pool);
        }
        let packed = self.units.drain(..).map(|mut unit| {
            let bytes = std::mem::replace(&mut unit.payload, AuBytes::EMPTY);
            let mut payload = Vec::with_capacity(bytes.len());
            // COPY(move): the newest GOP leaves the pages of this shard.
            pool.chunks(&bytes).for_each(|chunk| payload.extend_from_slice(chunk));
            pool.release(bytes);
            PackedUnit { unit, payload }
        });
        let packed = packed.collect();
        self.bytes = 0;
        packed
    }

    /// Puts back what was packed, in the pages of `pool`: all of it or, where it has no room,
    /// nothing.
    pub(super) fn unpack(&mut self, packed: Vec<PackedUnit>, pool: &Pool) {
        debug_assert!(self.units.is_empty(), "nothing was pushed on the way");
        let mut left = packed.len() as u64;
        let mut writers = [AuWriter::new(), AuWriter::new()];
        for PackedUnit { mut unit, payload } in packed {
            let (writer, class) = match unit.codec.kind() {
                TrackKind::Video => (&mut writers[0], PageClass::Large),
                TrackKind::Audio | TrackKind::Data => (&mut writers[1], PageClass::Small),
            };
            // COPY(move): and enters those of its new home.
            if writer.append(pool, class, &payload).is_err() {
                self.clear(pool);
                break;
            }
            unit.payload = writer.finish(pool);
            self.bytes += payload.len() as u64;
            self.units.push_back(unit);
            left -= 1;
        }
        writers.into_iter().for_each(|writer| writer.close(pool));
        // What found no room is as if it had been dropped for its age.
        self.first += left;
    }

    /// Drops what lies before the newest GOP, or the older half where there is none: the answer to
    /// an exhausted pool. True if there was anything.
    pub fn shrink(&mut self, pool: &Pool) -> bool {
        let half = self.first + self.units.len().div_ceil(2) as u64;
        let (first, until) = (self.first, self.newest_gops().unwrap_or(half));
        while self.first < until {
            self.pop(pool);
        }
        self.first > first
    }

    fn front_is_spent(&self, newest: MediaTime) -> bool {
        let Some(front) = self.units.front() else { return false };
        let before_gop = self.newest_gops().is_none_or(|keyframe| self.first < keyframe);
        let full = self.bytes > self.bytes_max || self.units.len() > UNITS_MAX;
        full || (before_gop && newest - front.dts > self.retain)
    }

    fn pop(&mut self, pool: &Pool) {
        if let Some(unit) = self.units.pop_front() {
            self.first += 1;
            self.bytes -= unit.payload.len() as u64;
            pool.release(unit.payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use codecs::media::Codec;

    use super::*;
    use crate::slab::{AuBytes, Region, RegionConfig};

    fn pool() -> Pool {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 1,
            small_pages_per_shard: 1,
            poison: true,
        };
        Region::map(&config).unwrap().1.remove(0)
    }

    fn unit(codec: Codec, ms: i64, keyframe: bool) -> AccessUnit {
        AccessUnit {
            track: 0,
            codec,
            dts: MediaTime::from_millis(ms),
            cts: MediaTime::ZERO,
            keyframe,
            payload: AuBytes::EMPTY,
        }
    }

    #[test]
    fn sound_after_the_last_picture_is_bounded_by_time() {
        let pool = pool();
        let mut ring = UnitRing::new(1 << 20, MediaTime::from_millis(1_000));
        ring.push(unit(Codec::H264, 0, true), &pool);
        for number in 0..1_000 {
            ring.push(unit(Codec::Aac, number * 20, true), &pool);
        }
        assert_eq!(ring.newest_keyframe(0), None);
        assert_eq!(ring.from(0).count(), 51);
    }

    #[test]
    fn every_track_keeps_its_newest_gop() {
        let pool = pool();
        let mut ring = UnitRing::new(1 << 20, MediaTime::from_millis(1_000));
        for number in 0..500 {
            ring.push(unit(Codec::H264, number * 40, number % 25 == 0), &pool);
            let other = unit(Codec::Hevc, number * 40, number % 100 == 0);
            ring.push(AccessUnit { track: 1, ..other }, &pool);
        }
        let oldest = ring.from(0).next().map(|unit| unit.dts);
        assert_eq!(oldest, Some(MediaTime::from_millis(400 * 40)), "the longer GOP is kept");
        assert_eq!((ring.newest_keyframe(0), ring.newest_keyframe(1)), (Some(950), Some(801)));
        assert_eq!(ring.newest_keyframe(2), None);
        for number in 500..600 {
            ring.push(unit(Codec::H264, number * 40, number % 25 == 0), &pool);
        }
        assert_eq!(ring.newest_keyframe(1), None, "a track that stalls keeps nothing");
        assert!(ring.pictures_stalled(1, MediaTime::from_millis(600 * 40)));
        assert!(ring.from(0).count() < 30);
    }

    #[test]
    fn a_flood_of_tiny_units_is_bounded_by_their_number() {
        let pool = pool();
        let mut ring = UnitRing::new(1 << 20, MediaTime::from_millis(1_000));
        for number in 0..UNITS_MAX + 10 {
            ring.push(unit(Codec::H264, 0, number == 0), &pool);
        }
        assert_eq!(ring.next_number(), UNITS_MAX as u64 + 10);
        assert_eq!(ring.from(0).count(), UNITS_MAX);
        assert_eq!(ring.newest_keyframe(0), None, "its keyframe is gone");
    }
}
