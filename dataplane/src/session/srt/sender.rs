//! What is sent: packets of an index that somebody else owns, by number.
//!
//! Shape: packet `number` of the index has wire number `initial + number`. What lies before
//! `acked` is done with, what lies before `next` is under way, what lies before `end` may be sent.
//!
//! ```text
//!   acknowledged or too late | under way            | waits      |
//!                            ^ acked                ^ next       ^ end
//! ```
//!
//! In/Out: this says which packet is to be sent and with which header; its bytes stay in the
//! index, so that one that is sent again is read there a second time. One that did not leave is
//! taken back, and given again before any other.
//! Limits: the flow window of the peer; the pace of a join; a budget for all bytes and one for what
//! is sent again, so that no NAK makes more of it.

use std::time::{Duration, Instant};

use codecs::srt::{AckReport, DropRequest, LossRange, PACKET_BYTES_MAX, SeqNumber};

use super::negotiation::Agreement;
use super::pacer::{Bucket, RateMeter};
use super::ranges::Ranges;
use super::receiver::sequence_of;
use super::retransmissions::Retransmissions;
use super::round_trip::RoundTrip;
use super::settings::{FLOW_WINDOW_MAX, FLOW_WINDOW_MIN, Settings};
use super::statistics::Statistics;

/// A packet is too late after this long at the earliest, however short the peer's latency is.
const TOO_LATE_MIN: Duration = Duration::from_secs(1);
/// What is added to the peer's latency.
const TOO_LATE_SLACK: Duration = Duration::from_millis(20);
/// After this long without an answer the last packet is sent again at the earliest.
const PROBE_MIN: Duration = Duration::from_millis(50);
/// Packets that may be sent at once, however low the rates are.
const BURST_PACKETS: u32 = 16;
/// What a join begins with is sent so many times faster than it was made.
const CATCH_UP: i64 = 4;
/// Longer than this no join reaches back: times that are farther ahead have leapt.
const CATCH_UP_MAX_US: i64 = 30_000_000;
/// Answers to NAKs for what is gone, at a time.
const DROP_REQUESTS_MAX: usize = 8;

/// What an index says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// Bytes of the payload.
    pub len: usize,
    /// When it was made, in microseconds since the connection began; negative if it is older.
    ///
    /// The first packet that there is counts as made when it is offered, and the others as long
    /// after it as they say: who joins in the past plays later and misses nothing.
    pub at_us: i64,
}

/// Packets by number.
pub trait PacketIndex {
    /// A packet, while it is there; numbers count from 0, where the connection began to send.
    fn meta(&self, number: u64) -> Option<PacketMeta>;
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) number: u64,
    pub(super) len: usize,
    /// Its time for the peer, the same when it is sent again.
    pub(super) at_us: i64,
    pub(super) retransmitted: bool,
}

/// A packet that was to be sent, and did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Which packet of the index.
    pub number: u64,
    /// Bytes of its payload.
    pub len: usize,
    /// It was to be sent again.
    pub retransmitted: bool,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Sender {
    initial: SeqNumber,
    acked: u64,
    next: u64,
    end: u64,
    /// What lies before it was given up and not acknowledged.
    dropped_until: u64,
    /// The first packet that was not acknowledged, when it was found not to be too late.
    in_time: Option<(u64, i64)>,
    /// What is added to the times of the index, once its first packet is known.
    shift_us: Option<i64>,
    /// The shifted time of that packet.
    joined_us: i64,
    /// When the next packet may be sent that a join begins with.
    catches_up_at: Option<Instant>,
    lost: Retransmissions,
    /// What lies before `next`, and was taken back.
    returned: Ranges,
    /// There is no room to send anything.
    is_blocked: bool,
    window: u64,
    too_late: Duration,
    pace: Bucket,
    again: Bucket,
    meter: RateMeter,
    retransmit_percent: u64,
    /// What may be sent again of a second in any case.
    retransmit_floor: u64,
    last_sent: Instant,
    peer_asks_again: bool,
    /// What was acknowledged, and since when it is no more than that.
    moved: (u64, Instant),
    drop_requests: Vec<DropRequest>,
}

