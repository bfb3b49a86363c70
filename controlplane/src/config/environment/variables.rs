//! Variables: those that are set, as values of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::document::Datum;
use super::super::masking::masked;
use super::super::nearest::{distance, nearest};
use super::super::settings::Settings;
use super::address;
use super::reading::{self, Reading, is_yes};
use super::table::{Effect, FAMILIES, NOT_USED, OWN, OWN_COORDINATOR, USE, VARIABLES, Variable};
use crate::error::{Error, Place};

/// A name with so few wrong letters is meant to be one of the table's, whoever's it is.
const EDITS_MAX: usize = 2;
/// Shorter names are near to too many others.
const NAME_LETTERS_MIN: usize = 8;

/// A variable that is set, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its name.
    pub name: &'static str,
    /// It stands in `.env`.
    pub dotenv: bool,
    /// What it does.
    pub outcome: Outcome,
}

/// What a variable that is set does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It sets these full keys.
    Sets(Vec<String>),
    /// It asks for what is so already.
    AsItIs,
    /// Another variable decides, of this name.
    Overridden(String),
    /// It has no effect, for this reason.
    Nothing(&'static str),
}

/// What the variables say.
#[derive(Debug, Default)]
pub(in super::super) struct Read {
    /// Values of full keys, each with the variable that gives it.
    pub(in super::super) values: Vec<(&'static str, String, Datum)>,
    /// Every variable of the table that is set.
    pub(in super::super) used: Vec<Used>,
    /// Names that are most likely misspelt, and what has no effect; a sentence each.
    pub(in super::super) warnings: Vec<String>,
}

/// Reads the variables `env`, those named in `dotenv` from the file of that name, over `settings`,
/// whose values come from where `place` says.
///
/// Errors: the first variable that cannot be read.
pub(in super::super) fn read(
    env: &BTreeMap<String, String>,
    dotenv: &BTreeSet<String>,
    settings: &Settings,
    place: impl Fn(&str) -> Place,
) -> Result<Read, Error> {
    let mut reader = Reader { env, settings, place: &place, read: Read::default() };
    for variable in VARIABLES {
        let Some(text) = reader.text(variable.name) else { continue };
        let outcome = reader.variable(variable, text)?;
        if let Outcome::Nothing(why) = outcome {
            reader.read.warnings.push(format!("{} has no effect: {why}", variable.name));
        }
        let dotenv = dotenv.contains(variable.name);
        reader.read.used.push(Used { name: variable.name, dotenv, outcome });
    }
    reader.exemption();
    reader.misspelt();
    Ok(reader.read)
}

struct Reader<'a> {
    env: &'a BTreeMap<String, String>,
    settings: &'a Settings,
    place: &'a dyn Fn(&str) -> Place,
    read: Read,
}

