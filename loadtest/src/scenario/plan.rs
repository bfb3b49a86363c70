//! Scenarios as values.

use std::path::PathBuf;

use anyhow::Result;

use crate::encoder::PictureSize;
use crate::mirror::MirrorPlan;
use crate::observe::ServerProcess;
use crate::publisher::PublishPlan;
use crate::source::SourceSettings;
use crate::stream_url::StreamUrl;
use crate::tls::Trust;

/// What is loaded without any argument.
pub const CANONICAL_URL: &str = "rtmp://127.0.0.1:1935/live/load";

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What to do.
    pub action: Action,
    /// Where to write the results as JSON.
    pub json: Option<PathBuf>,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print the usage.
    Help,
    /// Judge a transport stream.
    CheckTs {
        /// Where it is; `-` is the standard input.
        file: PathBuf,
        /// How long a PID that a PMT names may be silent.
        pid_period_ms: u64,
    },
    /// Copy a stream's files into a folder.
    Mirror(MirrorPlan),
    /// Publish only.
    Publish(PublishPlan),
    /// Play only, once.
    Play(Audience),
    /// Publish, unless somebody else does, and play for each number of players.
    Fanout {
        /// What to publish.
        publish: Option<PublishPlan>,
        /// Who plays.
        audience: Audience,
        /// The process to watch.
        server: Option<ServerProcess>,
    },
    /// Publish, play, and print three numbers.
    Canonical {
        /// What to publish.
        publish: PublishPlan,
        /// Who plays.
        audience: Audience,
    },
}

/// Who plays, for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// What is played.
    pub url: StreamUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Players of HLS ask for one playlist and keep their connection.
    pub holds: bool,
    /// Streams that players take turns with.
    pub streams: usize,
    /// Numbers of players, each at least the one before.
    pub players: Vec<usize>,
    /// Players that connect in a second.
    pub ramp_per_s: u64,
    /// Players that check all that they get.
    pub sampled: usize,
    /// How long each number of players is watched.
    pub window_ns: u64,
}

impl Scenario {
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
            source,
            duration_ns: None,
        };
        let audience = Audience {
            url,
            trust: Trust::default(),
            holds: false,
            streams: 1,
            players: vec![1000],
            ramp_per_s: 500,
            sampled: 10,
            window_ns: 10 * SECOND_NS,
        };
        Ok(Self { action: Action::Canonical { publish, audience }, json: None, cpu: None })
    }
}
