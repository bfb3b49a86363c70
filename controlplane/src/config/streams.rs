//! `[streams]`: which streams the file declares, and what is so of the others.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::document::{Datum, Entry, Node, parse};
use super::field::{Bounds, Field, words};
use super::key::{Key, Section};
use super::load::Loaded;
use crate::api::IMPORT_BYTES_MAX;
use crate::registry::{DECLARED_BYTES_MAX, FileStreams, Undeclared};

/// `[streams]`
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsSection {
    /// What is so of streams that nobody declared.
    pub undeclared: Undeclared,
    /// A runtime stream is forgotten this long after its end.
    pub idle: Duration,
    /// Bytes of memory that declared streams and templates take.
    pub declared_bytes_max: u64,
    /// Bytes of the body of an import, or of many changes at once.
    pub import_bytes_max: u64,
    /// `[[streams.stream]]`
    pub stream: DeclaredTables,
    /// `[[streams.template]]`
    pub template: DeclaredTables,
    /// `[[streams.tenant]]`
    pub tenant: DeclaredTables,
}

/// All that a text declares, each kind in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredLists {
    /// `[[streams.tenant]]`
    pub tenants: DeclaredTables,
    /// `[[streams.template]]`
    pub templates: DeclaredTables,
    /// `[[streams.stream]]`
    pub streams: DeclaredTables,
}

/// Tables by their code; `registry` knows what is in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredTables(pub Vec<(String, Value)>);

impl Default for StreamsSection {
    fn default() -> Self {
        Self {
            undeclared: Undeclared::Any,
            idle: Duration::from_secs(30),
            declared_bytes_max: DECLARED_BYTES_MAX,
            import_bytes_max: IMPORT_BYTES_MAX as u64,
            stream: DeclaredTables::default(),
            template: DeclaredTables::default(),
            tenant: DeclaredTables::default(),
        }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "undeclared",
        "Streams that neither the file nor the API declares: \"any\" may be published and played, \
         below the prefix of a template on its terms; \"template\" only below such a prefix; \
         \"off\" refuses them.",
        |s| &mut s.streams.undeclared,
    )
    .now(),
    Key::new("idle_ms", "An undeclared stream is forgotten this long after its end.", |s| {
        &mut s.streams.idle
    })
    .range(0, 86_400_000)
    .millis()
    .now(),
    Key::new(
        "declared_bytes_max",
        "Bytes of memory that declared streams and templates take, of the file and the API \
         together; twice as many while one change of all of them is made. Some fields take 1 KiB \
         a stream; a change beyond it is refused. Not set, it is at most a 64th of \
         limits.memory_max.",
        |s| &mut s.streams.declared_bytes_max,
    )
    .bytes()
    .range(1 << 20, 16 << 30)
    .now(),
    Key::new(
        "import_bytes_max",
        "Bytes of the body of POST /api/v1/streams/import and /bulk, of which one is read at a \
         time. What is read of it may take 16 times as much of the memory, and has 17 times as \
         much set aside, and up to 6 MiB. Not set, it is at most a 256th of limits.memory_max.",
        |s| &mut s.streams.import_bytes_max,
    )
    .bytes()
    .range(16 << 10, 64 << 20),
    Key::new(
        "stream",
        "Declared streams, which the API only reads. In the file: [[streams.stream]] with code and \
         what is said of it, such as inputs = [{ url = \"publish://\" }], protocols, template, \
         disabled, stream_key (hashed), auth, srt_passphrase, mpegts.",
        |s| &mut s.streams.stream,
    )
    .now(),
    Key::new(
        "template",
        "What many streams have in common. In the file: [[streams.template]] with code, prefixes \
         and the fields of a stream.",
        |s| &mut s.streams.template,
    )
    .now(),
    Key::new(
        "tenant",
        "Whose streams are, with what they may use together. In the file: [[streams.tenant]] with \
         code, name, description and quota; streams and templates name one by tenant = \"CODE\".",
        |s| &mut s.streams.tenant,
    )
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("streams", "Which streams should exist.", KEYS)
}

/// Warns of streams that nobody can publish.
pub(super) fn doubt(loaded: &mut Loaded) {
    let file = FileStreams::read(&loaded.settings.streams).expect("it was checked before");
    let mut silent = file.silent();
    let Some(first) = silent.next() else { return };
    let others = match silent.count() {
        0 => String::new(),
        1 => ", nor another one,".to_owned(),
        count => format!(", nor {count} others,"),
    };
    loaded.warnings.push(format!(
        "streams.stream: nobody can publish {first}{others}: no input lets an encoder in; add \
         inputs = [{{ url = \"publish://\" }}] to the stream or its template, or disabled = true"
    ));
}

words!(Undeclared {
    "any" => Self::Any,
    "template" => Self::Template,
    "off" => Self::Off,
});

impl DeclaredTables {
    fn take(&mut self, datum: &Datum) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let table = |item: &Datum| match json(item)? {
            Value::Object(fields) => {
                let code = fields.get("code")?.as_str()?.trim().to_owned();
                Some((code, Value::Object(fields)))
            }
            _ => None,
        };
        self.0 = items.iter().map(table).collect::<Option<_>>()?;
        Some(())
    }

    /// The tables as a file has them, `[[streams.KEY]]` each.
    pub(crate) fn to_toml(&self, key: &str) -> String {
        let mut text = String::new();
        for (code, value) in &self.0 {
            text.push_str(&format!("[[streams.{key}]]\ncode = {}\n", toml(&code.as_str().into())));
            let fields = value.as_object().into_iter().flatten();
            for (name, value) in fields.filter(|(name, value)| *name != "code" && !value.is_null())
            {
                text.push_str(&format!("{name} = {}\n", toml(value)));
            }
            text.push('\n');
        }
        text
    }
}

