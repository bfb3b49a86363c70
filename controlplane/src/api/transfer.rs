//! Transfer: all that is declared as one text, in the form that the configuration file takes.
//!
//! What is exported can be put into a file as it is, or imported into another node, where it is
//! taken whole or not at all. Stream keys stay hashed on the way.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::change::{DryRun, DryRunOutcome, Outcome};
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, Text};
use super::state::ApiState;
use super::streams::Done;
use crate::bridge::Ask;
use crate::config::{DeclaredTables, declared_in};
use crate::registry::{Change, IMPORT_MAX, Inventory, RegistryAsk};

/// Bytes of a text that is imported at most.
pub(super) const IMPORT_BYTES_MAX: usize = 6 << 20;

/// Everything that is declared, by the file or the API, as TOML: `[[streams.tenant]]`,
/// `[[streams.template]]` and `[[streams.stream]]`, which a configuration file takes as they are.
/// Keys are hashed.
#[utoipa::path(
    get,
    path = "/api/v1/streams/export",
    tag = "streams",
    responses((
        status = 200, description = "TOML", body = String, content_type = "application/toml",
    )),
)]
pub(super) async fn export_streams(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let declared = state.ask(|reply| Ask::Registry(RegistryAsk::Declared { reply })).await?;
    // There may be a hundred thousand: beside the control thread.
    let text = tokio::task::spawn_blocking(move || text_of(&declared)).await.map_err(|_| BUSY)?;
    let kind = [
        (header::CONTENT_TYPE, "application/toml"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"streams.toml\""),
    ];
    Ok((kind, text).into_response())
}

/// Declares all that a text in the form of the configuration file says, or nothing of it. What is
/// declared already is replaced; what the text does not name stays.
#[utoipa::path(
    post,
    path = "/api/v1/streams/import",
    tag = "streams",
    params(DryRun),
    request_body(
        description = "[[streams.tenant]], [[streams.template]] and [[streams.stream]], as TOML",
        content((String = "text/plain"), (String = "application/toml")),
    ),
    responses(
        (status = 200, description = "All were declared", body = Done),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 409, description = "The file declares one; none was declared", body = ErrorBody),
        (status = 422, description = "Something is wrong; none was declared", body = ErrorBody),
    ),
)]
pub(super) async fn import_streams(
    State(state): State<ApiState>,
    Params(dry_run): Params<DryRun>,
    Text(text): Text<IMPORT_BYTES_MAX>,
) -> Result<Response, Refusal> {
    let read = tokio::task::spawn_blocking(move || Import::read(&text)).await.map_err(|_| BUSY)?;
    let Import { change, labels } = read?;
    let changed = labels.len();
    match dry_run.make(&state, change, &HeaderMap::new()).await {
        Ok(Outcome::Asked(told)) => Ok(told),
        Ok(Outcome::Made(_)) => Ok(Json(Done { changed }).into_response()),
        Err(refusal) => Err(placed(refusal, &labels)),
    }
}

/// What is to be imported.
struct Import {
    change: Change,
    /// Where each part of the change stands in the text.
    labels: Vec<String>,
}

impl Import {
    fn read(text: &str) -> Result<Self, Refusal> {
        let wrong =
            |code, what: String| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, what));
        let lists = match declared_in(text) {
            Ok(lists) => lists,
            Err(what) => return wrong("bad_import", what),
        };
        let kinds = [
            ("tenant", &lists.tenants),
            ("template", &lists.templates),
            ("stream", &lists.streams),
        ];
        let count: usize = kinds.iter().map(|(_, tables)| tables.0.len()).sum();
        if !(1..=IMPORT_MAX).contains(&count) {
            let what =
                format!("1 to {IMPORT_MAX} streams, templates and tenants fit into one import");
            return wrong("bad_import", what);
        }
        let label = |(kind, tables): (&str, &DeclaredTables)| {
            let place = |(at, _)| format!("{kind}[{at}]");
            tables.0.iter().enumerate().map(place).collect::<Vec<_>>()
        };
        let labels = kinds.map(label).concat();
        match Change::of_tables(lists) {
            Ok(change) => Ok(Self { change, labels }),
            Err(what) => wrong("bad_import", what),
        }
    }
}

/// The refusal, its field named by the place in the text.
fn placed(refusal: Refusal, labels: &[String]) -> Refusal {
    let field = refusal.field.as_deref().unwrap_or_default();
    let place = field.strip_prefix('[').and_then(|rest| {
        let (at, rest) = rest.split_once(']')?;
        Some(format!("{}{rest}", labels.get(at.parse::<usize>().ok()?)?))
    });
    match place {
        Some(place) => refusal.at(place),
        None => refusal,
    }
}

