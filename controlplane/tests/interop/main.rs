//! The real server against real encoders, players and browsers.
//!
//! Every test starts its own server, on free ports, with its own data directory and two shards, and
//! leaves nothing running. The clients come from `.ci/setup`.

mod behaviour;
mod browser;
mod client;
mod clip;
mod enhanced;
mod hls;
mod http_flv;
mod matrix;
mod metrics;
mod player;
mod process;
mod publisher;
mod readers;
mod rml;
mod seccomp;
mod server;
mod tls;
mod transport;
mod verify;
mod websocket;
