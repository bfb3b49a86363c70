//! A long run whose memory is watched.

use anyhow::Result;
use serde::Serialize;

use super::performance::Outcome;
use super::plan::{Audience, SoakPlan};
use super::verdict::breaches;
use crate::measurement::{SETTLE_NS, Step, assemble, read, summarise};
use crate::observe::{Served, ServerCost, ServerProcess};
use crate::run::{News, Run, Stage};
use crate::socket::monotonic_ns;
use crate::trend::Trend;

/// Samples of memory that are kept: days of them.
const SAMPLES_MAX: usize = 100_000;

const SECOND_NS: u64 = 1_000_000_000;

/// What a soak found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Soak {
    /// Seconds from the first sample to the last.
    pub watched_s: f64,
    /// Growth of resident memory, in bytes; `None` if there were too few samples.
    pub rss: Option<Trend>,
    /// What was allowed, in bytes a minute.
    pub slope_max: u64,
    /// Seconds since the first sample, and resident memory in bytes.
    pub samples: Vec<(f64, u64)>,
}

impl Soak {
    /// What is wrong with how memory grew, in words.
    fn breach(&self) -> Option<String> {
        let Some(trend) = self.rss else {
            return Some(
                "memory was seen too seldom for a slope; raise --duration or lower --interval"
                    .to_owned(),
            );
        };
        let least = trend.per_minute - trend.within_95;
        (least > self.slope_max as f64).then(|| {
            format!(
                "memory grows by {:.0} bytes a minute (+-{:.0}), by 95 % above {}",
                trend.per_minute, trend.within_95, self.slope_max
            )
        })
    }
}

/// Soaks; what was seen until it fails, and what broke, is in the outcome.
pub(super) fn soak(
    run: &mut Run<'_>,
    audience: &Audience,
    plan: SoakPlan,
    server: ServerProcess,
    outcome: &mut Outcome,
) -> Result<()> {
    let Audience { ramp_per_s, ref players, ref parts, .. } = *audience;
    let players = players.first().copied().unwrap_or(1);
    let step = Step { players, ramp_per_s, window_ns: plan.duration_ns };
    let join_s = assemble(run, step)?.join_s;
    run.tell(News::Said("everybody plays; memory settles"));
    churn_while(run, plan, plan.warm_up_ns.max(SETTLE_NS), None)?;
    let before = run.mark()?;
    let cost_before = read(run, Some(server));
    let mut samples = Vec::new();
    churn_while(run, plan, plan.duration_ns, Some((server, &mut samples)))?;
    // Whoever was replaced at last is still joining.
    run.settle()?;
    let cost_after = read(run, Some(server));
    let mut of = summarise(&before, &run.mark()?, parts);
    (of.players, of.join_s) = (players, join_s);
    let served = Served { bytes: of.received_bytes, held: of.held };
    of.server = cost_before
        .zip(cost_after)
        .map(|(first, last)| ServerCost::between(&first, &last, served, None));
    run.tell(News::Measured(&of));
    outcome.breaches = breaches(&of, parts, None);
    let start_ns = samples.first().map_or(0, |(at_ns, _)| *at_ns);
    let second = |at_ns: u64| (at_ns - start_ns) as f64 / 1e9;
    let soak = Soak {
        watched_s: samples.last().map_or(0.0, |(at_ns, _)| second(*at_ns)),
        rss: Trend::through(&samples),
        slope_max: plan.slope_max,
        samples: samples.iter().map(|(at_ns, rss)| (second(*at_ns), *rss as u64)).collect(),
    };
    // Who ends it early knows that there is little to tell.
    outcome.breaches.extend(soak.breach().filter(|_| soak.rss.is_some() || !run.is_stopped()));
    outcome.measurements.push(of);
    outcome.soak = Some(soak);
    Ok(())
}

type Samples<'a> = (ServerProcess, &'a mut Vec<(u64, f64)>);

/// Lets time pass while players come and go, and looks at memory.
fn churn_while(
    run: &mut Run<'_>,
    plan: SoakPlan,
    ns: u64,
    mut samples: Option<Samples<'_>>,
) -> Result<()> {
    let start_ns = monotonic_ns();
    let mut churned = 0;
    let mut sample_ns = start_ns;
    loop {
        let now_ns = monotonic_ns();
        if let Some((server, samples)) = samples.as_mut().filter(|_| now_ns >= sample_ns) {
            let Some(reading) = read(run, Some(*server)) else { return Ok(()) };
            if samples.len() < SAMPLES_MAX {
                samples.push((now_ns, reading.rss_bytes as f64));
            }
            sample_ns += plan.interval_ns;
        }
        let passed_ns = now_ns - start_ns;
        if passed_ns >= ns || run.is_stopped() {
            return Ok(());
        }
        let due = (plan.churn_per_s * passed_ns as f64 / 1e9) as usize;
        run.crowd().replace(due - churned)?;
        churned = due;
        let step_ns = if plan.churn_per_s > 0.0 { SECOND_NS / 20 } else { SECOND_NS };
        let until_sample = sample_ns.saturating_sub(now_ns).max(1);
        let sleep_ns = step_ns.min(ns - passed_ns);
        let sleep_ns = if samples.is_some() { sleep_ns.min(until_sample) } else { sleep_ns };
        run.watch(Stage::Watching, sleep_ns)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_outgrows_its_limit_if_the_interval_lies_above_it() {
        let soak = |rss| Soak { watched_s: 60.0, rss, slope_max: 1000, samples: Vec::new() };
        let grown = |per_minute, within_95| {
            let trend = Trend { samples: 9, per_minute, within_95, first: 0.0, last: 0.0 };
            soak(Some(trend)).breach()
        };
        assert_eq!(grown(900.0, 0.0), None);
        assert_eq!(grown(1500.0, 600.0), None, "it may be 900");
        let told = grown(1500.0, 400.0).unwrap();
        assert!(told.starts_with("memory grows by 1500 bytes a minute (+-400)"), "{told}");
        assert!(soak(None).breach().unwrap().contains("--interval"));
    }
}
