//! Publishers at the home of their stream: who holds the name, who takes it over, who loses it.
//!
//! ```text
//!   nobody --claim--> live --lost--> grace --claim--> live
//!                      |               | time, kick
//!                      +- end, kick ---+--> over
//! ```
//!
//! A second publisher is refused while the first delivers. A publication keeps its id until it is
//! over.

use super::connection::{Connection, Establish};
use super::message::Message;
use super::shard::Shard;
use crate::config::{LimitId, UrlDialect};
use crate::control::{
    CloseReason, Event, FirstPlaylist, PublishRefusal, StreamPublisher, StreamStart,
};
use crate::hub::{Hub, Publisher, Source, Subscriber};
use crate::ids::StreamName;
use crate::segment::Numbering;
use crate::session::{Command, Refusal};

impl Shard {
    /// A publisher at home claims its name.
    pub(super) fn claim(&mut self, slot: u32) {
        if self.awaits_keys(slot) {
            // For a name that it does not get no keys are derived.
            let asked = self.connections.get(slot).and_then(|c| c.asked.as_ref());
            let found = asked.and_then(|asked| self.streams.find(&asked.stream));
            match found.is_some_and(|stream| self.is_held(stream)) {
                true => self.refuse(slot, Refusal::Busy),
                false => self.queue_keys(slot),
            }
            return;
        }
        if !self.let_in(slot) {
            return;
        }
        let Some(connection) = self.connections.get(slot) else { return };
        debug_assert!(connection.role.is_none(), "its last play or publication is over");
        let Some(asked) = connection.asked.as_ref() else { return };
        let name = asked.stream.clone();
        let transport = asked.transport.clone();
        let publisher = Publisher::Session { slot, id: connection.id };
        let key = Some(asked.key);
        let source =
            Source { id: asked.id, key, ..Source::new(publisher, connection.session.protocol()) };
        let hub = match self.claim_name(&name, source) {
            Ok(hub) => hub,
            Err(refusal) => {
                self.refuse(slot, refusal);
                return;
            }
        };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.asked = None;
        // Of a peer that we called it was chosen with the call.
        if let (Some(server), Some(transport)) = (connection.session.srt_mut(), transport) {
            server.choose(transport);
        }
        let began_ms = connection.millis_since_opened(self.now);
        connection.establish(Some(Establish::Publish { hub, began_ms }), &mut self.counters);
        connection.span().in_scope(|| tracing::info!(stream = %name, "publish started"));
        self.shared.caps.established(&mut connection.admission);
        let bytes = self.config.session.publish_receive_bytes;
        if let Some(fd) = connection.fd()
            && let Err(error) = crate::reactor::widen_receive(fd, bytes)
        {
            tracing::debug!(%error, "socket options");
        }
        self.counters.publishes_started += 1;
        self.session_began(slot);
        self.tell(slot, Command::PublishStarted);
        self.feed_parked(slot);
        self.arm(slot);
    }

    /// Gives `name` to `publisher` if nobody holds it or its holder has fallen silent.
    pub(super) fn claim_name(&mut self, name: &StreamName, source: Source) -> Result<u32, Refusal> {
        if let Some(slot) = self.streams.find(name) {
            self.take_stream(slot, &source)?;
            return Ok(slot);
        }
        if self.pool.is_low() {
            return Err(Refusal::Overloaded);
        }
        self.shared.caps.enter_stream(&self.config.limits).map_err(|limit| {
            self.counters.limit(limit);
            Refusal::Overloaded
        })?;
        let hub = Hub::new(
            name.clone(),
            &self.config.stream,
            self.config.session.rtmp_chunk_bytes,
            self.config.limits.get(LimitId::TracksMax) as usize,
            source,
            Numbering::at(self.wall).or_later(self.streams.numbering),
            self.now,
        );
        let slot = self.streams.insert(hub);
        self.report_start(slot);
        self.supersede_ended(name);
        self.began_after_move(name);
        self.answer_awaited(name);
        self.tell_idle(name);
        self.push_stream(name);
        Ok(slot)
    }

    /// True if somebody publishes a stream who has not fallen silent.
    pub(super) fn is_held(&self, slot: u32) -> bool {
        let Some(hub) = self.streams.get(slot) else { return false };
        let silent = self.now.saturating_duration_since(hub.last_media());
        let is_silent = silent >= self.config.stream.takeover_after;
        matches!(hub.publisher(), Publisher::Session { .. }) && !is_silent
    }

    fn take_stream(&mut self, slot: u32, source: &Source) -> Result<(), Refusal> {
        if self.is_held(slot) {
            return Err(Refusal::Busy);
        }
        let Some(hub) = self.streams.get_mut(slot) else { return Err(Refusal::NotFound) };
        let before = hub.publisher();
        match before {
            Publisher::Session { .. } => self.counters.publishes_taken_over += 1,
            Publisher::Lost(_) => self.counters.publishes_resumed += 1,
            Publisher::Demo => {}
        }
        let rekeyed = hub.key() != source.key;
        hub.begin_source(source, self.now);
        self.streams.touch(slot);
        let Some(hub) = self.streams.get_mut(slot) else { return Err(Refusal::NotFound) };
        let readers = if rekeyed { hub.readers().collect() } else { Vec::new() };
        for Subscriber { shard, slot, number } in readers {
            if shard == self.id {
                self.rekeyed((slot, number), source.key);
            } else {
                let (reader, key) = ((slot, number), source.key);
                self.post(shard, Message::Rekeyed { reader, key });
            }
        }
        if before == Publisher::Demo {
            self.report_start(slot);
        } else {
            self.report_return(slot);
        }
        if let Publisher::Session { slot: holder, .. } = before {
            self.session_over(holder, CloseReason::TakenOver);
            if let Some(connection) = self.connections.get_mut(holder) {
                connection.establish(None, &mut self.counters);
            }
            let reason = CloseReason::TakenOver.name();
            self.tell(holder, Command::Shutdown { reason });
        }
        Ok(())
    }

