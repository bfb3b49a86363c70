//! Connection caps of the whole process: one small table of atomics that every shard counts in.
//!
//! Shape: totals, and five arrays of counters indexed by a keyed hash of the peer's address. Two
//! addresses that share a counter share its cap; with 65,536 counters and a secret key that costs a
//! stranger nothing he could aim at, and the table needs no lock, no list and no sweep.
//!
//! Lives on: every shard. Crosses by: atomics, when a connection, a play, a wait or a view begins
//! or ends.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::config::{LimitId, Limits};

const COUNTERS: usize = 1 << 16;

/// The process's counters.
#[derive(Debug)]
pub struct Caps {
    hasher: RandomState,
    connections: AtomicU32,
    streams: AtomicU32,
    players: AtomicU32,
    idle: AtomicU32,
    /// Bits a second that all shards owe their players.
    owed_bps: AtomicU64,
    /// Bytes of the receive buffers of inputs.
    input_bytes: AtomicU64,
    by_address: Box<[AtomicU32]>,
    by_prefix: Box<[AtomicU32]>,
    half_open: Box<[AtomicU32]>,
    idle_by_address: Box<[AtomicU32]>,
    viewers: Box<[AtomicU32]>,
}

/// What one connection counts in; given back with [`Caps::leave`].
#[derive(Debug)]
#[must_use]
pub struct Admission {
    address: Option<u32>,
    prefix: u32,
    half_open: bool,
}

/// What the view of one viewer of HLS counts in; given back with [`Caps::leave_viewer`].
#[derive(Debug)]
#[must_use]
pub struct ViewerAdmission(Option<u32>);

