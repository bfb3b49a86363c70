//! Change: what a reload does, as the difference of two configurations.

use super::key::{Applies, sections};
use super::settings::Settings;

/// The full keys in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Those that a reload applies.
    pub now: Vec<String>,
    /// Those that keep their value until the next start.
    pub restart: Vec<String>,
}

/// What differs between the configuration in force and the one to come.
#[must_use]
pub fn change(old: &Settings, new: &Settings) -> Change {
    let mut change = Change::default();
    for section in sections() {
        for key in &section.keys {
            if key.render(old) != key.render(new) {
                let name = section.full(key);
                match key.applies {
                    Applies::Now => change.now.push(name),
                    Applies::Restart => change.restart.push(name),
                }
            }
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn each_changed_key_is_named_once_on_its_side() {
        let old = load(None, []).unwrap().settings;
        assert_eq!(change(&old, &old), Change::default());
        let env = [
            ("GRANDSTAND_EGRESS__BATCH_MS_MAX", "50"),
            ("GRANDSTAND_LIMITS__STREAMS_MAX", "7"),
            ("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:1"),
            ("GRANDSTAND_SHARDS__COUNT", "3"),
            ("GRANDSTAND_SESSION__RTMP_CHUNK_BYTES", "4096"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let new = load(None, env).unwrap().settings;
        let change = change(&old, &new);
        assert_eq!(
            change.now,
            ["listeners.rtmp.addr", "limits.streams_max", "egress.batch_ms_max"]
        );
        assert_eq!(change.restart, ["shards.count", "session.rtmp_chunk_bytes"]);
    }
}
