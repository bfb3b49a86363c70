//! Doing what a scenario says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, ensure};

use super::knee::{self, Knee};
use super::plan::{Action, Audience, Load, Plot, Scenario, StormPlan};
use super::soak::{Soak, soak};
use super::unreachable::mend;
use super::verdict::breaches;
use crate::crew::Crew;
use crate::fanout::{Measurement, Step, measure};
use crate::impair::{ImpairPlan, ImpairSummary, Relay};
use crate::mirror::{MirrorTotals, mirror};
use crate::mpegts::{Tr101290, Verdict};
use crate::observe::{RssBefore, ServerProcess};
use crate::player::Crowd;
use crate::publisher::{PublishSummary, Publishing};
use crate::run::{News, Run, Stage};
use crate::socket;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One for each number of players, or each round.
    pub measurements: Vec<Measurement>,
    /// What was published.
    pub published: Option<PublishSummary>,
    /// What is wrong with a transport stream, if one was judged.
    pub verdict: Option<Verdict>,
    /// What was copied into a folder.
    pub mirrored: Option<MirrorTotals>,
    /// What was relayed.
    pub impaired: Option<ImpairSummary>,
    /// How many players hold.
    pub knee: Option<Knee>,
    /// How memory grew.
    pub soak: Option<Soak>,
    /// What broke of what was expected; the run has failed if there is anything.
    pub breaches: Vec<String>,
}

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Files that are open besides connections.
const FILES_BESIDES: u64 = 64;

/// So many players a second are all at once.
const AT_ONCE: u64 = 1_000_000_000;

/// What leaving may take.
const LEAVE_NS_MAX: u64 = 10_000_000_000;

/// Does it until it is done or `stop` is set, and tells what happens meanwhile.
///
/// # Errors
/// In one line, if the server cannot be reached or refuses, or if nobody gets a frame.
pub fn perform(
    scenario: &Scenario,
    stop: &AtomicBool,
    told: &mut dyn FnMut(News<'_>),
) -> Result<Outcome> {
    let crew = Crew::new(scenario.cpus.as_deref(), scenario.threads)?;
    if scenario.cpus.is_some() {
        crew.gather()?;
    }
    let outcome = match &scenario.action {
        Action::Help(_) => Ok(Outcome::default()),
        Action::CheckTs { file, pid_period_ms } => {
            let verdict = check_ts(file, *pid_period_ms)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Outcome { verdict: Some(verdict), ..Outcome::default() })
        }
        Action::Mirror(plan) => mirror(plan, stop)
            .map(|mirrored| Outcome { mirrored: Some(mirrored), ..Outcome::default() }),
        Action::Impair(plan) => relay(plan, stop, told)
            .map(|impaired| Outcome { impaired: Some(impaired), ..Outcome::default() }),
        Action::Publish(plan) => {
            open_files(plan.streams)?;
            let published = Publishing::start(plan, &crew).and_then(|mut publishing| {
                publishing.wait_accepted(stop)?;
                publishing.wait_over(stop)?;
                publishing.finish()
            });
            let summary = |published| Outcome { published: Some(published), ..Outcome::default() };
            published.map(|totals| summary(totals.summary()))
        }
        Action::Load(load) => perform_load(load, &crew, stop, told),
    };
    // What is to be done about it stands at the end of the line.
    outcome.map_err(|error| match mend(&format!("{error:#}")) {
        Some(mend) => anyhow!("{error:#} ({mend})"),
        None => error,
    })
}

