//! Penalties: who is refused for a while, and how that ends early.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use dataplane::config::AddrRange;
use dataplane::rates::{address_of, prefix_of};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::reply::{ErrorBody, Refusal};
use super::request::Params;
use super::state::ApiState;
use crate::config::parse_range;
use crate::security::moment;

/// Penalties of one answer at most: those that end first.
const LISTED_MAX: usize = 1_000;

/// Which penalties are listed.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PenaltyFilter {
    /// Those that refuse this address.
    #[param(max_length = 64)]
    address: Option<String>,
}

/// Which penalty is meant.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PenaltyRange {
    /// Its range as it is listed, or an address, whose own penalty is meant then.
    #[param(max_length = 64, example = "192.0.2.7")]
    range: String,
}

/// Who is refused.
#[derive(Serialize, ToSchema)]
pub(super) struct PenaltyList {
    penalties: Vec<PenaltyView>,
    /// How many there are; the first thousand are listed.
    total: usize,
}

/// One penalty.
#[derive(Serialize, ToSchema)]
pub(super) struct PenaltyView {
    /// Who is refused: IPv4 /32 or /24, IPv6 /64 or /56.
    range: String,
    /// Since when.
    began: String,
    /// Until when.
    until: String,
    /// Penalties, this one included, that are not forgotten.
    strikes: u32,
    /// Guesses that led to it.
    guesses: u64,
    /// Connections and questions refused since.
    refused: u64,
    /// What the last guess was.
    #[schema(value_type = String)]
    reason: std::borrow::Cow<'static, str>,
}

/// Addresses and prefixes that are refused because they guessed keys or tokens.
#[utoipa::path(
    get,
    path = "/api/v1/penalties",
    tag = "auth",
    params(PenaltyFilter),
    responses((status = 200, description = "Those in force", body = PenaltyList)),
)]
pub(super) async fn penalties(
    State(state): State<ApiState>,
    Params(PenaltyFilter { address }): Params<PenaltyFilter>,
) -> Result<Json<PenaltyList>, Refusal> {
    let mut penalties = state.warden.penalties(Instant::now());
    if let Some(address) = address {
        let address = address.parse().map_err(|_| bad_range("address"))?;
        penalties.retain(|penalty| penalty.whose.contains(address));
    }
    let total = penalties.len();
    penalties.truncate(LISTED_MAX);
    let view = |penalty: crate::penalties::Penalty| PenaltyView {
        range: penalty.whose.to_string(),
        began: moment(penalty.began),
        until: moment(penalty.until),
        strikes: penalty.strikes,
        guesses: penalty.guesses,
        refused: penalty.refused,
        reason: penalty.reason,
    };
    Ok(Json(PenaltyList { penalties: penalties.into_iter().map(view).collect(), total }))
}

/// Lifts a penalty, and forgets what led to it.
#[utoipa::path(
    delete,
    path = "/api/v1/penalties",
    tag = "auth",
    params(PenaltyRange),
    responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn lift_penalty(
    State(state): State<ApiState>,
    Params(PenaltyRange { range }): Params<PenaltyRange>,
) -> Result<StatusCode, Refusal> {
    let whose = parse_range(&range).and_then(block).ok_or_else(|| bad_range("range"))?;
    match state.warden.lift(&whose, Instant::now()) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::fixed(
            StatusCode::NOT_FOUND,
            "unknown_penalty",
            "there is no penalty of this range; GET /api/v1/penalties lists them",
            Some("range"),
        )),
    }
}

/// The range that a penalty has, of what was given; `None` if penalties have no such ranges.
fn block(range: AddrRange) -> Option<AddrRange> {
    let (address, prefix) = (address_of(range.addr), prefix_of(range.addr));
    match range.bits {
        bits if bits == prefix.bits && range == prefix => Some(prefix),
        bits if bits == address.bits && range == address => Some(address),
        32 if range.addr.is_ipv4() => Some(address),
        128 => Some(address),
        _ => None,
    }
}

const fn bad_range(field: &'static str) -> Refusal {
    Refusal::fixed(
        StatusCode::BAD_REQUEST,
        "bad_range",
        "expected an address, or a range as it is listed, such as 192.0.2.0/24 or 2001:db8::/64",
        Some(field),
    )
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::Method;

    use super::super::bench::Bench;
    use super::*;
    use crate::penalties::{PenaltyRules, Refused};

    fn guess(state: &ApiState, peer: &str) {
        let peer: IpAddr = peer.parse().unwrap();
        for guess in 0..PenaltyRules::default().guesses_max {
            let (listener, proto, stream) = ("rtmp", "rtmp", Some("news"));
            let guess = Some(guess);
            let refused = Refused { peer, listener, proto, stream, reason: "forbidden", guess };
            state.warden.refused(&refused, Instant::now());
        }
    }

    #[tokio::test]
    async fn penalties_are_listed_and_lifted() {
        let bench = Bench::new("penalties");
        guess(&bench.state, "192.0.2.7");
        guess(&bench.state, "2001:db8::1");
        let listed = |path: &'static str| bench.answer(bench.request(&Method::GET, path, ""));
        let all = listed("/api/v1/penalties").await;
        assert_eq!(all.json["total"], 2);
        let first = &all.json["penalties"][0];
        assert_eq!(first["range"], "192.0.2.7/32");
        assert_eq!(
            (&first["strikes"], &first["guesses"], &first["reason"]),
            (&1.into(), &100.into(), &"forbidden".into())
        );
        assert!(first["until"].as_str() > first["began"].as_str());
        let six = listed("/api/v1/penalties?address=2001:db8::ff").await;
        assert_eq!(six.json["penalties"][0]["range"], "2001:db8::/64");
        assert_eq!(six.json["total"], 1);
        for (query, status, code) in
            [("?address=nobody", 400, "bad_range"), ("?adress=192.0.2.7", 400, "bad_query")]
        {
            let path = format!("/api/v1/penalties{query}");
            let answer = bench.answer(bench.request(&Method::GET, &path, "")).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json["error"]["code"]),
                (status, &code.into())
            );
        }
        for (range, status) in [
            ("192.0.2.0/23", 400),
            ("192.0.2.1/24", 400),
            ("10.0.0.0/8", 400),
            ("x", 400),
            ("192.0.2.0/24", 404),
            ("192.0.2.8", 404),
            ("192.0.2.7", 204),
            ("192.0.2.7", 404),
            ("2001:db8::99", 204),
            ("2001:db8::/64", 404),
        ] {
            let path = format!("/api/v1/penalties?range={range}");
            let answer = bench.answer(bench.request(&Method::DELETE, &path, "")).await;
            assert_eq!(answer.status.as_u16(), status, "{range}: {answer:?}");
        }
        assert_eq!(listed("/api/v1/penalties").await.json["total"], 0);
    }
}
