//! Doing what a scenario says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};

use super::plan::{Action, Audience, Scenario};
use crate::fanout::{Measurement, Step, measure};
use crate::mirror::{MirrorTotals, mirror};
use crate::mpegts::{Tr101290, Verdict};
use crate::observe::{RssBefore, ServerProcess};
use crate::player::{Crowd, CrowdPlan};
use crate::publisher::{PublishPlan, PublishSummary, publish};
use crate::socket;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One for each number of players.
    pub measurements: Vec<Measurement>,
    /// What was published.
    pub published: Option<PublishSummary>,
    /// What is wrong with a transport stream, if one was judged.
    pub verdict: Option<Verdict>,
    /// What was copied into a folder.
    pub mirrored: Option<MirrorTotals>,
}

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Does it; tells each measurement as it comes.
///
/// # Errors
/// In one line, if the server cannot be reached or refuses, or if nobody gets a frame.
pub fn perform(scenario: &Scenario, told: impl FnMut(&Measurement)) -> Result<Outcome> {
    if let Some(cpu) = scenario.cpu {
        socket::pin(cpu).with_context(|| format!("cannot stay on CPU {cpu}"))?;
    }
    socket::raise_open_files().context("cannot raise the limit of open files")?;
    match &scenario.action {
        Action::Help => Ok(Outcome::default()),
        Action::CheckTs { file, pid_period_ms } => {
            let verdict = check_ts(file, *pid_period_ms)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Outcome { verdict: Some(verdict), ..Outcome::default() })
        }
        Action::Mirror(plan) => {
            let mirrored = Some(mirror(plan, socket::interrupted())?);
            Ok(Outcome { mirrored, ..Outcome::default() })
        }
        Action::Publish(plan) => {
            let totals = publish(plan, socket::interrupted(), || {})?;
            Ok(Outcome { published: Some(totals.summary()), ..Outcome::default() })
        }
        Action::Play(audience) => while_publishing(None, || play(audience, None, told)),
        Action::Fanout { publish, audience, server } => {
            while_publishing(publish.as_ref(), || play(audience, *server, told))
        }
        Action::Canonical { publish, audience } => {
            while_publishing(Some(publish), || play(audience, None, told))
        }
    }
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

fn play(
    audience: &Audience,
    server: Option<ServerProcess>,
    mut told: impl FnMut(&Measurement),
) -> Result<Vec<Measurement>> {
    let smallest = audience.players.first().copied().unwrap_or(1);
    let mut crowd = Crowd::new(CrowdPlan {
        url: audience.url.clone(),
        trust: audience.trust.clone(),
        holds: audience.holds,
        streams: audience.streams,
        ramp_per_s: audience.ramp_per_s,
        sampled: audience.sampled,
        sample_stride: (smallest / audience.sampled.max(1)).max(1),
    })?;
    let mut measurements = Vec::new();
    let mut before = None;
    for players in &audience.players {
        let (ramp_per_s, window_ns) = (audience.ramp_per_s, audience.window_ns);
        let step = Step { players: *players, ramp_per_s, window_ns };
        let measurement = measure(&mut crowd, step, server, before)
            .with_context(|| format!("playing {}", audience.url))?;
        told(&measurement);
        before = measurement
            .server
            .as_ref()
            .map(|cost| RssBefore { held: measurement.held, rss_bytes: cost.rss_bytes });
        measurements.push(measurement);
        if socket::interrupted().load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(measurements)
}

/// Publishes on a thread of its own for as long as `act` takes.
fn while_publishing(
    plan: Option<&PublishPlan>,
    act: impl FnOnce() -> Result<Vec<Measurement>>,
) -> Result<Outcome> {
    let Some(plan) = plan else {
        return Ok(Outcome { measurements: act()?, ..Outcome::default() });
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, started) = mpsc::channel();
        let publisher = scope.spawn(|| {
            publish(plan, &stop, move || {
                // Nobody listens any more only if the players failed first.
                let _ = sender.send(());
            })
        });
        // The sender is dropped unused if publishing fails.
        let acted = started.recv().is_ok().then(act);
        stop.store(true, Ordering::Relaxed);
        // A publisher that failed is why players got nothing, so its error comes first.
        let totals = publisher.join().expect("the publisher does not panic")?;
        let measurements = acted.context("publishing ended before it began")??;
        Ok(Outcome { measurements, published: Some(totals.summary()), ..Outcome::default() })
    })
}
