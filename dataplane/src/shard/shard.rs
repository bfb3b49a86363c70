//! One shard: what its thread owns.

use std::collections::hash_map::RandomState;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use codecs::time::WallTime;

use super::accept::OpenListener;
use super::admission::Seen;
use super::arrivals::TurnedAway;
use super::budget::Budget;
use super::cipher::Cipher;
use super::commands::ControlLink;
use super::connection::Connections;
use super::demo::Demo;
use super::derivations::Derivations;
use super::dials::Dials;
use super::drain::Draining;
use super::egress::SLICE_SENDS_MAX;
use super::eviction::Evictions;
use super::flush::Flush;
use super::handshakes::Handshakes;
use super::headroom::Headroom;
use super::idle::Idle;
use super::mailbox::{Inboxes, Outboxes};
use super::message::Message;
use super::news::Wanted;
use super::ports::Ports;
use super::pulls::Pulls;
use super::pulse::Pulse;
use super::queues::Queues;
use super::quotas::Quotas;
use super::reader::Readers;
use super::rechecks::Rechecks;
use super::rekeying::Rekeyings;
use super::shared::Shared;
use super::starters::Starters;
use super::streams::Streams;
use super::survey::Surveys;
use super::timer::TimerWheel;
use super::tombstones::Tombstones;
use super::trains::Trains;
use super::upkeep::Upkeep;
use super::usage::UsageTable;
use super::verdicts::Verdicts;
use super::views::Views;
use crate::config::{Config, LimitId, ListenerConfig, Terms};
use crate::control::HttpChallenge;
use crate::error::Error;
use crate::ids::ShardId;
use crate::log::Gc;
use crate::metrics::ShardCounters;
use crate::reactor::{Reactor, Token};
use crate::slab::Pool;
use crate::words::Words;

/// Timers of a shard beside one per connection.
const TIMERS_EXTRA: usize = 64;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerKey {
    Connection {
        slot: u32,
        generation: u16,
    },
    Housekeeping,
    /// Shows how late the loop is while nothing else is due.
    Probe,
    Demo,
    Accept(Token),
    /// A port hears again.
    Receive(Token),
}

/// What a shard is built from; made on the starting thread.
#[derive(Debug)]
pub(crate) struct ShardParts {
    pub id: ShardId,
    pub config: Config,
    pub shared: Arc<Shared>,
    pub pool: Pool,
    pub outboxes: Outboxes<Message>,
    pub inboxes: Inboxes<Message>,
    pub control: ControlLink,
    pub listeners: Vec<(ListenerConfig, OwnedFd)>,
}

