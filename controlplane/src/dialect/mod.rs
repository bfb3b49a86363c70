//! Dialects: how the applications of other servers are asked and told, so that one that was
//! written for them need not be touched.
//!
//! Map: `language` lists them; `peer` is who a message is about and `place` where that is in the
//! words of other servers; `claim` is how a peer came in, kept until it leaves; `note` is one
//! message, `envelope` puts it on the wire, `form` and `token` write it; `reply` is what an answer
//! says. One file for each dialect has its fields and its answers: `rtmp_event`, `nginx_rtmp`,
//! `srs`, `zlmediakit`, `mediamtx`.
//!
//! Spec: the public documentation of each server (directives of nginx-rtmp-module, HTTP callback
//! of SRS, web hooks of ZLMediaKit, HTTP-based authentication of MediaMTX).
//! Not here: our own dialect (`auth/json`, `hooks/attempt`) and the coordinator's contract.

mod claim;
mod envelope;
mod form;
mod language;
mod mediamtx;
mod nginx_rtmp;
mod note;
mod peer;
mod place;
mod reply;
mod rtmp_event;
mod srs;
mod token;
mod zlmediakit;

pub use claim::{Asker, Claim};
pub use envelope::{Envelope, Verb};
pub use language::Dialect;
pub use note::{NOTES_MAX, Note};
pub use peer::Peer;
pub use reply::{PublishOptions, Reply, Yes, refuses};
