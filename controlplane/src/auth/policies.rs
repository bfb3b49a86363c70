//! Policies: what the application lets each stream do, for as long as the stream lives.
//!
//! A grant is not yet a publication: somebody else may have the stream. So a policy waits, under
//! the session that it was granted to, until that publishes; one that never does is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dataplane::control::Protocol;
use dataplane::ids::{SessionId, StreamName};

use crate::coordinator::Policy;
use crate::dialect::PublishOptions;

/// Grants that have not become publications at most; the oldest is forgotten.
const GRANTED_MAX: usize = 4_096;

/// Policies by stream. Lives on: the control thread.
#[derive(Debug, Default)]
pub struct Policies {
    granted: VecDeque<(SessionId, Given)>,
    live: HashMap<StreamName, Given>,
}

/// What a publication was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Given {
    policy: Option<Arc<Policy>>,
    options: PublishOptions,
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

    /// True if the application said that the stream ends when nobody plays it.
    #[must_use]
    pub fn closes_unread(&self, stream: &StreamName) -> bool {
        self.live.get(stream).is_some_and(|given| given.options.closes_unread)
    }

    /// A session may publish, on these terms.
    pub(super) fn granted(
        &mut self,
        session: SessionId,
        policy: Option<Arc<Policy>>,
        options: PublishOptions,
    ) {
        if self.granted.len() >= GRANTED_MAX {
            self.granted.pop_front();
        }
        self.granted.push_back((session, Given { policy, options }));
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
        match newest {
            Some(given) if given == Given::default() => drop(self.live.remove(stream)),
            Some(given) => drop(self.live.insert(stream.clone(), given)),
            None => {}
        }
    }

    /// The stream is over.
    pub fn ended(&mut self, stream: &StreamName) {
        self.live.remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(record: bool) -> Option<Arc<Policy>> {
        Some(Arc::new(Policy { record, ..Policy::default() }))
    }

    #[test]
    fn a_policy_lives_as_long_as_its_stream() {
        let stream = StreamName::parse("news").unwrap();
        let mut policies = Policies::default();
        policies.granted(SessionId(1), policy(true), PublishOptions::default());
        assert_eq!(policies.of(&stream), None, "a grant is no publication yet");
        policies.published(&stream, SessionId(1));
        policies.granted(SessionId(2), policy(false), PublishOptions::default());
        assert!(policies.of(&stream).is_some_and(|policy| policy.record));
        policies.published(&stream, SessionId(9));
        assert!(policies.of(&stream).is_some(), "the demo clip is granted nothing");
        policies.published(&stream, SessionId(2));
        assert!(policies.of(&stream).is_some_and(|policy| !policy.record));
        policies.granted(SessionId(2), policy(true), PublishOptions::default());
        policies.granted(SessionId(2), None, PublishOptions::default());
        policies.published(&stream, SessionId(2));
        assert_eq!(policies.of(&stream), None, "the newest grant says nothing of it");
        policies.granted(SessionId(3), policy(true), PublishOptions::default());
        policies.published(&stream, SessionId(3));
        policies.ended(&stream);
        assert_eq!(policies.of(&stream), None);
    }

    #[test]
    fn grants_that_come_to_nothing_are_forgotten() {
        let mut policies = Policies::default();
        for number in 0..=GRANTED_MAX as u64 {
            policies.granted(SessionId(number), policy(true), PublishOptions::default());
        }
        assert_eq!(policies.granted.len(), GRANTED_MAX);
        let stream = StreamName::parse("news").unwrap();
        policies.published(&stream, SessionId(0));
        assert_eq!(policies.of(&stream), None);
    }
}
