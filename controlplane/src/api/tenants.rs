//! Tenants: whose streams are, and what they may use together.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::change::{DryRun, DryRunOutcome, Outcome};
use super::etag::Etag;
use super::paging::{BAD_CURSOR, Page};
use super::reply::{ErrorBody, Refusal};
use super::request::{Body, Params, Segment};
use super::state::ApiState;
use super::stream::json;
use crate::bridge::Ask;
use crate::registry::{
    Change, Made, RegistryAsk, Shown, Tenant, TenantItem, TenantName, TenantPatch,
};

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_tenant",
    "no tenant of this code is declared; GET /api/v1/tenants lists those that are",
    Some("code"),
);

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantView {
    /// Its code, which streams and templates name.
    code: String,
    /// Who declared it: the file (`config`) or the API (`api`).
    #[schema(value_type = String)]
    origin: &'static str,
    /// What was declared.
    #[schema(value_type = Tenant)]
    spec: Value,
}

/// Tenants, by code.
#[derive(Serialize, ToSchema)]
pub(super) struct TenantList {
    tenants: Vec<TenantView>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

/// Tenants by code: those that are declared. Others may be named by streams, or by those who let
/// publishers in.
#[utoipa::path(
    get,
    path = "/api/v1/tenants",
    tag = "tenants",
    params(Page),
    responses(
        (status = 200, description = "A page of them", body = TenantList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn tenants(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
) -> Result<Json<TenantList>, Refusal> {
    let (limit, cursor) = page.bounds()?;
    let after = cursor.map(|text| TenantName::parse(text).ok_or(BAD_CURSOR)).transpose()?;
    // One more tells whether there is another page.
    let limit = limit + 1;
    let ask = |reply| Ask::Registry(RegistryAsk::Tenants { after, limit, reply });
    let (items, next) = page.of(state.ask(ask).await?, |item| item.name.as_str())?;
    Ok(Json(TenantList { tenants: items.iter().map(TenantView::of).collect(), next }))
}

/// One tenant.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{code}",
    tag = "tenants",
    params(("code" = String, Path, description = "Its code")),
    responses(
        (status = 200, description = "The tenant", body = TenantView),
        (status = 304, description = "It is as the asker knows it"),
        (status = 404, description = "None of this code is declared", body = ErrorBody),
        (status = 422, description = "The code is none", body = ErrorBody),
    ),
)]
pub(super) async fn tenant(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = named(&code)?;
    let ask = |reply| Ask::Registry(RegistryAsk::Tenant { name, reply });
    let item = state.ask(ask).await?.ok_or(UNKNOWN)?;
    Ok(Etag::from(item.version()).answer(&headers, Json(TenantView::of(&item))))
}

/// Declares a tenant, or replaces it.
#[utoipa::path(
    put,
    path = "/api/v1/tenants/{code}",
    tag = "tenants",
    params(("code" = String, Path, description = "Its code"), DryRun),
    request_body(content = Tenant, description = "Who it is, and what its streams may use"),
    responses(
        (status = 200, description = "It was replaced", body = TenantView),
        (status = 201, description = "It is new", body = TenantView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 409, description = "The file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn put_tenant(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(value): Body<Value>,
) -> Result<Response, Refusal> {
    let name = named(&code)?;
    change(&state, dry_run, &headers, Change::PutTenant { name, value }).await
}

/// Changes a tenant by a merge patch (RFC 7396).
#[utoipa::path(
    patch,
    path = "/api/v1/tenants/{code}",
    tag = "tenants",
    params(("code" = String, Path, description = "Its code"), DryRun),
    request_body(
        description = "The patch",
        content(
            (TenantPatch = "application/json"),
            (TenantPatch = "application/merge-patch+json"),
        ),
    ),
    responses(
        (status = 200, description = "It was changed", body = TenantView),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 404, description = "None of this code is declared", body = ErrorBody),
        (status = 409, description = "The file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    ),
)]
pub(super) async fn patch_tenant(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
    Body(patch): Body<Value>,
) -> Result<Response, Refusal> {
    let name = named(&code)?;
    change(&state, dry_run, &headers, Change::PatchTenant { name, patch }).await
}

/// Deletes what was declared of a tenant, its quota included; what its streams used stays written
/// down, and they may go on to name it.
#[utoipa::path(
    delete,
    path = "/api/v1/tenants/{code}",
    tag = "tenants",
    params(("code" = String, Path, description = "Its code"), DryRun),
    responses(
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 204, description = "It is no more"),
        (status = 404, description = "None of this code is declared", body = ErrorBody),
        (status = 409, description = "The file declares it", body = ErrorBody),
        (status = 412, description = "Somebody else changed it", body = ErrorBody),
        (status = 422, description = "The code is none", body = ErrorBody),
    ),
)]
pub(super) async fn delete_tenant(
    State(state): State<ApiState>,
    Segment(code): Segment<String>,
    Params(dry_run): Params<DryRun>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = named(&code)?;
    dry_run.answer(&state, Change::DeleteTenant { name }, &headers).await
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
    let Made { created, shown: Shown::Tenant(Some(item)), .. } = made else { return Err(UNKNOWN) };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let header = [(http::header::ETAG, Etag::from(item.version()).header())];
    Ok((status, header, Json(TenantView::of(&item))).into_response())
}

