//! Event: what each event of a shard leads to.

use std::time::Instant;

use dataplane::control::Event;
use dataplane::ids::ShardId;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::Pictures;
use crate::events::publish;

impl<F: Fleet> Exchange<F> {
    /// Does what `event` of `shard` asks for.
    pub(super) fn event(&mut self, shard: ShardId, event: Event, now: Instant) {
        if let Event::StreamStarted(start) = &event {
            self.declare_runtime(&start.stream, start.publisher.is_some());
        }
        publish(&self.bus, shard, &event);
        match event {
            Event::Authorize { ticket, request } => {
                self.authorize(shard, ticket, request, now);
            }
            Event::StreamStarted(start) => {
                self.coordinator.started(&start);
                let session = start.publisher.as_ref().map(|by| by.session);
                self.publishes(&start.stream, session);
                let stream = &start.stream;
                if let Some(publisher) = &start.publisher {
                    self.input_connected(stream, start.id, start.protocol);
                    self.push(stream, start.id);
                    self.gate.policies_mut().published(stream, publisher.session);
                }
                tracing::debug!(shard = shard.0, %stream, "stream is listed");
                self.directory.changed(now);
            }
            Event::StreamEnded { stream, id, reason } => {
                self.input_ended(&stream, id, reason);
                self.coordinator.ended(&stream, id);
                if let Some(oldest) = self.registry.ended(&stream, now) {
                    self.forgotten(&oldest);
                }
                tracing::debug!(shard = shard.0, %stream, "stream is no longer listed");
                self.gate.policies_mut().ended(&stream);
                self.directory.changed(now);
            }
            Event::StreamLost { stream, id, reason } => {
                self.input_lost(&stream, id, reason);
                self.registry.running.release(&stream);
            }
            Event::SegmentsReady { stream, id, width, height, fps_milli, .. } => {
                self.coordinator.playable(&stream, id, Pictures { width, height, fps_milli });
            }
            Event::StreamReturned { stream, id, session, protocol } => {
                self.input_connected(&stream, id, protocol);
                self.publishes(&stream, session);
                if let Some(session) = session {
                    self.gate.policies_mut().published(&stream, session);
                }
            }
            Event::Moved { id, outcome } => {
                tracing::info!(shard = shard.0, id, ?outcome, "move of a stream");
                self.moves.over(id, outcome);
                // A survey on its way may have seen the stream on both shards, or on none.
                self.directory.changed(now);
            }
            Event::Snapshot(snapshot) => {
                self.room(shard, snapshot.headroom.full);
                if let Some((asker, gathered)) = self.gathers.answer(*snapshot) {
                    self.answer(asker, gathered);
                }
            }
            Event::ListenFailed { addr, error } => {
                tracing::error!(shard = shard.0, %addr, reason = %error, "cannot listen");
            }
            Event::Stopped => {
                self.live[shard.index()] = false;
                self.outbox.forget(shard);
            }
            // A node is handed over when all its shards are up; that a publish was refused is an
            // event and nothing else.
            Event::Ready { .. } | Event::PublishRefused(_) => {}
            Event::Session(event) => self.session_event(*event, now),
            Event::SessionsOverflowed { shard } => self.sessions_overflowed(shard, now),
        }
    }
}
