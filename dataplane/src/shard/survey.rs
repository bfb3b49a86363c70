//! Survey: what the control plane wants to know of a shard, told in slices.
//!
//! Counters are copied at once. Lists are gathered a slice per turn, so that neither thousands of
//! sessions nor thousands of streams delay a frame; one question is answered at a time. A shard of
//! few is told as it is at one moment, and a large one over some turns, its counters last.
//!
//! An answer waits until all that happened before it is told: a list that overtook it would be
//! compared as if it came after that. One that has become old meanwhile is gathered anew.

use std::collections::VecDeque;

use codecs::time::WallTime;

use super::connection::Connection;
use super::shard::Shard;
use crate::config::HlsSession;
use crate::control::{
    Audience, Detail, Event, InputStatus, PoolStatus, Protocol, SessionStatus, ShardSnapshot,
    SrtStatus, StreamState, StreamStatus,
};
use crate::hub::{Hub, Publisher};
use crate::ids::StreamName;
use crate::session::srt::{self, Server};
use crate::slab::PageClass;

/// Slots of sessions or readers that one turn looks at: about a fifth of a millisecond.
const SLOTS_PER_TURN: usize = 512;
/// A slot of a stream counts as that many.
const STREAM_SLOTS: usize = 8;
/// Questions that wait for their turn at most; whoever asks more finds this shard missing.
const QUESTIONS_MAX: usize = 64;

/// The questions under way. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    waiting: VecDeque<(u64, Detail)>,
    current: Option<Survey>,
}

impl Surveys {
    /// True if nothing is asked.
    fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }
}

/// One question with lists, and what is gathered for it so far.
#[derive(Debug)]
struct Survey {
    id: u64,
    detail: Detail,
    /// The next slot to look at, of streams, readers, viewed streams, connections or views.
    at: usize,
    step: Step,
    /// Views that were entered before this one are listed.
    views_before: u64,
    streams: Vec<StreamStatus>,
    audiences: Vec<Audience>,
    inputs: Vec<InputStatus>,
    /// The stream whose inputs were listed last.
    after: Option<StreamName>,
    sessions: Vec<SessionStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Streams,
    Readers,
    Viewed,
    Inputs,
    Sessions,
    Views,
    Done,
}

impl Survey {
    const fn new(id: u64, detail: Detail) -> Self {
        let step = match detail {
            Detail { streams: true, .. } => Step::Streams,
            Detail { sessions: true, .. } => Step::Sessions,
            Detail::NONE => Step::Done,
        };
        Self {
            id,
            detail,
            at: 0,
            step,
            views_before: 0,
            streams: Vec::new(),
            audiences: Vec::new(),
            inputs: Vec::new(),
            after: None,
            sessions: Vec::new(),
        }
    }

    /// Looks at a slice of one list, of `room` slots at most, and returns what is left of them.
    fn look(&mut self, shard: &Shard, room: usize) -> usize {
        if self.step == Step::Inputs {
            return self.look_at_inputs(shard, room);
        }
        let (slots, each) = match self.step {
            Step::Streams => (shard.streams.slots().len(), STREAM_SLOTS),
            Step::Readers => (shard.readers.capacity(), 1),
            Step::Viewed => (shard.views.roll.viewed().places(), 1),
            Step::Sessions => (shard.connections.capacity(), 1),
            Step::Views => (shard.views.roll.places(), 1),
            Step::Inputs | Step::Done => return room,
        };
        if self.step == Step::Sessions && self.at == 0 {
            // At once, so that no later turn moves what is gathered; pages are touched as it grows.
            self.sessions.reserve(shard.connections.len() + shard.views.roll.len());
            self.views_before = shard.views.roll.entered();
        }
        let end = slots.min(self.at + room.div_ceil(each));
        let left = room.saturating_sub((end - self.at) * each);
        for at in self.at..end {
            let slot = u32::try_from(at).expect("slots are counted in 32 bits");
            match self.step {
                Step::Streams => {
                    self.streams.extend(shard.streams.get(slot).map(|hub| shard.stream_status(hub)))
                }
                Step::Readers => self.audiences.extend(shard.audience(slot)),
                Step::Viewed => self.audiences.extend(shard.viewers_at(at)),
                Step::Sessions => {
                    let connection = shard.connections.get(slot);
                    self.sessions.extend(connection.map(|c| shard.session_status(slot, c)));
                }
                Step::Views => {
                    let view = shard.views.roll.at(at, self.views_before);
                    self.sessions.extend(view.map(|view| shard.view_status(view)));
                }
                Step::Inputs | Step::Done => {}
            }
        }
        self.at = end;
        if end == slots {
            self.step = match self.step {
                Step::Streams => Step::Readers,
                Step::Readers => Step::Viewed,
                Step::Viewed => Step::Inputs,
                Step::Sessions => Step::Views,
                Step::Inputs | Step::Views | Step::Done => Step::Done,
            };
            self.at = 0;
        }
        left
    }

