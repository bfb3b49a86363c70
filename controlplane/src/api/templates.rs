//! Templates: what many streams have in common.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataplane::ids::StreamName;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::change::{DryRun, DryRunOutcome, Outcome};
use super::etag::Etag;
use super::paging::Page;
use super::reply::{ErrorBody, Refusal};
use super::request::{Body, Params, Segment};
use super::state::ApiState;
use super::stream::json;
use crate::bridge::Ask;
use crate::registry::{
    Change, Made, PAGE_MAX, RegistryAsk, Shown, Template, TemplateItem, TemplatePatch, Users,
};

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_template",
    "there is no template of this code; GET /api/v1/templates lists them",
    Some("code"),
);

/// A template.
#[derive(Serialize, ToSchema)]
pub(super) struct TemplateView {
    /// Its code.
    code: String,
    /// Who declared it: the file (`config`) or the API (`api`).
    #[schema(value_type = String)]
    origin: &'static str,
    /// What was declared.
    #[schema(value_type = Template)]
    spec: Value,
    /// Streams that take from it, the first thousand; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<String>>,
    /// Fields that are set and kept, but without effect yet.
    without_effect: Vec<String>,
}

/// Templates, by code.
#[derive(Serialize, ToSchema)]
pub(super) struct TemplateList {
    templates: Vec<TemplateView>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// Templates by code.
#[utoipa::path(
    get,
    path = "/api/v1/templates",
    tag = "templates",
    params(Page),
    responses((status = 200, description = "A page of them", body = TemplateList)),
)]
pub(super) async fn templates(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
) -> Result<Json<TemplateList>, Refusal> {
    page.bounds()?;
    // There are never more of them than a page holds.
    let ask = |reply| Ask::Registry(RegistryAsk::Templates { after: None, limit: PAGE_MAX, reply });
    let (items, next) = page.of(state.ask(ask).await?, |item| &item.code)?;
    Ok(Json(TemplateList { templates: items.iter().map(TemplateView::of).collect(), next }))
}

/// One template.
#[utoipa::path(
    get,
    path = "/api/v1/templates/{code}",
    tag = "templates",
    params(("code" = String, Path, description = "Its code")),
    responses(
        (status = 200, description = "The template", body = TemplateView),
        (status = 304, description = "It is as the asker knows it"),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn template(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (item, users) = known(&state, &code).await?.ok_or(UNKNOWN)?;
    Ok(Etag::from(item.version()).answer(&headers, Json(TemplateView::with(&item, &users))))
}

/// Declares a template, or replaces it; streams that take from it change with it.
#[utoipa::path(
    put,
    path = "/api/v1/templates/{code}",
    tag = "templates",
    params(("code" = String, Path, description = "Its code"), DryRun),
    request_body(content = Template, description = "What its streams have in common"),
    responses(
        (status = 200, description = "It was replaced", body = TemplateView),
        (status = 201, description = "It is new", body = TemplateView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 409, description = "The file declares it, or prefixes meet", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn put_template(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(value): Body<Value>,
) -> Result<Response, Refusal> {
    change(&state, dry_run, &headers, Change::PutTemplate { code, value }).await
}

/// Changes a template by a merge patch (RFC 7396).
#[utoipa::path(
    patch,
    path = "/api/v1/templates/{code}",
    tag = "templates",
    params(("code" = String, Path, description = "Its code"), DryRun),
    request_body(
        description = "The patch",
        content(
            (TemplatePatch = "application/json"),
            (TemplatePatch = "application/merge-patch+json"),
        ),
    ),
    responses(
        (status = 200, description = "It was changed", body = TemplateView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "The file declares it, or prefixes meet", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn patch_template(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, Refusal> {
    change(&state, dry_run, &headers, Change::PatchTemplate { code, patch }).await
}

/// Deletes a template that no stream takes from.
#[utoipa::path(
    delete,
    path = "/api/v1/templates/{code}",
    tag = "templates",
    params(("code" = String, Path, description = "Its code"), DryRun),
    responses(
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 204, description = "It is no more"),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 409, description = "The file declares it, or it is in use", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
    ),
)]
pub(super) async fn delete_template(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    dry_run.answer(&state, Change::DeleteTemplate { code }, &headers).await
}

async fn change(
    state: &ApiState,
    dry_run: DryRun,
    headers: &HeaderMap,
    change: Change,
) -> Result<Response, Refusal> {
    let made = match dry_run.make(state, change, headers).await? {
        Outcome::Asked(told) => return Ok(told),
        Outcome::Made(made) => made,
    };
    let Made { created, shown: Shown::Template(Some((item, users))), .. } = made else {
        return Err(UNKNOWN);
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let header = [(http::header::ETAG, Etag::from(item.version()).header())];
    Ok((status, header, Json(TemplateView::with(&item, &users))).into_response())
}

async fn known(state: &ApiState, code: &str) -> Result<Option<Users>, Refusal> {
    let code = code.to_owned();
    state.ask(|reply| Ask::Registry(RegistryAsk::Template { code, reply })).await
}

impl TemplateView {
    fn of(item: &TemplateItem) -> Self {
        Self {
            code: item.code.clone(),
            origin: item.origin.name(),
            spec: json(item.template.as_ref()),
            streams: None,
            without_effect: item.template.traits.without_effect(),
        }
    }

    fn with(item: &TemplateItem, users: &[StreamName]) -> Self {
        let streams = Some(users.iter().map(ToString::to_string).collect());
        Self { streams, ..Self::of(item) }
    }
}
