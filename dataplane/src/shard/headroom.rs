//! Headroom: how many more players of the current mix a shard has room for.
//!
//! ```text
//!   needed  = cost(base, ingest) + cost(live players, gathered as long as allowed)
//!           + cost(viewers of HLS, as they ask) + cost(viewers admitted, who begin to ask)
//!   in use  = needed x (1 + what the kernel spends for us on other threads) + what others use
//!   burst   = cost(bytes of a burst, those of all streams together) / interval
//!   room    = (egress.admission_target - in use) / cost of one player of the mix, or less:
//!             (FULLEST_MAX - in use but for viewers - burst) / the same and its part of the burst
//! ```
//!
//! Where each stream's key frame fills an interval so that sending it takes longer than that, and
//! this by more than a quarter, players would notice although the core is idle between them. What
//! viewers of HLS ask for is put off meanwhile: it is buffered ahead of what is shown.
//!
//! Live players cost what their streams' logs tell, at once when they are admitted, so that a burst
//! of joins finds the room that is left and not the room that was measured before it. Viewers of
//! HLS cost what they ask for; until the average shows it, those who were admitted count beside it,
//! and the one grows as the other fades.
//!
//! Not here: counters and clocks (`admission.rs`), the fit itself (`cost.rs`).

use std::time::Duration;

use super::burst::{self, Burst, Bursts};
use super::cost::{CostModel, Work};
use super::cursor::SEND_BYTES_MAX;
use crate::config::EgressConfig;
use crate::control::CoreUse;
use crate::ids::StreamName;
use crate::log::Succession;
use crate::metrics::NoRoom;

/// Averages of what viewers ask for forget by 1/e in this time.
const VIEWERS_MEMORY: Duration = Duration::from_secs(8);
/// Averages of what the shard spends and receives forget by 1/e in this time.
const SPENT_MEMORY: Duration = Duration::from_secs(2);
/// What the kernel spends on other threads is remembered by this factor, a reading a second.
const KERNEL_KEPT: f64 = 0.95;
/// Share of a core whose kernel work is not worth telling its ratio from.
const KERNEL_FLOOR: f64 = 0.05;
/// A span of a log shorter than this does not tell its rate.
const SPAN_SECONDS_MIN: f64 = 1.0;
/// Of what the machine gets of a core, other programs use this much at most beside a busy shard:
/// the scheduler shares it half and half.
const OTHERS_MAX: f64 = 0.5;
/// A core that is in use by more than this has no room, whatever its costs are thought to be.
const SATURATED: f64 = 0.97;
/// Sending the fullest interval may take so many intervals: its last frames are late by what is
/// beyond one, and the intervals after it make up for that.
const FULLEST_MAX: f64 = 1.25;
/// A shard that was full is open again when so much of its core is free beyond one player.
const REOPEN_SHARE: f64 = 0.01;

/// What one second of a stream is in one format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub bytes: f64,
    pub entries: f64,
}

impl Rate {
    /// What a stream is taken for before it has told.
    pub(super) const TYPICAL: Self = Self { bytes: 250_000.0, entries: 75.0 };

    /// The rate of what `logs` hold by its timestamps, those that were sealed as well; `None` if
    /// there is nothing, or if that is cut off while it is looked at.
    pub(super) fn of(logs: &Succession) -> Option<Self> {
        let (oldest, newest) = (logs.oldest_entry()?, logs.newest_entry()?);
        let seconds = (newest.dts.as_millis() - oldest.dts.as_millis()) as f64 / 1_000.0;
        let bytes = newest.end().saturating_sub(oldest.offset) as f64;
        let entries = (newest.number.saturating_sub(oldest.number) + 1) as f64;
        Some(Self { bytes, entries }.over(seconds))
    }

