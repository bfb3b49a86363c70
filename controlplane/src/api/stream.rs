//! Stream: what is wanted of a stream beside what it is doing, as JSON.

use dataplane::control::StreamStatus;
use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::etag::Etag;
use super::input::InputView;
use super::transport::Transport;
use super::view::{Log, Track};
use crate::bridge::{Gathered, PeerSnapshot, PeerSnapshots};
use crate::coordinator::Policy;
use crate::record::RecordingState;
use crate::registry::{Filter, Item, Origin, StreamSpec, Traits, mask_passphrases};

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
    /// Whose it is, by who let its publisher in, or by what was declared.
    tenant: Option<String>,
    /// What was declared, without what the template adds; null if nobody declared it.
    #[schema(value_type = Option<StreamSpec>)]
    spec: Option<Value>,
    /// What holds, template included; with `expand=template`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Traits>)]
    resolved: Option<Value>,
    /// Fields that are set and kept, but without effect yet.
    without_effect: Vec<String>,
    /// Its inputs, by priority, and what they are doing.
    inputs: Vec<InputView>,
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
    /// Players on all shards, of all protocols but HLS.
    players: u64,
    /// Viewers of HLS on all shards, from the first piece that they show their token for to the
    /// end of their view; 0 where `hls.session` is `off`, because nobody is told apart then.
    viewers: u64,
    /// What the application lets it do, if it said so: `record`, `previews`, `resolutions`.
    policy: Option<Policy>,
    tracks: Vec<Track>,
    /// What the transport stream has that it is published with.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Transport>,
    logs: Vec<Log>,
    bytes_in: u64,
    units_in: u64,
    timestamps_repaired: u64,
    /// The peers that the node pulls it from, by their addresses; not in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pulls: Vec<PeerSnapshot>,
    /// Those that the node pushes it to; not in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pushes: Vec<PeerSnapshot>,
    /// What recording it comes to, if it is recorded; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordingState>,
    /// Milliseconds since the shards told the figures; not in a list, which says it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    figures_age_ms: Option<u64>,
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

impl State {
    /// What a stream is doing: shards tell by themselves when it begins and ends.
    fn of(item: &Item, gathered: &Gathered) -> Self {
        match &item.slot {
            Some(slot) if slot.holder.is_some() => Self::Live,
            Some(slot) if slot.is_on_air() => Self::Grace,
            _ if gathered.clip.as_ref() == Some(&item.name) => Self::Live,
            _ if item.resolved.disabled => Self::Disabled,
            _ => Self::Idle,
        }
    }

    const fn is_on_air(self) -> bool {
        matches!(self, Self::Live | Self::Grace)
    }
}

impl StreamFilter {
    /// What the registry can tell by itself.
    ///
    /// `clip` is a stream that is on the air though the registry knows of no publisher: it is not
    /// to be missed.
    pub(crate) fn declared(&self, clip: bool) -> Filter {
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
            on_air: !clip
                && matches!(self.state, Some(Wanted::Live | Wanted::Grace | Wanted::OnAir)),
        }
    }

    /// Whether the registry alone cannot tell which are asked for.
    pub(crate) const fn is_by_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether the clip is asked for.
    pub(crate) fn takes_clip(&self, clip: &StreamName) -> bool {
        let name = clip.as_str();
        matches!(self.state, None | Some(Wanted::OnAir | Wanted::Live))
            && self.origin.is_none_or(|origin| origin == Declarer::Runtime)
            && self.tag.is_none()
            && self.template.is_none()
            && self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && self.q.as_ref().is_none_or(|q| name.contains(&q.to_lowercase()))
    }

    /// Whether a stream is in the state that is asked for.
    pub(crate) fn takes(&self, item: &Item, gathered: &Gathered) -> bool {
        let state = State::of(item, gathered);
        self.state.is_none_or(|wanted| match wanted {
            Wanted::OnAir => state.is_on_air(),
            Wanted::Live => state == State::Live,
            Wanted::Grace => state == State::Grace,
            Wanted::Idle => state == State::Idle,
            Wanted::Disabled => item.resolved.disabled,
        })
    }
}

