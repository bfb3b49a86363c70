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
        self.note_change(&event, now);
        match event {
            Event::Authorize { ticket, request } => {
                self.authorize(shard, ticket, request, now);
            }
            Event::StreamStarted(start) => {
                self.sessions.stream_began(shard, &start);
                self.stream_began(shard, &start, now);
            }
            Event::StreamEnded { stream, id, reason } => {
                self.sessions.stream_over(shard, (&stream, id), now);
                self.stream_over(&stream, id, reason, now);
            }
            Event::StreamLost { stream, id, reason } => {
                self.sessions.stream_held(shard, (&stream, id), None, now);
                self.stream_lost(&stream, id, reason);
            }
            Event::StreamReturned { stream, id, session, protocol } => {
                self.sessions.stream_held(shard, (&stream, id), session, now);
                self.stream_returned((&stream, id), protocol, session, now);
            }
            Event::InputTaken { stream, input } => self.inputs.expect(stream, &input),
            Event::InputFailed { stream, input, reason } => {
                self.input_failed(&stream, &input, reason);
            }
            Event::StreamMoved(word) => self.stream_moved(shard, &word, now),
            Event::SegmentsReady { stream, id, width, height, fps_milli, .. } => {
                self.sessions.stream_playable(shard, (&stream, id), now);
                self.coordinator.playable(&stream, id, Pictures { width, height, fps_milli });
            }
            Event::SegmentFinished(segment) => self.segment_finished(&segment),
            Event::ConnectionClosed(end) => {
                self.connection_closed(*end);
                self.news.tell(&self.bus, now);
            }
            Event::PlayerWaits(player) => self.gate.player_waits(*player),
            Event::Kicked { session, found, stream } => {
                self.kicked(shard, session, found, stream, now);
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
                    self.answer(asker, gathered, now);
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
            Event::Ready { .. } => {}
            Event::PublishRefused(refusal) => self.tell_refused(&refusal, now),
            Event::Dialled(news) => self.dialled(*news, now),
            Event::TurnedAway(turned) => self.warden.turned_away(&turned, now),
            Event::Usage(batch) => self.used(&batch, now),
            Event::Session(event) => self.session_event(*event, now),
            Event::SessionsOverflowed { shard } => self.sessions_overflowed(shard, now),
        }
    }
}
