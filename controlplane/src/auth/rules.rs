//! Rules: how each intent is judged, as the configuration says.

use std::time::Duration;

use dataplane::control::Intent;

use super::application::Application;
use super::keyring::KeyRule;
use super::mode::Mode;
use crate::coordinator::Endpoint;

/// What verdicts are given by. A reload gives the [`Gate`](super::Gate) other ones.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How publishers are judged.
    pub publish: Mode,
    /// How players are judged.
    pub play: Mode,
    /// How peers are judged that only connect, if they are asked about at all.
    pub connect: Mode,
    /// The keys of mode `keys`.
    pub keys: Vec<KeyRule>,
    /// Who is asked in mode `callback`.
    pub application: Option<Application>,
    /// Who is asked in mode `coordinator`.
    pub coordinator: Endpoint,
    /// It answers within this.
    pub key_request: Duration,
    /// Bytes of a channel or key at most, in mode `coordinator`.
    pub id_bytes_max: usize,
    /// Questions under way at most.
    pub calls_max: usize,
    /// Verdicts remembered at most.
    pub cache_entries_max: usize,
    /// Peers of different addresses share no verdict.
    pub cache_per_peer: bool,
}

impl Rules {
    /// How `intent` is judged.
    pub(super) const fn mode(&self, intent: Intent) -> Mode {
        match intent {
            Intent::Connect => self.connect,
            Intent::Publish => self.publish,
            Intent::Play => self.play,
        }
    }
}
