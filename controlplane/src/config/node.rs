//! `[node]`: what this server is called among others.

use std::path::Path;

use super::document::Datum;
use super::field::{Auto, Bounds, Field, quoted};
use super::key::{Key, Section};

/// Letters of a node's name at most: those of a host.
const NAME_MAX: usize = 253;
/// What a host without a usable name is called.
const NAMELESS: &str = "grandstand";
/// Where the kernel tells the host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSection {
    /// Its name.
    pub name: Auto<NodeName>,
}

/// Letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeName(String);

impl NodeName {
    fn parse(text: &str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let whole = !text.is_empty() && text.len() <= NAME_MAX;
        (whole && text.chars().all(legal)).then(|| Self(text.to_owned()))
    }
}

impl Default for NodeSection {
    fn default() -> Self {
        Self { name: Auto::Auto }
    }
}

impl NodeSection {
    /// The name in force: the configured one, else the host's.
    #[must_use]
    pub fn name(&self) -> String {
        self.name_on(Path::new(HOST_NAME))
    }

    fn name_on(&self, host_name: &Path) -> String {
        match &self.name {
            Auto::Set(name) => name.0.clone(),
            Auto::Auto => {
                let text = std::fs::read_to_string(host_name).unwrap_or_default();
                NodeName::parse(text.trim()).map_or_else(|| NAMELESS.to_owned(), |name| name.0)
            }
        }
    }
}

impl Field for NodeName {
    fn expects(&self, _: &Bounds) -> String {
        "a name such as \"edge-1\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = Self::parse(text)?;
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.0)
    }
}

const KEYS: &[Key] = &[Key::new(
    "name",
    "What this server is called in events. \"auto\" is the name of the host.",
    |s| &mut s.node.name,
)];

pub(super) fn section() -> Section {
    Section::new("node", "This server among others.", KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn the_name_is_configured_or_the_hosts() {
        let name = |value: &str| {
            let env = [("GRANDSTAND_NODE__NAME".to_owned(), value.to_owned())];
            load(None, env).map(|loaded| loaded.settings.node.name())
        };
        assert_eq!(name("edge-1.example").unwrap(), "edge-1.example");
        let error = name("edge 1").unwrap_err().to_string();
        assert!(error.contains("expected \"auto\" or a name such as \"edge-1\""), "{error}");
        let section = NodeSection::default();
        assert!(NodeName::parse(&section.name()).is_some());
        assert_eq!(section.name_on(Path::new("/nonexistent")), NAMELESS);
    }
}
