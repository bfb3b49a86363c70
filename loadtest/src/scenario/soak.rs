//! A long run whose memory is watched.

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{Audience, SoakPlan};
use super::verdict::breaches;
use crate::fanout::{Measurement, SETTLE_NS, Step, summarise};
use crate::observe::ServerProcess;
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

/// Soaks; tells what was seen and what broke.
pub(super) fn soak(
    run: &mut Run<'_>,
    audience: &Audience,
    plan: SoakPlan,
    server: ServerProcess,
) -> Result<(Soak, Measurement, Vec<String>)> {
    let Audience { ramp_per_s, ref players, ref parts, .. } = *audience;
    let players = players.first().copied().unwrap_or(1);
    let step = Step { players, ramp_per_s, window_ns: plan.duration_ns };
    let joining_ns = monotonic_ns();
    run.join(step.players, step.ramp_per_s)?;
    let join_s = (monotonic_ns() - joining_ns) as f64 / 1e9;
    run.tell(News::Said("everybody plays; memory settles"));
    churn_while(run, plan, plan.warm_up_ns.max(SETTLE_NS), None)?;
    let before = run.mark()?;
    let mut samples = Vec::new();
    churn_while(run, plan, plan.duration_ns, Some((server, &mut samples)))?;
    let mut of = summarise(&before, &run.mark()?, parts);
    (of.players, of.join_s) = (players, join_s);
    run.tell(News::Measured(&of));
    let mut found = breaches(&of, parts, None);
    let rss = Trend::through(&samples);
    if let Some(trend) = rss.filter(|trend| trend.per_minute > plan.slope_max as f64) {
        found.push(format!(
            "memory grows by {:.0} bytes a minute (+-{:.0}), above {}",
            trend.per_minute, trend.within_95, plan.slope_max
        ));
    }
    let start_ns = samples.first().map_or(0, |(at_ns, _)| *at_ns);
    let second = |at_ns: u64| (at_ns - start_ns) as f64 / 1e9;
    let soak = Soak {
        watched_s: samples.last().map_or(0.0, |(at_ns, _)| second(*at_ns)),
        rss,
        slope_max: plan.slope_max,
        samples: samples.iter().map(|(at_ns, rss)| (second(*at_ns), *rss as u64)).collect(),
    };
    Ok((soak, of, found))
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
            let reading = server.read().context("the server is gone; did it crash?")?;
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
