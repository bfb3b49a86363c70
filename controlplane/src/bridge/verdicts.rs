//! Verdicts: questions of shards go to the gate, its verdicts back to who asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{AuthorizeRequest, Command, Denial, Grant, Intent, Role, Ticket, Verdict};
use dataplane::ids::{ShardId, StreamName};

use super::attached::ATTACHED;
use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gathered::Gathered;
use super::quotas::is_spent;
use crate::auth::{AuthAsk, Declarations, Declared, Landed, Rules};
use crate::coordinator::{Coordinator, Policy};
use crate::quotas::Meters;
use crate::registry::{Registry, TenantName};
use crate::usage::Whose;

/// Who may come in at all: by what is declared of streams, what the encoder has room for, and what
/// is left of quotas.
struct Admission<'a> {
    registry: &'a Registry,
    coordinator: &'a Coordinator,
    meters: &'a Meters,
    now: Instant,
}

impl Declarations for Admission<'_> {
    fn declared(&self, request: &AuthorizeRequest, stream: &StreamName) -> Declared {
        let mut declared = self.registry.declared(request, stream);
        if declared.verdict.is_ok() && request.intent == Intent::Publish {
            declared.verdict = match request.session.accepted_by() {
                ATTACHED => self.coordinator.admits_elsewhere(stream),
                _ => self.coordinator.admits(stream),
            };
            if declared.verdict.is_ok() && !self.has_bytes(stream) {
                declared.verdict = Err(Denial::Full);
            }
        }
        declared
    }

    fn is_spent(&self, tenant: &TenantName) -> bool {
        is_spent(self.registry, self.meters, tenant)
    }
}

impl Admission<'_> {
    /// True if `stream` may be published by what is left of its quotas, and of those of the tenant
    /// that it is declared to be of.
    fn has_bytes(&self, stream: &StreamName) -> bool {
        if self.meters.bars(stream, self.now) {
            return false;
        }
        let Some(resolved) = self.registry.resolve(stream) else { return true };
        let used = self.meters.used();
        let own = resolved.traits.quota.as_ref();
        let is_up = own.is_some_and(|spec| used.is_up(&Whose::Stream(stream.clone()), spec));
        !is_up && !resolved.traits.tenant.as_ref().is_some_and(|tenant| self.is_spent(tenant))
    }
}

impl<F: Fleet> Exchange<F> {
    /// Answers at once, or lets the gate ask the application.
    pub(super) fn authorize(
        &mut self,
        shard: ShardId,
        ticket: Ticket,
        request: Box<AuthorizeRequest>,
        now: Instant,
    ) {
        self.coordinator.expire(now);
        let AuthorizeRequest { intent, stream, key, session, .. } = request.as_ref();
        if *intent == Intent::Play && self.coordinator.pulls(stream, key, *session) {
            // An encoder pulls what it was told to.
            tracing::debug!(stream = %request.stream, peer = %request.peer, "an encoder pulls");
            let granted = Grant::to(request.stream.clone());
            let grant = Grant { waits: true, internal: true, ..granted };
            return self.give(shard, ticket, Verdict::Allow(grant), now);
        }
        if self.recorder.plays(&request) {
            let granted = Grant::to(request.stream.clone());
            let grant = Grant { internal: true, unlisted: true, ..granted };
            return self.give(shard, ticket, Verdict::Allow(grant), now);
        }
        // No shard looked, as it does for those who come to this node.
        let shut_out =
            shard == ATTACHED && self.warden.shuts_out(request.peer.ip(), "attached", now);
        let Self { registry, coordinator, quotas, gate, .. } = self;
        let admission = Admission { registry, coordinator, meters: &quotas.meters, now };
        let verdict = match shut_out {
            true => Some(gate.shut_out(&request, &admission)),
            false => gate.ask(shard, ticket, request, &admission, now),
        };
        if let Some(publisher) = self.gate.errand() {
            self.run_errand(publisher, now);
        }
        if let Some(verdict) = verdict {
            self.give(shard, ticket, verdict, now);
        }
    }

    /// Gives a verdict to who asked, and keeps a place for a publication that may begin.
    fn give(&mut self, shard: ShardId, ticket: Ticket, verdict: Verdict, now: Instant) {
        if shard == ATTACHED {
            return self.publisher_judged(ticket, verdict, now);
        }
        if let Verdict::Allow(grant) = &verdict {
            // Before the verdict, in the order of the mailbox: whoever plays by it is counted.
            self.hold_quotas_for(grant, now);
        }
        if let Verdict::Allow(grant) = &verdict
            // Publications alone have a number.
            && grant.id.is_some()
        {
            self.coordinator.granted(&grant.stream, now);
        }
        self.tell(shard, Command::Verdict { ticket, verdict });
    }

