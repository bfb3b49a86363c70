//! Spec: what a hook is, from the file or the API.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::file;
use crate::dialect::{Dialect, Envelope, Note, Verb};
use crate::events::{Event, StreamPattern, TypePattern};
use crate::outbound::Address;

/// Hooks at most.
pub const HOOKS_MAX: usize = 32;
/// Letters of an id at most.
const ID_MAX: usize = 64;
/// Patterns of each list at most.
const PATTERNS_MAX: usize = 64;
/// Entries of the metadata at most, and bytes of each key and value.
const METADATA_MAX: (usize, usize) = (32, 1_024);

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// They are sent by POST.
    Http,
    /// They are appended to a file, a line each.
    File,
}

/// When a file is known to be on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// Before its events count as delivered, once for each batch.
    #[default]
    Always,
    /// When the system likes: a crash of the machine may take along what was delivered last.
    Never,
}

/// Who made a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HookOrigin)]
pub enum Origin {
    /// The configuration file: the API cannot change it.
    Config,
    /// The API.
    Api,
}

/// A secret that is shared with the receiver.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HookSecret(pub String);

/// Stands for a secret that is set.
pub(super) const MASK: &str = "***";

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Which streams a hook hears of. What concerns no stream passes if `only` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamChoice {
    /// These alone; empty for all. Names, in which `*` stands for any letters.
    #[schema(value_type = Vec<String>)]
    pub only: Vec<StreamPattern>,
    /// All but these; of no account where `only` names streams.
    #[schema(value_type = Vec<String>)]
    pub except: Vec<StreamPattern>,
}

/// One hook. Its receiver is sent what `#/components/schemas/Event` describes: a list of such
/// events, or one alone if `batch_max` is 1; other dialects have forms of their own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    /// Its id: letters, digits, `_` and `-`.
    #[serde(default)]
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Where events go.
    #[serde(rename = "type")]
    pub kind: HookKind,
    /// A URL, or the path of a file: one of the API lies below `hooks/` of the data directory. What
    /// the query of a URL says is shown as `***`, which keeps what is set.
    pub target: String,
    /// Signs requests, so that the receiver knows whose they are; `***` keeps the one that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub secret: Option<HookSecret>,
    /// How the receiver is told: as this server does, or as another one does for which it was
    /// written. `rtmp-event` signs its tokens with the secret.
    #[serde(default, skip_serializing_if = "Dialect::is_native")]
    pub dialect: Dialect,
    /// What it is told in such a dialect, by name; empty for all that there is, but for `on_hls`
    /// and `on_server_keepalive`, which come all the time and are to be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// How forms of the dialect `nginx-rtmp` are sent.
    #[serde(default, skip_serializing_if = "Verb::is_post")]
    pub method: Verb,
    /// Types of events, groups such as `stream.*`; empty for all.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub types: Vec<TypePattern>,
    /// Which streams.
    #[serde(default)]
    pub streams: StreamChoice,
    /// Goes along with each event as `metadata`.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whether events are taken and delivered; those that wait stay.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The whole answer must be there within this.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How often an event is tried again before it becomes a dead letter.
    #[serde(default = "retries_max")]
    pub retries_max: u32,
    /// Events of one request at most; 1 for an object each, above it each request is a list.
    #[serde(default = "batch_max")]
    pub batch_max: u32,
    /// How long a request waits to become full; 0 for not at all, so that lists grow with the load.
    #[serde(default)]
    pub batch_ms: u64,
    /// How often `on_server_keepalive` is told.
    #[serde(default = "interval_ms")]
    pub interval_ms: u64,
    /// Events that wait at most; beyond that the oldest become dead letters, of the class that has
    /// the most: streams, sessions, or authorisations.
    #[serde(default = "queue_max")]
    pub queue_max: u32,
    /// Bytes of those events at most, by the same rule; all hooks together have
    /// `events.hooks_bytes_max`.
    #[serde(default = "queue_bytes_max")]
    pub queue_bytes_max: u64,
    /// When a file's lines count as delivered.
    #[serde(default)]
    pub fsync: Fsync,
    /// A file of this size gets a new beginning, and is kept beside as `.1` to `.5`; 0 for never.
    #[serde(default)]
    pub rotate_bytes: u64,
}

const fn yes() -> bool {
    true
}
const fn batch_max() -> u32 {
    100
}
const fn timeout_ms() -> u64 {
    10_000
}
const fn interval_ms() -> u64 {
    10_000
}
const fn retries_max() -> u32 {
    12
}
const fn queue_max() -> u32 {
    10_000
}
const fn queue_bytes_max() -> u64 {
    8 << 20
}

/// A field of a hook that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

