//! Arrivals: who may come at all, and what is told of those who may not.
//!
//! ```text
//!   accept, or the head of a balancer -> exempt? -> RTMP: penalty? -> rate of the address, prefix
//!   question of publish or play       -> exempt? -> penalty?
//! ```
//!
//! Whoever publishes, plays or views already goes on whatever becomes of its address. That somebody
//! views is said by a token of his requests, which may come over connections of their own: so a
//! listener of HTTP lets everybody in, and refuses when something is asked. A penalty of a prefix
//! is one of many: it is for publishers and whoever shows a key alone, and nobody is refused what
//! everybody may have for what is around him. Those who are
//! turned away are summed by range and reason, and the control plane is told once in a while.
//!
//! Limits: [`TURNED_MAX`] sums at one time; those of further ranges are one sum for each reason.

use std::net::IpAddr;
use std::time::Instant;

use super::shard::Shard;
use crate::config::{AddrRange, LimitId, Limits, ListenerNumber};
use crate::control::{Event, Intent, Turn, Turned};
use crate::rates::{Buckets, address_of, prefix_of};
use crate::session::Credentials;

/// Buckets of addresses, and as many of prefixes.
const BUCKETS: usize = 1 << 15;
/// Sums that are kept until they are told.
const TURNED_MAX: usize = 32;
/// Sums of further ranges: one for each reason.
const OTHERS_MAX: usize = 4;

/// How often everybody connected lately. Lives on: every shard. Crosses by: atomics.
#[derive(Debug)]
pub(crate) struct ConnectRates {
    by_address: Buckets,
    by_prefix: Buckets,
}

impl ConnectRates {
    /// Bytes of both tables.
    pub(crate) const BYTES: usize = 2 * BUCKETS * size_of::<u64>();
}

impl Default for ConnectRates {
    fn default() -> Self {
        Self { by_address: Buckets::new(BUCKETS), by_prefix: Buckets::new(BUCKETS) }
    }
}

impl ConnectRates {
    /// Takes what one connection of `peer` needs.
    ///
    /// # Errors
    /// Which rate has no room, and the limit that it follows from.
    pub(super) fn take(
        &self,
        peer: IpAddr,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), (Turn, LimitId)> {
        let Self { by_address, by_prefix } = self;
        if by_address.take(address_of(peer), limits.connects_per_ip(), now).is_err() {
            Err((Turn::Rate, LimitId::ConnectsPerIpMax))
        } else if by_prefix.take(prefix_of(peer), limits.connects_per_prefix(), now).is_err() {
            Err((Turn::PrefixRate, LimitId::ConnectsPerPrefixMax))
        } else {
            Ok(())
        }
    }
}

/// Who was turned away since it was told last. Lives on: its shard. Crosses by: an event.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Vec<Turned>);

impl TurnedAway {
    /// Somebody was turned away.
    pub(super) fn note(&mut self, peer: IpAddr, listener: ListenerNumber, why: Turn) {
        let whose = match why {
            Turn::PrefixRate => prefix_of(peer),
            Turn::Penalty | Turn::Rate | Turn::Malformed => address_of(peer),
        };
        if !self.add(Some(whose), listener, why, TURNED_MAX) {
            let _ = self.add(None, ListenerNumber(0), why, TURNED_MAX + OTHERS_MAX);
        }
    }

    /// False if it is a new sum, for which there is no room.
    fn add(
        &mut self,
        whose: Option<AddrRange>,
        listener: ListenerNumber,
        why: Turn,
        room: usize,
    ) -> bool {
        let same = (whose, listener, why);
        let is_same = |sum: &Turned| (sum.whose, sum.listener, sum.why) == same;
        match self.0.iter().position(is_same) {
            Some(at) => self.0[at].count += 1,
            None if self.0.len() < room => {
                self.0.push(Turned { whose, listener, why, count: 1 });
            }
            None => return false,
        }
        true
    }
}

impl Shard {
    /// Whether somebody may connect; why not is counted, and told in time.
    pub(super) fn knock(
        &mut self,
        peer: IpAddr,
        listener: ListenerNumber,
        is_http: bool,
    ) -> Result<(), Turn> {
        let limits = &self.config.limits;
        if limits.is_exempt(peer) {
            return Ok(());
        }
        if !is_http && self.has_penalty(peer, listener, false) {
            return Err(Turn::Penalty);
        }
        let taken = self.shared.connects.take(peer, &self.config.limits, self.now);
        let Err((why, limit)) = taken else { return Ok(()) };
        self.counters.limit(limit);
        self.turned_away.note(peer, listener, why);
        Err(why)
    }

    /// True if whoever asks something over a connection has a penalty. A proxy that tells of nobody
    /// has none: it stands for many.
    pub(super) fn is_penalised(&mut self, slot: u32, may_guess: bool) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let listener = connection.listener;
        self.client_of(slot).is_some_and(|peer| self.has_penalty(peer, listener, may_guess))
    }

    /// True if `peer` has a penalty, or if it `may_guess` what is around it; that is counted, and
    /// told in time.
    fn has_penalty(&mut self, peer: IpAddr, listener: ListenerNumber, may_guess: bool) -> bool {
        let (penalties, limits) = (&self.shared.penalties, &self.config.limits);
        let left = match may_guess {
            true => penalties.left(peer, self.now),
            false => penalties.left_of(&address_of(peer), self.now),
        };
        if left.is_none() || limits.is_exempt(peer) {
            return false;
        }
        self.counters.penalties_enforced += 1;
        self.turned_away.note(peer, listener, Turn::Penalty);
        true
    }

    /// Tells of those who were turned away; later, if there is no room.
    pub(super) fn tell_turned_away(&mut self) {
        if self.turned_away.0.is_empty() {
            return;
        }
        let told = std::mem::take(&mut self.turned_away.0).into_boxed_slice();
        if let Err(Event::TurnedAway(told)) = self.control.send(Event::TurnedAway(told)) {
            self.turned_away.0 = told.into_vec();
        }
    }
}

/// True if the question may be a guess: a penalty of many is for those alone.
pub(super) fn may_guess(intent: Intent, credentials: &Credentials) -> bool {
    intent == Intent::Publish
        || [&credentials.key, &credentials.login].iter().any(|s| !s.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_is_told_in_few_sums() {
        let (mut turned, listener) = (TurnedAway::default(), ListenerNumber(2));
        let of = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..1_000 {
            turned.note(of(n), listener, Turn::Rate);
            turned.note(of(n), listener, Turn::Malformed);
            turned.note(of(7), listener, Turn::Rate);
        }
        assert!(turned.0.len() <= TURNED_MAX + OTHERS_MAX, "{}", turned.0.len());
        assert_eq!(turned.0.iter().map(|sum| sum.count).sum::<u64>(), 3_000);
        let loud = turned.0.iter().find(|sum| sum.whose == Some(address_of(of(7))));
        assert_eq!(loud.map(|sum| (sum.why, sum.count)), Some((Turn::Rate, 1_001)));
        let others = turned.0.iter().filter(|sum| sum.whose.is_none());
        assert_eq!(others.clone().map(|sum| sum.count).sum::<u64>(), 1_968);
        assert_eq!(others.count(), 2);
        // What is around an address is told as that.
        let mut turned = TurnedAway::default();
        for n in 0..200 {
            turned.note(of(n), listener, Turn::PrefixRate);
        }
        assert_eq!(turned.0.len(), 1);
        assert_eq!(turned.0[0].whose.map(|range| range.to_string()).as_deref(), Some("0.0.0.0/24"));
    }
}
