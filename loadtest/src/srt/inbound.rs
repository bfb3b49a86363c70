//! What the peer sends: in order, with gaps asked for again until their time is over.
//!
//! Spec: draft-sharabayko-srt 4.4 to 4.8.
//!
//! Shape: what comes in order is released at once, as the server does it: a player that shows
//! pictures would keep them for the latency. What comes behind a gap is held; the gap is given up
//! when the packet behind it is due, at its timestamp and the latency.
//!
//! Limits: [`WINDOW_PACKETS_MAX`] packets are held; what is farther ahead is thrown away.

use std::collections::VecDeque;

use codecs::srt::{DataHeader, DropRequest, LossRange, SeqNumber};

use super::drift::Drift;
use super::keys::Keys;
use super::round_trip::RoundTrip;

/// Packets from the first that is missing to the newest, at most: the window that is told.
pub const WINDOW_PACKETS_MAX: usize = 8192;

/// Packets that a gap is asked for again after, at least.
const NAK_US_MIN: u64 = 20_000;

/// Ranges that one NAK tells at most; they fit a datagram.
pub(super) const NAK_RANGES_MAX: usize = 128;

/// What came, by packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets that came, without those that came again.
    pub packets: u64,
    /// Those of them that came after a later one, most of them because they were sent again.
    pub recovered: u64,
    /// Packets that never came in time.
    pub lost: u64,
    /// Packets that had come before, or came too late.
    pub useless: u64,
}

impl Arrivals {
    /// Adds what was counted elsewhere, or later.
    pub const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.recovered += other.recovered;
        self.lost += other.lost;
        self.useless += other.useless;
    }
}

#[derive(Debug)]
enum Slot {
    /// It was asked for then.
    Missing { asked_us: u64 },
    /// It waits for those before it; without payload if nobody wants that.
    Held { timestamp_us: u64, payload: Vec<u8> },
}

/// How packets are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InboundSettings {
    /// The number of the first packet.
    pub(super) first: SeqNumber,
    pub(super) latency_us: u64,
    /// When the peer's clock was 0, on ours.
    pub(super) peer_zero_us: i64,
}

#[derive(Debug)]
pub(super) struct Inbound {
    settings: InboundSettings,
    /// The first packet that is neither released nor given up.
    next: SeqNumber,
    /// From `next` on; the first one is missing.
    slots: VecDeque<Slot>,
    /// Payload is wanted.
    keeps: bool,
    timestamp_us: u64,
    drift: Drift,
    arrivals: Arrivals,
    /// Packets with a key that we do not have.
    locked: u64,
}

impl Inbound {
    pub(super) fn new(settings: InboundSettings) -> Self {
        Self {
            settings,
            next: settings.first,
            slots: VecDeque::new(),
            keeps: true,
            timestamp_us: 0,
            drift: Drift::default(),
            arrivals: Arrivals::default(),
            locked: 0,
        }
    }

    /// Packets are only counted from now on.
    pub(super) fn only_count(&mut self) {
        self.keeps = false;
        for slot in &mut self.slots {
            if let Slot::Held { payload, .. } = slot {
                *payload = Vec::new();
            }
        }
    }

    /// The first packet that has not come.
    pub(super) const fn next(&self) -> SeqNumber {
        self.next
    }

    /// Packets that there is room for.
    pub(super) fn room(&self) -> usize {
        WINDOW_PACKETS_MAX - self.slots.len()
    }

    pub(super) fn take_arrivals(&mut self) -> Arrivals {
        std::mem::take(&mut self.arrivals)
    }

    /// Packets whose key is unknown, since the begin.
    pub(super) const fn locked(&self) -> u64 {
        self.locked
    }

    /// Takes a packet; what is released is appended to `released`. Tells the gap before it, if that
    /// is new.
    pub(super) fn take(
        &mut self,
        header: &DataHeader,
        payload: &[u8],
        keys: Option<&Keys>,
        now_us: u64,
        released: &mut Vec<u8>,
    ) -> Option<LossRange> {
        let Ok(ahead) = usize::try_from(header.sequence.since(self.next)) else {
            self.arrivals.useless += 1;
            return None;
        };
        if ahead >= WINDOW_PACKETS_MAX {
            self.arrivals.useless += 1;
            return None;
        }
        let timestamp_us = self.unroll(header.timestamp);
        if !header.retransmitted {
            self.drift.came(timestamp_us, now_us);
        }
        let known = self.slots.len();
        if ahead == 0 {
            self.count(known > 0);
            self.append(header, payload, keys, released);
            self.slots.pop_front();
            self.next = self.next.after(1);
            self.release(released);
            return None;
        }
        if matches!(self.slots.get(ahead), Some(Slot::Held { .. })) {
            self.arrivals.useless += 1;
            return None;
        }
        let mut held = Vec::new();
        self.append(header, payload, keys, &mut held);
        let slot = Slot::Held { timestamp_us, payload: held };
        self.count(ahead < known);
        if ahead < known {
            self.slots[ahead] = slot;
            return None;
        }
        self.slots.extend((known..ahead).map(|_| Slot::Missing { asked_us: now_us }));
        self.slots.push_back(slot);
        (known < ahead).then(|| LossRange {
            first: self.next.after(known as u32),
            last: self.next.after(ahead as u32 - 1),
        })
    }

