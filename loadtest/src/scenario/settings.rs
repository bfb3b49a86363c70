//! What the options say, before it becomes a plan.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use lexopt::{Parser, ValueExt};

use super::amount::{bytes, counts, cpus, decimal, percent, positive, rate, time};
use super::plan::SECOND_NS;
use crate::encoder::PictureSize;
use crate::mpegts::PID_PERIOD_DEFAULT_MS;
use crate::observe::{ApiPlan, ServerProcess, WatchPlan};
use crate::player::Sampling;
use crate::source::{BITRATE_MAX, FPS_MAX, GOP_NS_MAX};
use crate::stream_url::StreamUrl;
use crate::tls::Trust;

/// Every option, with its default.
pub(super) struct Settings {
    /// Options that were said.
    pub(super) said: Vec<String>,
    pub(super) url: Option<StreamUrl>,
    pub(super) publish_url: Option<StreamUrl>,
    pub(super) no_publish: bool,
    pub(super) into: Option<PathBuf>,
    pub(super) trust: Trust,
    pub(super) holds: bool,
    pub(super) streams: usize,
    pub(super) skew: f64,
    pub(super) size: PictureSize,
    pub(super) bitrate: u64,
    pub(super) fps: u32,
    pub(super) gop_ns: u64,
    pub(super) audio: bool,
    pub(super) file: Option<PathBuf>,
    pub(super) no_stamp: bool,
    pub(super) publish_ramp_per_s: u64,
    pub(super) duration_ns: Option<u64>,
    pub(super) window_ns: u64,
    pub(super) players: Vec<usize>,
    pub(super) ramp_per_s: u64,
    pub(super) sampling: Sampling,
    pub(super) mix: Option<String>,
    pub(super) http: Option<String>,
    pub(super) srt: Option<String>,
    pub(super) warm_up_ns: u64,
    pub(super) interval_ns: u64,
    pub(super) slope_max: u64,
    pub(super) churn_per_s: f64,
    pub(super) players_min: usize,
    pub(super) players_max: usize,
    pub(super) grow: f64,
    pub(super) precision: f64,
    pub(super) p99_max_ns: u64,
    pub(super) slow: f64,
    pub(super) slow_rate: String,
    pub(super) stops: bool,
    pub(super) rounds: usize,
    pub(super) pause_ns: u64,
    pub(super) reconnect_per_s: Option<u64>,
    pub(super) pid_period_ns: u64,
    pub(super) server_pid: Option<u32>,
    pub(super) softirq_cpu: Option<usize>,
    pub(super) server_api: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) json: Option<PathBuf>,
    pub(super) html: Option<PathBuf>,
    pub(super) quiet: bool,
    pub(super) cpus: Option<Vec<usize>>,
    pub(super) threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            said: Vec::new(),
            url: None,
            publish_url: None,
            no_publish: false,
            into: None,
            trust: Trust::default(),
            holds: false,
            streams: 1,
            skew: 0.0,
            size: PictureSize::DEFAULT,
            bitrate: 2_000_000,
            fps: 30,
            gop_ns: 2 * SECOND_NS,
            audio: false,
            file: None,
            no_stamp: false,
            publish_ramp_per_s: 200,
            duration_ns: None,
            window_ns: 10 * SECOND_NS,
            players: vec![1000],
            ramp_per_s: 500,
            sampling: Sampling::Count(10),
            mix: None,
            http: None,
            srt: None,
            warm_up_ns: 60 * SECOND_NS,
            interval_ns: 10 * SECOND_NS,
            slope_max: 1_000_000,
            churn_per_s: 0.0,
            players_min: 500,
            players_max: 20_000,
            grow: 0.5,
            precision: 0.05,
            p99_max_ns: 200_000_000,
            slow: 0.2,
            slow_rate: "25%".to_owned(),
            stops: false,
            rounds: 3,
            pause_ns: 0,
            reconnect_per_s: None,
            pid_period_ns: PID_PERIOD_DEFAULT_MS * 1_000_000,
            server_pid: None,
            softirq_cpu: None,
            server_api: None,
            token_file: None,
            server_name: None,
            json: None,
            html: None,
            quiet: false,
            cpus: None,
            threads: None,
        }
    }
}

impl Settings {
    /// Takes an option that the command has.
    pub(super) fn set(&mut self, option: &str, parser: &mut Parser) -> Result<()> {
        self.said.push(option.to_owned());
        match option {
            "audio" => self.audio = true,
            "no-stamp" => self.no_stamp = true,
            "file" => self.file = Some(parser.value()?.into()),
            "hold" => self.holds = true,
            "no-publish" => self.no_publish = true,
            "stop" => self.stops = true,
            "tls-insecure" => self.trust = Trust::Anybody,
            "into" => self.into = Some(parser.value()?.into()),
            "quiet" => self.quiet = true,
            "html" => self.html = Some(parser.value()?.into()),
            "token-file" => self.token_file = Some(parser.value()?.into()),
            "json" => self.json = Some(parser.value()?.into()),
            "tls-ca" => self.trust = Trust::Authority(parser.value()?.into()),
            _ => return self.set_to(option, &parser.value()?.string()?),
        }
        Ok(())
    }

