//! The observation of a run: it takes what players and the server tell while the run lasts, shows
//! it, and ends as a report.

use std::io::Write;

use anyhow::Result;

use super::live::{Live, Moment};
use super::section::{Observed, Section};
use super::{SeriesPair, WallTime};
use crate::measurement::Measurement;
use crate::observe::{PlayerSample, Series, WatchPlan, Watcher};
use crate::run::{Progress, Stage};
use crate::socket::monotonic_ns;

/// What is seen of a run.
#[derive(Debug)]
pub struct Observation<W: Write> {
    started_at: WallTime,
    started_ns: u64,
    live: Live<W>,
    watcher: Option<Watcher>,
    rss_before: Option<u64>,
    players: Series<PlayerSample>,
    sections: Vec<Section>,
    /// When the players of the next section begin to connect.
    section_from_s: f64,
}

/// What was seen of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// When it began, in UTC.
    pub started_at: String,
    /// How long it took.
    pub duration_s: f64,
    /// Name and version of the server, if they are known.
    pub server: Option<String>,
    /// The measurements.
    pub sections: Vec<Section>,
    /// What was seen once a second.
    pub series: SeriesPair,
    /// Why the server could not be seen any more, if it could not.
    pub fault: Option<String>,
}

impl<W: Write> Observation<W> {
    /// Begins.
    ///
    /// # Errors
    /// In one line, if the process or the interface that is to be watched is not there.
    pub fn start(plan: &WatchPlan, live: Live<W>) -> Result<Self> {
        let started_ns = monotonic_ns();
        let reading = plan.process.map(|process| process.read()).transpose()?;
        let is_watched = plan.process.is_some() || plan.api.is_some();
        let watcher = is_watched.then(|| Watcher::start(plan, started_ns)).transpose()?;
        Ok(Self {
            started_at: WallTime::now(),
            started_ns,
            live,
            watcher,
            rss_before: reading.map(|reading| reading.rss_bytes),
            players: Series::default(),
            sections: Vec::new(),
            section_from_s: 0.0,
        })
    }

    /// Seconds since it began.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        (monotonic_ns() - self.started_ns) as f64 / 1e9
    }

    /// Takes what players did in the last second, and shows it.
    pub fn progress(&mut self, progress: &Progress) {
        let sample = PlayerSample { at_s: self.elapsed_s(), ..PlayerSample::from(progress) };
        let server = self.watcher.as_ref().and_then(Watcher::latest);
        self.live.show(&Moment {
            stage: match progress.stage {
                Stage::Joining => "joining",
                Stage::Settling => "settling",
                Stage::Watching => "watching",
            },
            wanted: progress.attendance.wanted,
            players: &sample,
            received_bytes: progress.total.received,
            server: server.as_ref(),
        });
        self.players.push(sample);
    }

    /// Takes the measurement that is just over.
    pub fn measured(&mut self, measurement: &Measurement) -> &Section {
        let window_to_s = self.elapsed_s();
        let window_from_s = (window_to_s - measurement.window_s).max(0.0);
        let from_s = std::mem::replace(&mut self.section_from_s, window_to_s);
        let samples = self.watcher.as_ref().map(|of| of.between(window_from_s, window_to_s));
        let (samples, held) = (samples.unwrap_or_default(), measurement.held);
        let observed = Observed::of(&samples, held, self.rss_before);
        let measurement = measurement.clone();
        self.sections.push(Section { measurement, from_s, window_from_s, window_to_s, observed });
        // A section was just added.
        &self.sections[self.sections.len() - 1]
    }

    /// Makes room on the terminal for what somebody else writes.
    pub fn clear(&mut self) {
        self.live.clear();
    }

    /// Ends it.
    #[must_use]
    pub fn finish(mut self) -> Seen {
        let duration_s = self.elapsed_s();
        self.players.finish();
        self.live.finish();
        let watched = self.watcher.map(Watcher::finish).unwrap_or_default();
        Seen {
            started_at: self.started_at.rfc3339(),
            duration_s,
            server: watched.server,
            sections: self.sections,
            series: SeriesPair { players: self.players, server: watched.series },
            fault: watched.fault,
        }
    }
}

impl From<&Progress> for PlayerSample {
    fn from(progress: &Progress) -> Self {
        let Progress { attendance, interval, total, .. } = progress;
        Self {
            at_s: progress.elapsed_ns as f64 / 1e9,
            interval_s: progress.interval_ns as f64 / 1e9,
            held: attendance.playing,
            connecting: attendance.joining + attendance.waiting,
            refused: total.refused,
            failed: total.failed,
            closed: total.closed,
            stalls: total.stalls,
            lost: total.sampled.lost(),
            received_bytes: interval.received,
            latency: progress.latency.percentiles(),
        }
    }
}
