//! Rules: how each intent is judged, as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use dataplane::config::ListenerNumber;
use dataplane::control::{AuthorizeRequest, Intent};

use super::application::Application;
use super::jwt::Issuer;
use super::keyring::KeyRule;
use super::mode::Mode;
use super::modes::Modes;
use super::signed::Signed;
use super::ways::Ways;
use crate::coordinator::Endpoint;

/// What verdicts are given by. A reload gives the [`Gate`](super::Gate) other ones.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How publishers are judged.
    pub publish: Modes,
    /// How players are judged.
    pub play: Modes,
    /// How peers are judged that only connect, if they are asked about at all.
    pub connect: Mode,
    /// How those are judged who come by one listener, where that is said.
    pub listeners: Vec<(ListenerNumber, Ways)>,
    /// The keys of mode `keys`.
    pub keys: Vec<KeyRule>,
    /// What signatures are judged by in mode `signed`.
    pub signed: Signed,
    /// What tokens are judged by in mode `jwt`.
    pub issuer: Arc<Issuer>,
    /// Who is asked in mode `callback`.
    pub application: Option<Application>,
    /// Who is asked in mode `coordinator`.
    pub coordinator: Endpoint,
    /// Who is asked instead is the coordinator that this node is a client of.
    pub follows: bool,
    /// Either answers within this.
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
    /// True if the application of `mode` is asked about each peer by itself: the coordinator's
    /// contract asks for every publication, and other servers ask for everybody.
    pub(super) fn asks_each(&self, mode: Mode) -> bool {
        let application = self.application.as_ref().filter(|_| mode == Mode::Callback);
        let counts = application.is_some_and(|asked| !asked.dialect.forgets_questions());
        counts || mode == Mode::Coordinator
    }

    /// How `request` is judged: as its stream says, else its listener, else everything.
    pub(super) fn modes(&self, request: &AuthorizeRequest, stream: Ways) -> Modes {
        let intent = request.intent;
        let own = |(number, ways): &(_, Ways)| (*number == request.listener).then_some(*ways);
        let listener = self.listeners.iter().find_map(own).unwrap_or_default();
        stream.or(listener).of(intent).unwrap_or(match intent {
            Intent::Connect => Modes::only(self.connect),
            Intent::Publish => self.publish,
            Intent::Play => self.play,
        })
    }
}
