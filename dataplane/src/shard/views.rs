//! Views: sessions of HLS viewers, who are only requests.
//!
//! ```text
//!   playlist asked for -- allowed --> token given -- a child is asked for with it --> live
//!                                                                                      |
//!            ended: idle, stream_ended, draining <-- silence, end of the node ---------+
//!            ended: expired, and refused from the next request on <-- a later no ------+
//!            ended: kicked, and refused from the next request on <-- kicked -----------+
//! ```
//!
//! Who was allowed the playlist of renditions gets a token (`session/view_token.rs`) in the
//! addresses of what it lists, or in a cookie, and shows it with every request that follows: a good
//! token of a live view is served without a question to whoever shows besides, from the same
//! address, what the view was allowed by. The view begins with the first request that shows the
//! token and finds what it asks for, so whoever reads one playlist and leaves is no viewer, and
//! whoever makes up names of segments is none. A token without a view was given a moment ago, until
//! further notice, and is taken as it is with what it was given for, from the same address; or it
//! was given for a while, or its view ended by silence, or another process gave it: then the
//! control plane is asked as if there were none, and the view goes on under its number. So is one
//! whose stream has another name than the viewer asked for, because no token says which.
//!
//! The verdict on a live view may hold for a while only, and all of them are doubted when the
//! configuration changes or verdicts are to be forgotten: then the control plane is asked behind
//! the viewer's back (`rechecks.rs`), and is told since when he is in: what he shows need only have
//! been good to come in by then. An end that was stated is one: past it nobody is served before the
//! answer. Whoever shows the token and asks something else than the view was allowed by
//! (from another address or page, with another key) waits for his own answer, which is remembered;
//! a no to that refuses him alone. From another address he is asked about as one who is in: a phone
//! that changes its network keeps its view, by what lets nobody new in any more, too.
//!
//! The playlist of one publication is its own entrance: its address is told to an application,
//! which hands it on, so it is asked for without a token again and again. Whoever asks for it is
//! known by address, agent and stream: two of the same are one. Each request of such a guest is
//! judged by what it shows, so a no refuses that request, and the view of the others goes on.
//!
//! Who was kicked, or heard a no, may have tokens to spare: those that were given so far and have
//! no view yet are asked about, everybody's, from then on (`revoked.rs`).
//!
//! A view is owned by the shard that it began on, which alone ends it; the others find it in the
//! shared table (`view_table.rs`), and revoke its token in another (`revoked.rs`).
//!
//! Limits: `hls_viewers_max` of the node; `hls_viewers_per_ip_max` of an address that is not
//! exempt; guests who were kicked are remembered for a while (`guests.rs`).

use std::time::Instant;

use codecs::time::WallTime;

use super::caps::ViewerAdmission;
use super::guests::Guests;
use super::rechecks::is_final;
use super::shard::Shard;
use super::verdicts::{Permit, Term};
use super::view_roll::{OwnView, ViewRoll};
use super::view_table::{Allowed, Entered, Seat, Worth};
use crate::config::LimitId;
use crate::control::{
    CloseReason, Denial, Event, Protocol, QuotaPlace, Role, SessionEvent, SessionStatus,
};
use crate::ids::{SessionId, ShardId, StreamName};
use crate::metrics::NoRoom;
use crate::segment::uri::Asset;
use crate::session::view_token::{ViewIds, ViewKeys, ViewNote, ViewSigner, ViewToken};
use crate::session::view_token::{age, is_by_address, note_of, noted};
use crate::session::{LogKey, Refusal, Use, Viewer};

/// Views that one round of housekeeping looks at.
const LOOKED_AT_MAX: usize = 1_024;

/// The views of a shard. Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub(super) struct Views {
    signer: ViewSigner,
    ids: ViewIds,
    pub roll: ViewRoll,
    /// Who was kicked and has no token to lose.
    pub guests: Guests,
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
    pub(super) const fn of(viewer: SessionId) -> Self {
        Self(viewer.0)
    }

    pub(super) fn viewer(self) -> Option<SessionId> {
        (self != Self::ANONYMOUS && self != Self::NEW).then_some(SessionId(self.0))
    }
}

