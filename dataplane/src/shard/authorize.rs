//! Questions: may this peer come in, publish or play? Asked of the control plane, answered by
//! ticket.

use std::net::{Ipv4Addr, SocketAddr};

use super::arrivals::may_guess;
use super::asked::{Asked, ViewerAsked};
use super::connection::{Connection, Receiving};
use super::shard::Shard;
use super::verdicts::Term;
use crate::control::{AuthorizeRequest, Denial, Event, Grant, Intent, Ticket, Verdict};
use crate::ids::{SessionId, StreamName};
use crate::reactor;
use crate::session::view_token::asked_as;
use crate::session::{Command, Credentials, Refusal};

impl Shard {
    /// A session is parked and asks.
    pub(super) fn authorize(&mut self, slot: u32, credentials: Credentials, mut asked: Asked) {
        let (token, in_front) = (self.connections.token(slot), self.tls_in_front(slot));
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // A peer that published or played before may still have receives that go on: the socket
        // holds it back from here.
        if connection.receiving == Receiving::Multi {
            connection.receiving = Receiving::Stopping;
            self.reactor.recv_stop(token);
        }
        connection.ask_epoch = connection.ask_epoch.wrapping_add(1);
        if connection.role.is_none() {
            // The leave to do what is over is over with it.
            connection.leave_ends_s = 0;
        }
        let ticket = Ticket { slot, generation: token.generation, epoch: connection.ask_epoch };
        // Viewers of HLS come from anywhere: the ranges are for those who take whole streams.
        let asked_play = asked.intent == Intent::Play && asked.viewer.is_none();
        let peer = connection.peer.ip;
        let may_guess = may_guess(asked.intent, &credentials);
        let goes_on = asked.viewer.as_ref().is_some_and(|viewer| viewer.since.is_some());
        let request = Box::new(connection.request(&asked, credentials, in_front));
        asked.set_question_bytes(request.bytes());
        connection.asked = Some(Box::new(asked));
        if asked_play && !self.config.limits.may_play_from(peer) {
            self.refuse(slot, Refusal::Denied);
            return;
        }
        if !goes_on && self.is_penalised(slot, may_guess) {
            // Whoever guesses over a connection that he has gets no further, and nobody is asked.
            self.refuse(slot, Refusal::Denied);
            return;
        }
        self.counters.authorize_asked += 1;
        if self.draining.is_some() {
            self.refuse(slot, Refusal::Draining);
        } else if self.control.send(Event::Authorize { ticket, request }).is_err() {
            self.counters.mailbox_full += 1;
            self.refuse(slot, Refusal::Overloaded);
        } else {
            self.rearm(slot);
            self.account(slot);
        }
    }

    /// The control plane answered.
    pub(super) fn verdict(&mut self, ticket: Ticket, verdict: Verdict) {
        if let Some(number) = ticket.recheck() {
            self.rechecked(number, verdict);
            return;
        }
        let token = reactor::Token { slot: ticket.slot, generation: ticket.generation };
        if !self.connections.is_current(token) {
            return;
        }
        let Some(connection) = self.connections.get_mut(ticket.slot) else { return };
        let Some(asked) = connection.asked.as_mut() else { return };
        if connection.ask_epoch != ticket.epoch || asked.allowed || connection.closing.is_some() {
            return;
        }
        let grant = match verdict {
            Verdict::Allow(grant) => grant,
            Verdict::Deny(denial) => {
                if let Some(viewer) = asked.viewer.as_ref() {
                    let (view, permit) = (viewer.view, viewer.permit);
                    self.view_denied(view, permit, denial);
                }
                self.refuse(ticket.slot, denial.into());
                return;
            }
            Verdict::Elsewhere(url) => {
                if let Some(viewer) = asked.viewer.as_ref() {
                    let (view, permit) = (viewer.view, viewer.permit);
                    self.view_denied(view, permit, Denial::Forbidden);
                }
                self.refuse_by(ticket.slot, Refusal::Denied, Command::Elsewhere(url));
                return;
            }
        };
        let Grant { stream, id, waits, same_key, until, entry_until, holds, .. } = grant;
        (asked.passphrase, asked.transport) = (grant.passphrase, grant.transport);
        asked.allowed = true;
        match asked.intent {
            Intent::Connect => {
                self.admit(ticket.slot);
                return;
            }
            Intent::Publish => asked.id = id,
            Intent::Play => {
                (asked.waits, asked.same_key) = (waits, same_key);
                (asked.internal, asked.unlisted) = (grant.internal, grant.unlisted);
                if let Some(viewer) = &mut asked.viewer {
                    let term = Term { holds, until, entry: entry_until };
                    viewer.term = term.bounded(&self.config.stream.hls, self.now);
                }
            }
        }
        asked.stream = stream;
        let views = asked.viewer.is_some();
        connection.allow_until(until);
        self.rearm(ticket.slot);
        if views {
            self.view(ticket.slot);
        } else {
            self.begin_allowed(ticket.slot);
        }
    }