    /// The rate of a stream of which this much came in so many seconds.
    ///
    /// Players wait for a stream and all begin with it, so one that is young costs no less than is
    /// typical: by what has come so far, everybody would fit.
    fn over(self, seconds: f64) -> Self {
        let span = seconds.max(SPAN_SECONDS_MIN);
        let told = Self { bytes: self.bytes / span, entries: self.entries / span };
        if seconds >= SPAN_SECONDS_MIN {
            return told;
        }
        let Self { bytes, entries } = Self::TYPICAL;
        Self { bytes: told.bytes.max(bytes), entries: told.entries.max(entries) }
    }

    /// Bits a second.
    pub(super) const fn bps(&self) -> u64 {
        (self.bytes * 8.0) as u64
    }

    /// The work of a second for one player, sent as rarely as `egress` allows.
    pub(super) fn player(&self, egress: &EgressConfig, low_latency: bool) -> Work {
        let gathered = 1.0 / egress.batch_max.as_secs_f64().max(0.001);
        let cut = self.bytes / SEND_BYTES_MAX as f64;
        let sends = if low_latency { self.entries } else { gathered.min(self.entries) }.max(cut);
        Work { sends, bytes: self.bytes, ..Work::default() }
    }
}

/// What one player takes of its shard.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub stream: StreamName,
    /// Of a second.
    pub work: Work,
    /// Bytes more in an interval with a burst of the stream.
    pub burst: f64,
    /// It is sent frames as they come, and does not ask for segments.
    pub live: bool,
}

/// What of a shard is taken whole.
#[derive(Clone, Copy, Debug, Default)]
struct Full {
    core: bool,
    /// The interval with the most bursts, of which viewers of HLS take nothing.
    burst: bool,
}

/// Everything that tells the room of one shard. Lives on: its shard. Crosses by: never.
#[derive(Clone, Debug, Default)]
pub(super) struct Headroom {
    pub model: CostModel,
    /// Work of a second for the players at the live edge, and if each frame is sent at once.
    live: Work,
    live_at_once: Work,
    pub players: u64,
    pub bursts: Bursts,
    /// Work of a second for viewers of HLS, averaged, and of those who were just admitted.
    asked: Work,
    pending: Work,
    pub viewers: u64,
    /// Bytes a second received.
    received: f64,
    /// Encrypted bytes of those sent.
    encrypted: f64,
    /// Share of its core that the shard's thread spends.
    spent: f64,
    kernel: f64,
    kernel_of: f64,
    /// Share of the core that is neither the thread's nor the kernel's for it.
    others: f64,
    /// What had no room for another when it was looked for.
    full: Full,
}

/// What a shard did since it was looked at before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub work: Work,
    /// CPU time of the thread, seconds.
    pub spent: f64,
    /// The part of the work that viewers of HLS asked for.
    pub asked: Work,
}

impl Headroom {
    /// Learns from a span of work.
    pub(super) fn observe(&mut self, span: &Span) {
        let seconds = span.work.seconds;
        if seconds <= 0.0 {
            return;
        }
        self.model.observe(&span.work, span.spent);
        let share = |memory: Duration| 1.0 - (-seconds / memory.as_secs_f64()).exp();
        let (short, long) = (share(SPENT_MEMORY), share(VIEWERS_MEMORY));
        let toward = |average: &mut f64, now: f64, share: f64| *average += (now - *average) * share;
        toward(&mut self.spent, span.spent / seconds, short);
        toward(&mut self.received, span.work.received / seconds, short);
        if span.work.bytes > 0.0 {
            let encrypted = (span.work.encrypted / span.work.bytes).min(1.0);
            toward(&mut self.encrypted, encrypted, long);
        }
        self.asked = self.asked.times(1.0 - long).and(&span.asked.times(long / seconds));
        self.pending = self.pending.times(1.0 - long);
    }

