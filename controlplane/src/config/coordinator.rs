//! `[coordinator]`: how the application that owns channels and keys is asked, told and obeyed.

use std::time::Duration;

use codecs::time::MediaTime;
use dataplane::config::{HlsMode, UrlDialect};
use dataplane::ids::Secret;

use super::client::ClientSection;
use super::document::Datum;
use super::field::{Auto, Bounds, Field, quoted, words};
use super::key::{Key, Section};
use super::load::Loaded;
use crate::coordinator::{Endpoint, ID_BYTES_MAX, Scheme};
use crate::error::Error;
use crate::outbound::{Address, Credentials};

/// `[coordinator]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorSection {
    /// The contract is in force.
    pub enabled: Auto<bool>,
    /// Who says whether a key is right.
    pub key_verification: Endpoint,
    /// Who is told when a stream can be played, and when it is over.
    pub event_callback: Endpoint,
    /// What `/commands/` must be asked with.
    pub commands: CommandsAuth,
    /// What servers and encoders prove themselves with.
    pub control_secret: Secret,
    /// Bytes of a channel or a key at most.
    pub id_bytes_max: u32,
    /// Streams that the encoder of this node takes.
    pub encoder_capacity: Capacity,
    /// How reports tell the streaming server that this node is.
    pub server: ServerAddress,
    /// Streaming servers of each role that are attached at most.
    pub servers_max: u32,
    /// Encoders that are attached at most.
    pub encoders_max: u32,
    /// What is published to a server has to be playable within this.
    pub lease: Duration,
    /// Messages of one of them in a second at most.
    pub messages_per_s_max: u32,
    /// `[coordinator.client]`
    pub client: ClientSection,
}

/// What `/commands/` must be asked with: nothing is enough unless something is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandsAuth {
    /// Basic, Bearer, or nobody may.
    pub scheme: CommandsScheme,
    /// The user of Basic.
    pub user: String,
    /// The password of Basic.
    pub password: Secret,
    /// The token of Bearer, or the password of Basic if that is empty.
    pub token: Secret,
}

/// How commands prove themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandsScheme {
    /// Nobody may command.
    #[default]
    None,
    /// User and password.
    Basic,
    /// A token.
    Bearer,
}

/// Streams that an encoder takes at one time; `None` for as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity(pub Option<u32>);

/// Where a report says that this node's RTMP is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// The address; without it the one that a listener is bound to.
    pub ip: Auto<std::net::IpAddr>,
    /// The port.
    pub port: Auto<u16>,
    /// It is inside TLS.
    pub tls: bool,
}

impl Default for CoordinatorSection {
    fn default() -> Self {
        Self {
            enabled: Auto::Auto,
            key_verification: Endpoint::default(),
            event_callback: Endpoint::default(),
            commands: CommandsAuth::default(),
            control_secret: Secret::default(),
            id_bytes_max: ID_BYTES_MAX as u32,
            encoder_capacity: Capacity::default(),
            server: ServerAddress { ip: Auto::Auto, port: Auto::Auto, tls: false },
            servers_max: 4,
            encoders_max: 8,
            lease: Duration::from_secs(120),
            messages_per_s_max: 100,
            client: ClientSection::default(),
        }
    }
}

impl CoordinatorSection {
    /// True if the contract is in force.
    #[must_use]
    pub fn is_on(&self) -> bool {
        match self.enabled {
            Auto::Set(on) => on,
            Auto::Auto => {
                self.key_verification.url.is_some()
                    || self.event_callback.url.is_some()
                    || !self.control_secret.0.is_empty()
            }
        }
    }

    /// True if publishers and players are judged by the contract: by the application of this node,
    /// or by a coordinator elsewhere.
    #[must_use]
    pub fn judges(&self) -> bool {
        self.is_on() || self.client.is_on()
    }
}

words!(Scheme {
    "none" => Scheme::None,
    "basic" => Scheme::Basic,
    "bearer" => Scheme::Bearer,
    "custom" => Scheme::Custom,
});

words!(CommandsScheme {
    "none" => CommandsScheme::None,
    "basic" => CommandsScheme::Basic,
    "bearer" => CommandsScheme::Bearer,
});

impl Field for Capacity {
    fn expects(&self, _: &Bounds) -> String {
        "a number of streams, or -1 for as many as come".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Integer(number) = datum else { return None };
        self.0 = if *number < 0 { None } else { Some(u32::try_from(*number).ok()?) };
        Some(())
    }
    fn render(&self) -> String {
        self.0.map_or_else(|| "-1".to_owned(), |number| number.to_string())
    }
}

impl Field for Auto<std::net::IpAddr> {
    fn expects(&self, _: &Bounds) -> String {
        "\"auto\" or an IP address".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = if text == "auto" { Self::Auto } else { Self::Set(text.trim().parse().ok()?) };
        Some(())
    }
    fn render(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Set(ip) => quoted(&ip.to_string()),
        }
    }
}

