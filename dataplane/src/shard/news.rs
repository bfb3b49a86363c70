//! News: what the control plane hears only while somebody outside wants to be told of it: each
//! finished segment, each connection as a whole, and each player that waits.
//!
//! Nothing rests on it, so that what finds no room in the mailbox is lost and counted.

use std::collections::HashMap;

use super::session_events::reason_of;
use super::shard::Shard;
use crate::control::{ConnectionEnd, Event, FinishedSegment, Intent, News, Role, WaitingPlayer};
use crate::hub::Hub;
use crate::ids::StreamName;

/// What is wanted, and kept for it. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    news: News,
    /// By slot, because most did nothing: a field of every connection would cost each of them
    /// memory.
    accounts: HashMap<u32, Box<Account>>,
}

/// What a connection did before what it does now. Lives on: the shard of the connection. Crosses
/// by: mailbox, with the connection.
#[derive(Debug, Default)]
pub(crate) struct Account {
    received: u64,
    sent: u64,
    /// What it did with media last.
    last: Option<(Role, StreamName)>,
}

impl Wanted {
    /// The connection in `slot` is gone; what it did.
    pub(super) fn forget(&mut self, slot: u32) -> Option<Box<Account>> {
        self.accounts.remove(&slot)
    }

    /// The connection in `slot` came from another shard, where it did this.
    pub(super) fn remember(&mut self, slot: u32, account: Option<Box<Account>>) {
        if let Some(account) = account.filter(|_| self.news.connections) {
            self.accounts.insert(slot, account);
        }
    }
}

impl Shard {
    /// These are wanted from now on.
    pub(super) fn want(&mut self, news: News) {
        self.wanted.news = news;
        if !news.connections {
            self.wanted.accounts.clear();
        }
    }

    /// The connection in `slot` does something with media from now on, of which its bytes are
    /// counted anew.
    pub(super) fn enter_role(&mut self, slot: u32, role: Role, stream: &StreamName) {
        let Some(connection) = self.connections.get(slot) else { return };
        if self.wanted.news.connections {
            let account = self.wanted.accounts.entry(slot).or_default();
            account.received += connection.received;
            account.sent += connection.sent;
            account.last = Some((role, stream.clone()));
        }
    }

    /// What the connection in `slot` carried is counted anew where it goes.
    pub(super) fn enter_carried(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        if let Some(account) = self.wanted.accounts.get_mut(&slot) {
            account.received += connection.received;
            account.sent += connection.sent;
        }
    }

    /// Tells which segments of a stream were finished since it was asked last.
    pub(super) fn tell_segments(&mut self, hub: u32) {
        let wanted = self.wanted.news.segments;
        let Some(stream) = self.streams.get_mut(hub) else { return };
        let finished = stream.take_finished_segments(wanted);
        if finished.is_empty() {
            return;
        }
        let (name, id) = (stream.name().clone(), stream.id());
        for (number, duration) in finished {
            let (stream, duration_ms) = (name.clone(), duration.as_millis().unsigned_abs());
            let segment = FinishedSegment { stream, id, number, duration_ms };
            self.report(Event::SegmentFinished(Box::new(segment)));
        }
    }

    /// A stream is about to end: so is its last segment.
    pub(super) fn finish_segments(&mut self, hub: u32) {
        self.publish_logs();
        self.with_stream(hub, Hub::end_segments);
        self.tell_segments(hub);
    }

    /// Tells that the player in `slot` waits for a stream that nobody publishes.
    pub(super) fn tell_waiting(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot).filter(|_| self.wanted.news.waits) else {
            return;
        };
        let Some(asked) = connection.asked.as_ref() else { return };
        let player = WaitingPlayer {
            session: connection.id,
            protocol: connection.session.protocol(),
            peer: connection.peer.into(),
            agent: connection.session.agent().clone(),
            stream: asked.stream.clone(),
        };
        self.report(Event::PlayerWaits(Box::new(player)));
    }

    /// Tells that the connection in `slot` is about to be closed, if it named an application; asked
    /// before what it does with media is over.
    pub(super) fn connection_end(&self, slot: u32, reason: &str) -> Option<Box<ConnectionEnd>> {
        let connection = self.connections.get(slot).filter(|_| self.wanted.news.connections)?;
        let (application, credentials) = connection.session.application()?;
        let account = self.wanted.accounts.get(&slot);
        let (received, sent) = account.map_or((0, 0), |account| (account.received, account.sent));
        let last = match connection.told_role() {
            Some(role) => self.stream_of(slot).map(|stream| (role, stream.clone())),
            None => account.and_then(|account| account.last.clone()),
        };
        Some(Box::new(ConnectionEnd {
            request: connection.introduced(Intent::Connect, application, *credentials),
            last,
            bytes_in: received + connection.received,
            bytes_out: sent + connection.sent,
            age_ms: self.age_ms(connection.opened),
            reason: reason_of(reason),
        }))
    }
}