impl DeclaredLists {
    /// Takes what follows.
    pub(crate) fn append(&mut self, more: Self) {
        self.tenants.0.extend(more.tenants.0);
        self.templates.0.extend(more.templates.0);
        self.streams.0.extend(more.streams.0);
    }
}

/// What a text declares, which has nothing else in it, after so many lines of a whole.
///
/// Errors: what is wrong, where, and the mend.
pub(crate) fn declared_in(text: &str, lines_before: usize) -> Result<DeclaredLists, String> {
    const ONLY: &str = "[[streams.stream]], [[streams.template]] and [[streams.tenant]] are all \
                        that may be here";
    let entries = parse(Path::new("body"), text);
    let entries = entries.map_err(|error| error.after_lines(lines_before).to_string())?;
    let line = |entry: &Entry| lines_before + entry.line;
    let mut lists = DeclaredLists::default();
    for section in entries {
        let Node::Table(entries) = section.node else {
            return Err(format!("line {}: {}; {ONLY}", line(&section), section.key));
        };
        for list in entries {
            let tables = match (section.key.as_str(), list.key.as_str()) {
                ("streams", "stream") => &mut lists.streams,
                ("streams", "template") => &mut lists.templates,
                ("streams", "tenant") => &mut lists.tenants,
                (section, key) => {
                    return Err(format!("line {}: {section}.{key}; {ONLY}", line(&list)));
                }
            };
            let read = match &list.node {
                Node::Value(datum) => tables.take(datum),
                Node::Table(_) => None,
            };
            read.ok_or_else(|| {
                format!("line {}: each [[streams.{}]] has a code of letters", line(&list), list.key)
            })?;
        }
    }
    Ok(lists)
}

impl Field for DeclaredTables {
    fn expects(&self, _: &Bounds) -> String {
        "tables such as [[streams.stream]], each with a code".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        self.take(datum)
    }
    fn render(&self) -> String {
        let tables: Vec<_> = self.0.iter().map(|(_, value)| toml(value)).collect();
        format!("[{}]", tables.join(", "))
    }
}

/// TOML as JSON, which descriptions are read from wherever they come from.
fn json(datum: &Datum) -> Option<Value> {
    Some(match datum {
        Datum::Flag(value) => Value::from(*value),
        Datum::Integer(value) => Value::from(*value),
        Datum::Float(value) => Value::from(*value),
        Datum::Text(value) => Value::from(value.as_str()),
        Datum::List(items) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        Datum::Table(fields) => {
            let field = |(key, value): &(String, Datum)| Some((key.clone(), json(value)?));
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        Datum::Other(_) => return None,
    })
}

/// JSON as a value of TOML in one line.
pub(crate) fn toml(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        // A string of JSON is one of TOML, whatever is escaped in it, but for the one control
        // character that JSON lets stand.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("{} = {}", toml(&key.as_str().into()), toml(value))
            };
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;

    #[test]
    fn more_tables_than_fit_are_an_error_of_the_file() {
        for (key, max) in [("TEMPLATE", 1_000), ("TENANT", 10_000)] {
            let tables = |count: usize| {
                let tables: Vec<_> = (0..count).map(|nth| format!("{{code='t{nth}'}}")).collect();
                let name = format!("GRANDSTAND_STREAMS__{key}");
                load(None, [(name, format!("[{}]", tables.join(",")))])
            };
            assert!(tables(max).is_ok(), "{key}");
            let refused = tables(max + 1).unwrap_err().to_string();
            let what = format!("{} tables are more than the {max} that fit;", max + 1);
            assert!(refused.contains(&what), "{refused}");
        }
    }

    #[test]
    fn streams_that_nobody_can_publish_are_named() {
        let warnings = |tables: &str| {
            let streams = ("GRANDSTAND_STREAMS__STREAM".to_owned(), tables.to_owned());
            let template = "[{ code = 't', inputs = [{ url = 'publish://' }] }]".to_owned();
            let template = ("GRANDSTAND_STREAMS__TEMPLATE".to_owned(), template);
            load(None, [streams, template]).unwrap().warnings
        };
        let open = "{ code = 'a', inputs = [{ url = 'srt://[::]:9000' }] }";
        let (below, off) = ("{ code = 'b', template = 't' }", "{ code = 'c', disabled = true }");
        assert!(warnings(&format!("[{open}, {below}, {off}]")).is_empty());
        let one = "{ code = 'd' }";
        let [warning] = &warnings(&format!("[{open}, {one}]"))[..] else { panic!("one warning") };
        assert!(warning.contains("nobody can publish d: no input"), "{warning}");
        let deaf = "{ code = 'e' }";
        let [warning] = &warnings(&format!("[{one}, {deaf}]"))[..] else { panic!("one warning") };
        assert!(warning.contains("nobody can publish d, nor another one,"), "{warning}");
    }
}