impl Sender {
    pub(super) fn new(agreement: &Agreement, settings: &Settings, now: Instant) -> Self {
        let floor = BURST_PACKETS * u32::try_from(PACKET_BYTES_MAX).expect("a datagram");
        let second = Duration::from_secs(1);
        Self {
            initial: agreement.send_initial,
            acked: 0,
            next: 0,
            end: 0,
            dropped_until: 0,
            in_time: None,
            shift_us: None,
            joined_us: 0,
            catches_up_at: None,
            lost: Retransmissions::default(),
            returned: Ranges::default(),
            is_blocked: false,
            window: agreement.peer_window.clamp(FLOW_WINDOW_MIN, FLOW_WINDOW_MAX).into(),
            too_late: agreement.send_latency.max(TOO_LATE_MIN) + TOO_LATE_SLACK,
            pace: Bucket::new(settings.bandwidth_max, settings.burst, floor, now),
            again: Bucket::new(settings.retransmit_floor, second, floor, now),
            meter: RateMeter::new(now),
            retransmit_percent: settings.retransmit_percent.into(),
            retransmit_floor: settings.retransmit_floor,
            last_sent: now,
            peer_asks_again: agreement.peer_asks_again,
            moved: (0, now),
            drop_requests: Vec::new(),
        }
    }

    pub(super) fn sequence(&self, number: u64) -> SeqNumber {
        sequence_of(self.initial, number)
    }