/// Where requests are sent.
impl Field for Option<Address> {
    fn expects(&self, _: &Bounds) -> String {
        "a URL such as \"https://app.example/callbacks/events\" without user and fragment, or \"\""
            .to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = if text.is_empty() { None } else { Some(Address::parse(text.trim())?) };
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.as_ref().map_or_else(String::new, Address::with_query))
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "enabled",
        "Whether the coordinator's contract is in force: rtmp://HOST/CHANNEL/KEY publishes and \
         plays, players wait for their channel, HLS is made of every stream. \"auto\": if \
         key_verification_url, event_callback_url or control_secret is set.",
        |s| &mut s.coordinator.enabled,
    ),
    Key::new(
        "key_verification_url",
        "Asked by POST whether a publisher's key is right; exactly 200 is yes. Without it every \
         key is.",
        |s| &mut s.coordinator.key_verification.url,
    ),
    Key::new(
        "key_verification_auth",
        "How that request proves itself: \"none\", \"basic\" (user and password), \"bearer\" \
         (token), or \"custom\" (a whole header Authorization).",
        |s| &mut s.coordinator.key_verification.credential.scheme,
    ),
    Key::new("key_verification_user", "The user of \"basic\".", |s| {
        &mut s.coordinator.key_verification.credential.user
    }),
    Key::new("key_verification_password", "The password of \"basic\".", |s| {
        &mut s.coordinator.key_verification.credential.password
    })
    .secret(),
    Key::new("key_verification_token", "The token of \"bearer\".", |s| {
        &mut s.coordinator.key_verification.credential.token
    })
    .secret(),
    Key::new("key_verification_custom", "The header of \"custom\".", |s| {
        &mut s.coordinator.key_verification.credential.custom
    })
    .secret(),
    Key::new(
        "event_callback_url",
        "Told by POST when a stream can be played and when it is over, until the answer is exactly \
         200.",
        |s| &mut s.coordinator.event_callback.url,
    ),
    Key::new("event_callback_auth", "As key_verification_auth.", |s| {
        &mut s.coordinator.event_callback.credential.scheme
    }),
    Key::new("event_callback_user", "The user of \"basic\".", |s| {
        &mut s.coordinator.event_callback.credential.user
    }),
    Key::new("event_callback_password", "The password of \"basic\".", |s| {
        &mut s.coordinator.event_callback.credential.password
    })
    .secret(),
    Key::new("event_callback_token", "The token of \"bearer\".", |s| {
        &mut s.coordinator.event_callback.credential.token
    })
    .secret(),
    Key::new("event_callback_custom", "The header of \"custom\".", |s| {
        &mut s.coordinator.event_callback.credential.custom
    })
    .secret(),
    Key::new(
        "commands_auth",
        "What /commands/ on the control listener must be asked with: \"basic\", \"bearer\", or \
         \"none\", with which nobody may ask.",
        |s| &mut s.coordinator.commands.scheme,
    ),
    Key::new("commands_user", "The user of \"basic\".", |s| &mut s.coordinator.commands.user),
    Key::new("commands_password", "The password of \"basic\".", |s| {
        &mut s.coordinator.commands.password
    })
    .secret(),
    Key::new(
        "commands_token",
        "The token of \"bearer\"; the password of \"basic\" where commands_password is empty.",
        |s| &mut s.coordinator.commands.token,
    )
    .secret(),
    Key::new(
        "control_secret",
        "What streaming servers and encoders prove themselves with that attach to this node as to \
         their coordinator, by /ws/control/ on the control listener. Without it none may. Let it \
         be long: whoever knows it has every stream.",
        |s| &mut s.coordinator.control_secret,
    )
    .secret(),
    Key::new("id_bytes_max", "Bytes of a channel, and of a key, at most.", |s| {
        &mut s.coordinator.id_bytes_max
    })
    .range(1, ID_BYTES_MAX as u64),
    Key::new(
        "encoder_capacity",
        "Streams that the encoder of this node takes at one time, as /commands/capacity and \
         /commands/report say: one more publication is refused; -1 for as many as come.",
        |s| &mut s.coordinator.encoder_capacity,
    ),
    Key::new(
        "server_ip",
        "The address of this streaming server in /commands/report. \"auto\" is the one that RTMP \
         is bound to.",
        |s| &mut s.coordinator.server.ip,
    ),
    Key::new("server_port", "Its port there. \"auto\" is that of the RTMP listener.", |s| {
        &mut s.coordinator.server.port
    })
    .range(1, 65_535),
    Key::new("server_tls", "Whether that port is inside TLS.", |s| &mut s.coordinator.server.tls),
    Key::new(
        "servers_max",
        "Streaming servers of each role (rtmp, wss) that may be attached; memory is kept for each \
         if control_secret is set, 1.3 MiB for 512 publications and their messages.",
        |s| &mut s.coordinator.servers_max,
    )
    .range(0, 1_024),
    Key::new("encoders_max", "Encoders that may be attached, of 0.7 MiB each.", |s| {
        &mut s.coordinator.encoders_max
    })
    .range(0, 1_024),
    Key::new(
        "lease_ms",
        "What is published to an attached server has to be playable within this, and again when \
         its encoder was lost: the server lost a publisher and did not say so else, and is told to \
         end it, so that the channel is free again. Let it be more than encoders take to begin.",
        |s| &mut s.coordinator.lease,
    )
    .range(5_000, 3_600_000)
    .millis(),
    Key::new(
        "messages_per_s_max",
        "Messages of one of them, and of a coordinator elsewhere, in a second, of which four \
         seconds' worth may come at once; one that says more is heard later.",
        |s| &mut s.coordinator.messages_per_s_max,
    )
    .range(1, 10_000),
];

