//! One end: a connection, what it sends and what it received.

use std::time::{Duration, Instant};

use codecs::srt::PACKET_BYTES_MAX;
use dataplane::session::srt::{Connection, PacketIndex, PacketMeta, Payload};

use crate::line::Line;

/// Packets at a fixed pace, whose bytes follow from their number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) first_us: i64,
    pub(crate) interval_us: i64,
    pub(crate) count: u64,
}

impl Source {
    pub(crate) const NONE: Self = Self { first_us: 0, interval_us: 1, count: 0 };

    fn at_us(&self, number: u64) -> i64 {
        self.first_us + i64::try_from(number).unwrap() * self.interval_us
    }

    /// How many packets there are at that time.
    fn ready(&self, now_us: i64) -> u64 {
        let passed = now_us.saturating_sub(self.first_us);
        if passed < 0 {
            return 0;
        }
        u64::try_from(passed / self.interval_us + 1).unwrap().min(self.count)
    }
}

impl PacketIndex for Source {
    fn meta(&self, number: u64) -> Option<PacketMeta> {
        let at_us = self.at_us(number);
        (number < self.count).then(|| PacketMeta { len: payload(number).len(), at_us })
    }
}

/// The bytes of the packet of that number: seven transport packets, fewer in every fifth.
pub(crate) fn payload(number: u64) -> Vec<u8> {
    let packets = if number.is_multiple_of(5) { 3 } else { 7 };
    let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    word.iter().copied().cycle().take(packets * 188).collect()
}

/// A clock that is fast by so many millionths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) since: Instant,
    pub(crate) ppm: i64,
}

impl Clock {
    /// What it shows at that time.
    fn at(self, time: Instant) -> Instant {
        self.moved(time, self.ppm)
    }

    /// When it shows that; rounded up, so that it does show it then.
    fn shows(self, local: Instant) -> Instant {
        let up = Duration::from_micros(2 * u64::from(self.ppm != 0));
        self.moved(local, -self.ppm) + up
    }

    fn moved(self, time: Instant, ppm: i64) -> Instant {
        if ppm == 0 {
            return time;
        }
        let passed_us = i64::try_from((time - self.since).as_micros()).unwrap();
        let parts = 1_000_000 + if ppm == self.ppm { 0 } else { self.ppm };
        let moved_us = passed_us * ppm / parts;
        let moved = Duration::from_micros(moved_us.unsigned_abs());
        if moved_us < 0 { time - moved } else { time + moved }
    }
}

/// One end.
pub(crate) struct Endpoint {
    clock: Clock,
    pub(crate) connection: Connection,
    pub(crate) source: Source,
    offered: u64,
    /// The number that is expected next, and how many came and were left out before it.
    pub(crate) next: u64,
    pub(crate) received: u64,
    pub(crate) skipped: u64,
}

impl Endpoint {
    pub(crate) const fn new(connection: Connection, source: Source, clock: Clock) -> Self {
        Self { clock, connection, source, offered: 0, next: 0, received: 0, skipped: 0 }
    }

    /// Microseconds on its clock since its connection began.
    pub(crate) fn micros(&self, now: Instant) -> i64 {
        self.connection.micros(self.clock.at(now))
    }

    pub(crate) fn deliver(&mut self, now: Instant, datagram: &mut [u8]) {
        let local = self.clock.at(now);
        if let Some(payload) = self.connection.handle_datagram(local, datagram) {
            count(&mut self.next, &mut self.received, &mut self.skipped, &payload);
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(payload) = self.connection.poll_payload() {
            count(&mut self.next, &mut self.received, &mut self.skipped, &payload);
        }
    }

    /// Lets time pass and sends everything that may be sent.
    pub(crate) fn turn(&mut self, now: Instant, line: &mut Line) {
        let local = self.clock.at(now);
        self.connection.handle_timeout(local);
        self.collect();
        self.offered = self.source.ready(self.connection.micros(local));
        self.connection.offer(self.offered);
        let mut out = [0; PACKET_BYTES_MAX];
        while let Some(len) = self.connection.poll_transmit(local, &mut out) {
            line.send(now, &out[..len]);
        }
        while let Some(transmit) = self.connection.poll_data(local, &self.source) {
            let mut bytes = payload(transmit.number);
            self.connection.encrypt(&transmit, &mut bytes);
            line.send(now, &[&transmit.header[..], &bytes].concat());
        }
    }

    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let more = (self.offered < self.source.count).then(|| {
            let wait = self.source.at_us(self.offered) - self.micros(now);
            now + Duration::from_micros(u64::try_from(wait).unwrap_or(0))
        });
        let due = self.connection.poll_timeout().map(|local| self.clock.shows(local));
        [more, due].into_iter().flatten().min()
    }
}

fn count(next: &mut u64, received: &mut u64, skipped: &mut u64, got: &Payload<'_>) {
    assert!(got.number >= *next, "{} after {next}", got.number);
    assert_eq!(got.bytes, payload(got.number), "packet {}", got.number);
    *skipped += got.number - *next;
    *next = got.number + 1;
    *received += 1;
}
