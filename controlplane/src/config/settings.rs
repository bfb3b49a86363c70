//! Settings: the typed values of every section.

use dataplane::config::{EgressConfig, Limits, SessionConfig, StreamConfig};
use dataplane::reactor::ReactorConfig;

use super::acme::AcmeSection;
use super::auth::AuthSection;
use super::coordinator::CoordinatorSection;
use super::data::DataSection;
use super::demo::DemoSection;
use super::events::EventsSection;
use super::field::Auto;
use super::listeners::ListenersSection;
use super::log::LogSection;
use super::node::NodeSection;
use super::recording::RecordingSection;
use super::shards::ShardsSection;
use super::srt::SrtSection;
use super::streams::StreamsSection;
use super::tls::TlsSection;
use super::usage::UsageSection;
use crate::hooks::HookSpec;
use crate::penalties::PenaltyRules;

/// Everything that can be configured, as it is without a file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[auth]`
    pub auth: AuthSection,
    /// `[listeners.*]`
    pub listeners: ListenersSection,
    /// `[tls]`
    pub tls: TlsSection,
    /// `[acme]`
    pub acme: AcmeSection,
    /// `[limits]`
    pub limits: Limits,
    /// `[penalties]`
    pub penalties: PenaltyRules,
    /// `limits.memory_max`: bytes.
    pub memory_max: Auto<u64>,
    /// `[shards]`
    pub shards: ShardsSection,
    /// `[reactor]`
    pub reactor: ReactorConfig,
    /// `[egress]`
    pub egress: EgressConfig,
    /// `[streams]`
    pub streams: StreamsSection,
    /// `[stream]`
    pub stream: StreamConfig,
    /// `[recording]`
    pub recording: RecordingSection,
    /// `[session]`
    pub session: SessionConfig,
    /// `[srt]`
    pub srt: SrtSection,
    /// `[coordinator]`
    pub coordinator: CoordinatorSection,
    /// `[[hooks]]`
    pub hooks: Vec<HookSpec>,
    /// `[events]`
    pub events: EventsSection,
    /// `[usage]`
    pub usage: UsageSection,
    /// `[node]`
    pub node: NodeSection,
    /// `[log]`
    pub log: LogSection,
    /// `[data]`
    pub data: DataSection,
    /// `[demo]`
    pub demo: DemoSection,
}

impl Settings {
    /// True if a listener inside TLS is to be opened.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        let wanted = self.listeners.rtmps.enabled || self.listeners.https.enabled;
        self.is_certified() && wanted
    }

    /// True if there is something to prove ourselves with, from a file or from an authority.
    #[must_use]
    pub const fn is_certified(&self) -> bool {
        self.tls.certificate.is_some() || !self.acme.domains.0.is_empty()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: AuthSection::default(),
            listeners: ListenersSection::default(),
            tls: TlsSection::default(),
            acme: AcmeSection::default(),
            limits: Limits::default(),
            penalties: PenaltyRules::default(),
            memory_max: Auto::Auto,
            shards: ShardsSection::default(),
            reactor: ReactorConfig::default(),
            egress: EgressConfig::default(),
            streams: StreamsSection::default(),
            stream: StreamConfig::default(),
            recording: RecordingSection::default(),
            session: SessionConfig::default(),
            srt: SrtSection::default(),
            coordinator: CoordinatorSection::default(),
            hooks: Vec::new(),
            events: EventsSection::default(),
            usage: UsageSection::default(),
            node: NodeSection::default(),
            log: LogSection::default(),
            data: DataSection::default(),
            demo: DemoSection::default(),
        }
    }
}
