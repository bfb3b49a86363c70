//! Load: the file, then the environment, then what must hold between keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::agreement::agree;
use super::coordinator::{CoordinatorSection, contract};
use super::environment::{Dotenv, Used};
use super::field::Auto;
use super::reader::{PREFIX, Reader};
use super::settings::Settings;
use crate::error::{Error, Place};

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The variables of the coordinator's family that are set.
    pub variables: Vec<Used>,
    /// What is most likely not as it was meant, a sentence each.
    pub warnings: Vec<String>,
    pub(super) places: BTreeMap<String, Place>,
}

impl Loaded {
    /// Where the value of the full key `key` comes from.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }

    /// True if somebody set the full key `key`.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// True if a variable of the coordinator's family set the full key `key`.
    pub(super) fn is_of_family(&self, key: &str) -> bool {
        matches!(self.place(key), Place::Env(name) if !name.starts_with(PREFIX))
    }

    /// Whether the built-in stream plays.
    #[must_use]
    pub fn demo(&self) -> bool {
        match self.settings.demo.enabled {
            Auto::Set(enabled) => enabled,
            Auto::Auto => self.file.is_none() && !self.settings.coordinator.judges(),
        }
    }

    /// The error of a value of `key` that is legal alone but not here.
    pub(crate) fn misfit(&self, key: &str, what: String, mend: String) -> Error {
        Error::Value { place: self.place(key), key: key.to_owned(), what, mend }
    }
}

/// Where values come from, beside the file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The variables of the environment.
    pub env: Vec<(String, String)>,
    /// Those of `.env`, which count where the environment has none of the name.
    pub dotenv: Dotenv,
}

impl<T: IntoIterator<Item = (String, String)>> From<T> for Sources {
    fn from(env: T) -> Self {
        Self { env: env.into_iter().collect(), dotenv: Dotenv::default() }
    }
}

/// Reads the configuration from `file`, if any, and from variables. Those of `GRANDSTAND_*` count
/// before those of the coordinator's family, and both before the file.
///
/// Errors: the first wrong line of the file, else the first wrong variable, else the first
/// contradiction between keys.
pub fn load(file: Option<&Path>, sources: impl Into<Sources>) -> Result<Loaded, Error> {
    load_beside(file, sources, None)
}

