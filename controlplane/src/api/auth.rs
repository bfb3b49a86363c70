//! Auth: how requests are judged, and what is remembered of it.

use axum::Json;
use axum::extract::State;
use dataplane::control::Intent;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Refusal;
use super::state::ApiState;
use crate::auth::{AuthAsk, Mode, Standing};
use crate::bridge::Ask;

/// How publishers and players are judged.
#[derive(Serialize, ToSchema)]
pub(super) struct Auth {
    /// How publishers are: modes of `open`, `keys`, `signed`, `jwt`, `callback` and `coordinator`,
    /// in the order in which they are tried. A listener, a template or a stream may say otherwise.
    #[schema(value_type = Vec<String>)]
    publish: Vec<&'static str>,
    /// How players are.
    #[schema(value_type = Vec<String>)]
    play: Vec<&'static str>,
    /// The application that is asked, without the query of its URL.
    application: Option<String>,
    /// Questions to it that are under way.
    questions: usize,
    /// Peers that wait for them.
    waiting: usize,
    /// Verdicts that are remembered.
    cached: usize,
    /// Verdicts since the start, by what was wanted and how it ended.
    verdicts: Vec<VerdictCount>,
    /// Verdicts that were remembered.
    from_cache: u64,
    /// Verdicts that equal questions under way were given, too.
    joined: u64,
    /// Refusals because too many questions were under way.
    crowded: u64,
}

/// How often questions of one kind ended in one way.
#[derive(Serialize, ToSchema)]
struct VerdictCount {
    /// `connect`, `publish` or `play`.
    #[schema(value_type = String)]
    intent: &'static str,
    /// `allowed`, `denied`, `failed` (the application gave no sound answer) or `timeout`.
    #[schema(value_type = String)]
    outcome: &'static str,
    /// How often.
    count: u64,
}

/// What was forgotten.
#[derive(Serialize, ToSchema)]
pub(super) struct Forgotten {
    /// Verdicts that had been remembered.
    forgotten: usize,
}

/// How publishers and players are judged, and how many wait for a verdict.
#[utoipa::path(
    get,
    path = "/api/v1/auth",
    tag = "auth",
    responses((status = 200, description = "How requests are judged", body = Auth)),
)]
pub(super) async fn auth(State(state): State<ApiState>) -> Result<Json<Auth>, Refusal> {
    let standing = state.ask(|reply| Ask::Auth(AuthAsk::Standing { reply })).await?;
    let count = |(intent, outcome, count): (Intent, _, _)| VerdictCount {
        intent: intent.name(),
        outcome,
        count,
    };
    let Standing { publish, play, application, questions, waiting, cached, .. } = standing;
    Ok(Json(Auth {
        publish: publish.iter().map(Mode::name).collect(),
        play: play.iter().map(Mode::name).collect(),
        application,
        questions,
        waiting,
        cached,
        verdicts: standing.verdicts.into_iter().map(count).collect(),
        from_cache: standing.shared.0,
        joined: standing.shared.1,
        crowded: standing.crowded,
    }))
}

/// Forgets every remembered verdict, so that the application is asked anew. Who publishes or plays
/// already goes on, and so does a viewer of HLS until the application has said no.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/cache",
    tag = "auth",
    responses((status = 200, description = "How many there were", body = Forgotten)),
)]
pub(super) async fn forget_verdicts(
    State(state): State<ApiState>,
) -> Result<Json<Forgotten>, Refusal> {
    let forgotten = state.ask(|reply| Ask::Auth(AuthAsk::Forget { reply })).await?;
    Ok(Json(Forgotten { forgotten }))
}