    /// What a connection was allowed begins, or goes on when its last play is over: that finishes
    /// the entry in hand first, which a peer that does not read keeps it from.
    pub(super) fn begin_allowed(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot).filter(|c| c.role.is_none()) else {
            return;
        };
        match connection.asked.as_ref().filter(|asked| asked.allowed).map(|asked| asked.intent) {
            Some(Intent::Publish) => self.go_home(slot),
            Some(Intent::Play) => self.subscribe(slot),
            Some(Intent::Connect) | None => {}
        }
    }

    /// The peer may come in.
    fn admit(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.asked = None;
        self.tell(slot, Command::ConnectAllowed);
        self.feed_parked(slot);
        self.arm(slot);
    }

    /// The session hears that it may not.
    pub(super) fn refuse(&mut self, slot: u32, refusal: Refusal) {
        self.refuse_by(slot, refusal, Command::Refused(refusal));
    }

    /// The same in other words.
    fn refuse_by(&mut self, slot: u32, refusal: Refusal, words: Command) {
        let Some(asked) = self.take_asked(slot) else { return };
        let Some(connection) = self.connections.get(slot) else { return };
        connection.span().in_scope(|| {
            tracing::info!(
                intent = asked.intent.name(),
                stream = %asked.stream,
                reason = refusal.name(),
                "refused"
            );
        });
        match asked.intent {
            Intent::Connect => self.counters.connects_refused += 1,
            Intent::Publish => {
                self.counters.publishes_refused += 1;
                self.report_refusal(slot, asked.stream, refusal);
            }
            Intent::Play => self.counters.plays_refused += 1,
        }
        self.tell(slot, words);
        self.feed_parked(slot);
        self.arm(slot);
    }

    /// A question whose deadline passed is refused; true if there was one.
    pub(super) fn question_expired(&mut self, slot: u32) -> bool {
        let expired = self
            .connections
            .get(slot)
            .and_then(|connection| connection.asked.as_ref())
            .is_some_and(|asked| asked.deadline <= self.now);
        if expired {
            self.forget_subscription(slot);
            let idle = self.connections.get(slot).and_then(|connection| connection.asked.as_ref());
            if idle.is_some_and(|asked| asked.idle) {
                self.refuse(slot, Refusal::NotFound);
            } else {
                self.counters.authorize_timeouts += 1;
                self.refuse(slot, Refusal::Timeout);
            }
            self.rearm(slot);
        }
        expired
    }

    /// The connection is closed: nobody waits for the answer.
    pub(super) fn forget_question(&mut self, slot: u32) {
        self.forget_subscription(slot);
        self.take_asked(slot);
    }

    /// A publisher was allowed: its name is claimed on its home shard.
    fn go_home(&mut self, slot: u32) {
        let Some(asked) = self.connections.get(slot).and_then(|c| c.asked.as_ref()) else { return };
        let home = self.whereabouts(&asked.stream);
        if home == self.id {
            self.claim(slot);
            return;
        }
        if self.connections.get(slot).is_some_and(|connection| connection.fd.is_none()) {
            // The peer has heard nothing yet, and will from there.
            self.hand_over(slot, home);
            return;
        }
        // The socket leaves this reactor: its receives end first, then `receive_ended` moves it.
        let token = self.connections.token(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.receiving != Receiving::Stopping {
            connection.receiving = Receiving::Stopping;
            self.reactor.recv_stop(token);
        }
    }

    /// Hands a publisher over once nothing of it is in the kernel's hands; [`Self::sent`] calls
    /// again if a send was.
    pub(super) fn move_home(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        if connection.is_sending() {
            return;
        }
        let Some(asked) = connection.asked.as_ref() else { return };
        let home = self.whereabouts(&asked.stream);
        if home == self.id {
            // Its stream came here meanwhile.
            self.claim(slot);
        } else {
            self.hand_over(slot, home);
        }
    }

    /// The receives of this connection ended: a publisher that waited for that moves now.
    pub(super) fn receive_ended(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.receiving = Receiving::Off;
        if connection.leaves_for_home() {
            self.move_home(slot);
        } else if self.leaves_with_its_stream(slot) {
            self.relocate_stream_of(slot);
        } else {
            self.arm(slot);
        }
    }
}

impl ViewerAsked {
    /// Who is asked about, if viewers are told apart: the application is to know him again by his
    /// number when he leaves, on whichever connection.
    pub(super) fn number(&self) -> Option<SessionId> {
        self.view.viewer().map(asked_as).or(self.issued)
    }
}

impl Connection {
    /// The question to the control plane about somebody of whom a proxy may say whether he speaks
    /// TLS to it: that counts then, however the proxy itself came.
    pub(super) fn request(
        &self,
        asked: &Asked,
        credentials: Credentials,
        in_front: Option<bool>,
    ) -> AuthorizeRequest {
        let since = asked.viewer.as_ref().and_then(|viewer| viewer.since);
        let viewer = asked.viewer.as_ref().and_then(|viewer| viewer.number());
        let request = self.introduced(asked.intent, asked.stream.clone(), credentials);
        let tls = in_front.unwrap_or(request.tls);
        AuthorizeRequest { since, tls, session: viewer.unwrap_or(self.id), ..request }
    }

    /// What it wants of `stream`, and who it is.
    pub(super) fn introduced(
        &self,
        intent: Intent,
        stream: StreamName,
        credentials: Credentials,
    ) -> AuthorizeRequest {
        let Credentials { key, login, query, url, referer } = credentials;
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        AuthorizeRequest {
            session: self.id,
            intent,
            protocol: self.session.protocol(),
            tls: self.tls.is_some(),
            stream,
            key,
            login,
            query,
            url,
            referer,
            peer: self.peer.into(),
            // A socket that cannot tell has lost its peer, which the next receive says.
            local: self.fd().and_then(|fd| reactor::local_addr(fd).ok()).unwrap_or(unknown),
            listener: self.listener,
            agent: self.session.agent().clone(),
            since: None,
        }
    }
}