    fn set_to(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "url" => self.url = Some(StreamUrl::parse(value)?),
            "publish-url" => self.publish_url = Some(StreamUrl::parse(value)?),
            "http" => self.http = Some(value.to_owned()),
            "srt" => self.srt = Some(value.to_owned()),
            "mix" => self.mix = Some(value.to_owned()),
            "streams" => self.streams = positive(value)?,
            "skew" => self.skew = decimal(value)?,
            "size" => self.size = PictureSize::parse(value)?,
            "bitrate" => {
                self.bitrate = rate(value)?;
                ensure!(self.bitrate <= BITRATE_MAX, "{value} is too much; at most 1000M");
            }
            "fps" => {
                let fps = u32::try_from(positive(value)?).ok().filter(|fps| *fps <= FPS_MAX);
                self.fps =
                    fps.with_context(|| format!("{value} is too much; at most {FPS_MAX}"))?;
            }
            "gop" => {
                self.gop_ns = time(value)?;
                ensure!(self.gop_ns <= GOP_NS_MAX, "{value} is too long; at most 1h");
            }
            "publish-ramp" => self.publish_ramp_per_s = positive(value)? as u64,
            "duration" => self.duration_ns = Some(time(value)?),
            "window" => self.window_ns = time(value)?,
            "players" => self.players = counts(value)?,
            "ramp" => self.ramp_per_s = positive(value)? as u64,
            "sampled" => {
                self.sampling = match value.parse() {
                    Ok(count) => Sampling::Count(count),
                    Err(_) => Sampling::Share(percent(value)?),
                }
            }
            "warm-up" => self.warm_up_ns = time(value)?,
            "interval" => self.interval_ns = time(value)?,
            "slope-max" => self.slope_max = bytes(value)?,
            "churn" => self.churn_per_s = decimal(value)?,
            "players-min" => self.players_min = positive(value)?,
            "players-max" => self.players_max = positive(value)?,
            "grow" => self.grow = percent(value)?,
            "precision" => self.precision = percent(value)?,
            "p99-max" => self.p99_max_ns = time(value)?,
            "slow" => self.slow = percent(value)?,
            "slow-rate" => value.clone_into(&mut self.slow_rate),
            "rounds" => self.rounds = positive(value)?,
            "pause" => self.pause_ns = time(value)?,
            "reconnect" => self.reconnect_per_s = Some(positive(value)? as u64),
            "pid-period" => self.pid_period_ns = time(value)?,
            "server-api" => self.server_api = Some(value.to_owned()),
            "server-name" => self.server_name = Some(value.to_owned()),
            "server-pid" => self.server_pid = Some(value.parse().context("no process id")?),
            "softirq-cpu" => self.softirq_cpu = Some(value.parse().context("no CPU")?),
            "cpu" => self.cpus = Some(vec![value.parse().context("no CPU")?]),
            "cpus" => self.cpus = Some(cpus(value)?),
            "threads" => self.threads = Some(positive(value)?),
            other => unreachable!("--{other} is in a list of options"),
        }
        Ok(())
    }

    /// What is seen of the server.
    pub(super) fn watch_plan(&self) -> Result<WatchPlan> {
        if self.softirq_cpu.is_some() && self.server_pid.is_none() {
            bail!("--softirq-cpu needs --server-pid");
        }
        if self.token_file.is_some() && self.server_api.is_none() {
            bail!("--token-file needs --server-api");
        }
        let softirq_cpu = self.softirq_cpu;
        let (trust, token_file) = (self.trust.clone(), self.token_file.clone());
        Ok(WatchPlan {
            process: self.server_pid.map(|pid| ServerProcess { pid, softirq_cpu }),
            api: self.server_api.clone().map(|url| ApiPlan { url, trust, token_file }),
            server_name: self.server_name.clone(),
        })
    }

    /// Whether readers are slow by a share of `--bitrate`.
    pub(super) fn sets_pace_by_bitrate(&self, command: &str) -> bool {
        command == "slow" && !self.stops && percent(&self.slow_rate).is_ok()
    }

    /// Bytes a second of a player who is slow.
    pub(super) fn slow_bytes_per_s(&self) -> Result<u64> {
        if self.stops {
            return Ok(0);
        }
        let bits = match percent(&self.slow_rate) {
            Ok(share) => (self.bitrate as f64 * share) as u64,
            Err(_) => rate(&self.slow_rate).context("--slow-rate")?,
        };
        Ok(bits / 8)
    }
}
