//! Configuration: one TOML file and the environment become typed values, once.
//!
//! Map: `document` reads TOML with lines, `field` reads one typed value, `key` describes a key;
//! each section of the file has a file of its own that lists its keys; `reader` takes the values of
//! the file and of the environment, `agreement` says what must hold between them, `load` puts them
//! together; `template` writes the commented file, `effective` shows values as JSON, `masking`
//! keeps secrets out of them, `change` compares two configurations, `host` asks the machine,
//! `identity` reads the certificates, `validity` their dates, `memory` adds up the ceiling,
//! `addresses` and `connections` fit listeners and their peers to the host, `plan` makes what the
//! data plane starts with.

mod acme;
mod addresses;
mod agreement;
mod auth;
mod callback;
mod change;
mod client;
mod connections;
mod coordinator;
mod data;
mod demo;
mod document;
mod effective;
mod egress;
mod environment;
mod events;
mod field;
mod hls;
mod hooks;
mod host;
mod identity;
mod jwt;
mod key;
mod limits;
mod listeners;
mod load;
mod log;
mod masking;
mod memory;
mod nearest;
mod node;
mod penalties;
mod plan;
mod reactor;
mod reader;
mod recording;
mod root;
mod secret;
mod session;
mod settings;
mod shards;
mod signed;
mod srt;
mod stream;
mod streams;
mod template;
mod tls;
mod usage;
mod validity;
mod ways;

pub use acme::{AcmeSection, ChallengeKind, Contacts, Domains};
pub use auth::AuthSection;
pub use callback::CallbackSection;
pub use change::{Change, change};
pub use client::ClientSection;
pub use coordinator::{Capacity, CommandsAuth, CommandsScheme, CoordinatorSection, ServerAddress};
pub use data::DataSection;
pub use demo::DemoSection;
pub use document::Datum;
pub use environment::{DOTENV, Dotenv, Outcome, Used, dotenv};
pub use events::EventsSection;
pub use field::{Auto, Bounds, Field, Unit, human_bytes};
pub(crate) use hooks::unkept;
pub use host::Host;
pub use identity::{CertificateTimes, Proof, certificate_files, identity};
pub use jwt::JwtSection;
pub use key::{Applies, Key, Section, sections};
pub(crate) use limits::parse_range;
pub use listeners::{
    AlsoListener, ControlListener, ControlTlsListener, ListenersSection, MediaListener, ShardList,
    listener_name,
};
pub use load::{Loaded, Sources, load, load_beside};
pub use log::{LogFormat, LogLevel, LogSection};
pub use memory::{MemoryTable, Side, Term};
pub(crate) use nearest::nearest;
pub use node::{NodeName, NodeSection};
pub use plan::{ControlBounds, Plan, plan};
pub use recording::RecordingSection;
pub use settings::Settings;
pub use shards::ShardsSection;
pub use signed::SignedSection;
pub use srt::{DatagramListener, SrtListeners, SrtSection};
pub(crate) use streams::declared_in;
pub use streams::{DeclaredLists, DeclaredTables, StreamsSection};
pub use template::template;
pub use tls::{NamedCertificate, TlsSection};
pub use usage::UsageSection;
pub use validity::{Validity, unix_seconds};
