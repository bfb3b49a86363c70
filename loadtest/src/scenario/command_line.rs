//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};

use super::plan::{Action, Audience, SECOND_NS, Scenario};
use crate::encoder::PictureSize;
use crate::mirror::MirrorPlan;
use crate::mpegts::PID_PERIOD_DEFAULT_MS;
use crate::observe::ServerProcess;
use crate::publisher::PublishPlan;
use crate::source::SourceSettings;
use crate::stream_url::{Scheme, StreamUrl};
use crate::tls::Trust;

const EVERYWHERE: [&str; 2] = ["json", "cpu"];
const MIRROR: [&str; 3] = ["url", "into", "duration"];
const TLS: [&str; 2] = ["tls-ca", "tls-insecure"];
const PUBLISH: [&str; 8] = ["url", "streams", "size", "bitrate", "fps", "gop", "audio", "duration"];
const PLAY: [&str; 7] = ["url", "streams", "players", "ramp", "sampled", "hold", "duration"];
const CHECK_TS: [&str; 1] = ["pid-period"];
const FANOUT: [&str; 16] = [
    "url",
    "streams",
    "size",
    "bitrate",
    "fps",
    "gop",
    "audio",
    "players",
    "ramp",
    "sampled",
    "hold",
    "window",
    "server-pid",
    "softirq-cpu",
    "publish-url",
    "no-publish",
];

/// Every option, with its default.
struct Options {
    url: Option<StreamUrl>,
    publish_url: Option<StreamUrl>,
    no_publish: bool,
    into: Option<PathBuf>,
    trust: Trust,
    holds: bool,
    streams: usize,
    size: PictureSize,
    bitrate: u64,
    fps: u32,
    gop_ns: u64,
    audio: bool,
    duration_ns: Option<u64>,
    window_ns: u64,
    players: Vec<usize>,
    ramp_per_s: u64,
    sampled: usize,
    pid_period_ns: u64,
    server_pid: Option<u32>,
    softirq_cpu: Option<usize>,
    json: Option<PathBuf>,
    cpu: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: None,
            publish_url: None,
            no_publish: false,
            into: None,
            trust: Trust::default(),
            holds: false,
            streams: 1,
            size: PictureSize::DEFAULT,
            bitrate: 2_000_000,
            fps: 30,
            gop_ns: 2 * SECOND_NS,
            audio: false,
            duration_ns: None,
            window_ns: 10 * SECOND_NS,
            players: vec![1000],
            ramp_per_s: 500,
            sampled: 10,
            pid_period_ns: PID_PERIOD_DEFAULT_MS * 1_000_000,
            server_pid: None,
            softirq_cpu: None,
            json: None,
            cpu: None,
        }
    }
}

