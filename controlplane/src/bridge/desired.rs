//! Desired: what the registry says reaches the shards, and what shards tell reaches the registry.

use std::time::Instant;

use dataplane::control::{CloseReason, Command};
use dataplane::ids::{SessionId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::events::Kind;
use crate::registry::{Active, Effect, Origin};

impl<F: Fleet> Exchange<F> {
    /// Drops whoever a change of a stream leaves no place for, on every shard.
    pub(crate) fn drop_by(&mut self, effect: &Effect) {
        let (stream, role, protocols) = effect.target();
        tracing::info!(%stream, ?role, "a change drops who is on the stream");
        self.tell_all(|| Command::KickStream {
            stream: stream.clone(),
            publication: None,
            role,
            protocols,
            reason: CloseReason::StreamChanged,
        });
    }

    /// `session` publishes `stream` now. The home shard decided so: if another one held it until
    /// now, that one was silent and has lost it.
    pub(super) fn publishes(&mut self, stream: &StreamName, session: SessionId) {
        let running = &mut self.registry.running;
        if let Err(Active(before)) = running.acquire(stream, session) {
            tracing::debug!(%stream, %before, %session, "a silent publisher lost its stream");
            running.release(stream);
            running.acquire(stream, session).expect("nobody holds it any more");
        }
    }

    /// A stream begins: one that nobody declared is there from now on, if it was not.
    pub(super) fn declare_runtime(&self, stream: &StreamName, is_published: bool) {
        if is_published && self.registry.stream(stream).is_none() {
            let origin = Origin::Runtime.name();
            self.bus.publish(Some(stream), None, Kind::StreamCreated { origin });
        }
    }

    /// Forgets streams that nobody declared and nobody publishes any more.
    pub(super) fn reap(&mut self, now: Instant) {
        if !self.bus.has_room(now) {
            return;
        }
        for stream in self.registry.reap(now) {
            self.forgotten(&stream);
        }
    }

    /// A runtime stream is there no more.
    pub(super) fn forgotten(&self, stream: &StreamName) {
        tracing::debug!(%stream, "an idle runtime stream is forgotten");
        let origin = Origin::Runtime.name();
        self.bus.publish(Some(stream), None, Kind::StreamDeleted { origin });
    }
}