    /// Learns what the core did in the last second or so, of which the thread ran a share.
    pub(super) fn observe_core(&mut self, used: CoreUse, spent: f64) {
        let CoreUse { busy, softirq, stolen } = used;
        let beside = (busy - spent).max(0.0);
        // What the hypervisor gives to others is nobody's here to share.
        let stolen = stolen.min(beside);
        // Interrupts that the thread itself served are in both, so they are bounded by the rest.
        let kernel = softirq.min(beside - stolen);
        self.kernel = self.kernel.mul_add(KERNEL_KEPT, kernel);
        self.kernel_of = self.kernel_of.mul_add(KERNEL_KEPT, spent + KERNEL_FLOOR);
        let programs = (beside - stolen - kernel).min((1.0 - stolen).max(0.0) * OTHERS_MAX);
        self.others += (stolen + programs - self.others) * 0.2;
    }

    /// Takes what was found to be played: the work of a second, what it is if each frame is sent at
    /// once, and for how many.
    pub(super) const fn set_live(&mut self, live: Work, at_once: Work, players: u64) {
        self.live = live;
        self.live_at_once = at_once;
        self.players = players;
    }

    /// Share of the shard's time that all viewers would take if each frame was sent at once.
    pub(super) fn each_at_once(&self) -> f64 {
        self.model.cost(&self.encrypting(&self.live_at_once.and(&self.asked)))
    }

    /// A player began.
    pub(super) fn add_player(&mut self, place: &Place) {
        self.live = self.live.and(&place.work);
        self.bursts.add(&place.stream, place.burst);
        self.players += 1;
    }

    /// A player is gone.
    pub(super) fn remove_player(&mut self, place: &Place) {
        let left = self.live.and(&place.work.times(-1.0));
        self.live = Work { sends: left.sends.max(0.0), bytes: left.bytes.max(0.0), ..left };
        self.bursts.subtract(&place.stream, place.burst);
        self.players = self.players.saturating_sub(1);
    }

    /// A viewer was admitted, who is going to ask for this in a second; `None` if it asks already.
    pub(super) fn add_viewer(&mut self, work: Option<&Work>) {
        if let Some(work) = work {
            self.pending = self.pending.and(work);
        }
        self.viewers += 1;
    }

    /// A viewer is gone. What it asked for fades from the average by itself.
    pub(super) const fn remove_viewer(&mut self) {
        self.viewers = self.viewers.saturating_sub(1);
    }

    /// Bits a second that players and viewers are owed.
    pub(super) fn owed_bps(&self) -> u64 {
        ((self.live.bytes + self.asked.bytes + self.pending.bytes) * 8.0) as u64
    }

    /// The work of a second for all of the mix.
    fn mix(&self) -> Work {
        let mix = self.live.and(&self.asked).and(&self.pending);
        Work { seconds: 0.0, ..self.encrypting(&mix) }
    }

    /// The same work, of which as much is encrypted as of all that is sent.
    fn encrypting(&self, work: &Work) -> Work {
        Work { encrypted: work.bytes * self.encrypted, ..*work }
    }

    /// Share of the core for `work`, what the kernel spends elsewhere for it included.
    fn share(&self, work: &Work) -> f64 {
        self.model.cost(work) * (1.0 + self.kernel_ratio())
    }

    /// What the kernel spends on other threads for a second of ours.
    fn kernel_ratio(&self) -> f64 {
        if self.kernel_of > 0.0 { self.kernel / self.kernel_of } else { 0.0 }
    }

    /// Share of the core that would be in use if frames were gathered as long as allowed.
    pub(super) fn in_use(&self) -> f64 {
        let gathered = self.share(&self.always().and(&self.mix())) + self.others;
        let now = self.spent * (1.0 + self.kernel_ratio()) + self.others;
        if now > SATURATED { gathered.max(now) } else { gathered }
    }

    /// What a shard does in a second whoever plays.
    fn always(&self) -> Work {
        Work { seconds: 1.0, received: self.received, ..Work::default() }
    }

    /// The work of a second for players at the live edge.
    fn live(&self) -> Work {
        Work { seconds: 0.0, ..self.encrypting(&self.live) }
    }

