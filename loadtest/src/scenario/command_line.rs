//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};

use super::casting::parts;
use super::command::{CANONICAL, Command, overview};
use super::impair_line;
use super::plan::{
    Action, Audience, KneePlan, Load, Plot, SECOND_NS, Scenario, SoakPlan, StormPlan,
};
use super::settings::Settings;
use crate::clip::Clip;
use crate::mirror::MirrorPlan;
use crate::publisher::{PublishPlan, Recording};
use crate::source::{PICTURE_BYTES_MAX, SourceSettings};
use crate::stream_url::{Scheme, StreamUrl};

/// How long a soak lasts unless told.
const SOAK_NS: u64 = 30 * 60 * SECOND_NS;

/// Reads the arguments, without the name of the program.
///
/// # Errors
/// In one line, if they cannot be followed.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Scenario> {
    let mut parser = Parser::from_args(args);
    let mut settings = Settings::default();
    let canonical = Command::find(CANONICAL).context("there is a canonical workload")?;
    let command = match parser.next()? {
        None => return Scenario::canonical(),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(help(overview())),
        Some(Arg::Value(command)) => command.string()?,
        Some(Arg::Long(option)) => {
            let option = option.to_owned();
            take(canonical, &option, &mut settings, &mut parser)?;
            if options(canonical, &mut settings, &mut parser, &mut None)? {
                return Ok(help(overview()));
            }
            let mut action = Scenario::canonical()?.action;
            if let Action::Load(load) = &mut action {
                load.server = settings.watch_plan()?.process;
            }
            return settings.scenario(action);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    if command == "help" {
        return Ok(help(overview()));
    }
    let Some(command) = Command::find(&command).filter(|command| command.name != CANONICAL) else {
        bail!("unknown command {command}; try --help");
    };
    if command.name == "impair" {
        return impair_line::parse(command, parser);
    }
    let mut file = None;
    if options(command, &mut settings, &mut parser, &mut file)? {
        return Ok(help(command.usage()));
    }
    let action = settings.action(command.name, file)?;
    settings.scenario(action)
}

pub(super) fn help(text: String) -> Scenario {
    Scenario::of(Action::Help(text))
}

/// Reads what is left; true if help is asked for.
fn options(
    command: &Command,
    settings: &mut Settings,
    parser: &mut Parser,
    file: &mut Option<PathBuf>,
) -> Result<bool> {
    while let Some(arg) = parser.next()? {
        let option = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(true),
            Arg::Long(option) => option.to_owned(),
            Arg::Value(path) if command.name == "check-ts" && file.is_none() => {
                *file = Some(path.into());
                continue;
            }
            other => return Err(other.unexpected().into()),
        };
        take(command, &option, settings, parser)?;
    }
    Ok(false)
}

fn take(
    command: &Command,
    option: &str,
    settings: &mut Settings,
    parser: &mut Parser,
) -> Result<()> {
    if !command.takes(option) {
        let name = if command.name == CANONICAL { "the canonical workload" } else { command.name };
        bail!("{name} has no option --{option}; try --help");
    }
    settings.set(option, parser).with_context(|| format!("--{option}"))
}

impl Settings {
    fn scenario(self, action: Action) -> Result<Scenario> {
        let watch = self.watch_plan()?;
        let Self { json, html, quiet, cpus, threads, .. } = self;
        Ok(Scenario { action, json, html, quiet, watch, cpus, threads })
    }

    fn action(&self, command: &str, file: Option<PathBuf>) -> Result<Action> {
        if command == "check-ts" {
            let file = file.context("check-ts needs a file, or - for the standard input")?;
            let pid_period_ms = self.pid_period_ns / 1_000_000;
            return Ok(Action::CheckTs { file, pid_period_ms });
        }
        let url = self.url.clone().with_context(|| format!("{command} needs --url"))?;
        match command {
            "publish" => Ok(Action::Publish(self.publish_plan(command, url, self.duration_ns)?)),
            "mirror" => {
                let into = self.into.clone().context("mirror needs --into")?;
                Ok(Action::Mirror(MirrorPlan { url, into, duration_ns: self.duration_ns }))
            }
            _ => Ok(Action::Load(Box::new(self.load(command, url)?))),
        }
    }