/// As [`load`], for a node that was `started` as this: what its coordinator says of other sections
/// is in force for as long as that coordinator is, whatever is written since.
///
/// Errors: as of [`load`].
pub fn load_beside(
    file: Option<&Path>,
    sources: impl Into<Sources>,
    started: Option<&CoordinatorSection>,
) -> Result<Loaded, Error> {
    let Sources { env, dotenv } = sources.into();
    let mut env: BTreeMap<String, String> = env.into_iter().collect();
    let beside = dotenv.variables.into_iter();
    let beside: Vec<_> = beside.filter(|(name, _)| !env.contains_key(name)).collect();
    let from_file = beside.iter().map(|(name, _)| name.clone()).collect();
    env.extend(beside);
    let mut reader = Reader::new(Loaded {
        settings: Settings::default(),
        file: file.map(Path::to_owned),
        variables: Vec::new(),
        warnings: dotenv.warnings,
        places: BTreeMap::new(),
    });
    if let Some(file) = file {
        reader.file(file)?;
    }
    for (name, value) in &env {
        reader.variable(name, value)?;
    }
    reader.family(&env, &from_file)?;
    let mut loaded = reader.into_loaded();
    let written = loaded.settings.coordinator.clone();
    contract(&mut loaded, started.unwrap_or(&written));
    super::jwt::read_file(&mut loaded)?;
    super::jwt::doubt(&mut loaded);
    if let (Some(file), false) = (file, super::auth::is_said(&loaded)) {
        return Err(Error::Document {
            place: Place::File(file.to_owned()),
            what: "says not who may publish and play".to_owned(),
            mend: "add the two lines `[auth]` and `mode = \"open\"`".to_owned(),
        });
    }
    agree(&loaded)?;
    super::streams::doubt(&mut loaded);
    super::hooks::doubt(&mut loaded);
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(name: &str, text: &str) -> Result<Loaded, String> {
        let dir = std::env::temp_dir().join(format!("grandstand-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        let prefix = format!("{}/", dir.display());
        let loaded = load(Some(&path), []);
        std::fs::remove_dir_all(&dir).unwrap();
        loaded.map_err(|error| error.to_string().replace(&prefix, ""))
    }

    fn from_env(name: &str, value: &str) -> Result<Loaded, String> {
        load(None, [(name.to_owned(), value.to_owned())]).map_err(|error| error.to_string())
    }

    #[test]
    fn every_wrong_file_gets_its_one_line() {
        let cases = [
            (
                "[auth]\nmode = \"open\"\n[egress]\nbatch_ms_max = \"fast\"\n",
                "g.toml:4: egress.batch_ms_max: expected a number of milliseconds from 0 to 10000, \
                 got \"fast\"; remove the line for the default, batch_ms_max = 160",
            ),
            (
                "[auth]\nmode = \"opne\"\n",
                "g.toml:2: auth.mode: expected \"open\", \"keys\", \"signed\", \"jwt\", \
                 \"callback\" or \"coordinator\", or a list in the order in which they are tried \
                 such as [\"signed\", \"keys\"], each once, of which \"open\", \"callback\" and \
                 \"coordinator\" are the last, got \"opne\"; remove the line for the default, mode \
                 = \"open\"",
            ),
            (
                "[auth]\nmode = \"open\"\n[egress]\nbatch_max_ms = 1\n",
                "g.toml:4: there is no key egress.batch_max_ms; the nearest is egress.batch_ms_max",
            ),
            (
                "[egress]\nstreams_max = 1\n",
                "g.toml:2: there is no key egress.streams_max; the nearest is limits.streams_max",
            ),
            (
                "[egres]\nbatch_ms_max = 1\n",
                "g.toml:1: there is no section [egres]; the nearest is [egress]",
            ),
            ("colour = 1\n", "g.toml:1: there is no key colour; remove it"),
            (
                "log = \"debug\"\n",
                "g.toml:1: log is a section, not a value; write `[log]` on a line of its own",
            ),
            (
                "[auth\nmode = 1\n",
                "g.toml:1: not TOML: unclosed table, expected `]`; `grandstand config init` \
                 writes a file to start from",
            ),
            (
                "# nothing\n",
                "g.toml: says not who may publish and play; add the two lines `[auth]` and `mode = \
                 \"open\"`",
            ),
            (
                "[limits]\nexempt = [\"10.0.0.0/33\"]\n",
                "g.toml:2: limits.exempt: expected a list of addresses and ranges such as \
                 [\"127.0.0.0/8\", \"::1\"], or \"*\", got [\"10.0.0.0/33\"]; remove the line for \
                 the default, exempt = [\"127.0.0.0/8\", \"::1/128\"]",
            ),
            (
                "[listeners.rtmp]\naddr = \"1935\"\n",
                "g.toml:2: listeners.rtmp.addr: expected an address and port such as \
                 \"[::]:1935\", or a list of them, got \"1935\"; remove the line for the default, \
                 addr = \"[::]:1935\"",
            ),
            (
                "[[shards.pin]]\nstream = \"a b\"\nshard = 0\n",
                "g.toml:1: shards.pin: expected tables [[shards.pin]] of a stream pattern and a \
                 shard number such as stream = \"news/*\" and shard = 1, got [{ shard = 0, \
                 stream = \"a b\" }]; remove the line for the default, pin = []",
            ),
            (
                "[auth]\nmode = \"open\"\n[shards]\ncpus = [0, 1]\n",
                "g.toml:4: there is no key shards.cpus; the nearest is shards.cores",
            ),
            (
                "[listeners.http]\nlatency = \"high\"\n",
                "g.toml:2: listeners.http.latency: expected \"auto\" or \"low\", got \"high\"; \
                 remove the line for the default, latency = \"auto\"",
            ),
            (
                "[auth]\nmode = \"open\"\n[listeners.http]\nproxy_protocol = true\n",
                "g.toml:4: listeners.http.proxy_protocol: nobody's heads are believed: \
                 session.proxies is empty; name the balancers in session.proxies, or remove the \
                 line",
            ),
            (
                "[listeners.rtmp]\nshards = []\n",
                "g.toml:2: listeners.rtmp.shards: expected \"all\" or a list of shard numbers such \
                 as [0, 1], got []; remove the line for the default, shards = \"all\"",
            ),
            (
                "[[listeners.rtmp.also]]\nlatency = \"low\"\n",
                "g.toml:1: listeners.rtmp.also: expected tables [[listeners.rtmp.also]] of an addr \
                 and, if wanted, shards, latency, auth and proxy_protocol such as addr = \
                 \"[::]:1937\" and latency = \"low\", at most 8, got [{ latency = \"low\" }]; \
                 remove the line for the default, also = []",
            ),
            (
                "[limits]\nmemory_max = \"12 parsec\"\n",
                "g.toml:2: limits.memory_max: expected \"auto\" or a number of bytes (or text such \
                 as \"16MiB\") from 67108864 to 9223372036854775807, got \"12 parsec\"; remove the \
                 line for the default, memory_max = \"auto\"",
            ),
            (
                "[egress]\nutilisation_target = 1.5\n",
                "g.toml:2: egress.utilisation_target: expected a number above 0.0 and at most 1.0, \
                 got 1.5; remove the line for the default, utilisation_target = 0.2",
            ),
            (
                "[listeners.http]\nenabled = 2024-01-01\n",
                "g.toml:2: listeners.http.enabled: expected true or false, got 2024-01-01; remove \
                 the line for the default, enabled = true",
            ),
            (
                "[auth]\nmode = \"open\"\n[stream]\nretain_ms = 4000\n",
                "g.toml:4: stream.retain_ms: 5000 ms of lag are more than 3/4 of the 4000 ms that \
                 streams retain; at most 3000 fits, or raise stream.retain_ms",
            ),
            (
                "[auth]\nmode = \"open\"\n[egress]\nbatch_ms_min = 200\n",
                "g.toml:4: egress.batch_ms_min: batch_ms_min 200 is above batch_ms_max 160; raise \
                 the maximum or lower the minimum",
            ),
            (
                "[auth]\nmode = \"open\"\n[stream]\nbytes_max = \"1MiB\"\n",
                "g.toml:4: stream.bytes_max: gop_bytes_max 16777216 is above bytes_max 1048576; \
                 raise stream.bytes_max or lower stream.gop_bytes_max",
            ),
            (
                "[auth]\nmode = \"open\"\n[hls]\nmode = \"never\"\n",
                "g.toml:4: hls.mode: expected \"on_demand\", \"always\" or \"off\", got \"never\"; \
                 remove the line for the default, mode = \"on_demand\"",
            ),
            (
                "[auth]\nmode = \"open\"\n[hls]\nlisted = 20\n",
                "g.toml:4: hls.listed: 13 kept are fewer than 20 listed; raise hls.kept or lower \
                 hls.listed",
            ),
            (
                "[auth]\nmode = \"open\"\n[reactor]\nrecv_buffers = 500\n",
                "g.toml:4: reactor.recv_buffers: 500 is no power of two; the next is 512",
            ),
        ];
        for (text, line) in cases {
            assert_eq!(from_file("g.toml", text).unwrap_err(), line, "{text}");
        }
    }

    #[test]
    fn the_first_wrong_line_is_reported() {
        let text = "[stream]\nzzz = 1\n[egress]\naaa = 1\n";
        assert!(from_file("first.toml", text).unwrap_err().starts_with("first.toml:2:"));
    }

    #[test]
    fn a_missing_file_and_a_huge_one_are_named() {
        let error = load(Some(Path::new("/nowhere/x.toml")), []).unwrap_err().to_string();
        assert_eq!(error, "cannot read /nowhere/x.toml: no such file or directory; check the path");
        let error = from_file("huge.toml", &" ".repeat(1 + (1 << 20))).unwrap_err();
        assert!(error.contains("1048577 bytes are more"), "{error}");
    }

    #[test]
    fn the_environment_overrides_with_types() {
        let loaded = from_env("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:0, [::1]:0").unwrap();
        assert_eq!(loaded.settings.listeners.rtmp.addr.len(), 2);
        let loaded = from_env("GRANDSTAND_LIMITS__EXEMPT", "").unwrap();
        assert_eq!(loaded.settings.limits.exempt, []);
        let loaded = from_env("GRANDSTAND_REACTOR__BACKEND", "epoll").unwrap();
        assert_eq!(loaded.settings.reactor.choice, dataplane::reactor::BackendChoice::Epoll);
        let loaded = from_env("GRANDSTAND_STREAM__GOP_BYTES_MAX", "2MiB").unwrap();
        assert_eq!(loaded.settings.stream.gop_bytes_max, 2 << 20);
        assert!(from_env("GRANDSTAND_HOME", "/x").is_ok() && from_env("PATH", "/x").is_ok());
    }

    #[test]
    fn a_wrong_variable_is_named_with_its_mend() {
        for (name, value, line) in [
            (
                "GRANDSTAND_EGRESS__BATCH_MS_MAX",
                "soon",
                "GRANDSTAND_EGRESS__BATCH_MS_MAX: egress.batch_ms_max: expected a number of \
                 milliseconds from 0 to 10000, got \"soon\"; unset it for the default, \
                 GRANDSTAND_EGRESS__BATCH_MS_MAX=160",
            ),
            (
                "GRANDSTAND_EGRESS__BATCH_MX_MAX",
                "1",
                "GRANDSTAND_EGRESS__BATCH_MX_MAX: there is no key egress.batch_mx_max; the nearest \
                 is GRANDSTAND_EGRESS__BATCH_MS_MAX",
            ),
            (
                "GRANDSTAND_LISTENER__RTMP__ADDR",
                "1",
                "GRANDSTAND_LISTENER__RTMP__ADDR: there is no section [listener.rtmp]; the nearest \
                 is GRANDSTAND_LISTENERS__RTMP__KEY",
            ),
        ] {
            assert_eq!(from_env(name, value).unwrap_err(), line);
        }
    }

    #[test]
    fn the_demo_needs_neither_file_nor_coordinator() {
        assert!(load(None, []).unwrap().demo());
        assert!(!from_file("demo.toml", "[auth]\nmode = \"open\"\n").unwrap().demo());
        let url = "http://127.0.0.1:1/";
        for name in crate::config::environment::SWITCHES {
            assert!(!from_env(name, url).unwrap().demo(), "{name}");
            assert!(from_env(name, "").unwrap().demo(), "{name}");
        }
        assert!(!from_env("GRANDSTAND_COORDINATOR__ENABLED", "true").unwrap().demo());
        assert!(!from_env("GRANDSTAND_DEMO__ENABLED", "false").unwrap().demo());
    }
}