/// Reads the arguments, without the name of the program.
///
/// # Errors
/// In one line, if they cannot be followed.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Scenario> {
    let mut parser = Parser::from_args(args);
    let help = Scenario { action: Action::Help, json: None, cpu: None };
    let command = match parser.next()? {
        None => return Scenario::canonical(),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(help),
        Some(Arg::Value(command)) => command.string()?,
        Some(Arg::Long(option)) if EVERYWHERE.contains(&option) => {
            let option = option.to_owned();
            let mut options = Options::default();
            options.set(&option, &mut parser)?;
            options.read_rest(&mut parser, "the canonical workload", &[])?;
            let Options { json, cpu, .. } = options;
            return Ok(Scenario { json, cpu, ..Scenario::canonical()? });
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    let allowed: &[&str] = match command.as_str() {
        "publish" => &PUBLISH,
        "play" => &PLAY,
        "fanout" => &FANOUT,
        "mirror" => &MIRROR,
        "check-ts" => return check_ts(parser),
        "help" => return Ok(help),
        other => bail!("unknown command {other}; try --help"),
    };
    let mut options = Options::default();
    if options.read_rest(&mut parser, &command, allowed)? {
        return Ok(help);
    }
    options.scenario(&command)
}

/// The file stands among the options, or before or behind them.
fn check_ts(mut parser: Parser) -> Result<Scenario> {
    let mut options = Options::default();
    let mut file: Option<PathBuf> = None;
    while let Some(arg) = parser.next()? {
        let option = match arg {
            Arg::Long("help") | Arg::Short('h') => {
                return Ok(Scenario { action: Action::Help, json: None, cpu: None });
            }
            Arg::Value(path) if file.is_none() => {
                file = Some(path.into());
                continue;
            }
            Arg::Long(option) => option.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        options.set_allowed(&option, &mut parser, "check-ts", &CHECK_TS)?;
    }
    let file = file.context("check-ts needs a file, or - for the standard input")?;
    let pid_period_ms = options.pid_period_ns / 1_000_000;
    let action = Action::CheckTs { file, pid_period_ms };
    Ok(Scenario { action, json: options.json, cpu: options.cpu })
}

impl Options {
    /// Reads what is left; true if help is asked for.
    fn read_rest(&mut self, parser: &mut Parser, command: &str, allowed: &[&str]) -> Result<bool> {
        while let Some(arg) = parser.next()? {
            let option = match arg {
                Arg::Long("help") | Arg::Short('h') => return Ok(true),
                Arg::Long(option) => option.to_owned(),
                other => return Err(other.unexpected().into()),
            };
            self.set_allowed(&option, parser, command, allowed)?;
        }
        Ok(false)
    }

    fn set_allowed(
        &mut self,
        option: &str,
        parser: &mut Parser,
        command: &str,
        allowed: &[&str],
    ) -> Result<()> {
        let tls: &[&str] = if allowed.contains(&"url") { &TLS } else { &[] };
        if !allowed.iter().chain(&EVERYWHERE).chain(tls).any(|name| *name == option) {
            bail!("{command} has no option --{option}; try --help");
        }
        self.set(option, parser).with_context(|| format!("--{option}"))
    }

    fn set(&mut self, option: &str, parser: &mut Parser) -> Result<()> {
        match option {
            "audio" => self.audio = true,
            "into" => self.into = Some(parser.value()?.into()),
            "hold" => self.holds = true,
            "tls-ca" => self.trust = Trust::Authority(parser.value()?.into()),
            "tls-insecure" => self.trust = Trust::Anybody,
            "no-publish" => self.no_publish = true,
            "url" => self.url = Some(StreamUrl::parse(&parser.value()?.string()?)?),
            "publish-url" => self.publish_url = Some(StreamUrl::parse(&parser.value()?.string()?)?),
            "streams" => self.streams = positive(parser)?,
            "size" => self.size = PictureSize::parse(&parser.value()?.string()?)?,
            "bitrate" => self.bitrate = rate(&parser.value()?.string()?)?,
            "fps" => self.fps = u32::try_from(positive(parser)?).context("too many")?,
            "gop" => self.gop_ns = time(&parser.value()?.string()?)?,
            "duration" => self.duration_ns = Some(time(&parser.value()?.string()?)?),
            "window" => self.window_ns = time(&parser.value()?.string()?)?,
            "players" => self.players = counts(&parser.value()?.string()?)?,
            "ramp" => self.ramp_per_s = positive(parser)? as u64,
            "sampled" => self.sampled = parser.value()?.parse()?,
            "pid-period" => self.pid_period_ns = time(&parser.value()?.string()?)?,
            "server-pid" => self.server_pid = Some(parser.value()?.parse()?),
            "softirq-cpu" => self.softirq_cpu = Some(parser.value()?.parse()?),
            "json" => self.json = Some(parser.value()?.into()),
            "cpu" => self.cpu = Some(parser.value()?.parse()?),
            other => unreachable!("--{other} is in a list of options"),
        }
        Ok(())
    }

    fn scenario(self, command: &str) -> Result<Scenario> {
        let url = self.url.clone().with_context(|| format!("{command} needs --url"))?;
        let action = match command {
            "publish" => Action::Publish(self.publish_plan(url)?),
            "mirror" => {
                let into = self.into.clone().context("mirror needs --into")?;
                Action::Mirror(MirrorPlan { url, into, duration_ns: self.duration_ns })
            }
            "play" => {
                if self.players.len() != 1 {
                    bail!("play takes one number of players, fanout several");
                }
                let window_ns = self.duration_ns.unwrap_or(self.window_ns);
                Action::Play(self.audience(url, window_ns))
            }
            _ => {
                let publish_url = match &self.publish_url {
                    _ if self.no_publish => None,
                    Some(publish_url) => Some(publish_url.clone()),
                    None if url.scheme == Scheme::Rtmp => Some(url.clone()),
                    None => bail!("{url} is only played: it needs --publish-url or --no-publish"),
                };
                let publish = publish_url.map(|url| self.publish_plan(url)).transpose()?;
                if self.softirq_cpu.is_some() && self.server_pid.is_none() {
                    bail!("--softirq-cpu needs --server-pid");
                }
                let softirq_cpu = self.softirq_cpu;
                let server = self.server_pid.map(|pid| ServerProcess { pid, softirq_cpu });
                let audience = self.audience(url, self.window_ns);
                Action::Fanout { publish, audience, server }
            }
        };
        Ok(Scenario { action, json: self.json, cpu: self.cpu })
    }

    fn publish_plan(&self, url: StreamUrl) -> Result<PublishPlan> {
        if url.scheme != Scheme::Rtmp {
            bail!("streams are published by rtmp:// or rtmps://");
        }
        let gop_frames = (self.gop_ns * u64::from(self.fps)).div_ceil(SECOND_NS);
        let source = SourceSettings {
            size: self.size,
            bitrate: self.bitrate,
            fps: self.fps,
            gop_frames: u32::try_from(gop_frames).context("--gop is too long")?,
            audio: self.audio,
        };
        let (trust, duration_ns) = (self.trust.clone(), self.duration_ns);
        Ok(PublishPlan { url, trust, streams: self.streams, source, duration_ns })
    }

    fn audience(&self, url: StreamUrl, window_ns: u64) -> Audience {
        Audience {
            url,
            trust: self.trust.clone(),
            holds: self.holds,
            streams: self.streams,
            players: self.players.clone(),
            ramp_per_s: self.ramp_per_s,
            sampled: self.sampled,
            window_ns,
        }
    }
}

fn positive(parser: &mut Parser) -> Result<usize> {
    match parser.value()?.parse()? {
        0 => bail!("must be at least 1"),
        number => Ok(number),
    }
}

/// Numbers that never fall.
fn counts(text: &str) -> Result<Vec<usize>> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let numbers = numbers.with_context(|| format!("no list of numbers: {text}"))?;
    if numbers.contains(&0) || !numbers.is_sorted() {
        bail!("players are at least 1 and never fall: {text}");
    }
    Ok(numbers)
}

/// Bits per second: a number, maybe with k or M.
fn rate(text: &str) -> Result<u64> {
    scaled(text, &[("k", 1000), ("M", 1_000_000), ("", 1)])
        .with_context(|| format!("no bit rate: {text}"))
}

/// Nanoseconds: a number of seconds, or with ms, s or m.
fn time(text: &str) -> Result<u64> {
    let units = [("ms", 1_000_000), ("s", SECOND_NS), ("m", 60 * SECOND_NS), ("", SECOND_NS)];
    scaled(text, &units).with_context(|| format!("no time: {text}"))
}

/// A decimal number with one of the units; the unit without a name must come last.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number, *scale)))?;
    let value = number.parse::<f64>().ok()? * scale as f64;
    // Zero and what 63 bits do not hold are no sensible amount of anything.
    (value >= 1.0 && value < i64::MAX as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Scenario> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn nothing_is_the_canonical_workload() {
        assert_eq!(read("").unwrap(), Scenario::canonical().unwrap());
        let scenario = read("--json out.json --cpu 1").unwrap();
        assert_eq!((scenario.json, scenario.cpu), (Some("out.json".into()), Some(1)));
        assert!(matches!(scenario.action, Action::Canonical { .. }));
        for line in ["--help", "-h", "help", "play --help"] {
            assert_eq!(read(line).unwrap().action, Action::Help, "{line}");
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
    fn fanout_publishes_where_it_can() {
        let plan = |line: &str| match read(line).unwrap().action {
            Action::Fanout { publish, audience, server } => (publish, audience, server),
            other => panic!("not fanout: {other:?}"),
        };
        let (publish, audience, server) = plan(
            "fanout --url rtmp://h/live/a --players 10,200 --window 3 --server-pid 7 \
             --softirq-cpu 0",
        );
        assert_eq!(publish.unwrap().url, audience.url);
        assert_eq!((audience.players, audience.window_ns), (vec![10, 200], 3 * SECOND_NS));
        assert_eq!(server, Some(ServerProcess { pid: 7, softirq_cpu: Some(0) }));
        let (publish, audience, _) =
            plan("fanout --url http://h:1/a.flv --publish-url rtmp://h/live/a");
        assert_eq!((publish.unwrap().url.app.as_str(), audience.url.port), ("live", 1));
        let (publish, audience, _) =
            plan("fanout --url https://h/a/index.m3u8 --no-publish --hold --tls-insecure");
        assert_eq!((publish, audience.holds, audience.trust), (None, true, Trust::Anybody));
        let (publish, audience, _) = plan("fanout --url rtmps://h/live/a --tls-ca ca.pem");
        assert_eq!(audience.trust, Trust::Authority("ca.pem".into()));
        assert_eq!(publish.unwrap().trust, audience.trust);
    }

    #[test]
    fn a_file_is_to_be_checked() {
        let check = |line: &str| read(line).map(|scenario| scenario.action);
        let wanted =
            |file: &str, pid_period_ms| Action::CheckTs { file: file.into(), pid_period_ms };
        assert_eq!(check("check-ts a.ts").unwrap(), wanted("a.ts", 5000));
        assert_eq!(check("check-ts --pid-period 1s - --cpu 0").unwrap(), wanted("-", 1000));
    }

    #[test]
    fn nonsense_is_one_clear_line() {
        let table = [
            ("sing", "unknown command sing"),
            ("play", "play needs --url"),
            ("play --url rtmp://h/live/a --bitrate 1M", "play has no option --bitrate"),
            ("play --url srt://h/a", "--url: cannot speak srt://"),
            ("play --url rtmp://h/live/a --players 1,2", "play takes one number"),
            ("play --url rtmp://h/live/a --players 0", "--players: players are at least 1"),
            ("fanout --url rtmp://h/live/a --players 9,2", "--players: players are at least 1"),
            ("fanout --url http://h/a.flv", "http://h/a.flv is only played"),
            ("fanout --url rtmp://h/live/a --softirq-cpu 1", "--softirq-cpu needs --server-pid"),
            ("publish --url http://h/a.flv", "streams are published by rtmp://"),
            ("publish --url rtmp://h/live/a --streams 0", "--streams: must be at least 1"),
            ("publish --url rtmp://h/live/a --bitrate fast", "--bitrate: no bit rate: fast"),
            ("publish --url rtmp://h/live/a --size 720p", "--size: no picture size: 720p"),
            ("publish --url rtmp://h/live/a --gop -1s", "--gop: no time: -1s"),
            ("publish --url", "--url: missing argument"),
            ("publish loud", "unexpected argument"),
            ("mirror --url http://h/a/index.m3u8", "mirror needs --into"),
            ("check-ts", "check-ts needs a file"),
            ("check-ts a.ts b.ts", "unexpected argument"),
            ("check-ts a.ts --url rtmp://h/live/a", "check-ts has no option --url"),
        ];
        for (line, start) in table {
            let error = format!("{:#}", read(line).unwrap_err());
            assert!(error.starts_with(start), "{line}: {error}");
            assert!(!error.contains('\n'));
        }
    }
}
