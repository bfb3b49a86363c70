//! The control plane's side of a shard: its commands, and what it is told.

use std::sync::Arc;

use super::shard::Shard;
use super::turn::Round;
use crate::config::{LimitId, ListenerConfig, Reload, SrtConfig};
use crate::control::{Command, Event, StreamKick};
use crate::reactor::Waker;

/// Commands that one turn takes at most.
const COMMANDS_PER_TURN_MAX: usize = 256;

/// The mailboxes between a shard and the control plane.
#[derive(Debug)]
pub(crate) struct ControlLink {
    pub commands: rtrb::Consumer<Command>,
    pub events: rtrb::Producer<Event>,
    /// Wakes the control plane.
    pub waker: Waker,
}

impl ControlLink {
    /// Tells the control plane, or gives the event back if its mailbox is full.
    pub(super) fn send(&mut self, event: Event) -> Result<(), Event> {
        let sent = self.events.push(event).map_err(|rtrb::PushError::Full(event)| event);
        self.waker.wake();
        sent
    }
}

impl Shard {
    /// Takes what the control plane sent.
    pub(super) fn take_commands(&mut self) {
        let mut round = Round::default();
        for _ in 0..COMMANDS_PER_TURN_MAX {
            let Ok(command) = self.control.commands.pop() else { return };
            match command {
                Command::Verdict { ticket, verdict } => self.verdict(ticket, verdict),
                Command::Snapshot { id, detail } => self.ask_survey(id, detail),
                Command::Kick { session, reason } => self.kick(session, reason),
                Command::KickStream { stream, publication, role, protocols, reason } => {
                    let kick = StreamKick::of(stream, role, protocols);
                    let kick = StreamKick { publication, ..kick };
                    self.kick_streams(Arc::from([kick]), reason);
                }
                Command::KickStreams { kicks, reason } => self.kick_streams(kicks, reason),
                Command::CoreUsed(used) => self.core_used(used),
                Command::Quotas { stream, quotas } => self.set_quotas(stream, quotas),
                Command::Usage { number } => self.tell_usage(number),
                Command::Move(order) => self.move_ordered(order),
                Command::Dial { stream, role, dials } => self.dial(&stream, role, &dials),
                Command::Pull { stream, inputs } => self.pull(&stream, &inputs),
                Command::ViewKeys(keys) => self.change_view_keys(&keys),
                Command::DoubtVerdicts => self.doubt_verdicts(),
                Command::Reload(reload) => self.reload(&reload),
                Command::Identity(identity) => self.config.tls = Some(identity),
                Command::Directory(directory) => self.directory = directory,
                Command::Challenge(challenge) => self.challenge = challenge,
                Command::Want(news) => self.want(news),
                Command::Drain => self.drain(),
                Command::Stop => self.stopped = true,
            }
            if round.is_over() {
                return;
            }
        }
    }

    /// Tells the control plane, and counts what its full mailbox loses.
    pub(super) fn report(&mut self, event: Event) {
        // What waits for room is told first: the order of events is the order of what happened.
        self.tell_tombstones();
        if self.control.send(event).is_err() {
            self.counters.events_lost += 1;
        }
    }

    fn reload(&mut self, reload: &Arc<Reload>) {
        let chunk_bytes = self.config.session.rtmp_chunk_bytes;
        let mut limits = reload.limits.clone();
        for &id in LimitId::ALL.iter().filter(|id| id.sizes_tables()) {
            limits.set(id, self.config.limits.get(id));
        }
        self.config.limits = limits;
        self.config.egress = reload.egress;
        self.config.session = reload.session.clone();
        self.config.session.rtmp_chunk_bytes = chunk_bytes;
        self.config.auth = reload.auth;
        let secret = self.config.srt.secret;
        self.config.srt = SrtConfig { secret, ..reload.srt.clone() };
        self.config.stream = reload.stream;
        self.doubt_verdicts();
        self.config.tls.clone_from(&reload.tls);
        self.terms = super::shard::terms_of(&self.config);
        self.flush.reload(&reload.egress);
        self.budget.reload(&self.config);
        self.tell_full();
        for slot in self.connections.slots() {
            let Self { connections, terms, .. } = self;
            if let Some(connection) = connections.get_mut(slot) {
                connection.session.reload(terms);
            }
        }
        self.reload_listeners(reload);
    }

    fn reload_listeners(&mut self, reload: &Reload) {
        // Ports stay as long as the node runs.
        let own = |wanted: &&ListenerConfig| {
            wanted.shards.contains(self.id) && !wanted.kind.is_datagram()
        };
        let wanted: Vec<_> = reload.listeners.iter().filter(own).collect();
        for listener in self.listeners.iter_mut().filter(|listener| !listener.stopped) {
            match wanted.iter().find(|wanted| wanted.is_at(&listener.config)) {
                // Its class and its other shards change without closing it.
                Some(&&still) => listener.config = still,
                None => {
                    listener.stopped = true;
                    self.reactor.accept_stop(listener.token);
                }
            }
        }
        for wanted in wanted {
            if self.listeners.iter().any(|l| !l.stopped && l.config.is_at(wanted)) {
                continue;
            }
            match super::accept::open_listener(wanted) {
                Ok(listener) => self.listen(*wanted, listener.into_fd()),
                Err(error) => {
                    let error = error.to_string();
                    self.report(Event::ListenFailed { addr: wanted.addr, error });
                }
            }
        }
    }
}
