//! Quotas: streams and tenants are metered by what shards tell, and shards told who may still play.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataplane::control::{CloseReason, Command, ProtocolSet, Role, Usage};
use dataplane::ids::StreamName;

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::events::Kind;
use crate::quotas::{Bounds, Exceeded, Meters, Over, Told};
use crate::usage::{Hour, Totals};

/// What was used before is asked for again after this, if the store did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// The meters, and what is asked of the store for them.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    meters: Meters,
    /// An answer is awaited, or was given.
    asked: Option<Arc<Mutex<Option<Totals>>>>,
    ask_from: Option<Instant>,
}

impl<F: Fleet> Exchange<F> {
    /// Shards hear of the quotas of `stream` before anybody is let in by a verdict.
    pub(super) fn hold_quotas(&mut self, stream: &StreamName, now: Instant) {
        if self.usage.is_none() {
            return;
        }
        let bounds = self.bounds_of(stream);
        let Told { counts, over } = self.quotas.meters.hold(stream, bounds, (Hour::now(), now));
        for stream in over {
            self.tell_all(|| Command::Quotas { stream: stream.clone(), quotas: None });
        }
        if let Some(quotas) = counts {
            self.tell_all(|| Command::Quotas {
                stream: stream.clone(),
                quotas: Some(quotas.clone()),
            });
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
    pub(super) fn meter(&mut self, stream: &StreamName, used: Usage, now: Instant) {
        // A quota that was changed, or came, holds from here on.
        self.hold_quotas(stream, now);
        self.quotas.meters.add(stream, used, now);
    }

    pub(super) fn look_at_quotas(&mut self, now: Instant) {
        self.learn_what_was_used(now);
        for Exceeded { stream, tenant, over, closes } in self.quotas.meters.look(Hour::now(), now) {
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
                self.tell_all(|| Command::KickStream {
                    stream: stream.clone(),
                    publication: None,
                    role: Some(role),
                    protocols: ProtocolSet::ALL,
                    reason: CloseReason::QuotaExceeded,
                });
            }
        }
        self.news.tell(&self.bus, now);
    }

    /// Who has a quota of bytes is told once what was used in its period before.
    fn learn_what_was_used(&mut self, now: Instant) {
        let Self { quotas: Quotas { meters, asked, ask_from }, usage, .. } = self;
        if let Some(answer) = asked {
            // The task holds its end while it runs.
            if Arc::strong_count(answer) > 1 {
                return;
            }
            let found = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            *ask_from = found.is_none().then(|| now + ASK_AGAIN);
            meters.known(&found.unwrap_or_default());
            *asked = None;
        }
        let Some((_, book)) = usage else { return };
        if ask_from.is_some_and(|from| now < from) {
            return;
        }
        let wanted = meters.asks();
        if wanted.is_empty() {
            return;
        }
        let (answer, told) = (Arc::default(), book.bytes_since(wanted));
        *asked = Some(Arc::clone(&answer));
        tokio::spawn(async move {
            match told.await {
                Ok(found) => {
                    *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                }
                Err(error) => {
                    tracing::debug!(reason = %error, "cannot tell what was used before");
                }
            }
        });
    }
}