fn text_of(declared: &Arc<Inventory>) -> String {
    let lists = declared.tables();
    let tenants = lists.tenants.to_toml("tenant");
    [tenants, lists.templates.to_toml("template"), lists.streams.to_toml("stream")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::desk::Desk;
    use http::Method;

    const PATH: &str = "/api/v1/streams/import";

    fn code(refusal: &serde_json::Value) -> (&str, &str) {
        let word = |field| refusal["error"][field].as_str().unwrap_or_default();
        (word("code"), word("field"))
    }

    #[tokio::test]
    async fn what_is_exported_is_imported_and_taken_by_a_file() {
        let one = Desk::start("export").await;
        let template =
            r#"{"prefixes": ["news/"], "description": "A \"name\"\n\u007f", "tags": ["a"]}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/templates/news", template).await.status, 201);
        let stream = r#"{"template": "news", "stream_key": "hunter2", "metadata": {"a b": "c"},
            "inputs": [{"url": "publish://"}], "protocols": {"hls": true}}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/streams/news%2F1", stream).await.status, 201);
        assert_eq!(one.ask(Method::PUT, "/api/v1/streams/z", "{}").await.status, 201);
        let tenant = r#"{"name": "Acme \u0022", "quota": {"players_max": 5}}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/tenants/acme.1", tenant).await.status, 201);
        let text = one.text("/api/v1/streams/export").await;
        assert!(text.contains("[[streams.stream]]") && !text.contains("hunter2"), "{text}");

        let other = Desk::start("import").await;
        let dry = other.ask(Method::POST, "/api/v1/streams/import?dry_run=true", &text).await;
        assert_eq!(dry.status, 202, "{dry:?}");
        assert_eq!(other.text("/api/v1/streams/export").await, "", "a dry run changes nothing");
        let done = other.ask(Method::POST, PATH, &text).await;
        assert_eq!((done.status.as_u16(), &done.json["changed"]), (200, &4.into()), "{done:?}");
        assert_eq!(other.text("/api/v1/streams/export").await, text);
        // A file takes it as it is, and says the same.
        let lists = declared_in(&text).unwrap();
        let section = crate::config::StreamsSection {
            stream: lists.streams,
            template: lists.templates,
            tenant: lists.tenants,
            ..crate::config::StreamsSection::default()
        };
        let file = crate::registry::FileStreams::read(&section).unwrap();
        assert_eq!((file.streams.len(), file.templates.len(), file.tenants.len()), (2, 1, 1));
        assert_eq!(file.tenants.values().next().unwrap().quota.unwrap().players_max, Some(5));
    }

    #[tokio::test]
    async fn an_import_is_taken_whole_or_not_at_all() {
        let desk = Desk::start("import-all").await;
        for (text, expected) in [
            ("", ("bad_import", "")),
            ("= 1", ("bad_import", "")),
            ("[streams]\nidle_ms = 1", ("bad_import", "")),
            ("[[auth.keys]]\nkey = 1", ("bad_import", "")),
            ("[[streams.stream]]\nname = \"no code\"", ("bad_import", "")),
            ("[[streams.stream]]\ncode = \"../a\"", ("bad_import", "")),
            ("[[streams.stream]]\ncode = \"a\"\nstream_key = \"plain\"", ("bad_import", "")),
            (
                "[[streams.stream]]\ncode = \"a\"\n[[streams.stream]]\ncode = \"a\"",
                ("bad_import", ""),
            ),
            (
                "[[streams.template]]\ncode = \"t\"\n[[streams.stream]]\ncode = \"a\"\n\
                 [[streams.stream]]\ncode = \"b\"\ninputs = [{ url = \"udp://h:1\" }]",
                ("input_not_supported", "stream[1].inputs[0].url"),
            ),
            ("[[streams.tenant]]\ncode = \"a/b\"", ("bad_import", "")),
            (
                "[[streams.tenant]]\ncode = \"a\"\nquota = { bytes_period = \"week\" }",
                ("invalid_value", "tenant[0].quota.bytes_period"),
            ),
            (
                "[[streams.stream]]\ncode = \"a\"\ntemplate = \"gone\"",
                ("template_not_found", "stream[0].template"),
            ),
        ] {
            let answer = desk.ask(Method::POST, PATH, text).await;
            assert_eq!(answer.status.as_u16(), 422, "{text}: {answer:?}");
            assert_eq!(code(&answer.json), expected, "{text}: {answer:?}");
        }
        assert_eq!(desk.text("/api/v1/streams/export").await, "", "nothing of it was taken");
    }
}
