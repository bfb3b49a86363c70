//! The control listener: health, metrics and the API over HTTP.
//!
//! Map: `listener` accepts connections, `callers` bounds them, `head` reads what balancers say,
//! `door` knows whose requests are and who may call, `progress` leaves those who do not read,
//! `address` reads names with slashes, `router` says which path is answered by what, `document`
//! describes all of it as OpenAPI, `state` is what answers are made of, `guard` checks Host, origin
//! and token, `token` keeps the secret, `listing` bounds the long answers and requests. What
//! handlers share: `request` takes bodies, queries and names apart, `reply` is the shape of errors,
//! `paging` cuts lists into pages, `etag` names states. Handlers: `streams` and `templates` (what
//! is wanted beside what is on the air, in the JSON of `stream`; `change` makes changes and dry
//! runs, `transfer` exports and imports them as TOML, `pieces` weighs what is imported), `health`,
//! `live` (what shards tell, in the JSON of `view` and `room`), `moving` moves streams, `commands`
//! obeys the coordinator's contract, whose servers and encoders attach by `sockets` and are listed
//! by `coordinator`, `config` shows and reloads the configuration, `auth` tells who is judged how,
//! `events` tells what happens by the `feed` that each client reads, `penalties` who is refused for
//! a while, `recordings` what was recorded, `hooks` who else is told, `metrics` the text for
//! Prometheus, `process` what the kernel counts of us, `requests` what is answered here, `tenants`
//! whose streams are, `usage` what is to be billed.

mod address;
mod auth;
#[cfg(test)]
mod bench;
mod callers;
mod change;
mod commands;
mod config;
mod coordinator;
#[cfg(test)]
mod desk;
mod document;
mod door;
mod etag;
mod events;
mod feed;
mod guard;
mod head;
mod health;
mod hooks;
mod input;
mod listener;
mod listing;
mod live;
mod metrics;
mod moving;
mod paging;
mod penalties;
mod pieces;
mod process;
mod progress;
mod recordings;
mod reply;
mod request;
mod requests;
pub(crate) mod room;
mod router;
mod session;
mod sessions;
mod sockets;
mod srt;
mod state;
mod stream;
mod streams;
mod templates;
mod tenants;
mod token;
mod transfer;
mod transport;
mod usage;
mod view;

pub use callers::Callers;
pub use commands::Commands;
pub use door::{Door, judged_by};
pub(crate) use etag::Etag;
pub(crate) use feed::{BATCH as EVENTS_AT_ONCE, CLIENTS_MAX as READERS_MAX};
pub use listener::{Certificates, serve};
pub use metrics::render;
pub use process::Process;
pub use router::router;
pub use sockets::Sockets;
pub use state::ApiState;
pub use token::Token;
pub(crate) use token::word_in;
pub(crate) use transfer::{IMPORT_BYTES_MAX, import_bytes};
