//! Holding: publishers whose questions find no room in the link wait until there is some.
//!
//! The link has a place for the end of each publication, whether it was let in already or is
//! asked about, and [`SPARE`] more: a question goes only if it leaves those. So many publications
//! as there may be end at one moment and lose no link; one that fills is of a coordinator that
//! takes nothing. A link keeps its size for as long as it lasts: where there are more publications
//! than it was made for, questions go one at a time, each once it is empty.
//!
//! Limits: those who wait are some of the questions that the gate has under way, and leave with
//! them.

use std::time::{Duration, Instant};

use super::publisher::Publisher;
use super::table::Client;

/// Places that no question takes: the coordinator is answered when it says what nobody asked.
pub(super) const SPARE: usize = 512;
/// Questions that wait in the link beside as many publications as there may be.
const QUESTIONS: usize = 512;
/// The link does not tell when there is room: it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Messages that wait in the link of a node of so many streams at most.
#[must_use]
pub fn link_max(streams_max: u64) -> usize {
    usize::try_from(streams_max).unwrap_or(usize::MAX).saturating_add(SPARE + QUESTIONS)
}

impl Client {
    /// True if the link takes one more question, and the end of everything that there may be then.
    pub(super) fn takes_question(&self) -> bool {
        let ends = self.publications.len() + self.questions.len();
        self.link.as_ref().is_some_and(|link| {
            // An empty one has no more room to wait for.
            let is_empty = link.capacity() == link.max_capacity();
            is_empty || link.capacity() > ends + SPARE
        })
    }

    /// He is asked about when there is room, after those who wait already.
    pub(super) fn hold(&mut self, publisher: Publisher, now: Instant) {
        self.held.push_back(publisher);
        self.look_again.get_or_insert(now + LOOK_AGAIN);
    }

    /// Asks about those who wait, as far as there is room. Whose channel has begun meanwhile is
    /// answered.
    pub(super) fn ask_held(&mut self, now: Instant) {
        let held = std::mem::take(&mut self.held);
        let waiting = held.into_iter().filter(|publisher| !publisher.reply.is_closed());
        self.held = waiting.filter_map(|publisher| self.answer_here(publisher, now)).collect();
        while self.takes_question()
            && let Some(publisher) = self.held.pop_front()
        {
            self.ask_about(publisher, now);
        }
        self.look_again = None;
        self.look_later(now);
    }

    /// Looks again later if somebody has to be asked about for whom there is no room.
    pub(super) fn look_later(&mut self, now: Instant) {
        let waits = !self.held.is_empty() || !self.due_again.is_empty();
        if waits && self.link.is_some() && !self.takes_question() {
            self.look_again.get_or_insert(now + LOOK_AGAIN);
        }
    }
}