impl<'a> Reader<'a> {
    /// The text of a variable; an empty one is as none.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.env.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    fn variable(&mut self, variable: &Variable, text: &str) -> Result<Outcome, Error> {
        let name = variable.name;
        match variable.effect {
            Effect::Nothing(why) => Ok(Outcome::Nothing(why)),
            Effect::Key(key, reading) => self.key((name, text), key, reading),
            Effect::Client(key, reading) => match self.coordinator_elsewhere() {
                Ok(()) => self.key((name, text), key, reading),
                // Who says that there is none is obeyed.
                Err(_) if name == USE && !is_yes(text) => Ok(Outcome::AsItIs),
                Err(why) => Ok(Outcome::Nothing(why)),
            },
            Effect::ControlSecret => {
                let key = match self.coordinator_elsewhere() {
                    Ok(()) => "coordinator.client.secret",
                    Err(_) => "coordinator.control_secret",
                };
                self.key((name, text), key, reading::text)
            }
            Effect::Opens(_) | Effect::Tls(_) if !self.has_certificate() => {
                Ok(Outcome::Nothing("there is no TLS without SSL_CERT and SSL_KEY"))
            }
            Effect::Port(section) | Effect::Tls(section) => self.listener(name, section, text),
            Effect::Opens(section) => {
                let mut outcome = self.listener(name, section, text)?;
                let enabled = self.set(name, format!("{section}.enabled"), Datum::Flag(true));
                if let (Outcome::Sets(keys), Outcome::Sets(more)) = (&mut outcome, enabled) {
                    keys.extend(more);
                }
                Ok(outcome)
            }
            Effect::Bind => {
                let bind = self.bind()?;
                let mut keys = Vec::new();
                for section in address::LISTENERS {
                    let key = format!("{section}.addr");
                    let datum = self.placed(section, bind, None);
                    if let Outcome::Sets(set) = self.set(name, key, datum) {
                        keys.extend(set);
                    }
                }
                Ok(if keys.is_empty() { Outcome::AsItIs } else { Outcome::Sets(keys) })
            }
        }
    }

    fn key(
        &mut self,
        (name, text): (&'static str, &str),
        key: &str,
        reading: Reading,
    ) -> Result<Outcome, Error> {
        let datum =
            reading(text, self.settings).map_err(|expected| wrong(name, key, expected, text))?;
        Ok(datum.map_or(Outcome::AsItIs, |datum| self.set(name, key.to_owned(), datum)))
    }

    /// Whether the variables make this node the client of a coordinator; why not.
    fn coordinator_elsewhere(&self) -> Result<(), &'static str> {
        if !self.text(USE).is_some_and(is_yes) {
            Err(NOT_USED)
        } else if OWN.iter().any(|name| self.text(name).is_some()) {
            Err(OWN_COORDINATOR)
        } else {
            Ok(())
        }
    }

    /// The port of the listener of `section`.
    fn listener(
        &mut self,
        name: &'static str,
        section: &str,
        text: &str,
    ) -> Result<Outcome, Error> {
        let key = format!("{section}.addr");
        let port = self.port(name, &key, text)?;
        let bind = self.bind()?;
        let datum = self.placed(section, bind, Some(port));
        Ok(self.set(name, key, datum))
    }

    fn has_certificate(&self) -> bool {
        self.settings.is_certified() || self.text("SSL_CERT").is_some()
    }

    fn set(&mut self, name: &'static str, key: String, datum: Datum) -> Outcome {
        if let Place::Env(other) = (self.place)(&key) {
            return Outcome::Overridden(other);
        }
        self.read.values.push((name, key.clone(), datum));
        Outcome::Sets(vec![key])
    }

    fn placed(&self, section: &str, bind: Option<IpAddr>, port: Option<u16>) -> Datum {
        let configured = (self.place)(&format!("{section}.addr")) != Place::Default;
        address::place(section, self.settings, configured, bind, port)
    }

    fn port(&self, name: &str, key: &str, text: &str) -> Result<u16, Error> {
        let expected = "a port from 0, which takes a free one, to 65535";
        text.trim().parse().map_err(|_| wrong(name, key, expected, text))
    }

    fn bind(&self) -> Result<Option<IpAddr>, Error> {
        let Some(text) = self.text("BIND_ADDRESS") else { return Ok(None) };
        let expected = "an IP address, or * for every interface";
        let wrong = || wrong("BIND_ADDRESS", "listeners", expected, text);
        address::parse_bind(text).map(Some).ok_or_else(wrong)
    }

    /// Who sets a cap by the family's variable alone exempts nobody from it, as they do.
    fn exemption(&mut self) {
        const CAP: &str = "MAX_IP_CONCURRENT_CONNECTIONS";
        let exempt = "limits.exempt".to_owned();
        let said = (self.place)(&exempt) != Place::Default
            || self.read.values.iter().any(|(_, key, _)| *key == exempt);
        let Some(cap) = self.read.used.iter_mut().find(|used| used.name == CAP) else { return };
        if let (Outcome::Sets(keys), false) = (&mut cap.outcome, said) {
            keys.push(exempt.clone());
            self.read.values.push((CAP, exempt, Datum::List(Vec::new())));
        }
    }

    fn misspelt(&mut self) {
        let known = || VARIABLES.iter().map(|variable| variable.name);
        for name in self.env.keys().filter(|name| known().all(|known| known != name.as_str())) {
            let family = FAMILIES.iter().any(|family| name.starts_with(family));
            let near = name.len() >= NAME_LETTERS_MIN
                && known().any(|known| distance(name, known) <= EDITS_MAX);
            if family || near {
                let nearest = nearest(name, known());
                let mend = nearest.map_or_else(
                    || "unset it".to_owned(),
                    |nearest| format!("the nearest is {nearest}"),
                );
                self.read.warnings.push(format!("there is no variable {name}; {mend}"));
            }
        }
    }
}

