//! What players of RTMP and FLV check: every message once, with times that wrap at 32 bits.

use std::sync::Arc;

use dataplane::log::{EntryKind, Log};
use dataplane::session::Format;

/// A player that reads the head of every entry.
pub(crate) struct Messages {
    format: Format,
    log: Arc<Log>,
    next: u64,
    end: Option<u64>,
    /// Time of the last message of each kind as it was on the wire, and what passed in all.
    times: [Option<(u32, u64)>; 2],
    wraps: u32,
}

impl Messages {
    pub(crate) fn new(format: Format, log: Arc<Log>) -> Self {
        let next = log.entry_containing(log.tail()).map_or(0, |entry| entry.number);
        Self { format, log, next, end: None, times: [None; 2], wraps: 0 }
    }

    /// Reads what is new.
    pub(crate) fn follow(&mut self) {
        while self.next < self.log.entries_committed() {
            let entry = self.log.entry(self.next).expect("it is kept for seconds");
            self.next += 1;
            assert_eq!(*self.end.get_or_insert(entry.offset), entry.offset, "end to end");
            self.end = Some(entry.end());
            let mut head = [0; 16];
            assert_eq!(self.log.read(entry.offset, &mut head), Ok(16));
            let track = match entry.kind {
                EntryKind::Video => 0,
                EntryKind::Audio => 1,
                _ => continue,
            };
            let time = match self.format {
                Format::Flv => flv_time(&head, [9, 8][track]),
                _ => rtmp_time(&head, [9, 8][track]),
            };
            let expected = entry.dts.as_millis().rem_euclid(1 << 32);
            assert_eq!(i64::from(time), expected, "the time of its unit");
            if let Some((last, passed)) = self.times[track] {
                let step = time.wrapping_sub(last);
                assert!(step <= 10_000, "time moves by {step} ms");
                self.wraps += u32::from(time < last);
                self.times[track] = Some((time, passed + u64::from(step)));
            } else {
                self.times[track] = Some((time, 0));
            }
        }
    }

    /// The run lasted at least `ms`.
    pub(crate) fn finish(&self, ms: u64) {
        for time in self.times {
            assert!(time.unwrap().1 + 2_000 >= ms);
        }
        assert_eq!(self.wraps, 2, "once for each kind");
    }
}

/// Tag type, 24 bits of length, 24 bits of time and 8 above them.
fn flv_time(head: &[u8; 16], kind: u8) -> u32 {
    assert_eq!(head[0], kind);
    u32::from_be_bytes([head[7], head[4], head[5], head[6]])
}

/// A chunk of type 0: 24 bits of time, or 32 behind the header if those do not suffice.
fn rtmp_time(head: &[u8; 16], kind: u8) -> u32 {
    assert_eq!((head[0] >> 6, head[7]), (0, kind));
    let short = u32::from_be_bytes([0, head[1], head[2], head[3]]);
    if short < 0xff_ffff {
        short
    } else {
        u32::from_be_bytes([head[12], head[13], head[14], head[15]])
    }
}
