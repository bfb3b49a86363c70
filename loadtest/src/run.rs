//! A run: who plays, what is published beside it, and how far it has come, watched by one thread
//! that sleeps most of the time.
//!
//! Shape: `join` or `resize`, then `watch` any number of times; counts since the last [`Run::mark`]
//! make a measurement. While it waits, the run tells its progress every [`PROGRESS_NS`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};

use crate::measurement::Measurement;
use crate::player::{Attendance, Census, Crowd, Tally};
use crate::publisher::{OnAir, Publishing};
use crate::socket::monotonic_ns;
use crate::stats::Histogram;

/// How often progress is told.
pub const PROGRESS_NS: u64 = 1_000_000_000;

/// How often the crowd is looked at, and the wish to stop.
const LOOK_NS: u64 = 10_000_000;

/// What players may take to join beyond their ramp.
pub const JOIN_NS_MAX: u64 = 15_000_000_000;

/// What they may take if somebody wishes the run to end.
const HURRIED_NS_MAX: u64 = 1_000_000_000;

/// What a run tells while it lasts.
#[derive(Clone, Debug)]
pub enum News<'a> {
    /// How far it has come, every [`PROGRESS_NS`].
    Progress(&'a Progress),
    /// A step is over.
    Measured(&'a Measurement),
    /// Something that is worth a line, such as the next step of a search.
    Said(&'a str),
}

/// What the run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Players join.
    Joining,
    /// The bursts of joining pass.
    Settling,
    /// All that comes counts.
    Watching,
}

/// How players joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// How many do what at the end.
    pub attendance: Attendance,
    /// Until the last one who joined had a frame, as exactly as that is looked at.
    pub last_joined_ns: u64,
}

/// How far a run has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Since the run began.
    pub elapsed_ns: u64,
    /// Since the progress before.
    pub interval_ns: u64,
    /// What it is about.
    pub stage: Stage,
    /// How many players do what now.
    pub attendance: Attendance,
    /// What was counted since the progress before, latency histogram and all.
    pub interval: Tally,
    /// Latency since the progress before; that of segments only if nothing else is played.
    pub latency: Histogram,
    /// What was counted since the run began.
    pub total: Tally,
    /// What is published, if this run publishes.
    pub on_air: Option<OnAir>,
}

/// What was counted between two marks.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// How long it lasted.
    pub ns: u64,
    /// Counts of each part.
    pub tallies: Vec<Tally>,
    /// Players that play at its end, of each part.
    pub playing: Vec<usize>,
    /// Those among them who check all that they get.
    pub sampled: Vec<usize>,
    /// CPU time that players' threads used.
    pub players_cpu_ns: u64,
    /// CPU time that publishers' threads used.
    pub publishers_cpu_ns: u64,
    /// How much too late quiet players were emptied.
    pub sweep_late: Histogram,
}

impl Passage {
    /// Counts of all parts.
    #[must_use]
    pub fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.tallies.iter().for_each(|tally| sum.add(tally));
        sum
    }
}

/// A run.
pub struct Run<'a> {
    crowd: Crowd,
    publishing: Option<Publishing>,
    stop: &'a AtomicBool,
    told: &'a mut dyn FnMut(News<'_>),
    stage: Stage,
    started_ns: u64,
    progress_ns: u64,
    marked_ns: u64,
    /// CPU time of players' and publishers' threads at the mark.
    marked_cpu_ns: (u64, u64),
    /// Counted since the mark.
    census: Census,
    interval: Tally,
    latency: Histogram,
    total: Tally,
    /// Why it cannot go on.
    fault: Option<Error>,
}

