//! Change: a change of streams or templates, or who it would drop.
//!
//! The registry makes changes one after the other, and looks at the conditions of each (`If-Match`)
//! in the step that makes it.

use std::collections::HashMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use dataplane::control::{Detail, ProtocolSet, Role, SessionStatus};
use dataplane::ids::StreamName;
use dataplane::session::view_token::asked_as;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::etag;
use super::listing::Seat;
use super::reply::{BUSY, Refusal};
use super::state::ApiState;
use crate::bridge::Ask;
use crate::registry::{Change, Effect, Made, Refused, RegistryAsk};

/// Sessions that a dry run lists at most; it counts all.
const LISTED_MAX: usize = 1_000;
/// Sessions or effects that are looked at before others have their turn on the control thread.
const LOOKED_AT_MAX: usize = 1_024;

/// Whether something is done, or only asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct DryRun {
    /// Nothing is changed; the answer says who would be dropped.
    dry_run: bool,
}

/// Who a change would drop.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunOutcome {
    /// Always true: nothing was changed.
    dry_run: bool,
    dropped: Dropped,
}

/// Sessions that end.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Dropped {
    /// How many of them publish.
    publishers: usize,
    /// How many of them play, viewers of HLS included.
    players: usize,
    /// The first thousand of them.
    sessions: Vec<DroppedSession>,
}

/// One session that ends.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct DroppedSession {
    id: String,
    stream: String,
    #[schema(value_type = String)]
    role: &'static str,
    #[schema(value_type = String)]
    protocol: &'static str,
    peer: String,
}

/// What became of a wish to change something.
pub(crate) enum Outcome {
    /// It was a dry run, which this answers.
    Asked(Response),
    /// The change was made.
    Made(Made),
}

impl DryRun {
    /// Makes the change if the conditions in `headers` hold, or tells who it would drop.
    ///
    /// Errors: why it cannot be made.
    pub(crate) async fn make(
        self,
        state: &ApiState,
        change: Change,
        headers: &HeaderMap,
    ) -> Result<Outcome, Refusal> {
        let Self { dry_run } = self;
        let condition = etag::condition(headers);
        let ask = |reply| Ask::Registry(RegistryAsk::Change { change, condition, dry_run, reply });
        let made = state.ask(ask).await?.map_err(|refused| refusal(&refused))?;
        if !dry_run {
            return Ok(Outcome::Made(made));
        }
        let dropped = Dropped::by(state, &made.effects.drops).await?;
        let outcome = Json(DryRunOutcome { dry_run: true, dropped });
        Ok(Outcome::Asked((StatusCode::ACCEPTED, outcome).into_response()))
    }

    /// The same of a large change, which has a seat until it is made or refused, though whoever
    /// asked for it is gone: it may wait for a disk.
    ///
    /// Errors: why it cannot be made.
    pub(super) async fn make_seated(
        self,
        state: &ApiState,
        change: Change,
        seat: Seat,
    ) -> Result<Outcome, Refusal> {
        let state = state.clone();
        let making = async move {
            let outcome = self.make(&state, change, &HeaderMap::new()).await;
            drop(seat);
            outcome
        };
        tokio::spawn(making).await.map_err(|_| BUSY)?
    }

    /// The answer to a change that leaves nothing to show: 204, or that of a dry run.
    ///
    /// Errors: why it cannot be made.
    pub(crate) async fn answer(
        self,
        state: &ApiState,
        change: Change,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        Ok(match self.make(state, change, headers).await? {
            Outcome::Asked(told) => told,
            Outcome::Made(_) => StatusCode::NO_CONTENT.into_response(),
        })
    }
}

/// Whom the effects on one stream end.
#[derive(Clone, Copy, Debug)]
struct Hit {
    publishers: ProtocolSet,
    players: ProtocolSet,
}

/// Whom effects end, by stream: a template may have as many streams as there are, and each of them
/// as many sessions.
async fn hits(effects: &[Effect]) -> HashMap<&StreamName, Hit> {
    let none = Hit { publishers: ProtocolSet::NONE, players: ProtocolSet::NONE };
    let mut hits = HashMap::with_capacity(effects.len());
    for slice in effects.chunks(LOOKED_AT_MAX) {
        for effect in slice {
            let (stream, role, protocols) = effect.target();
            let hit = hits.entry(stream).or_insert(none);
            if role != Some(Role::Play) {
                hit.publishers = hit.publishers.union(protocols);
            }
            if role != Some(Role::Publish) {
                hit.players = hit.players.union(protocols);
            }
        }
        tokio::task::yield_now().await;
    }
    hits
}

