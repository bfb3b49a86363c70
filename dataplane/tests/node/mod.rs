//! A whole node inside the test's process, and independent peers over real sockets.
//!
//! Peers are blocking sockets of the standard library; each read and write has a time bound that
//! only a failing case reaches. Nothing sleeps: cases wait for bytes, events or counters.

#![allow(dead_code, reason = "each test binary uses its own part of the harness")]
#![allow(unused_imports, reason = "each test binary uses its own part of the harness")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "waits of a failing case are bounded by a clock")]

mod control;
mod media;
mod peer;
mod player;
mod publisher;
mod script;
mod server;
mod transport;
mod tunnel;
mod viewer;
mod websocket;

pub(crate) use control::{Control, Totals};
pub(crate) use media::{
    Content, DEMO_NUMBER, Frame, Item, asc, audio_body, avcc, demo_clip, payload, video_body,
};
pub(crate) use peer::{Message, Peer, TIME_BOUND};
pub(crate) use player::{FlvPlayer, Player, RtmpPlayer, assert_contiguous, join_head};
pub(crate) use publisher::Publisher;
pub(crate) use script::{FRAME_MS, GOP_FRAMES, Script};
pub(crate) use server::{Server, VIEW_KEYS, config, tiny};
pub(crate) use transport::TsPlayer;
pub(crate) use tunnel::{Certificate, Tunnel, certificate, client, client_config, with_tls};
pub(crate) use viewer::{Answer, Viewer};
pub(crate) use websocket::{WsPlayer, client_frame, opening as ws_opening};
