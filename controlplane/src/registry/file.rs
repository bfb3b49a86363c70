//! File: the streams and templates of the configuration file.

use std::collections::BTreeMap;

use dataplane::ids::StreamName;
use serde_json::Value;

use super::change::FileStreams;
use super::fault::Fault;
use super::spec::{StreamSpec, Template};
use crate::auth::KeyHash;
use crate::config::{DeclaredTables, StreamsSection};

impl FileStreams {
    /// Reads and checks what `[streams]` declares.
    ///
    /// Errors: the key and the first thing that is wrong with it.
    pub fn read(section: &StreamsSection) -> Result<Self, (&'static str, String)> {
        let templates = tables(&section.template, |code, value| {
            Ok((code.to_owned(), Template::read(code, value)?))
        });
        let templates = templates.map_err(|what| ("streams.template", what))?;
        let streams = tables(&section.stream, |code, value| {
            let name = StreamName::parse(code).ok_or_else(|| {
                let what = "a stream's code has segments of letters, digits, _ and -, joined by /";
                Fault::new("invalid_code", "code", what)
            })?;
            let spec = StreamSpec::read(&name, value)?;
            match &spec.template {
                Some(code) if !templates.contains_key(code) => {
                    let what = format!("there is no [[streams.template]] {code} in the file");
                    Err(Fault::new("template_not_found", "template", what))
                }
                _ => Ok((name, spec)),
            }
        });
        let streams = streams.map_err(|what| ("streams.stream", what))?;
        let all: Vec<_> = templates.iter().collect();
        for (index, (code, template)) in all.iter().enumerate() {
            let others = || {
                all[..index].iter().flat_map(|(other, their)| {
                    their.prefixes.iter().map(move |prefix| (other, prefix))
                })
            };
            for prefix in &template.prefixes {
                if let Some((other, theirs)) = others().find(|(_, theirs)| theirs.overlaps(prefix))
                {
                    let what = format!("{code}: prefix {prefix} overlaps with {theirs} of {other}");
                    return Err(("streams.template", what));
                }
            }
        }
        Ok(Self { streams, templates, undeclared: section.undeclared })
    }
}

/// Reads each table by its code, which comes once.
fn tables<K: Ord, V>(
    tables: &DeclaredTables,
    read: impl Fn(&str, Value) -> Result<(K, V), Fault>,
) -> Result<BTreeMap<K, V>, String> {
    let mut all = BTreeMap::new();
    for (code, value) in &tables.0 {
        let named = |what: String| format!("{code}: {what}");
        let plain = value.get("stream_key").and_then(Value::as_str);
        if plain.is_some_and(|key| !key.is_empty() && KeyHash::parse(key).is_none()) {
            // The file is read by more people than should know the key.
            let what = "stream_key: a key of the file is hashed; `grandstand key hash` makes it";
            return Err(named(what.to_owned()));
        }
        let (key, item) = read(code, value.clone()).map_err(|fault| named(fault.to_string()))?;
        if all.insert(key, item).is_some() {
            return Err(named("it is declared twice".to_owned()));
        }
    }
    Ok(all)
}
