//! Hubs: one per stream, on the stream's home shard.
//!
//! A hub puts the access units of whoever publishes on one continuous timeline (`timeline.rs`),
//! keeps the recent ones (`ring.rs`), knows the tracks and their decoder configurations
//! (`tracks.rs`), tells players of them (`configuration.rs`), drives the packaged logs that
//! somebody reads (`hub.rs`; each is a `packaged.rs`), and cuts the stream into segments
//! (`segments.rs`).
//! A hub that moves to another shard goes there packed (`parcel.rs`).
//!
//! Not here: framing (`package/`), pages and readers (`log/`), who may publish
//! (`shard/streams.rs`).

mod configuration;
#[expect(clippy::module_inception, reason = "the folder is the room, the file its main thing")]
mod hub;
mod packaged;
mod parcel;
mod readiness;
mod relayed;
mod ring;
mod segments;
mod shown;
mod source;
mod subscriber;
pub mod timeline;
mod tracks;

pub use hub::{Hub, Sink};
pub use packaged::HubLog;
pub use parcel::{GOP_BYTES_MAX, Parcel};
pub use ring::UnitRing;
pub use shown::Shown;
pub use source::{Publisher, Source};
pub use subscriber::Subscriber;
pub use tracks::{Track, Tracks};
