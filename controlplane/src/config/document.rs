//! Document: TOML text as plain values that know their lines.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Place};

/// One value of TOML.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A table, by key.
    Table(Vec<(String, Self)>),
    /// What no key of ours takes: a date, or a number beyond 64 bits.
    Other(String),
}

/// Letters of a peer's or person's text that an error repeats at most.
const SHOWN_MAX: usize = 60;

impl Datum {
    /// The value for an error message, cut to a readable length.
    #[must_use]
    pub fn show(&self) -> String {
        let text = match self {
            Self::Flag(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(value) => format!("{value:?}"),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(", "))
            }
            Self::Table(fields) => {
                let field = |(key, value): &(String, Self)| format!("{key} = {}", value.show());
                format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
            Self::Other(text) => text.clone(),
        };
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }
}

/// One `key = value` of a document.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key without its table.
    pub(crate) key: String,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What it is set to.
    pub(crate) node: Node,
}

/// A value of a document, or a table of more entries.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A value.
    Value(Datum),
    /// A table in lines of its own or in braces.
    Table(Vec<Entry>),
}

impl Node {
    /// It as one value.
    pub(crate) fn datum(&self) -> Datum {
        match self {
            Self::Value(datum) => datum.clone(),
            Self::Table(entries) => {
                let field = |entry: &Entry| (entry.key.clone(), entry.node.datum());
                Datum::Table(entries.iter().map(field).collect())
            }
        }
    }
}

/// Parses the text of `file`.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Vec<Entry>, Error> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Error::Document {
            place: Place::Line { file: file.to_owned(), line },
            what: format!("not TOML: {}", one_line(error.message())),
            mend: "`grandstand config init` writes a file to start from".to_owned(),
        }
    })?;
    Ok(entries(table.get_ref(), text))
}

/// The value of a variable: TOML if it is that, else text.
pub(crate) fn parse_variable(text: &str) -> Datum {
    let document = format!("v = {text}");
    let table = DeTable::parse(&document).ok();
    let table = table.as_ref().map(toml::Spanned::get_ref).filter(|table| table.len() == 1);
    let value = table.and_then(|table| table.get("v"));
    value.map_or_else(|| Datum::Text(text.to_owned()), |value| datum(value.get_ref()))
}

fn entries(table: &DeTable<'_>, text: &str) -> Vec<Entry> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| Entry {
        key: name(key),
        line: line_of(text, key.span().start),
        node: match value.get_ref() {
            DeValue::Table(table) => Node::Table(entries(table, text)),
            value => Node::Value(datum(value)),
        },
    };
    table.iter().map(entry).collect()
}

fn name(key: &toml::Spanned<std::borrow::Cow<'_, str>>) -> String {
    key.get_ref().clone().into_owned()
}

fn datum(value: &DeValue<'_>) -> Datum {
    match value {
        DeValue::String(text) => Datum::Text(text.to_string()),
        DeValue::Boolean(value) => Datum::Flag(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Datum::Other(number.as_str().to_owned()), Datum::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Datum::Other(number.as_str().to_owned()), Datum::Float),
        DeValue::Datetime(date) => Datum::Other(date.to_string()),
        DeValue::Array(items) => {
            Datum::List(items.iter().map(|item| datum(item.get_ref())).collect())
        }
        DeValue::Table(table) => Datum::Table(
            table.iter().map(|(key, value)| (name(key), datum(value.get_ref()))).collect(),
        ),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_toml_or_text() {
        for (text, value) in [
            ("true", Datum::Flag(true)),
            ("0x10", Datum::Integer(16)),
            ("0.5", Datum::Float(0.5)),
            ("\"7\"", Datum::Text("7".into())),
            ("[::]:1935", Datum::Text("[::]:1935".into())),
            ("16MiB", Datum::Text("16MiB".into())),
            ("1\nb = 2", Datum::Text("1\nb = 2".into())),
            ("", Datum::Text(String::new())),
        ] {
            assert_eq!(parse_variable(text), value, "{text}");
        }
    }

    #[test]
    fn entries_know_their_lines() {
        let entries = parse(Path::new("f"), "\na = 1\n\n[b]\nc = 'x'\n").unwrap();
        assert_eq!(entries[0].line, 2);
        let Node::Table(inner) = &entries[1].node else { panic!("a table") };
        assert_eq!((inner[0].key.as_str(), inner[0].line), ("c", 5));
    }

    #[test]
    fn a_shown_value_is_cut_between_letters() {
        let shown = Datum::Text("ü".repeat(100)).show();
        assert!(shown.ends_with("...") && shown.chars().count() == SHOWN_MAX + 3);
    }
}