    /// Who publishes on a connection, or would.
    fn publisher(&self, slot: u32) -> Option<StreamPublisher> {
        let connection = self.connections.get(slot)?;
        Some(StreamPublisher {
            session: connection.id,
            peer: connection.peer.into(),
            agent: connection.session.agent().clone(),
        })
    }

    /// Tells the control plane that nobody publishes `stream` on this connection. Strangers can
    /// have that said at will, so that it gets no room beside the mailbox.
    pub(super) fn report_refusal(&mut self, slot: u32, stream: StreamName, refusal: Refusal) {
        let Some(publisher) = self.publisher(slot) else { return };
        let Some(connection) = self.connections.get(slot) else { return };
        let protocol = connection.session.protocol();
        let refusal = PublishRefusal { stream, protocol, publisher, reason: refusal.name() };
        self.report(Event::PublishRefused(Box::new(refusal)));
    }

    /// Tells the control plane that a stream began.
    fn report_start(&mut self, slot: u32) {
        let Some(hub) = self.streams.get(slot) else { return };
        let publisher = hub.publisher().slot().and_then(|slot| self.publisher(slot));
        let (stream, id, protocol) = (hub.name().clone(), hub.id(), hub.protocol());
        let start = StreamStart { stream, id, protocol, publisher };
        self.tell_control(Event::StreamStarted(Box::new(start)));
    }

    /// Tells the control plane that a stream has a publisher again.
    fn report_return(&mut self, slot: u32) {
        let Some(hub) = self.streams.get(slot) else { return };
        let session = match hub.publisher() {
            Publisher::Session { id, .. } => Some(id),
            Publisher::Demo | Publisher::Lost(_) => None,
        };
        let (stream, id, protocol) = (hub.name().clone(), hub.id(), hub.protocol());
        self.tell_control(Event::StreamReturned { stream, id, session, protocol });
    }

    /// Tells the control plane when the first playlist of a publication can be served.
    pub(super) fn tell_first_playlist(&mut self, slot: u32) {
        let Some(hub) = self.streams.get_mut(slot) else { return };
        let Some(first) = hub.take_first_playlist() else { return };
        let FirstPlaylist { width, height, fps_milli, target_ms } = first;
        let (stream, id) = (hub.name().clone(), hub.id());
        self.tell_control(Event::SegmentsReady { stream, id, width, height, fps_milli, target_ms });
    }

    /// The publisher's connection broke: the grace time begins.
    pub(super) fn publisher_lost(&mut self, slot: u32, reason: CloseReason) {
        let publishing = self.connections.get(slot).and_then(Connection::publishing);
        let Some(hub) = publishing else { return };
        self.session_over(slot, reason);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.establish(None, &mut self.counters);
        let grace = self.config.stream.grace;
        let now = self.now;
        let Some(hub_ref) = self.streams.get_mut(hub) else { return };
        let holds = matches!(hub_ref.publisher(), Publisher::Session { slot: s, .. } if s == slot);
        if !holds {
            return;
        }
        if self.draining.is_some() {
            self.end_stream(hub, CloseReason::Draining);
        } else if grace.is_zero() {
            self.end_stream(hub, CloseReason::ConnectionLost);
        } else {
            tracing::info!(stream = %hub_ref.name(), "publisher lost, grace begins");
            hub_ref.lose_source(now);
            let (stream, id) = (hub_ref.name().clone(), hub_ref.id());
            self.streams.touch(hub);
            self.tell_control(Event::StreamLost { stream, id, reason });
        }
    }

    /// The publisher ended on purpose: no grace.
    pub(super) fn publish_ended(&mut self, slot: u32, reason: CloseReason) {
        let publishing = self.connections.get(slot).and_then(Connection::publishing);
        let Some(hub) = publishing else { return };
        // Its last segment is told before it is gone itself.
        self.finish_segments(hub);
        self.session_over(slot, reason);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.establish(None, &mut self.counters);
        self.end_stream(hub, reason);
    }

    /// Nobody joins a stream of this shard at its newest keyframe any more: a player asked that
    /// those after it begin at the next one. Segments stay.
    pub(super) fn clear_joins(&mut self, stream: &StreamName) {
        if self.config.session.url != UrlDialect::ChannelKey {
            return;
        }
        if let Some(slot) = self.streams.find(stream) {
            self.with_stream(slot, |hub, _| hub.clear_joins());
        } else if let Some(at) = self.streams.away.find(stream) {
            self.post(at, Message::ClearJoins(stream.clone()));
        }
    }

    /// Players joined that asked for this: the homes of their streams hear it.
    pub(super) fn tell_clears(&mut self) {
        for reader in std::mem::take(&mut self.clears) {
            let Some(reader) = self.readers.get(reader) else { continue };
            let home = reader.logs().map_or(reader.home, |logs| logs.newest().home());
            let stream = reader.stream.clone();
            if home == self.id {
                self.clear_joins(&stream);
            } else {
                self.post(home, Message::ClearJoins(stream));
            }
        }
    }
}
