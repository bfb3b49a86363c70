//! Resolved: what holds for one stream, template and defaults included.

use std::ops::Deref;
use std::sync::Arc;

use dataplane::control::{Denial, Intent, Protocol, ProtocolSet, UdpInput};

use super::input::{Input, Kind, PullPlace};
use super::outputs::{Protocols, PushDestination, PushPlace};
use super::spec::{StreamSpec, Template, Traits};

/// Who declared a stream or a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration file: the API only reads it.
    Config,
    /// The API; it is in the store.
    Api,
    /// Nobody: it lives because somebody published it, in memory alone.
    Runtime,
}

impl Origin {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Api => "api",
            Self::Runtime => "runtime",
        }
    }
}

/// Streams that nobody declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undeclared {
    /// May be published and played; below a prefix on the terms of its template.
    #[default]
    Any,
    /// Only below the prefix of a template.
    Template,
    /// Are refused.
    Off,
}

/// The values of a stream. What is declared already is shared: a template of many streams that say
/// nothing of their own is there once.
#[derive(Clone, Debug)]
pub enum Values {
    /// Its own.
    Stream(Arc<StreamSpec>),
    /// Those of its template.
    Template(Arc<Template>),
    /// Some of both.
    Mixed(Box<Traits>),
}

impl Values {
    fn of(spec: &Arc<StreamSpec>, template: Option<&Arc<Template>>) -> Self {
        match template {
            None => Self::Stream(Arc::clone(spec)),
            Some(template) if spec.traits == Traits::default() => {
                Self::Template(Arc::clone(template))
            }
            Some(template) => Self::Mixed(Box::new(spec.merged(template))),
        }
    }
}

impl Deref for Values {
    type Target = Traits;

    fn deref(&self) -> &Traits {
        match self {
            Self::Stream(spec) => &spec.traits,
            Self::Template(template) => &template.traits,
            Self::Mixed(traits) => traits,
        }
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// What holds for one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Who declared it.
    pub origin: Origin,
    /// The template that it takes from.
    pub template: Option<String>,
    /// Nobody may publish or play it.
    pub disabled: bool,
    /// Its template is gone, so that nobody knows what it should be.
    pub incomplete: bool,
    /// Its values.
    pub traits: Values,
    /// How it may be played.
    pub protocols: Protocols,
    kinds: Vec<Kind>,
}

impl Resolved {
    /// A declared stream.
    pub(super) fn declared(
        origin: Origin,
        spec: &Arc<StreamSpec>,
        template: Option<&Arc<Template>>,
    ) -> Self {
        Self {
            disabled: spec.disabled,
            incomplete: spec.template.is_some() && template.is_none(),
            ..Self::new(origin, spec.template.clone(), Values::of(spec, template))
        }
    }

    /// An undeclared stream of a template.
    pub(super) fn automatic(code: &str, template: &Arc<Template>) -> Self {
        let values = Values::Template(Arc::clone(template));
        Self::new(Origin::Runtime, Some(code.to_owned()), values)
    }

    /// An undeclared stream without one: everybody may publish and play it, by every protocol.
    pub(super) fn open() -> Self {
        let values = Values::Mixed(Box::default());
        Self { kinds: vec![Kind::Publish], ..Self::new(Origin::Runtime, None, values) }
    }

    fn new(origin: Origin, template: Option<String>, traits: Values) -> Self {
        let kinds = traits.inputs.iter().filter_map(Input::listens).collect();
        let protocols = traits.protocols.unwrap_or(Protocols::ALL);
        Self { origin, template, disabled: false, incomplete: false, traits, protocols, kinds }
    }

    /// True if a publisher that speaks `protocol` is one of its inputs.
    #[must_use]
    pub fn takes(&self, protocol: Protocol) -> bool {
        !self.disabled && !self.incomplete && self.listens(protocol)
    }

    /// True if it may be played by `protocol`.
    #[must_use]
    pub fn shows(&self, protocol: Protocol) -> bool {
        !self.disabled && !self.incomplete && self.protocols.allows(protocol)
    }

    /// True if the node fetches it by itself.
    #[must_use]
    pub fn is_fetched(&self) -> bool {
        !self.disabled && !self.incomplete && self.kinds.contains(&Kind::Udp)
    }

    /// Where the node fetches it by itself, each place once.
    #[must_use]
    pub fn fetches(&self) -> Vec<Arc<UdpInput>> {
        let mut places: Vec<Arc<UdpInput>> = Vec::new();
        if !self.is_fetched() {
            return places;
        }
        let mpegts = self.traits.mpegts;
        for place in self.traits.inputs.iter().filter_map(|input| input.fetched(mpegts)) {
            if !places.iter().any(|known| **known == place) {
                places.push(Arc::new(place));
            }
        }
        places
    }

    /// The number of the input that is fetched from there.
    #[must_use]
    pub fn input_from(&self, place: &UdpInput) -> Option<u32> {
        let mpegts = self.traits.mpegts;
        let is = |input: &Input| input.fetched(mpegts).is_some_and(|from| from == *place);
        u32::try_from(self.traits.inputs.iter().position(is)?).ok()
    }

    /// The peers that the node pulls it from: the number of the input, its address as it may be
    /// shown, and where it is.
    #[must_use]
    pub fn pulls(&self) -> Vec<(u32, String, PullPlace)> {
        let inputs = if self.is_off() { &[] } else { self.traits.inputs.as_slice() };
        let (places, mpegts) = ((0..).zip(inputs), self.traits.mpegts);
        places.filter_map(|(at, input)| Some((at, input.masked(), input.pulled(mpegts)?))).collect()
    }

    /// The peers that the node pushes it to.
    #[must_use]
    pub fn pushes(&self) -> Vec<(&PushDestination, PushPlace)> {
        let pushes = if self.is_off() { &[] } else { self.traits.push.as_slice() };
        let pushes = pushes.iter().filter(|push| push.enabled);
        pushes.filter_map(|push| Some((push, push.place().ok()?))).collect()
    }

    /// True if the node connects to peers for it.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        !self.pulls().is_empty() || !self.pushes().is_empty()
    }

    fn is_off(&self) -> bool {
        self.disabled || self.incomplete
    }

    /// The protocols that its inputs listen for, whether or not it is disabled.
    pub(super) fn publishers(&self) -> ProtocolSet {
        Protocol::ALL.into_iter().filter(|&protocol| self.listens(protocol)).collect()
    }

    /// The number of the input that a publisher who speaks `protocol` is.
    #[must_use]
    pub fn input_of(&self, protocol: Protocol) -> Option<u32> {
        let takes = |input: &Input| input.listens().is_some_and(|kind| kind.takes(protocol));
        let at = self.traits.inputs.iter().position(takes);
        // One that says nothing of inputs has the one that everybody takes.
        let at = at.or_else(|| self.listens(protocol).then_some(0));
        u32::try_from(at?).ok()
    }

    fn listens(&self, protocol: Protocol) -> bool {
        self.kinds.iter().any(|kind| kind.takes(protocol))
    }

    /// The registry's part of a verdict: whether the stream is there for this at all.
    ///
    /// Errors: why it is not. A player is told no more than that there is no such stream.
    pub fn judge(&self, intent: Intent, protocol: Protocol) -> Result<(), Denial> {
        match intent {
            Intent::Connect => Ok(()),
            Intent::Publish if self.takes(protocol) => Ok(()),
            Intent::Play if self.shows(protocol) => Ok(()),
            Intent::Publish => Err(Denial::Forbidden),
            Intent::Play => Err(Denial::NotFound),
        }
    }
}
