//! Views: sessions of HLS viewers, who are only requests.
//!
//! ```text
//!   playlist asked for -- allowed --> token given -- a child is asked for with it --> live
//!                                                                                      |
//!            ended: idle, stream_ended, draining <-- silence, end of the node ---------+
//!            ended: kicked, and refused from the next request on <-- kicked -----------+
//! ```
//!
//! Who was allowed the playlist of renditions gets a token (`session/view_token.rs`) in the
//! addresses of what it lists, or in a cookie, and shows it with every request that follows: a good
//! token of a live view is served without a question. The view begins with the first request that
//! shows the token, so whoever reads one playlist and leaves is no viewer. A token without a view
//! was given a moment ago, and is taken as it is; or its view ended by silence, or another process
//! gave it: then the control plane is asked as if there were none, and the view goes on under its
//! number. So is one whose stream has another name than the viewer asked for, because no token says
//! which.
//!
//! A view is owned by the shard that it began on, which alone ends it; the others find it in the
//! shared table (`view_table.rs`).
//!
//! Limits: `hls_viewers_max` of the node; `hls_viewers_per_ip_max` of an address that is not
//! exempt; [`REVOKED_MAX`] views of a shard that were kicked are
//! remembered for [`REVOKED_FOR`]: after that a token is asked about like one that nobody knows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use codecs::time::WallTime;

use super::caps::ViewerAdmission;
use super::shard::Shard;
use super::view_roll::{OwnView, ViewRoll};
use super::view_table::{Entered, Seat, Standing};
use crate::config::LimitId;
use crate::control::{CloseReason, Event, Protocol, Role, SessionEvent, SessionStatus};
use crate::ids::{SessionId, StreamName};
use crate::segment::uri::Asset;
use crate::session::view_token::{ViewIds, ViewKeys, ViewSigner};
use crate::session::view_token::{age_seconds, is_renamed};
use crate::session::{LogKey, Refusal, Use, Viewer};

/// A token without a view is taken for this long after it was given.
const FRESH_SECONDS: u64 = 60;
/// Views that one round of housekeeping looks at.
const LOOKED_AT_MAX: usize = 1_024;
/// Views of one shard that are remembered as kicked at most.
const REVOKED_MAX: usize = 4_096;
/// How long they are.
const REVOKED_FOR: Duration = Duration::from_secs(600);

/// The views of a shard. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Views {
    signer: ViewSigner,
    ids: ViewIds,
    pub roll: ViewRoll,
    revoked: VecDeque<(Instant, Seat)>,
    /// Tokens that were given before are asked about until their view begins.
    trusted_from: WallTime,
}

/// What the request of a viewer is answered as. One word, because everybody who waits has one: no
/// viewer has the numbers 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View(u64);

impl View {
    /// As everybody's: viewers are not told apart.
    pub(crate) const ANONYMOUS: Self = Self(0);
    /// As the first one of a new viewer, which is given a token.
    pub(crate) const NEW: Self = Self(1);

    /// As one of this viewer.
    const fn of(viewer: SessionId) -> Self {
        Self(viewer.0)
    }

    fn viewer(self) -> Option<SessionId> {
        (self != Self::ANONYMOUS && self != Self::NEW).then_some(SessionId(self.0))
    }
}

/// What is done with a request of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is answered without a question.
    Known(View),
    /// Whoever may view is to be asked.
    Ask(View),
    /// It is refused.
    Refused,
}

impl Views {
    pub(super) fn new(keys: &ViewKeys) -> Self {
        Self {
            signer: ViewSigner::new(keys),
            ids: ViewIds::default(),
            roll: ViewRoll::default(),
            revoked: VecDeque::new(),
            trusted_from: WallTime::default(),
        }
    }

    /// True if the number `id` was given a moment ago, and nobody was thrown out since.
    fn trusts(&self, id: SessionId, wall: WallTime) -> bool {
        let age = age_seconds(id, wall);
        let since = wall.as_unix_millis().saturating_sub(self.trusted_from.as_unix_millis());
        age <= FRESH_SECONDS && i64::try_from(age).is_ok_and(|age| age < since / 1_000)
    }