    /// Share of an interval that players at the live edge take of it, others of the core as well,
    /// in which their streams bring bursts.
    pub(super) fn in_burst(&self, egress: &EgressConfig) -> f64 {
        self.in_full(self.bursts.all(), egress)
    }

    fn in_full(&self, bursts: f64, egress: &EgressConfig) -> f64 {
        let live = self.share(&self.always().and(&self.live()));
        live + self.others + self.burst_share(bursts, egress)
    }

    /// Share of an interval for so many bytes of bursts.
    fn burst_share(&self, bytes: f64, egress: &EgressConfig) -> f64 {
        let work = Work { sends: bytes / SEND_BYTES_MAX as f64, bytes, ..Work::default() };
        self.share(&self.encrypting(&work)) / burst::interval(egress).as_secs_f64()
    }

    /// Share of the core that others use.
    pub(super) const fn others(&self) -> f64 {
        self.others
    }

    /// The share of the core that one more player of the mix costs.
    pub(super) fn player_share(&self, egress: &EgressConfig) -> f64 {
        let players = self.players + self.viewers;
        let mix = if players == 0 { Rate::TYPICAL.player(egress, false) } else { self.mix() };
        self.share(&mix) / players.max(1) as f64
    }

    /// Bits a second of one more player of the mix.
    pub(super) fn player_bps(&self) -> u64 {
        let bps = self.owed_bps().checked_div(self.players + self.viewers);
        bps.unwrap_or(Rate::TYPICAL.bps()).max(1)
    }

    /// Bytes of a burst for one more player of the mix.
    fn player_burst(&self) -> f64 {
        let players = self.players + self.viewers;
        if players == 0 {
            Burst::typical(&Rate::TYPICAL)
        } else {
            self.bursts.all() / players as f64
        }
    }

    /// Share of an interval with bursts that one more player of the mix costs.
    pub(super) fn player_in_burst(&self, egress: &EgressConfig) -> f64 {
        self.live_share(egress) + self.burst_share(self.player_burst(), egress)
    }

    /// Share of the core that one more player of the mix costs as far as it is at the live edge.
    fn live_share(&self, egress: &EgressConfig) -> f64 {
        match self.players + self.viewers {
            0 => self.player_share(egress),
            players => self.share(&self.live()) / players as f64,
        }
    }

    /// What a shard that is full has no room for.
    pub(super) const fn lacks(&self) -> NoRoom {
        match self.full {
            Full { core: false, burst: true } => NoRoom::Latency,
            _ => NoRoom::Cpu,
        }
    }

    /// How many more players of the mix the core has room for, and what bounds them.
    pub(super) fn players_room(&self, egress: &EgressConfig) -> (u64, NoRoom) {
        let one = self.player_share(egress);
        let in_burst = self.player_in_burst(egress);
        // A core without any cost to its players has room for as many as anything allows.
        let room = |left: f64, one: f64| match one > 0.0 {
            true => (left / one).clamp(0.0, 1e9) as u64,
            false => u64::from(u32::MAX),
        };
        let by_core = room(egress.admission_target - self.in_use(), one);
        let by_latency = room(FULLEST_MAX - self.in_burst(egress), in_burst);
        match by_latency < by_core {
            true => (by_latency, NoRoom::Latency),
            false => (by_core, NoRoom::Cpu),
        }
    }

    /// What has no room for one who takes this, if anything: a shard that was full has it only when
    /// some more is free, so that it does not open and close with each player.
    pub(super) fn admits(&mut self, place: &Place, egress: &EgressConfig) -> Result<(), NoRoom> {
        let more = self.share(&self.encrypting(&place.work));
        self.fill_core(more, egress);
        if place.live {
            self.fill_burst(more, self.bursts.all_with(&place.stream, place.burst), egress);
        }
        match self.full {
            Full { core: true, .. } => Err(NoRoom::Cpu),
            Full { burst: true, .. } if place.live => Err(NoRoom::Latency),
            _ => Ok(()),
        }
    }