/// One shard. Lives on: its thread. Crosses by: never.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) id: ShardId,
    pub(super) cpu: Option<usize>,
    pub(super) config: Config,
    /// What its sessions are judged by.
    pub(super) terms: Arc<Terms>,
    pub(super) shared: Arc<Shared>,
    pub(super) reactor: Reactor,
    pub(super) pool: Pool,
    pub(super) gc: Gc,
    pub(super) timers: TimerWheel<TimerKey>,
    pub(super) connections: Connections,
    pub(super) readers: Readers,
    pub(super) streams: Streams,
    pub(super) idle: Idle,
    pub(super) wanted: Wanted,
    /// Readers of players that asked for a fresh start of those who come after them.
    pub(super) clears: Vec<u32>,
    pub(super) outboxes: Outboxes<Message>,
    pub(super) inboxes: Inboxes<Message>,
    pub(super) control: ControlLink,
    pub(super) cipher: Cipher,
    pub(super) budget: Budget,
    pub(super) upkeep: Upkeep,
    pub(super) listeners: Vec<OpenListener>,
    pub(super) listener_count: u16,
    pub(super) ports: Ports,
    pub(super) pulls: Pulls,
    pub(super) dials: Dials,
    pub(super) trains: Trains,
    pub(super) handshakes: Handshakes,
    pub(super) derivations: Derivations,
    pub(super) queues: Queues,
    pub(super) flush: Flush,
    pub(super) headroom: Headroom,
    /// Where the headroom looked last.
    pub(super) seen: Seen,
    pub(super) counters: ShardCounters,
    pub(super) pulse: Pulse,
    pub(super) surveys: Surveys,
    pub(super) evictions: Evictions,
    pub(super) rekeyings: Rekeyings,
    pub(super) starters: Starters,
    pub(super) demo: Option<Box<Demo>>,
    pub(super) directory: Arc<[u8]>,
    pub(super) challenge: Option<Arc<HttpChallenge>>,
    pub(super) random: RandomState,
    pub(super) words: Words,
    pub(super) verdicts: Verdicts,
    pub(super) rechecks: Rechecks,
    pub(super) views: Views,
    pub(super) tombstones: Tombstones,
    pub(super) turned_away: TurnedAway,
    pub(super) usage: UsageTable,
    pub(super) quotas: Quotas,
    pub(super) now: Instant,
    /// The calendar at the start of the turn.
    pub(super) wall: WallTime,
    pub(super) sessions_opened: u64,
    pub(super) rebalance_turn: u16,
    /// Bytes of join bursts that this turn may still send.
    pub(super) join_budget: u32,
    /// The connections of the slice under way, in the order of its sends.
    pub(super) slice: Vec<u32>,
    /// Sends of the slice that were answered.
    pub(super) answered: usize,
    /// Connections whose join waits for the next turn's budget.
    pub(super) postponed: Vec<u32>,
    /// Scratch of a turn: the dirty slots.
    pub(super) dirty: Vec<u32>,
    /// Connections that datagrams came for, which are settled when the round of them is over.
    pub(super) heard: Vec<u32>,
    /// Letters that a full mailbox gave back and that must not be lost.
    pub(super) unsent: Vec<(ShardId, Message)>,
    pub(super) draining: Option<Draining>,
    pub(super) stopped: bool,
}

impl Shard {
    pub(crate) const fn id(&self) -> ShardId {
        self.id
    }

    /// Builds the shard on its own thread around a reactor that was made there.
    pub(crate) fn new(parts: ShardParts, reactor: Reactor, now: Instant) -> Result<Self, Error> {
        let ShardParts { id, config, shared, pool, outboxes, inboxes, control, listeners } = parts;
        let connections_max = config.limits.get(LimitId::ConnectionsMax) as usize;
        let mut shard = Self {
            id,
            cpu: config.shards[id.index()].cpu,
            gc: Gc::new(&pool),
            timers: TimerWheel::new(now, connections_max + TIMERS_EXTRA),
            connections: Connections::default(),
            readers: Readers::new(readers_max(&config) as usize),
            streams: Streams::default(),
            idle: Idle::default(),
            wanted: Wanted::default(),
            clears: Vec::new(),
            cipher: Cipher::default(),
            budget: Budget::new(&config),
            upkeep: Upkeep::default(),
            listeners: Vec::new(),
            listener_count: 0,
            ports: Ports::default(),
            heard: Vec::new(),
            pulls: Pulls::default(),
            dials: Dials::default(),
            trains: Trains::default(),
            handshakes: Handshakes::default(),
            derivations: Derivations::default(),
            queues: Queues::default(),
            flush: Flush::new(&config.egress, now),
            headroom: Headroom::default(),
            seen: Seen::new(now),
            counters: ShardCounters::default(),
            pulse: Pulse::new(now),
            surveys: Surveys::default(),
            evictions: Evictions::default(),
            rekeyings: Rekeyings::default(),
            starters: Starters::default(),
            demo: demo_of(&config, &shared, id)?,
            directory: Arc::from(&b"{\"streams\":[]}"[..]),
            challenge: None,
            random: RandomState::new(),
            words: Words::default(),
            verdicts: verdicts_of(&config, &shared),
            rechecks: Rechecks::default(),
            views: Views::new(&config.view_keys),
            tombstones: Tombstones::default(),
            turned_away: TurnedAway::default(),
            usage: UsageTable::new(now),
            quotas: Quotas::default(),
            now,
            wall: super::turn::calendar(),
            sessions_opened: 0,
            rebalance_turn: 0,
            join_budget: 0,
            slice: Vec::with_capacity(SLICE_SENDS_MAX),
            answered: 0,
            postponed: Vec::new(),
            dirty: Vec::new(),
            unsent: Vec::new(),
            draining: None,
            stopped: false,
            terms: terms_of(&config),
            config,
            shared,
            reactor,
            pool,
            outboxes,
            inboxes,
            control,
        };
        listeners.into_iter().for_each(|(config, fd)| shard.open_bound(config, fd));
        Ok(shard)
    }