impl Dropped {
    /// Whom `effects` end, as things are now.
    async fn by(state: &ApiState, effects: &[Effect]) -> Result<Self, Refusal> {
        let mut dropped = Self::default();
        if effects.is_empty() {
            return Ok(dropped);
        }
        let hits = hits(effects).await;
        let gathered = state.gather(Detail::SESSIONS).await?;
        for snapshot in &gathered.snapshots {
            for slice in snapshot.sessions.chunks(LOOKED_AT_MAX) {
                slice.iter().for_each(|session| dropped.look(session, &hits));
                tokio::task::yield_now().await;
            }
        }
        Ok(dropped)
    }

    fn look(&mut self, session: &SessionStatus, hits: &HashMap<&StreamName, Hit>) {
        let (Some(role), Some(stream)) = (session.role, &session.stream) else { return };
        let Some(hit) = hits.get(stream) else { return };
        let (protocols, count) = match role {
            Role::Publish => (hit.publishers, &mut self.publishers),
            Role::Play => (hit.players, &mut self.players),
        };
        if !protocols.contains(session.protocol) {
            return;
        }
        *count += 1;
        if self.sessions.len() < LISTED_MAX {
            self.sessions.push(DroppedSession {
                id: asked_as(session.id).to_string(),
                stream: stream.to_string(),
                role: role.name(),
                protocol: session.protocol.name(),
                peer: session.peer.to_string(),
            });
        }
    }
}

/// A status, a stable word, a sentence, and the field.
pub(crate) fn refusal(refused: &Refused) -> Refusal {
    if let Refused::Unmet(unmet) = refused {
        return etag::refusal(*unmet);
    }
    let status = match refused {
        Refused::Fault(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::NoStream(_) | Refused::NoTemplate(_) | Refused::NoTenant(_) => {
            StatusCode::NOT_FOUND
        }
        Refused::ReadOnly(_)
        | Refused::Runtime(_)
        | Refused::Disabled(_)
        | Refused::PrefixOverlap { .. }
        | Refused::TemplateInUse { .. } => StatusCode::CONFLICT,
        Refused::Unmet(_) => StatusCode::PRECONDITION_FAILED,
        Refused::Full { .. } | Refused::TooHeavy { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Busy | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let refusal = Refusal::new(status, refused.code(), refused.to_string());
    match refused.field() {
        Some(field) => refusal.at(field.to_owned()),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::time::WallTime;
    use dataplane::control::Protocol;
    use dataplane::ids::{SessionId, ShardId};
    use dataplane::session::view_token::{ViewIds, ViewNote, noted};

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn session(id: u64, role: Role, protocol: Protocol, stream: &str) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol,
            role: Some(role),
            stream: Some(name(stream)),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            tls: None,
            state: "playing",
            age_ms: 0,
            started: None,
            bytes_in: 0,
            bytes_out: 0,
            jumps: 0,
            srt: None,
        }
    }

    #[tokio::test]
    async fn those_are_counted_whom_the_effects_on_their_stream_end() {
        let flv: ProtocolSet = [Protocol::HttpFlv].into_iter().collect();
        let effects = [
            Effect::KickPublisher { stream: name("a"), protocols: ProtocolSet::ALL },
            Effect::KickPlayers { stream: name("a"), protocols: flv },
            Effect::Restart { stream: name("b") },
        ];
        let hits = hits(&effects).await;
        let mut dropped = Dropped::default();
        for (id, role, protocol, stream) in [
            (1, Role::Publish, Protocol::Rtmp, "a"),
            (2, Role::Play, Protocol::Rtmp, "a"),
            (3, Role::Play, Protocol::HttpFlv, "a"),
            (4, Role::Publish, Protocol::Rtmp, "b"),
            (5, Role::Play, Protocol::Hls, "b"),
            (6, Role::Play, Protocol::HttpFlv, "c"),
        ] {
            dropped.look(&session(id, role, protocol, stream), &hits);
        }
        // What is noted in the number of a viewer is nobody's business.
        let viewer =
            ViewIds::default().next(ShardId(0), WallTime::from_unix_millis(1_800_000_000_000));
        let note = ViewNote { renamed: true, timed: true };
        let shown =
            SessionStatus { id: noted(viewer, note), ..session(8, Role::Play, Protocol::Hls, "b") };
        let mut one = Dropped::default();
        one.look(&shown, &hits);
        assert_eq!(one.sessions[0].id, viewer.to_string());
        let ids: Vec<_> = dropped.sessions.iter().map(|s| s.id.trim_matches('0')).collect();
        assert_eq!((dropped.publishers, dropped.players, ids), (2, 2, vec!["1", "3", "4", "5"]));
    }
}
