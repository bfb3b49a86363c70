//! Fault: what is wrong with a stream or a template, where, and how it is mended.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::strict::Strict;
use crate::config::nearest;

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One fixed word.
    pub code: &'static str,
    /// The field, as `inputs[0].url`; empty if it is the whole.
    pub field: String,
    /// A sentence for people.
    pub message: String,
}

impl Fault {
    /// `code` at `field`, explained.
    pub(crate) fn new(
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { code, field: field.into(), message: message.into() }
    }

    /// The same fault, seen from a table that holds the field.
    #[must_use]
    pub(crate) fn within(mut self, table: &str) -> Self {
        self.field = match (table, self.field.as_str()) {
            ("", _) => return self,
            (table, "") => table.to_owned(),
            (table, field) if field.starts_with('[') => format!("{table}{field}"),
            (table, field) => format!("{table}.{field}"),
        };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

/// Takes `value` as a `T`, whose fields are closed, and of which no list is a structure.
///
/// Errors: `unknown_field` with the nearest known one, or `invalid_value`.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        let text = error.into_inner().to_string();
        match unknown(&text) {
            Some((name, known)) => {
                let mend = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("the nearest is {near}"),
                    None => "remove it".to_owned(),
                };
                // The path of an unknown field may or may not end in its name.
                let parent = field.strip_suffix(name).unwrap_or(&field).trim_end_matches('.');
                let fault =
                    Fault::new("unknown_field", name, format!("there is no field {name}; {mend}"));
                fault.within(parent)
            }
            None => Fault::new("invalid_value", field, text),
        }
    })
}

/// The field that serde does not know, and those that it does.
fn unknown(text: &str) -> Option<(&str, Vec<&str>)> {
    let rest = text.strip_prefix("unknown field `")?;
    let (name, rest) = rest.split_once('`')?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// Checks that a text of people is of a readable length.
pub(crate) fn short(field: &str, text: &str, max: usize) -> Result<(), Fault> {
    if text.len() <= max {
        return Ok(());
    }
    let message = format!("{} bytes are more than {max}; shorten it", text.len());
    Err(Fault::new("too_long", field, message))
}

/// Checks that a list is not endless.
pub(crate) fn few<T>(field: &str, list: &[T], max: usize) -> Result<(), Fault> {
    if list.len() <= max {
        return Ok(());
    }
    let message = format!("{} are more than {max}; remove some", list.len());
    Err(Fault::new("too_many", field, message))
}
