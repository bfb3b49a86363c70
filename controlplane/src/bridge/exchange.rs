//! Exchange: takes the shards' events and the API's questions, and gives answers.
//!
//! Not here: what shards are told by others (`orders.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{Command, Detail, News};
use dataplane::ids::{ShardId, StreamName};
use tokio::sync::oneshot;

use super::ask::Ask;
use super::bindings::Bindings;
use super::dials::Dials;
use super::directory::{Directory, RtmpAddress};
use super::fleet::Fleet;
use super::gather::{Asker, Gathers};
use super::gathered::Gathered;
use super::inputs::Inputs;
use super::moves::Moves;
use super::outbox::Outbox;
use super::pulls::Pulls;
use super::quotas::Quotas;
use super::survey::{Surveys, Waiter};
use crate::auth::{Gate, Rules};
use crate::coordinator::Coordinator;
use crate::coordinator::client::Client;
use crate::counts::Counts;
use crate::events::{Backlog, Bus, Kind};
use crate::penalties::Warden;
use crate::record::Recorder;
use crate::registry::Registry;
use crate::usage::{Book, Collector};
use crate::viewing::Sessions;

/// Events taken in one turn, so that the API is served even while shards ask a lot.
const EVENTS_PER_TURN: usize = 1_024;
/// A full mailbox is tried again after this long, and events for which there was no room.
const RETRY: Duration = Duration::from_millis(5);

/// The control plane's side of all mailboxes.
#[derive(Debug)]
pub struct Exchange<F> {
    pub(super) fleet: F,
    pub(super) gate: Gate,
    pub(super) outbox: Outbox,
    pub(super) gathers: Gathers,
    pub(super) surveys: Surveys,
    /// What is known of streams that are not on the air.
    pub(super) nothing: Arc<Gathered>,
    /// The stream that the clip of the program plays on.
    pub(super) clip: Option<StreamName>,
    /// When a move of a stream was last under way.
    pub(super) moved_at: Option<Instant>,
    pub(super) moves: Moves,
    pub(super) directory: Directory,
    pub(super) sessions: Sessions,
    pub(super) live: Vec<bool>,
    pub(super) coordinator: Coordinator,
    /// The coordinator that this node is a server of.
    pub(super) client: Option<Client>,
    pub(super) bus: Bus,
    /// What is told of players, in their crowds.
    pub(super) news: Backlog,
    /// What shards tell besides.
    pub(super) wanted: News,
    pub(super) inputs: Inputs,
    pub(super) pulls: Pulls,
    pub(super) dials: Dials,
    /// What was used, once it is kept.
    pub(super) usage: Option<(Collector, Book)>,
    pub(super) quotas: Quotas,
    pub(super) bindings: Bindings,
    pub(super) recorder: Recorder,
    full: Vec<bool>,
    pub(super) warden: Warden,
    pub(crate) registry: Registry,
}

impl<F: Fleet> Exchange<F> {
    /// Starts to speak with `fleet`, all of whose shards are up.
    pub fn new(fleet: F, rules: Rules, bus: Bus, now: Instant) -> Self {
        let shards = fleet.shards();
        let exchange = Self {
            fleet,
            gate: Gate::new(rules, bus.clone()),
            outbox: Outbox::new(shards),
            gathers: Gathers::default(),
            surveys: Surveys::default(),
            nothing: Arc::default(),
            clip: None,
            moved_at: None,
            moves: Moves::default(),
            directory: Directory::new(now),
            bus,
            news: Backlog::default(),
            wanted: News::default(),
            sessions: Sessions::default(),
            live: vec![true; shards],
            coordinator: Coordinator::default(),
            client: None,
            inputs: Inputs::default(),
            pulls: Pulls::default(),
            dials: Dials::default(),
            usage: None,
            quotas: Quotas::default(),
            bindings: Bindings::default(),
            recorder: Recorder::default(),
            full: vec![false; shards],
            warden: Warden::default(),
            registry: Registry::default(),
        };
        for shard in exchange.shards() {
            exchange.bus.publish(None, None, Kind::ShardStarted { shard: shard.0 });
        }
        exchange
    }

    /// Where what shards tell is published.
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Takes waiting events; true if there may be more.
    pub fn pump(&mut self, now: Instant) -> bool {
        self.want();
        for _ in 0..EVENTS_PER_TURN {
            let Some((shard, event)) = self.fleet.next_event() else {
                self.outbox.flush(&mut self.fleet);
                return false;
            };
            self.event(shard, event, now);
        }
        self.outbox.flush(&mut self.fleet);
        true
    }

