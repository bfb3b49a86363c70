//! Quota: how many may play the streams that share it, counted over all shards to the player.
//!
//! The control plane makes one for each stream and each tenant that has quotas, and gives those of
//! a stream to every shard; each value is one and the same there, so that two shards which let
//! somebody in at the same moment count in the same place. It changes what may be while players
//! come and go.
//!
//! Lives on: every shard and the control plane. Crosses by: atomics, when somebody begins to play
//! or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// One quota.
#[derive(Debug)]
pub struct Quota {
    players: AtomicU32,
    players_max: AtomicU32,
    spent: AtomicBool,
    refused: AtomicU64,
}

/// The quotas that whoever plays a stream counts in.
#[derive(Clone, Debug, Default)]
pub struct StreamQuotas {
    /// That of the stream.
    pub own: Option<Arc<Quota>>,
    /// That of its tenant, in which the players of all its streams count.
    pub tenant: Option<Arc<Quota>>,
}

/// A player's place in the quotas of its stream, free again when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct QuotaPlace([Option<Arc<Quota>>; 2]);

impl Default for Quota {
    /// As many as like.
    fn default() -> Self {
        Self {
            players: AtomicU32::new(0),
            players_max: AtomicU32::new(u32::MAX),
            spent: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }
}

impl Quota {
    /// From now on so many may play; whoever plays goes on.
    pub fn set_players_max(&self, players_max: u32) {
        self.players_max.store(players_max, Ordering::Relaxed);
    }

    /// Nothing of it is left, or something is again: also for whoever is not told apart, and so is
    /// no player that is counted.
    pub fn set_spent(&self, spent: bool) {
        self.spent.store(spent, Ordering::Relaxed);
    }

    /// Who plays.
    #[must_use]
    pub fn players(&self) -> u32 {
        self.players.load(Ordering::Relaxed)
    }

    /// Players that found no place.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts one player more; false if there is no place, which is counted.
    fn count(&self) -> bool {
        let max = self.players_max.load(Ordering::Relaxed);
        let one_more = |players| if players < max { Some(players + 1) } else { None };
        let counted = self.players.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if counted.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        counted.is_ok()
    }
}

impl From<Arc<Quota>> for StreamQuotas {
    /// Those of a stream of nobody.
    fn from(own: Arc<Quota>) -> Self {
        Self { own: Some(own), tenant: None }
    }
}

impl StreamQuotas {
    /// A place for one player more; `None` if one of the quotas has none.
    #[must_use]
    pub fn enter(&self) -> Option<QuotaPlace> {
        let mut place = QuotaPlace([None, None]);
        for (held, quota) in place.0.iter_mut().zip([&self.own, &self.tenant]) {
            // A place that was found before this one is free again.
            if quota.as_ref().is_some_and(|quota| !quota.count()) {
                return None;
            }
            held.clone_from(quota);
        }
        Some(place)
    }

    /// True if nothing is left for whoever is not told apart.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let quotas = [&self.own, &self.tenant];
        quotas.into_iter().flatten().any(|quota| quota.spent.load(Ordering::Relaxed))
    }
}

impl Drop for QuotaPlace {
    fn drop(&mut self) {
        for quota in self.0.iter().flatten() {
            quota.players.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_exact_whoever_asks_at_the_same_time() {
        let quota = Arc::new(Quota::default());
        quota.set_players_max(100);
        let quotas = StreamQuotas::from(Arc::clone(&quota));
        let ask = |quotas: StreamQuotas| {
            std::thread::spawn(move || (0..80).filter_map(|_| quotas.enter()).collect::<Vec<_>>())
        };
        let threads = [(); 4].map(|()| ask(quotas.clone()));
        let mut places: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!((places.len(), quota.players(), quota.refused()), (100, 100, 220));
        // Fewer may play: nobody is sent away, and nobody comes until enough have left.
        quota.set_players_max(10);
        assert!(quotas.enter().is_none());
        places.truncate(9);
        let tenth = quotas.enter();
        assert!(tenth.is_some() && quotas.enter().is_none());
        drop((places, tenth));
        assert_eq!(quota.players(), 0);
        quota.set_players_max(0);
        assert!(quotas.enter().is_none());
    }

    #[test]
    fn a_player_counts_in_both_quotas_or_in_none() {
        let [one, other, tenant] = [(); 3].map(|()| Arc::new(Quota::default()));
        let of = |own: &Arc<Quota>| StreamQuotas {
            own: Some(Arc::clone(own)),
            tenant: Some(Arc::clone(&tenant)),
        };
        tenant.set_players_max(2);
        other.set_players_max(1);
        let first = of(&one).enter().unwrap();
        let second = of(&other).enter().unwrap();
        assert!(of(&other).enter().is_none() && of(&one).enter().is_none());
        assert_eq!((one.players(), other.players(), tenant.players()), (1, 1, 2));
        assert_eq!((one.refused(), other.refused(), tenant.refused()), (0, 1, 1));
        drop(first);
        assert_eq!((one.players(), tenant.players()), (0, 1));
        let alone = StreamQuotas { own: None, tenant: Some(Arc::clone(&tenant)) };
        let third = alone.enter();
        assert!(third.is_some() && of(&one).enter().is_none());
        drop((second, third));
        assert_eq!((one.players(), other.players(), tenant.players()), (0, 0, 0));
        assert!(!of(&one).is_spent());
        tenant.set_spent(true);
        assert!(of(&one).is_spent() && !StreamQuotas::from(one).is_spent());
    }
}
