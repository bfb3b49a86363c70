//! `[[hooks]]`: who is told of events.

use std::path::Path;

use dataplane::config::HlsMode;
use serde_json::Value;

use super::document::Datum;
use super::effective::json;
use super::field::{Bounds, Field, quoted};
use super::key::Key;
use super::load::Loaded;
use crate::error::Error;
use crate::hooks::{HOOKS_MAX, HookSpec, Origin};

/// The list of hooks.
pub(super) const KEY: Key = Key::new(
    "hooks",
    "Who is told of events. Remove the # of `hooks` only for an empty list; a hook is a table \
     [[hooks]] with id, type (\"http\" or \"file\") and target (a URL, or the path of a file), \
     and if wanted: name, secret (signs requests), dialect (as another server tells: \
     \"rtmp-event\", \"nginx-rtmp\", \"srs\" or \"zlmediakit\", one request for each call), calls \
     (which of them, as [\"publish_done\"]), method (of nginx-rtmp's forms), types (of events, as \
     [\"stream.*\"]), streams (as { only = [\"news/*\"], except = [] }), metadata (goes along \
     with each event), enabled, timeout_ms, retries_max, batch_max (1: objects, above it lists), \
     batch_ms, interval_ms (of \"on_server_keepalive\"), queue_max, queue_bytes_max, fsync \
     (\"always\" or \"never\") and rotate_bytes (of a file).",
    |s| &mut s.hooks,
)
.now()
.secret();

impl Field for Vec<HookSpec> {
    fn expects(&self, _: &Bounds) -> String {
        "tables [[hooks]] with id, type = \"http\" or \"file\", and target; README.md lists the \
         other keys"
            .to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        *self = serde_json::from_value(json(datum.clone())).ok()?;
        Some(())
    }
    fn render(&self) -> String {
        serde_json::to_value(self).map_or_else(|_| "[]".to_owned(), |value| toml(&value))
    }
}

/// JSON without nulls as a value of TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{} = {}", quoted(key), toml(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Errors: the first hook that cannot be run.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let hooks = &loaded.settings.hooks;
    let wrong = |what: String, mend: String| Err(loaded.misfit("hooks", what, mend));
    if hooks.len() > HOOKS_MAX {
        let what = format!("{} hooks are more than {HOOKS_MAX}", hooks.len());
        return wrong(what, "list fewer".to_owned());
    }
    for (at, hook) in hooks.iter().enumerate() {
        if let Err(misfit) = hook.check(Origin::Config) {
            let what = format!("{} of hook {:?} cannot be used", misfit.field, hook.id);
            return wrong(what, format!("it must be {}", misfit.expected));
        }
        if hooks[..at].iter().any(|other| other.id == hook.id) {
            let what = format!("two hooks are called {:?}", hook.id);
            return wrong(what, "give each an id of its own".to_owned());
        }
        let shares = |other: &&HookSpec| other.shares_file(hook, Path::new(""));
        if let Some(other) = hooks[..at].iter().find(shares) {
            let what = format!("hooks {:?} and {:?} write to one file", other.id, hook.id);
            return wrong(what, "give each a file of its own".to_owned());
        }
    }
    Ok(())
}

/// Warns of hooks that are told of segments which nobody can fetch.
pub(super) fn doubt(loaded: &mut Loaded) {
    let Some(why) = unkept(loaded.settings.stream.hls.mode) else { return };
    let hooks = loaded.settings.hooks.iter();
    let warnings: Vec<_> = hooks.filter_map(|hook| hook.doubt(why)).collect();
    loaded.warnings.extend(warnings);
}

/// Why segments cannot be fetched by who is told of them, if that is so.
pub(crate) const fn unkept(mode: HlsMode) -> Option<&'static str> {
    match mode {
        HlsMode::Always => None,
        HlsMode::OnDemand => Some("segments are kept only once a viewer asked for their playlist"),
        HlsMode::Off => Some("there are no segments with hls.mode = \"off\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::parse_variable;
    use crate::config::load;

    const BOUNDS: Bounds = Bounds { min: 0, max: 0, unit: super::super::field::Unit::One };

    fn read(text: &str) -> Option<Vec<HookSpec>> {
        let mut hooks = Vec::new();
        hooks.read(&parse_variable(text), &BOUNDS).map(|()| hooks)
    }

    #[test]
    fn hooks_are_read_as_they_are_written() {
        let text = "[{ id = 'a', type = 'http', target = 'https://api.example/x', secret = 'a \
                    secret', types = ['stream.*'], streams = { only = ['news/*'] }, metadata = { \
                    'the node' = 'x' } }, { id = 'b', type = 'file', target = '/tmp/x' }]";
        let hooks = read(text).unwrap();
        assert_eq!((hooks.len(), hooks[0].retries_max), (2, 12));
        assert_eq!(hooks[0].metadata["the node"], "x");
        assert_eq!(read(&hooks.render()).unwrap(), hooks);
        for bad in ["1", "[1]", "[{ id = 'a' }]", "[{ id = 'a', type = 'http', target = 1 }]"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let unknown = "[{ id = 'a', type = 'http', target = 'http://x', retry = 1 }]";
        assert_eq!(read(unknown), None);
    }

    #[test]
    fn who_is_told_of_segments_that_nobody_keeps_is_warned() {
        let warnings = |mode: HlsMode, more: &str| {
            let hook = "id = 'a', type = 'http', target = 'http://x/', dialect = 'srs'";
            let mut loaded = load(None, Vec::new()).unwrap();
            loaded.settings.stream.hls.mode = mode;
            loaded.settings.hooks = read(&format!("[{{ {hook}{more} }}]")).unwrap();
            doubt(&mut loaded);
            loaded.warnings
        };
        let segments = ", calls = ['on_hls', 'on_unpublish']";
        for (mode, why) in [
            (HlsMode::OnDemand, "only once a viewer asked"),
            (HlsMode::Off, "there are no segments"),
        ] {
            let told = warnings(mode, segments);
            let [warning] = &*told else { panic!("{mode:?}: {told:?}") };
            for part in ["\"a\"", "on_hls", why, "set hls.mode = \"always\""] {
                assert!(warning.contains(part), "{part}: {warning}");
            }
        }
        assert_eq!(warnings(HlsMode::Always, segments), [""; 0]);
        assert_eq!(warnings(HlsMode::OnDemand, ""), [""; 0], "it is told by its name alone");
        let disabled = format!("{segments}, enabled = false");
        assert_eq!(warnings(HlsMode::OnDemand, &disabled), [""; 0]);
    }
}