    /// Bytes of what is to be sent again.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.lost.bytes()
    }

    pub(super) const fn in_flight(&self) -> u64 {
        self.next - self.acked
    }

    pub(super) const fn waiting(&self) -> u64 {
        self.end.saturating_sub(self.acked)
    }

    /// Packets that were offered and neither left nor were given up.
    pub(super) fn unsent(&self) -> u64 {
        self.end.saturating_sub(self.next) + self.returned.count()
    }

    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    pub(super) const fn too_late(&self) -> Duration {
        self.too_late
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// What may be sent reaches to `end`.
    pub(super) fn offer(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// The number that a peer's number stands for, among those that were sent; one before the
    /// first is the first.
    fn number(&self, sequence: SeqNumber) -> u64 {
        let distance = sequence.since(self.sequence(self.acked));
        self.acked.saturating_add_signed(distance.into())
    }

    /// Takes an ACK; false if it acknowledges what was never sent.
    pub(super) fn acknowledge(&mut self, next: SeqNumber, report: Option<&AckReport>) -> bool {
        let number = self.number(next);
        if number > self.next {
            return false;
        }
        if let Some(report) = report {
            self.window = report.buffer_free.clamp(FLOW_WINDOW_MIN, FLOW_WINDOW_MAX).into();
        }
        if number > self.acked {
            self.acked = number;
            self.lost.remove_before(number);
            self.returned.remove_before(number);
        }
        true
    }

    /// Takes one range of a NAK; false if it reaches beyond what was sent.
    pub(super) fn miss(&mut self, range: LossRange, counts: &mut Statistics) -> bool {
        let (first, last) = (self.number(range.first), self.number(range.last));
        if last >= self.next || first > last {
            return false;
        }
        counts.pkt_snd_loss += last - first + 1;
        let gone = self.dropped_until.min(last + 1);
        if first < gone && self.drop_requests.len() < DROP_REQUESTS_MAX {
            let last = self.sequence(gone - 1);
            self.drop_requests.push(DropRequest { message: 0, first: range.first, last });
        }
        let lost = first.max(self.acked)..last + 1;
        if !lost.is_empty() {
            // What did not leave is not lost.
            self.returned.gaps(lost).for_each(|lost| self.lost.add(lost));
        }
        true
    }

    pub(super) fn take_drop_request(&mut self) -> Option<DropRequest> {
        self.drop_requests.pop()
    }

    /// Gives up what is too late at `now_us`, and what the index lost.
    fn give_up_late(&mut self, index: &impl PacketIndex, now_us: i64, counts: &mut Statistics) {
        // All packets of a turn are sent at one time.
        if self.in_time == Some((self.acked, now_us)) {
            return;
        }
        let patience = i64::try_from(self.too_late.as_micros()).unwrap_or(i64::MAX);
        let oldest = now_us.saturating_sub(patience);
        let before = self.acked;
        while self.acked < self.end {
            if let Some(meta) = index.meta(self.acked) {
                let shift_us = self.shift_us.unwrap_or_else(|| {
                    self.joined_us = now_us.max(meta.at_us);
                    now_us.saturating_sub(meta.at_us).max(0)
                });
                self.shift_us = Some(shift_us);
                if meta.at_us.saturating_add(shift_us) >= oldest {
                    self.in_time = Some((self.acked, now_us));
                    break;
                }
            }
            self.acked += 1;
        }
        if self.acked > before {
            counts.pkt_snd_drop += self.acked - before;
            self.next = self.next.max(self.acked);
            self.dropped_until = self.acked;
            self.lost.remove_before(self.acked);
            self.returned.remove_before(self.acked);
        }
    }

    /// The next packet to send.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        now_us: i64,
        index: &impl PacketIndex,
        trip: &RoundTrip,
        counts: &mut Statistics,
    ) -> Option<Outgoing> {
        self.give_up_late(index, now_us, counts);
        if self.is_blocked || !self.pace.is_open(now) {
            return None;
        }
        while let Some(number) = self.returned.pop() {
            if let Some(meta) = index.meta(number) {
                self.spend(now, meta.len);
                return Some(self.outgoing(number, meta, false));
            }
        }
        self.probe(now, trip);
        if !self.lost.is_empty() && self.again.is_open(now) {
            let pause = trip.mean().saturating_sub(trip.variance());
            while let Some(number) = self.lost.next(now, pause) {
                if let Some(meta) = index.meta(number) {
                    self.again.spend(meta.len);
                    self.spend(now, meta.len);
                    counts.pkt_retrans += 1;
                    counts.byte_retrans += meta.len as u64;
                    return Some(self.outgoing(number, meta, true));
                }
            }
        }
        if self.next >= self.end || self.in_flight() >= self.window {
            return None;
        }
        let number = self.next;
        let meta = index.meta(number)?;
        let wait_us = self.catch_up_us(meta.at_us, now_us);
        let wait = u64::try_from(wait_us).ok().filter(|wait| *wait > 0);
        self.catches_up_at = wait.map(|wait| now + Duration::from_micros(wait));
        if wait.is_some() {
            return None;
        }
        self.next += 1;
        counts.pkt_sent_unique += 1;
        self.spend(now, meta.len);
        self.earn(now, meta.len);
        Some(self.outgoing(number, meta, false))
    }

    /// How long a packet waits that was made before the connection: what a join begins with is no
    /// burst at the rate of our own link, which the peer's may not take. What is made now is ahead
    /// of that soon, and never waits.
    const fn catch_up_us(&self, at_us: i64, now_us: i64) -> i64 {
        let Some(shift_us) = self.shift_us else { return 0 };
        let ahead_us = at_us.saturating_add(shift_us).saturating_sub(self.joined_us);
        if ahead_us > CATCH_UP_MAX_US {
            return 0;
        }
        self.joined_us.saturating_add(ahead_us / CATCH_UP).saturating_sub(now_us)
    }

    fn outgoing(&self, number: u64, meta: PacketMeta, retransmitted: bool) -> Outgoing {
        let at_us = meta.at_us.saturating_add(self.shift_us.unwrap_or(0));
        Outgoing { number, len: meta.len, at_us, retransmitted }
    }

    /// A packet that [`Self::poll`] gave did not leave.
    pub(super) fn take_back(&mut self, sent: &Returned, counts: &mut Statistics) {
        let Returned { number, len, retransmitted } = *sent;
        self.pace.earn(len as u64);
        if retransmitted {
            self.again.earn(len as u64);
            counts.pkt_retrans -= 1;
            counts.byte_retrans -= len as u64;
        }
        match retransmitted {
            _ if number < self.acked => {}
            true => self.lost.put_back(number),
            false => self.returned.add(number..number + 1),
        }
    }

    /// Nothing is given, or waits for a time, while it is blocked.
    pub(super) const fn block(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
    }

    /// Each packet earns its share of what may be sent again; that of a second is kept.
    fn earn(&mut self, now: Instant, len: usize) {
        self.meter.count(len, now);
        let share = |bytes: u64| bytes.saturating_mul(self.retransmit_percent) / 100;
        let (kept, earned) = (share(self.meter.rate()), share(len as u64));
        self.again.set_floor(kept.max(self.retransmit_floor));
        self.again.earn(earned);
    }

    fn spend(&mut self, now: Instant, len: usize) {
        self.pace.spend(len);
        self.last_sent = now;
    }

    /// The last packet is sent again if nobody answers: its loss shows by no later one. Where the
    /// peer asks but once, and that may be lost, the first is, too.
    fn probe(&mut self, now: Instant, trip: &RoundTrip) {
        if self.moved.0 != self.acked || self.in_flight() == 0 {
            self.moved = (self.acked, now);
        }
        if self.probe_at(trip).is_none_or(|at| at > now) {
            return;
        }
        if self.peer_asks_again {
            self.lost.add(self.next - 1..self.next);
        } else {
            self.lost.add(self.acked..self.acked + 1);
            self.moved.1 = now;
        }
    }

    fn probe_at(&self, trip: &RoundTrip) -> Option<Instant> {
        let is_quiet = self.lost.is_empty() && self.returned.is_empty() && self.in_flight() > 0;
        let patience = trip.patience().max(PROBE_MIN);
        if !self.peer_asks_again {
            return is_quiet.then(|| self.moved.1 + patience);
        }
        (is_quiet && (self.next == self.end || self.in_flight() >= self.window))
            .then(|| self.last_sent + patience)
    }

    /// When [`Self::poll`] may have something that it does not have now.
    pub(super) fn next_timeout(&self, trip: &RoundTrip) -> Option<Instant> {
        if self.is_blocked {
            return None;
        }
        let waits = self.next < self.end && self.in_flight() < self.window;
        let probe = self.probe_at(trip);
        if !waits && self.lost.is_empty() && self.returned.is_empty() {
            return probe;
        }
        let paced = self.pace.half_full();
        let new = waits.then(|| self.catches_up_at.map_or(paced, |at| at.max(paced)));
        let again = (!self.lost.is_empty()).then(|| paced.max(self.again.opens()));
        let returned = (!self.returned.is_empty()).then_some(paced);
        [new, again, returned, probe].into_iter().flatten().min()
    }

    /// True if everything that was offered was acknowledged or given up.
    pub(super) const fn is_done(&self) -> bool {
        self.acked >= self.end
    }
}

