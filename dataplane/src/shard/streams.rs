//! The streams whose home is this shard: who publishes them, who reads them, when they end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::away::Away;
use super::ended::EndedLog;
use super::message::{Answer, Message, Subscribe};
use super::passed::Passed;
use super::relocation::Moving;
use super::shard::Shard;
use crate::control::{CloseReason, Event};
use crate::hub::{Hub, Publisher, Sink, Subscriber};
use crate::ids::{ShardId, StreamName};
use crate::segment::Numbering;
use crate::session::mpegts::RelayRun;
use crate::session::{AccessUnit, Refusal, Use};

/// Hubs in slots, found by name at control rate and by slot per frame.
#[derive(Debug, Default)]
pub(super) struct Streams {
    hubs: Vec<Option<Hub>>,
    by_name: HashMap<StreamName, u32>,
    /// Hubs that took units since their logs were last published.
    touched: Vec<u32>,
    /// By slot: it is among the touched.
    is_touched: Vec<bool>,
    /// By slot: bytes of its tables that the budget counts.
    pub counted: Vec<u32>,
    /// Logs of streams that ended, kept until their readers have drained them.
    pub ended: Vec<EndedLog>,
    /// Readers that wait for a stream to appear.
    pub awaited: Vec<Awaited>,
    /// Where streams are that the map places here, but for those that are.
    pub away: Away,
    /// Streams of this shard that are being moved away.
    pub moving: Vec<Moving>,
    /// Logs of streams that were moved away, kept until their readers have drained them.
    pub passed: Vec<Passed>,
    /// Follows every number of a segment that was used here.
    pub numbering: Numbering,
    /// The turn that last gave pages back under pressure.
    pub relieved: Option<Instant>,
}

/// A reader that waits for a stream to appear.
#[derive(Debug)]
pub(super) struct Awaited {
    from: ShardId,
    question: Subscribe,
    until: Instant,
}

