//! Gate: the one way to a verdict, for every protocol and intent.
//!
//! ```text
//!   question -> open, keys, signed, jwt: declared? shown what?   -> verdict at once
//!               jwt: a new key is fetched                        -> as a landing
//!               callback, coordinator: memory                    -> what came of it
//!                                      same question under way   -> joins it
//!                                      room                      -> asks the application
//!   landing  -> memory, then what came of it, for each who waits
//!   what came of it: another name? declared? the stream's own key? -> verdict, policy, id
//! ```
//!
//! An application is asked before the name is judged, because it may give the peer another one:
//! that one counts, and is judged as if it had been asked for. It is given once; nobody is asked
//! about the new name, so that names cannot lead in circles. What is remembered is remembered by
//! the name that was asked for. A stream with a key of its own is published with it, whoever else
//! was asked. That nobody else publishes the stream is seen to at its home (`dataplane`).
//!
//! Nothing here waits: what the application is asked runs beside, and comes back as a landing.
//! Lives on: the control thread.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::control::{AuthorizeRequest, Denial, Grant, Protocol, Role, Ticket, Verdict};
use dataplane::ids::{ShardId, StreamId};

use super::absences::Absences;
use super::ask::Standing;
use super::claims::Claims;
use super::declared::{Declarations, Declared, admitted};
use super::figures::{End, Figures};
use super::fingerprint::Fingerprints;
use super::flights::{Flights, Landing, Outcome, Waiter, Whose};
use super::guess::tell;
use super::judge::{Step, judge};
use super::jwt::{Endpoint, Issuer, KeySet, Refreshed};
use super::keeping::{Keeping, for_one};
use super::memory::{Memory, TTL_MAX};
use super::mode::Mode;
use super::moment::Moment;
use super::notice::{Basis, log, notice};
use super::policies::{Given, Policies};
use super::question::{Asked, asked};
use super::rules::Rules;
use super::ruling::{Ruling, Terms};
use super::seconds::Seconds;
use super::updates::Updates;
use crate::coordinator::StreamIds;
use crate::coordinator::client::Publisher;
use crate::counts::Counts;
use crate::events::Bus;
use crate::outbound::Client;
use crate::penalties::Warden;

/// Fetches of keys under way at most: one, and one that a reload gave up.
const FETCHES_MAX: usize = 2;

/// What the configuration says holds until it changes.
const RULED: (Basis, Option<Duration>) = (Basis::Rules, None);

/// Judges every request.
#[derive(Debug)]
pub struct Gate {
    pub(super) rules: Rules,
    client: Client,
    /// Where the keys of tokens are fetched.
    endpoint: Option<Endpoint>,
    prints: Fingerprints,
    memory: Memory,
    pub(super) flights: Flights,
    pub(super) policies: Policies,
    pub(super) absences: Absences,
    pub(super) claims: Claims,
    pub(super) updates: Updates,
    figures: Figures,
    ids: StreamIds,
    /// About whom the coordinator of this node is to be asked.
    errand: Option<Publisher>,
    pub(super) bus: Bus,
    warden: Warden,
}

impl Gate {
    /// Judges by `rules` and tells `bus`.
    #[must_use]
    pub fn new(rules: Rules, bus: Bus) -> Self {
        Self {
            client: Client::new(rules.calls_max),
            endpoint: endpoint(&rules, None),
            prints: Fingerprints::new(rules.cache_per_peer),
            memory: Memory::new(rules.cache_entries_max),
            flights: Flights::new(rules.calls_max),
            policies: Policies::default(),
            absences: Absences::new(),
            claims: Claims::default(),
            updates: Updates::new(),
            figures: Figures::default(),
            ids: StreamIds::default(),
            errand: None,
            rules,
            bus,
            warden: Warden::default(),
        }
    }

    /// Tells `warden` who is refused.
    pub fn watch_by(&mut self, warden: Warden) {
        self.warden = warden;
    }

    /// Judges by `rules` from now on. Earlier verdicts are forgotten, and who asks from now on
    /// joins no question that was asked before.
    pub fn set_rules(&mut self, rules: Rules) {
        if rules.calls_max != self.rules.calls_max {
            self.client = Client::new(rules.calls_max);
            self.flights.set_max(rules.calls_max);
        }
        self.memory = Memory::new(rules.cache_entries_max);
        self.prints = Fingerprints::new(rules.cache_per_peer);
        self.endpoint = endpoint(&rules, self.endpoint.take());
        self.rules = rules;
    }