pub(super) fn sections() -> [Section; 2] {
    let own = Section::new(
        "coordinator",
        "The coordinator's contract with an application that owns channels, keys and viewers. Its \
         own variables of the environment (KEY_VERIFICATION_URL and the like) set these, too.",
        KEYS,
    );
    [own, super::client::section()]
}

/// An address says channel and key, where nobody says otherwise.
pub(super) fn contract_of_addresses(loaded: &mut Loaded, started: &CoordinatorSection) {
    let unset = |key: &str| !loaded.is_set(key);
    let (url, id_bytes_max) = (unset("session.url"), unset("session.id_bytes_max"));
    let session = &mut loaded.settings.session;
    if url {
        session.url = UrlDialect::ChannelKey;
    }
    if id_bytes_max {
        session.id_bytes_max = started.id_bytes_max;
    }
}

const ANY_KEY: &str = "every key may publish on every channel, because \
                       coordinator.key_verification_url is not set; set it to ask an application";

/// A secret of fewer bytes is one that somebody can guess, or try.
const SECRET_BYTES_SOUND: usize = 16;

/// What the contract says of other sections, where nobody else does; `started` is the section that
/// is or comes into force.
pub(super) fn contract(loaded: &mut Loaded, started: &CoordinatorSection) {
    super::client::contract(loaded, started);
    let unset = |loaded: &Loaded, key: &str| !loaded.is_set(key);
    let written = &loaded.settings.coordinator;
    if written.is_on() && written.key_verification.url.is_none() {
        loaded.warnings.push(ANY_KEY.to_owned());
    }
    let bytes = written.control_secret.0.len();
    if written.is_on() && (1..SECRET_BYTES_SOUND).contains(&bytes) {
        loaded.warnings.push(format!(
            "coordinator.control_secret (CONTROL_SECRET) has {bytes} bytes, so that somebody may \
             guess it and attach as a server or an encoder; make it {SECRET_BYTES_SOUND} random \
             ones at least, here and where they have it"
        ));
    }
    if started.is_on() {
        let (mode, segment, listed) = (
            unset(loaded, "hls.mode"),
            unset(loaded, "hls.segment_ms"),
            unset(loaded, "hls.listed"),
        );
        contract_of_addresses(loaded, started);
        let hls = &mut loaded.settings.stream.hls;
        // The application is told of a stream by its playlist, so there is one of each stream.
        if mode {
            hls.mode = HlsMode::Always;
        }
        if segment {
            hls.segment = MediaTime::from_millis(3_000);
        }
        if listed {
            hls.listed = 10;
        }
    }
    let family = loaded.is_of_family("hls.listed") || started.is_on();
    if family && unset(loaded, "hls.kept") {
        let hls = &mut loaded.settings.stream.hls;
        hls.kept = hls.kept.max(hls.listed);
    }
}

/// What must hold between the keys of the section.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    super::client::agree(loaded)?;
    let section = &loaded.settings.coordinator;
    for (name, endpoint) in [
        ("key_verification", &section.key_verification),
        ("event_callback", &section.event_callback),
    ] {
        if let Err(unusable) = endpoint.credential.authorization() {
            let key = format!("coordinator.{name}_{}", unusable.part);
            let mend = format!("set it, or coordinator.{name}_auth to \"none\"");
            return Err(loaded.misfit(&key, unusable.what.to_owned(), mend));
        }
    }
    let commands = &section.commands;
    let (key, unfit) = match commands.scheme {
        CommandsScheme::None => return Ok(()),
        CommandsScheme::Basic if commands.user.is_empty() || commands.user.contains(':') => {
            ("coordinator.commands_user", true)
        }
        CommandsScheme::Basic => {
            ("coordinator.commands_password", commands.basic_password().0.is_empty())
        }
        CommandsScheme::Bearer => {
            ("coordinator.commands_token", Credentials::bearer(&commands.token.0).is_none())
        }
    };
    if unfit {
        let mend = "set it, or coordinator.commands_auth to \"none\", with which nobody may ask";
        let what = "it is empty, or has letters that it may not have".to_owned();
        return Err(loaded.misfit(key, what, mend.to_owned()));
    }
    Ok(())
}

impl CommandsAuth {
    /// The password of Basic: the documented key first, then the one that was read in its place.
    #[must_use]
    pub const fn basic_password(&self) -> &Secret {
        if self.password.0.is_empty() { &self.token } else { &self.password }
    }
}
