//! Rechecks: questions about viewers who are served meanwhile.
//!
//! ```text
//!   a request, its verdict is stale --> served
//!                   |
//!                   v                     yes: the verdict is fresh
//!            asked, once at a time ---->  no: the next request is refused, the view expires
//!                                         nobody knows, no answer: asked again a while later
//! ```
//!
//! The answer finds nobody who waits for it. A control plane that is slow, or stands, costs viewers
//! nothing until `hls.verdict_stale` is over; from then on they wait for it like those who are new.
//!
//! Limits: [`RECHECKS_MAX`] of a shard at one time: when everybody is to be asked about at once,
//! the others are served, and have their turn with a later request.

use std::collections::VecDeque;
use std::time::Instant;

use super::asked::Asked;
use super::shard::Shard;
use super::verdicts::{Leave, Permit, Term};
use super::view_table::Seat;
use crate::control::{Denial, Event, Grant, Ticket, Verdict};
use crate::ids::StreamName;
use crate::session::Credentials;

/// Questions of one shard under way at most: the control plane is to have time for who waits.
const RECHECKS_MAX: usize = 256;

/// The questions under way. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Rechecks {
    waiting: VecDeque<Recheck>,
    asked: u32,
}

#[derive(Debug)]
struct Recheck {
    number: u32,
    about: About,
    until: Instant,
}

/// Whom a question is about.
#[derive(Debug)]
pub(super) struct About {
    /// The view that was allowed by the same question, if there is one.
    pub view: Option<Seat>,
    pub permit: Permit,
    /// What the viewer is served.
    pub stream: StreamName,
    /// When what is remembered of verdicts was as it was.
    pub epoch: u32,
}

impl Rechecks {
    fn begin(&mut self, about: About, until: Instant) -> u32 {
        self.asked = self.asked.wrapping_add(1);
        self.waiting.push_back(Recheck { number: self.asked, about, until });
        self.asked
    }

    fn take(&mut self, number: u32) -> Option<About> {
        let at = self.waiting.iter().position(|recheck| recheck.number == number)?;
        self.waiting.remove(at).map(|recheck| recheck.about)
    }

    fn has_room(&mut self, now: Instant) -> bool {
        while self.waiting.front().is_some_and(|recheck| recheck.until <= now) {
            self.waiting.pop_front();
        }
        self.waiting.len() < RECHECKS_MAX
    }
}

impl Shard {
    /// Asks about a viewer who is served meanwhile, unless somebody does already.
    pub(super) fn recheck(
        &mut self,
        slot: u32,
        asked: &Asked,
        credentials: Credentials,
        about: About,
    ) {
        let in_front = self.tls_in_front(slot);
        let Self { connections, rechecks, verdicts, shared, config, now, .. } = self;
        let Some(connection) = connections.get(slot) else { return };
        let patience = config.session.authorize_deadline;
        if !rechecks.has_room(*now) {
            return;
        }
        let is_free = match about.view {
            Some(seat) => shared.views.is_to_ask(seat, patience, *now),
            None => verdicts.is_to_ask(about.permit, patience, *now),
        };
        if !is_free {
            return;
        }
        let request = Box::new(connection.request(asked, credentials, in_front));
        let number = rechecks.begin(about, *now + patience);
        self.counters.authorize_asked += 1;
        let ticket = Ticket::of_recheck(number);
        if self.control.send(Event::Authorize { ticket, request }).is_err() {
            self.counters.mailbox_full += 1;
            drop(self.rechecks.take(number));
        }
    }

    /// The control plane answered.
    pub(super) fn rechecked(&mut self, number: u32, verdict: Verdict) {
        let Some(about) = self.rechecks.take(number) else { return };
        match verdict {
            Verdict::Allow(grant) if about.view.is_none() || grant.stream == about.stream => {
                let About { view, permit, epoch, .. } = about;
                let hls = &self.config.stream.hls;
                let Grant { stream, until, entry_until: entry, holds, .. } = grant;
                let term = Term { holds, until, entry }.bounded(hls, self.now);
                // Something was withdrawn since it was asked: what was said before is no answer.
                if let Some(seat) = view.filter(|_| epoch == self.verdicts.epoch()) {
                    self.shared.views.allow(seat, (permit, term), self.now);
                }
                let time = term.remembered(hls.verdict, self.now);
                let leave = Leave::of(stream, term);
                self.verdicts.allow(permit, leave, epoch, (self.now, time));
            }
            Verdict::Deny(denial) if !is_final(denial) => {}
            // Allowed another stream, he is another viewer.
            Verdict::Allow(_) | Verdict::Deny(_) | Verdict::Elsewhere(_) => {
                self.verdicts.deny(about.permit);
                if let Some(seat) = about.view {
                    self.expire_view(seat, about.permit);
                }
            }
        }
    }
}

/// True if that is what the control plane thinks of the viewer, not of its own day.
pub(super) const fn is_final(denial: Denial) -> bool {
    match denial {
        Denial::Forbidden | Denial::Anonymous | Denial::NotFound => true,
        Denial::Busy | Denial::Unavailable | Denial::Full => false,
    }
}
