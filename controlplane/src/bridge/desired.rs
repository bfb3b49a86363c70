//! Desired: what the registry says reaches the shards, and what shards tell reaches the registry.

use std::time::Instant;

use dataplane::control::{CloseReason, Command};
use dataplane::ids::{SessionId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::registry::{Active, Effect};

impl<F: Fleet> Exchange<F> {
    /// Drops whoever a change of a stream leaves no place for, on every shard.
    pub(crate) fn drop_by(&mut self, effect: &Effect) {
        let (stream, role, protocols) = effect.target();
        tracing::info!(%stream, ?role, "a change drops who is on the stream");
        self.tell_all(|| Command::KickStream {
            stream: stream.clone(),
            role,
            protocols,
            reason: CloseReason::StreamChanged,
        });
    }

    /// `session` publishes `stream` now. The home shard decided so: if another one held it until
    /// now, that one was silent and has lost it.
    pub(super) fn publishes(&mut self, stream: &StreamName, session: Option<SessionId>) {
        let Some(session) = session else { return };
        let running = &mut self.registry.running;
        if let Err(Active(before)) = running.acquire(stream, session) {
            tracing::debug!(%stream, %before, %session, "a silent publisher lost its stream");
            running.release(stream);
            running.acquire(stream, session).expect("nobody holds it any more");
        }
    }

    /// Forgets streams that nobody declared and nobody publishes any more.
    pub(super) fn reap(&mut self, now: Instant) {
        for stream in self.registry.reap(now) {
            tracing::debug!(%stream, "an idle runtime stream is forgotten");
        }
    }
}
