//! Record: streams, templates and tenants as rows of the store.

use dataplane::ids::StreamName;
use serde::Serialize;
use serde_json::Value;

use super::tenant::TenantName;
use crate::store::{Table, Write};

/// The version of a row.
const VERSION: u64 = 1;

/// A description as JSON.
pub(super) fn show(spec: &impl Serialize) -> Value {
    serde_json::to_value(spec).expect("texts and numbers always serialise")
}

pub(super) fn put_stream(name: &StreamName, spec: &impl Serialize) -> Write {
    put(Table::Streams, name.as_str(), spec)
}

pub(super) fn put_template(code: &str, template: &impl Serialize) -> Write {
    put(Table::Templates, code, template)
}

pub(super) fn put_tenant(name: &TenantName, tenant: &impl Serialize) -> Write {
    put(Table::Tenants, name.as_str(), tenant)
}

pub(super) fn delete_tenant(name: &TenantName) -> Write {
    Write { table: Table::Tenants, key: name.as_str().into(), value: None }
}

pub(super) fn delete_stream(name: &StreamName) -> Write {
    Write { table: Table::Streams, key: name.as_str().into(), value: None }
}

pub(super) fn delete_template(code: &str) -> Write {
    Write { table: Table::Templates, key: code.into(), value: None }
}

fn put(table: Table, key: &str, spec: &impl Serialize) -> Write {
    let row = serde_json::json!({ "v": VERSION, "spec": show(spec) });
    Write { table, key: key.into(), value: Some(row.to_string().into_bytes()) }
}

/// The key and the description of a row; `None` if another version wrote it.
pub(super) fn read(key: &[u8], value: &[u8]) -> Option<(String, Value)> {
    let key = std::str::from_utf8(key).ok()?.to_owned();
    let mut row: Value = serde_json::from_slice(value).ok()?;
    (row.get("v")? == VERSION).then_some(())?;
    Some((key, row.get_mut("spec")?.take()))
}
