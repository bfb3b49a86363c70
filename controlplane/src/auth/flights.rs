//! Flights: questions under way to the application, each with everybody who waits for its answer.
//!
//! Equal questions share one flight. An answer that comes when a shard has given up finds nobody
//! there: the ticket's epoch is over.
//!
//! Everybody may ask, and whatever an application takes its time for holds a place. So a quarter of
//! the places is for those who publish, and half of that for those who only come in, which an
//! application may judge before they publish; and once half of all is taken, each address has as
//! many for its players as an eighth is. One address alone keeps nobody out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use dataplane::config::AddrRange;
use dataplane::control::{AuthorizeRequest, Intent, Ticket};
use dataplane::ids::ShardId;
use tokio::task::{Id, JoinSet};

use super::fingerprint::Fingerprint;
use super::jwt::{Issuer, KeySet};
use super::keeping::Keeping;
use super::ruling::Answered;
use crate::penalties::Warden;

/// Peers that wait at most, whatever they wait for; one more is refused.
pub(super) const WAITERS_MAX: usize = 16_384;
/// Bytes of what they ask at most: as many as there may be, each with words of the usual length.
pub const WAITING_BYTES_MAX: usize = 8 << 20;

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) shard: ShardId,
    pub(super) ticket: Ticket,
    pub(super) request: Box<AuthorizeRequest>,
}

impl Waiter {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.request.bytes()
    }
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

/// Who asks first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    pub(super) intent: Intent,
    /// His address, if that is bound by anything.
    pub(super) from: Option<AddrRange>,
}

impl Whose {
    /// Who has `request`.
    pub(super) fn of(request: &AuthorizeRequest, warden: &Warden) -> Self {
        Self { intent: request.intent, from: warden.bound(request.peer.ip()) }
    }

    /// How many of `places` are not for him.
    const fn kept_from(self, places: usize) -> usize {
        match self.intent {
            Intent::Publish => 0,
            Intent::Connect => places / 8,
            Intent::Play => places / 4,
        }
    }

    /// The address that has a share of the places: publishers are what the others keep room for.
    fn sharer(self) -> Option<AddrRange> {
        self.from.filter(|_| self.intent != Intent::Publish)
    }
}

#[derive(Debug)]
struct Flight {
    sharer: Option<AddrRange>,
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
    /// How many of them each address has, those of publishers aside.
    shares: HashMap<AddrRange, usize>,
    waiting: usize,
    /// Bytes of those who wait.
    bytes: usize,
}

impl Flights {
    pub(super) fn new(flights_max: usize) -> Self {
        Self {
            flights_max,
            tasks: JoinSet::new(),
            questions: HashMap::new(),
            flights: HashMap::new(),
            shares: HashMap::new(),
            waiting: 0,
            bytes: 0,
        }
    }

    pub(super) const fn set_max(&mut self, flights_max: usize) {
        self.flights_max = flights_max;
    }

    /// Lets `waiter` wait for an equal question that is under way; gives him back if there is none,
    /// or too many wait.
    pub(super) fn join(&mut self, question: &Fingerprint, waiter: Waiter) -> Result<(), Waiter> {
        let whose = Whose { intent: waiter.request.intent, from: None };
        if !self.may_wait(whose) {
            return Err(waiter);
        }
        let Some(flight) = self.flights.get_mut(question) else { return Err(waiter) };
        self.waiting += 1;
        self.bytes += waiter.bytes();
        flight.waiters.push(waiter);
        Ok(())
    }

    /// True if one more question may be asked for him.
    pub(super) fn has_room(&self, whose: Whose) -> bool {
        let (taken, places) = (self.flights.len(), self.flights_max);
        let own = whose.sharer().and_then(|from| self.shares.get(&from)).copied().unwrap_or(0);
        let is_fair = taken < places / 2 || own < (places / 8).max(1);
        taken + whose.kept_from(places) < places && is_fair && self.may_wait(whose)
    }

    /// True if one more may wait.
    const fn may_wait(&self, whose: Whose) -> bool {
        self.waiting + whose.kept_from(WAITERS_MAX) < WAITERS_MAX
            && self.bytes + whose.kept_from(WAITING_BYTES_MAX) < WAITING_BYTES_MAX
    }