fn named(code: &str) -> Result<TenantName, Refusal> {
    TenantName::parse(code).ok_or(Refusal::fixed(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_tenant",
        TenantName::RULE,
        Some("code"),
    ))
}

impl TenantView {
    fn of(item: &TenantItem) -> Self {
        let TenantItem { name, origin, tenant } = item;
        Self { code: name.to_string(), origin: origin.name(), spec: json(tenant.as_ref()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::desk::Desk;
    use http::Method;

    const PATH: &str = "/api/v1/tenants/acme";

    #[tokio::test]
    async fn a_tenant_is_made_shown_changed_and_deleted() {
        let desk = Desk::start("tenants").await;
        let spec = r#"{"name": "Acme", "quota": {"players_max": 5}}"#;
        let dry = desk.ask(Method::PUT, &format!("{PATH}?dry_run=true"), spec).await;
        assert_eq!(dry.status, 202, "{dry:?}");
        assert_eq!(desk.ask(Method::GET, PATH, "").await.status, 404, "a dry run changes nothing");
        assert_eq!(desk.ask(Method::PUT, PATH, spec).await.status, 201);
        let shown = desk.ask(Method::GET, PATH, "").await;
        let expected = serde_json::json!({
            "code": "acme", "origin": "api",
            "spec": { "name": "Acme", "quota": { "players_max": 5 } },
        });
        assert_eq!(shown.json, expected);
        let patch = r#"{"name": null, "quota": {"bytes_max": 7}}"#;
        let patched = desk.ask(Method::PATCH, PATH, patch).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        let quota = serde_json::json!({ "players_max": 5, "bytes_max": 7 });
        assert_eq!(patched.json["spec"], serde_json::json!({ "quota": quota }));
        assert_eq!(desk.ask(Method::DELETE, PATH, "").await.status, 204);
        for (method, body) in [(Method::DELETE, ""), (Method::PATCH, "{}"), (Method::GET, "")] {
            let gone = desk.ask(method, PATH, body).await;
            assert_eq!(gone.status.as_u16(), 404);
            assert_eq!(gone.json["error"]["code"], "unknown_tenant");
        }
    }

    #[tokio::test]
    async fn pages_of_tenants_tell_of_each_once() {
        let desk = Desk::start("tenant-pages").await;
        for name in ["b", "a", "c.1"] {
            let path = format!("/api/v1/tenants/{name}");
            assert_eq!(desk.ask(Method::PUT, &path, "{}").await.status, 201);
        }
        let first = desk.ask(Method::GET, "/api/v1/tenants?limit=2", "").await.json;
        let codes = |page: &Value| {
            let codes = page["tenants"].as_array().unwrap().iter();
            codes.map(|tenant| tenant["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((codes(&first), &first["next"]), (vec!["a".into(), "b".into()], &"b".into()));
        let second = desk.ask(Method::GET, "/api/v1/tenants?limit=2&cursor=b", "").await.json;
        assert_eq!((codes(&second), &second["next"]), (vec!["c.1".into()], &Value::Null));
        let bad = desk.ask(Method::GET, "/api/v1/tenants?cursor=a%2Fb", "").await;
        assert_eq!(bad.status, 400);
    }

    #[tokio::test]
    async fn no_name_is_taken_that_could_be_mistaken_for_something_else() {
        let desk = Desk::start("tenant-names").await;
        for name in ["..", "%2e%2e", "a%2Fb", "%3Dcmd()", "a%20b", "%00", "-x", &"x".repeat(65)] {
            let answer = desk.ask(Method::PUT, &format!("/api/v1/tenants/{name}"), "{}").await;
            assert_eq!(answer.status.as_u16(), 422, "{name}: {answer:?}");
            assert_eq!(answer.json["error"]["field"], "code", "{name}: {answer:?}");
        }
        let list = desk.ask(Method::GET, "/api/v1/tenants", "").await;
        assert_eq!(list.json["tenants"], serde_json::json!([]));
    }
}
