//! The control plane's side of a shard: its commands, and what it is told.

use std::sync::Arc;

use super::connection::Establish;
use super::shard::Shard;
use crate::config::{LimitId, ListenerConfig, Reload};
use crate::control::{
    Command, Event, PoolStatus, Role, SessionStatus, ShardSnapshot, StreamState, StreamStatus,
};
use crate::hub::{Hub, Publisher};
use crate::ids::SessionId;
use crate::reactor::Waker;
use crate::session;
use crate::slab::PageClass;

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
    /// Tells the control plane; false if its mailbox is full.
    pub(super) fn send(&mut self, event: Event) -> bool {
        let sent = self.events.push(event).is_ok();
        self.waker.wake();
        sent
    }
}

impl Shard {
    /// Takes what the control plane sent.
    pub(super) fn take_commands(&mut self) {
        for _ in 0..COMMANDS_PER_TURN_MAX {
            let Ok(command) = self.control.commands.pop() else { return };
            match command {
                Command::Verdict { ticket, verdict } => self.verdict(ticket, verdict),
                Command::Snapshot { id, detail } => {
                    let snapshot = Box::new(self.snapshot(id, detail));
                    self.report(Event::Snapshot(snapshot));
                }
                Command::Kick { session } => self.kick(session),
                Command::Reload(reload) => self.reload(&reload),
                Command::Directory(directory) => self.directory = directory,
                Command::Drain => self.drain(),
                Command::Stop => self.stopped = true,
            }
        }
    }

    /// Tells the control plane, and counts what its full mailbox loses.
    pub(super) fn report(&mut self, event: Event) {
        if !self.control.send(event) {
            self.counters.events_lost += 1;
        }
    }

    fn kick(&mut self, session: SessionId) {
        let found = self
            .connections
            .slots()
            .into_iter()
            .find(|&slot| self.connections.get(slot).is_some_and(|c| c.id == session));
        self.verdicts.forget();
        if let Some(slot) = found {
            self.leave_as_publisher(slot);
            self.tell(slot, session::Command::Shutdown { reason: "kicked" });
        }
    }

    /// A kick ends a publication at once: no grace.
    fn leave_as_publisher(&mut self, slot: u32) {
        if self.connections.get(slot).is_some_and(|c| c.publishing().is_some()) {
            self.publish_ended(slot);
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
        self.config.stream = reload.stream;
        self.verdicts.forget();
        self.config.tls.clone_from(&reload.tls);
        self.terms = super::shard::terms_of(&self.config);
        self.flush.reload(&reload.egress);
        for slot in self.connections.slots() {
            let Self { connections, terms, .. } = self;
            if let Some(connection) = connections.get_mut(slot) {
                connection.session.reload(terms);
            }
        }
        self.reload_listeners(reload);
    }

    fn reload_listeners(&mut self, reload: &Reload) {
        let gone = |config: &ListenerConfig| !reload.listeners.contains(config);
        for listener in self.listeners.iter_mut().filter(|l| !l.stopped && gone(&l.config)) {
            listener.stopped = true;
            self.reactor.accept_stop(listener.token);
        }
        for wanted in &reload.listeners {
            let known = |l: &super::accept::OpenListener| !l.stopped && l.config == *wanted;
            if self.listeners.iter().any(known) {
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

    fn snapshot(&mut self, id: u64, detail: bool) -> ShardSnapshot {
        let mut counters = self.counters.clone();
        counters.connections = self.connections.len() as u64;
        counters.streams = self.streams.iter().count() as u64;
        counters.logs = self.streams.iter().map(|hub| hub.log_status().len() as u64).sum();
        counters.pages_retired = self.gc.waiting() as u64;
        counters.tls_buffer_bytes = self.cipher.buffer_bytes() as u64;
        for connection in self.connections.iter() {
            if let Some(tls) = &connection.tls {
                counters.tls_connections += 1;
                counters.tls_buffer_bytes += tls.server.buffer_bytes() as u64;
            }
            match connection.role {
                Some(Establish::Publish { .. }) => counters.publishers += 1,
                Some(Establish::Play(_)) => counters.players += 1,
                Some(Establish::View(_)) => counters.viewers += 1,
                None => {}
            }
        }
        let (streams, sessions) = if detail {
            (self.streams.iter().map(|hub| self.stream_status(hub)).collect(), self.sessions())
        } else {
            (Vec::new(), Vec::new())
        };
        ShardSnapshot {
            shard: self.id,
            id,
            counters,
            operations: self.reactor.counters().operations(),
            system_calls: self.reactor.counters().system_calls(),
            incidents: self.reactor.counters().incidents(),
            cpu: self.cpu,
            pools: [PageClass::Large, PageClass::Small].map(|class| self.pool_status(class)).into(),
            utilisation: self.flush.utilisation(),
            flush_interval_ms: self.flush.interval().as_secs_f64() * 1000.0,
            streams,
            sessions,
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
            shard: self.id,
            state,
            publisher,
            protocol: hub.protocol(),
            age_ms: self.age_ms(hub.began()),
            tracks: hub.tracks().status(),
            logs: hub.log_status(),
            bytes_in,
            units_in,
            timestamps_repaired,
        }
    }

    fn sessions(&self) -> Vec<SessionStatus> {
        let status = |connection: &super::connection::Connection| SessionStatus {
            id: connection.id,
            shard: self.id,
            protocol: connection.session.protocol(),
            role: match connection.role {
                Some(Establish::Publish { .. }) => Some(Role::Publish),
                Some(Establish::Play(_) | Establish::View(_)) => Some(Role::Play),
                None => connection.asked.as_ref().map(|asked| asked.role),
            },
            stream: connection.session.stream().cloned(),
            peer: connection.peer.into(),
            tls: connection.tls.as_ref().map(|tls| tls.server.version()),
            agent: connection.session.agent().clone(),
            state: connection.session.state_name(),
            age_ms: self.age_ms(connection.opened),
            bytes_in: connection.received,
            bytes_out: connection.sent,
            jumps: connection.playing().map_or(0, |playing| playing.jumps.total.into()),
        };
        self.connections.iter().map(status).collect()
    }

    fn age_ms(&self, since: std::time::Instant) -> u64 {
        let age = self.now.saturating_duration_since(since);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }
}