/// What is done with a request of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is answered without a question.
    Known(View),
    /// It is answered, and the control plane asked about the view meanwhile.
    Stale(Seat),
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
            guests: Guests::default(),
        }
    }

    /// The number of a new viewer, be he let in or not.
    pub(super) fn issue(&mut self, shard: ShardId, wall: WallTime) -> SessionId {
        self.ids.next(shard, wall)
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

    /// Every verdict that was given so far is to be asked for again.
    pub(super) fn doubt_verdicts(&mut self) {
        self.verdicts.doubt_all(self.now);
        self.shared.views.doubt_all(self.now);
        // Tokens that were given a moment ago are asked about, too.
        self.shared.revoked.doubt_given(self.wall);
    }

    /// Judges a request for a piece of `stream` by the token that it shows, and the question that
    /// would be asked.
    pub(super) fn judge_view(
        &self,
        slot: u32,
        (stream, permit): (&StreamName, Permit),
        asset: Option<Asset>,
        viewer: Viewer,
    ) -> Judged {
        // Who asks for renditions may always be asked about, whatever it shows.
        let entrance = asset == Some(Asset::Multivariant);
        let (id, seat, same) = match viewer {
            Viewer::Anybody => return Judged::Ask(View::ANONYMOUS),
            Viewer::New => return Judged::Ask(View::NEW),
            Viewer::ByAddress => {
                let Some(id) = self.guest(slot, stream) else { return Judged::Refused };
                (id, self.shared.views.find(id), false)
            }
            Viewer::Of(token) => match self.verify(stream, token, permit) {
                Some(verified) => verified,
                // A token that is no good is as good as none for who would be given one.
                None if entrance => return Judged::Ask(View::NEW),
                None => return Judged::Refused,
            },
        };
        // After the view was looked for: who is kicked is revoked before the view is left.
        let revoked = &self.shared.revoked;
        if revoked.has(id) || seat.is_none() && revoked.is_doubtful(id) {
            return if entrance { Judged::Ask(View::NEW) } else { Judged::Refused };
        }
        let view = View::of(id);
        // Neither says by which name the control plane knows the stream.
        let note = note_of(id);
        if note.renamed || is_by_address(id) {
            return Judged::Ask(view);
        }
        let Some(seat) = seat else {
            // Nor says a token that was given for a while only when that is over.
            let trusted = same && !note.timed && revoked.trusts(id, self.wall);
            return if trusted { Judged::Known(view) } else { Judged::Ask(view) };
        };
        // A token is no pass for others: they show it, and are asked about.
        if !self.shared.views.is_by(seat, permit) {
            return Judged::Ask(view);
        }
        match self.shared.views.worth(seat, self.config.stream.hls.verdict_stale, self.now) {
            Worth::Good => Judged::Known(view),
            Worth::Stale => Judged::Stale(seat),
            Worth::Nothing => Judged::Ask(view),
        }
    }

    /// The viewer that a token was given to, its view if that goes on, which vouches for it, and
    /// else whether it was given for this question.
    fn verify(
        &self,
        stream: &StreamName,
        token: ViewToken,
        permit: Permit,
    ) -> Option<(SessionId, Option<Seat>, bool)> {
        let views = &self.shared.views;
        if let Some(seat) = views.recognise(token.claimed(), views.print(stream, token)) {
            return Some((seat.id, Some(seat), false));
        }
        let (id, print) = self.views.signer.verify(stream, token)?;
        Some((id, views.find(id), print == permit.print()))
    }

    /// The view that was allowed by the question `permit` last, if it goes on.
    pub(super) fn seat_by(&self, view: View, permit: Permit) -> Option<Seat> {
        let views = &self.shared.views;
        view.viewer().and_then(|id| views.find(id)).filter(|&seat| views.is_by(seat, permit))
    }

    /// Since when the viewer is in by what it shows now, if its view goes on by that.
    pub(super) fn since_by(&self, view: View, permit: Permit) -> Option<Instant> {
        let views = &self.shared.views;
        view.viewer().and_then(|id| views.find(id)).and_then(|seat| views.since(seat, permit))
    }

    /// The viewer of the connection in `slot` is about to be answered: a new one is given its
    /// token, and a view begins with what it is shown for first, if that `is_there`.
    ///
    /// The seat of the view, if it has one; or why there is no answer.
    pub(super) fn seat_viewer(
        &mut self,
        slot: u32,
        is_there: bool,
    ) -> Result<Option<Seat>, Refusal> {
        let Self { connections, config, shared, views, verdicts, quotas, now, wall, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return Ok(None) };
        let Some(asked) = connection.asked.as_ref() else { return Ok(None) };
        let Some(viewer) = asked.viewer.as_ref() else { return Ok(None) };
        // Who is not told apart has no place that could be counted.
        if viewer.view.viewer().is_none() && quotas.are_spent(&asked.stream) {
            self.counters.no_room(NoRoom::Quota);
            return Err(Refusal::Full);
        }
        let Some(path) = connection.session.stream() else { return Ok(None) };
        // What was asked before something was withdrawn is good for this request alone.
        let late = viewer.epoch.is_some_and(|epoch| epoch != verdicts.epoch());
        if viewer.view == View::NEW {
            // Nor is a token taken as it is that was allowed before something was withdrawn.
            let timed = late || viewer.term.holds.is_some();
            let note = ViewNote { renamed: *path != asked.stream, timed };
            let id = viewer.issued.unwrap_or_else(|| views.issue(self.id, *wall));
            let id = noted(id, note);
            let token = views.signer.sign(path, id, viewer.permit.print());
            connection.session.give_view_token(token);
            return Ok(None);
        }
        let Some(id) = viewer.view.viewer() else { return Ok(None) };
        if shared.revoked.has(id) {
            return Err(Refusal::Denied);
        }
        if let Some(seat) = shared.views.find(id) {
            if viewer.epoch.is_some() && !late {
                shared.views.allow(seat, (viewer.permit, viewer.term), *now);
            }
            return Ok(Some(seat));
        }
        // Like everybody else a guest is no viewer before it asks for what a playlist lists; and
        // nobody is by asking for what there is not.
        let early = is_by_address(id) && connection.session.asset() == Some(Asset::Media);
        if early || !is_there {
            return Ok(None);
        }
        let term = match late {
            true => Term::soon(&config.stream.hls, viewer.term.until, *now),
            false => viewer.term,
        };
        // Without a question it is in by what its token was given for.
        let given = age(id, *wall).filter(|_| viewer.epoch.is_none());
        let since = viewer.since.or_else(|| now.checked_sub(given?)).unwrap_or(*now);
        let print = viewer.print.unwrap_or_else(|| shared.views.print_of_nobody(id));
        let allowed = Allowed { permit: viewer.permit, term, since };
        match shared.views.enter(id, print, allowed, *now) {
            Entered::New(seat) => self.admit_view(slot, seat).map(Some),
            Entered::Known(seat) => Ok(Some(seat)),
            Entered::Claimed => Ok(None),
            Entered::Full => {
                self.counters.limit(LimitId::HlsViewersMax);
                Err(Refusal::Overloaded)
            }
        }
    }

    /// A view has a place: it begins, if there may be another one of its address.
    fn admit_view(&mut self, slot: u32, seat: Seat) -> Result<Seat, Refusal> {
        let connection = self.connections.get(slot);
        let asked = connection.and_then(|connection| connection.asked.as_ref());
        let place = asked.map_or(Ok(None), |asked| self.quotas.enter(&asked.stream));
        let Ok(place) = place else {
            self.shared.views.leave(seat);
            self.counters.no_room(NoRoom::Quota);
            return Err(Refusal::Full);
        };
        let client = self.client_of(slot);
        match self.shared.caps.enter_viewer(client, &self.config.limits) {
            Ok(admission) => {
                self.begin_view(slot, seat, (admission, place));
                Ok(seat)
            }
            Err(limit) => {
                self.shared.views.leave(seat);
                self.counters.limit(limit);
                Err(Refusal::Overloaded)
            }
        }
    }

    fn begin_view(
        &mut self,
        slot: u32,
        seat: Seat,
        (admission, place): (ViewerAdmission, Option<QuotaPlace>),
    ) {
        let at_ms = self.unix_ms();
        let Self { connections, views, words, usage, now, .. } = self;
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
            tls: connection.tls.as_ref().map(|tls| tls.link.version()),
            began: *now,
            admission,
            usage: usage.begin_view(&asked.stream, *now),
            place,
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
        self.counters.viewers += 1;
        self.tell_control(Event::Session(Box::new(started)));
    }

    /// Ends the view `id` if it is this shard's. Of one that was kicked everything is refused from
    /// now on; whoever else it is may ask again, and is asked about.
    pub(super) fn kick_view(&mut self, id: SessionId, reason: CloseReason) {
        if reason == CloseReason::Kicked && self.views.roll.has(id) {
            if is_by_address(id) {
                self.turn_guest_away(id);
            } else {
                self.shared.revoked.revoke(id);
            }
        }
        self.leave_view(id, reason);
    }

    /// A later word of the control plane was no: the view ends where it began, and its token is no
    /// good from now on, nor are those that the viewer may have besides.
    ///
    /// A no to another question than the view was allowed by is about somebody else who shows the
    /// same token. A guest loses nothing but the answer: others may have its address and agent.
    pub(super) fn expire_view(&mut self, seat: Seat, permit: Permit) {
        if !is_by_address(seat.id) && self.shared.views.is_by(seat, permit) {
            self.shared.revoked.revoke(seat.id);
            self.shared.revoked.doubt_given(self.wall);
        }
    }

    /// The control plane said no to somebody who waited for it; his view ends, if one goes on.
    pub(super) fn view_denied(&mut self, view: View, permit: Permit, denial: Denial) {
        let seat = view.viewer().and_then(|id| self.shared.views.find(id));
        if let Some(seat) = seat.filter(|_| is_final(denial)) {
            self.expire_view(seat, permit);
        }
    }

    /// Ends the views of whoever fell silent, or may not go on.
    pub(super) fn end_idle_views(&mut self) {
        let idle = self.config.stream.hls.session_idle;
        for _ in 0..self.views.roll.places().min(LOOKED_AT_MAX) {
            let Some(view) = self.views.roll.next() else { continue };
            let id = view.seat.id;
            if self.shared.revoked.has(id) {
                self.leave_view(id, CloseReason::Expired);
                continue;
            }
            let seen = self.shared.views.look(view.seat, self.now);
            if seen.serving || seen.silent < idle {
                continue;
            }
            let stream = view.stream.clone();
            let reason = match self.has_ended_for_viewers(&stream) {
                true => CloseReason::StreamEnded,
                false => CloseReason::Idle,
            };
            self.leave_view(id, reason);
        }
        self.let_guests_return();
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
        self.counters.viewers -= 1;
        self.shared.caps.leave_viewer(view.admission);
        self.usage.end_view(view.usage, self.now);
        drop(view.place);
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
            srt: None,
        }
    }
}
