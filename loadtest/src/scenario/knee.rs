//! How many players hold: grow until they do not, then search between.

use anyhow::Result;
use serde::Serialize;

use super::performance::Outcome;
use super::plan::{Audience, KneePlan};
use super::verdict::{breaches, is_servers, own_lateness};
use crate::measurement::{SETTLE_NS, Step, measure};
use crate::observe::ServerProcess;
use crate::publisher::PublishSummary;
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
    /// The fewest of which it is unknown, because this generator was too late to judge them; fewer
    /// than those that broke the server, if some did.
    pub unknown_at: Option<usize>,
    /// How late it was.
    pub unknown_by: Option<String>,
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
    /// What became of it.
    pub verdict: StepVerdict,
    /// What broke; nothing if they held.
    pub breaches: Vec<String>,
    /// No lateness of this generator can be why it broke.
    #[serde(skip)]
    is_servers: bool,
}

/// What became of a number of players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepVerdict {
    /// They held.
    Holds,
    /// They did not.
    Breaks,
    /// They did not, and this generator was so late itself that it may be why.
    Unknown,
}

impl Knee {
    /// Takes a number of players that was tried; `late` tells how late this generator was itself.
    fn take(&mut self, mut step: KneeStep, late: Option<String>) {
        if step.verdict == StepVerdict::Breaks {
            match late.filter(|_| !step.is_servers) {
                Some(late) => {
                    step.verdict = StepVerdict::Unknown;
                    (self.unknown_at, self.unknown_by) = (Some(step.players), Some(late));
                }
                None => {
                    self.broke_at = Some(step.players);
                    self.broke_by.clone_from(&step.breaches);
                    // Those were more.
                    (self.unknown_at, self.unknown_by) = (None, None);
                }
            }
        } else {
            self.players = step.players;
        }
        self.steps.push(step);
    }

    /// Takes back what broke if all that was published came too late, which is known at the end.
    pub(super) fn judge_publishers(&mut self, published: &PublishSummary) {
        let late = own_lateness("publishers", published.lateness, self.p99_max_ms);
        let Some(late) = late else { return };
        let steps = std::mem::take(&mut self.steps);
        let p99_max_ms = self.p99_max_ms;
        *self = Self { p99_max_ms, ..Self::default() };
        for step in steps {
            let is_unknown = step.verdict == StepVerdict::Unknown;
            let verdict = if is_unknown { StepVerdict::Breaks } else { step.verdict };
            self.take(KneeStep { verdict, ..step }, Some(late.clone()));
        }
    }
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
        let verdict = if found.is_empty() { StepVerdict::Holds } else { StepVerdict::Breaks };
        let late = own_lateness("sweeps", of.generator.sweep_late, p99_max_ms);
        let (held, is_servers) = (of.held, is_servers(&of));
        knee.take(KneeStep { players, held, verdict, breaches: found, is_servers }, late);
        if of.refused > 0 {
            search.room = Some(of.held);
        }
        outcome.measurements.push(of);
        if verdict == StepVerdict::Holds {
            search.holds = players;
        } else {
            // More players make this generator no faster.
            search.breaks = Some(players);
            let why = match &knee.unknown_by {
                Some(late) => format!("{players} players cannot be judged: {late}"),
                None => format!("{players} players do not hold: {}", knee.broke_by[0]),
            };
            run.tell(News::Said(&why));
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
    use serde_json::Value;

    use super::*;
    use crate::publisher::PublishTotals;
    use crate::stats::{Histogram, Percentiles};

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

    fn step(players: usize, breach: Option<&str>, is_servers: bool) -> KneeStep {
        let verdict = if breach.is_some() { StepVerdict::Breaks } else { StepVerdict::Holds };
        let breaches = breach.map(str::to_owned).into_iter().collect();
        KneeStep { players, held: players, verdict, breaches, is_servers }
    }

    fn percentiles(ms: u64) -> Option<Percentiles> {
        let mut late = Histogram::default();
        (0..100).for_each(|_| late.record(ms * 1_000_000));
        late.percentiles()
    }

    const SLOW: Option<&str> = Some("rtmp: p99 latency 465.0 ms is above 200 ms");

    #[test]
    fn what_breaks_while_the_generator_is_late_is_unknown() {
        let late = || own_lateness("sweeps", percentiles(340), Some(200.0));
        let mut knee = Knee { p99_max_ms: Some(200.0), ..Knee::default() };
        knee.take(step(32, None, false), late());
        knee.take(step(48, SLOW, false), late());
        knee.take(step(46, None, false), None);
        assert_eq!((knee.players, knee.broke_at, knee.unknown_at), (46, None, Some(48)));
        let told = crate::report::knee(&knee);
        assert!(
            told.contains("48 players, 48 held: unknown, rtmp: p99 latency 465.0 ms"),
            "{told}"
        );
        let end =
            "46 players hold; 48 are unknown, not the server's limit: this generator was late";
        assert!(told.contains(end), "{told}");
        let json = serde_json::to_value(&knee).unwrap();
        let verdicts = json["steps"].as_array().unwrap().iter().map(|step| &step["verdict"]);
        assert_eq!(verdicts.collect::<Vec<_>>(), ["holds", "unknown", "holds"]);
        assert_eq!((&json["unknown_at"], &json["broke_at"]), (&48.into(), &Value::Null));
        // What the server refuses is its own word, and so is what breaks it while nobody is late.
        knee.take(step(47, Some("1 players were lost, 1 refused"), true), late());
        assert_eq!((knee.broke_at, knee.unknown_at), (Some(47), None));
        assert!(crate::report::knee(&knee).contains("46 players hold; 47 do not hold: 1 players"));
    }

    #[test]
    fn late_publishers_make_unknown_what_broke() {
        let found = || {
            let mut knee = Knee { p99_max_ms: Some(200.0), ..Knee::default() };
            knee.take(step(46, None, false), None);
            knee.take(step(64, Some("3 players were lost, 3 refused"), true), None);
            knee.take(step(48, SLOW, false), None);
            knee
        };
        let mut published = PublishTotals::default().summary();
        let mut knee = found();
        knee.judge_publishers(&published);
        published.lateness = percentiles(20);
        knee.judge_publishers(&published);
        assert_eq!(knee, found(), "they were in time");
        published.lateness = percentiles(663);
        knee.judge_publishers(&published);
        let Knee { players, broke_at, unknown_at, ref unknown_by, .. } = knee;
        assert_eq!((players, broke_at, unknown_at), (46, Some(64), Some(48)));
        let late = unknown_by.as_deref().unwrap();
        assert!(late.starts_with("this generator was late itself, publishers by p99 "), "{late}");
        let verdicts: Vec<_> = knee.steps.iter().map(|step| step.verdict).collect();
        assert_eq!(verdicts, [StepVerdict::Holds, StepVerdict::Breaks, StepVerdict::Unknown]);
    }
}
