//! Registry: which streams should exist, on whose terms, and who publishes them.
//!
//! ```text
//!   file ----+
//!            +--> desired streams, templates --resolve--> verdicts
//!   API -----+            ^        |
//!    |                    |        +--differences--> who is dropped --> shards
//!    +--> store (disk) ---+
//!                                  running: who publishes, told by the shards
//! ```
//!
//! Desired state and runtime state are apart: what is desired is a value ([`Registry`]) that
//! changes by plans, is stored, and knows no session; what runs is a table beside it ([`Running`])
//! that follows the shards and is in memory alone.
//!
//! Map: `spec`, `input`, `outputs`, `processing` and `prefix` are the fields; `key_hash` keeps
//! stream keys; `fault` says what is wrong with a description, which `strict` reads; `schema` is
//! what the API's document says of one; `resolved` is what holds for one stream, and `weight` what
//! it takes; `crowd` is how many there may be; `tenant` is whose streams are, `quota` how much may
//! be used; `desired` is the value, `draft` plans it by the `scales`, `change` what may be wanted
//! of it, `condition` what must be so for that, `effect` what it does to people; `running` follows
//! the publishers; `record` and `keeper` bring changes to the disk; `file` reads and writes the
//! form of the configuration file; `ask` answers the API.
//!
//! Lives on: the control thread. Every question is answered from memory, so that a stream that
//! starts slowly holds nobody else up.
//! Not here: keys and verdicts (`auth`), sessions, and the claim of a name, which the stream's home
//! shard makes.

mod addresses;
mod ask;
mod change;
mod condition;
mod crowd;
mod desired;
mod draft;
mod effect;
mod fault;
mod file;
mod input;
mod keeper;
mod key_hash;
mod mpegts;
mod outputs;
mod passphrases;
mod prefix;
mod processing;
mod quota;
mod record;
mod resolved;
mod rtmp_url;
mod running;
mod scales;
mod schema;
mod spec;
mod srt_url;
mod strict;
mod tenant;
mod udp_place;
mod udp_url;
mod weight;

#[cfg(test)]
mod traps;

pub use ask::{Filter, Made, PAGE_MAX, RegistryAsk, Shown, StreamPage, Users};
pub use change::{
    Change, FileStreams, Plan, Refused, STREAMS_MAX, Subject, TEMPLATES_MAX, TENANTS_MAX,
};
pub use condition::{Condition, Unmet, Version, Versions};
pub use desired::{Item, Registry, TemplateItem, TenantItem};
pub use effect::{Difference, Effect, Effects, RULES, Rule, Touch};
pub use fault::Fault;
pub use file::{IMPORT_MAX, Inventory};
pub use input::{Input, Kind, Net, PullPlace};
pub use keeper::{Keeper, WAITING_MAX};
pub use mpegts::Mpegts;
pub use outputs::{Protocols, PushDestination, PushPlace};
pub use passphrases::Passphrases;
pub(crate) use passphrases::{
    FIELD as PASSPHRASE_FIELD, mask as mask_passphrases, parse as parse_passphrase,
};
pub use prefix::Prefix;
pub use processing::{
    AudioTranscoding, Decoder, Dvr, Global, Thumbnail, Transcoder, VideoProfile, VideoTranscoding,
    Watermark,
};
pub use quota::{BytesOver, Period, PublishOver, QuotaSpec};
pub use resolved::{Origin, Resolved, Undeclared, Values};
pub use rtmp_url::RtmpPlace;
pub(crate) use rtmp_url::masked as masked_rtmp_url;
pub use running::{Active, IDLE_MAX, Running, Slot};
pub use schema::{StreamPatch, TemplatePatch, TenantPatch};
pub use spec::{StreamSpec, Template, Traits};
pub use srt_url::SrtPlace;
pub use tenant::{Tenant, TenantName};
pub use udp_place::UdpPlace;
pub(crate) use udp_url::BUFFER_BYTES_MIN;
pub(crate) use weight::DECLARED_BYTES_MAX;