    /// Forgets earlier verdicts; how many there were.
    pub fn forget(&mut self) -> usize {
        let forgotten = self.memory.len();
        self.memory.clear();
        self.prints = Fingerprints::new(self.rules.cache_per_peer);
        forgotten
    }

    /// What is known of those who were let in takes so many bytes at most from now on.
    pub fn set_claims_bytes_max(&mut self, bytes_max: u64) {
        self.claims.set_bytes_max(bytes_max);
    }

    /// What the application lets each stream do.
    #[must_use]
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The same, to be told when publications begin and end.
    pub const fn policies_mut(&mut self) -> &mut Policies {
        &mut self.policies
    }

    /// How requests are judged at this moment.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let application = match &self.rules.coordinator.url {
            url if self.rules.publish.contains(Mode::Coordinator) => url.clone(),
            _ => {
                let application = self.rules.application.as_ref();
                application.and_then(|application| application.addresses.first().cloned())
            }
        };
        Standing {
            publish: self.rules.publish,
            play: self.rules.play,
            application: application.map(|address| address.to_string()),
            questions: self.flights.len(),
            waiting: self.flights.waiting(),
            cached: self.memory.len(),
            verdicts: self.figures.ends().collect(),
            shared: (self.figures.remembered, self.figures.joined),
            crowded: self.figures.crowded,
        }
    }

    /// Writes what was counted for `/metrics`.
    pub fn count(&self, into: &mut Counts) {
        self.figures.count(into);
        self.count_updates(into);
        let (under_way, waiting) = (self.flights.len(), self.flights.waiting());
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let now = [("questions", under_way as f64), ("peers", waiting as f64)];
        into.gauge_by("auth_waiting", "Questions under way, and peers that wait.", "what", now);
    }

    /// How questions were answered so far.
    #[cfg(test)]
    pub(super) const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The verdict on `request`; `None` if the application is asked, which lands later.
    pub fn ask(
        &mut self,
        shard: ShardId,
        ticket: Ticket,
        request: Box<AuthorizeRequest>,
        registry: &impl Declarations,
        now: Instant,
    ) -> Option<Verdict> {
        let declared = registry.declared(&request, &request.stream);
        let mode = match (self.judge(&request, &declared), declared.verdict) {
            (Step::Ask(mode), _) => mode,
            (_, Err(denial)) => {
                return Some(self.verdict(&request, &Ruling::Closed(denial), RULED, registry));
            }
            (Step::Ruled(ruling), Ok(())) => {
                return Some(self.verdict(&request, &ruling, RULED, registry));
            }
            (Step::Unknown(ruling), Ok(())) => {
                return self.fetch_key((shard, ticket), request, &ruling, registry, now);
            }
        };
        let question = match self.rules.asks_each(mode) {
            true => self.prints.of_one(&request, ticket),
            false => self.prints.of(&request, mode),
        };
        if let Some((ruling, left)) = self.memory.recall(&question, now) {
            let (ruling, ground) = (ruling.clone(), (Basis::Memory, Some(left)));
            self.figures.remembered += 1;
            return Some(self.verdict(&request, &ruling, ground, registry));
        }
        let waiter = Waiter { shard, ticket, request };
        let waiter = match self.flights.join(&question, waiter) {
            Ok(()) => {
                self.figures.joined += 1;
                return None;
            }
            Err(waiter) => waiter,
        };
        let whose = Whose::of(&waiter.request, &self.warden);
        if !self.flights.has_room(whose) {
            self.figures.crowded += 1;
            let ground = (Basis::Failed("too many questions are under way"), None);
            let ruling = Ruling::Deny(Denial::Unavailable);
            return Some(self.verdict(&waiter.request, &ruling, ground, registry));
        }
        match asked(&self.rules, mode, &waiter.request, &self.client) {
            Asked::Ruled(ruling) => {
                let ground = (Basis::Application, None);
                let verdict = self.verdict(&waiter.request, &ruling, ground, registry);
                let alone = self.rules.asks_each(mode) && self.knows_players();
                Some(if alone { for_one(&waiter.request, verdict) } else { verdict })
            }
            Asked::Asking { keeping, asking, errand } => {
                self.flights.start(question, (waiter, whose.from), keeping, asking, now);
                self.errand = errand;
                None
            }
        }
    }

    /// About whom the coordinator of this node is to be asked, after a question without a verdict.
    pub const fn errand(&mut self) -> Option<Publisher> {
        self.errand.take()
    }

    /// What the rules alone say.
    fn judge(&self, request: &AuthorizeRequest, declared: &Declared) -> Step {
        let fetched = self.endpoint.as_ref().and_then(Endpoint::keys);
        let modes = self.rules.modes(request, declared.ways);
        let moment = Moment::of(request);
        judge(&self.rules, modes, fetched.as_deref(), (request, declared), moment)
    }

    /// The key of a token is unknown: the keys are fetched anew, unless they were a moment ago;
    /// then `ruling` holds.
    fn fetch_key(
        &mut self,
        (shard, ticket): (ShardId, Ticket),
        request: Box<AuthorizeRequest>,
        ruling: &Ruling,
        registry: &impl Declarations,
        now: Instant,
    ) -> Option<Verdict> {
        let question = self.prints.of(&request, Mode::Jwt);
        let waiter = Waiter { shard, ticket, request };
        let Waiter { request, .. } = match self.flights.join(&question, waiter) {
            Ok(()) => return None,
            Err(waiter) => waiter,
        };
        let (endpoint, whose) = (self.endpoint.clone(), Whose::of(&request, &self.warden));
        let seat = endpoint.as_ref().and_then(Endpoint::seat);
        let has_room = self.flights.has_room(whose);
        let (Some(endpoint), Some(seat), true) = (endpoint, seat, has_room) else {
            // Without any keys nobody can tell whether the token is good.
            let known = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.keys().is_some());
            return Some(match known {
                true => self.verdict(&request, ruling, RULED, registry),
                false => {
                    let none = Ruling::Deny(Denial::Unavailable);
                    let ground = (Basis::Failed("keys_missing"), None);
                    self.verdict(&request, &none, ground, registry)
                }
            });
        };
        let issuer = Arc::clone(&self.rules.issuer);
        let asking = async move {
            let _seat = seat;
            endpoint.refresh().await;
            Outcome::Fetched { issuer, keys: endpoint.keys() }
        };
        let waiter = (Waiter { shard, ticket, request }, whose.from);
        self.flights.start(question, waiter, Keeping::NOTHING, asking, now);
        None
    }

    /// The verdict on whoever may ask nothing for a while.
    pub fn shut_out(
        &mut self,
        request: &AuthorizeRequest,
        registry: &impl Declarations,
    ) -> Verdict {
        let ground = (Basis::Application, None);
        self.verdict(request, &Ruling::Closed(Denial::Forbidden), ground, registry)
    }

    /// The next question that comes back; `None` if none is under way.
    #[cfg(test)]
    pub(super) async fn landed(&mut self) -> Option<Landing> {
        self.flights.landed().await
    }

    /// The verdict for each who waited for what landed.
    pub fn settle(
        &mut self,
        landing: Landing,
        registry: &impl Declarations,
        now: Instant,
    ) -> Vec<(ShardId, Ticket, Verdict)> {
        let Landing { question, outcome, waiters, keeping, since } = landing;
        if !matches!(outcome, Outcome::Fetched { .. }) {
            self.figures.took.observe_time(now.saturating_duration_since(since));
        }
        let (ruling, ground) = match outcome {
            Outcome::Fetched { issuer, keys } => {
                return self.settle_by_keys(&issuer, keys.as_deref(), waiters, registry);
            }
            Outcome::Answered(answered) => {
                let ttl = answered.ttl.unwrap_or_else(|| keeping.ttl(&answered.ruling));
                self.memory.learn(question, answered.ruling.clone(), ttl, now);
                let holds = (!keeping.lasts).then(|| ttl.min(TTL_MAX));
                (answered.ruling.clone(), (Basis::Application, holds))
            }
            Outcome::Failed { word, why } => {
                tracing::warn!(reason = word, "the application gave no verdict: {why}");
                (keeping.without_answer(), (Basis::Failed(word), Some(Duration::ZERO)))
            }
            Outcome::TimedOut => {
                tracing::warn!(reason = "timeout", "the application gave no verdict in time");
                (keeping.without_answer(), (Basis::TimedOut, Some(Duration::ZERO)))
            }
        };
        let verdict = |Waiter { shard, ticket, request }: Waiter| {
            let verdict = self.verdict(&request, &ruling, ground, registry);
            (shard, ticket, if keeping.lasts { for_one(&request, verdict) } else { verdict })
        };
        waiters.into_iter().map(verdict).collect()
    }

    /// The same once the keys of an issuer were fetched.
    fn settle_by_keys(
        &mut self,
        issuer: &Issuer,
        keys: Option<&KeySet>,
        waiters: Vec<Waiter>,
        registry: &impl Declarations,
    ) -> Vec<(ShardId, Ticket, Verdict)> {
        let mut rulings = Refreshed::new(issuer, keys);
        let verdict = |Waiter { shard, ticket, request }: Waiter| {
            let ruling = rulings.on(&request);
            (shard, ticket, self.verdict(&request, &ruling, RULED, registry))
        };
        waiters.into_iter().map(verdict).collect()
    }

    /// What `ruling` means for `request`: counted, told, and final. It rests on something, and
    /// holds for a while or until further notice.
    fn verdict(
        &mut self,
        request: &AuthorizeRequest,
        ruling: &Ruling,
        (basis, holds): (Basis, Option<Duration>),
        registry: &impl Declarations,
    ) -> Verdict {
        let judged = match ruling {
            Ruling::Allow(terms) => admitted(request, terms, registry, &self.policies)
                .map(|declared| Grant { holds, ..self.grant(request, terms, &declared) }),
            no => Err(no.clone()),
        };
        let basis = match &judged {
            Err(Ruling::Flawed(why)) => {
                self.figures.flawed(why);
                Basis::Flawed(why)
            }
            _ => basis,
        };
        if let Err(no) = &judged
            && !matches!(no, Ruling::Elsewhere(_))
        {
            tell(&self.warden, &self.rules, request, (no, basis));
        }
        let verdict = match judged {
            Ok(grant) => Verdict::Allow(grant),
            Err(Ruling::Elsewhere(url)) => Verdict::Elsewhere(url),
            Err(no) => Verdict::Deny(no.denial()),
        };
        let end = match (&verdict, basis) {
            (_, Basis::TimedOut) => End::TimedOut,
            (_, Basis::Failed(_)) => End::Failed,
            (Verdict::Allow(_), _) => End::Allowed,
            (Verdict::Deny(_) | Verdict::Elsewhere(_), _) => End::Denied,
        };
        self.figures.end(request.intent, end);
        log(request, &verdict, basis);
        let (stream, id) = match &verdict {
            Verdict::Allow(grant) => (&grant.stream, grant.id),
            Verdict::Deny(_) | Verdict::Elsewhere(_) => (&request.stream, None),
        };
        self.bus.publish(Some(stream), id, notice(request, &verdict, basis));
        verdict
    }

    /// `request` is let in on these terms.
    fn grant(&mut self, request: &AuthorizeRequest, terms: &Terms, declared: &Declared) -> Grant {
        let now = SystemTime::now();
        let stream = terms.stream.as_ref().unwrap_or(&request.stream);
        let mut grant = Grant::to(stream.clone());
        let instant = |end: Seconds| Instant::now().checked_add(end.left(now));
        grant.until = terms.until.and_then(instant);
        grant.entry_until = terms.entry.and_then(instant);
        if request.protocol == Protocol::Srt {
            let declared = || declared.passphrase.clone().map(Box::new);
            grant.passphrase = terms.passphrase.clone().or_else(declared);
        }
        match request.intent.role() {
            Some(Role::Publish) => {
                let id = terms.stream_id.as_deref().and_then(StreamId::parse);
                grant.id = Some(id.unwrap_or_else(|| self.ids.next(now)));
                grant.transport = declared.transport.clone().map(Box::new);
                let (policy, tenant) = (terms.policy.clone(), terms.tenant.clone());
                let given = Given { policy, options: terms.options, tenant };
                self.policies.granted(request.session, given);
                self.claim(request, terms);
            }
            Some(Role::Play) => {
                grant.waits = terms.waits || declared.waits;
                grant.same_key = terms.same_key;
                self.claim(request, terms);
            }
            None => {}
        }
        grant
    }
}

/// Where the keys of tokens are fetched by `rules`: as before, if that is the same place.
fn endpoint(rules: &Rules, before: Option<Endpoint>) -> Option<Endpoint> {
    let source = rules.issuer.source.as_ref()?;
    let same = before.filter(|before| before.source() == source);
    Some(same.unwrap_or_else(|| Endpoint::start(source.clone(), Client::new(FETCHES_MAX))))
}
