//! Stream: what is wanted of a stream beside what it is doing, as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use dataplane::control::{Protocol, StreamState, StreamStatus};
use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::etag::Etag;
use super::view::{Log, Track};
use crate::bridge::Gathered;
use crate::coordinator::Policy;
use crate::registry::{Filter, Item, Origin};

/// A stream: what is wanted of it, and what it is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamView {
    /// Its name.
    pub(crate) name: String,
    /// What it is doing.
    state: State,
    /// Who declared it: the file (`config`), the API (`api`), or nobody (`runtime`).
    #[schema(value_type = String)]
    origin: &'static str,
    /// The template that it takes from.
    template: Option<String>,
    /// What was declared, without what the template adds; null if nobody declared it.
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
    /// What holds, template included; with `expand=template`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    resolved: Option<Value>,
    /// Fields that are set and kept, but without effect yet.
    #[schema(value_type = Vec<String>)]
    without_effect: Vec<&'static str>,
    /// The shard that it is on.
    shard: Option<u16>,
    /// The session that publishes it.
    publisher: Option<String>,
    /// How it is published.
    #[schema(value_type = Option<String>)]
    protocol: Option<&'static str>,
    /// Since it is on the air.
    age_ms: Option<u64>,
    /// Since its publisher sent anything.
    silent_ms: Option<u64>,
    /// Players on all shards.
    players: u64,
    /// What the application lets it do, if it said so: `record`, `previews`, `resolutions`.
    #[schema(value_type = Option<Object>)]
    policy: Option<Policy>,
    tracks: Vec<Track>,
    logs: Vec<Log>,
    bytes_in: u64,
    units_in: u64,
    timestamps_repaired: u64,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is published.
    Live,
    /// Its publisher left, and may come back.
    Grace,
    /// It is declared, and nobody publishes it.
    Idle,
    /// Nobody may publish or play it.
    Disabled,
}

/// Which streams are asked for: those that are like all of this.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct StreamFilter {
    /// What they are doing.
    #[param(inline)]
    state: Option<Wanted>,
    /// A tag that they have.
    tag: Option<String>,
    /// What their names begin with.
    prefix: Option<String>,
    /// The template that they take from.
    template: Option<String>,
    /// Who declared them.
    #[param(inline)]
    origin: Option<Declarer>,
    /// A part of name or description, in any case.
    q: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Live,
    Grace,
    Idle,
    Disabled,
    /// Live or in grace.
    OnAir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Declarer {
    Config,
    Api,
    Runtime,
}

/// What the shards tell, by stream.
pub(crate) struct OnAir<'a> {
    streams: HashMap<&'a StreamName, &'a StreamStatus>,
    policies: &'a HashMap<StreamName, Arc<Policy>>,
    players: HashMap<&'a StreamName, u64>,
}

impl<'a> OnAir<'a> {
    pub(crate) fn of(gathered: &'a Gathered) -> Self {
        let streams = gathered.snapshots.iter().flat_map(|snapshot| &snapshot.streams);
        let mut players = HashMap::new();
        for audience in gathered.snapshots.iter().flat_map(|snapshot| &snapshot.audiences) {
            *players.entry(&audience.stream).or_insert(0) += audience.players;
        }
        let streams = streams.map(|stream| (&stream.name, stream)).collect();
        Self { streams, policies: &gathered.policies, players }
    }

    /// The clip of the program, which has no publisher and so is none of the registry's streams.
    pub(crate) fn clip(&self) -> Option<&'a StreamStatus> {
        self.streams.values().find(|status| status.protocol == Protocol::Demo).copied()
    }

    fn state(&self, item: &Item) -> State {
        match self.streams.get(&item.name).map(|status| status.state) {
            Some(StreamState::Live) => State::Live,
            Some(StreamState::Grace) => State::Grace,
            None if item.resolved.disabled => State::Disabled,
            None => State::Idle,
        }
    }
}

impl StreamFilter {
    /// What the registry can tell by itself.
    pub(crate) fn declared(&self) -> Filter {
        let origin = self.origin.map(|origin| match origin {
            Declarer::Config => Origin::Config,
            Declarer::Api => Origin::Api,
            Declarer::Runtime => Origin::Runtime,
        });
        Filter {
            origin,
            template: self.template.clone(),
            tag: self.tag.clone(),
            prefix: self.prefix.clone(),
            q: self.q.clone(),
            live: None,
        }
    }

    /// Whether the clip is asked for.
    pub(crate) fn takes_clip(&self, clip: &StreamStatus) -> bool {
        let name = clip.name.as_str();
        matches!(self.state, None | Some(Wanted::OnAir | Wanted::Live))
            && self.origin.is_none_or(|origin| origin == Declarer::Runtime)
            && self.tag.is_none()
            && self.template.is_none()
            && self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && self.q.as_ref().is_none_or(|q| name.contains(&q.to_lowercase()))
    }

    /// Whether a stream is in the state that is asked for.
    pub(crate) fn takes(&self, item: &Item, on_air: &OnAir<'_>) -> bool {
        let state = on_air.state(item);
        self.state.is_none_or(|wanted| match wanted {
            Wanted::OnAir => matches!(state, State::Live | State::Grace),
            Wanted::Live => state == State::Live,
            Wanted::Grace => state == State::Grace,
            Wanted::Idle => state == State::Idle,
            Wanted::Disabled => item.resolved.disabled,
        })
    }
}

impl StreamView {
    pub(crate) fn of(item: &Item, on_air: &OnAir<'_>, expanded: bool) -> Self {
        let resolved = &item.resolved;
        Self {
            state: on_air.state(item),
            origin: resolved.origin.name(),
            template: resolved.template.clone(),
            spec: spec(item),
            resolved: expanded.then(|| json(&resolved.traits)),
            without_effect: resolved.traits.without_effect(),
            ..Self::seen(&item.name, on_air)
        }
    }

    /// What the shards alone know of a stream.
    pub(crate) fn seen(name: &StreamName, on_air: &OnAir<'_>) -> Self {
        let live = on_air.streams.get(name);
        Self {
            name: name.to_string(),
            state: State::Live,
            origin: Origin::Runtime.name(),
            template: None,
            spec: None,
            resolved: None,
            without_effect: Vec::new(),
            shard: live.map(|status| status.shard.0),
            publisher: live.and_then(|status| status.publisher).map(|id| id.to_string()),
            protocol: live.map(|status| status.protocol.name()),
            age_ms: live.map(|status| status.age_ms),
            silent_ms: live.map(|status| status.silent_ms),
            players: on_air.players.get(name).copied().unwrap_or(0),
            policy: on_air.policies.get(name).map(|policy| Policy::clone(policy)),
            tracks: live.map_or_else(Vec::new, |it| it.tracks.iter().map(Into::into).collect()),
            logs: live.map_or_else(Vec::new, |it| it.logs.iter().map(Into::into).collect()),
            bytes_in: live.map_or(0, |status| status.bytes_in),
            units_in: live.map_or(0, |status| status.units_in),
            timestamps_repaired: live.map_or(0, |status| status.timestamps_repaired),
        }
    }
}

/// What was declared of a stream.
pub(crate) fn spec(item: &Item) -> Option<Value> {
    item.spec.as_deref().map(json)
}

/// The name of what was declared; what a stream is doing does not change it.
pub(crate) fn etag(item: &Item) -> Etag {
    Etag::of(&spec(item))
}

/// Values of the registry are plain: each has its JSON.
pub(crate) fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