/// The error of a variable whose text cannot be read; a secret has no wrong text.
fn wrong(name: &str, key: &str, expected: &str, text: &str) -> Error {
    Error::Value {
        place: Place::Env(name.to_owned()),
        key: key.to_owned(),
        what: format!("expected {expected}, got {}", masked(&Datum::Text(text.to_owned()).show())),
        mend: "correct it, or unset it for the default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use dataplane::config::{HlsMode, UrlDialect};

    use super::*;
    use crate::config::{Auto, Dotenv, Loaded, LogLevel, Sources, load};
    use crate::coordinator::Scheme;

    fn loaded(env: &[(&str, &str)]) -> Loaded {
        load(None, owned(env)).unwrap()
    }

    fn refused(env: &[(&str, &str)]) -> String {
        load(None, owned(env)).unwrap_err().to_string()
    }

    fn owned(env: &[(&str, &str)]) -> Vec<(String, String)> {
        env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_whole_family_sets_its_keys() {
        let loaded = loaded(&[
            ("BIND_ADDRESS", "127.0.0.1"),
            ("HTTP_PORT", "8000"),
            ("RTMP_PORT", "1940"),
            ("RTMP_SSL_PORT", "1941"),
            ("SSL_CERT", "/c.pem"),
            ("SSL_KEY", "/k.pem"),
            ("KEY_VERIFICATION_URL", "http://app.example/verify"),
            ("KEY_VERIFICATION_AUTH", "Basic"),
            ("KEY_VERIFICATION_AUTH_USER", "app"),
            ("KEY_VERIFICATION_PASSWORD", "pw"),
            ("EVENT_CALLBACK_URL", "https://app.example/events?a=b"),
            ("EVENT_CALLBACK_AUTH", "BEARER"),
            ("EVENT_CALLBACK_AUTH_TOKEN", "0123"),
            ("COMMANDS_API_AUTH", "Basic"),
            ("COMMANDS_API_AUTH_USER", "ops"),
            ("COMMANDS_API_AUTH_TOKEN", "42"),
            ("CONTROL_SECRET", "s3cret of 16 bytes"),
            ("ID_MAX_LENGTH", "64"),
            ("SERVER_CAPACITY", "8"),
            ("EXTERNAL_IP", "192.0.2.9"),
            ("EXTERNAL_PORT", "443"),
            ("EXTERNAL_SSL", "YES"),
            ("MAX_IP_CONCURRENT_CONNECTIONS", "4"),
            ("CONCURRENT_LIMIT_WHITELIST", "10.0.0.0/8, 192.0.2.1,2001:db8::/32"),
            ("RTMP_PLAY_WHITELIST", "*"),
            ("GOP_CACHE_SIZE_MB", "8"),
            ("RTMP_CHUNK_SIZE", "4096"),
            ("HLS_TIME_SECONDS", "4"),
            ("HLS_LIVE_PLAYLIST_SIZE", "20"),
            ("LOG_REQUESTS", "NO"),
            ("LOG_DEBUG", "YES"),
        ]);
        let settings = &loaded.settings;
        let addr = |text: &str| vec![text.parse().unwrap()];
        assert_eq!(settings.listeners.control.addr, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(settings.listeners.rtmp.addr, addr("127.0.0.1:1940"));
        assert_eq!(settings.listeners.rtmps.addr, addr("127.0.0.1:1941"));
        assert_eq!(settings.listeners.http.addr, addr("127.0.0.1:8080"));
        assert_eq!(settings.tls.certificate.as_deref(), Some(std::path::Path::new("/c.pem")));
        let coordinator = &settings.coordinator;
        assert!(coordinator.is_on());
        let keys = &coordinator.key_verification;
        assert_eq!(keys.credential.scheme, Scheme::Basic);
        assert_eq!(
            (keys.credential.user.as_str(), keys.credential.password.0.as_str()),
            ("app", "pw")
        );
        let events = &coordinator.event_callback;
        assert_eq!(events.url.as_ref().unwrap().with_query(), "https://app.example/events?a=b");
        assert_eq!(
            (events.credential.scheme, events.credential.token.0.as_str()),
            (Scheme::Bearer, "0123")
        );
        assert_eq!(coordinator.commands.basic_password().0, "42");
        assert_eq!((coordinator.id_bytes_max, coordinator.encoder_capacity.0), (64, Some(8)));
        assert_eq!(coordinator.server.ip, Auto::Set("192.0.2.9".parse().unwrap()));
        assert_eq!((coordinator.server.port, coordinator.server.tls), (Auto::Set(443), true));
        assert_eq!((settings.limits.connections_per_ip_max, settings.limits.exempt.len()), (4, 3));
        assert_eq!(settings.limits.play_from.len(), 2);
        assert_eq!(settings.session.url, UrlDialect::ChannelKey);
        assert_eq!(settings.session.id_bytes_max, 64);
        assert_eq!(settings.stream.gop_bytes_max, 8 << 20);
        assert_eq!(settings.session.rtmp_chunk_bytes, 4096);
        let hls = &settings.stream.hls;
        assert_eq!((hls.mode, hls.segment.as_millis()), (HlsMode::Always, 4_000));
        assert_eq!((hls.listed, hls.kept), (20, 20));
        assert_eq!(settings.log.level, LogLevel::Debug);
        assert_eq!((loaded.warnings.as_slice(), loaded.variables.len()), ([].as_slice(), 31));
    }

    #[test]
    fn the_contract_brings_its_own_playlists() {
        let hls = loaded(&[("CONTROL_SECRET", "x")]).settings.stream.hls;
        assert_eq!((hls.mode, hls.segment.as_millis(), hls.listed), (HlsMode::Always, 3_000, 10));
        let env = [("CONTROL_SECRET", "x"), ("GRANDSTAND_HLS__MODE", "on_demand")];
        assert_eq!(loaded(&env).settings.stream.hls.mode, HlsMode::OnDemand);
        let off = loaded(&[("CONTROL_SECRET", "x"), ("GRANDSTAND_COORDINATOR__ENABLED", "false")]);
        assert_eq!(off.settings.stream.hls.mode, HlsMode::OnDemand);
        assert!(!loaded(&[("COMMANDS_API_AUTH", "")]).settings.coordinator.is_on());
        let warnings = loaded(&[("CONTROL_SECRET", "x")]).warnings;
        assert!(warnings[0].starts_with("every key may publish"), "{warnings:?}");
        assert!(warnings[1].contains("CONTROL_SECRET) has 1 bytes"), "{warnings:?}");
        let sound = loaded(&[("CONTROL_SECRET", "0123456789abcdef")]).warnings;
        assert_eq!(sound, warnings[..1]);
        // Who is the client of another coordinator has the secret from there.
        let off = loaded(&[("CONTROL_SECRET", "x"), ("GRANDSTAND_COORDINATOR__ENABLED", "false")]);
        assert!(off.warnings.is_empty(), "{:?}", off.warnings);
    }

    #[test]
    fn a_server_of_a_coordinator_becomes_its_client() {
        let (base, secret) =
            (("CONTROL_BASE_URL", "wss://c.example"), ("CONTROL_SECRET", "s3cret"));
        let external = [("EXTERNAL_IP", "192.0.2.9"), ("EXTERNAL_SSL", "NO")];
        let client = loaded(&[("CONTROL_USE", "YES"), base, secret, external[0], external[1]]);
        let coordinator = &client.settings.coordinator;
        assert!(coordinator.client.is_on() && !coordinator.is_on());
        assert_eq!(coordinator.client.secret.0, "s3cret");
        assert_eq!(coordinator.client.url.as_ref().unwrap().to_string(), "wss://c.example");
        assert_eq!(coordinator.server.ip, Auto::Set("192.0.2.9".parse().unwrap()));
        assert!(client.warnings.is_empty(), "{:?}", client.warnings);
        let nothing = |loaded: &Loaded, name| {
            let used = loaded.variables.iter().find(|used| used.name == name).unwrap();
            used.outcome.clone()
        };
        // An encoder has a coordinator, too, without this word; and whoever has the words of a
        // coordinator is one, whatever its servers were told.
        for (word, reason) in [("NO", NOT_USED), ("YES", OWN_COORDINATOR)] {
            let verify = ("KEY_VERIFICATION_URL", "http://app.example/verify");
            let own = loaded(&[("CONTROL_USE", word), base, secret, verify]);
            assert!(own.settings.coordinator.is_on() && !own.settings.coordinator.client.is_on());
            assert_eq!(own.settings.coordinator.control_secret.0, "s3cret");
            assert_eq!(nothing(&own, "CONTROL_BASE_URL"), Outcome::Nothing(reason));
        }
        let refused = refused(&[("CONTROL_USE", "YES"), secret]);
        assert!(refused.contains("set coordinator.client.url (CONTROL_BASE_URL)"), "{refused}");
    }

    #[test]
    fn ours_decide_before_theirs_and_the_environment_before_the_file() {
        let both =
            loaded(&[("RTMP_PORT", "1"), ("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:2")]);
        assert_eq!(both.settings.listeners.rtmp.addr, ["127.0.0.1:2".parse().unwrap()]);
        let other = Outcome::Overridden("GRANDSTAND_LISTENERS__RTMP__ADDR".to_owned());
        assert_eq!(both.variables[0].outcome, other);
        let env = owned(&[("HTTP_PORT", "1"), ("LOG_DEBUG", "NO")]);
        let variables = owned(&[("HTTP_PORT", "2"), ("RTMP_PORT", "3"), ("HOME", "/x")]);
        let dotenv = Dotenv { variables, warnings: vec!["left out".to_owned()] };
        let loaded = load(None, Sources { env, dotenv }).unwrap();
        assert_eq!(loaded.settings.listeners.control.addr, "[::]:1".parse().unwrap());
        assert_eq!(loaded.settings.listeners.rtmp.addr, ["[::]:3".parse().unwrap()]);
        let told: Vec<_> = loaded.variables.iter().map(|used| (used.name, used.dotenv)).collect();
        assert_eq!(told, [("HTTP_PORT", false), ("RTMP_PORT", true), ("LOG_DEBUG", false)]);
        assert_eq!(loaded.variables[2].outcome, Outcome::AsItIs);
        assert_eq!(loaded.warnings, ["left out"]);
    }

    #[test]
    fn the_port_of_tls_is_nothing_without_a_certificate() {
        let settings = loaded(&[
            ("BIND_ADDRESS", "127.0.0.1"),
            ("SSL_PORT", "8443"),
            ("SSL_CHECK_RELOAD_SECONDS", "5"),
            ("SSL_CERT", "/c.pem"),
            ("SSL_KEY", "/k.pem"),
        ])
        .settings;
        let control_tls = &settings.listeners.control_tls;
        assert_eq!(control_tls.addr, "127.0.0.1:8443".parse().unwrap());
        assert_eq!((control_tls.enabled, settings.tls.check.as_secs()), (true, 5));
        let bare = loaded(&[("SSL_PORT", "1"), ("SSL_CHECK_RELOAD_SECONDS", "-1")]);
        assert!(!bare.settings.listeners.control_tls.enabled);
        assert!(bare.settings.tls.check.is_zero());
        assert_eq!(
            bare.warnings,
            ["SSL_PORT has no effect: there is no TLS without SSL_CERT and SSL_KEY"]
        );
    }

    #[test]
    fn a_cap_of_the_family_exempts_nobody_unless_somebody_is_named() {
        let cap = ("MAX_IP_CONCURRENT_CONNECTIONS", "2");
        assert_eq!(loaded(&[cap]).settings.limits.exempt, []);
        let everybody = loaded(&[cap, ("CONCURRENT_LIMIT_WHITELIST", "*")]).settings.limits.exempt;
        let covers =
            |text: &str| everybody.iter().any(|range| range.contains(text.parse().unwrap()));
        assert!(covers("203.0.113.9") && covers("2001:db8::1"));
        let ours = loaded(&[cap, ("GRANDSTAND_LIMITS__EXEMPT", "127.0.0.1")]);
        assert_eq!(ours.settings.limits.exempt.len(), 1);
    }

    #[test]
    fn a_group_of_pictures_fits_what_a_stream_may_take() {
        let bytes = |text| loaded(&[("GOP_CACHE_SIZE_MB", text)]).settings.stream.gop_bytes_max;
        let max = load(None, []).unwrap().settings.stream.bytes_max;
        assert_eq!((bytes("0"), bytes("1"), bytes("256")), (64 << 10, 1 << 20, max));
    }

    #[test]
    fn switches_of_the_log_know_one_word_each() {
        let level = |name, text| loaded(&[(name, text)]).settings.log.level;
        for text in ["NO", "no", " No ", "FALSE", "0"] {
            assert_eq!(level("LOG_REQUESTS", text), LogLevel::Warn, "{text}");
        }
        for text in ["YES", "on", "maybe", "2"] {
            assert_eq!(level("LOG_REQUESTS", text), LogLevel::Info, "{text}");
        }
        assert_eq!(level("LOG_DEBUG", "yes"), LogLevel::Debug);
        for text in ["NO", "on", "maybe"] {
            assert_eq!(level("LOG_DEBUG", text), LogLevel::Info, "{text}");
        }
    }

    #[test]
    fn a_wrong_text_is_named_with_its_mend() {
        let mend = "; correct it, or unset it for the default";
        for (name, text, line) in [
            (
                "HTTP_PORT",
                "tcp://10.0.0.1:80",
                "listeners.control.addr: expected a port from 0, \
              which takes a free one, to 65535, got \"tcp://10.0.0.1:80\"",
            ),
            (
                "BIND_ADDRESS",
                "localhost",
                "listeners: expected an IP address, or * for every \
              interface, got \"localhost\"",
            ),
            (
                "KEY_VERIFICATION_URL",
                "app.example/verify",
                "coordinator.key_verification_url: \
              expected a URL such as \"https://app.example/callbacks/events\" without user and \
              fragment, or \"\", got \"app.example/verify\"",
            ),
            (
                "KEY_VERIFICATION_AUTH",
                "Digest",
                "coordinator.key_verification_auth: expected \
              Basic, Bearer or Custom, got \"Digest\"",
            ),
            (
                "ID_MAX_LENGTH",
                "129",
                "coordinator.id_bytes_max: expected a whole number from 1 to \
              128, got 129",
            ),
            (
                "MAX_IP_CONCURRENT_CONNECTIONS",
                "four",
                "limits.connections_per_ip_max: expected a \
              whole number, got \"four\"",
            ),
            (
                "MAX_IP_CONCURRENT_CONNECTIONS",
                "0",
                "limits.connections_per_ip_max: expected a \
              whole number of at least 1, got 0",
            ),
            (
                "CONCURRENT_LIMIT_WHITELIST",
                "10.0.0.0/99",
                "limits.exempt: expected a list of \
                 addresses and ranges such as [\"127.0.0.0/8\", \"::1\"], or \"*\", \
                 got \"10.0.0.0/99\"",
            ),
        ] {
            assert_eq!(refused(&[(name, text)]), format!("{name}: {line}{mend}"));
        }
        assert_eq!(
            refused(&[("EVENT_CALLBACK_URL", "http://a/"), ("EVENT_CALLBACK_AUTH", "Bearer")]),
            "default: coordinator.event_callback_token: it is needed, and empty; set it, or \
             coordinator.event_callback_auth to \"none\""
        );
        let secret = refused(&[("COMMANDS_API_AUTH", "Basic"), ("COMMANDS_API_AUTH_USER", "u")]);
        assert!(secret.contains("coordinator.commands_password: it is empty"), "{secret}");
    }

    #[test]
    fn a_misspelt_name_and_one_without_effect_warn() {
        for (name, warning) in [
            (
                "KEY_VERIFICATION_URI",
                "there is no variable KEY_VERIFICATION_URI; the nearest is \
              KEY_VERIFICATION_URL",
            ),
            ("RTMP_PROT", "there is no variable RTMP_PROT; the nearest is RTMP_PORT"),
            (
                "EVENT_CALBACK_URL",
                "there is no variable EVENT_CALBACK_URL; the nearest is \
              EVENT_CALLBACK_URL",
            ),
            ("RTMP_QUITE_ANOTHER_THING", "there is no variable RTMP_QUITE_ANOTHER_THING; unset it"),
            ("SSL_PORT", "SSL_PORT has no effect: there is no TLS without SSL_CERT and SSL_KEY"),
            (
                "RTMP_SSL_PORT",
                "RTMP_SSL_PORT has no effect: there is no TLS without SSL_CERT and SSL_KEY",
            ),
            (
                "REDIS_HOST",
                "REDIS_HOST has no effect: commands come by /commands/close on the \
              control listener",
            ),
        ] {
            assert_eq!(loaded(&[(name, "1")]).warnings, [warning]);
        }
        let storage = &loaded(&[("HLS_STORAGE_TYPE", "S3")]).warnings[0];
        assert!(storage.starts_with("HLS_STORAGE_TYPE has no effect: streams are"), "{storage}");
        let others = ["PATH", "HOME", "HTTP_PROXY", "LOG_LEVEL", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        assert!(loaded(&others.map(|name| (name, "1"))).warnings.is_empty());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let loaded = loaded(&[("CONTROL_SECRET", "hush"), ("COMMANDS_API_AUTH_TOKEN", "hush")]);
        assert!(!format!("{loaded:?}").contains("hush"));
        let sections = crate::config::sections();
        let keys = sections.iter().flat_map(|section| &section.keys);
        assert!(keys.clone().all(|key| !key.show(&loaded.settings).contains("hush")));
        let error = refused(&[("GRANDSTAND_COORDINATOR__COMMANDS_TOKEN", "[1.5]")]);
        assert!(error.contains("got (secret)") && !error.contains("1.5"), "{error}");
        assert!(keys.filter(|key| key.secret).count() >= 8);
    }
}