    /// Starts to take what comes to a bound socket.
    fn open_bound(&mut self, config: ListenerConfig, fd: OwnedFd) {
        if config.kind.is_datagram() {
            self.open_port(config, fd);
        } else {
            self.listen(config, fd);
        }
    }

    /// Sends a letter that must arrive, behind those to the same shard that wait for room.
    pub(super) fn post(&mut self, to: ShardId, letter: Message) {
        let waits = self.unsent.iter().any(|(shard, _)| *shard == to);
        let refused = if waits { Some(letter) } else { self.outboxes.send(to, letter).err() };
        if let Some(letter) = refused {
            self.counters.mailbox_full += 1;
            self.unsent.push((to, letter));
        }
        self.alert(to);
    }

    /// Sends again what a full mailbox gave back.
    pub(super) fn retry_unsent(&mut self) {
        for (to, letter) in std::mem::take(&mut self.unsent) {
            let waits = self.unsent.iter().any(|(shard, _)| *shard == to);
            match if waits { Err(letter) } else { self.outboxes.send(to, letter) } {
                Ok(()) => self.alert(to),
                Err(letter) => self.unsent.push((to, letter)),
            }
        }
    }

    /// A letter was sent to `shard`: it is woken if it sleeps.
    pub(super) fn alert(&mut self, shard: ShardId) {
        if self.shared.wakes.alert(shard) {
            self.counters.wakes_sent += 1;
            self.reactor.wake_peer(self.shared.waker(shard));
        }
    }

    /// A log of this shard moved: the reading shard's bit is set, and it is woken if it sleeps.
    pub(super) fn mark(&mut self, shard: ShardId, reader: u32) {
        if self.shared.wakes.mark(shard, reader) && shard != self.id {
            self.counters.wakes_sent += 1;
            self.reactor.wake_peer(self.shared.waker(shard));
        }
    }
}

/// The part of the configuration that sessions are judged by.
pub(super) fn terms_of(config: &Config) -> Arc<Terms> {
    Arc::new(Terms {
        limits: config.limits.clone(),
        session: config.session.clone(),
        auth: config.auth,
        hls_session: config.stream.hls.session,
    })
}

/// What is remembered of verdicts: this shard's share of the node's connections.
fn verdicts_of(config: &Config, shared: &Shared) -> Verdicts {
    let connections_max = config.limits.get(LimitId::ConnectionsMax) as usize;
    Verdicts::new(connections_max / config.shards.len(), shared.views.question_keys())
}

/// The built-in stream, on the shard that is its home.
fn demo_of(config: &Config, shared: &Shared, id: ShardId) -> Result<Option<Box<Demo>>, Error> {
    let here = config.demo.as_ref().filter(|demo| shared.placement.home(&demo.name) == id);
    here.map(|demo| Demo::new(demo).map(Box::new)).transpose()
}

/// Views of HLS of the node at most.
pub(crate) fn views_max(config: &Config) -> u64 {
    // Whether viewers are told apart may change while the node runs.
    config.limits.get(LimitId::HlsViewersMax)
}

/// Logs that one shard reads at most: every stream in every format and dialect.
pub(crate) fn readers_max(config: &Config) -> u32 {
    let streams = u32::try_from(config.limits.get(LimitId::StreamsMax)).unwrap_or(u32::MAX / 8);
    streams.saturating_mul(4).clamp(64, 1 << 20)
}