impl Default for Caps {
    fn default() -> Self {
        let zeroes = || (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        Self {
            hasher: RandomState::new(),
            connections: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            players: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            owed_bps: AtomicU64::new(0),
            input_bytes: AtomicU64::new(0),
            by_address: zeroes(),
            by_prefix: zeroes(),
            half_open: zeroes(),
            idle_by_address: zeroes(),
            viewers: zeroes(),
        }
    }
}

/// Adds one unless that would pass `max`.
fn take(counter: &AtomicU32, max: u64) -> bool {
    let before = counter.fetch_add(1, Ordering::Relaxed);
    let room = u64::from(before) < max;
    if !room {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    room
}

fn give(counter: &AtomicU32) {
    let before = counter.fetch_sub(1, Ordering::Relaxed);
    debug_assert!(before > 0, "a cap was given back twice");
}

impl Caps {
    /// Counts a connection from `peer`, half open at first.
    ///
    /// # Errors
    /// The limit that has no room; nothing is counted then.
    pub fn enter(&self, peer: IpAddr, limits: &Limits) -> Result<Admission, LimitId> {
        let mut admission = self.enter_unnamed(limits)?;
        if let Err(limit) = self.name(&mut admission, peer, limits) {
            give(&self.connections);
            return Err(limit);
        }
        Ok(admission)
    }

    /// Counts a connection of a balancer: of which client it is comes later.
    ///
    /// # Errors
    /// [`LimitId::ConnectionsMax`].
    pub fn enter_unnamed(&self, limits: &Limits) -> Result<Admission, LimitId> {
        if !take(&self.connections, limits.connections_max) {
            return Err(LimitId::ConnectionsMax);
        }
        Ok(Admission { address: None, prefix: 0, half_open: false })
    }

    /// A connection is `peer`'s from now on: it counts for its address, half open at first, and no
    /// longer for another.
    ///
    /// # Errors
    /// The limit that has no room; only the connection is counted then.
    pub fn name(
        &self,
        admission: &mut Admission,
        peer: IpAddr,
        limits: &Limits,
    ) -> Result<(), LimitId> {
        self.unname(admission);
        if limits.is_exempt(peer) {
            return Ok(());
        }
        let (address, prefix) = self.counters_of(peer);
        let tables = [
            (
                &self.by_address,
                address,
                limits.connections_per_ip_max,
                LimitId::ConnectionsPerIpMax,
            ),
            (
                &self.by_prefix,
                prefix,
                limits.connections_per_prefix_max,
                LimitId::ConnectionsPerPrefixMax,
            ),
            (&self.half_open, address, limits.half_open_per_ip_max, LimitId::HalfOpenPerIpMax),
        ];
        for (taken, (table, at, max, limit)) in tables.iter().enumerate() {
            if !take(&table[*at as usize], *max) {
                for (table, at, ..) in &tables[..taken] {
                    give(&table[*at as usize]);
                }
                return Err(*limit);
            }
        }
        admission.address = Some(address);
        admission.prefix = prefix;
        admission.half_open = true;
        Ok(())
    }

    /// The connection publishes, plays or got an answer: it is no longer half open.
    pub fn established(&self, admission: &mut Admission) {
        if let (true, Some(address)) = (admission.half_open, admission.address) {
            give(&self.half_open[address as usize]);
            admission.half_open = false;
        }
    }

    /// A connection is nobody's any more, or not yet somebody's.
    pub fn unname(&self, admission: &mut Admission) {
        self.established(admission);
        if let Some(address) = admission.address.take() {
            give(&self.by_address[address as usize]);
            give(&self.by_prefix[admission.prefix as usize]);
        }
    }

    /// The connection is closed.
    pub fn leave(&self, mut admission: Admission) {
        self.unname(&mut admission);
        give(&self.connections);
    }

    /// Counts a stream.
    ///
    /// # Errors
    /// [`LimitId::StreamsMax`].
    pub fn enter_stream(&self, limits: &Limits) -> Result<(), LimitId> {
        take(&self.streams, limits.streams_max).then_some(()).ok_or(LimitId::StreamsMax)
    }

    /// A stream is over.
    pub fn leave_stream(&self) {
        give(&self.streams);
    }

    /// Counts the receive buffer of an input.
    ///
    /// # Errors
    /// [`LimitId::InputBufferBytesMax`]; nothing is counted then.
    pub fn enter_input(&self, bytes: u64, limits: &Limits) -> Result<(), LimitId> {
        let before = self.input_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > limits.input_buffer_bytes_max {
            self.leave_input(bytes);
            return Err(LimitId::InputBufferBytesMax);
        }
        Ok(())
    }

    /// The receive buffer of an input is given back.
    pub fn leave_input(&self, bytes: u64) {
        let before = self.input_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "a buffer was given back twice");
    }

    /// Counts a player.
    ///
    /// # Errors
    /// [`LimitId::PlayersMax`].
    pub fn enter_player(&self, limits: &Limits) -> Result<(), LimitId> {
        take(&self.players, limits.players_max).then_some(()).ok_or(LimitId::PlayersMax)
    }

    /// True if one more player would find room now; nothing is counted.
    pub fn has_player_room(&self, limits: &Limits) -> bool {
        u64::from(self.players.load(Ordering::Relaxed)) < limits.players_max
    }

    /// Counts a player that waits for its stream, of a connection with this admission.
    ///
    /// # Errors
    /// The limit that has no room; nothing is counted then.
    pub fn enter_idle(&self, admission: &Admission, limits: &Limits) -> Result<(), LimitId> {
        if !take(&self.idle, limits.idle_players_max) {
            return Err(LimitId::IdlePlayersMax);
        }
        if let Some(address) = admission.address
            && !take(&self.idle_by_address[address as usize], limits.idle_players_per_ip_max)
        {
            give(&self.idle);
            return Err(LimitId::IdlePlayersPerIpMax);
        }
        Ok(())
    }

    /// A player waits no longer.
    pub fn leave_idle(&self, admission: &Admission) {
        if let Some(address) = admission.address {
            give(&self.idle_by_address[address as usize]);
        }
        give(&self.idle);
    }

    /// True if anybody waits for a stream.
    pub fn has_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > 0
    }

