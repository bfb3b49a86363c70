//! `[coordinator.client]`: the coordinator that this node is a streaming server of.

use dataplane::config::HlsMode;
use dataplane::ids::Secret;

use super::coordinator::{CoordinatorSection, contract_of_addresses};
use super::document::Datum;
use super::field::{Auto, Bounds, Field, quoted, words};
use super::key::{Key, Section};
use super::load::Loaded;
use crate::coordinator::client::{Base, NewWhileAway, RunningWhileAway, Terms};
use crate::error::Error;

/// `[coordinator.client]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSection {
    /// This node is a client.
    pub enabled: Auto<bool>,
    /// Where the coordinator is.
    pub url: Option<Base>,
    /// What this node proves itself with.
    pub secret: Secret,
    /// What holds while it is away.
    pub terms: Terms,
}

impl Default for ClientSection {
    fn default() -> Self {
        let (secret, terms) = (Secret::default(), Terms::default());
        Self { enabled: Auto::Auto, url: None, secret, terms }
    }
}

impl ClientSection {
    /// True if this node is a client.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        match self.enabled {
            Auto::Set(on) => on,
            Auto::Auto => self.url.is_some(),
        }
    }
}

words!(NewWhileAway {
    "refuse" => NewWhileAway::Refuse,
    "allow" => NewWhileAway::Allow,
});

words!(RunningWhileAway {
    "keep" => RunningWhileAway::Keep,
    "end" => RunningWhileAway::End,
});

impl Field for Option<Base> {
    fn expects(&self, _: &Bounds) -> String {
        "an address such as \"wss://coordinator.example\" without user, query and fragment, or \"\""
            .to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = if text.is_empty() { None } else { Some(Base::parse(text.trim())?) };
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.as_ref().map_or_else(String::new, Base::to_string))
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "enabled",
        "Whether this node is a streaming server (RTMP) of a coordinator elsewhere, which is asked \
         about each publisher and may end each publication. \"auto\": if url is set. \
         rtmp://HOST/CHANNEL/KEY publishes and plays then, players wait for their channel, and HLS \
         is off, unless these are set otherwise. A node is a coordinator or the client of one.",
        |s| &mut s.coordinator.client.enabled,
    ),
    Key::new(
        "url",
        "Where the coordinator is: ws:// or wss://, and the path of a proxy before \
         /ws/control/rtmp if there is one. Where this node is for its encoders say \
         coordinator.server_ip (\"auto\" lets the coordinator take the address that it sees), \
         server_port and server_tls.",
        |s| &mut s.coordinator.client.url,
    ),
    Key::new(
        "secret",
        "What this node proves itself with: the coordinator's CONTROL_SECRET. It is needed.",
        |s| &mut s.coordinator.client.secret,
    )
    .secret(),
    Key::new(
        "away_new",
        "What becomes of new publishers while the coordinator is away: \"refuse\", or \"allow\", \
         which lets in everybody and asks about them once it is back.",
        |s| &mut s.coordinator.client.terms.new,
    ),
    Key::new(
        "away_running",
        "What becomes of publications while it is away: \"keep\", which asks about them again once \
         it is back, or \"end\".",
        |s| &mut s.coordinator.client.terms.running,
    ),
];

pub(super) fn section() -> Section {
    Section::new(
        "coordinator.client",
        "The coordinator of a cluster that this node is a streaming server of. Variables of the \
         environment (CONTROL_USE, CONTROL_BASE_URL, CONTROL_SECRET) set these, too.",
        KEYS,
    )
}

/// What a coordinator elsewhere says of other sections, where nobody else does; `started` is the
/// section that is or comes into force.
pub(super) fn contract(loaded: &mut Loaded, started: &CoordinatorSection) {
    let client = &loaded.settings.coordinator.client;
    let public = |url: &&Base| client.is_on() && !url.is_private();
    if let Some(url) = client.url.as_ref().filter(public) {
        loaded.warnings.push(format!(
            "coordinator.client.url tells the keys of publishers to {url} without TLS, so that \
             whoever is on the way learns them; write wss://, or a private address"
        ));
    }
    if !started.client.is_on() {
        return;
    }
    contract_of_addresses(loaded, started);
    if !loaded.is_set("hls.mode") {
        // Whoever plays by RTMP shows the key; HLS would be open to everybody beside that.
        loaded.settings.stream.hls.mode = HlsMode::Off;
    }
}

/// The key by which a node is a coordinator itself.
fn own(section: &CoordinatorSection) -> &'static str {
    match section {
        CoordinatorSection { enabled: Auto::Set(true), .. } => "coordinator.enabled",
        CoordinatorSection { key_verification, .. } if key_verification.url.is_some() => {
            "coordinator.key_verification_url"
        }
        CoordinatorSection { event_callback, .. } if event_callback.url.is_some() => {
            "coordinator.event_callback_url"
        }
        _ => "coordinator.control_secret",
    }
}

