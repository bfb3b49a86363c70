//! Whoever called and is not let in yet: the verdict is awaited, then the keys.
//!
//! Shape: a caller repeats its call until it is answered, and that is all that is heard of it. One
//! that is silent for a while is gone, and nothing is begun for it.
//! Limits: [`REPEATED_AGO_MAX`], [`SAID_AGO_MAX`].

use std::time::{Duration, Instant};

use codecs::srt::{RejectReason, SocketId};

use super::keyring::KeySeed;
use super::listener::{Keys, Listener, Request};
use super::server::{Server, State};
use super::settings::Settings;
use super::transmit::Scratch;
use crate::control::Role;
use crate::session::Refusal;

/// A caller that has repeated its call and does so no more is taken for gone after this long:
/// libsrt's repeat themselves four times a second.
const REPEATED_AGO_MAX: Duration = Duration::from_secs(2);
/// The same for one that never did: some say it once, and give up by themselves after as long.
const SAID_AGO_MAX: Duration = Duration::from_secs(3);
#[derive(Debug)]
pub(super) struct Asking {
    request: Request,
    keys: Option<Keys>,
    /// When it called last.
    heard: Instant,
    repeats: bool,
}

impl Asking {
    pub(super) const fn new(request: Request) -> Self {
        let heard = request.heard();
        Self { request, keys: None, heard, repeats: false }
    }

    /// When it is taken for gone.
    pub(super) fn gone_at(&self) -> Instant {
        self.heard + if self.repeats { REPEATED_AGO_MAX } else { SAID_AGO_MAX }
    }
}

impl Server {
    /// The call that is not answered yet.
    #[must_use]
    pub fn request(&self) -> Option<&Request> {
        match &self.state {
            State::Asking(asking) => Some(&asking.request),
            State::Open(open) => open.0.as_ref(),
            _ => None,
        }
    }

    /// Who waits for its answer called again.
    pub fn called_again(&mut self, now: Instant) {
        if let State::Asking(asking) = &mut self.state {
            (asking.heard, asking.repeats) = (now, true);
        }
    }

    /// True if its keys are to be derived before it is let in.
    #[must_use]
    pub fn awaits_keys(&self, settings: &Settings) -> bool {
        match &self.state {
            State::Asking(asking) => asking.keys.is_none() && asking.request.has_secret(settings),
            State::Calling(caller) => caller.awaits_keys(),
            _ => false,
        }
    }

    /// Derives the keys of whoever asks, of random bytes that nobody else has.
    pub fn derive_keys(&mut self, settings: &Settings, seed: KeySeed) {
        let settings = self.settings(settings);
        match &mut self.state {
            State::Asking(asking) => asking.keys = Some(asking.request.keys(&settings, seed)),
            State::Calling(caller) => caller.derive_keys(),
            _ => {}
        }
    }

    /// What its connection is made with.
    fn settings(&self, settings: &Settings) -> Settings {
        let (sends, receives) = (self.role == Role::Play, self.role == Role::Publish);
        Settings { sends, receives, ..settings.clone() }
    }

    /// Whoever asks is let in with `socket`, once it publishes or plays; true if it is. Its keys
    /// are derived here if that was not done.
    ///
    /// # Errors
    /// Why its listener refuses it instead, and so many bytes to be sent back.
    pub fn let_in(
        &mut self,
        now: Instant,
        listener: &mut Listener,
        settings: &Settings,
        (socket, seed): (SocketId, KeySeed),
        out: &mut Scratch,
    ) -> Result<bool, (RejectReason, usize)> {
        let Asking { request, keys, .. } =
            match std::mem::replace(&mut self.state, State::Over(None)) {
                State::Asking(asking) => *asking,
                state => {
                    self.state = state;
                    return Ok(false);
                }
            };
        let settings = self.settings(settings);
        let keys = keys.unwrap_or_else(|| request.keys(&settings, seed));
        let connection = listener.accept(now, &request, &settings, (socket, keys), out)?;
        self.socket = Some(socket);
        self.entered("asking", State::Open(Box::new((Some(request), connection))), "let_in");
        Ok(true)
    }

    /// Turns away who was not answered yet: so many bytes are to be sent back.
    pub fn turn_away(
        &mut self,
        now: Instant,
        listener: &mut Listener,
        reason: RejectReason,
        out: &mut Scratch,
    ) -> Option<usize> {
        let refused = listener.refuse(now, self.request()?, reason, out);
        self.transition(State::Over(None), "turn_away");
        Some(refused)
    }

    /// The code by which it learns why it may not.
    #[must_use]
    pub const fn reject_reason(&self, refusal: Refusal) -> RejectReason {
        match refusal {
            Refusal::Denied if self.is_anonymous => RejectReason::UNAUTHORIZED,
            Refusal::Denied => RejectReason::FORBIDDEN,
            Refusal::Anonymous | Refusal::WrongKey => RejectReason::UNAUTHORIZED,
            Refusal::NotFound | Refusal::NoTrack => RejectReason::NOT_FOUND,
            Refusal::Busy => RejectReason::CONFLICT,
            Refusal::Overloaded | Refusal::Full => RejectReason::OVERLOAD,
            Refusal::Timeout => RejectReason::INTERNAL,
            Refusal::Unavailable | Refusal::Draining => RejectReason::DOWN,
        }
    }

    /// True if who waited for its answer does so no more.
    pub(super) fn is_gone(&self, now: Instant) -> bool {
        matches!(&self.state, State::Asking(asking) if asking.gone_at() <= now)
    }
}
