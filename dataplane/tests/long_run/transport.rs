//! What a player of transport packets checks: counters, clock, times, over all wraps.

use std::collections::HashMap;
use std::sync::Arc;

use dataplane::log::Log;

use super::stream::{bytes, packets};

const CLOCK_WRAP: u64 = (1 << 33) * 300;
const TIME_WRAP: u64 = 1 << 33;
const HZ_27M_PER_MS: u64 = 27_000;

/// A player that reads everything.
pub(crate) struct Transport {
    log: Arc<Log>,
    at: u64,
    counters: HashMap<u16, u8>,
    /// The clock as it was last, and unrolled.
    clock: Option<(u64, u64)>,
    /// Decode time of each stream as it was last, and unrolled.
    times: HashMap<u8, (u64, u64)>,
    first_clock: u64,
    clock_wraps: u32,
    time_wraps: u32,
}

impl Transport {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        let at = log.tail();
        Self {
            log,
            at,
            counters: HashMap::new(),
            clock: None,
            times: HashMap::new(),
            first_clock: 0,
            clock_wraps: 0,
            time_wraps: 0,
        }
    }

    /// Reads what is new.
    pub(crate) fn follow(&mut self) {
        let to = self.log.committed();
        let content = bytes(&self.log, self.at, to);
        self.at = to;
        for packet in packets(&content) {
            assert!(!packet.discontinuity, "one clock, whoever publishes");
            if let Some(last) = self.counters.insert(packet.pid, packet.continuity) {
                let next = if packet.has_payload { (last + 1) & 15 } else { last };
                assert_eq!(packet.continuity, next, "the counter of {:#x}", packet.pid);
            }
            if let Some(pcr) = packet.pcr {
                self.clock(pcr);
            }
            if let Some(pes) = packet.pes {
                self.time(pes.stream_id, pes.dts);
            }
        }
    }

    fn clock(&mut self, pcr: u64) {
        let Some((last, unrolled)) = self.clock else {
            self.clock = Some((pcr, pcr));
            self.first_clock = pcr;
            return;
        };
        let step = (pcr + CLOCK_WRAP - last) % CLOCK_WRAP;
        self.clock_wraps += u32::from(pcr < last);
        // Where a publisher was lost nothing was sent for as long as that.
        assert!(step <= 10_000 * HZ_27M_PER_MS, "the clock moves by {step}");
        self.clock = Some((pcr, unrolled + step));
    }

    fn time(&mut self, stream_id: u8, dts: u64) {
        let (clock, _) = self.clock.expect("the clock comes before the first unit");
        let ahead = (dts + TIME_WRAP - clock / 300) % TIME_WRAP;
        assert!(ahead <= 90 * 1_500, "a unit is {ahead} ticks ahead of the clock");
        let (last, unrolled) = *self.times.entry(stream_id).or_insert((dts, dts));
        let step = (dts + TIME_WRAP - last) % TIME_WRAP;
        assert!(step <= 90 * 10_000, "time moves by {step}");
        self.time_wraps += u32::from(dts < last);
        self.times.insert(stream_id, (dts, unrolled + step));
    }

    /// The run lasted at least `ms`.
    pub(crate) fn finish(&self, ms: u64) {
        let (_, clock) = self.clock.unwrap();
        assert!(clock - self.first_clock >= (ms - 2_000) * HZ_27M_PER_MS);
        assert_eq!(self.times.len(), 2, "pictures and sound");
        assert!(self.clock_wraps >= 1 || ms < 26 * 3_600_000, "the clock wrapped");
        assert!(self.time_wraps >= 1, "so did the times");
    }
}
