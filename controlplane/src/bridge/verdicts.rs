//! Verdicts: questions of shards go to the gate, its verdicts back to who asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{AuthorizeRequest, Command, Ticket};
use dataplane::ids::{ShardId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gathered::Gathered;
use crate::auth::{Landing, Rules};
use crate::coordinator::Policy;

impl<F: Fleet> Exchange<F> {
    /// Answers at once, or lets the gate ask the application.
    pub(super) fn authorize(
        &mut self,
        shard: ShardId,
        ticket: Ticket,
        request: Box<AuthorizeRequest>,
        now: Instant,
    ) {
        if let Some(verdict) = self.gate.ask(shard, ticket, request, &self.registry, now) {
            self.tell(shard, Command::Verdict { ticket, verdict });
        }
    }

    /// The next answer of an application; `None` if none is asked. May be dropped and asked again.
    pub async fn landed(&mut self) -> Option<Landing> {
        self.gate.landed().await
    }

    /// Tells everybody who waited for what landed.
    pub fn settle(&mut self, landing: Landing, now: Instant) {
        for (shard, ticket, verdict) in self.gate.settle(landing, &self.registry, now) {
            self.tell(shard, Command::Verdict { ticket, verdict });
        }
    }

    /// Judges requests from now on by `rules`.
    pub fn set_rules(&mut self, rules: Rules) {
        self.gate.set_rules(rules);
    }

    /// The policies of the streams that are listed.
    pub(super) fn policies_of(&self, gathered: &Gathered) -> HashMap<StreamName, Arc<Policy>> {
        let streams = gathered.snapshots.iter().flat_map(|shard| &shard.streams);
        let policies = self.gate.policies();
        let policy = |name: &StreamName| Some((name.clone(), Arc::clone(policies.of(name)?)));
        streams.filter_map(|stream| policy(&stream.name)).collect()
    }
}