impl<'a> Run<'a> {
    /// Begins with nobody.
    pub fn new(
        crowd: Crowd,
        publishing: Option<Publishing>,
        stop: &'a AtomicBool,
        told: &'a mut dyn FnMut(News<'_>),
    ) -> Self {
        let now_ns = monotonic_ns();
        Self {
            crowd,
            publishing,
            stop,
            told,
            stage: Stage::Joining,
            started_ns: now_ns,
            progress_ns: now_ns,
            marked_ns: now_ns,
            marked_cpu_ns: (0, 0),
            census: Census::default(),
            interval: Tally::default(),
            latency: Histogram::default(),
            total: Tally::default(),
            fault: None,
        }
    }

    /// The players.
    pub const fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }

    /// True once somebody wishes the run to end, or it cannot go on.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.fault.is_some() || self.stop.load(Ordering::Relaxed)
    }

    /// Ends the run early; what was counted until then is its result. The first reason stays.
    pub fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }

    /// Tells something.
    pub fn tell(&mut self, news: News<'_>) {
        (self.told)(news);
    }

    /// Sets how many players there are to be, and waits until each plays or is lost; not longer
    /// than a patient viewer does.
    ///
    /// # Errors
    /// If a thread of players has failed.
    pub fn join(&mut self, players: usize, ramp_per_s: u64) -> Result<Joining> {
        let started_ns = monotonic_ns();
        let (mut playing, mut last_joined_ns) = (0, 0);
        self.crowd.resize(players, ramp_per_s)?;
        let ramp_ns = players as u64 * 1_000_000_000 / ramp_per_s.max(1);
        let attendance = self.wait(Stage::Joining, ramp_ns + JOIN_NS_MAX, |attendance| {
            if attendance.playing > playing {
                last_joined_ns = monotonic_ns() - started_ns;
            }
            playing = attendance.playing;
            attendance.is_settled()
        })?;
        Ok(Joining { attendance, last_joined_ns })
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// If a thread of players has failed.
    pub fn watch(&mut self, stage: Stage, ns: u64) -> Result<Attendance> {
        self.wait(stage, ns, |_| false)
    }

    /// Waits until each player plays or is lost, so that nobody who has just come is taken for one
    /// who got nothing: not longer than a patient viewer does, and than a second once somebody
    /// wishes the run to end.
    ///
    /// # Errors
    /// If a thread of players has failed.
    pub fn settle(&mut self) -> Result<()> {
        let start_ns = monotonic_ns();
        while !self.crowd.attendance()?.is_settled() {
            let most_ns = if self.is_stopped() { HURRIED_NS_MAX } else { JOIN_NS_MAX };
            let passed_ns = monotonic_ns() - start_ns;
            if passed_ns >= most_ns {
                break;
            }
            if self.is_stopped() {
                thread::sleep(Duration::from_nanos(LOOK_NS));
            } else {
                self.wait(Stage::Settling, most_ns - passed_ns, Attendance::is_settled)?;
            }
        }
        Ok(())
    }

    /// Lets time pass until something holds.
    ///
    /// # Errors
    /// If a thread of players has failed.
    pub fn wait(
        &mut self,
        stage: Stage,
        most_ns: u64,
        mut is_enough: impl FnMut(&Attendance) -> bool,
    ) -> Result<Attendance> {
        self.stage = stage;
        let end_ns = monotonic_ns() + most_ns;
        loop {
            let attendance = self.crowd.attendance()?;
            self.on_air();
            let now_ns = monotonic_ns();
            if now_ns >= end_ns || is_enough(&attendance) || self.is_stopped() {
                return Ok(attendance);
            }
            if now_ns >= self.progress_ns + PROGRESS_NS {
                self.progress(attendance)?;
            }
            let until_ns = end_ns.min(self.progress_ns + PROGRESS_NS).min(now_ns + LOOK_NS);
            thread::sleep(Duration::from_nanos(until_ns.saturating_sub(now_ns).max(1)));
        }
    }

    /// What was counted since the last mark; counts begin anew.
    ///
    /// # Errors
    /// If a thread of players has failed.
    pub fn mark(&mut self) -> Result<Passage> {
        self.gather()?;
        let on_air = self.on_air();
        let (marked_ns, marked_cpu_ns) = (self.marked_ns, self.marked_cpu_ns);
        self.marked_ns = monotonic_ns();
        self.marked_cpu_ns = (self.census.cpu_ns, on_air.map_or(0, |on_air| on_air.cpu_ns));
        let Census { tallies, playing, sampled, sweep_late, .. } = std::mem::take(&mut self.census);
        Ok(Passage {
            ns: self.marked_ns - marked_ns,
            tallies,
            playing,
            sampled,
            players_cpu_ns: self.marked_cpu_ns.0.saturating_sub(marked_cpu_ns.0),
            publishers_cpu_ns: self.marked_cpu_ns.1.saturating_sub(marked_cpu_ns.1),
            sweep_late,
        })
    }

    /// Ends it; tells why it could not go on, if so. What is published goes on until that is
    /// finished.
    #[must_use]
    pub fn end(self) -> (Option<Publishing>, Option<Error>) {
        (self.publishing, self.fault)
    }

    /// What is published now. Without anything to play, the run cannot go on.
    fn on_air(&mut self) -> Option<OnAir> {
        match self.publishing.as_mut()?.on_air() {
            Ok(on_air) => Some(on_air),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn progress(&mut self, attendance: Attendance) -> Result<()> {
        self.gather()?;
        let now_ns = monotonic_ns();
        let progress = Progress {
            elapsed_ns: now_ns - self.started_ns,
            interval_ns: now_ns - self.progress_ns,
            stage: self.stage,
            attendance,
            interval: std::mem::take(&mut self.interval),
            latency: std::mem::take(&mut self.latency),
            total: self.total.clone(),
            on_air: self.on_air(),
        };
        self.progress_ns = now_ns;
        (self.told)(News::Progress(&progress));
        Ok(())
    }

    /// Takes what the threads have counted.
    fn gather(&mut self) -> Result<()> {
        let census = self.crowd.census()?;
        for tally in &census.tallies {
            self.interval.add(tally);
            self.total.add(tally);
        }
        for (tally, is_timely) in census.tallies.iter().zip(self.crowd.timely()) {
            if *is_timely {
                self.latency.add(&tally.sampled.latency);
            }
        }
        self.census.add(&census);
        // What is told of this moment is no sum over time.
        self.census.playing = census.playing;
        self.census.sampled = census.sampled;
        self.census.cpu_ns = census.cpu_ns;
        Ok(())
    }
}