impl HookSpec {
    /// Checks what types alone do not.
    ///
    /// Errors: the first field that cannot be used by a hook of that origin.
    pub fn check(&self, origin: Origin) -> Result<(), Misfit> {
        let metadata = |(key, value): (&String, &String)| {
            !key.is_empty() && key.len() <= METADATA_MAX.1 && value.len() <= METADATA_MAX.1
        };
        let patterns = [self.types.len(), self.streams.only.len(), self.streams.except.len()];
        for (holds, field, expected) in [
            (legal_id(&self.id), "id", "1 to 64 letters, digits, _ and -"),
            (self.name.len() <= 256, "name", "at most 256 bytes"),
            self.check_target(origin),
            self.check_dialect(),
            self.check_calls(),
            (
                self.secret.as_ref().is_none_or(|secret| (8..=256).contains(&secret.0.len())),
                "secret",
                "8 to 256 bytes",
            ),
            (patterns.iter().all(|&n| n <= PATTERNS_MAX), "types", "at most 64 patterns a list"),
            (
                self.metadata.len() <= METADATA_MAX.0 && self.metadata.iter().all(metadata),
                "metadata",
                "at most 32 entries of at most 1024 bytes",
            ),
            ((100..=60_000).contains(&self.timeout_ms), "timeout_ms", "100 to 60000"),
            (self.retries_max <= 1_000, "retries_max", "at most 1000"),
            ((1..=1_000).contains(&self.batch_max), "batch_max", "1 to 1000"),
            ((100..=3_600_000).contains(&self.interval_ms), "interval_ms", "100 to 3600000"),
            (self.batch_ms <= 60_000, "batch_ms", "at most 60000"),
            ((1..=100_000).contains(&self.queue_max), "queue_max", "1 to 100000"),
            (
                (64 << 10..=256 << 20).contains(&self.queue_bytes_max),
                "queue_bytes_max",
                "65536 to 268435456",
            ),
            (
                self.rotate_bytes == 0 || self.rotate_bytes >= 4_096,
                "rotate_bytes",
                "0 or at least 4096",
            ),
        ] {
            if !holds {
                return Err(Misfit { field, expected });
            }
        }
        Ok(())
    }

    fn check_target(&self, origin: Origin) -> (bool, &'static str, &'static str) {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        let (holds, expected) = match (self.kind, origin) {
            (HookKind::Http, _) => {
                (Address::parse(&self.target).is_some(), "an http or https URL without credentials")
            }
            (HookKind::File, Origin::Api) => (
                self.target.len() <= 255 && self.target.split('/').all(plain),
                "the name of a file below hooks/ of the data directory",
            ),
            (HookKind::File, Origin::Config) => {
                (self.target.trim_start_matches('/').split('/').all(plain), "the path of a file")
            }
        };
        (holds && !self.target.contains('\0'), "target", expected)
    }

    fn check_dialect(&self) -> (bool, &'static str, &'static str) {
        let told = !self.dialect.calls().is_empty();
        match (self.dialect, self.kind) {
            (Dialect::Native, _) => (self.method.is_post(), "method", "\"POST\""),
            (_, HookKind::File) => (false, "dialect", "\"native\" for a file"),
            (Dialect::RtmpEvent, _) if self.secret.is_none() => {
                (false, "secret", "set: the dialect rtmp-event signs tokens with it")
            }
            (Dialect::NginxRtmp, _) => (true, "dialect", ""),
            _ if told => (self.method.is_post(), "method", "\"POST\" in this dialect"),
            _ => (false, "dialect", "one that tells something; this one asks alone"),
        }
    }

    fn check_calls(&self) -> (bool, &'static str, &'static str) {
        let unable = self.calls.iter().find_map(|call| self.dialect.cannot_call(call));
        let known = |call: &String| self.dialect.calls().contains(&call.as_str());
        let expected = match self.dialect {
            Dialect::Native | Dialect::Mediamtx => "empty in this dialect; types chooses events",
            Dialect::RtmpEvent => "of \"stop\"",
            Dialect::NginxRtmp => "of \"publish_done\", \"play_done\" and \"done\"",
            Dialect::Srs => "of \"on_unpublish\", \"on_stop\", \"on_close\" and \"on_hls\"",
            Dialect::Zlmediakit => {
                "of \"on_flow_report\", \"on_stream_changed\", \"on_server_started\", \
                 \"on_server_exited\" and \"on_server_keepalive\""
            }
        };
        (self.calls.iter().all(known), "calls", unable.unwrap_or(expected))
    }

    /// What it is told of `event` in its dialect by the node of that name, in this order; nothing
    /// in our own.
    pub(super) fn notes(&self, node: &str, event: &Event) -> Vec<Note> {
        let mut notes = self.dialect.notes(node, event);
        notes.retain(|note| self.hears(&note.call));
        notes
    }

