//! Change: a change of streams or templates, or who it would drop.
//!
//! Changes are made one after the other: the state that `If-Match` names is the state that is
//! changed.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use dataplane::control::{Detail, Role};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use utoipa::{IntoParams, ToSchema};

use super::reply::Refusal;
use super::state::ApiState;
use crate::bridge::Ask;
use crate::registry::{Change, Effect, Refused, RegistryAsk};

/// Sessions that a dry run lists at most; it counts all.
const LISTED_MAX: usize = 1_000;

/// Whoever changes something holds it.
pub(crate) type Turn = Arc<Mutex<()>>;

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
    /// How many of them play.
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

impl DryRun {
    /// The answer of a dry run; `None` if the change was made.
    ///
    /// Errors: why it cannot be made.
    pub(crate) async fn make(
        self,
        state: &ApiState,
        change: Change,
    ) -> Result<Option<Response>, Refusal> {
        let Self { dry_run } = self;
        let ask = |reply| Ask::Registry(RegistryAsk::Change { change, dry_run, reply });
        let effects = state.ask(ask).await?.map_err(|refused| refusal(&refused))?;
        if !dry_run {
            return Ok(None);
        }
        let dropped = dropped(state, &effects.drops).await?;
        let outcome = Json(DryRunOutcome { dry_run: true, dropped });
        Ok(Some((StatusCode::ACCEPTED, outcome).into_response()))
    }

    /// The answer to a change that leaves nothing to show: 204, or that of a dry run.
    ///
    /// Errors: why it cannot be made.
    pub(crate) async fn answer(
        self,
        state: &ApiState,
        change: Change,
    ) -> Result<Response, Refusal> {
        let told = self.make(state, change).await?;
        Ok(told.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response()))
    }
}

/// Waits for the turn to change something.
pub(crate) async fn turn(state: &ApiState) -> MutexGuard<'_, ()> {
    state.turn.lock().await
}

/// Who `effects` end, as things are now.
async fn dropped(state: &ApiState, effects: &[Effect]) -> Result<Dropped, Refusal> {
    if effects.is_empty() {
        return Ok(Dropped::default());
    }
    let gathered = state.gather(Detail::SESSIONS).await?;
    let mut dropped = Dropped::default();
    for session in gathered.snapshots.iter().flat_map(|snapshot| &snapshot.sessions) {
        let (Some(role), Some(stream)) = (session.role, &session.stream) else { continue };
        let hits = |effect: &Effect| {
            let (of, whose, protocols) = effect.target();
            of == stream
                && whose.is_none_or(|whose| whose == role)
                && protocols.contains(session.protocol)
        };
        if !effects.iter().any(hits) {
            continue;
        }
        match role {
            Role::Publish => dropped.publishers += 1,
            Role::Play => dropped.players += 1,
        }
        if dropped.sessions.len() < LISTED_MAX {
            dropped.sessions.push(DroppedSession {
                id: session.id.to_string(),
                stream: stream.to_string(),
                role: role.name(),
                protocol: session.protocol.name(),
                peer: session.peer.to_string(),
            });
        }
    }
    Ok(dropped)
}

/// A status, a stable word, a sentence, and the field.
pub(crate) fn refusal(refused: &Refused) -> Refusal {
    let status = match refused {
        Refused::Fault(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::NoStream(_) | Refused::NoTemplate(_) => StatusCode::NOT_FOUND,
        Refused::ReadOnly(_)
        | Refused::Runtime(_)
        | Refused::Disabled(_)
        | Refused::PrefixOverlap { .. }
        | Refused::TemplateInUse { .. } => StatusCode::CONFLICT,
        Refused::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Busy | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let refusal = Refusal::new(status, refused.code(), refused.to_string());
    match refused.field() {
        Some(field) => refusal.at(field.to_owned()),
        None => refusal,
    }
}
