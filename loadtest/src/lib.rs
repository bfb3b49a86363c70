//! Load generation against a running server, as an independent peer of it.
//!
//! Reading order: [`scenario`] (what to do), [`source`], [`encoder`], [`clip`] and [`stamp`] (what
//! is published), [`crew`] (the threads), [`publisher`], [`player`], [`verify`] (what a player
//! checks), [`stats`], [`observe`] (what the server spends), [`run`] and [`measurement`] (the
//! measurement), [`report`]. [`trend`] tells whether memory grows. [`socket`] is the only module
//! that calls the kernel on its own; [`client`] speaks RTMP; [`http_flv`], [`http_ts`], [`srt`],
//! [`websocket`] and [`hls`] speak what their names say; [`tls`] goes around them. [`mpegts`]
//! judges transport streams; [`mirror`] copies segments for another server to serve; [`impair`] is
//! a bad network between a client and a server.

pub mod client;
pub mod clip;
pub mod connection;
pub mod content;
pub mod crew;
pub mod encoder;
pub mod hls;
pub mod http_answer;
pub mod http_body;
pub mod http_flv;
pub mod http_head;
pub mod http_ts;
pub mod impair;
pub mod listing;
pub mod measurement;
pub mod mirror;
pub mod mpegts;
pub mod observe;
pub mod piece;
pub mod player;
pub mod publisher;
pub mod report;
pub mod run;
pub mod scenario;
pub mod socket;
pub mod source;
pub mod srt;
pub mod stamp;
pub mod stats;
pub mod stream_url;
pub mod tls;
pub mod trend;
pub mod verify;
pub mod websocket;