    fn load(&self, command: &str, url: StreamUrl) -> Result<Load> {
        if self.players.len() > 1 && !["fanout", "mixed"].contains(&command) {
            bail!("{command} takes one number of players; fanout and mixed take several");
        }
        let plot = self.plot(command)?;
        let publish_url = match &self.publish_url {
            _ if self.no_publish || command == "play" => None,
            Some(publish_url) => Some(publish_url.clone()),
            None if url.scheme == Scheme::Rtmp => Some(url),
            None => bail!("{url} is only played: it needs --publish-url or --no-publish"),
        };
        let publish = publish_url.map(|url| self.publish_plan(command, url, None)).transpose()?;
        let server = self.watch_plan()?.process;
        let players = match plot {
            Plot::FindKnee(KneePlan { players_min, .. }) => vec![players_min],
            _ => self.players.clone(),
        };
        let parts = parts(self, command)?;
        if self.holds && parts.iter().all(|part| part.url.scheme != Scheme::Hls) {
            bail!("--hold is of players of HLS, and nobody plays http[s]://HOST/NAME/index.m3u8");
        }
        let audience = Audience {
            parts,
            trust: self.trust.clone(),
            holds: self.holds,
            streams: self.streams,
            skew: self.skew,
            players,
            ramp_per_s: self.ramp_per_s,
            sampling: self.sampling,
            window_ns: self.duration_ns.unwrap_or(self.window_ns),
        };
        Ok(Load { plot, publish, audience, server })
    }

    /// A recorded stream is published as it is; readers who are slow may be told its rate.
    fn refuse_synthetic(&self, command: &str) -> Result<()> {
        for option in ["size", "bitrate", "fps", "gop", "audio"] {
            let is_said = self.said.iter().any(|said| said == option);
            if is_said && !(option == "bitrate" && self.sets_pace_by_bitrate(command)) {
                bail!("--{option} is of synthetic media: --file is published as it is");
            }
        }
        Ok(())
    }

    fn plot(&self, command: &str) -> Result<Plot> {
        Ok(match command {
            "soak" => {
                self.server_pid.context("soak needs --server-pid, whose memory is watched")?;
                Plot::Soak(SoakPlan {
                    duration_ns: self.duration_ns.unwrap_or(SOAK_NS),
                    warm_up_ns: self.warm_up_ns,
                    interval_ns: self.interval_ns,
                    slope_max: self.slope_max,
                    churn_per_s: self.churn_per_s,
                })
            }
            "find-knee" => {
                let Self { players_min, players_max, grow, precision, .. } = *self;
                let p99_max_ns = self.p99_max_ns()?;
                if players_min > players_max {
                    bail!("--players-min {players_min} is above --players-max {players_max}");
                }
                if grow <= 0.0 || precision <= 0.0 {
                    bail!("--grow and --precision are above 0%");
                }
                Plot::FindKnee(KneePlan { players_min, players_max, grow, precision, p99_max_ns })
            }
            "slow" => Plot::Slow,
            "storm" => {
                let Self { rounds, pause_ns, reconnect_per_s, .. } = *self;
                Plot::Storm(StormPlan { rounds, pause_ns, reconnect_per_s })
            }
            _ => Plot::Hold,
        })
    }

    /// The latency that still holds, unless it is wished that nobody knows any.
    fn p99_max_ns(&self) -> Result<Option<u64>> {
        let is_blind = self.no_stamp || self.sampling.is_of_nobody();
        if is_blind && self.said.iter().any(|said| said == "p99-max") {
            bail!(
                "--p99-max judges stamped frames of sampled players: leave --sampled 0 and \
                 --no-stamp away"
            );
        }
        Ok((!is_blind).then_some(self.p99_max_ns))
    }

