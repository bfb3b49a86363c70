//! `[auth]`: who may publish and play.

use std::sync::Arc;
use std::time::Duration;

use dataplane::config::{HlsMode, HlsSession, ListenerKind};

use super::addresses::listeners;
use super::callback::CallbackSection;
use super::coordinator::CoordinatorSection;
use super::document::Datum;
use super::field::{Auto, Bounds, Field, quoted};
use super::jwt::JwtSection;
use super::key::{Key, Section};
use super::listeners::MediaListener;
use super::load::Loaded;
use super::settings::Settings;
use super::signed::SignedSection;
use crate::auth::{Allows, CLAIMS_BYTES_MAX, KEYS_MAX, KeyHash, KeyRule, Mode, Modes, Rules};
use crate::dialect::Asker;
use crate::error::Error;

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSection {
    /// How publishers and players are judged.
    pub mode: Modes,
    /// How publishers are judged, if not by `mode`.
    pub publish: Auto<Modes>,
    /// How players are judged, if not by `mode`.
    pub play: Auto<Modes>,
    /// Peers of RTMP are judged at `connect`, too.
    pub connect: bool,
    /// The keys of mode `keys`.
    pub keys: Vec<KeyRule>,
    /// Bytes of what is kept of those who were let in, until they leave.
    pub claims_bytes_max: u64,
    /// `[auth.signed]`
    pub signed: SignedSection,
    /// `[auth.jwt]`
    pub jwt: JwtSection,
    /// `[auth.callback]`
    pub callback: CallbackSection,
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            mode: Modes::only(Mode::Open),
            publish: Auto::Auto,
            play: Auto::Auto,
            connect: false,
            keys: Vec::new(),
            claims_bytes_max: CLAIMS_BYTES_MAX,
            signed: SignedSection::default(),
            jwt: JwtSection::default(),
            callback: CallbackSection::default(),
        }
    }
}

impl Settings {
    /// How publishers and players are judged: each as it says itself, else by the coordinator's
    /// contract if that is in force, else by `auth.mode`. `coordinator` is what was in force at the
    /// start, as all of it needs a restart.
    #[must_use]
    pub fn modes(&self, coordinator: &CoordinatorSection) -> (Modes, Modes) {
        let shared =
            if coordinator.judges() { Modes::only(Mode::Coordinator) } else { self.auth.mode };
        let of = |own: Auto<Modes>| match own {
            Auto::Set(modes) => modes,
            Auto::Auto => shared,
        };
        (of(self.auth.publish), of(self.auth.play))
    }

    /// True if everybody who plays is known: viewers of HLS have sessions, or there are none.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        let hls = &self.stream.hls;
        hls.mode == HlsMode::Off || hls.session != HlsSession::Off
    }

    /// Who asks, as far as that is not said of the application.
    fn asker(&self) -> Asker {
        let listeners = listeners(self).into_iter();
        let rtmp = listeners.filter(|listener| listener.kind == ListenerKind::Rtmp);
        let rtmp_ports = rtmp.map(|listener| listener.addr.port()).collect();
        let node = self.node.name().into();
        Asker { node, rtmp_ports, ..Asker::default() }
    }

    /// What verdicts are given by in a process that was started with `started`, of which all stays
    /// that needs a restart.
    #[must_use]
    pub fn rules(&self, started: &Self) -> Rules {
        let coordinator = &started.coordinator;
        let (publish, play) = self.modes(coordinator);
        let AuthSection { keys, signed, jwt, callback, .. } = &self.auth;
        // Whoever asks an application at all asks it about connections, too.
        let asks = [publish, play].iter().any(|modes| modes.contains(Mode::Callback));
        Rules {
            publish,
            play,
            connect: if asks { Mode::Callback } else { Mode::Open },
            listeners: self.listeners.ways(&started.listeners).collect(),
            keys: keys.clone(),
            signed: signed.rules(),
            issuer: Arc::new(jwt.issuer()),
            application: callback.application(self.asker(), self.sees_all()),
            coordinator: coordinator.key_verification.clone(),
            follows: coordinator.client.is_on(),
            key_request: key_request(self.session.authorize_deadline),
            id_bytes_max: coordinator.id_bytes_max as usize,
            calls_max: callback.calls_max as usize,
            // Memory was shared out by it.
            cache_entries_max: started.auth.callback.cache_entries_max as usize,
            cache_per_peer: callback.cache_per_peer,
        }
    }
}

/// How long the key request of the coordinator's contract may take, so that its answer is there
/// before the peer that waits is refused: four fifths of that, 8 s unless told otherwise.
fn key_request(authorize_deadline: Duration) -> Duration {
    authorize_deadline * 4 / 5
}

