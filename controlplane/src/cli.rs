//! Command line: what the program is asked to do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use dataplane::control::Role;

use crate::error::Error;
use crate::top::Sort;

/// What `--help` prints.
pub const HELP: &str = "\
Grandstand, a live-media edge server.

usage:
  grandstand [--config FILE]                    serve until Ctrl-C
  grandstand [--config FILE] check              validate, print shards and memory
  grandstand config init [--force] [PATH]       write a commented grandstand.toml
  grandstand key make                           print a new stream key, and its hash for auth.keys
  grandstand key hash                           print the hash of a key from standard input
  grandstand [--config FILE] sign --stream NAME --for TIME [--play|--publish] [--after TIME]
                             [--address IP] [--key ID] [--key-file FILE] [--host NAME]
                                                print addresses that let in for a while, signed with
                                                a key of auth.signed or of a file; TIME as 90s, 15m,
                                                2h, 7d
  grandstand probe URL [--json] [--ca FILE] [--timeout SECONDS]
                                                look at an RTMP stream as a player does
  grandstand [--config FILE] top [--once] [--sort players|bitrate|lag] [--url http[s]://HOST:PORT]
                             [--token-file FILE] [--ca FILE | --insecure]
                                                shards and streams of a running server, each second;
                                                s sorts, q quits, --once prints one frame
  grandstand --version
  grandstand --help

Without --config the file ./grandstand.toml is read if it exists; without any file the server
starts with its defaults. GRANDSTAND_SECTION__KEY in the environment overrides a key. SIGHUP
reloads the file, SIGTERM and Ctrl-C end the server, a second one at once.
";

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cli {
    /// Serve.
    Serve {
        /// The configuration file, if one was named.
        config: Option<PathBuf>,
    },
    /// Validate the configuration and print what it costs.
    Check {
        /// The configuration file, if one was named.
        config: Option<PathBuf>,
    },
    /// Write a commented configuration file.
    ConfigInit {
        /// Where.
        path: PathBuf,
        /// Overwrite what is there.
        force: bool,
    },
    /// Make a stream key.
    KeyMake,
    /// Hash a stream key.
    KeyHash,
    /// Sign addresses of a stream.
    Sign(Sign),
    /// Play a stream and describe it.
    Probe(Probe),
    /// Show shards and streams of a running server.
    Top(Top),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// The arguments of `sign`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// The stream, `live/` before it or not.
    pub stream: String,
    /// The direction.
    pub role: Role,
    /// For how long.
    pub lifetime: Duration,
    /// From when on, counted from now.
    pub after: Option<Duration>,
    /// The address, or range of them, that it is for.
    pub address: Option<String>,
    /// The name of the key.
    pub key: Option<String>,
    /// The file of its secret; by the configuration, if it was not named.
    pub key_file: Option<PathBuf>,
    /// The name of the host in addresses.
    pub host: Option<String>,
}

/// The arguments of `probe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The stream.
    pub url: String,
    /// Print JSON.
    pub json: bool,
    /// Certificates to trust besides the built-in ones.
    pub ca: Option<PathBuf>,
    /// Give up after this long without a frame.
    pub timeout: Duration,
}

/// The arguments of `top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// The control listener; by the configuration, if it was not named.
    pub url: Option<String>,
    /// The file of the token; by the configuration, if it was not named.
    pub token_file: Option<PathBuf>,
    /// Certificates to trust besides the built-in ones.
    pub ca: Option<PathBuf>,
    /// Believe any certificate.
    pub insecure: bool,
    /// What rows are sorted by at first.
    pub sort: Sort,
    /// Print one frame.
    pub once: bool,
}

/// The file that is read and written when none is named.
pub const DEFAULT_FILE: &str = "grandstand.toml";
const TIMEOUT: Duration = Duration::from_secs(10);

impl Cli {
    /// Parses the arguments, the program's name left out.
    ///
    /// Errors: an argument that is not understood, named.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let mut words = Words::default();
        words.read(args).map_err(|error| Error::Usage(error.to_string()))?;
        words.command()
    }
}

/// The arguments, sorted into options and words.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    config: Option<PathBuf>,
    ca: Option<PathBuf>,
    timeout: Option<Duration>,
    url: Option<String>,
    token_file: Option<PathBuf>,
    sort: Option<Sort>,
    stream: Option<String>,
    lifetime: Option<Duration>,
    after: Option<Duration>,
    address: Option<String>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    host: Option<String>,
    publish: bool,
    play: bool,
    once: bool,
    insecure: bool,
    force: bool,
    json: bool,
    version: bool,
    help: bool,
}

