//! Tenant: whose a stream is, by a name that bills and quotas go by.
//!
//! A name is enough: what a tenant's streams use is written down under it, whoever gave them the
//! name. A tenant that is declared may have quotas, too.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::fault::{self, Fault, short};
use super::quota::QuotaSpec;
use super::spec::{DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX, object, same_code};

/// Bytes of a name at most.
const TENANT_BYTES_MAX: usize = 64;

/// The name of a tenant: letters, digits, `_`, `-` and `.`, at most 64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// What a name is, for whoever wrote something else.
    pub const RULE: &'static str =
        "a tenant's name has letters, digits, _, - and ., at most 64, and begins with none of - .";

    /// The name that `text` is; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let fits = text.len() <= TENANT_BYTES_MAX && text.chars().all(legal);
        (begins && fits).then(|| Self(text.into()))
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TenantName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A tenant as somebody wants it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenant {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How much of all its streams together may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSpec>,
}

impl Tenant {
    /// Reads and checks the description of the tenant `code`, as JSON.
    ///
    /// Errors: the first field that is wrong.
    pub fn read(code: &TenantName, value: Value) -> Result<Self, Fault> {
        let known = |names| fault::read::<Self>(Value::Object(names)).map(drop);
        let mut object = object(value, &["code"], known)?;
        same_code(&mut object, code.as_str(), "invalid_tenant")?;
        let tenant: Self = fault::read(Value::Object(object))?;
        short("name", &tenant.name, NAME_BYTES_MAX)?;
        short("description", &tenant.description, DESCRIPTION_BYTES_MAX)?;
        let quota = tenant.quota.as_ref().map_or(Ok(()), QuotaSpec::check);
        quota.map_err(|fault| fault.within("quota"))?;
        Ok(tenant)
    }
}

/// Reads the tenant of a description; an empty text says nothing.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TenantName>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    let parse = |text: String| {
        TenantName::parse(&text).ok_or_else(|| serde::de::Error::custom(TenantName::RULE))
    };
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_addresses_tables_and_keys_of_rows() {
        for good in ["a", "acme-1", "_x", "Example.org", &"x".repeat(TENANT_BYTES_MAX)] {
            assert_eq!(TenantName::parse(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(TENANT_BYTES_MAX + 1);
        for bad in [
            "", ".", "..", "../etc", "-x", ".x", "a b", "a/b", "a,b", "=cmd()", "@x", "+1", "a\"b",
            "a\nb", "a\0b", "ä", "a{b}", "%61", &long,
        ] {
            assert_eq!(TenantName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_description_is_read_strictly_and_written_as_it_was() {
        use serde_json::json;
        let acme = TenantName::parse("acme").unwrap();
        let all = json!({ "name": "Acme", "description": "d", "quota": { "players_max": 5 } });
        let tenant = Tenant::read(&acme, all.clone()).unwrap();
        assert_eq!(serde_json::to_value(&tenant).unwrap(), all);
        let nothing = json!({ "code": "acme", "name": null });
        assert_eq!(Tenant::read(&acme, nothing).unwrap(), Tenant::default());
        for (wrong, code, field) in [
            (json!([]), "invalid_body", ""),
            (json!({ "code": "other" }), "invalid_tenant", "code"),
            (json!({ "quotas": {} }), "unknown_field", "quotas"),
            (json!({ "name": 7 }), "invalid_value", "name"),
            (json!({ "name": "x".repeat(257) }), "too_long", "name"),
            (json!({ "quota": { "bytes_period": "week" } }), "invalid_value", "quota.bytes_period"),
            (
                json!({ "quota": { "publish_bps_max": 0 } }),
                "invalid_quota",
                "quota.publish_bps_max",
            ),
        ] {
            let fault = Tenant::read(&acme, wrong).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), (code, field), "{fault}");
        }
    }
}