    /// True if the shard has no room for another player of the mix.
    pub(super) fn is_full(&mut self, egress: &EgressConfig) -> bool {
        self.fill_core(self.player_share(egress), egress);
        let bursts = self.bursts.all() + self.player_burst();
        self.fill_burst(self.live_share(egress), bursts, egress);
        self.full.core || self.full.burst
    }

    /// Looks for room for a share more of the core.
    fn fill_core(&mut self, more: f64, egress: &EgressConfig) {
        let margin = if self.full.core { REOPEN_SHARE } else { 0.0 };
        self.full.core = self.in_use() + more + margin > egress.admission_target;
    }

    /// Looks for room for a share more at the live edge, in the interval with so many bytes of
    /// bursts.
    fn fill_burst(&mut self, more: f64, bursts: f64, egress: &EgressConfig) {
        let margin = if self.full.burst { REOPEN_SHARE } else { 0.0 };
        self.full.burst = self.in_full(bursts, egress) + more + margin > FULLEST_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes: 250_000.0, entries: 30.0 };

    fn egress() -> EgressConfig {
        EgressConfig::default()
    }

    /// What a player of this takes whose frames are all alike.
    fn place(rate: Rate) -> Place {
        let stream = StreamName::parse("cam").unwrap();
        Place { stream, work: rate.player(&egress(), false), burst: 0.0, live: true }
    }

    fn room(headroom: &Headroom) -> u64 {
        headroom.players_room(&egress()).0
    }

    /// A quarter of a second of `n` players who are sent each frame, as the calibration says.
    fn work_for(headroom: &mut Headroom, n: f64) {
        let work = Work { seconds: 0.25, ..RATE.player(&egress(), true).times(n * 0.25) };
        let work = Work { seconds: 0.25, ..work };
        let spent = CostModel::default().cost(&work);
        headroom.observe(&Span { work, spent, asked: Work::default() });
    }

    #[test]
    fn a_player_costs_as_few_sends_as_gathering_allows() {
        let sends = |rate: Rate, low_latency| rate.player(&egress(), low_latency).sends;
        let gathered = 1.0 / egress().batch_max.as_secs_f64();
        assert!((sends(RATE, false) - gathered).abs() < 0.01);
        assert!((sends(RATE, true) - 30.0).abs() < 0.01);
        let slow = Rate { bytes: 1_000.0, entries: 2.0 };
        assert!((sends(slow, false) - 2.0).abs() < 0.01);
        let fast = Rate { bytes: 4e6, entries: 60.0 };
        assert!((sends(fast, false) - 4e6 / SEND_BYTES_MAX as f64).abs() < 0.01);
    }

    #[test]
    fn a_young_stream_costs_no_less_than_is_typical() {
        let over = |bytes: f64, entries: f64, seconds| Rate { bytes, entries }.over(seconds);
        // Its first entry, a tenth of a second of 2 Mb/s, and a key frame of more than is typical.
        assert_eq!(over(60.0, 1.0, 0.0), Rate::TYPICAL);
        assert_eq!(over(25_000.0, 8.0, 0.1), Rate::TYPICAL);
        assert_eq!(over(400_000.0, 3.0, 0.1), Rate { bytes: 400_000.0, ..Rate::TYPICAL });
        // From a second on it is what it is, be it less.
        assert_eq!(over(8_000.0, 50.0, 1.0), Rate { bytes: 8_000.0, entries: 50.0 });
        assert_eq!(over(8e6, 300.0, 4.0), Rate { bytes: 2e6, entries: 75.0 });
    }

    #[test]
    fn room_and_players_add_up_to_the_same_whatever_the_load() {
        let mut totals = Vec::new();
        for players in [500_u64, 2_000, 5_000] {
            let mut headroom = Headroom::default();
            (0..players).for_each(|_| headroom.add_player(&place(RATE)));
            (0..40).for_each(|_| work_for(&mut headroom, players as f64));
            totals.push(players + room(&headroom));
        }
        let (least, most) = (totals.iter().min().unwrap(), totals.iter().max().unwrap());
        assert!(most * 100 <= least * 102, "{totals:?}");
    }

