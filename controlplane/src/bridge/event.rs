//! Event: what each event of a shard leads to.

use std::time::{Instant, SystemTime};

use dataplane::control::{Command, Event, Verdict};
use dataplane::ids::ShardId;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::Pictures;
use crate::events::publish;

impl<F: Fleet> Exchange<F> {
    /// Does what `event` of `shard` asks for.
    pub(super) fn event(&mut self, shard: ShardId, event: Event, now: Instant) {
        publish(&self.bus, shard, &event);
        match event {
            Event::Authorize { ticket, request } => {
                let mut verdict = self.mode.judge(&request);
                if let Verdict::Allow(grant) = &mut verdict {
                    self.coordinator.number(request.intent, grant, SystemTime::now());
                }
                let word = match &verdict {
                    Verdict::Allow(_) => "allow",
                    Verdict::Deny(denial) => denial.name(),
                };
                tracing::debug!(
                    shard = shard.0,
                    session = %request.session,
                    intent = request.intent.name(),
                    stream = %request.stream,
                    peer = %request.peer,
                    verdict = word,
                    "authorize"
                );
                self.tell(shard, Command::Verdict { ticket, verdict });
            }
            Event::StreamStarted(start) => {
                self.coordinator.started(&start);
                let stream = &start.stream;
                tracing::debug!(shard = shard.0, %stream, "stream is listed");
                self.directory.changed(now);
            }
            Event::StreamEnded { stream, id, .. } => {
                self.coordinator.ended(&stream, id);
                tracing::debug!(shard = shard.0, %stream, "stream is no longer listed");
                self.directory.changed(now);
            }
            Event::SegmentsReady { stream, id, width, height, fps_milli, .. } => {
                self.coordinator.playable(&stream, id, Pictures { width, height, fps_milli });
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
            // A node is handed over when all its shards are up.
            Event::Ready { .. }
            | Event::StreamLost { .. }
            | Event::StreamReturned { .. }
            | Event::Session(_)
            | Event::SessionsOverflowed { .. } => {}
        }
    }
}