impl StreamView {
    pub(crate) fn of(item: &Item, gathered: &Gathered, expanded: bool) -> Self {
        let resolved = &item.resolved;
        let state = State::of(item, gathered);
        let publisher = item.slot.as_ref().and_then(|slot| slot.holder);
        let live = state.is_on_air().then(|| gathered.stream(&item.name)).flatten();
        let seen = Self::seen(&item.name, live, gathered);
        let declared = resolved.traits.tenant.as_ref().map(ToString::to_string);
        Self {
            state,
            publisher: publisher.map(|session| session.to_string()),
            tenant: seen.tenant.or(declared),
            origin: resolved.origin.name(),
            template: resolved.template.clone(),
            spec: spec(item),
            resolved: expanded.then(|| json(&*resolved.traits)),
            without_effect: resolved.traits.without_effect(),
            inputs: InputView::all(item, gathered),
            ..seen
        }
    }

    /// The stream of the clip, which the registry knows nothing of.
    pub(crate) fn of_clip(name: &StreamName, gathered: &Gathered) -> Self {
        Self::seen(name, gathered.stream(name), gathered)
    }

    /// What the shards alone know of a stream.
    fn seen(name: &StreamName, live: Option<&StreamStatus>, gathered: &Gathered) -> Self {
        let audience = gathered.audience(name);
        Self {
            name: name.to_string(),
            state: State::Live,
            origin: Origin::Runtime.name(),
            template: None,
            tenant: gathered.tenants.get(name).map(ToString::to_string),
            spec: None,
            resolved: None,
            without_effect: Vec::new(),
            inputs: Vec::new(),
            shard: live.map(|status| status.shard.0),
            publisher: None,
            protocol: live.map(|status| status.protocol.name()),
            age_ms: live.map(|status| status.age_ms),
            silent_ms: live.map(|status| status.silent_ms),
            players: audience.players,
            viewers: audience.viewers,
            policy: gathered.policies.get(name).map(|policy| Policy::clone(policy)),
            tracks: live.map_or_else(Vec::new, |it| it.tracks.iter().map(Into::into).collect()),
            transport: live.and_then(|it| it.transport.as_deref().map(Into::into)),
            logs: live.map_or_else(Vec::new, |it| it.logs.iter().map(Into::into).collect()),
            bytes_in: live.map_or(0, |status| status.bytes_in),
            units_in: live.map_or(0, |status| status.units_in),
            timestamps_repaired: live.map_or(0, |status| status.timestamps_repaired),
            pulls: Vec::new(),
            pushes: Vec::new(),
            recording: None,
            figures_age_ms: None,
        }
    }

    /// The same, with the peers that the node connects to for it, and its recording.
    #[must_use]
    pub(crate) fn with(self, peers: PeerSnapshots, recording: Option<RecordingState>) -> Self {
        let PeerSnapshots { pulls, pushes } = peers;
        let mut inputs = self.inputs;
        InputView::call(&mut inputs, &pulls);
        Self { inputs, pulls, pushes, recording, ..self }
    }

    /// The same, with how old its figures are.
    #[must_use]
    pub(crate) fn aged(self, gathered: &Gathered) -> Self {
        Self { figures_age_ms: Some(gathered.age_ms()), ..self }
    }
}

/// What was declared of a stream.
pub(crate) fn spec(item: &Item) -> Option<Value> {
    item.spec.as_deref().map(json)
}

/// The name of what was declared; what a stream is doing does not change it.
pub(crate) fn etag(item: &Item) -> Etag {
    item.version().map_or_else(|| Etag::of(&Value::Null), Etag::from)
}

/// Values of the registry are plain: each has its JSON, of which secrets are not shown.
pub(crate) fn json(value: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    mask_passphrases(&mut value);
    value
}
