//! `[streams]`: which streams the file declares, and what is so of the others.

use std::time::Duration;

use serde_json::Value;

use super::document::Datum;
use super::field::{Bounds, Field, words};
use super::key::{Key, Section};
use crate::registry::Undeclared;

/// `[streams]`
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsSection {
    /// What is so of streams that nobody declared.
    pub undeclared: Undeclared,
    /// A runtime stream is forgotten this long after its end.
    pub idle: Duration,
    /// `[[streams.stream]]`
    pub stream: DeclaredTables,
    /// `[[streams.template]]`
    pub template: DeclaredTables,
}

/// Tables by their code; `registry` knows what is in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredTables(pub Vec<(String, Value)>);

impl Default for StreamsSection {
    fn default() -> Self {
        Self {
            undeclared: Undeclared::Any,
            idle: Duration::from_secs(30),
            stream: DeclaredTables::default(),
            template: DeclaredTables::default(),
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
        "stream",
        "Declared streams, which the API only reads. In the file: [[streams.stream]] with code and \
         what is said of it, such as inputs = [{ url = \"publish://\" }], protocols, template, \
         disabled, stream_key (hashed).",
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
];

pub(super) fn section() -> Section {
    Section::new("streams", "Which streams should exist.", KEYS)
}

words!(Undeclared {
    "any" => Self::Any,
    "template" => Self::Template,
    "off" => Self::Off,
});

impl Field for DeclaredTables {
    fn expects(&self, _: &Bounds) -> String {
        "tables such as [[streams.stream]], each with a code".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
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
        // A string of JSON is one of TOML, whatever is escaped in it.
        Value::Null => "\"\"".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("{} = {}", Value::from(key.as_str()), toml(value))
            };
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}