    fn publish_plan(
        &self,
        command: &str,
        url: StreamUrl,
        duration_ns: Option<u64>,
    ) -> Result<PublishPlan> {
        if !url.scheme.publishes() {
            bail!(
                "streams are published by rtmp://, rtmps:// or srt://, and {url} is none of them"
            );
        }
        let gop_frames =
            self.gop_ns.checked_mul(u64::from(self.fps)).context("--gop is too long")?;
        let gop_frames = gop_frames.div_ceil(SECOND_NS);
        let source = SourceSettings {
            size: self.size,
            bitrate: self.bitrate,
            fps: self.fps,
            gop_frames: u32::try_from(gop_frames).context("--gop is too long")?,
            audio: self.audio,
        };
        let key_len = source.keyframe_len();
        if key_len > PICTURE_BYTES_MAX {
            bail!(
                "a keyframe would have {key_len} bytes of at most {PICTURE_BYTES_MAX}: lower \
                 --bitrate, or raise --fps"
            );
        }
        let recording = match &self.file {
            Some(file) => {
                self.refuse_synthetic(command)?;
                let clip = Clip::open(file).context("--file")?;
                Some(Recording { clip: Arc::new(clip), stamps: !self.no_stamp })
            }
            None if self.no_stamp => bail!("--no-stamp is of --file: synthetic media is stamped"),
            None => None,
        };
        let (trust, streams) = (self.trust.clone(), self.streams);
        let ramp_per_s = self.publish_ramp_per_s;
        Ok(PublishPlan { url, trust, streams, ramp_per_s, source, recording, duration_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::PictureSize;
    use crate::observe::{ApiPlan, ServerProcess};
    use crate::player::{Pace, Sampling};
    use crate::tls::Trust;

    fn read(line: &str) -> Result<Scenario> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn load(line: &str) -> Load {
        match read(line).unwrap().action {
            Action::Load(load) => *load,
            other => panic!("no load: {other:?}"),
        }
    }

    #[test]
    fn nothing_is_the_canonical_workload() {
        assert_eq!(read("").unwrap(), Scenario::canonical().unwrap());
        let scenario = read("--json out.json --cpus 1,3-4 --threads 2").unwrap();
        assert_eq!(scenario.cpus, Some(vec![1, 3, 4]));
        assert_eq!((scenario.json, scenario.threads), (Some("out.json".into()), Some(2)));
        let Action::Load(load) = scenario.action else { panic!("no load") };
        assert_eq!((load.plot, load.server), (Plot::Canonical, None));
        let Action::Load(load) = read("--server-pid 7").unwrap().action else { panic!("no load") };
        assert_eq!(load.server, Some(ServerProcess { pid: 7, softirq_cpu: None }));
        for (line, start) in [
            ("--help", "grandstand-load: a load"),
            ("-h", "grandstand-load: a load"),
            ("help", "grandstand-load: a load"),
            ("play --help", "grandstand-load play --url"),
            ("soak -h", "grandstand-load soak --url"),
        ] {
            let Action::Help(text) = read(line).unwrap().action else { panic!("no help: {line}") };
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn publishing_is_planned() {
        let line = "publish --url rtmp://h/live/a --streams 3 --size 640x360 --bitrate 1.5M \
                    --fps 25 --gop 500ms --duration 1m --audio";
        let Action::Publish(plan) = read(line).unwrap().action else { panic!("not publish") };
        let source = SourceSettings {
            size: PictureSize::parse("640x360").unwrap(),
            bitrate: 1_500_000,
            fps: 25,
            gop_frames: 13,
            audio: true,
        };
        assert_eq!((plan.source, plan.streams), (source, 3));
        assert_eq!(plan.duration_ns, Some(60 * SECOND_NS));
    }

    #[test]
    fn what_is_watched_and_where_results_go_is_planned() {
        let scenario = read(
            "play --url rtmp://h/live/a --server-pid 7 --server-api http://h:8090 --token-file t \
             --server-name old --html out.html --quiet",
        )
        .unwrap();
        let watch = scenario.watch;
        assert_eq!(watch.process, Some(ServerProcess { pid: 7, softirq_cpu: None }));
        let (url, trust) = ("http://h:8090".to_owned(), Trust::System);
        let api = ApiPlan { url, trust, token_file: Some("t".into()) };
        assert_eq!((watch.api, watch.server_name), (Some(api), Some("old".to_owned())));
        assert_eq!((scenario.html, scenario.quiet), (Some("out.html".into()), true));
    }

    #[test]
    fn how_long_is_asked_by_either_word() {
        for command in ["play", "fanout", "find-knee", "storm"] {
            for word in ["window", "duration"] {
                let of = load(&format!("{command} --url rtmp://h/live/a --{word} 3"));
                assert_eq!(of.audience.window_ns, 3 * SECOND_NS, "{command} --{word}");
            }
        }
    }

    #[test]
    fn fanout_publishes_where_it_can() {
        let of = load(
            "fanout --url rtmp://h/live/a --players 10,200 --window 3 --server-pid 7 \
             --softirq-cpu 0",
        );
        assert_eq!(of.publish.unwrap().url, of.audience.parts[0].url);
        assert_eq!((of.audience.players, of.audience.window_ns), (vec![10, 200], 3 * SECOND_NS));
        assert_eq!(of.server, Some(ServerProcess { pid: 7, softirq_cpu: Some(0) }));
        let of = load("fanout --url http://h:1/a.flv --publish-url rtmp://h/live/a");
        let part = &of.audience.parts[0];
        assert_eq!((of.publish.unwrap().url.app.as_str(), part.url.port), ("live", 1));
        assert_eq!(part.name, "flv");
        let of = load("fanout --url https://h/a/index.m3u8 --no-publish --hold --tls-insecure");
        assert_eq!((of.publish, of.audience.trust), (None, Trust::Anybody));
        assert!(of.audience.holds);
        let of = load("fanout --url rtmps://h/live/a --tls-ca ca.pem --sampled 5%");
        assert_eq!(of.audience.trust, Trust::Authority("ca.pem".into()));
        assert_eq!(of.audience.sampling, Sampling::Share(0.05));
        assert_eq!(of.publish.unwrap().trust, of.audience.trust);
    }

    #[test]
    fn a_mix_has_an_address_for_each_format() {
        let of = load("mixed --url rtmp://h/live/a?k=1 --http https://h:8443/x/ --streams 4");
        let parts: Vec<_> =
            of.audience.parts.iter().map(|part| (part.share, part.url.to_string())).collect();
        let wanted = [
            (50.0, "rtmp://h/live/a"),
            (20.0, "https://h:8443/x/a.flv"),
            (5.0, "wss://h:8443/x/a.flv"),
            (5.0, "https://h:8443/x/a.ts"),
            (20.0, "https://h:8443/x/a/index.m3u8"),
        ];
        assert_eq!(parts, wanted.map(|(share, url)| (share, url.to_owned())));
        assert!(of.audience.parts.iter().all(|part| part.url.query == "?k=1"));
        assert_eq!((of.plot, of.publish.unwrap().streams), (Plot::Hold, 4));
        let of = load("mixed --url rtmp://h/live/a --mix rtmp=3,hls=0");
        assert_eq!(of.audience.names(), ["rtmp"]);
    }

    #[test]
    fn scenarios_are_planned() {
        let of = load("soak --url rtmp://h/live/a --server-pid 7 --duration 1h --slope-max 64k");
        let Plot::Soak(plan) = of.plot else { panic!("no soak") };
        assert_eq!((plan.duration_ns, plan.slope_max), (3600 * SECOND_NS, 64_000));
        let of = load("find-knee --url rtmp://h/live/a --players-min 50 --p99-max 15ms");
        let Plot::FindKnee(plan) = of.plot else { panic!("no knee") };
        assert_eq!((plan.players_min, plan.p99_max_ns), (50, Some(15_000_000)));
        assert_eq!(of.audience.players, [50]);
        for blind in ["--sampled 0", "--sampled 0%"] {
            let line = format!("find-knee --url rtmp://h/live/a {blind}");
            let Plot::FindKnee(plan) = load(&line).plot else { panic!("no knee") };
            assert_eq!(plan.p99_max_ns, None, "nobody is to look");
            let told = read(&format!("{line} --p99-max 15ms")).unwrap_err().to_string();
            assert!(told.starts_with("--p99-max judges stamped frames"), "{told}");
        }
        let of = load("storm --url rtmp://h/live/a --rounds 2 --reconnect 900 --pause 1s");
        let plan = StormPlan { rounds: 2, pause_ns: SECOND_NS, reconnect_per_s: Some(900) };
        assert_eq!(of.plot, Plot::Storm(plan));
        for (line, bytes_per_s) in [("", 62_500), ("--slow-rate 80k", 10_000), ("--stop", 0)] {
            let of = load(&format!("slow --url rtmp://h/live/a --slow 25% {line}"));
            let [live, slow] = of.audience.parts.as_slice() else { panic!("two parts") };
            assert_eq!((live.share, live.pace), (0.75, Pace::Live));
            assert_eq!((slow.share, slow.pace), (0.25, Pace::Slow { bytes_per_s }));
        }
    }

    #[test]
    fn a_file_is_to_be_checked() {
        let check = |line: &str| read(line).map(|scenario| scenario.action);
        let wanted =
            |file: &str, pid_period_ms| Action::CheckTs { file: file.into(), pid_period_ms };
        assert_eq!(check("check-ts a.ts").unwrap(), wanted("a.ts", 5000));
        assert_eq!(check("check-ts --pid-period 1s - --cpu 0").unwrap(), wanted("-", 1000));
    }
}
