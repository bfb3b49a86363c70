//! Secret and plain text as values of keys.

use dataplane::ids::Secret;

use super::document::Datum;
use super::field::{Bounds, Field, quoted};

/// The text of a datum; a text in a variable may look like a number or a word of TOML.
fn text_of(datum: &Datum) -> Option<String> {
    match datum {
        Datum::Text(text) => Some(text.clone()),
        Datum::Integer(number) => Some(number.to_string()),
        Datum::Flag(flag) => Some(flag.to_string()),
        _ => None,
    }
}

impl Field for String {
    fn expects(&self, _: &Bounds) -> String {
        "text".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        *self = text_of(datum)?;
        Some(())
    }
    fn render(&self) -> String {
        quoted(self)
    }
}

/// Who shows values to anybody asks its key, which masks this one.
impl Field for Secret {
    fn expects(&self, _: &Bounds) -> String {
        "text".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        self.0 = text_of(datum)?;
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.0)
    }
}