    /// The same of the inputs that the shard fetches.
    fn look_at_inputs(&mut self, shard: &Shard, room: usize) -> usize {
        let streams = room.div_ceil(STREAM_SLOTS);
        let before = self.inputs.len();
        self.after = shard.list_inputs(self.after.as_ref(), streams, &mut self.inputs);
        if self.after.is_none() {
            self.step = if self.detail.sessions { Step::Sessions } else { Step::Done };
        }
        room.saturating_sub((self.inputs.len() - before) * STREAM_SLOTS)
    }
}

fn srt_status(connection: &srt::Connection) -> Box<SrtStatus> {
    let (encrypted, statistics) = (connection.is_encrypted(), *connection.statistics());
    Box::new(SrtStatus { encrypted, statistics, gauges: connection.gauges() })
}

impl Shard {
    /// The control plane asks: counters are told at once, lists when they are gathered.
    pub(super) fn ask_survey(&mut self, id: u64, detail: Detail) {
        if detail == Detail::NONE && self.has_told_all() {
            let snapshot = Box::new(self.snapshot(Survey::new(id, detail)));
            self.report(Event::Snapshot(snapshot));
        } else if self.surveys.waiting.len() < QUESTIONS_MAX {
            self.surveys.waiting.push_back((id, detail));
        } else {
            self.counters.events_lost += 1;
        }
    }

    /// Gathers what one turn has time for; true if more is to be gathered.
    pub(super) fn survey(&mut self) -> bool {
        if self.surveys.is_idle() || !self.has_told_all() {
            return false;
        }
        let Surveys { waiting, current } = &mut self.surveys;
        let next = || waiting.pop_front().map(|(id, detail)| Survey::new(id, detail));
        let Some(mut survey) = current.take().or_else(next) else { return false };
        let mut room = SLOTS_PER_TURN;
        while room > 0 && survey.step != Step::Done {
            room = survey.look(self, room);
        }
        if survey.step == Step::Done {
            let snapshot = Box::new(self.snapshot(survey));
            self.report(Event::Snapshot(snapshot));
        } else {
            self.surveys.current = Some(survey);
        }
        !self.surveys.is_idle()
    }

    /// True if nothing waits to be told and the mailbox has room. If not, the list under way is to
    /// be gathered anew, because it would be told after what it did not see.
    fn has_told_all(&mut self) -> bool {
        self.tell_tombstones();
        let told = !self.holds_back() && !self.control.events.is_full();
        if !told && let Some(old) = self.surveys.current.take() {
            self.surveys.waiting.push_front((old.id, old.detail));
        }
        told
    }

    fn snapshot(&self, survey: Survey) -> ShardSnapshot {
        debug_assert!(self.census_holds(), "{:?}", self.counters);
        let mut counters = self.counters.clone();
        counters.streams = self.streams.len() as u64;
        counters.logs_sealed = self.passed_logs();
        counters.pages_retired = self.gc.waiting() as u64;
        counters.buffer_bytes = self.budget.held();
        counters.buffer_bytes_peak = self.budget.peak();
        counters.socket_bytes = self.upkeep.socket_bytes;
        counters.socket_bytes_peak = self.upkeep.socket_bytes_peak;
        counters.tls_buffer_bytes += self.cipher.buffer_bytes() as u64;
        ShardSnapshot {
            shard: self.id,
            id: survey.id,
            counters,
            operations: self.reactor.counters().operations(),
            system_calls: self.reactor.counters().system_calls(),
            incidents: self.reactor.counters().incidents(),
            cpu: self.cpu,
            pools: [PageClass::Large, PageClass::Small].map(|class| self.pool_status(class)).into(),
            draining: self.draining.is_some(),
            utilisation: self.flush.utilisation(),
            flush_interval_ms: self.flush.interval().as_secs_f64() * 1000.0,
            headroom: self.headroom_status(),
            recent: self.pulse.recent(),
            audiences: survey.audiences,
            streams: survey.streams,
            inputs: survey.inputs,
            sessions: survey.sessions,
        }
    }

