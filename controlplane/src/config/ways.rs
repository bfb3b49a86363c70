//! Modes and ways as values of keys.

use super::document::Datum;
use super::field::{Bounds, Field, list, quoted, texts};
use crate::auth::{Mode, Modes, Ways};

/// A word, or a list of words.
impl Field for Modes {
    fn expects(&self, _: &Bounds) -> String {
        let words = Mode::ALL.map(|mode| quoted(mode.name()));
        let (last, rest) = words.split_last().expect("there are modes");
        format!(
            "{} or {last}, or a list in the order in which they are tried such as [\"signed\", \
             \"keys\"], each once, of which \"open\", \"callback\" and \"coordinator\" are the \
             last",
            rest.join(", ")
        )
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let modes: Option<Vec<_>> = texts(datum)?.iter().map(|word| Mode::parse(word)).collect();
        *self = Self::new(&modes?)?;
        Some(())
    }
    fn render(&self) -> String {
        let mut words = self.iter().map(Mode::name);
        match (words.next(), words.len()) {
            (Some(only), 0) => quoted(only),
            _ => list(self.iter().map(|mode| mode.name().to_owned())),
        }
    }
}

/// Modes for both directions, a table of `publish` and `play`, or nothing.
impl Field for Ways {
    fn expects(&self, bounds: &Bounds) -> String {
        let modes = Modes::default().expects(bounds);
        format!("{modes}; a table of publish and play with as much; or \"\"")
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let modes = |datum: &Datum| {
            let mut modes = Modes::default();
            modes.read(datum, bounds).map(|()| modes)
        };
        *self = match datum {
            Datum::Text(text) if text.is_empty() => Self::default(),
            Datum::Table(fields) => {
                let mut ways = Self::default();
                for (name, value) in fields {
                    match name.as_str() {
                        "publish" => ways.publish = Some(modes(value)?),
                        "play" => ways.play = Some(modes(value)?),
                        _ => return None,
                    }
                }
                ways
            }
            datum => Self::both(modes(datum)?),
        };
        Some(())
    }
    fn render(&self) -> String {
        let each = [("publish", self.publish), ("play", self.play)];
        match (self.publish, self.play) {
            (None, None) => quoted(""),
            (Some(publish), Some(play)) if publish == play => publish.render(),
            _ => {
                let part = |(name, modes): (&str, Option<Modes>)| {
                    modes.map(|modes| format!("{name} = {}", modes.render()))
                };
                let parts: Vec<_> = each.into_iter().filter_map(part).collect();
                format!("{{ {} }}", parts.join(", "))
            }
        }
    }
}
