//! Roll: the sessions that the shards told of, in the order of their numbers.
//!
//! Each shard's are put into that order when somebody first needs them, a shard at a time, so that
//! no reader of a long list holds up the control thread; whoever reads the next page finds them so.

use std::array;
use std::cmp::Reverse;
use std::sync::OnceLock;

use dataplane::control::SessionStatus;
use dataplane::ids::{SHARDS_MAX, SessionId};

use super::gathered::Gathered;

/// The places of each shard's sessions among its answer, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Roll([OnceLock<Vec<u32>>; SHARDS_MAX]);

impl Default for Roll {
    fn default() -> Self {
        Self(array::from_fn(|_| OnceLock::new()))
    }
}

/// Sessions in the order of their numbers. One that moved while shards were asked is told of by
/// two: the word of it that has seen more counts.
pub(crate) struct Called<'a> {
    /// What is left of each shard's.
    left: Vec<(&'a [SessionStatus], &'a [u32])>,
}

impl Gathered {
    /// Puts the sessions of the answer number `at` into their order, unless that was done.
    pub(crate) fn call(&self, at: usize) -> (&[SessionStatus], &[u32]) {
        let (Some(snapshot), Some(places)) = (self.snapshots.get(at), self.roll.0.get(at)) else {
            return (&[], &[]);
        };
        let sessions = &snapshot.sessions;
        let places = places.get_or_init(|| {
            let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
            let mut places: Vec<_> = (0..count).collect();
            places.sort_unstable_by_key(|&at| sessions[at as usize].id);
            places
        });
        (sessions, places)
    }

    /// The sessions from `from` on.
    pub(crate) fn sessions_from(&self, from: SessionId) -> Called<'_> {
        let left = (0..self.snapshots.len()).map(|at| {
            let (sessions, places) = self.call(at);
            let before = places.partition_point(|&at| sessions[at as usize].id < from);
            (sessions, &places[before..])
        });
        Called { left: left.collect() }
    }

    /// What was told of a session.
    pub(crate) fn session(&self, id: SessionId) -> Option<&SessionStatus> {
        self.sessions_from(id).next().filter(|status| status.id == id)
    }
}

impl<'a> Iterator for Called<'a> {
    type Item = &'a SessionStatus;

    fn next(&mut self) -> Option<&'a SessionStatus> {
        let head = |(sessions, places): &(&'a [SessionStatus], &'a [u32])| {
            places.first().map(|&at| &sessions[at as usize])
        };
        let first = self.left.iter().filter_map(head).map(|status| status.id).min()?;
        let mut told: Option<&SessionStatus> = None;
        for shard in &mut self.left {
            while let Some(status) = head(shard).filter(|status| status.id == first) {
                told = told
                    .into_iter()
                    .chain([status])
                    .min_by_key(|status| Reverse(status.bytes_in.saturating_add(status.bytes_out)));
                shard.1 = &shard.1[1..];
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use dataplane::control::Protocol;
    use dataplane::ids::ShardId;

    use super::super::snapshots::empty;

    fn status(id: u64, bytes_in: u64) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol: Protocol::Rtmp,
            role: None,
            stream: None,
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            tls: None,
            state: "connected",
            age_ms: 0,
            started: None,
            bytes_in,
            bytes_out: 0,
            jumps: 0,
            srt: None,
        }
    }

    #[test]
    fn sessions_of_all_shards_come_in_one_order_and_each_once() {
        let shard = |shard, ids: &[(u64, u64)]| {
            let mut snapshot = empty(ShardId(shard), 0);
            snapshot.sessions = ids.iter().map(|&(id, bytes)| status(id, bytes)).collect();
            snapshot
        };
        let snapshots = vec![
            shard(0, &[(7, 1), (2, 1), (9, 5)]),
            shard(1, &[]),
            shard(2, &[(9, 4), (1 << 47, 1), (3, 1), (2, 8)]),
        ];
        let gathered = Gathered { snapshots, ..Gathered::default() };
        let from = |id| {
            let called = gathered.sessions_from(SessionId(id));
            called.map(|status| (status.id.0, status.bytes_in)).collect::<Vec<_>>()
        };
        assert_eq!(from(0), [(2, 8), (3, 1), (7, 1), (9, 5), (1 << 47, 1)]);
        assert_eq!(from(7), [(7, 1), (9, 5), (1 << 47, 1)]);
        assert_eq!(from(u64::MAX), []);
        assert_eq!(gathered.session(SessionId(3)).map(|status| status.bytes_in), Some(1));
        assert!(gathered.session(SessionId(4)).is_none());
    }
}
