//! Coordinator: the streaming servers and encoders that are attached to this node, and the
//! coordinator that it is a server of.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Refusal;
use super::state::ApiState;
use crate::bridge::{Ask, AttachedAsk, ClientAsk};
use crate::coordinator::attached::PeerReport;
use crate::coordinator::client::{LinkState, Requests, Standing};

/// Everybody who is attached.
#[derive(Serialize, ToSchema)]
pub(super) struct PeerList {
    /// By number.
    peers: Vec<PeerView>,
}

/// A streaming server or an encoder.
#[derive(Serialize, ToSchema)]
struct PeerView {
    /// Its number, as `/commands/report` tells it.
    id: u64,
    /// `rtmp` and `wss` are servers, `hls` is an encoder.
    #[schema(value_type = String)]
    role: &'static str,
    /// Where encoders pull from it.
    address: String,
    /// That is inside TLS.
    tls: bool,
    /// Seconds since it came.
    attached_s: u64,
    /// Of an encoder that has told it: streams that it takes, -1 for as many as come.
    capacity: Option<i64>,
    /// Streams that are published to it, or encoded by it.
    streams: usize,
}

impl From<PeerReport> for PeerView {
    fn from(peer: PeerReport) -> Self {
        Self {
            id: peer.id.0,
            role: peer.role.name(),
            address: SocketAddr::new(peer.at.ip, peer.at.port).to_string(),
            tls: peer.at.ssl,
            attached_s: peer.attached_s,
            capacity: peer.capacity,
            streams: peer.streams,
        }
    }
}

/// The coordinator that this node is a server of.
#[derive(Serialize, ToSchema)]
pub(super) struct CoordinatorView {
    /// How it stands with it; null for a node that has none.
    client: Option<ClientView>,
}

/// How this node stands with its coordinator.
#[derive(Serialize, ToSchema)]
struct ClientView {
    /// Where it is.
    url: String,
    /// `connected` or `away`.
    #[schema(value_type = String, example = "connected")]
    state: &'static str,
    /// Why it is away, in a word.
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    /// Seconds since it is so.
    since_s: u64,
    /// Publications that it let in, or is to be asked about.
    publications: usize,
    /// Questions without an answer.
    waiting: usize,
    /// What became of those about publishers and publications, since the start.
    requests: RequestsView,
    /// Its orders to end a publication.
    kills: u64,
}

/// What became of questions.
#[derive(Serialize, ToSchema)]
struct RequestsView {
    /// Publishers that were let in.
    accepted: u64,
    /// Publishers and publications that were not.
    denied: u64,
    /// Publishers who came while nobody could be asked.
    away: u64,
    /// Answers that came too late, or not at all.
    late: u64,
    /// Publishers who went on with a publication that is on the air.
    standing: u64,
    /// Publications that were let in again after the connection was lost.
    rejoined: u64,
}

impl From<Standing> for ClientView {
    fn from(standing: Standing) -> Self {
        let Standing { base, state, since_s, publications, waiting, requests } = standing;
        let (state, reason) = match state {
            LinkState::Connected => ("connected", None),
            LinkState::Away(reason) => ("away", Some(reason)),
        };
        let Requests { accepted, denied, away, late, standing, rejoined, kills } = requests;
        let requests = RequestsView { accepted, denied, away, late, standing, rejoined };
        Self { url: base, state, reason, since_s, publications, waiting, requests, kills }
    }
}

/// The coordinator that this node is a streaming server of.
#[utoipa::path(
    get,
    path = "/api/v1/coordinator",
    tag = "coordinator",
    responses((status = 200, description = "How it is", body = CoordinatorView)),
)]
pub(super) async fn coordinator(
    State(state): State<ApiState>,
) -> Result<Json<CoordinatorView>, Refusal> {
    let standing = state.ask(|reply| Ask::Client(ClientAsk::Standing { reply })).await?;
    Ok(Json(CoordinatorView { client: standing.map(ClientView::from) }))
}

/// The streaming servers and encoders that have this node as their coordinator.
#[utoipa::path(
    get,
    path = "/api/v1/coordinator/peers",
    tag = "coordinator",
    responses((status = 200, description = "Who is attached", body = PeerList)),
)]
pub(super) async fn peers(State(state): State<ApiState>) -> Result<Json<PeerList>, Refusal> {
    let peers = state.ask(|reply| Ask::Attached(AttachedAsk::List { reply })).await?;
    Ok(Json(PeerList { peers: peers.into_iter().map(PeerView::from).collect() }))
}
