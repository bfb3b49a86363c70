//! Streams: what follows when one begins, ends, moves or changes hands, told by its shard or found
//! by a comparison.

use std::time::Instant;

use dataplane::control::{
    CloseReason, Command, Event, FirstPlaylist, Protocol, ProtocolSet, StreamMove, StreamStart,
};
use dataplane::ids::{SessionId, ShardId, StreamId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::coordinator::Pictures;
use crate::events::{Kind, publish};
use crate::viewing::StreamChange;

/// What the end of a stream is called whose reason was lost.
const UNKNOWN: &str = "unknown";
/// And what its input is told to have ended by.
const LOST: CloseReason = CloseReason::Internal;

impl<F: Fleet> Exchange<F> {
    /// A stream began.
    pub(super) fn stream_began(&mut self, shard: ShardId, start: &StreamStart, now: Instant) {
        let stream = &start.stream;
        if let Some(publisher) = &start.publisher {
            self.gate.stream_began(stream, start.id, now);
            self.publishes(stream, publisher.session);
            let session = Some(publisher.session);
            self.input_connected(stream, start.id, start.protocol, session);
            self.push(stream, start.id);
            self.bind_publication(stream, publisher.session, now);
            // Whoever let the publisher in may have said whose the stream is.
            self.meter_publication(stream, now);
            self.tell_began(stream, publisher.session, now);
        }
        self.record(stream, now);
        let policy = self.gate.policies().of(stream);
        self.coordinator.started(start, policy.map(AsRef::as_ref), now);
        self.obey(now);
        tracing::debug!(shard = shard.0, %stream, "stream is listed");
        self.directory.changed(now);
    }

    /// A stream is over, grace included.
    pub(super) fn stream_over(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        reason: CloseReason,
        now: Instant,
    ) {
        self.coordinator.ended(stream, id, now);
        self.obey(now);
        // Two shards may tell of two publications of a name, the later one first.
        if !self.sessions.is_on_air(stream) {
            self.input_ended(stream, id, reason);
            if let Some(oldest) = self.registry.ended(stream, now) {
                self.forgotten(&oldest);
            }
            self.gate.policies_mut().ended(stream);
            self.record_over(stream);
            self.tell_over(stream, now);
            self.gate.stream_over(stream, now);
        }
        tracing::debug!(%stream, "stream is no longer listed");
        self.directory.changed(now);
    }

    /// The publisher of a stream was lost, and is waited for.
    pub(super) fn stream_lost(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        reason: CloseReason,
    ) {
        self.input_lost(stream, id, reason);
        self.registry.running.release(stream);
    }

    /// Somebody publishes a stream again.
    pub(super) fn stream_returned(
        &mut self,
        (stream, id): (&StreamName, Option<StreamId>),
        protocol: Protocol,
        session: Option<SessionId>,
        now: Instant,
    ) {
        self.coordinator.returned(stream);
        self.input_connected(stream, id, protocol, session);
        if let Some(session) = session {
            self.publishes(stream, session);
            self.bind_publication(stream, session, now);
            self.meter_publication(stream, now);
            self.tell_began(stream, session, now);
            self.record(stream, now);
        }
    }

    /// What was said of a publication by whoever let it in binds those, too, who were there before
    /// it: they played the one before, or waited for this one.
    fn bind_publication(&mut self, stream: &StreamName, session: SessionId, now: Instant) {
        let before = self.gate.policies().excluded(stream);
        self.gate.policies_mut().published(stream, session);
        let excluded = self.gate.policies().excluded(stream);
        // Whom the same answer bound before, when the encoder was here last, is not here.
        if excluded != ProtocolSet::NONE && excluded != before {
            self.bindings.add(stream, now);
        }
    }

    /// A stream left `shard`, or arrived there, with its publisher.
    pub(super) fn stream_moved(&mut self, shard: ShardId, word: &StreamMove, now: Instant) {
        if self.sessions.stream_moved(shard, word, now)
            && let Some(session) = word.session
            && self.sessions.is_kicked(session)
        {
            // It left before the order came.
            self.tell(shard, Command::Kick { session, reason: CloseReason::Kicked });
        }
    }

    /// A comparison found what a shard could not tell. Events come in the order in which they do
    /// when a shard tells: what became of the stream, then what follows from it.
    pub(super) fn stream_found(&mut self, change: StreamChange, now: Instant) {
        match change {
            StreamChange::Began(shard, start) => {
                self.declare_runtime(&start.stream, start.publisher.is_some());
                publish(&self.bus, shard, &Event::StreamStarted(start.clone()));
                self.stream_began(shard, &start, now);
            }
            StreamChange::Over(stream, id) => {
                self.bus.publish(Some(&stream), id, Kind::StreamStopped { reason: UNKNOWN });
                self.stream_over(&stream, id, LOST, now);
            }
            StreamChange::Held { stream, id, protocol, session } => match session {
                Some(publisher) => {
                    let publisher = Some(publisher.to_string());
                    let returned = Kind::StreamReturned { session: publisher };
                    self.bus.publish(Some(&stream), id, returned);
                    self.stream_returned((&stream, id), protocol, session, now);
                }
                None => {
                    self.bus.publish(Some(&stream), id, Kind::StreamLost {});
                    self.stream_lost(&stream, id, LOST);
                }
            },
            StreamChange::Playable(stream, id, first) => {
                let FirstPlaylist { width, height, fps_milli, target_ms } = first;
                let pictures = Pictures { width, height, fps_milli };
                let ready = Kind::SegmentReady { width, height, fps_milli, target_ms };
                self.bus.publish(Some(&stream), id, ready);
                self.coordinator.playable(&stream, id, pictures);
            }
        }
    }
}