    fn pool_status(&self, class: PageClass) -> PoolStatus {
        let usage = self.pool.usage(class);
        PoolStatus {
            name: class.pool(),
            page_bytes: u64::from(class.bytes()),
            used: usage.in_use.into(),
            peak: usage.peak.into(),
            total: usage.total.into(),
            resident: usage.resident.into(),
        }
    }

    fn stream_status(&self, hub: &Hub) -> StreamStatus {
        let (units_in, bytes_in, timestamps_repaired) = hub.totals();
        let (state, publisher) = match hub.publisher() {
            Publisher::Session { id, .. } => (StreamState::Live, Some(id)),
            Publisher::Demo => (StreamState::Live, None),
            Publisher::Lost(_) => (StreamState::Grace, None),
        };
        StreamStatus {
            name: hub.name().clone(),
            id: hub.id(),
            shard: self.id,
            state,
            publisher,
            protocol: hub.protocol(),
            playable: hub.first_playlist(),
            age_ms: self.age_ms(hub.began()),
            silent_ms: self.age_ms(hub.last_media()),
            tracks: hub.tracks().status(),
            transport: hub.transport().cloned().map(Box::new),
            logs: hub.log_status(),
            bytes_in,
            units_in,
            timestamps_repaired,
        }
    }

    fn audience(&self, slot: u32) -> Option<Audience> {
        let reader = self.readers.get(slot)?;
        let players = reader.players() as u64;
        (players > 0).then(|| Audience {
            stream: reader.stream.clone(),
            format: reader.key.name(),
            players,
            viewers: 0,
        })
    }

    /// The viewed stream in that place, if it is not empty.
    fn viewers_at(&self, place: usize) -> Option<Audience> {
        let &(ref stream, viewers) = self.views.roll.viewed().at(place)?;
        let (stream, format) = (stream.clone(), Protocol::Hls.name());
        Some(Audience { stream, format, players: 0, viewers })
    }

    fn session_status(&self, slot: u32, connection: &Connection) -> SessionStatus {
        let protocol = connection.session.protocol();
        // Where viewers have sessions of their own, a connection is what carries their requests,
        // and is shown as a player only while one of them waits.
        let carries = protocol == Protocol::Hls
            && connection.asked.is_none()
            && self.config.stream.hls.session != HlsSession::Off
            || connection.is_unlisted();
        let stream = self.stream_of(slot).or_else(|| connection.session.stream());
        SessionStatus {
            id: connection.id,
            shard: self.id,
            protocol: if carries { Protocol::Http } else { protocol },
            role: connection.does().filter(|_| !carries),
            stream: stream.filter(|_| !carries).cloned(),
            peer: connection.peer.into(),
            tls: connection.tls.as_ref().map(|tls| tls.link.version()),
            agent: connection.session.agent().clone(),
            state: connection.session.state_name(),
            age_ms: self.age_ms(connection.opened),
            started: connection.told_role().map(|_| self.moment(connection.role_began())),
            bytes_in: connection.received,
            bytes_out: connection.sent,
            jumps: connection.playing().map_or(0, |playing| playing.jumps.total.into()),
            srt: connection.session.srt().and_then(Server::connection).map(srt_status),
        }
    }

    /// The moment of the calendar that `instant` was.
    pub(super) fn moment(&self, instant: std::time::Instant) -> WallTime {
        let age = i64::try_from(self.age_ms(instant)).unwrap_or(i64::MAX);
        WallTime::from_unix_millis(self.wall.as_unix_millis().saturating_sub(age))
    }

    pub(super) fn age_ms(&self, since: std::time::Instant) -> u64 {
        let age = self.now.saturating_duration_since(since);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }
}
