//! Desired: what the registry says reaches the shards, and what shards tell reaches the registry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{CloseReason, Command, StreamKick};
use dataplane::ids::{SessionId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::events::Kind;
use crate::registry::{Active, Effect, Origin};

/// Idle streams are forgotten so much later at most while hooks have no room for the news of it.
const REAP_WAIT_MAX: Duration = Duration::from_secs(10);

impl<F: Fleet> Exchange<F> {
    /// Drops whoever a change leaves no place for, on every shard: one order for all its streams,
    /// because each order is a look at every connection.
    pub(crate) fn drop_by(&mut self, effects: &[Effect]) {
        let kicks: Arc<[_]> = kicks(effects).into();
        let Some(first) = kicks.first() else { return };
        tracing::info!(streams = kicks.len(), first = %first.stream, "a change drops who is there");
        self.tell_all(|| Command::KickStreams {
            kicks: Arc::clone(&kicks),
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
        let late = self.registry.due().is_some_and(|due| now > due + REAP_WAIT_MAX);
        if !late && !self.bus.has_room() {
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

/// Who is to be dropped, each stream once, sorted by name.
fn kicks(effects: &[Effect]) -> Vec<StreamKick> {
    let kick = |effect: &Effect| {
        let (stream, role, protocols) = effect.target();
        StreamKick::of(stream.clone(), role, protocols)
    };
    let mut kicks: Vec<_> = effects.iter().map(kick).collect();
    kicks.sort_by(|one, other| one.stream.cmp(&other.stream));
    kicks.dedup_by(|next, kept| {
        let same = next.stream == kept.stream;
        if same {
            kept.publishers = kept.publishers.union(next.publishers);
            kept.players = kept.players.union(next.players);
        }
        same
    });
    kicks
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::control::{Protocol, ProtocolSet};

    #[test]
    fn each_stream_is_ordered_once_with_all_who_are_dropped_of_it() {
        let name = |text: &str| StreamName::parse(text).unwrap();
        let flv: ProtocolSet = [Protocol::HttpFlv].into_iter().collect();
        let effects = [
            Effect::Restart { stream: name("b") },
            Effect::KickPublisher { stream: name("a"), protocols: ProtocolSet::ALL },
            Effect::KickPlayers { stream: name("a"), protocols: flv },
        ];
        let kick = |stream, publishers, players| StreamKick {
            stream: name(stream),
            publishers,
            players,
            publication: None,
        };
        let expected =
            [kick("a", ProtocolSet::ALL, flv), kick("b", ProtocolSet::ALL, ProtocolSet::ALL)];
        assert_eq!(kicks(&effects), expected);
    }
}