    /// Tokens that were given a moment before `wall` are asked about until their view begins; the
    /// views that there are.
    pub(super) fn distrust(&mut self, wall: WallTime) -> Vec<SessionId> {
        self.trusted_from = wall;
        self.roll.iter().map(|view| view.seat.id).collect()
    }

    /// The stream of a view of this shard.
    pub(super) fn stream_of(&self, view: SessionId) -> Option<&StreamName> {
        self.roll.get(view).map(|view| &view.stream)
    }
}

impl Shard {
    /// Tokens are signed by other keys from now on.
    pub(super) fn change_view_keys(&mut self, keys: &ViewKeys) {
        self.views.signer = ViewSigner::new(keys);
    }

    /// Judges a request for a piece of `stream` by the token that it shows.
    pub(super) fn judge_view(
        &self,
        stream: &StreamName,
        asset: Option<Asset>,
        viewer: Viewer,
    ) -> Judged {
        let token = match viewer {
            Viewer::Anybody => return Judged::Ask(View::ANONYMOUS),
            Viewer::New => return Judged::Ask(View::NEW),
            Viewer::Of(token) => token,
        };
        let Some(id) = self.views.signer.verify(stream, token) else {
            // A token that is no good is as good as none for who would be given one.
            let first = asset == Some(Asset::Multivariant);
            return if first { Judged::Ask(View::NEW) } else { Judged::Refused };
        };
        let view = View::of(id);
        match self.shared.views.find(id) {
            Standing::Revoked => Judged::Refused,
            _ if is_renamed(id) => Judged::Ask(view),
            Standing::Live(_) => Judged::Known(view),
            Standing::Unknown if self.views.trusts(id, self.wall) => Judged::Known(view),
            Standing::Unknown => Judged::Ask(view),
        }
    }