impl Words {
    fn read(&mut self, args: impl IntoIterator<Item = OsString>) -> Result<(), lexopt::Error> {
        use lexopt::prelude::{Long, Short, Value, ValueExt};
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Short('c') | Long("config") => self.config = Some(parser.value()?.into()),
                Short('V') | Long("version") => self.version = true,
                Short('h') | Long("help") => self.help = true,
                Long("force") => self.force = true,
                Long("insecure") => self.insecure = true,
                Long("json") => self.json = true,
                Long("ca") => self.ca = Some(parser.value()?.into()),
                Long("timeout") => self.timeout = Some(parser.value()?.parse_with(seconds)?),
                Long("url") => self.url = Some(parser.value()?.string()?),
                Long("token-file") => self.token_file = Some(parser.value()?.into()),
                Long("sort") => self.sort = Some(parser.value()?.parse_with(sort)?),
                Long("stream") => self.stream = Some(parser.value()?.string()?),
                Long("for") => self.lifetime = Some(parser.value()?.parse_with(lifetime)?),
                Long("after") => self.after = Some(parser.value()?.parse_with(lifetime)?),
                Long("address") => self.address = Some(parser.value()?.string()?),
                Long("key") => self.key = Some(parser.value()?.string()?),
                Long("key-file") => self.key_file = Some(parser.value()?.into()),
                Long("host") => self.host = Some(parser.value()?.string()?),
                Long("publish") => self.publish = true,
                Long("play") => self.play = true,
                Long("once") => self.once = true,
                Value(word) => self.words.push(word.string()?),
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(())
    }

    fn command(self) -> Result<Cli, Error> {
        if self.help {
            return Ok(Cli::Help);
        }
        if self.version {
            return Ok(Cli::Version);
        }
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => {
                self.only(&["--config"])?;
                Ok(Cli::Serve { config: self.config })
            }
            ["check"] => {
                self.only(&["--config"])?;
                Ok(Cli::Check { config: self.config })
            }
            ["config", "init", rest @ ..] if rest.len() < 2 => {
                self.only(&["--force"])?;
                let path = rest.first().map_or(DEFAULT_FILE, |path| *path);
                Ok(Cli::ConfigInit { path: path.into(), force: self.force })
            }
            ["key", "make"] => {
                self.only(&[])?;
                Ok(Cli::KeyMake)
            }
            ["key", "hash"] => {
                self.only(&[])?;
                Ok(Cli::KeyHash)
            }
            ["sign"] => self.sign(),
            ["probe", url] => {
                self.only(&["--json", "--ca", "--timeout"])?;
                Ok(Cli::Probe(Probe {
                    url: (*url).to_owned(),
                    json: self.json,
                    ca: self.ca,
                    timeout: self.timeout.unwrap_or(TIMEOUT),
                }))
            }
            ["top"] => {
                let places = ["--config", "--url", "--token-file", "--ca", "--insecure"];
                self.only(&[&places[..], &["--sort", "--once"]].concat())?;
                if self.insecure && self.ca.is_some() {
                    return Err(Error::Usage("--ca and --insecure contradict".to_owned()));
                }
                Ok(Cli::Top(Top {
                    config: self.config,
                    url: self.url,
                    token_file: self.token_file,
                    ca: self.ca,
                    insecure: self.insecure,
                    sort: self.sort.unwrap_or_default(),
                    once: self.once,
                }))
            }
            ["probe"] => Err(Error::Usage("probe needs a URL".to_owned())),
            ["key"] => Err(Error::Usage("key needs `make` or `hash`".to_owned())),
            ["config"] => Err(Error::Usage("config needs `init`".to_owned())),
            [word, ..] => Err(Error::Usage(format!("`{word}` is not understood here"))),
        }
    }

    fn sign(self) -> Result<Cli, Error> {
        self.only(&[
            "--config",
            "--stream",
            "--for",
            "--after",
            "--address",
            "--key",
            "--key-file",
            "--host",
            "--publish",
            "--play",
        ])?;
        let missing = |option: &str| Error::Usage(format!("sign needs {option}"));
        if self.publish && self.play {
            return Err(Error::Usage("an address is to --publish or to --play".to_owned()));
        }
        Ok(Cli::Sign(Sign {
            config: self.config,
            stream: self.stream.ok_or_else(|| missing("--stream NAME"))?,
            role: if self.publish { Role::Publish } else { Role::Play },
            lifetime: self.lifetime.ok_or_else(|| missing("--for TIME, such as 1h"))?,
            after: self.after,
            address: self.address,
            key: self.key,
            key_file: self.key_file,
            host: self.host,
        }))
    }

    /// Refuses options that the command does not have.
    fn only(&self, known: &[&str]) -> Result<(), Error> {
        let given = [
            ("--config", self.config.is_some()),
            ("--ca", self.ca.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--url", self.url.is_some()),
            ("--token-file", self.token_file.is_some()),
            ("--sort", self.sort.is_some()),
            ("--stream", self.stream.is_some()),
            ("--for", self.lifetime.is_some()),
            ("--after", self.after.is_some()),
            ("--address", self.address.is_some()),
            ("--key", self.key.is_some()),
            ("--key-file", self.key_file.is_some()),
            ("--host", self.host.is_some()),
            ("--publish", self.publish),
            ("--play", self.play),
            ("--once", self.once),
            ("--insecure", self.insecure),
            ("--force", self.force),
            ("--json", self.json),
        ];
        match given.iter().find(|(name, given)| *given && !known.contains(name)) {
            Some((name, _)) => Err(Error::Usage(format!("{name} has no meaning here"))),
            None => Ok(()),
        }
    }
}