    /// Counts one that played before, whatever the limit.
    pub fn return_player(&self) {
        self.players.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a player is owed from now on.
    ///
    /// # Errors
    /// [`LimitId::EgressBpsMax`]; nothing is counted then.
    pub fn owe(&self, bps: u64, limits: &Limits) -> Result<(), LimitId> {
        let before = self.owed_bps.fetch_add(bps, Ordering::Relaxed);
        if before.saturating_add(bps) > limits.egress_bps_max {
            self.owed_bps.fetch_sub(bps, Ordering::Relaxed);
            return Err(LimitId::EgressBpsMax);
        }
        Ok(())
    }

    /// What a shard owes was found to be `now`, not `before`, which it had counted.
    pub fn correct_owed(&self, before: u64, now: u64) {
        if now >= before {
            self.owed_bps.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.owed_bps.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// What `limits` leave to the whole node: connections, players, and bits a second for them.
    pub fn room(&self, limits: &Limits) -> [(LimitId, u64); 3] {
        let left = |max: u64, used: &AtomicU32| {
            max.saturating_sub(u64::from(used.load(Ordering::Relaxed)))
        };
        let owed = self.owed_bps.load(Ordering::Relaxed);
        [
            (LimitId::ConnectionsMax, left(limits.connections_max, &self.connections)),
            (LimitId::PlayersMax, left(limits.players_max, &self.players)),
            (LimitId::EgressBpsMax, limits.egress_bps_max.saturating_sub(owed)),
        ]
    }

    /// A player is gone.
    pub fn leave_player(&self) {
        give(&self.players);
    }

    /// Counts a viewer of HLS that begins to view, for the address of its client if that is known.
    ///
    /// # Errors
    /// [`LimitId::HlsViewersPerIpMax`]; nothing is counted then.
    pub fn enter_viewer(
        &self,
        client: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<ViewerAdmission, LimitId> {
        let Some(peer) = client.filter(|&peer| !limits.is_exempt(peer)) else {
            return Ok(ViewerAdmission(None));
        };
        let (address, _) = self.counters_of(peer);
        if !take(&self.viewers[address as usize], limits.hls_viewers_per_ip_max) {
            return Err(LimitId::HlsViewersPerIpMax);
        }
        Ok(ViewerAdmission(Some(address)))
    }

    /// The view is over.
    pub fn leave_viewer(&self, admission: ViewerAdmission) {
        if let ViewerAdmission(Some(address)) = admission {
            give(&self.viewers[address as usize]);
        }
    }

    /// The address counts as IPv4 /32 or IPv6 /64, its prefix as IPv4 /24 or IPv6 /56.
    fn counters_of(&self, peer: IpAddr) -> (u32, u32) {
        let (address, prefix) = match peer.to_canonical() {
            IpAddr::V4(v4) => {
                let bits = u64::from(v4.to_bits());
                ((4, bits), (24, bits >> 8))
            }
            IpAddr::V6(v6) => {
                let bits = (v6.to_bits() >> 64) as u64;
                ((6, bits), (56, bits >> 8))
            }
        };
        let at = |key: (u8, u64)| (self.hasher.hash_one(key) as usize % COUNTERS) as u32;
        (at(address), at(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict() -> Limits {
        let mut limits = Limits { exempt: vec![], ..Limits::default() };
        limits.connections_per_ip_max = 3;
        limits.connections_per_prefix_max = 4;
        limits.half_open_per_ip_max = 2;
        limits.connections_max = 5;
        limits
    }

    #[test]
    fn each_cap_refuses_by_its_name_and_counts_nothing_then() {
        let (caps, limits) = (Caps::default(), strict());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut a = caps.enter(one, &limits).unwrap();
        let b = caps.enter(one, &limits).unwrap();
        assert_eq!(caps.enter(one, &limits).unwrap_err(), LimitId::HalfOpenPerIpMax);
        caps.established(&mut a);
        let c = caps.enter(one, &limits).unwrap();
        assert_eq!(caps.enter(one, &limits).unwrap_err(), LimitId::ConnectionsPerIpMax);
        let d = caps.enter("192.0.2.2".parse().unwrap(), &limits).unwrap();
        let third = "192.0.2.3".parse().unwrap();
        assert_eq!(caps.enter(third, &limits).unwrap_err(), LimitId::ConnectionsPerPrefixMax);
        let e = caps.enter("198.51.100.1".parse().unwrap(), &limits).unwrap();
        let f = caps.enter("203.0.113.1".parse().unwrap(), &limits);
        assert_eq!(f.unwrap_err(), LimitId::ConnectionsMax);
        for admission in [a, b, c, d, e] {
            caps.leave(admission);
        }
        let all = caps.by_address.iter().chain(&caps.by_prefix).chain(&caps.half_open);
        assert_eq!(all.map(|n| n.load(Ordering::Relaxed)).sum::<u32>(), 0);
        assert_eq!(caps.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_players_are_owed_is_bounded_and_corrected() {
        let mut limits = strict();
        limits.egress_bps_max = 1_000;
        let caps = Caps::default();
        let left = || caps.room(&limits)[2].1;
        caps.owe(700, &limits).unwrap();
        assert_eq!(caps.owe(301, &limits), Err(LimitId::EgressBpsMax));
        caps.owe(300, &limits).unwrap();
        assert_eq!(left(), 0);
        // Bit rates rise whatever the limit.
        caps.correct_owed(1_000, 1_400);
        assert_eq!(caps.owe(1, &limits), Err(LimitId::EgressBpsMax));
        caps.correct_owed(1_400, 150);
        assert_eq!(left(), 850);
        caps.enter_player(&limits).unwrap();
        caps.return_player();
        assert_eq!(caps.room(&limits)[1].1, limits.players_max - 2);
    }

    #[test]
    fn those_who_wait_are_bounded_by_address_and_in_all() {
        let mut limits = strict();
        (limits.idle_players_max, limits.idle_players_per_ip_max) = (3, 2);
        limits.exempt = crate::config::AddrRange::loopback();
        let caps = Caps::default();
        let enter = |peer: &str| caps.enter(peer.parse().unwrap(), &limits).unwrap();
        let (one, other, exempt) = (enter("192.0.2.1"), enter("192.0.2.2"), enter("127.0.0.1"));
        caps.enter_idle(&one, &limits).unwrap();
        caps.enter_idle(&one, &limits).unwrap();
        assert_eq!(caps.enter_idle(&one, &limits), Err(LimitId::IdlePlayersPerIpMax));
        caps.enter_idle(&other, &limits).unwrap();
        assert_eq!(caps.enter_idle(&exempt, &limits), Err(LimitId::IdlePlayersMax));
        caps.leave_idle(&one);
        caps.enter_idle(&exempt, &limits).unwrap();
        for admission in [&one, &other, &exempt] {
            caps.leave_idle(admission);
        }
        assert!(!caps.has_idle());
        caps.enter_idle(&one, &limits).unwrap();
        caps.enter_idle(&one, &limits).unwrap();
    }

    #[test]
    fn viewers_of_an_address_are_bounded_and_exempt_ones_are_not() {
        let caps = Caps::default();
        let limits = Limits { hls_viewers_per_ip_max: 2, ..strict() };
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let [a, b] = [(); 2].map(|()| caps.enter_viewer(Some(one), &limits).unwrap());
        assert_eq!(caps.enter_viewer(Some(one), &limits).unwrap_err(), LimitId::HlsViewersPerIpMax);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(caps.enter_viewer(Some(mapped), &limits).is_err(), "it is the same address");
        let other = caps.enter_viewer("192.0.2.2".parse().ok(), &limits).unwrap();
        caps.leave_viewer(a);
        let again = caps.enter_viewer(Some(one), &limits).unwrap();
        for _ in 0..9 {
            let nobody = caps.enter_viewer(None, &limits).unwrap();
            caps.leave_viewer(nobody);
        }
        let exempt =
            Limits { exempt: vec![crate::config::AddrRange { addr: one, bits: 24 }], ..limits };
        for _ in 0..9 {
            let admission = caps.enter_viewer(Some(one), &exempt).unwrap();
            assert!(admission.0.is_none());
            // What was exempt when it came is given back as that.
            caps.leave_viewer(admission);
        }
        [b, other, again].into_iter().for_each(|admission| caps.leave_viewer(admission));
        assert_eq!(caps.viewers.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u32>(), 0);
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        let (caps, limits) = (Caps::default(), strict());
        let _a = caps.enter("2001:db8::1".parse().unwrap(), &limits).unwrap();
        let _b = caps.enter("2001:db8::2".parse().unwrap(), &limits).unwrap();
        let third = caps.enter("2001:db8::3".parse().unwrap(), &limits);
        assert_eq!(third.unwrap_err(), LimitId::HalfOpenPerIpMax);
    }

    #[test]
    fn clients_of_a_balancer_count_once_they_are_named() {
        let (caps, limits) = (Caps::default(), strict());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut unnamed: Vec<_> = (0..4).map(|_| caps.enter_unnamed(&limits).unwrap()).collect();
        caps.name(&mut unnamed[0], one, &limits).unwrap();
        // Again and again it is one connection of one client.
        for _ in 0..9 {
            caps.name(&mut unnamed[1], one, &limits).unwrap();
        }
        let third = caps.name(&mut unnamed[2], one, &limits);
        assert_eq!(third, Err(LimitId::HalfOpenPerIpMax));
        unnamed.into_iter().for_each(|admission| caps.leave(admission));
        let all = caps.by_address.iter().chain(&caps.by_prefix).chain(&caps.half_open);
        assert_eq!(all.map(|n| n.load(Ordering::Relaxed)).sum::<u32>(), 0);
        assert_eq!(caps.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn exempt_ranges_count_only_as_connections() {
        let caps = Caps::default();
        let limits = Limits { exempt: crate::config::AddrRange::loopback(), ..strict() };
        let all: Vec<_> =
            (0..5).map(|_| caps.enter("127.0.0.1".parse().unwrap(), &limits).unwrap()).collect();
        assert_eq!(
            caps.enter("127.0.0.1".parse().unwrap(), &limits).unwrap_err(),
            LimitId::ConnectionsMax
        );
        all.into_iter().for_each(|a| caps.leave(a));
    }
}
