//! What is received: in order at once, the rest when the gap before it is filled or given up.
//!
//! Shape: packets are numbered from 0; `next` is the first that was not given out. `slots` begin
//! there and end with the last packet that came. An empty slot is waited for as long as it is one
//! of the losses, and given up otherwise.
//!
//! ```text
//!   given out | empty  kept  kept  empty  kept |
//!             ^ next                           ^ end
//! ```
//!
//! In/Out: a packet in order is given out as it lies in the caller's buffer. One that is not is
//! copied, into a buffer that is used again.
//! Limits: `receive_window` packets between `next` and `end`, `held_bytes_max` bytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::srt::{PACKET_BYTES_MAX, SeqNumber};

use super::losses::Losses;
use super::statistics::Statistics;

/// Buffers that are kept to be used again.
const SPARE_MAX: usize = 64;
/// Slots that are kept when none is used.
const SPARE_SLOTS: usize = 1_024;
/// The part of the latency that an overtaken packet is waited for at most before it is asked for.
const REORDER_SHARE: u32 = 8;
/// How long an overtaken packet is waited for at first: nothing was measured yet, and the packets
/// of a burst overtake each other.
const REORDER_FIRST: Duration = Duration::from_millis(2);
/// Packets beyond the window that show, one behind another, that the sender moved on.
const JUMP_PACKETS: u32 = 16;

/// A packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The number of the packet, from 0; numbers that are left out were given up.
    pub number: u64,
    /// When it was sent, on the sender's clock in microseconds since its handshake.
    pub sent_us: i64,
    /// What it says.
    pub bytes: &'a [u8],
}

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) number: u64,
    pub(super) sent_us: i64,
    pub(super) due: Instant,
    pub(super) retransmitted: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to be given out now.
    Next,
    /// It waits, or nobody waited for it.
    Kept,
}

/// A packet that waits for its turn.
#[derive(Debug)]
struct Kept {
    sent_us: i64,
    bytes: Vec<u8>,
}

/// Packets that came beyond the window, each behind the one before.
#[derive(Clone, Copy, Debug)]
struct Jump {
    first: u64,
    last: u64,
    count: u32,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Receiver {
    initial: SeqNumber,
    next: u64,
    slots: VecDeque<Option<Kept>>,
    losses: Losses,
    window: u64,
    held_bytes: usize,
    held_bytes_max: usize,
    spare: Vec<Vec<u8>>,
    given: Vec<u8>,
    /// How long packets of late were overtaken: a gap is a loss only after that.
    reorder: Duration,
    reorder_max: Duration,
    jump: Option<Jump>,
}

impl Receiver {
    pub(super) fn new(
        initial: SeqNumber,
        window: u32,
        held_bytes_max: usize,
        latency: Duration,
    ) -> Self {
        Self {
            initial,
            next: 0,
            slots: VecDeque::new(),
            losses: Losses::default(),
            window: window.into(),
            held_bytes: 0,
            held_bytes_max,
            spare: Vec::new(),
            given: Vec::new(),
            reorder: REORDER_FIRST.min(latency / REORDER_SHARE),
            reorder_max: latency / REORDER_SHARE,
            jump: None,
        }
    }

    /// The number that a wire number stands for; `None` if it lies before the first packet.
    pub(super) fn number(&self, sequence: SeqNumber) -> Option<u64> {
        let distance = sequence.since(self.sequence(self.next));
        self.next.checked_add_signed(distance.into())
    }

    pub(super) fn sequence(&self, number: u64) -> SeqNumber {
        sequence_of(self.initial, number)
    }

    /// The first packet that did not come.
    pub(super) fn first_missing(&self) -> u64 {
        self.losses.first().map_or(self.end(), |loss| loss.start)
    }

    fn end(&self) -> u64 {
        self.next + self.slots.len() as u64
    }

    pub(super) fn room(&self) -> u64 {
        self.window.saturating_sub(self.slots.len() as u64)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of all that it keeps: what came out of order, what is missing, and buffers for more.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.held_bytes
            + self.slots.capacity() * size_of::<Option<Kept>>()
            + self.losses.bytes()
            + self.spare.len() * PACKET_BYTES_MAX
            + self.given.capacity()
    }

    pub(super) const fn reorder(&self) -> Duration {
        self.reorder
    }