fn sort(text: &str) -> Result<Sort, &'static str> {
    let found = Sort::ALL.into_iter().find(|sort| sort.name() == text);
    found.ok_or("it is players, bitrate or lag")
}

/// Whole seconds, minutes, hours or days.
fn lifetime(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "time is a number with s, m, h or d, such as 90s or 7d";
    let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or(WRONG)?;
    let scale: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(WRONG),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u32> = number.parse().ok().filter(|&number| digits && number > 0);
    Ok(Duration::from_secs(scale * u64::from(number.ok_or(WRONG)?)))
}

/// Seconds from a tenth to an hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let legal = |seconds: &f64| (0.1..=3600.0).contains(seconds);
    let seconds = text.parse().ok().filter(legal).ok_or("seconds go from 0.1 to 3600")?;
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let args = line.split_whitespace().map(OsString::from);
        Cli::parse(args).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_and_their_options() {
        let config = || Some(PathBuf::from("f"));
        let probe = |json, ca, seconds| {
            Cli::Probe(Probe {
                url: "rtmp://h/s".to_owned(),
                json,
                ca,
                timeout: Duration::from_secs(seconds),
            })
        };
        for (line, cli) in [
            ("", Cli::Serve { config: None }),
            ("--config f", Cli::Serve { config: config() }),
            ("-c f check", Cli::Check { config: config() }),
            ("check --config=f", Cli::Check { config: config() }),
            ("config init", Cli::ConfigInit { path: "grandstand.toml".into(), force: false }),
            ("config init --force x", Cli::ConfigInit { path: "x".into(), force: true }),
            ("key make", Cli::KeyMake),
            ("key hash", Cli::KeyHash),
            ("probe rtmp://h/s", probe(false, None, 10)),
            ("probe --json --ca f --timeout 3 rtmp://h/s", probe(true, config(), 3)),
            (
                "top --once --sort lag --url http://h:1 --token-file f",
                Cli::Top(Top {
                    config: None,
                    url: Some("http://h:1".to_owned()),
                    token_file: config(),
                    ca: None,
                    insecure: false,
                    sort: Sort::Lag,
                    once: true,
                }),
            ),
            (
                "-c f sign --stream live/a --publish --for 90m --key k --address ::1",
                Cli::Sign(Sign {
                    config: config(),
                    stream: "live/a".to_owned(),
                    role: Role::Publish,
                    lifetime: Duration::from_secs(5_400),
                    after: None,
                    address: Some("::1".to_owned()),
                    key: Some("k".to_owned()),
                    key_file: None,
                    host: None,
                }),
            ),
            (
                "top --url https://h:1 --insecure",
                Cli::Top(Top {
                    config: None,
                    url: Some("https://h:1".to_owned()),
                    token_file: None,
                    ca: None,
                    insecure: true,
                    sort: Sort::default(),
                    once: false,
                }),
            ),
            ("--version", Cli::Version),
            ("check --help", Cli::Help),
        ] {
            assert_eq!(parse(line), Ok(cli), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let tail = "; `grandstand --help` lists what is understood";
        for (line, error) in [
            ("serve", "`serve` is not understood here"),
            ("check more", "`check` is not understood here"),
            ("--colour", "invalid option '--colour'"),
            ("--config", "missing argument for option '--config'"),
            ("check --json", "--json has no meaning here"),
            ("--force", "--force has no meaning here"),
            ("probe", "probe needs a URL"),
            ("key", "key needs `make` or `hash`"),
            ("key hash --json", "--json has no meaning here"),
            ("key hash secret", "`key` is not understood here"),
            ("sign --for 1h", "sign needs --stream NAME"),
            ("sign --stream a", "sign needs --for TIME, such as 1h"),
            (
                "sign --stream a --for 1h --play --publish",
                "an address is to --publish or to --play",
            ),
            ("sign --json", "--json has no meaning here"),
            (
                "sign --for 1y",
                "cannot parse argument \"1y\": time is a number with s, m, h or d, such as 90s or \
                 7d",
            ),
            ("config", "config needs `init`"),
            ("top --json", "--json has no meaning here"),
            ("top --ca f --insecure", "--ca and --insecure contradict"),
            ("probe x --insecure", "--insecure has no meaning here"),
            ("top --sort x", "cannot parse argument \"x\": it is players, bitrate or lag"),
            ("probe x --timeout 0", "cannot parse argument \"0\": seconds go from 0.1 to 3600"),
        ] {
            assert_eq!(parse(line), Err(format!("{error}{tail}")), "{line}");
        }
    }
}
