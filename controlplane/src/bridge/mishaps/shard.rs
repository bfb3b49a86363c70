//! A shard, as `dataplane/src/shard/{tombstones,survey}.rs` have it: what it tells, holds back and
//! loses, and the lists that it gathers slice by slice.

use std::collections::{BTreeMap, VecDeque};

use codecs::time::WallTime;
use dataplane::control::{
    Detail, Event, FirstPlaylist, Protocol, Role, SessionStatus, ShardSnapshot, StreamState,
    StreamStatus,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};

use crate::bridge::snapshots::empty;

/// Events that a mailbox holds, that wait before it, and those of streams that wait besides.
const MAILBOX: usize = 5;
const WAITING: usize = 3;
const WAITING_STREAMS: usize = 3;
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) publisher: Option<SessionId>,
    pub(super) playable: Option<FirstPlaylist>,
}

/// A list that is gathered, slice by slice.
#[derive(Debug)]
struct Survey {
    snapshot: ShardSnapshot,
    detail: Detail,
    slices: u8,
}

/// The shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) mailbox: VecDeque<Event>,
    waiting: VecDeque<Event>,
    lost: bool,
    pub(super) orders: VecDeque<(u64, Detail)>,
    survey: Option<Survey>,
    pub(super) plays: BTreeMap<SessionId, StreamName>,
    pub(super) streams: BTreeMap<StreamName, Stream>,
}

impl Shard {
    pub(super) fn flush(&mut self, me: ShardId) {
        while self.mailbox.len() < MAILBOX
            && let Some(event) = self.waiting.pop_front()
        {
            self.mailbox.push_back(event);
        }
        if self.waiting.is_empty() && self.lost && self.mailbox.len() < MAILBOX {
            self.mailbox.push_back(Event::SessionsOverflowed { shard: me });
            self.lost = false;
        }
    }

    /// Nothing is to be told by it.
    pub(super) fn is_silent(&self) -> bool {
        let surveys = self.survey.is_some() || !self.orders.is_empty();
        self.mailbox.is_empty() && !self.holds_back() && !surveys
    }

    fn holds_back(&self) -> bool {
        self.lost || !self.waiting.is_empty()
    }

    pub(super) fn tell(&mut self, me: ShardId, event: Event) {
        self.flush(me);
        if !self.holds_back() && self.mailbox.len() < MAILBOX {
            self.mailbox.push_back(event);
            return;
        }
        let fits = match event {
            Event::Session(_) => !self.lost && self.waiting.len() < WAITING,
            _ => self.waiting.len() < WAITING + WAITING_STREAMS,
        };
        match fits {
            true => self.waiting.push_back(event),
            false => self.lost = true,
        }
    }

    /// Looks at one more slice of what it has; tells the list when it is whole.
    pub(super) fn look(&mut self, me: ShardId) {
        if self.survey.is_none() {
            let Some((id, detail)) = self.orders.pop_front() else { return };
            self.survey = Some(Survey { snapshot: empty(me, id), detail, slices: 0 });
        }
        let Some(survey) = &mut self.survey else { return };
        let snapshot = &mut survey.snapshot;
        match survey.slices {
            0 if survey.detail.streams => {
                let status =
                    |(name, stream): (&StreamName, &Stream)| stream_status(me, name, stream);
                snapshot.streams = self.streams.iter().map(status).collect();
            }
            half @ (1 | 2) if survey.detail.sessions => {
                let publishes = self.streams.iter().filter_map(|(name, stream)| {
                    Some((stream.publisher?, Role::Publish, name.clone()))
                });
                let plays = self.plays.iter().map(|(&id, name)| (id, Role::Play, name.clone()));
                let slice =
                    publishes.chain(plays).filter(|(id, ..)| id.0 % 2 == u64::from(half - 1));
                let status = |(id, role, name)| session_status(me, id, role, name);
                snapshot.sessions.extend(slice.map(status));
            }
            _ => {}
        }
        survey.slices += 1;
        if survey.slices > 2 {
            let Some(Survey { snapshot, .. }) = self.survey.take() else { return };
            self.flush(me);
            if !self.holds_back() && self.mailbox.len() < MAILBOX {
                self.mailbox.push_back(Event::Snapshot(Box::new(snapshot)));
            }
        }
    }
}

fn stream_status(shard: ShardId, name: &StreamName, stream: &Stream) -> StreamStatus {
    let publisher = stream.publisher;
    StreamStatus {
        name: name.clone(),
        id: Some(stream.id),
        shard,
        state: if publisher.is_some() { StreamState::Live } else { StreamState::Grace },
        publisher,
        protocol: Protocol::Rtmp,
        playable: stream.playable,
        age_ms: 0,
        silent_ms: 0,
        tracks: Vec::new(),
        transport: None,
        logs: Vec::new(),
        bytes_in: 0,
        units_in: 0,
        timestamps_repaired: 0,
    }
}

fn session_status(shard: ShardId, id: SessionId, role: Role, stream: StreamName) -> SessionStatus {
    SessionStatus {
        id,
        shard,
        protocol: Protocol::Rtmp,
        role: Some(role),
        stream: Some(stream),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "test".into(),
        tls: None,
        state: "playing",
        age_ms: 0,
        started: Some(WallTime::default()),
        bytes_in: 0,
        bytes_out: 0,
        jumps: 0,
        srt: None,
    }
}