    /// True if it is told `call` of its dialect: all that there is unless it names some, but for
    /// what comes all the time.
    #[must_use]
    pub fn hears(&self, call: &str) -> bool {
        let there = self.dialect.calls().contains(&call);
        let named = self.calls.iter().any(|named| named == call);
        there && (named || self.calls.is_empty() && !self.dialect.must_name(call))
    }

    /// What is warned of it if it is told of segments that nobody can fetch, and why that is.
    pub fn doubt(&self, why: &str) -> Option<String> {
        let hears = self.enabled && self.hears("on_hls");
        hears.then(|| {
            format!(
                "hooks: {:?} is told of segments (on_hls), but {why}; set hls.mode = \"always\" if \
                 its application fetches them",
                self.id
            )
        })
    }

    /// How notes of its dialect are sent.
    pub(super) fn envelope(&self) -> Envelope<'_> {
        let secret = self.secret.as_ref().map(|secret| secret.0.as_str());
        Envelope { dialect: self.dialect, verb: self.method, secret }
    }

    /// Events of one request at most: one in the dialects of others.
    pub(super) const fn events_max(&self) -> usize {
        if self.dialect.is_native() { self.batch_max as usize } else { 1 }
    }

    /// True if it wants to hear of `event`.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let name = event.kind().name();
        let StreamChoice { only, except } = &self.streams;
        let of_stream = match event.stream() {
            None => only.is_empty(),
            Some(stream) if only.is_empty() => !except.iter().any(|p| p.matches(stream)),
            Some(stream) => only.iter().any(|p| p.matches(stream)),
        };
        let of_type = self.types.is_empty() || self.types.iter().any(|p| p.matches(name));
        self.enabled && of_type && of_stream
    }

    /// Without what nobody is shown.
    #[must_use]
    pub fn masked(&self) -> Self {
        let secret = self.secret.as_ref().map(|_| HookSecret(MASK.to_owned()));
        Self { secret, target: self.masked_target(), ..self.clone() }
    }

    /// The target; what the query of a URL says may be a secret.
    fn masked_target(&self) -> String {
        let query = self.target.split_once('?').filter(|_| self.kind == HookKind::Http);
        let Some((address, query)) = query else { return self.target.clone() };
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, _)) => format!("{name}={MASK}"),
            None => MASK.to_owned(),
        };
        format!("{address}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
    }

    /// Puts back what is masked.
    ///
    /// Errors: the field whose mask stands for nothing in `known`.
    pub(super) fn unmask(&mut self, known: Option<&Self>) -> Result<(), Misfit> {
        if self.secret.as_ref().is_some_and(|secret| secret.0 == MASK) {
            let expected = "the secret itself: *** keeps one that is set, and none is";
            let set = known.and_then(|known| known.secret.clone());
            self.secret = Some(set.ok_or(Misfit { field: "secret", expected })?);
        }
        let query = self.target.split_once('?').filter(|_| self.kind == HookKind::Http);
        if query.is_some_and(|(_, query)| query.contains(MASK)) {
            let expected = "the URL itself: *** in its query keeps what is set, and this is not";
            let set = known.filter(|known| known.masked_target() == self.target);
            let set = set.ok_or(Misfit { field: "target", expected })?;
            self.target.clone_from(&set.target);
        }
        Ok(())
    }

    /// True if both write to one file, or one to a former file of the other; relative paths lie
    /// below `dir`.
    pub(crate) fn shares_file(&self, other: &Self, dir: &Path) -> bool {
        let files = |spec: &Self| match spec.kind {
            HookKind::Http => Vec::new(),
            HookKind::File => file::written(&dir.join(&spec.target), spec.rotate_bytes > 0),
        };
        let theirs = files(other);
        files(self).iter().any(|path| theirs.contains(path))
    }

    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Bytes that go along with each event.
    pub(super) fn metadata_bytes(&self) -> u64 {
        match self.metadata.is_empty() {
            true => 0,
            false => serde_json::to_vec(&self.metadata).map_or(0, |json| json.len() as u64),
        }
    }

    /// How long a request waits to become full.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(if self.events_max() > 1 { self.batch_ms } else { 0 })
    }
}

impl fmt::Debug for HookSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, kind, target) = (&self.id, self.kind, self.masked_target());
        let mut shown = f.debug_struct("HookSpec");
        shown.field("id", id).field("kind", &kind).field("target", &target);
        shown.finish_non_exhaustive()
    }
}

