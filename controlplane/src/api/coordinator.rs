//! Coordinator: the streaming servers and encoders that are attached to this node.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Refusal;
use super::state::ApiState;
use crate::bridge::{Ask, AttachedAsk};
use crate::coordinator::attached::PeerReport;

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
