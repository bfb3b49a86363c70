//! Health: whether the process serves, and whether it takes new peers.

use axum::Json;
use axum::extract::State;
use dataplane::control::Detail;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Refusal;
use super::state::ApiState;

/// How the node is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Whether it takes new peers.
    ready: bool,
    /// Why it does not, or what is not as it should be though it does.
    reasons: Vec<Reason>,
}

/// One thing that is not as it should be.
#[derive(Serialize, ToSchema)]
struct Reason {
    /// A stable word for programs: `draining`, `shard_silent`, `shard_full`,
    /// `hooks_failing`, `store_failed`, `certificate_refused`, `certificate_doubt`,
    /// `acme_failing`, `coordinator_away`, `reload_hangs`, `streams_not_taken`,
    /// `security_log_hangs`.
    #[schema(value_type = String, example = "draining")]
    code: &'static str,
    /// A sentence for people.
    message: String,
}

/// 200 while the process serves.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "node",
    security(()),
    responses((status = 200, description = "Served", body = String, content_type = "text/plain")),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 while the node takes new peers, 503 while it drains. Troubles of the control plane, as a
/// store that failed, are no reason to send peers away: media goes on.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "node",
    security(()),
    responses(
        (status = 200, description = "Peers are taken", body = String, content_type = "text/plain"),
        (status = 503, description = "They are not", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn readyz(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    match *state.ready.borrow() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

/// Whether the node takes new peers, and what is not as it should be.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "node",
    responses((status = 200, description = "How the node is", body = Health)),
)]
pub(super) async fn health(State(state): State<ApiState>) -> Result<Json<Health>, Refusal> {
    let ready = *state.ready.borrow();
    let gathered = state.gather(Detail::NONE).await?;
    let mut reasons = Vec::new();
    if !ready {
        let message = "the server goes down: it takes no new peers".to_owned();
        reasons.push(Reason { code: "draining", message });
    }
    for shard in &gathered.missing {
        let message = format!("shard {} did not answer in time", shard.0);
        reasons.push(Reason { code: "shard_silent", message });
    }
    for shard in gathered.snapshots.iter().filter(|shard| shard.headroom.full) {
        let message = format!("shard {} has no room for more players", shard.shard.0);
        reasons.push(Reason { code: "shard_full", message });
    }
    if let Some(message) = state.hooks.trouble() {
        reasons.push(Reason { code: "hooks_failing", message });
    }
    let troubles = state.troubles.list().into_iter();
    reasons.extend(troubles.map(|(trouble, message)| Reason { code: trouble.code(), message }));
    Ok(Json(Health { ready, reasons }))
}
