//! Quotas: streams and tenants are metered by what shards tell, and shards told who may still play.

use std::collections::BTreeSet;
use std::time::Instant;

use dataplane::control::{CloseReason, Command, Grant, ProtocolSet, Role, UsageRow};
use dataplane::ids::StreamName;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::outbox::WAITING_MAX;
use crate::events::Kind;
use crate::quotas::{Bounds, Exceeded, Meters, Over, Used, meters_max};
use crate::registry::{Registry, TenantName};
use crate::usage::{Book, Hour, Whose};

/// Streams of which shards are told again at one look at most.
const TOLD_AGAIN_MAX: usize = 256;

/// The meters, and who has to hear of them yet.
#[derive(Debug)]
pub(super) struct Quotas {
    pub(super) meters: Meters,
    /// Streams of whose quotas a shard did not hear: it had no room.
    untold: BTreeSet<StreamName>,
}

impl Default for Quotas {
    /// Nobody has any until it is known what is used.
    fn default() -> Self {
        Self { meters: Meters::new(0, Used::by(|_, _| 0)), untold: BTreeSet::new() }
    }
}

impl Quotas {
    /// Of a node of so many streams, which use what `book` says.
    pub(super) fn new(book: Book, streams_max: u64) -> Self {
        let used = Used::by(move |whose, by| book.used(whose, by, Hour::now()));
        Self { meters: Meters::new(meters_max(streams_max), used), untold: BTreeSet::new() }
    }
}

impl<F: Fleet> Exchange<F> {
    /// Shards hear of the quotas of a stream before anybody is let in by a verdict. Who asks for
    /// names that are no streams, or waits for many of them, takes no room from those that are.
    pub(super) fn hold_quotas_for(&mut self, grant: &Grant, now: Instant) {
        let stream = &grant.stream;
        let waits = grant.waits && !self.quotas.meters.are_many();
        let publishes = grant.id.is_some();
        if publishes || waits || self.registry.stream(stream).is_some() {
            self.hold_quotas(stream, now);
        }
    }

    /// Shards hear of the quotas of `stream` if those are others than they were.
    pub(super) fn hold_quotas(&mut self, stream: &StreamName, now: Instant) {
        if self.usage.is_none() {
            return;
        }
        let bounds = self.bounds_of(stream);
        if self.quotas.meters.hold(stream, bounds, now).is_some() {
            self.tell_quotas(stream);
        }
    }

    /// A publication of `stream` begins: it is measured anew. Who was let in as a tenant's whose
    /// bytes are used up, which nobody knew before, is closed.
    pub(super) fn meter_publication(&mut self, stream: &StreamName, now: Instant) {
        self.hold_quotas(stream, now);
        self.quotas.meters.published(stream);
        let tenant = self.gate.policies().tenant_of(stream);
        if tenant.is_some_and(|tenant| is_spent(&self.registry, &self.quotas.meters, tenant)) {
            self.close_for_quota(stream, Role::Publish);
        }
    }

    /// Shards hear in which quotas the players of `stream` count.
    fn tell_quotas(&mut self, stream: &StreamName) {
        let (quotas, dropped) = (self.quotas.meters.quotas(stream), self.outbox.dropped);
        self.tell_all(|| Command::Quotas { stream: stream.clone(), quotas: quotas.clone() });
        if self.outbox.dropped > dropped {
            self.quotas.untold.insert(stream.clone());
        }
    }

    /// Tells again what a shard had no room for; once that is done some unused meters go.
    fn tell_quotas_again(&mut self, now: Instant) {
        if self.outbox.waiting() > WAITING_MAX / 2 {
            return;
        }
        for _ in 0..TOLD_AGAIN_MAX {
            let Some(stream) = self.quotas.untold.pop_first() else { break };
            self.tell_quotas(&stream);
        }
        if self.quotas.untold.is_empty() {
            for stream in self.quotas.meters.let_go(now) {
                self.tell_quotas(&stream);
            }
        }
    }

    fn bounds_of(&self, stream: &StreamName) -> Bounds {
        let tenant = self.tenant_of(stream).map(|name| {
            let item = self.registry.tenant(&name);
            (name, item.and_then(|item| item.tenant.quota))
        });
        let own = self.registry.resolve(stream).and_then(|resolved| resolved.traits.quota);
        Bounds { own, tenant }
    }

    /// So much was used of `stream`.
    pub(super) fn meter(&mut self, stream: &StreamName, row: &UsageRow, now: Instant) {
        // A quota that was changed, or came, holds from here on.
        if self.quotas.meters.quotas(stream).is_some() || self.registry.stream(stream).is_some() {
            self.hold_quotas(stream, now);
        }
        self.quotas.meters.add(stream, row, now);
    }

    pub(super) fn look_at_quotas(&mut self, now: Instant) {
        self.tell_quotas_again(now);
        for Exceeded { stream, tenant, over, closes } in self.quotas.meters.look(now) {
            let Over { quota, max, used } = over;
            let whose = stream.as_ref().map(StreamName::as_str);
            let owner = tenant.as_ref().map(ToString::to_string);
            tracing::warn!(stream = whose, tenant = owner, quota, max, used, "a quota is used up");
            let closing = |role| closes.iter().any(|&(_, closed)| closed == role);
            let (closes_publisher, closes_players) = (closing(Role::Publish), closing(Role::Play));
            let kind = Kind::QuotaExceeded {
                tenant: owner,
                quota,
                max,
                used,
                closes_publisher,
                closes_players,
            };
            self.news.push(stream, kind);
            for (stream, role) in closes {
                self.close_for_quota(&stream, role);
            }
        }
        self.news.tell(&self.bus, now);
    }

    fn close_for_quota(&mut self, stream: &StreamName, role: Role) {
        self.tell_all(|| Command::KickStream {
            stream: stream.clone(),
            publication: None,
            role: Some(role),
            protocols: ProtocolSet::ALL,
            reason: CloseReason::QuotaExceeded,
        });
    }
}

/// True if the bytes of a tenant are used up.
pub(super) fn is_spent(registry: &Registry, meters: &Meters, tenant: &TenantName) -> bool {
    let spec = registry.tenant(tenant).and_then(|item| item.tenant.quota);
    spec.is_some_and(|spec| meters.used().is_up(&Whose::Tenant(tenant.clone()), &spec))
}
