//! Doing what a scenario says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Error, Result, anyhow, ensure};

use super::knee::{self, Knee};
use super::plan::{Action, Audience, Load, Plot, Scenario, StormPlan};
use super::soak::{Soak, soak};
use super::unreachable::mend;
use super::verdict::{breaches, losses};
use crate::crew::Crew;
use crate::impair::{ImpairPlan, ImpairSummary, Relay};
use crate::listing::{Lister, Listing};
use crate::measurement::{Measurement, Step, measure};
use crate::mirror::{MirrorTotals, mirror};
use crate::mpegts::{Tr101290, Verdict};
use crate::observe::{RssBefore, ServerProcess};
use crate::player::Crowd;
use crate::publisher::{PublishPlan, PublishSummary, Publishing};
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
    /// What is read of it.
    pub listing: Option<Listing>,
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
    /// Why it could not go on to its end, if so; what is told is what was seen until then.
    pub fault: Option<String>,
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
/// In one line, if nothing came of it: the server cannot be reached or refuses, or nobody gets a
/// frame. What fails later is the outcome's [`fault`](Outcome::fault).
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
            let (verdict, listing) = check_ts(file, *pid_period_ms)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Outcome { verdict: Some(verdict), listing: Some(listing), ..Outcome::default() })
        }
        Action::Mirror(plan) => mirror(plan, stop)
            .map(|mirrored| Outcome { mirrored: Some(mirrored), ..Outcome::default() }),
        Action::Impair(plan) => relay(plan, stop, told)
            .map(|impaired| Outcome { impaired: Some(impaired), ..Outcome::default() }),
        Action::Publish(plan) => publish(plan, &crew, stop),
        Action::Load(load) => perform_load(load, &crew, stop, told),
    };
    outcome.map_err(|error| anyhow!(mended(&error)))
}

/// An error in one line, with what is to be done about it at its end.
fn mended(error: &Error) -> String {
    let line = format!("{error:#}");
    match mend(&line) {
        Some(mend) => format!("{line} ({mend})"),
        None => line,
    }
}

fn publish(plan: &PublishPlan, crew: &Crew, stop: &AtomicBool) -> Result<Outcome> {
    open_files(plan.streams)?;
    let mut publishing = Publishing::start(plan, crew)?;
    publishing.wait_accepted(stop)?;
    let fault = publishing.wait_over(stop).err();
    let mut outcome = Outcome::default();
    outcome.ended(Some(publishing), fault);
    Ok(outcome)
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
        (Plot::Soak(plan), Some(server)) => soak(&mut run, audience, plan, server, &mut outcome),
        (Plot::FindKnee(plan), server) => {
            knee::find(&mut run, audience, plan, server, &mut outcome)
        }
        (Plot::Storm(plan), server) => storm(&mut run, audience, plan, server, &mut outcome),
        (_, server) => hold(&mut run, audience, server, &mut outcome),
    };
    for of in &outcome.measurements {
        match plot {
            Plot::Slow => outcome.breaches.extend(breaches(of, &audience.parts, None)),
            Plot::Canonical if !stop.load(Ordering::Relaxed) => {
                outcome.breaches.extend(losses(of, &audience.parts))
            }
            _ => {}
        }
    }
    let names = audience.parts.first().map(|part| part.url.to_string()).unwrap_or_default();
    if let Err(error) = played.with_context(|| format!("playing {names}")) {
        run.fail(error);
    }
    let (publishing, fault) = run.end();
    match fault {
        Some(fault) if outcome.measurements.is_empty() => Err(fault),
        fault => {
            outcome.ended(publishing, fault);
            Ok(outcome)
        }
    }
}

impl Outcome {
    /// Takes what was published, and why the run could not go on, if so.
    fn ended(&mut self, publishing: Option<Publishing>, fault: Option<Error>) {
        let finished = publishing.map(Publishing::finish).transpose();
        let (published, unfinished) = match finished {
            Ok(totals) => (totals.map(|totals| totals.summary()), None),
            Err(error) => (None, Some(error)),
        };
        self.breaches.extend(published.as_ref().and_then(PublishSummary::breach));
        if let (Some(knee), Some(published)) = (&mut self.knee, &published) {
            knee.judge_publishers(published);
        }
        self.published = published;
        self.fault = fault.or(unfinished).map(|error| mended(&error));
    }
}

/// Holds each number of players for a while.
fn hold(
    run: &mut Run<'_>,
    audience: &Audience,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<()> {
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
        outcome.measurements.push(measurement);
    }
    Ok(())
}

/// Has everybody come, leave, and come again.
fn storm(
    run: &mut Run<'_>,
    audience: &Audience,
    plan: StormPlan,
    server: Option<ServerProcess>,
    outcome: &mut Outcome,
) -> Result<()> {
    let Audience { ramp_per_s, window_ns, ref players, .. } = *audience;
    let players = players.first().copied().unwrap_or(1);
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
        outcome.measurements.push(measure(run, step, &audience.parts, server, None)?);
    }
    Ok(())
}

fn check_ts(file: &Path, pid_period_ms: u64) -> Result<(Verdict, Listing)> {
    let mut stream: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file)?),
    };
    let (mut checker, mut lister) = (Tr101290::new(pid_period_ms), Lister::default());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((checker.finish(), lister.finish())),
            Ok(len) => {
                checker.feed(&buffer[..len]);
                lister.feed(&buffer[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
