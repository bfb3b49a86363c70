//! The recent access units of one stream: what a format that nobody used yet is packaged from.

use std::collections::VecDeque;

use codecs::media::TrackKind;
use codecs::time::MediaTime;

use crate::session::AccessUnit;
use crate::slab::Pool;

/// Access units in decode order, bounded in bytes and time.
///
/// Lives on: the home shard. Crosses by: never.
/// Limits: `bytes_max`; `retain` before the newest unit, but at least the newest GOP.
#[derive(Debug)]
pub struct UnitRing {
    units: VecDeque<AccessUnit>,
    /// Number of the unit at the front, counted from the stream's first.
    first: u64,
    newest_keyframe: Option<u64>,
    bytes: u64,
    bytes_max: u64,
    retain: MediaTime,
}

impl UnitRing {
    /// An empty ring.
    #[must_use]
    pub const fn new(bytes_max: u64, retain: MediaTime) -> Self {
        Self {
            units: VecDeque::new(),
            first: 0,
            newest_keyframe: None,
            bytes: 0,
            bytes_max,
            retain,
        }
    }

    /// Appends a unit and drops those that are too old or too many.
    pub fn push(&mut self, unit: AccessUnit, pool: &Pool) {
        if unit.keyframe && unit.codec.kind() == TrackKind::Video {
            self.newest_keyframe = Some(self.next_number());
        }
        let newest = unit.dts;
        self.bytes += unit.payload.len() as u64;
        self.units.push_back(unit);
        while self.front_is_spent(newest) {
            self.pop(pool);
        }
    }

    /// The number that the next unit gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// Number of the newest video keyframe that is kept.
    #[must_use]
    pub fn newest_keyframe(&self) -> Option<u64> {
        self.newest_keyframe.filter(|&number| number >= self.first)
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

    /// Drops everything.
    pub fn clear(&mut self, pool: &Pool) {
        while !self.units.is_empty() {
            self.pop(pool);
        }
    }

    /// Drops the older half: the answer to an exhausted pool.
    pub fn shrink(&mut self, pool: &Pool) {
        for _ in 0..self.units.len().div_ceil(2) {
            self.pop(pool);
        }
    }

    fn front_is_spent(&self, newest: MediaTime) -> bool {
        let Some(front) = self.units.front() else { return false };
        let before_gop = self.newest_keyframe().is_none_or(|keyframe| self.first < keyframe);
        self.bytes > self.bytes_max || (before_gop && newest - front.dts > self.retain)
    }

    fn pop(&mut self, pool: &Pool) {
        if let Some(unit) = self.units.pop_front() {
            self.first += 1;
            self.bytes -= unit.payload.len() as u64;
            pool.release(unit.payload);
        }
    }
}