    /// Takes a question of the API to the shards.
    pub fn ask(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Snapshot { detail, reply } => self.inquire(detail, Waiter::All(reply), now),
            Ask::Stream { name, reply } => self.look_at(name, reply, now),
            Ask::Session { id, reply } => self.look_for(id, reply, now),
            Ask::Command(ask) => self.command(ask, now),
            Ask::Attached(ask) => self.ask_of_attached(ask, now),
            Ask::Client(ask) => self.ask_of_client(ask, now),
            Ask::Move { stream, to, reply } => {
                let home = self.fleet.home(&stream);
                if let Some(order) = self.moves.order(stream, to, reply, now) {
                    self.moved_at = Some(now);
                    self.tell(home, Command::Move(order));
                }
            }
            // The desk answers those before it asks here: the asker is told that nobody does.
            Ask::Config(_) | Ask::Counts { .. } | Ask::Registry(_) | Ask::Acme(_) => {}
            Ask::Auth(ask) => self.ask_of_gate(ask),
            Ask::Sessions(ask) => self.ask_of_sessions(ask, now),
            Ask::Recording(report) => self.recording_told(*report, now),
        }
    }

    /// Does what time alone makes due.
    pub fn tick(&mut self, now: Instant) {
        self.bind(now);
        self.tell_pulls();
        self.tell_dials(now);
        self.outbox.flush(&mut self.fleet);
        self.news.tell(&self.bus, now);
        while let Some((asker, gathered)) = self.gathers.late(now) {
            self.answer(asker, gathered, now);
        }
        self.surveys.forget(now);
        self.survey(now);
        self.moves.expire(now);
        self.tick_sessions(now);
        self.tick_attached(now);
        self.tick_client(now);
        self.tick_usage(now);
        self.tick_recordings(now);
        self.reap(now);
        if self.directory.due().is_some_and(|due| due <= now) {
            self.directory.asked(now);
            self.gather(Asker::Directory, Detail::STREAMS, now);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = !self.outbox.is_empty()
            || self.is_telling()
            || self.has_pulls_to_tell()
            || self.has_dials_to_tell();
        let retry = waits.then(|| now + RETRY);
        let (gathers, surveys) = (self.gathers.deadline(), self.surveys.deadline());
        let reap = self.registry.due();
        let reap = if self.bus.has_room() { reap } else { reap.map(|due| due.max(now + RETRY)) };
        let (moves, stays) = (self.moves.deadline(), self.gate.due(now));
        let (peers, usage) = (self.coordinator.due(), self.usage_due());
        let client = self.client.as_ref().and_then(Client::due);
        let (directory, sessions) = (self.directory.due(), self.sessions.due());
        let (bindings, unbegun) = (self.bindings.due(), self.gate.unbegun_due());
        let (dials, recordings) = (self.dials_due(now), self.recorder.due(now));
        let due = [
            moves, peers, client, directory, sessions, stays, reap, usage, bindings, unbegun,
            dials, recordings,
        ];
        [retry, gathers, surveys].into_iter().chain(due).flatten().min()
    }

    /// True if more is to be told of players than there is room for.
    pub fn is_telling(&self) -> bool {
        !self.news.is_empty()
    }

    /// Tells `warden` who was refused and turned away.
    pub fn watch_by(&mut self, warden: Warden) {
        self.gate.watch_by(warden.clone());
        self.warden = warden;
    }

    /// What is kept for the coordinator's contract.
    pub const fn coordinator(&mut self) -> &mut Coordinator {
        &mut self.coordinator
    }

    /// What the bridge counts.
    pub fn count(&self, into: &mut Counts) {
        self.coordinator.count(into);
        Client::count(self.client.as_ref(), into);
        self.gate.count(into);
        self.count_dials(into);
        self.recorder.count(into);
        into.counter(
            "control_commands_dropped_total",
            "Commands that found no room in a shard's mailbox nor before it.",
            self.outbox.dropped,
        );
        into.gauge(
            "control_commands_waiting",
            "Commands that wait for room in a shard's mailbox.",
            self.outbox.waiting() as f64,
        );
    }

    /// Asks every shard how it is, for the desk.
    pub fn look(&mut self, now: Instant) -> oneshot::Receiver<Gathered> {
        let (asker, answer) = oneshot::channel();
        self.gather(Asker::Desk(asker), Detail::NONE, now);
        answer
    }

    /// Shards that run.
    pub fn live(&self) -> usize {
        self.live.iter().filter(|&&live| live).count()
    }

    /// The shards, to be joined when all are over.
    pub fn into_fleet(self) -> F {
        self.fleet
    }

    /// Says on the pages where RTMP is spoken.
    pub(crate) fn show_rtmp(&mut self, rtmp: Option<RtmpAddress>, now: Instant) {
        self.directory.set_rtmp(rtmp, now);
    }

    /// Tells once that a shard has no room for more players, until it had some again.
    pub(super) fn room(&mut self, shard: ShardId, full: bool) {
        let before = std::mem::replace(&mut self.full[shard.index()], full);
        if full && !before {
            self.bus.publish(None, None, Kind::ShardOverloaded { shard: shard.0 });
        }
    }

    pub(super) fn gather(&mut self, asker: Asker, detail: Detail, now: Instant) {
        match self.gathers.begin(asker, self.shards(), now) {
            Ok(id) => self.tell_all(|| Command::Snapshot { id, detail }),
            Err((asker, missing)) => {
                self.answer(asker, Gathered { missing, ..Gathered::default() }, now);
            }
        }
    }

    pub(super) fn answer(&mut self, asker: Asker, gathered: Gathered, now: Instant) {
        match asker {
            Asker::Api(detail, askers) => self.surveyed(detail, askers, gathered),
            Asker::Directory => {
                if let Some(json) = self.directory.update(&gathered) {
                    self.tell_all(|| Command::Directory(Arc::clone(&json)));
                }
            }
            Asker::Resync => self.resynced(&gathered, now),
            // The desk may have asked anew meanwhile.
            Asker::Desk(asker) => drop(asker.send(gathered)),
        }
    }

    /// The shards that have not stopped.
    pub(super) fn running(&self) -> Vec<ShardId> {
        let mut shards = self.shards();
        shards.retain(|shard| self.live[shard.index()]);
        shards
    }

    pub(super) fn shards(&self) -> Vec<ShardId> {
        let count = u16::try_from(self.live.len()).expect("shards are at most 64");
        (0..count).map(ShardId).collect()
    }
}