/// What must hold between the keys of the section.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let section = &loaded.settings.coordinator;
    let listeners = &loaded.settings.listeners;
    let client = &section.client;
    if !client.is_on() {
        return Ok(());
    }
    let misfit = |key: &str, what: &str, mend: &str| {
        Err(loaded.misfit(key, what.to_owned(), mend.to_owned()))
    };
    if client.url.is_none() {
        return misfit(
            "coordinator.client.enabled",
            "there is no coordinator to be the client of",
            "set coordinator.client.url (CONTROL_BASE_URL)",
        );
    }
    if client.secret.0.is_empty() {
        return misfit(
            "coordinator.client.secret",
            "it is needed, and empty: a coordinator lets in nobody without it",
            "set it (CONTROL_SECRET) to that of the coordinator",
        );
    }
    if section.is_on() {
        return misfit(
            own(section),
            "this node is a coordinator by it, and the client of another one by \
             coordinator.client.url",
            "set coordinator.enabled to false to be the client, or remove coordinator.client.url",
        );
    }
    let open = if section.server.tls { listeners.rtmps.enabled } else { listeners.rtmp.enabled };
    if !open {
        return misfit(
            "coordinator.client.enabled",
            "the encoders of a coordinator pull by RTMP, and no listener of it is enabled",
            "enable listeners.rtmp, or listeners.rtmps with coordinator.server_tls",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dataplane::config::UrlDialect;

    use super::*;
    use crate::auth::{Mode, Modes};
    use crate::config::{load, load_beside};

    fn loaded(env: &[(&str, &str)]) -> Result<Loaded, String> {
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        load(None, env.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    const URL: (&str, &str) = ("GRANDSTAND_COORDINATOR__CLIENT__URL", "wss://c.example/edge/");
    const SECRET: (&str, &str) = ("GRANDSTAND_COORDINATOR__CLIENT__SECRET", "hush");

    #[test]
    fn a_client_asks_its_coordinator_and_plays_by_key() {
        let loaded = loaded(&[URL, SECRET]).unwrap();
        let settings = &loaded.settings;
        let client = &settings.coordinator.client;
        assert_eq!(client.url.as_ref().unwrap().to_string(), "wss://c.example/edge");
        assert!(client.is_on() && !settings.coordinator.is_on() && !loaded.demo());
        assert_eq!(client.terms, Terms::default());
        let only = Modes::only(Mode::Coordinator);
        assert_eq!(settings.modes(&settings.coordinator), (only, only));
        assert!(settings.rules(settings).follows);
        assert_eq!(settings.session.url, UrlDialect::ChannelKey);
        assert_eq!(settings.stream.hls.mode, HlsMode::Off);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let section = section();
        let shown: Vec<_> = section.keys.iter().map(|key| key.show(settings)).collect();
        assert!(shown.iter().all(|text| !text.contains("hush")), "{shown:?}");
    }

    #[test]
    fn what_is_said_otherwise_stays() {
        let mode = ("GRANDSTAND_HLS__MODE", "always");
        let plain = (URL.0, "ws://c.example");
        let new = ("GRANDSTAND_COORDINATOR__CLIENT__AWAY_NEW", "allow");
        let running = ("GRANDSTAND_COORDINATOR__CLIENT__AWAY_RUNNING", "end");
        let loaded = loaded(&[plain, SECRET, mode, new, running]).unwrap();
        assert_eq!(loaded.settings.stream.hls.mode, HlsMode::Always);
        let terms = Terms { new: NewWhileAway::Allow, running: RunningWhileAway::End };
        assert_eq!(loaded.settings.coordinator.client.terms, terms);
        assert!(loaded.warnings[0].contains("without TLS"), "{:?}", loaded.warnings);
    }

    /// Who may play is judged as the node was started: HLS must not open beside that.
    #[test]
    fn what_is_written_since_changes_no_contract_until_the_restart() {
        let beside = |env: &[(&str, &str)], started: &Loaded| {
            let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            let started = Some(&started.settings.coordinator);
            load_beside(None, env.collect::<Vec<_>>(), started).unwrap()
        };
        let off = ("GRANDSTAND_COORDINATOR__CLIENT__ENABLED", "false");
        let always = ("GRANDSTAND_HLS__MODE", "always");
        let (client, none) = (loaded(&[URL, SECRET]).unwrap(), loaded(&[]).unwrap());
        for gone in [&[][..], &[URL, SECRET, off]] {
            let reloaded = beside(gone, &client);
            assert!(!reloaded.settings.coordinator.client.is_on(), "that is what is written");
            assert_eq!(reloaded.settings.stream.hls.mode, HlsMode::Off);
            assert_eq!(reloaded.settings.session, client.settings.session);
        }
        assert_eq!(beside(&[always], &client).settings.stream.hls.mode, HlsMode::Always);
        let reloaded = beside(&[URL, SECRET], &none);
        assert!(reloaded.settings.coordinator.client.is_on());
        assert_eq!(reloaded.settings.stream, none.settings.stream);
        assert_eq!(reloaded.settings.session, none.settings.session);
        let verify = ("GRANDSTAND_COORDINATOR__KEY_VERIFICATION_URL", "http://app.example/");
        let own = loaded(&[verify]).unwrap();
        assert_eq!(beside(&[], &own).settings.stream, own.settings.stream);
        assert_eq!(beside(&[verify], &none).settings.stream, none.settings.stream);
    }

    #[test]
    fn each_contradiction_is_named_with_its_mend() {
        let on = ("GRANDSTAND_COORDINATOR__CLIENT__ENABLED", "true");
        let verify = ("GRANDSTAND_COORDINATOR__KEY_VERIFICATION_URL", "http://app.example/");
        let no_rtmp = ("GRANDSTAND_LISTENERS__RTMP__ENABLED", "false");
        for (env, words) in [
            (&[on][..], "coordinator.client.enabled: there is no coordinator"),
            (&[URL], "coordinator.client.secret: it is needed, and empty"),
            (
                &[URL, SECRET, verify],
                "coordinator.key_verification_url: this node is a coordinator",
            ),
            (&[URL, SECRET, no_rtmp], "the encoders of a coordinator pull by RTMP"),
            (&[(URL.0, "c.example"), SECRET], "expected an address such as"),
        ] {
            let error = loaded(env).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
        let off = ("GRANDSTAND_COORDINATOR__CLIENT__ENABLED", "false");
        assert!(!loaded(&[URL, off, verify]).unwrap().settings.coordinator.client.is_on());
    }
}