    /// The viewer of the connection in `slot` is about to be answered: a new one is given its
    /// token, and a view begins with what it is shown for first.
    ///
    /// The seat of the view, if it has one; or why there is no answer.
    pub(super) fn seat_viewer(&mut self, slot: u32) -> Result<Option<Seat>, Refusal> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(None) };
        let Some(asked) = connection.asked.as_ref() else { return Ok(None) };
        if asked.view == View::NEW {
            let Some(path) = connection.session.stream() else { return Ok(None) };
            let renamed = *path != asked.stream;
            let id = self.views.ids.next(self.id, self.wall, renamed);
            let token = self.views.signer.sign(path, id);
            connection.session.give_view_token(token);
            return Ok(None);
        }
        let Some(id) = asked.view.viewer() else { return Ok(None) };
        match self.shared.views.enter(id, self.now) {
            Entered::New(seat) => {
                let peer = connection.peer.ip;
                match self.shared.caps.enter_viewer(peer, &self.config.limits) {
                    Ok(admission) => {
                        self.begin_view(slot, seat, admission);
                        Ok(Some(seat))
                    }
                    Err(limit) => {
                        self.shared.views.leave(seat);
                        self.counters.limit(limit);
                        Err(Refusal::Overloaded)
                    }
                }
            }
            Entered::Known(Standing::Live(seat)) => Ok(Some(seat)),
            Entered::Known(Standing::Revoked) => Err(Refusal::Denied),
            Entered::Known(Standing::Unknown) | Entered::Claimed => Ok(None),
            Entered::Full => {
                self.counters.limit(LimitId::HlsViewersMax);
                Err(Refusal::Overloaded)
            }
        }
    }

    fn begin_view(&mut self, slot: u32, seat: Seat, admission: ViewerAdmission) {
        let at_ms = self.unix_ms();
        let Self { connections, views, words, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let Some(asked) = connection.asked.as_ref() else { return };
        let mut stream = asked.stream.clone();
        stream.share(words);
        connection.session.share(words);
        let view = OwnView {
            seat,
            stream,
            peer: connection.peer.into(),
            agent: connection.session.agent().clone(),
            tls: connection.tls.as_ref().map(|tls| tls.server.version()),
            began: *now,
            admission,
        };
        let (session, peer) = (seat.id, view.peer);
        tracing::info!(%session, stream = %view.stream, %peer, "view started");
        let started = SessionEvent::Started {
            session: seat.id,
            shard: self.id,
            role: Role::Play,
            protocol: Protocol::Hls,
            tls: view.tls.is_some(),
            stream: view.stream.clone(),
            peer: view.peer,
            agent: view.agent.clone(),
            at_ms,
        };
        views.roll.enter(view);
        self.counters.views_started += 1;
        self.tell_control(Event::Session(Box::new(started)));
    }

    /// Ends the view `id` if it is this shard's. Of one that was kicked everything is refused from
    /// now on; whoever else it is may ask again, and is asked about.
    pub(super) fn kick_view(&mut self, id: SessionId, reason: CloseReason) {
        if reason != CloseReason::Kicked {
            self.leave_view(id, reason);
            return;
        }
        let Some(view) = self.views.roll.leave(id) else { return };
        self.shared.views.revoke(view.seat);
        let Views { revoked, .. } = &mut self.views;
        if revoked.len() >= REVOKED_MAX
            && let Some((_, oldest)) = revoked.pop_front()
        {
            self.shared.views.forget(oldest);
        }
        revoked.push_back((self.now + REVOKED_FOR, view.seat));
        self.end_view(view, reason);
    }

    /// Ends the views of whoever fell silent.
    pub(super) fn end_idle_views(&mut self) {
        let idle = self.config.stream.hls.session_idle;
        for _ in 0..self.views.roll.places().min(LOOKED_AT_MAX) {
            let Some(view) = self.views.roll.next() else { continue };
            let seen = self.shared.views.look(view.seat, self.now);
            if seen.serving || seen.silent < idle {
                continue;
            }
            let id = view.seat.id;
            let ended = view.stream.clone();
            let reason = match self.has_ended_for_viewers(&ended) {
                true => CloseReason::StreamEnded,
                false => CloseReason::Idle,
            };
            self.leave_view(id, reason);
        }
        while let Some(&(until, seat)) = self.views.revoked.front()
            && until <= self.now
        {
            self.views.revoked.pop_front();
            self.shared.views.forget(seat);
        }
    }

    /// The node goes down: every view of this shard ends.
    pub(super) fn end_all_views(&mut self, reason: CloseReason) {
        for id in self.views.roll.iter().map(|view| view.seat.id).collect::<Vec<_>>() {
            self.leave_view(id, reason);
        }
    }

    fn leave_view(&mut self, id: SessionId, reason: CloseReason) {
        let Some(view) = self.views.roll.leave(id) else { return };
        // Before its place is given away, which forgets what it was sent.
        let seat = view.seat;
        self.end_view(view, reason);
        self.shared.views.leave(seat);
    }

    fn end_view(&mut self, view: OwnView, reason: CloseReason) {
        let seen = self.shared.views.look(view.seat, self.now);
        let age_ms = self.age_ms(view.began);
        tracing::info!(
            session = %view.seat.id,
            stream = %view.stream,
            reason = reason.name(),
            age_ms,
            bytes_out = seen.bytes,
            "view ended"
        );
        self.counters.views_ended += 1;
        self.shared.caps.leave_viewer(view.admission);
        self.tell_control(Event::Session(Box::new(SessionEvent::Ended {
            session: view.seat.id,
            role: Role::Play,
            protocol: Protocol::Hls,
            stream: view.stream,
            peer: view.peer,
            agent: view.agent,
            bytes_in: 0,
            bytes_out: seen.bytes,
            age_ms,
            reason,
        })));
    }

    /// True if viewers of `stream` have its last playlist.
    fn has_ended_for_viewers(&self, stream: &StreamName) -> bool {
        let reader = self.readers.find(stream, LogKey::SEGMENTS, Use::Segments);
        let logs = reader.and_then(|reader| self.readers.get(reader)?.logs());
        logs.is_some_and(|logs| logs.ended().is_some())
    }

    /// A view of this shard, for the API.
    pub(super) fn view_status(&self, view: &OwnView) -> SessionStatus {
        SessionStatus {
            id: view.seat.id,
            shard: self.id,
            protocol: Protocol::Hls,
            role: Some(Role::Play),
            stream: Some(view.stream.clone()),
            peer: view.peer,
            agent: view.agent.clone(),
            tls: view.tls,
            state: "viewing",
            age_ms: self.age_ms(view.began),
            started: Some(self.moment(view.began)),
            bytes_in: 0,
            bytes_out: self.shared.views.look(view.seat, self.now).bytes,
            jumps: 0,
        }
    }
}
