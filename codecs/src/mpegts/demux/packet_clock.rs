//! The time at which packets that are sent on as they are were sent: one line that rises.
//!
//! Spec: ITU-T H.222.0 2.4.2.2.
//! Rules: the time is that of the program's clock, and between two references goes on with the pace
//! of packets between the last two. Decode times lie ahead of the clock, so they are no times of
//! packets; they tell how far it got where no reference came for [`STALL`], and are the line where
//! the program has no clock. It goes back where the clock does, and nowhere else.

use super::reference_clock::ReferenceClock;
use crate::time::MediaTime;

/// Without a reference for so long, decode times go on.
const STALL: MediaTime = MediaTime::from_millis(1_000);
/// How far packets carry the time at most: references are no further apart.
const CARRIED_NANOS_MAX: i64 = 100_000_000;

/// Where in time the packets of a program are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacketClock {
    clock: ReferenceClock,
    /// The newest reference, and the number of its packet.
    reference: Option<(MediaTime, u64)>,
    /// Nanoseconds from packet to packet.
    pace: i64,
    /// The first decode time since the newest reference, and the time when it came.
    base: Option<(MediaTime, Option<MediaTime>)>,
    now: Option<MediaTime>,
}

impl PacketClock {
    pub(super) const fn now(&self) -> Option<MediaTime> {
        self.now
    }

    /// The packet with this number comes.
    pub(super) fn packet(&mut self, number: u64) {
        let Some((at, before)) = self.reference else { return };
        let carried = self.pace.saturating_mul(count(before, number)).clamp(0, CARRIED_NANOS_MAX);
        self.rise(at + MediaTime::from_nanos(carried));
    }

    /// It has a reference.
    pub(super) fn reference(&mut self, pcr: i64, number: u64) {
        let has_jumped = self.clock.take(pcr).is_some();
        let Some(at) = self.clock.now() else { return };
        if let Some((before, first)) = self.reference.filter(|_| !has_jumped) {
            self.pace = (at - before).as_nanos() / count(first, number).max(1);
        }
        // One that stands still is none.
        if self.reference.is_none_or(|(before, _)| before != at) {
            self.base = None;
        }
        self.reference = Some((at, number));
        if has_jumped {
            self.now = Some(at);
        } else {
            self.rise(at);
        }
    }

    /// It has a decode time; `has_clock` if there should be references.
    pub(super) fn stamp(&mut self, stamp: u64, has_clock: bool) {
        let dts = self.clock.place(stamp);
        let (first, came) = *self.base.get_or_insert((dts, self.now));
        if has_clock && (dts - first).abs() < STALL {
            return;
        }
        let at = match came.filter(|_| self.reference.is_some()) {
            Some(came) => came + (dts - first),
            None => dts,
        };
        if self.now.is_some_and(|now| now - at > STALL) {
            self.now = Some(at);
        } else {
            self.rise(at);
        }
    }

    fn rise(&mut self, to: MediaTime) {
        self.now = Some(self.now.map_or(to, |now| now.max(to)));
    }
}

/// Packets from one number to another.
fn count(from: u64, to: u64) -> i64 {
    i64::try_from(to.saturating_sub(from)).unwrap_or(i64::MAX)
}