#[cfg(test)]
mod tests {
    use codecs::srt::SocketId;

    use super::*;
    use crate::session::clock::epoch;

    const MS: Duration = Duration::from_millis(1);

    struct Index;

    impl PacketIndex for Index {
        fn meta(&self, _: u64) -> Option<PacketMeta> {
            Some(PacketMeta { len: 188, at_us: 0 })
        }
    }

    fn sender(peer_asks_again: bool, now: Instant) -> Sender {
        sender_with(&Settings::default(), peer_asks_again, now)
    }

    fn sender_with(settings: &Settings, peer_asks_again: bool, now: Instant) -> Sender {
        let agreement = Agreement {
            socket: SocketId(1),
            peer_socket: SocketId(2),
            initial: SeqNumber::new(100),
            send_initial: SeqNumber::new(100),
            mtu: 1_500,
            peer_window: 100,
            receive_latency: MS * 120,
            send_latency: MS * 120,
            peer_asks_again,
            heard: (now, 0),
            began: now,
            keys: None,
            greeting: None,
        };
        Sender::new(&agreement, settings, now)
    }

    #[test]
    fn what_a_peer_asks_for_but_once_is_sent_again_unasked() {
        let start = epoch();
        let trip = RoundTrip::new();
        let patience = trip.patience();
        let mut counts = Statistics::default();
        for (asks_again, probed) in [(true, 9_u64), (false, 3)] {
            let mut sender = sender(asks_again, start);
            sender.offer(10);
            let mut sent = |sender: &mut Sender, now: Instant| {
                let now_us = i64::try_from((now - start).as_micros()).unwrap();
                let next = || sender.poll(now, now_us, &Index, &trip, &mut counts);
                std::iter::from_fn(next).map(|sent| sent.number).collect::<Vec<_>>()
            };
            assert_eq!(sent(&mut sender, start), (0..10_u64).collect::<Vec<_>>());
            assert!(sender.acknowledge(SeqNumber::new(103), None));
            assert!(sent(&mut sender, start).is_empty());
            assert_eq!(sender.next_timeout(&trip), Some(start + patience));
            assert_eq!(sent(&mut sender, start + patience), [probed]);
            // It waits for an answer again.
            assert!(sent(&mut sender, start + patience).is_empty());
            assert_eq!(sender.next_timeout(&trip), Some(start + patience * 2));
        }
    }

