//! File: streams, templates and tenants in the form of the configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataplane::ids::StreamName;
use serde::Serialize;
use serde_json::Value;

use super::change::{Change, FileStreams, STREAMS_MAX, TEMPLATES_MAX, TENANTS_MAX};
use super::desired::Registry;
use super::fault::Fault;
use super::input::Input;
use super::record;
use super::spec::{StreamSpec, Template};
use super::tenant::{Tenant, TenantName};
use crate::auth::KeyHash;
use crate::config::{DeclaredLists, DeclaredTables, StreamsSection};

/// Streams, templates and tenants of one import at most: each is a row of one commit.
pub const IMPORT_MAX: usize = 30_000;
const _: () = assert!(IMPORT_MAX <= crate::store::WRITES_MAX, "they are committed together");

impl FileStreams {
    /// Reads and checks what `[streams]` declares.
    ///
    /// Errors: the key and the first thing that is wrong with it.
    pub fn read(section: &StreamsSection) -> Result<Self, (&'static str, String)> {
        for (key, tables, max) in [
            ("streams.template", &section.template, TEMPLATES_MAX),
            ("streams.tenant", &section.tenant, TENANTS_MAX),
            ("streams.stream", &section.stream, STREAMS_MAX),
        ] {
            let count = tables.0.len();
            if count > max {
                return Err((key, format!("{count} tables are more than the {max} that fit")));
            }
        }
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
        let tenants = tables(&section.tenant, |code, value| {
            let name = TenantName::parse(code)
                .ok_or_else(|| Fault::new("invalid_tenant", "code", TenantName::RULE))?;
            let tenant = Tenant::read(&name, value)?;
            Ok((name, tenant))
        });
        let tenants = tenants.map_err(|what| ("streams.tenant", what))?;
        Ok(Self { streams, templates, tenants, undeclared: section.undeclared })
    }

    /// The streams that nobody can publish, because no input lets an encoder in, although they are
    /// not disabled.
    pub fn silent(&self) -> impl Iterator<Item = &StreamName> {
        let is_silent = |spec: &StreamSpec| {
            let template = spec.template.as_ref().and_then(|code| self.templates.get(code));
            let own = &spec.traits.inputs;
            let inputs = match template {
                Some(template) if own.is_empty() => &template.traits.inputs,
                _ => own,
            };
            !spec.disabled && !inputs.iter().any(Input::is_open)
        };
        self.streams.iter().filter(move |(_, spec)| is_silent(spec)).map(|(name, _)| name)
    }
}

/// All that is declared at one moment.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    tenants: Vec<(TenantName, Arc<Tenant>)>,
    templates: Vec<(String, Arc<Template>)>,
    streams: Vec<(StreamName, Arc<StreamSpec>)>,
}

impl Inventory {
    /// All of it as tables of the file.
    #[must_use]
    pub fn tables(&self) -> DeclaredLists {
        let tenants = self.tenants.iter();
        let tenants = tenants.map(|(name, tenant)| (name.to_string(), record::show(&**tenant)));
        let templates = self.templates.iter();
        let templates = templates.map(|(code, template)| (code.clone(), brief(template.as_ref())));
        let streams = self.streams.iter();
        let streams = streams.map(|(name, spec)| (name.to_string(), brief(spec.as_ref())));
        DeclaredLists {
            tenants: DeclaredTables(tenants.collect()),
            templates: DeclaredTables(templates.collect()),
            streams: DeclaredTables(streams.collect()),
        }
    }
}

/// What is shown of a stream or a template, without what holds of inputs and protocols anyway: a
/// text of thousands says it thousands of times, and whoever imports it has no room for that.
fn brief(spec: &impl Serialize) -> Value {
    let mut value = record::show(spec);
    drop_nulls(&mut value);
    for field in ["inputs", "protocols"] {
        match value.get_mut(field) {
            Some(Value::Array(items)) => items.iter_mut().for_each(shorten),
            Some(item) => shorten(item),
            None => {}
        }
    }
    value
}