    /// The peer will not send these again.
    pub(super) fn give_up(&mut self, request: &DropRequest, released: &mut Vec<u8>) {
        let (Ok(last), first) =
            (usize::try_from(request.last.since(self.next)), request.first.since(self.next))
        else {
            return;
        };
        // Only what leads up to the next packet can be given up at once; the rest is in time.
        if first <= 0 && last < WINDOW_PACKETS_MAX {
            self.skip(last + 1, released);
        }
    }

    /// Gives up gaps whose time is over.
    pub(super) fn expire(&mut self, now_us: u64, released: &mut Vec<u8>) {
        let InboundSettings { peer_zero_us, latency_us, .. } = self.settings;
        let due_us = peer_zero_us + self.drift.us() + latency_us as i64;
        while let Some((at, timestamp_us)) = self.first_held() {
            let due_us = due_us + timestamp_us as i64;
            if due_us > now_us as i64 {
                return;
            }
            self.skip(at, released);
        }
    }

    /// Ranges that are missing and were not asked for of late, at most [`NAK_RANGES_MAX`].
    pub(super) fn overdue(&mut self, way: &RoundTrip, now_us: u64) -> Vec<LossRange> {
        let after_us = u64::from(way.rtt_us()) + 4 * u64::from(way.variance_us());
        let after_us = after_us.max(NAK_US_MIN);
        let mut ranges: Vec<LossRange> = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Slot::Missing { asked_us } = slot else { continue };
            if now_us.saturating_sub(*asked_us) < after_us {
                continue;
            }
            let number = self.next.after(at as u32);
            let is_full = ranges.len() == NAK_RANGES_MAX;
            match ranges.last_mut() {
                Some(range) if range.last.after(1) == number => range.last = number,
                _ if is_full => break,
                _ => ranges.push(LossRange { first: number, last: number }),
            }
            *asked_us = now_us;
        }
        ranges
    }

    fn first_held(&self) -> Option<(usize, u64)> {
        self.slots.iter().enumerate().find_map(|(at, slot)| match slot {
            Slot::Held { timestamp_us, .. } => Some((at, *timestamp_us)),
            Slot::Missing { .. } => None,
        })
    }

    /// Releases what is held of so many packets, and counts the others as lost.
    fn skip(&mut self, packets: usize, released: &mut Vec<u8>) {
        for _ in 0..packets {
            match self.slots.pop_front() {
                Some(Slot::Held { payload, .. }) => released.extend_from_slice(&payload),
                Some(Slot::Missing { .. }) | None => self.arrivals.lost += 1,
            }
            self.next = self.next.after(1);
        }
        self.release(released);
    }

    /// Releases what is held and follows what was released.
    fn release(&mut self, released: &mut Vec<u8>) {
        while let Some(Slot::Held { payload, .. }) =
            self.slots.pop_front_if(|slot| matches!(slot, Slot::Held { .. }))
        {
            released.extend_from_slice(&payload);
            self.next = self.next.after(1);
        }
    }

    const fn count(&mut self, is_recovered: bool) {
        self.arrivals.packets += 1;
        self.arrivals.recovered += is_recovered as u64;
    }

    /// Appends the payload in the clear, if it is wanted and can be.
    fn append(
        &mut self,
        header: &DataHeader,
        payload: &[u8],
        keys: Option<&Keys>,
        out: &mut Vec<u8>,
    ) {
        if !self.keeps {
            return;
        }
        let start = out.len();
        out.extend_from_slice(payload);
        let Some(slot) = header.key else { return };
        let is_shown = keys.is_some_and(|keys| keys.show(slot, header.sequence, &mut out[start..]));
        if !is_shown {
            out.truncate(start);
            self.locked += 1;
        }
    }

    /// The peer's clock, whose 32 bits wrap after 71 minutes.
    const fn unroll(&mut self, timestamp: u32) -> u64 {
        let newer = timestamp.wrapping_sub(self.timestamp_us as u32).cast_signed();
        let unrolled = self.timestamp_us.saturating_add_signed(newer as i64);
        if unrolled > self.timestamp_us {
            self.timestamp_us = unrolled;
        }
        unrolled
    }
}
