//! Scenarios as values.

use std::path::PathBuf;

use anyhow::Result;

use crate::encoder::PictureSize;
use crate::impair::ImpairPlan;
use crate::mirror::MirrorPlan;
use crate::observe::{ServerProcess, WatchPlan};
use crate::player::{CrowdPlan, Pace, Part, Sampling};
use crate::publisher::PublishPlan;
use crate::source::SourceSettings;
use crate::stream_url::StreamUrl;
use crate::tls::Trust;

/// What is loaded without any argument.
pub const CANONICAL_URL: &str = "rtmp://127.0.0.1:1935/live/load";

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// A whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What to do.
    pub action: Action,
    /// Where to write the results as JSON.
    pub json: Option<PathBuf>,
    /// Where to write them as a page.
    pub html: Option<PathBuf>,
    /// Whether to show no progress.
    pub quiet: bool,
    /// What is seen of the server.
    pub watch: WatchPlan,
    /// The CPUs to stay on; all that this process may use without.
    pub cpus: Option<Vec<usize>>,
    /// Threads of players, and of publishers; one for each CPU without.
    pub threads: Option<usize>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Print this.
    Help(String),
    /// Judge a transport stream.
    CheckTs {
        /// Where it is; `-` is the standard input.
        file: PathBuf,
        /// How long a PID that a PMT names may be silent.
        pid_period_ms: u64,
    },
    /// Copy a stream's files into a folder.
    Mirror(MirrorPlan),
    /// Relay badly.
    Impair(ImpairPlan),
    /// Publish only.
    Publish(PublishPlan),
    /// Play, and publish unless somebody else does.
    Load(Box<Load>),
}

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// What happens.
    pub plot: Plot,
    /// What to publish.
    pub publish: Option<PublishPlan>,
    /// Who plays.
    pub audience: Audience,
    /// The process to watch.
    pub server: Option<ServerProcess>,
}

/// What happens to a crowd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plot {
    /// It is held; three numbers are told.
    Canonical,
    /// It is held, once for each number of players.
    Hold,
    /// It is held for long; memory is watched.
    Soak(SoakPlan),
    /// It grows until it does not hold.
    FindKnee(KneePlan),
    /// A part of it reads slowly; the others are judged.
    Slow,
    /// It leaves and comes again.
    Storm(StormPlan),
}

/// How long a soak lasts, and what may grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoakPlan {
    /// How long it lasts, once all play and are warm.
    pub duration_ns: u64,
    /// What memory may do before it is looked at.
    pub warm_up_ns: u64,
    /// How often memory is looked at.
    pub interval_ns: u64,
    /// Bytes a minute that are a failure.
    pub slope_max: u64,
    /// Players that leave and come again in a second.
    pub churn_per_s: f64,
}

/// How far a search for the knee goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KneePlan {
    /// Players to begin with.
    pub players_min: usize,
    /// Players to end with.
    pub players_max: usize,
    /// How many more each step has, as a share.
    pub grow: f64,
    /// How exactly the knee is found, as a share.
    pub precision: f64,
    /// The p99 latency that still holds; `None` if nobody is to look, or frames tell none.
    pub p99_max_ns: Option<u64>,
}

/// How it storms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormPlan {
    /// How often everybody leaves and comes again.
    pub rounds: usize,
    /// How long nobody is there in between.
    pub pause_ns: u64,
    /// Players that come again in a second; all at once without.
    pub reconnect_per_s: Option<u64>,
}

/// Who plays, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Audience {
    /// Who plays what, how fast.
    pub parts: Vec<Part>,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Players of HLS ask for one playlist and keep their connection.
    pub holds: bool,
    /// Streams that players take turns with.
    pub streams: usize,
    /// How uneven they are spread over them.
    pub skew: f64,
    /// Numbers of players, each at least the one before.
    pub players: Vec<usize>,
    /// Players that connect in a second.
    pub ramp_per_s: u64,
    /// Players that check all that they get.
    pub sampling: Sampling,
    /// How long each number of players is watched.
    pub window_ns: u64,
}

impl Audience {
    /// The crowd of it.
    #[must_use]
    pub fn crowd(&self) -> CrowdPlan {
        CrowdPlan {
            parts: self.parts.clone(),
            trust: self.trust.clone(),
            streams: self.streams,
            skew: self.skew,
            sampling: self.sampling,
            holds: self.holds,
        }
    }

    /// What the parts are called.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.name.clone()).collect()
    }
}

impl Scenario {
    /// An action with nothing about it.
    #[must_use]
    pub fn of(action: Action) -> Self {
        let (json, html, cpus, threads) = (None, None, None, None);
        let (quiet, watch) = (false, WatchPlan::default());
        Self { action, json, html, quiet, watch, cpus, threads }
    }

    /// What is done without any argument.
    ///
    /// # Errors
    /// Never: the canonical address is one.
    pub fn canonical() -> Result<Self> {
        let url = StreamUrl::parse(CANONICAL_URL)?;
        let source = SourceSettings {
            size: PictureSize::DEFAULT,
            bitrate: 2_000_000,
            fps: 30,
            gop_frames: 60,
            audio: false,
        };
        let publish = PublishPlan {
            url: url.clone(),
            trust: Trust::default(),
            streams: 1,
            ramp_per_s: 200,
            source,
            recording: None,
            duration_ns: None,
        };
        let audience = Audience {
            parts: vec![Part { name: "rtmp".to_owned(), url, share: 1.0, pace: Pace::Live }],
            trust: Trust::default(),
            holds: false,
            streams: 1,
            skew: 0.0,
            players: vec![1000],
            ramp_per_s: 500,
            sampling: Sampling::Count(10),
            window_ns: 10 * SECOND_NS,
        };
        let publish = Some(publish);
        let load = Load { plot: Plot::Canonical, publish, audience, server: None };
        Ok(Self::of(Action::Load(Box::new(load))))
    }
}
