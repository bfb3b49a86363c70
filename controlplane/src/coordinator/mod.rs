//! The coordinator's contract: how an application that owns accounts, keys and viewers drives this
//! node by headers, as the coordinator of a streaming family did before.
//!
//! Map: `credential` says how one side proves itself to the other, `identifier` what a channel and
//! a key may look like, `key_request` asks the application whether a key is right, `policy` reads
//! what a stream may do, `stream_ids` numbers publications, `channels` knows those on the air,
//! `encoder` how many more there may be, `server` says where this node is, `ledger` remembers what
//! the application was told and `teller` tells it, by the `flights` of messages, `room` is what the
//! control thread keeps of all that; `attached` are streaming servers and encoders of other
//! machines, which speak `wire` with this node; `client` is this node as such a server of another
//! coordinator; `complaints` is how often their errors are told.
//!
//! Not here: the variables of the environment, which `config/environment` reads.

pub mod attached;
mod channels;
pub mod client;
mod complaints;
mod credential;
mod encoder;
mod flights;
mod identifier;
mod key_request;
mod ledger;
mod policy;
mod room;
mod row;
mod server;
mod stream_ids;
mod teller;
#[cfg(test)]
mod transcript;
pub mod wire;

pub use channels::Channels;
pub use credential::{Credential, Endpoint, Scheme, Unusable};
pub use identifier::{ID_BYTES_MAX, is_identifier};
pub use key_request::{Claim, Question, answer, question};
pub use ledger::LEDGER_BYTES_MAX;
pub use policy::{NotThat, Policy, Previews, Resolutions, Rung, Unread};
pub use room::{Coordinator, Order};
pub use server::StreamingServer;
pub use stream_ids::StreamIds;
pub use teller::{Callback, Pictures, Teller};
