//! Usage: `GET /api/v1/usage`, who used how much, as JSON or CSV.

use std::fmt::Write;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataplane::control::Usage;
use dataplane::ids::StreamName;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, stream_name};
use super::state::ApiState;
use crate::registry::TenantName;
use crate::usage::{By, Filter, Hour, Line, Per, ReportError, Span};

/// What a line of CSV ends with.
const CRLF: &str = "\r\n";

/// What is reported.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UsageQuery {
    /// The first hour, in UTC: `2026-01-31`, `2026-01-31T17` or `2026-01-31T17:00:00Z`; a day
    /// before the end without it.
    from: Option<String>,
    /// The hour after the last one; up to now without it.
    to: Option<String>,
    /// Of this stream alone.
    stream: Option<String>,
    /// Of this tenant alone.
    tenant: Option<String>,
    /// `hour`, `day` or `month`: what one line adds up.
    #[param(value_type = Option<String>, example = "day")]
    by: By,
    /// `stream` or `tenant`: whose use is told apart.
    #[param(value_type = Option<String>, example = "tenant")]
    per: Per,
    /// `json` or `csv`.
    #[param(value_type = Option<String>, example = "csv")]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// What was used.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageReport {
    /// The first hour.
    from: String,
    /// The hour after the last one.
    to: String,
    /// By time, tenant, stream and protocol.
    lines: Vec<UsageLine>,
}

/// What one stream, or all streams of a tenant, used by one protocol.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageLine {
    /// When the hour, the day or the month began.
    start: String,
    /// Whose it is; null if it is nobody's.
    tenant: Option<String>,
    /// The stream; null where streams are counted together.
    stream: Option<String>,
    /// The protocol.
    #[schema(value_type = String, example = "rtmp")]
    protocol: &'static str,
    /// Bytes that came on sockets.
    bytes_in: u64,
    /// Bytes that went on sockets.
    bytes_out: u64,
    /// Seconds that it was played, added up over players.
    play_seconds: f64,
    /// Seconds that it was published.
    publish_seconds: f64,
}

/// What streams and tenants used, to the second before.
#[utoipa::path(
    get,
    path = "/api/v1/usage",
    tag = "usage",
    params(UsageQuery),
    responses(
        (status = 200, description = "What was used", content(
            (UsageReport = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 422, description = "It would be too long", body = ErrorBody),
    ),
)]
pub(super) async fn usage(
    State(state): State<ApiState>,
    Params(query): Params<UsageQuery>,
) -> Result<Response, Refusal> {
    let from = hour(query.from.as_deref(), "from")?;
    let span = Span::of(from, hour(query.to.as_deref(), "to")?);
    if span.from >= span.to {
        let what = "it ends before it begins; `to` is the hour after the last one";
        return Err(Refusal::fixed(StatusCode::BAD_REQUEST, "bad_span", what, Some("to")));
    }
    let filter = Filter {
        stream: query.stream.map(|text| stream_name(&text, "stream")).transpose()?,
        tenant: query.tenant.map(|text| tenant(&text)).transpose()?,
        by: query.by,
        per: query.per,
    };
    let lines = state.usage.report(span, &filter).await.map_err(|error| match error {
        ReportError::TooMuch => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "too_much", error.to_string())
        }
        ReportError::Store(_) => Refusal { message: error.to_string().into(), ..BUSY },
    })?;
    Ok(match query.format {
        Format::Json => {
            let (from, to) = (span.from.to_string(), span.to.to_string());
            Json(UsageReport { from, to, lines: lines.iter().map(UsageLine::of).collect() })
                .into_response()
        }
        Format::Csv => {
            let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
            (kind, csv(&lines)).into_response()
        }
    })
}