    #[test]
    fn a_burst_is_admitted_up_to_the_room_and_no_further() {
        let mut headroom = Headroom::default();
        let (room, bound) = headroom.players_room(&egress());
        assert_eq!(bound, NoRoom::Latency, "so many would notice each typical key frame");
        let burst = Burst::typical(&Rate::TYPICAL);
        let player = Place { burst, ..place(Rate::TYPICAL) };
        let mut admitted = 0;
        while headroom.admits(&player, &egress()).is_ok() {
            headroom.add_player(&player);
            admitted += 1;
            assert!(admitted <= room + 1, "nothing is measured, and still it ends at {room}");
        }
        assert!(admitted + 1 >= room, "{admitted} of {room}");
        assert_eq!(headroom.players_room(&egress()), (0, NoRoom::Latency));
        assert_eq!(headroom.admits(&player, &egress()), Err(NoRoom::Latency));
        assert_eq!(headroom.lacks(), NoRoom::Latency);
    }

    #[test]
    fn viewers_of_segments_need_no_room_in_a_burst() {
        let burst = Burst::typical(&Rate::TYPICAL);
        let player = Place { burst, ..place(Rate::TYPICAL) };
        let viewer = Place { burst: 0.0, live: false, ..player.clone() };
        let mut headroom = Headroom::default();
        while headroom.admits(&player, &egress()).is_ok() {
            headroom.add_player(&player);
        }
        // They come in one by one until the core is full, and open nothing to who plays live.
        let mut viewers = 0;
        while headroom.admits(&viewer, &egress()).is_ok() {
            headroom.add_viewer(Some(&viewer.work));
            assert_eq!(headroom.lacks(), NoRoom::Latency, "beside {viewers} viewers");
            viewers += 1;
            assert!(headroom.in_use() < 1.0, "nothing ends it at {viewers}");
            if viewers % 100 == 1 {
                assert_eq!(headroom.admits(&player, &egress()), Err(NoRoom::Latency));
            }
        }
        assert!(viewers > 1_000, "{viewers} beside a core of which a third is free");
        assert_eq!(headroom.admits(&viewer, &egress()), Err(NoRoom::Cpu));
        assert_eq!(headroom.admits(&player, &egress()), Err(NoRoom::Cpu));
        assert_eq!(headroom.lacks(), NoRoom::Cpu);
        // Where nobody plays live, no burst ends the room.
        let mut headroom = Headroom::default();
        while headroom.admits(&viewer, &egress()).is_ok() {
            headroom.add_viewer(Some(&viewer.work));
        }
        assert!(headroom.is_full(&egress()));
        assert_eq!(headroom.lacks(), NoRoom::Cpu);
    }

    #[test]
    fn a_full_core_opens_again_when_some_players_are_gone() {
        let mut headroom = Headroom::default();
        let player = place(Rate::TYPICAL);
        while headroom.admits(&player, &egress()).is_ok() {
            headroom.add_player(&player);
        }
        let players = headroom.players;
        headroom.remove_player(&player);
        assert_eq!(headroom.admits(&player, &egress()), Err(NoRoom::Cpu), "one is not enough");
        while headroom.is_full(&egress()) {
            headroom.remove_player(&player);
        }
        let gone = players - headroom.players;
        assert!((10..players / 20).contains(&gone), "{gone} of {players}");
        assert_eq!(headroom.admits(&player, &egress()), Ok(()));
    }

