//! Effective: values as JSON, for those who ask what is in force.

use serde_json::{Map, Number, Value};

use super::document::{Datum, parse_variable};
use super::key::Key;
use super::settings::Settings;

/// Stands for a secret that is set.
const MASK: &str = "***";

impl Key {
    /// The value as JSON; a secret is null while it is unset, and masked once it is set.
    pub(crate) fn json(&self, settings: &Settings) -> Value {
        let text = self.render(settings);
        if !self.secret {
            return json(parse_variable(&text));
        }
        match text == self.render(&Settings::default()) {
            true => Value::Null,
            false => MASK.into(),
        }
    }
}

/// A value of TOML as JSON.
pub(super) fn json(datum: Datum) -> Value {
    match datum {
        Datum::Flag(flag) => flag.into(),
        Datum::Integer(number) => number.into(),
        Datum::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Datum::Text(text) | Datum::Other(text) => text.into(),
        Datum::List(items) => items.into_iter().map(json).collect(),
        Datum::Table(fields) => {
            let field = |(key, value)| (key, json(value));
            Value::Object(fields.into_iter().map(field).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections;

    #[test]
    fn every_default_has_the_json_that_its_toml_says() {
        let settings = Settings::default();
        let value = |section: &str, key: &str| {
            let sections = sections();
            let section = sections.iter().find(|known| known.name == section).unwrap();
            section.key(key).unwrap().json(&settings)
        };
        assert_eq!(value("listeners.control", "addr"), "127.0.0.1:8090");
        assert_eq!(value("listeners.control", "connections_max"), 64);
        assert_eq!(value("listeners.rtmp", "enabled"), true);
        assert_eq!(value("listeners.rtmp", "also"), serde_json::json!([]));
        assert_eq!(value("egress", "utilisation_target"), 0.2);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let key = Key::new("level", "", |s| &mut s.log.level).secret();
        let mut settings = Settings::default();
        assert_eq!(key.json(&settings), Value::Null);
        settings.log.level = crate::config::LogLevel::Debug;
        assert_eq!(key.json(&settings), MASK);
    }
}