fn legal_id(id: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=ID_MAX).contains(&id.len()) && id.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Bus, Kind, RingLimits};
    use dataplane::ids::StreamName;

    fn spec(json: &str) -> HookSpec {
        serde_json::from_str(json).unwrap()
    }

    const HTTP: &str = r#"{"id":"a","type":"http","target":"http://localhost/x"}"#;

    #[test]
    fn a_hook_hears_of_what_it_wants() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let news = StreamName::parse("news/1").unwrap();
        let about = |stream| bus.unpublished(stream, Kind::StreamLost {});
        let with = |types: &str, only: &str, except: &str| {
            spec(&format!(
                r#"{{"id":"a","type":"http","target":"http://localhost/x","types":{types},
                    "streams":{{"only":{only},"except":{except}}}}}"#
            ))
        };
        for (types, only, except, of_news, of_node) in [
            ("[]", "[]", "[]", true, true),
            (r#"["stream.*"]"#, "[]", "[]", true, true),
            (r#"["session.opened"]"#, "[]", "[]", false, false),
            ("[]", r#"["news/*"]"#, r#"["news/1"]"#, true, false),
            ("[]", r#"["sport"]"#, "[]", false, false),
            ("[]", "[]", r#"["news/*"]"#, false, true),
        ] {
            let spec = with(types, only, except);
            let wants = (spec.wants(&about(Some(&news))), spec.wants(&about(None)));
            assert_eq!(wants, (of_news, of_node), "{types} {only} {except}");
        }
        let idle = HookSpec { enabled: false, ..spec(HTTP) };
        assert!(!idle.wants(&about(None)));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let good = spec(HTTP);
        assert_eq!(good.check(Origin::Api), Ok(()));
        let file = |target: &str| HookSpec {
            kind: HookKind::File,
            target: target.to_owned(),
            ..good.clone()
        };
        assert_eq!(file("a/b.jsonl").check(Origin::Api), Ok(()));
        assert_eq!(file("/var/log/events.jsonl").check(Origin::Config), Ok(()));
        let field = |spec: &HookSpec| spec.check(Origin::Api).unwrap_err().field;
        for target in ["/etc/x", "../x", "a/../x", "", "a//b", "a\0"] {
            assert_eq!(field(&file(target)), "target", "{target:?}");
        }
        assert_eq!(field(&HookSpec { id: "a b".into(), ..good.clone() }), "id");
        assert_eq!(field(&HookSpec { target: "ftp://x".into(), ..good.clone() }), "target");
        assert_eq!(field(&HookSpec { batch_max: 0, ..good.clone() }), "batch_max");
        let secret = Some(HookSecret("hunter2".into()));
        let short = HookSpec { secret, ..good };
        assert_eq!(field(&short), "secret");
        assert!(!format!("{short:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&short.masked()).unwrap().contains("hunter2"));
    }

    #[test]
    fn what_is_masked_is_put_back_or_refused() {
        let set = HookSpec {
            target: "https://h/x?key=hunter2&plain".into(),
            secret: Some(HookSecret("a secret".into())),
            ..spec(HTTP)
        };
        let shown = set.masked();
        assert_eq!(shown.target, "https://h/x?key=***&***");
        assert!(!format!("{set:?}").contains("hunter2"));
        let mut back = shown.clone();
        assert_eq!((back.unmask(Some(&set)), &back), (Ok(()), &set));
        let field = |spec: &HookSpec, known: Option<&HookSpec>| {
            spec.clone().unmask(known).unwrap_err().field
        };
        assert_eq!(field(&shown, None), "secret");
        assert_eq!(field(&shown, Some(&HookSpec { secret: None, ..set.clone() })), "secret");
        let moved = HookSpec { target: "https://evil/x?key=***&***".into(), ..shown.clone() };
        assert_eq!(field(&moved, Some(&set)), "target");
        let plain = HookSpec { secret: None, ..shown };
        assert_eq!(field(&plain, None), "target");
    }

    #[test]
    fn a_file_has_one_writer() {
        let file = |target: &str, rotate_bytes| HookSpec {
            kind: HookKind::File,
            target: target.into(),
            rotate_bytes,
            ..spec(HTTP)
        };
        for (one, other, shared) in [
            (file("a", 0), file("a", 0), true),
            (file("/data/hooks/a", 0), file("a", 0), true),
            (file("a", 0), file("b", 0), false),
            (file("a", 4_096), file("a.1", 0), true),
            (file("a", 0), file("a.1", 0), false),
            (file("a", 0), spec(HTTP), false),
        ] {
            let dir = Path::new("/data/hooks");
            assert_eq!(one.shares_file(&other, dir), shared, "{one:?} {other:?}");
            assert_eq!(other.shares_file(&one, dir), shared, "{one:?} {other:?}");
        }
    }
}