    #[test]
    fn viewers_count_the_same_before_and_after_they_ask() {
        let one = Work { requests: 1.0, sends: 1.5, bytes: 250_000.0, ..Work::default() };
        let mut headroom = Headroom::default();
        (0..100).for_each(|_| headroom.add_viewer(Some(&one)));
        let owed = headroom.owed_bps();
        assert_eq!(owed, 200_000_000);
        for _ in 0..100 {
            let asked = one.times(100.0 * 0.25);
            let work = Work { seconds: 0.25, ..asked };
            let spent = CostModel::default().cost(&work);
            headroom.observe(&Span { work, spent, asked });
            let now = headroom.owed_bps();
            assert!(now.abs_diff(owed) < owed / 100, "{now} beside {owed}");
        }
    }

    #[test]
    fn what_others_take_of_the_core_is_no_room() {
        let mut even = Headroom::default();
        even.add_player(&place(Rate::TYPICAL));
        let alone = room(&even);
        let beside = |times: u32, used: CoreUse, spent: f64| {
            let mut headroom = even.clone();
            (0..times).for_each(|_| headroom.observe_core(used, spent));
            room(&headroom) * 100 / alone
        };
        let used = CoreUse { busy: 0.45, softirq: 0.0, stolen: 0.0 };
        assert!((48..52).contains(&beside(60, used, 0.0)));
        // A program that would take all of the core gets no more than its half.
        let hog = CoreUse { busy: 1.0, ..used };
        assert!((42..47).contains(&beside(60, hog, 0.0)));
        // What is stolen is gone, all of it, and the hog has half of what is left.
        let stolen = CoreUse { busy: 0.7, stolen: 0.7, ..used };
        assert!((20..24).contains(&beside(60, stolen, 0.0)));
        assert!((31..35).contains(&beside(60, CoreUse { stolen: 0.2, ..hog }, 0.0)));
        assert_eq!(beside(60, CoreUse { stolen: 1.0, ..hog }, 0.0), 0);
        // The kernel's threads that work for us make each player dearer.
        let ours = CoreUse { busy: 0.8, softirq: 0.4, stolen: 0.0 };
        assert!((50..60).contains(&beside(200, ours, 0.4)));
    }

    #[test]
    fn key_frames_bound_the_room_by_streams_and_not_where_frames_are_alike() {
        // The same players of one stream, of a hundred, and of one without key frames.
        let fill = |streams: u32, burst: f64| {
            let mut headroom = Headroom::default();
            for n in 0..1_000 {
                let stream = StreamName::parse(&format!("cam{}", n % streams)).unwrap();
                headroom.add_player(&Place { stream, burst, ..place(RATE) });
            }
            headroom.players_room(&egress())
        };
        let burst = Burst::typical(&RATE);
        let [one, hundred, even] = [fill(1, burst), fill(100, burst), fill(1, 0.0)];
        assert_eq!((one.1, hundred.1, even.1), (NoRoom::Latency, NoRoom::Cpu, NoRoom::Cpu));
        assert_eq!(hundred.0, even.0);
        // Viewers of segments are no part of it: beside them more players have room in a burst.
        let in_burst = |viewers: u32| {
            let mut headroom = Headroom::default();
            let one = Work { requests: 1.0, sends: 1.5, bytes: 250_000.0, ..Work::default() };
            (0..viewers).for_each(|_| headroom.add_viewer(Some(&one)));
            headroom.add_player(&Place { burst, ..place(RATE) });
            (headroom.in_burst(&egress()), headroom.in_use())
        };
        assert!((in_burst(2_000).0 - in_burst(0).0).abs() < 1e-9);
        assert!(in_burst(2_000).1 > in_burst(0).1 + 0.05);
        assert!((40..80).contains(&(one.0 * 100 / even.0)), "{} of {}", one.0, even.0);
        // Who gathers nothing has as much room as who gathers for a little while.
        let at_once = EgressConfig { batch_max: Duration::ZERO, ..egress() };
        let soon = EgressConfig { batch_max: Duration::from_millis(100), ..egress() };
        let share = |egress| Headroom::default().burst_share(1e6, &egress);
        assert!((share(at_once) - share(soon)).abs() < 1e-9);
    }
}