const KEYS: &[Key] = &[
    Key::new(
        "mode",
        "Who may publish and play. \"open\": everybody. \"keys\": who shows a key of \
         [[auth.keys]] or the stream's own one. \"signed\": who shows an address that was signed \
         with a key of [auth.signed]. \"jwt\": who shows a token of JWT that [auth.jwt] trusts. \
         \"callback\": whom the application of [auth.callback] allows. \"coordinator\": who \
         publishes with a key that the application of [coordinator], or the coordinator of \
         [coordinator.client], verifies, and who plays with the key that the stream is published \
         with; HLS is open. A list such as [\"signed\", \"jwt\", \"keys\", \"callback\"] is tried \
         in its order: the first mode that what is shown is meant for decides, and no other one \
         lets in whom it refused; README.md has the table. A file must say it, so that nobody \
         runs an open server unawares; where one of these is in force, its way comes before this \
         one.",
        |s| &mut s.auth.mode,
    )
    .now(),
    Key::new("publish", "Who may publish, where that is not as in mode: \"auto\".", |s| {
        &mut s.auth.publish
    })
    .now(),
    Key::new("play", "Who may play, where that is not as in mode: \"auto\".", |s| &mut s.auth.play)
        .now(),
    Key::new(
        "connect",
        "Whether peers of RTMP are judged already at `connect`, by the application that they name, \
         if that is a legal name of a stream: by [auth.callback], where that judges publishers or \
         players. Who publishes or plays is judged in any case.",
        |s| &mut s.auth.connect,
    )
    .now(),
    Key::new(
        "keys",
        "Keys by stream (`*` stands for any letters), for \"publish\", \"play\" or \"both\". In \
         the file: [[auth.keys]] with stream, key and, if not both, allows. A key is kept as its \
         hash, which `grandstand key make` and `grandstand key hash` print.",
        |s| &mut s.auth.keys,
    )
    .now()
    .secret(),
    Key::new(
        "claims_bytes_max",
        "Bytes of memory of what those showed who were let in, kept until they leave where an \
         application or a hook of another server's dialect is to be told then. Beyond that ends \
         are told, and on_update asks, without query and page. Not set, it is at most a 64th of \
         limits.memory_max.",
        |s| &mut s.auth.claims_bytes_max,
    )
    .bytes()
    .range(64 << 10, 16 << 30)
    .now(),
];

pub(super) fn sections() -> [Section; 4] {
    [
        Section::new("auth", "Who may publish and play.", KEYS),
        super::signed::section(),
        super::jwt::section(),
        super::callback::section(),
    ]
}

impl Field for Vec<KeyRule> {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[auth.keys]] such as stream = \"news/*\", key = \"sha256:...\" (as \
             `grandstand key hash` prints it) and allows = \"publish\", at most {KEYS_MAX}"
        )
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let rules: Self = items.iter().map(rule).collect::<Option<_>>()?;
        (rules.len() <= KEYS_MAX).then(|| *self = rules)
    }
    fn render(&self) -> String {
        let rule = |KeyRule { pattern, allows, key }: &KeyRule| {
            let (stream, key) = (quoted(pattern), quoted(&key.to_string()));
            format!("{{ stream = {stream}, key = {key}, allows = \"{}\" }}", allows.name())
        };
        format!("[{}]", self.iter().map(rule).collect::<Vec<_>>().join(", "))
    }
}

fn rule(datum: &Datum) -> Option<KeyRule> {
    let Datum::Table(fields) = datum else { return None };
    let (mut pattern, mut key, mut allows) = (None, None, Allows::Both);
    for (name, value) in fields {
        let Datum::Text(text) = value else { return None };
        match name.as_str() {
            "stream" if super::shards::legal_pattern(text) => pattern = Some(text.clone()),
            "key" => key = Some(KeyHash::parse(text)?),
            "allows" => allows = Allows::parse(text)?,
            _ => return None,
        }
    }
    Some(KeyRule { pattern: pattern?, allows, key: key? })
}

/// True if somebody said who may publish and who may play.
pub(super) fn is_said(loaded: &Loaded) -> bool {
    let each = loaded.is_set("auth.publish") && loaded.is_set("auth.play");
    each || loaded.is_set("auth.mode") || loaded.settings.coordinator.judges()
}

/// The key that chooses `mode`, if one does.
fn chosen_by(loaded: &Loaded, mode: Mode) -> Option<String> {
    let (publish, play) = loaded.settings.modes(&loaded.settings.coordinator);
    for (key, modes) in [("auth.publish", publish), ("auth.play", play)] {
        if modes.contains(mode) {
            let key = if loaded.is_set(key) { key } else { "auth.mode" };
            return Some(key.to_owned());
        }
    }
    let by = |(_, listener): &(_, &MediaListener)| {
        let also = listener.also.iter().any(|also| also.auth.contains(mode));
        also || listener.auth.contains(mode)
    };
    let (name, listener) = loaded.settings.listeners.media().into_iter().find(by)?;
    let key = if listener.auth.contains(mode) { "auth" } else { "also" };
    Some(format!("listeners.{name}.{key}"))
}

/// What must hold between the keys of the section.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let AuthSection { signed, jwt, callback, .. } = &loaded.settings.auth;
    let needs = [
        (
            Mode::Callback,
            callback.asks(),
            "\"callback\" asks an application, and none is named",
            "set auth.callback.url",
        ),
        (
            Mode::Signed,
            !signed.keys.is_empty(),
            "\"signed\" lets in by signatures, and there is no key that signs",
            "add a table [[auth.signed.keys]]",
        ),
        (
            Mode::Jwt,
            jwt.has_keys(),
            "\"jwt\" lets in by tokens, and there is no key that signs them",
            "set auth.jwt.jwks_url or auth.jwt.jwks_file, or add a table [[auth.jwt.keys]]",
        ),
    ];
    for (mode, there, what, mend) in needs {
        if let (Some(key), false) = (chosen_by(loaded, mode), there) {
            return Err(loaded.misfit(&key, what.to_owned(), mend.to_owned()));
        }
    }
    super::callback::agree(loaded)
}