    #[test]
    fn what_did_not_leave_is_given_again_first_and_costs_nothing() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut counts = Statistics::default();
        let mut sender = sender(true, start);
        let mut poll = |sender: &mut Sender| {
            let sent = sender.poll(start, 0, &Index, &trip, &mut counts)?;
            Some((sent.number, sent.retransmitted))
        };
        sender.offer(6);
        let first: Vec<_> = std::iter::from_fn(|| poll(&mut sender)).collect();
        assert_eq!(first, [0, 1, 2, 3, 4, 5].map(|number| (number, false)));
        for number in [2, 3, 5] {
            let back = Returned { number, len: 188, retransmitted: false };
            sender.take_back(&back, &mut Statistics::default());
        }
        assert_eq!(sender.unsent(), 3);
        sender.offer(8);
        // What left is missed, and what came to its place before the rest of it.
        let missed = LossRange { first: SeqNumber::new(101), last: SeqNumber::new(103) };
        assert!(sender.miss(missed, &mut Statistics::default()));
        sender.block(true);
        assert_eq!((poll(&mut sender), sender.next_timeout(&trip)), (None, None));
        sender.block(false);
        assert_eq!(sender.next_timeout(&trip), Some(start));
        let then: Vec<_> = std::iter::from_fn(|| poll(&mut sender)).collect();
        let new = [(6, false), (7, false)];
        assert_eq!(then, [&[(2, false), (3, false), (5, false), (1, true)][..], &new].concat());
        assert_eq!((counts.pkt_sent_unique, counts.pkt_retrans), (8, 1));
        // What is sent again is asked of the same budgets, once.
        let back = Returned { number: 1, len: 188, retransmitted: true };
        sender.take_back(&back, &mut counts);
        assert_eq!((counts.pkt_retrans, counts.byte_retrans), (0, 0));
        let mut poll = || sender.poll(start, 0, &Index, &trip, &mut counts);
        assert_eq!(poll().map(|sent| (sent.number, sent.retransmitted)), Some((1, true)));
        assert_eq!(poll(), None);
        assert_eq!(counts.pkt_retrans, 1);
    }

    #[test]
    fn what_did_not_leave_is_paid_for_once() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut counts = Statistics::default();
        // The buckets hold a few packets more than are sent, and fill by nothing.
        let settings = Settings { bandwidth_max: 1, retransmit_floor: 1, ..Settings::default() };
        let mut sender = sender_with(&settings, true, start);
        sender.offer(90);
        for retransmitted in [false, true] {
            for _ in 0..10 {
                let next = || sender.poll(start, 0, &Index, &trip, &mut counts);
                let sent: Vec<_> = std::iter::from_fn(next).collect();
                assert_eq!(sent.len(), if retransmitted { 20 } else { 90 });
                for Outgoing { number, len, retransmitted: again, .. } in sent {
                    assert_eq!(again, retransmitted);
                    sender.take_back(&Returned { number, len, retransmitted }, &mut counts);
                }
            }
            // They leave, and some are missed.
            while sender.poll(start, 0, &Index, &trip, &mut counts).is_some() {}
            let missed = LossRange { first: SeqNumber::new(100), last: SeqNumber::new(119) };
            assert!(sender.miss(missed, &mut counts));
        }
    }

    #[test]
    fn what_was_given_up_is_not_taken_back() {
        let start = epoch();
        let trip = RoundTrip::new();
        let mut counts = Statistics::default();
        let mut sender = sender(true, start);
        sender.offer(4);
        let mut poll = |sender: &mut Sender| sender.poll(start, 0, &Index, &trip, &mut counts);
        assert_eq!(std::iter::from_fn(|| poll(&mut sender)).count(), 4);
        for number in 0..3 {
            let back = Returned { number, len: 188, retransmitted: number == 1 };
            sender.take_back(
                &back,
                &mut Statistics { pkt_retrans: 1, byte_retrans: 188, ..Default::default() },
            );
            if number == 1 {
                assert!(sender.acknowledge(SeqNumber::new(102), None));
            }
        }
        assert_eq!(poll(&mut sender).map(|sent| sent.number), Some(2));
        assert_eq!(poll(&mut sender), None);
    }
}