fn relay(
    plan: &ImpairPlan,
    stop: &AtomicBool,
    told: &mut dyn FnMut(News<'_>),
) -> Result<ImpairSummary> {
    let mut relay = Relay::open(plan)?;
    // A client or its server may need a file of its own, and one that gets none is told so.
    socket::raise_open_files().context("cannot raise the limit of open files")?;
    // Said at once: scripts wait for it.
    told(News::Said(&format!("relaying from {} to {}", relay.local_addr()?, plan.to)));
    relay.run(stop)
}

/// Makes sure that there can be so many connections.
fn open_files(connections: usize) -> Result<()> {
    let most = socket::raise_open_files().context("cannot raise the limit of open files")?;
    let wanted = connections as u64 + FILES_BESIDES;
    ensure!(
        wanted <= most,
        "{connections} connections need {wanted} open files, and this process may have {most}: \
         raise the hard limit (ulimit -Hn) or ask for fewer"
    );
    Ok(())
}

fn perform_load(
    load: &Load,
    crew: &Crew,
    stop: &AtomicBool,
    told: &mut dyn FnMut(News<'_>),
) -> Result<Outcome> {
    let Load { plot, publish, audience, server } = load;
    let players = match plot {
        Plot::FindKnee(plan) => plan.players_max,
        _ => audience.players.last().copied().unwrap_or(1),
    };
    open_files(players + publish.as_ref().map_or(0, |plan| plan.streams))?;
    let mut publishing = publish.as_ref().map(|plan| Publishing::start(plan, crew)).transpose()?;
    if let Some(publishing) = &mut publishing {
        publishing.wait_accepted(stop)?;
    }
    let crowd = Crowd::start(audience.crowd(), crew)?;
    let mut run = Run::new(crowd, publishing, stop, told);
    let mut outcome = Outcome::default();
    let played = match (*plot, *server) {
        (Plot::Soak(plan), Some(server)) => {
            soak(&mut run, audience, plan, server).map(|(soak, measurement, breaches)| {
                (outcome.soak, outcome.breaches) = (Some(soak), breaches);
                vec![measurement]
            })
        }
        (Plot::FindKnee(plan), server) => {
            knee::find(&mut run, audience, plan, server).map(|(knee, measurements)| {
                outcome.knee = Some(knee);
                measurements
            })
        }
        (Plot::Storm(plan), server) => storm(&mut run, audience, plan, server),
        (plot, server) => hold(&mut run, audience, server).inspect(|measurements| {
            for of in measurements.iter().filter(|_| plot == Plot::Slow) {
                outcome.breaches.extend(breaches(of, &audience.parts, None));
            }
        }),
    };
    let names = audience.parts.first().map(|part| part.url.to_string()).unwrap_or_default();
    outcome.measurements = played.with_context(|| format!("playing {names}"))?;
    let published = run.into_publishing().map(Publishing::finish).transpose()?;
    outcome.published = published.map(|totals| totals.summary());
    Ok(outcome)
}

/// Holds each number of players for a while.
fn hold(
    run: &mut Run<'_>,
    audience: &Audience,
    server: Option<ServerProcess>,
) -> Result<Vec<Measurement>> {
    let mut measurements: Vec<Measurement> = Vec::new();
    let mut before = None;
    for players in &audience.players {
        if run.is_stopped() {
            break;
        }
        let Audience { ramp_per_s, window_ns, .. } = *audience;
        let step = Step { players: *players, ramp_per_s, window_ns };
        let measurement = measure(run, step, &audience.parts, server, before)?;
        before = measurement
            .server
            .as_ref()
            .map(|cost| RssBefore { held: measurement.held, rss_bytes: cost.rss_bytes });
        measurements.push(measurement);
    }
    Ok(measurements)
}

/// Has everybody come, leave, and come again.
fn storm(
    run: &mut Run<'_>,
    audience: &Audience,
    plan: StormPlan,
    server: Option<ServerProcess>,
) -> Result<Vec<Measurement>> {
    let Audience { ramp_per_s, window_ns, ref players, .. } = *audience;
    let players = players.first().copied().unwrap_or(1);
    let mut measurements = Vec::new();
    for round in 0..=plan.rounds {
        if run.is_stopped() {
            break;
        }
        let ramp_per_s =
            if round == 0 { ramp_per_s } else { plan.reconnect_per_s.unwrap_or(AT_ONCE) };
        if round > 0 {
            run.tell(News::Said(&format!("round {round}: everybody leaves and comes again")));
            run.crowd().leave()?;
            run.wait(Stage::Settling, LEAVE_NS_MAX, |now| now.playing == 0 && now.is_settled())?;
            run.watch(Stage::Settling, plan.pause_ns)?;
        }
        let step = Step { players, ramp_per_s, window_ns };
        measurements.push(measure(run, step, &audience.parts, server, None)?);
    }
    Ok(measurements)
}

fn check_ts(file: &Path, pid_period_ms: u64) -> Result<Verdict> {
    let mut stream: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file)?),
    };
    let mut checker = Tr101290::new(pid_period_ms);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(checker.finish()),
            Ok(len) => checker.feed(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