/// TOML has no null: what is null is not said, which means the same.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// Drops the fields that are 0, false or empty, which is what each is that is not said.
fn shorten(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.retain(|name, value| {
        // Names in pairs are another's, and empty values are values.
        if !["headers", "params"].contains(&name.as_str()) {
            shorten(value);
        }
        match value {
            Value::Null => false,
            Value::Bool(is) => *is,
            Value::Number(number) => number.as_u64() != Some(0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
        }
    });
}

impl Registry {
    /// All that is declared, which is shared and not copied.
    pub(crate) fn inventory(&self) -> Inventory {
        let templates = self.templates_after(None).map(|item| (item.code, item.template));
        let streams = self.streams.iter().filter_map(|(name, entry)| {
            let (_, spec) = entry.declared.in_force()?;
            Some((name.clone(), Arc::clone(spec)))
        });
        let tenants = self.tenants_after(None).map(|item| (item.name, item.tenant));
        Inventory {
            tenants: tenants.collect(),
            templates: templates.collect(),
            streams: streams.collect(),
        }
    }
}

impl Change {
    /// All that tables of the form of the file declare, templates first, because streams take from
    /// them. What is in a table is checked when the change is made.
    ///
    /// Errors: a code that is none or comes twice, or a key that is not hashed.
    pub fn of_tables(lists: DeclaredLists) -> Result<Self, String> {
        const RULE: &str = "a code has segments of letters, digits, _ and -, joined by /";
        let DeclaredLists { tenants, templates, streams } = lists;
        let put_tenant = |code: String, value| {
            let name = TenantName::parse(&code).ok_or(TenantName::RULE)?;
            Ok(Self::PutTenant { name, value })
        };
        let put_template = |code: String, value| Ok(Self::PutTemplate { code, value });
        let put_stream = |code: String, value| {
            let name = StreamName::parse(&code).ok_or(RULE)?;
            Ok(Self::PutStream { name, value })
        };
        let mut changes = puts(tenants, put_tenant)?;
        changes.extend(puts(templates, put_template)?);
        changes.extend(puts(streams, put_stream)?);
        Ok(Self::All(changes))
    }
}

fn puts(
    tables: DeclaredTables,
    put: impl Fn(String, Value) -> Result<Change, &'static str>,
) -> Result<Vec<Change>, String> {
    let mut known = BTreeSet::new();
    let mut changes = Vec::with_capacity(tables.0.len());
    for (code, value) in tables.0 {
        hashed(&code, &value)?;
        if !known.insert(code.clone()) {
            return Err(format!("{code}: it is declared twice"));
        }
        changes.push(put(code.clone(), value).map_err(|rule| format!("{code}: {rule}"))?);
    }
    Ok(changes)
}

/// Refuses a key that is not hashed: such a text is read by more people than should know it.
fn hashed(code: &str, value: &Value) -> Result<(), String> {
    let plain = value.get("stream_key").and_then(Value::as_str);
    if plain.is_some_and(|key| !key.is_empty() && KeyHash::parse(key).is_none()) {
        let what = "stream_key: a key of the file is hashed; `grandstand key hash` makes it";
        return Err(format!("{code}: {what}"));
    }
    Ok(())
}

/// Reads each table by its code, which comes once.
fn tables<K: Ord, V>(
    tables: &DeclaredTables,
    read: impl Fn(&str, Value) -> Result<(K, V), Fault>,
) -> Result<BTreeMap<K, V>, String> {
    let mut all = BTreeMap::new();
    for (code, value) in &tables.0 {
        let named = |what: String| format!("{code}: {what}");
        hashed(code, value)?;
        let (key, item) = read(code, value.clone()).map_err(|fault| named(fault.to_string()))?;
        if all.insert(key, item).is_some() {
            return Err(named("it is declared twice".to_owned()));
        }
    }
    Ok(all)
}