impl Streams {
    pub(super) fn get(&self, slot: u32) -> Option<&Hub> {
        self.hubs.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Hub> {
        self.hubs.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn find(&self, name: &StreamName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn insert(&mut self, hub: Hub) -> u32 {
        let at = self.hubs.iter().position(Option::is_none).unwrap_or_else(|| {
            self.hubs.push(None);
            self.is_touched.push(false);
            self.counted.push(0);
            self.hubs.len() - 1
        });
        let slot = u32::try_from(at).expect("streams_max is under 32 bits");
        self.by_name.insert(hub.name().clone(), slot);
        self.hubs[at] = Some(hub);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Hub> {
        let hub = self.hubs.get_mut(slot as usize)?.take()?;
        self.by_name.remove(hub.name());
        Some(hub)
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Every slot, with a stream or without.
    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.hubs.len()).expect("streams_max is under 32 bits")
    }

    pub(super) fn touch(&mut self, slot: u32) {
        let Some(is_touched) = self.is_touched.get_mut(slot as usize) else { return };
        if !std::mem::replace(is_touched, true) {
            self.touched.push(slot);
        }
    }
}

impl Shard {
    /// A publisher delivered a unit.
    pub(super) fn media(&mut self, slot: u32, unit: AccessUnit) {
        match self.connections.get(slot).and_then(|connection| connection.publishing()) {
            Some(hub) => self.push_unit(hub, unit),
            None => self.pool.release(unit.payload),
        }
    }

    /// A publisher delivered packets that go on as they are.
    pub(super) fn relay(&mut self, slot: u32, run: RelayRun) {
        let publishing = self.connections.get(slot).and_then(|connection| connection.publishing());
        let Some(hub) = publishing else {
            self.pool.release(run.packets);
            return;
        };
        let mut kept = true;
        let used = self.with_stream(hub, |hub, sink| kept = hub.relay(run, sink));
        debug_assert!(used, "a publisher's hub lives as long as it publishes");
        self.streams.touch(hub);
        if !kept || self.pool.is_low() {
            self.relieve(!kept);
        }
    }

    /// A unit for the stream in `hub`, whoever delivers it.
    pub(super) fn push_unit(&mut self, hub: u32, unit: AccessUnit) {
        let mut kept = true;
        let used = self.with_stream(hub, |hub, sink| kept = hub.push(unit, sink));
        debug_assert!(used, "a publisher's hub lives as long as it publishes");
        self.streams.touch(hub);
        if !kept || self.pool.is_low() {
            self.relieve(!kept);
        }
    }

    /// Lets `act` work on the stream that the connection in `slot` publishes.
    pub(super) fn with_hub(&mut self, slot: u32, act: impl FnOnce(&mut Hub, &mut Sink<'_>)) {
        if let Some(hub) = self.connections.get(slot).and_then(|c| c.publishing()) {
            self.with_stream(hub, act);
            self.streams.touch(hub);
        }
    }

    pub(super) fn with_stream(
        &mut self,
        hub: u32,
        act: impl FnOnce(&mut Hub, &mut Sink<'_>),
    ) -> bool {
        let Self { streams, pool, gc, counters, now, wall, .. } = self;
        let Some(hub) = streams.get_mut(hub) else { return false };
        act(hub, &mut Sink { pool, gc, counters, now: *now, wall: *wall });
        true
    }

    /// Makes what this turn appended visible and marks its readers, each log once.
    pub(super) fn publish_logs(&mut self) {
        for at in 0..self.streams.touched.len() {
            let slot = self.streams.touched[at];
            self.account_stream(slot);
            self.answer_track_seekers(slot);
            self.tell_first_playlist(slot);
            self.tell_segments(slot);
            self.with_stream(slot, |hub, sink| {
                hub.evict(sink);
                hub.show_windows(sink);
            });
            let Self { streams, shared, reactor, counters, id, .. } = self;
            let Some(hub) = streams.get_mut(slot) else { continue };
            for log in hub.logs_mut() {
                for &Subscriber { shard, slot, .. } in log.publish() {
                    if shared.wakes.mark(shard, slot) && shard != *id {
                        counters.wakes_sent += 1;
                        reactor.wake_peer(shared.waker(shard));
                    }
                }
            }
        }
        let Streams { touched, is_touched, .. } = &mut self.streams;
        for slot in touched.drain(..) {
            is_touched[slot as usize] = false;
        }
    }

    /// Ends a stream: its readers drain what is left and hear their protocol's end.
    pub(super) fn end_stream(&mut self, slot: u32, reason: CloseReason) {
        self.finish_segments(slot);
        let Some(hub) = self.streams.remove(slot) else { return };
        self.forget_stream(slot);
        let (name, id) = (hub.name().clone(), hub.id());
        let (units, bytes, _) = hub.totals();
        tracing::info!(stream = %name, reason = reason.name(), units, bytes, "stream ended");
        let Self { streams, pool, gc, counters, now, wall, .. } = self;
        let numbering = hub.numbering();
        streams.numbering = streams.numbering.or_later(numbering);
        let logs = hub.end(&mut Sink { pool, gc, counters, now: *now, wall: *wall });
        let mut shown = false;
        for mut log in logs {
            if self.draining.is_some() {
                log.forget_before();
            }
            shown |= log.log().window().is_some();
            self.keep_ended(&name, log);
        }
        self.ended_away(&name, numbering, shown);
        self.shared.caps.leave_stream();
        self.tell_control(Event::StreamEnded { stream: name, id, reason });
    }

    /// A reading shard asks for a log.
    pub(super) fn subscription_asked(&mut self, from: ShardId, question: Subscribe) {
        let Some(slot) = self.streams.find(&question.stream) else {
            self.absent_asked(from, question);
            return;
        };
        if self.streams.get(slot).is_some_and(|hub| !hub.knows_track(question.key.track)) {
            let until = self.now + question.wait.max(TRACKS_WAIT);
            self.await_stream(Awaited { from, question, until });
            return;
        }
        let key = self.streams.get(slot).and_then(Hub::key);
        let mut log = Err(crate::error::Error::Rejected("not_found"));
        self.with_stream(slot, |hub, sink| {
            let reader = Subscriber { shard: from, slot: question.slot, number: question.number };
            log = match question.usage {
                Use::Live => hub.subscribe(question.key, reader, sink),
                Use::Segments => hub.subscribe_segments(reader, sink),
            };
        });
        let answer = match log {
            Ok(logs) => Answer::Reading(logs, key),
            Err(crate::error::Error::Rejected("no_track")) => Answer::Refused(Refusal::NoTrack),
            Err(crate::error::Error::Rejected("not_found")) => Answer::Refused(Refusal::NotFound),
            Err(_) => Answer::Refused(Refusal::Overloaded),
        };
        self.answer(from, question.slot, answer);
    }

    /// A reading shard asks for a log of a stream that is not here: it may be elsewhere, may have
    /// ended, may be on its way here or may appear.
    fn absent_asked(&mut self, from: ShardId, question: Subscribe) {
        if let Some(at) = self.streams.away.find_for(&question.stream, question.usage) {
            self.answer(from, question.slot, Answer::Elsewhere(at, question));
            return;
        }
        if let Some(logs) = self.find_ended(from, &question) {
            self.answer(from, question.slot, Answer::Reading(logs, None));
            return;
        }
        // Who was sent here by the map's home may be faster than the stream itself.
        let sent_on = self.shared.placement.home(&question.stream) != self.id;
        let wait = if sent_on { ARRIVAL_WAIT } else { question.wait };
        if wait.is_zero() {
            self.answer(from, question.slot, Answer::Refused(Refusal::NotFound));
        } else {
            let until = self.now + wait;
            self.await_stream(Awaited { from, question, until });
        }
    }

    /// The question is answered when the stream, or its tracks, are there, or not at all.
    fn await_stream(&mut self, awaited: Awaited) {
        if self.streams.awaited.len() >= AWAITED_MAX {
            let refused = Answer::Refused(Refusal::NotFound);
            self.answer(awaited.from, awaited.question.slot, refused);
        } else {
            self.streams.awaited.push(awaited);
        }
    }

    /// The first unit of the stream in `slot` came: who waits for one of its tracks is answered.
    fn answer_track_seekers(&mut self, slot: u32) {
        let Some(hub) = self.streams.get_mut(slot) else { return };
        if hub.has_just_begun() && !self.streams.awaited.is_empty() {
            let Some(name) = self.streams.get(slot).map(|hub| hub.name().clone()) else { return };
            self.answer_awaited(&name);
        }
    }

    fn answer(&mut self, from: ShardId, slot: u32, answer: Answer) {
        if from == self.id {
            self.subscribed(slot, answer);
        } else {
            self.outboxes.answer(from, Message::Subscribed { slot, answer });
            self.alert(from);
        }
    }

    pub(super) fn answer_awaited(&mut self, name: &StreamName) {
        let (now, later) = std::mem::take(&mut self.streams.awaited)
            .into_iter()
            .partition(|awaited| awaited.question.stream == *name);
        self.streams.awaited = later;
        for awaited in now {
            self.subscription_asked(awaited.from, awaited.question);
        }
    }

    /// The thread ends: every stream, and every log that was still to be drained, is closed.
    pub(super) fn close_streams(&mut self) {
        for slot in self.streams.slots() {
            self.end_stream(slot, CloseReason::Draining);
        }
        self.forget_ended();
    }

    /// Ends what ran out of time: grace, idle logs, drained logs, waiting readers.
    pub(super) fn keep_house(&mut self) {
        let mut logs = 0;
        for slot in self.streams.slots() {
            self.with_stream(slot, |hub, sink| {
                while hub.drop_idle_logs(sink) {}
                hub.leave_sealed_logs();
                logs += hub.logs_in_use() as u64;
            });
            let publisher = self.streams.get(slot).map(Hub::publisher);
            let Some(Publisher::Lost(lost)) = publisher else { continue };
            if self.now.saturating_duration_since(lost) >= self.config.stream.grace {
                self.end_stream(slot, CloseReason::ConnectionLost);
            }
        }
        // Kept for snapshots, which look at no stream of thousands.
        self.counters.logs = logs;
        self.tell_turned_away();
        self.check_idle();
        self.close_ended_logs(false);
        self.drop_idle_viewers();
        self.end_idle_views();
        self.keep_relocations();
        let Self { streams, now, .. } = self;
        let expired: Vec<_> =
            streams.awaited.extract_if(.., |awaited| awaited.until <= *now).collect();
        for Awaited { from, mut question, .. } in expired {
            let home = self.shared.placement.home(&question.stream);
            let slot = question.slot;
            let answer = match question.wait.checked_sub(ARRIVAL_WAIT) {
                // It did not come, but it may still begin where the map says.
                Some(left) if home != self.id => {
                    question.wait = left;
                    Answer::Elsewhere(home, question)
                }
                _ => Answer::Refused(Refusal::NotFound),
            };
            self.answer(from, slot, answer);
        }
        self.keep_demo();
        self.keep_ports();
        self.keep_pulls();
        self.keep_dials();
        self.close_idle_ports();
        self.give_back_pages();
        self.weigh_sockets();
    }
}

/// How long the tracks of a stream that has just begun are waited for.
const TRACKS_WAIT: Duration = Duration::from_secs(2);
/// How long a stream is waited for that the map's home has said to be here.
const ARRIVAL_WAIT: Duration = Duration::from_millis(500);
/// Questions for streams that do not exist yet, per shard.
const AWAITED_MAX: usize = 4_096;