    /// Asks, for `waiter` and all who join. The caller has seen that there is room.
    pub(super) fn start(
        &mut self,
        question: Fingerprint,
        (waiter, from): (Waiter, Option<AddrRange>),
        keeping: Keeping,
        asking: impl Future<Output = Outcome> + Send + 'static,
        now: Instant,
    ) {
        let task = self.tasks.spawn(asking);
        self.questions.insert(task.id(), question);
        let sharer = Whose { intent: waiter.request.intent, from }.sharer();
        if let Some(from) = sharer {
            *self.shares.entry(from).or_default() += 1;
        }
        self.waiting += 1;
        self.bytes += waiter.bytes();
        let flight = Flight { sharer, waiters: vec![waiter], keeping, since: now };
        self.flights.insert(question, flight);
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
        let Flight { sharer, waiters, keeping, since } = self.flights.remove(&question)?;
        self.waiting -= waiters.len();
        self.bytes -= waiters.iter().map(Waiter::bytes).sum::<usize>();
        if let Some(from) = sharer
            && let Entry::Occupied(mut share) = self.shares.entry(from)
        {
            *share.get_mut() -= 1;
            if *share.get() == 0 {
                share.remove();
            }
        }
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

#[cfg(test)]
mod tests {
    use dataplane::control::{AuthorizeRequest, Denial, Protocol, Verdict};

    use super::*;
    use crate::auth::tests::{Bench, application, asking, request};
    use crate::auth::{Mode, Rules};

    const CROWDED: Option<Verdict> = Some(Verdict::Deny(Denial::Unavailable));

    /// Asks about a stream of each number, from an address that is made of it; whether each is
    /// asked about.
    fn asks(
        bench: &mut Bench,
        intent: Intent,
        numbers: std::ops::Range<u32>,
        from: impl Fn(u32) -> String,
    ) -> Vec<bool> {
        let ask = |number| {
            let peer = format!("{}:5", from(number)).parse().unwrap();
            let protocol = Protocol::HttpFlv;
            let one = request(intent, "cam", &format!("{number}"));
            let verdict = bench.ask_with(AuthorizeRequest { peer, protocol, ..one }, &());
            assert!(verdict.is_none() || verdict == CROWDED, "{verdict:?}");
            verdict.is_none()
        };
        numbers.map(ask).collect()
    }

    fn bench() -> Bench {
        // Nobody answers while a case asks: questions are only begun.
        let rules = asking(application("http://127.0.0.1:1/"));
        Bench::new(Rules { calls_max: 16, connect: Mode::Callback, ..rules })
    }

    #[tokio::test]
    async fn one_address_keeps_neither_players_nor_publishers_out() {
        let mut bench = bench();
        let by_one = asks(&mut bench, Intent::Play, 0..64, |_| "192.0.2.9".into());
        assert_eq!(by_one.iter().filter(|asked| **asked).count(), 8, "{by_one:?}");
        let by_its_net = asks(&mut bench, Intent::Connect, 64..66, |_| "192.0.2.9".into());
        assert_eq!(by_its_net, [false, false]);
        let others = |number| format!("198.51.100.{number}");
        assert_eq!(asks(&mut bench, Intent::Play, 70..75, others), [true, true, true, true, false]);
        assert_eq!(asks(&mut bench, Intent::Connect, 80..83, others), [true, true, false]);
        // Publishers have what is left, whoever they are.
        let publishers = asks(&mut bench, Intent::Publish, 90..93, |_| "192.0.2.9".into());
        assert_eq!(publishers, [true, true, false]);
    }

    #[tokio::test]
    async fn an_address_is_a_network_of_version_6_and_who_is_exempt_is_none() {
        let mut one = bench();
        let by_one = asks(&mut one, Intent::Play, 0..64, |n| format!("[2001:db8::{n:x}]"));
        assert_eq!(by_one.iter().filter(|asked| **asked).count(), 8, "{by_one:?}");
        let mut exempt = bench();
        let by_proxy = asks(&mut exempt, Intent::Play, 0..64, |_| "127.0.0.1".into());
        assert_eq!(by_proxy.iter().filter(|asked| **asked).count(), 12, "{by_proxy:?}");
    }

    #[tokio::test]
    async fn long_words_of_those_who_wait_are_bounded() {
        let mut bench = bench();
        let long = "x".repeat(4_000);
        let mut ask = |intent| {
            let one = request(intent, "cam", &long);
            bench.ask_with(AuthorizeRequest { protocol: Protocol::HttpFlv, ..one }, &()).is_none()
        };
        // All of them ask the same, so that one question is under way.
        let players = (0..WAITERS_MAX).take_while(|_| ask(Intent::Play)).count();
        let fit = WAITING_BYTES_MAX / 4_000;
        assert!((fit / 2..fit).contains(&players), "{players} of {fit}");
        while ask(Intent::Publish) {}
        assert!(bench.gate.flights.bytes <= WAITING_BYTES_MAX + 8_000);
        while bench.gate.flights.len() > 0 {
            bench.land().await;
        }
        assert_eq!(bench.gate.flights.bytes, 0);
    }

    #[tokio::test]
    async fn what_came_back_holds_no_place() {
        let mut bench = bench();
        for _ in 0..3 {
            let by_one = asks(&mut bench, Intent::Play, 0..64, |_| "192.0.2.9".into());
            assert_eq!(by_one.iter().filter(|asked| **asked).count(), 8, "{by_one:?}");
            while bench.gate.flights.len() > 0 {
                bench.land().await;
            }
            assert!(bench.gate.flights.shares.is_empty());
        }
    }
}