impl UsageLine {
    fn of(line: &Line) -> Self {
        let Usage { bytes_in, bytes_out, .. } = line.used;
        Self {
            start: line.start.to_string(),
            tenant: line.tenant.as_ref().map(ToString::to_string),
            stream: line.stream.as_ref().map(ToString::to_string),
            protocol: line.protocol,
            bytes_in,
            bytes_out,
            play_seconds: seconds(line.used.play_us),
            publish_seconds: seconds(line.used.publish_us),
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Lines of RFC 4180; no name holds what would need quotes.
fn csv(lines: &[Line]) -> String {
    let fields = "start,tenant,stream,protocol,bytes_in,bytes_out,play_seconds,publish_seconds";
    let mut text = format!("{fields}{CRLF}");
    for Line { start, tenant, stream, protocol, used } in lines {
        let tenant = tenant.as_ref().map_or("", TenantName::as_str);
        let stream = stream.as_ref().map_or("", StreamName::as_str);
        let Usage { bytes_in, bytes_out, play_us, publish_us } = used;
        let seconds = |us: &u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        let (play, publish) = (seconds(play_us), seconds(publish_us));
        let _ = write!(
            text,
            "{start},{tenant},{stream},{protocol},{bytes_in},{bytes_out},{play},{publish}{CRLF}"
        );
    }
    text
}

fn hour(text: Option<&str>, field: &'static str) -> Result<Option<Hour>, Refusal> {
    let what = "an hour of UTC as 2026-01-31, 2026-01-31T17 or 2026-01-31T17:00:00Z";
    let bad = Refusal::fixed(StatusCode::BAD_REQUEST, "bad_hour", what, Some(field));
    text.map(|text| Hour::parse(text).ok_or(bad)).transpose()
}

fn tenant(text: &str) -> Result<TenantName, Refusal> {
    TenantName::parse(text).ok_or(Refusal::fixed(
        StatusCode::BAD_REQUEST,
        "bad_tenant",
        TenantName::RULE,
        Some("tenant"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use dataplane::control::{Protocol, UsageBatch, UsageRow};
    use dataplane::ids::ShardId;
    use http::Method;

    fn bench() -> Bench {
        let bench = Bench::new("usage");
        let row = |stream: &str, protocol, bytes_out| UsageRow {
            stream: StreamName::parse(stream),
            protocol,
            used: Usage { bytes_in: 3, bytes_out, play_us: 1_500_000, publish_us: 1 },
            publish_bytes_in: 0,
        };
        let at_ms = u64::from(Hour::parse("2026-01-31T23").unwrap().0) * 3_600_000;
        let rows = [row("a/b", Protocol::Rtmp, 10), row("-c", Protocol::Hls, 20)].into();
        let batch = UsageBatch { shard: ShardId(0), number: 1, at_ms, rows, more: false };
        bench.state.usage.add(&batch, |row| {
            row.stream.as_ref().filter(|stream| stream.as_str() == "a/b")?;
            TenantName::parse("acme")
        });
        bench
    }

    const SPAN: &str = "from=2026-01-31&to=2026-02-01";

    #[tokio::test]
    async fn a_report_is_told_as_json_and_as_csv() {
        let bench = bench();
        let get = |query: &str| bench.request(&Method::GET, &format!("/api/v1/usage?{query}"), "");
        let answer = bench.answer(get(&format!("{SPAN}&by=day"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let line = |tenant, stream, protocol, bytes_out| {
            serde_json::json!({
                "start": "2026-01-31T00:00:00Z", "tenant": tenant, "stream": stream,
                "protocol": protocol, "bytes_in": 3, "bytes_out": bytes_out,
                "play_seconds": 1.5, "publish_seconds": 1e-6,
            })
        };
        let expected = serde_json::json!({
            "from": "2026-01-31T00:00:00Z", "to": "2026-02-01T00:00:00Z",
            "lines": [line(None, "-c", "hls", 20), line(Some("acme"), "a/b", "rtmp", 10)],
        });
        assert_eq!(answer.json, expected);
        let text = bench.text(get(&format!("{SPAN}&per=tenant&format=csv&tenant=acme"))).await;
        assert_eq!(
            text,
            "start,tenant,stream,protocol,bytes_in,bytes_out,play_seconds,publish_seconds\r\n\
             2026-01-31T23:00:00Z,acme,,rtmp,3,10,1.500000,0.000001\r\n"
        );
        let answer = bench.answer(get(&format!("{SPAN}&stream=-c&by=month"))).await;
        assert_eq!(answer.json["lines"][0]["start"], "2026-01-01T00:00:00Z");
        assert_eq!(answer.json["lines"].as_array().unwrap().len(), 1);
        let now = bench.answer(get("")).await;
        assert_eq!(now.json["lines"], serde_json::json!([]), "a day back from now");
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named() {
        let bench = bench();
        for (query, code, field) in [
            ("from=yesterday", "bad_hour", Some("from")),
            ("to=2026-01-01T05:30:00Z", "bad_hour", Some("to")),
            ("from=2026-01-02&to=2026-01-01", "bad_span", Some("to")),
            ("from=2026-01-02&to=2026-01-02", "bad_span", Some("to")),
            ("stream=..", "bad_stream_name", Some("stream")),
            ("tenant=a%2Fb", "bad_tenant", Some("tenant")),
            ("tenant=%3Dcmd()", "bad_tenant", Some("tenant")),
            ("by=year", "bad_query", None),
            ("per=peer", "bad_query", None),
            ("format=xml", "bad_query", None),
            ("streams=a", "bad_query", Some("streams")),
        ] {
            let path = format!("/api/v1/usage?{query}");
            let answer = bench.answer(bench.request(&Method::GET, &path, "")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {answer:?}");
            let error = &answer.json["error"];
            assert_eq!((error["code"].as_str(), error["field"].as_str()), (Some(code), field));
        }
    }
}
