//! Load generation against a running server, as an independent peer of it.
//!
//! Reading order: [`scenario`] (what to do), [`source`] and [`stamp`] (what is published),
//! [`publisher`], [`player`], [`verify`] (what a player checks), [`stats`], [`process`] (what the
//! server spends), [`fanout`] (the measurement), [`report`]. [`socket`] is the only module that
//! calls the kernel on its own; [`client`] speaks RTMP and [`http_flv`] HTTP-FLV. [`mpegts`] judges
//! transport streams.

pub mod client;
pub mod connection;
pub mod fanout;
pub mod http_flv;
pub mod mpegts;
pub mod piece;
pub mod player;
pub mod process;
pub mod publisher;
pub mod report;
pub mod scenario;
pub mod socket;
pub mod source;
pub mod stamp;
pub mod stats;
pub mod stream_url;
pub mod verify;
