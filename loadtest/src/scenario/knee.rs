//! How many players hold: grow until they do not, then search between.

use anyhow::Result;
use serde::Serialize;

use super::performance::Outcome;
use super::plan::{Audience, KneePlan};
use super::verdict::breaches;
use crate::measurement::{SETTLE_NS, Step, measure};
use crate::observe::ServerProcess;
use crate::run::{News, Run, Stage};

/// Steps that a search has at most; halving ends it far earlier.
const STEPS_MAX: usize = 64;

/// The most players that hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Knee {
    /// Players that held; 0 if none did.
    pub players: usize,
    /// The fewest that did not.
    pub broke_at: Option<usize>,
    /// What broke then.
    pub broke_by: Vec<String>,
    /// The p99 latency that still holds; `None` if latency and loss were not judged.
    pub p99_max_ms: Option<f64>,
    /// All that was tried, in this order.
    pub steps: Vec<KneeStep>,
}

/// A number of players that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KneeStep {
    /// The number.
    pub players: usize,
    /// Those that played at the end.
    pub held: usize,
    /// What broke; nothing if they held.
    pub breaches: Vec<String>,
}

/// The numbers that are known to hold and to break.
struct Search {
    plan: KneePlan,
    holds: usize,
    breaks: Option<usize>,
    /// How many were held when others were refused.
    room: Option<usize>,
}

impl Search {
    /// What to try next; `None` if the knee is known exactly enough.
    fn next(&self) -> Option<usize> {
        let KneePlan { players_max, grow, precision, .. } = self.plan;
        let Some(breaks) = self.breaks else {
            let more = ((self.holds as f64 * grow) as usize).max(1);
            return (self.holds < players_max).then(|| players_max.min(self.holds + more));
        };
        let exact = ((breaks as f64 * precision) as usize).max(1);
        if breaks - self.holds <= exact {
            return None;
        }
        let middle = self.holds + (breaks - self.holds) / 2;
        match self.room {
            // A server that refuses tells how many it has room for: as many as are known to hold.
            Some(held) if held <= self.holds + exact => None,
            Some(held) if held < breaks => Some(held),
            _ => Some(middle),
        }
    }
}

/// Searches; what was found until it fails stays in the outcome.
pub(super) fn find(
    run: &mut Run<'_>,
    audience: &Audience,
    plan: KneePlan,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut search = Search { plan, holds: 0, breaks: None, room: None };
    let p99_max_ms = plan.p99_max_ns.map(|limit_ns| limit_ns as f64 / 1e6);
    let knee = outcome.knee.insert(Knee { p99_max_ms, ..Knee::default() });
    let mut next = Some(plan.players_min);
    while let Some(players) = next.filter(|_| knee.steps.len() < STEPS_MAX && !run.is_stopped()) {
        run.tell(News::Said(&format!("trying {players} players")));
        let Audience { ramp_per_s, window_ns, ref parts, .. } = *audience;
        let step = Step { players, ramp_per_s, window_ns };
        let of = measure(run, step, parts, server, None)?;
        if run.is_stopped() {
            // A step that was cut short proves nothing.
            break;
        }
        let found = breaches(&of, parts, plan.p99_max_ns);
        knee.steps.push(KneeStep { players, held: of.held, breaches: found.clone() });
        if of.refused > 0 {
            search.room = Some(of.held);
        }
        outcome.measurements.push(of);
        if found.is_empty() {
            search.holds = players;
            knee.players = players;
        } else {
            search.breaks = Some(players);
            (knee.broke_at, knee.broke_by) = (Some(players), found);
            run.tell(News::Said(&format!("{players} players do not hold: {}", knee.broke_by[0])));
            run.crowd().resize(search.holds, ramp_per_s)?;
            // What broke passes before the next step.
            run.watch(Stage::Settling, 2 * SETTLE_NS)?;
        }
        next = search.next();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches for a knee that is known; tells what was tried.
    fn searched(truth: usize, refuses: bool) -> (usize, Vec<usize>) {
        let plan = KneePlan {
            players_min: 100,
            players_max: 10_000,
            grow: 0.5,
            precision: 0.05,
            p99_max_ns: Some(1),
        };
        let mut search = Search { plan, holds: 0, breaks: None, room: None };
        let mut tried = vec![plan.players_min];
        loop {
            let players = *tried.last().unwrap();
            let holds = players <= truth;
            if holds {
                search.holds = players;
            } else {
                search.breaks = Some(players);
                search.room = refuses.then_some(truth);
            }
            match search.next() {
                Some(next) => tried.push(next),
                None => return (search.holds, tried),
            }
        }
    }

    #[test]
    fn the_knee_is_found_between_what_holds_and_what_breaks() {
        for truth in [1, 7, 99, 100, 101, 777, 4321, 9999] {
            let (found, tried) = searched(truth, false);
            assert!(found <= truth && truth - found <= (truth / 18).max(1), "{truth}: {tried:?}");
            assert!(tried.len() < 24, "{truth}: {tried:?}");
        }
        assert_eq!(searched(20_000, false).0, 10_000, "no further than allowed");
        assert_eq!(searched(0, false).0, 0);
    }

    #[test]
    fn a_refusal_tells_the_way() {
        let (found, tried) = searched(4321, true);
        assert_eq!(found, 4321);
        assert!(tried.len() < searched(4321, false).1.len(), "{tried:?}");
    }
}
