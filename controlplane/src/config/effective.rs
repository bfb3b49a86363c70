//! Effective: values as JSON, for those who ask what is in force.

use serde_json::{Map, Number, Value};

use super::document::{Datum, parse_variable};
use super::key::Key;
use super::masking::masked;
use super::settings::Settings;

/// Stands for a secret that is set.
const MASK: &str = "***";

impl Key {
    /// The value as JSON; a secret is null while it is unset, and masked once it is set, as is what
    /// URLs may hold of secrets.
    pub(crate) fn json(&self, settings: &Settings) -> Value {
        let text = self.render(settings);
        if !self.secret {
            return json(parse_variable(&masked(&text)));
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
    fn no_url_shows_what_its_query_holds() {
        let env = [
            ("GRANDSTAND_AUTH__CALLBACK__URL", "https://app.example/verify?token=hunter2"),
            ("GRANDSTAND_COORDINATOR__EVENT_CALLBACK_URL", "http://app.example/?hunter2"),
            ("GRANDSTAND_SESSION__RECONNECT_URL", "rtmp://other.example/live?key=hunter2"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = crate::config::load(None, env).unwrap().settings;
        let mut shown = String::new();
        for section in sections() {
            for key in &section.keys {
                shown.push_str(&format!("{} {}\n", key.json(&settings), key.show(&settings)));
            }
        }
        assert!(!shown.contains("hunter2"), "{shown}");
        for part in ["/verify?token=***", "app.example/?***", "/live?key=***"] {
            assert_eq!(shown.matches(part).count(), 2, "{part}");
        }
        let wrong = ("GRANDSTAND_AUTH__CALLBACK__URL", "ftp://app.example/?token=hunter2");
        let env = [(wrong.0.to_owned(), wrong.1.to_owned())];
        let error = crate::config::load(None, env).unwrap_err().to_string();
        assert!(error.contains("?token=***") && !error.contains("hunter2"), "{error}");
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