    pub(super) const fn losses(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// When a missing packet is to be asked for.
    pub(super) fn next_nak(&self) -> Option<Instant> {
        self.losses.next_nak()
    }

    /// True if a packet of that number is worth being decrypted.
    pub(super) fn wants(&mut self, number: u64, len: usize, counts: &mut Statistics) -> bool {
        if number >= self.next + self.window {
            self.follow(number, counts);
        }
        let Some(ahead) = number.checked_sub(self.next) else {
            counts.pkt_rcv_belated += 1;
            return false;
        };
        let end = self.end();
        if number < end && !self.losses.contains(number) {
            counts.pkt_rcv_belated += 1;
            return false;
        }
        let is_kept = ahead > 0;
        let has_room = ahead < self.window && self.losses.has_room_for(number, end);
        if is_kept && (!has_room || self.held_bytes + len > self.held_bytes_max) {
            counts.pkt_rcv_no_room += 1;
            return false;
        }
        true
    }

    /// After an outage of more than a window the sender is beyond it: nothing that is waited for
    /// will come, and nothing asks for what lies between. So enough packets move the window on.
    fn follow(&mut self, number: u64, counts: &mut Statistics) {
        let jump = match self.jump {
            Some(jump) if (jump.first..=jump.last).contains(&number) => jump,
            Some(jump) if number > jump.last && number < jump.first + self.window => {
                Jump { last: number, count: jump.count + 1, ..jump }
            }
            _ => Jump { first: number, last: number, count: 1 },
        };
        self.jump = Some(jump);
        if jump.count < JUMP_PACKETS {
            return;
        }
        self.give_up_all(counts);
        // What was kept is given out first, and the next packet comes here again.
        if self.slots.is_empty() {
            counts.pkt_rcv_drop += jump.first - self.next;
            self.next = jump.first;
            self.jump = None;
        }
    }

    /// Takes a packet that [`Self::wants`] agreed to.
    pub(super) fn take(
        &mut self,
        now: Instant,
        arrival: Arrival,
        bytes: &[u8],
        counts: &mut Statistics,
    ) -> Fate {
        let Arrival { number, sent_us, due, retransmitted } = arrival;
        counts.pkt_recv_unique += 1;
        self.jump = None;
        let end = self.end();
        let found = if number < end { self.losses.remove(number, due) } else { None };
        if let Some(found) = found.filter(|_| !retransmitted) {
            counts.pkt_reordered += 1;
            counts.pkt_reorder_distance = counts.pkt_reorder_distance.max(end - 1 - number);
            self.was_overtaken(now.saturating_duration_since(found));
        }
        if number == self.next {
            self.reorder -= self.reorder / 1_024;
            self.slots.pop_front();
            self.next += 1;
            return Fate::Next;
        }
        if number > end {
            self.losses.push((end, number), now, due, self.reorder);
            counts.pkt_rcv_loss += number - end;
        }
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        // COPY(reorder): it waits for what was sent before it.
        kept.extend_from_slice(bytes);
        self.held_bytes += kept.len();
        let slot = Some(Kept { sent_us, bytes: kept });
        let at = usize::try_from(number - self.next).expect("it lies in the window");
        if at >= self.slots.len() {
            self.slots.resize_with(at, || None);
            self.slots.push_back(slot);
        } else {
            self.slots[at] = slot;
        }
        Fate::Kept
    }

    /// A packet came so long after the first that overtook it.
    fn was_overtaken(&mut self, delay: Duration) {
        let delay = (delay + delay / 8).min(self.reorder_max);
        self.reorder = delay.max(self.reorder - self.reorder / 64);
    }

    /// Gives up what the sender will not send again.
    pub(super) fn give_up(&mut self, first: u64, last: u64, counts: &mut Statistics) {
        let end = last.saturating_add(1).min(self.next + self.window);
        if first >= end {
            return;
        }
        counts.pkt_rcv_drop += self.losses.remove_range(first, end);
        // What nobody heard of yet is skipped only if nothing before it waits; otherwise it will
        // be asked for, and given up then.
        if self.slots.is_empty() && first <= self.next && end > self.next {
            counts.pkt_rcv_drop += end - self.next;
            self.next = end;
        }
    }

    /// Gives up the gaps before packets that are due.
    pub(super) fn give_up_late(&mut self, now: Instant, counts: &mut Statistics) {
        while self.gap_end().is_some_and(|due| due <= now) {
            counts.pkt_rcv_drop += self.losses.remove_first();
        }
    }

    /// Gives up every gap: nothing will be sent any more.
    pub(super) fn give_up_all(&mut self, counts: &mut Statistics) {
        while self.losses.first().is_some() {
            counts.pkt_rcv_drop += self.losses.remove_first();
        }
    }

    /// When the first gap is given up.
    pub(super) fn gap_end(&self) -> Option<Instant> {
        self.losses.first().map(|loss| loss.due)
    }

    /// The next packet that nothing is waited for before, once all before it were given out.
    pub(super) fn poll(&mut self) -> Option<Payload<'_>> {
        let Kept { sent_us, bytes } = loop {
            let is_missing = self.losses.first().is_some_and(|loss| loss.start == self.next);
            if is_missing {
                return None;
            }
            let slot = self.slots.pop_front()?;
            self.next += 1;
            if let Some(kept) = slot {
                break kept;
            }
        };
        if self.slots.is_empty() {
            self.slots.shrink_to(SPARE_SLOTS);
        }
        let number = self.next - 1;
        self.held_bytes -= bytes.len();
        let before = std::mem::replace(&mut self.given, bytes);
        if self.spare.len() < SPARE_MAX && before.capacity() > 0 {
            self.spare.push(before);
        }
        Some(Payload { number, sent_us, bytes: &self.given })
    }
}

/// The wire number of the packet of that number.
pub(super) fn sequence_of(initial: SeqNumber, number: u64) -> SeqNumber {
    let low = u32::try_from(number & u64::from(SeqNumber::MAX)).expect("31 bits");
    initial.after(low)
}
