//! Policies: what the application lets each stream do, for as long as the stream lives, and whose
//! it says that the stream is.
//!
//! A grant is not yet a publication: somebody else may have the stream. So what it says waits,
//! under the session that it was granted to, until that publishes; one that never does is
//! forgotten. Whose a stream was is known for a while after its end, because what was used last is
//! told later.
//!
//! Limits: [`GRANTED_MAX`] grants, [`PAST_MAX`] streams that are over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dataplane::control::{Protocol, ProtocolSet};
use dataplane::ids::{SessionId, StreamName};

use crate::coordinator::Policy;
use crate::dialect::PublishOptions;
use crate::registry::{Protocols, TenantName};

/// Grants that have not become publications at most; the oldest is forgotten.
const GRANTED_MAX: usize = 4_096;
/// Streams that are over and of which it is known whose they were, at most.
const PAST_MAX: usize = 4_096;

/// What was said of a publication by whoever let it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// What the stream may do.
    pub policy: Option<Arc<Policy>>,
    /// What it offers its players.
    pub options: PublishOptions,
    /// Whose it is.
    pub tenant: Option<TenantName>,
}

/// Policies and tenants by stream. Lives on: the control thread.
#[derive(Debug, Default)]
pub struct Policies {
    granted: VecDeque<(SessionId, Given)>,
    live: HashMap<StreamName, Given>,
    tenants: HashMap<StreamName, Tenancy>,
    past: VecDeque<StreamName>,
}

/// Whose a stream is, or was.
#[derive(Debug)]
struct Tenancy {
    tenant: TenantName,
    on_air: bool,
}

impl Policies {
    /// What the stream may do; `None` if nobody said so.
    #[must_use]
    pub fn of(&self, stream: &StreamName) -> Option<&Arc<Policy>> {
        self.live.get(stream)?.policy.as_ref()
    }

    /// True unless the application said that the stream is not played by `protocol`.
    #[must_use]
    pub fn allows(&self, stream: &StreamName, protocol: Protocol) -> bool {
        let said = self.live.get(stream).and_then(|given| given.options.protocols);
        said.is_none_or(|protocols| protocols.allows(protocol))
    }

    /// The protocols by which the application said that the stream is not played.
    #[must_use]
    pub fn excluded(&self, stream: &StreamName) -> ProtocolSet {
        let said = self.live.get(stream).and_then(|given| given.options.protocols);
        said.map_or(ProtocolSet::NONE, |protocols| Protocols::ALL.lost(&protocols))
    }

    /// True if the application said that the stream ends when nobody plays it.
    #[must_use]
    pub fn closes_unread(&self, stream: &StreamName) -> bool {
        self.live.get(stream).is_some_and(|given| given.options.closes_unread)
    }

    /// Whose the stream is, or was when it ended; `None` if nobody who let it in said so.
    #[must_use]
    pub fn tenant_of(&self, stream: &StreamName) -> Option<&TenantName> {
        self.tenants.get(stream).map(|tenancy| &tenancy.tenant)
    }

    /// A session may publish, on these terms.
    pub(super) fn granted(&mut self, session: SessionId, given: Given) {
        if self.granted.len() >= GRANTED_MAX {
            self.granted.pop_front();
        }
        self.granted.push_back((session, given));
    }

    /// The session publishes the stream: it began, came back, or took over.
    pub fn published(&mut self, stream: &StreamName, session: SessionId) {
        // The newest grant of a session that published before is the one that counts.
        let mut newest = None;
        self.granted.retain(|(granted, given)| {
            let its = *granted == session;
            if its {
                newest = Some(given.clone());
            }
            !its
        });
        let Some(given) = newest else { return };
        match given.tenant.clone() {
            Some(tenant) => {
                drop(self.tenants.insert(stream.clone(), Tenancy { tenant, on_air: true }));
            }
            None => drop(self.tenants.remove(stream)),
        }
        match given == Given::default() {
            true => drop(self.live.remove(stream)),
            false => drop(self.live.insert(stream.clone(), given)),
        }
    }

