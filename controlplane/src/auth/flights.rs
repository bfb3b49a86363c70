//! Flights: questions under way to the application, each with everybody who waits for its answer.
//!
//! Equal questions share one flight. An answer that comes when a shard has given up finds nobody
//! there: the ticket's epoch is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{AuthorizeRequest, Ticket};
use dataplane::ids::ShardId;
use tokio::task::{Id, JoinSet};

use super::fingerprint::Fingerprint;
use super::jwt::{Issuer, KeySet};
use super::keeping::Keeping;
use super::ruling::Answered;

/// Peers that wait at most, whatever they wait for; one more is refused.
pub(super) const WAITERS_MAX: usize = 16_384;

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) shard: ShardId,
    pub(super) ticket: Ticket,
    pub(super) request: Box<AuthorizeRequest>,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The application answered.
    Answered(Answered),
    /// The keys of an issuer were fetched, if any are there now: they decide on each who waits.
    Fetched { issuer: Arc<Issuer>, keys: Option<Arc<KeySet>> },
    /// It did not, or not soundly: a word for metrics, and a sentence.
    Failed { word: &'static str, why: String },
    /// It did not in time.
    TimedOut,
}

#[derive(Debug)]
struct Flight {
    waiters: Vec<Waiter>,
    keeping: Keeping,
    since: Instant,
}

/// A question that came back.
#[derive(Debug)]
pub struct Landing {
    pub(super) question: Fingerprint,
    pub(super) outcome: Outcome,
    pub(super) waiters: Vec<Waiter>,
    pub(super) keeping: Keeping,
    pub(super) since: Instant,
}

/// All questions under way. Lives on: the control thread.
#[derive(Debug)]
pub(super) struct Flights {
    flights_max: usize,
    tasks: JoinSet<Outcome>,
    questions: HashMap<Id, Fingerprint>,
    flights: HashMap<Fingerprint, Flight>,
    waiting: usize,
}

impl Flights {
    pub(super) fn new(flights_max: usize) -> Self {
        Self {
            flights_max,
            tasks: JoinSet::new(),
            questions: HashMap::new(),
            flights: HashMap::new(),
            waiting: 0,
        }
    }

    pub(super) const fn set_max(&mut self, flights_max: usize) {
        self.flights_max = flights_max;
    }

    /// Lets `waiter` wait for an equal question that is under way; gives him back if there is none,
    /// or too many wait.
    pub(super) fn join(&mut self, question: &Fingerprint, waiter: Waiter) -> Result<(), Waiter> {
        if self.waiting >= WAITERS_MAX {
            return Err(waiter);
        }
        let Some(flight) = self.flights.get_mut(question) else { return Err(waiter) };
        flight.waiters.push(waiter);
        self.waiting += 1;
        Ok(())
    }

    /// True if one more question may be asked.
    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < self.flights_max && self.waiting < WAITERS_MAX
    }

    /// Asks, for `waiter` and all who join. The caller has seen that there is room.
    pub(super) fn start(
        &mut self,
        question: Fingerprint,
        waiter: Waiter,
        keeping: Keeping,
        asking: impl Future<Output = Outcome> + Send + 'static,
        now: Instant,
    ) {
        let task = self.tasks.spawn(asking);
        self.questions.insert(task.id(), question);
        let flight = Flight { waiters: vec![waiter], keeping, since: now };
        self.flights.insert(question, flight);
        self.waiting += 1;
    }

    /// The next question that comes back; `None` if none is under way. May be dropped and asked
    /// again: nothing is lost.
    pub(super) async fn landed(&mut self) -> Option<Landing> {
        let (id, outcome) = match self.tasks.join_next_with_id().await? {
            Ok((id, outcome)) => (id, outcome),
            // A panic of ours is no yes, and no reason to let anybody wait for ever.
            Err(error) => {
                let why = "the question broke off".to_owned();
                (error.id(), Outcome::Failed { word: "internal", why })
            }
        };
        let question = self.questions.remove(&id)?;
        let Flight { waiters, keeping, since } = self.flights.remove(&question)?;
        self.waiting -= waiters.len();
        Some(Landing { question, outcome, waiters, keeping, since })
    }

    /// Questions under way.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Peers that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }
}