    /// The next answer of an application; `None` if none is asked. May be dropped and asked again.
    pub async fn landed(&mut self) -> Option<Landed> {
        self.gate.answered().await
    }

    /// Tells everybody who waited for what landed.
    pub fn settle(&mut self, landed: Landed, now: Instant) {
        // Whoever may not stay is sent away by the next turn, which is due.
        let Landed::Entry(landing) = landed else { return };
        self.coordinator.expire(now);
        let Self { registry, coordinator, quotas, gate, .. } = self;
        let admission = Admission { registry, coordinator, meters: &quotas.meters, now };
        for (shard, ticket, verdict) in gate.settle(landing, &admission, now) {
            self.give(shard, ticket, verdict, now);
        }
    }

    pub(super) fn ask_of_gate(&mut self, ask: AuthAsk) {
        if matches!(ask, AuthAsk::Forget { .. }) {
            // Shards remember, too, whom they let view.
            self.tell_all(|| Command::DoubtVerdicts);
        }
        self.gate.answer(ask);
    }

    /// Judges requests from now on by `rules`.
    pub fn set_rules(&mut self, rules: Rules, now: Instant) {
        let asked = self.gate.asks_who_may_stay();
        self.gate.set_rules(rules);
        if !asked && self.gate.asks_who_may_stay() {
            self.watch_all(now);
        }
    }

    /// What is known of those who were let in takes so many bytes at most from now on.
    pub fn set_claims_bytes_max(&mut self, bytes_max: u64) {
        self.gate.set_claims_bytes_max(bytes_max);
    }

    /// The policies of the streams that are listed, or whose publishers are.
    pub(super) fn policies_of(&self, gathered: &Gathered) -> HashMap<StreamName, Arc<Policy>> {
        let streams = gathered.snapshots.iter().flat_map(|shard| &shard.streams);
        let sessions = gathered.snapshots.iter().flat_map(|shard| &shard.sessions);
        let publishers = sessions.filter(|session| session.role == Some(Role::Publish));
        let published = publishers.filter_map(|session| session.stream.as_ref());
        let policies = self.gate.policies();
        let policy = |name: &StreamName| Some((name.clone(), Arc::clone(policies.of(name)?)));
        streams.map(|stream| &stream.name).chain(published).filter_map(policy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_shard::OneShard;
    use super::*;
    use std::time::Duration;

    use dataplane::control::{Protocol, SessionEvent};
    use dataplane::ids::SessionId;

    use crate::auth::tests::{application, asking};
    use crate::auth::{Application, UpdateTerms};
    use crate::events::{Bus, RingLimits};
    use crate::outbound::Address;

    const PERIOD: Duration = Duration::from_secs(30);

    /// Rules by which it is asked who may stay.
    fn staying() -> Rules {
        let address = Address::parse("http://192.0.2.1/").unwrap();
        let updates = Some(UpdateTerms { address, period: PERIOD, strict: false });
        asking(Application { updates, ..application("http://192.0.2.1/") })
    }

    #[test]
    fn a_reload_has_the_application_be_asked_about_those_who_are_there() {
        let (bus, now) = (Bus::new("edge-1".into(), RingLimits::default()), Instant::now());
        let mut exchange = Exchange::new(OneShard::default(), Rules::default(), bus, now);
        let publisher = SessionEvent::Started {
            session: SessionId(7),
            shard: ShardId(0),
            role: Role::Publish,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: StreamName::parse("cam").unwrap(),
            peer: "192.0.2.9:5".parse().unwrap(),
            agent: "test".into(),
            at_ms: 1_800_000_000_000,
        };
        exchange.session_event(publisher, now);
        assert_eq!(exchange.gate.due(now), None, "nobody asks");
        exchange.set_rules(staying(), now);
        assert_eq!(exchange.gate.due(now), Some(now + PERIOD));
        // A reload of something else begins no period anew.
        let later = now + PERIOD / 2;
        exchange.set_rules(staying(), later);
        assert_eq!(exchange.gate.due(later), Some(now + PERIOD));
        exchange.set_rules(Rules::default(), later);
        exchange.tick(later);
        assert_eq!(exchange.gate.due(later), None, "nobody asks any more");
        exchange.set_rules(staying(), later);
        assert_eq!(exchange.gate.due(later), Some(later + PERIOD), "until somebody does again");
    }
}