    /// The stream is over.
    pub fn ended(&mut self, stream: &StreamName) {
        self.live.remove(stream);
        let Some(tenancy) = self.tenants.get_mut(stream) else { return };
        if !std::mem::replace(&mut tenancy.on_air, false) {
            return;
        }
        self.past.push_back(stream.clone());
        if self.past.len() > PAST_MAX
            && let Some(oldest) = self.past.pop_front()
            && self.tenants.get(&oldest).is_some_and(|tenancy| !tenancy.on_air)
        {
            self.tenants.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(record: bool) -> Given {
        let policy = Some(Arc::new(Policy { record, ..Policy::default() }));
        Given { policy, ..Given::default() }
    }

    fn tenant(name: &str) -> Given {
        Given { tenant: TenantName::parse(name), ..Given::default() }
    }

    #[test]
    fn a_policy_lives_as_long_as_its_stream() {
        let stream = StreamName::parse("news").unwrap();
        let mut policies = Policies::default();
        policies.granted(SessionId(1), policy(true));
        assert_eq!(policies.of(&stream), None, "a grant is no publication yet");
        policies.published(&stream, SessionId(1));
        policies.granted(SessionId(2), policy(false));
        assert!(policies.of(&stream).is_some_and(|policy| policy.record));
        policies.published(&stream, SessionId(9));
        assert!(policies.of(&stream).is_some(), "the demo clip is granted nothing");
        policies.published(&stream, SessionId(2));
        assert!(policies.of(&stream).is_some_and(|policy| !policy.record));
        policies.granted(SessionId(2), policy(true));
        policies.granted(SessionId(2), Given::default());
        policies.published(&stream, SessionId(2));
        assert_eq!(policies.of(&stream), None, "the newest grant says nothing of it");
        policies.granted(SessionId(3), policy(true));
        policies.published(&stream, SessionId(3));
        policies.ended(&stream);
        assert_eq!(policies.of(&stream), None);
    }

    #[test]
    fn grants_that_come_to_nothing_are_forgotten() {
        let mut policies = Policies::default();
        for number in 0..=GRANTED_MAX as u64 {
            policies.granted(SessionId(number), policy(true));
        }
        assert_eq!(policies.granted.len(), GRANTED_MAX);
        let stream = StreamName::parse("news").unwrap();
        policies.published(&stream, SessionId(0));
        assert_eq!(policies.of(&stream), None);
    }

    #[test]
    fn whose_a_stream_is_is_known_until_somebody_else_publishes_it() {
        let stream = StreamName::parse("news").unwrap();
        let mut policies = Policies::default();
        let whose = |policies: &Policies| policies.tenant_of(&stream).map(ToString::to_string);
        policies.granted(SessionId(1), tenant("acme"));
        assert_eq!(whose(&policies), None, "a grant is no publication yet");
        policies.published(&stream, SessionId(1));
        policies.ended(&stream);
        assert_eq!(whose(&policies).as_deref(), Some("acme"), "its last bytes are told later");
        policies.granted(SessionId(2), tenant("other"));
        policies.published(&stream, SessionId(2));
        assert_eq!(whose(&policies).as_deref(), Some("other"));
        policies.granted(SessionId(3), Given::default());
        policies.published(&stream, SessionId(3));
        assert_eq!(whose(&policies), None, "nobody says whose it is now");
    }

    #[test]
    fn what_is_over_is_forgotten_when_there_is_too_much_of_it() {
        let name = |number: usize| StreamName::parse(&format!("s{number}")).unwrap();
        let mut policies = Policies::default();
        for number in 0..2 * PAST_MAX {
            policies.granted(SessionId(number as u64), tenant("acme"));
            policies.published(&name(number), SessionId(number as u64));
            if number > 0 {
                policies.ended(&name(number));
                policies.ended(&name(number));
            }
        }
        assert_eq!((policies.tenants.len(), policies.past.len()), (PAST_MAX + 1, PAST_MAX));
        assert!(policies.tenant_of(&name(0)).is_some(), "it is on the air");
        assert!(policies.tenant_of(&name(1)).is_none());
    }
}
