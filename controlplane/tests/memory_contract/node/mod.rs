//! The peers of the data plane's tests: a publisher and players whose frames tell their number.

#![allow(dead_code, unused_imports, reason = "each test uses its own part of the peers")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "../../../../dataplane/tests/node/media.rs"]
mod media;
#[path = "../../../../dataplane/tests/node/peer.rs"]
mod peer;
#[path = "../../../../dataplane/tests/node/player.rs"]
mod player;
#[path = "../../../../dataplane/tests/node/publisher.rs"]
mod publisher;
#[path = "../../../../dataplane/tests/node/script.rs"]
mod script;
#[path = "../../../../dataplane/tests/node/viewer.rs"]
mod viewer;

pub(crate) use peer::Peer;
pub(crate) use player::{FlvPlayer, Player, RtmpPlayer};
pub(crate) use publisher::Publisher;
pub(crate) use script::{FRAME_MS, Script};
pub(crate) use viewer::Viewer as Connection;
