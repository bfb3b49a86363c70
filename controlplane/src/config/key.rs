//! Key: one line of the configuration file, described once for reading, writing and reloading.

use dataplane::config::LimitId;

use super::document::Datum;
use super::field::{Bounds, Field, Unit};
use super::masking::masked;
use super::settings::Settings;

/// What is shown in place of a secret.
const MASK: &str = "(secret)";

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At a reload.
    Now,
    /// At the next start.
    Restart,
}

/// Where a key's value lives.
#[derive(Clone, Copy)]
enum Slot {
    Field(fn(&mut Settings) -> &mut dyn Field),
    Limit(LimitId),
}

/// One key.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it means, in one or more sentences.
    pub about: &'static str,
    /// When a changed value takes effect.
    pub applies: Applies,
    /// What it was called before.
    pub former: Option<&'static str>,
    /// Nobody is shown its value.
    pub secret: bool,
    bounds: Bounds,
    slot: Slot,
}

impl Key {
    /// A key that needs a restart.
    #[must_use]
    pub const fn new(
        name: &'static str,
        about: &'static str,
        field: fn(&mut Settings) -> &mut dyn Field,
    ) -> Self {
        let bounds = Bounds { min: 0, max: u64::MAX, unit: Unit::One };
        let (applies, slot) = (Applies::Restart, Slot::Field(field));
        Self { name, about, applies, former: None, secret: false, bounds, slot }
    }

    /// The key of a limit of peers and messages; tables are sized by some of them at the start.
    #[must_use]
    pub const fn limit(id: LimitId, unit: Unit) -> Self {
        let bounds = Bounds { min: 1, max: u64::MAX, unit };
        let slot = Slot::Limit(id);
        let applies = if id.sizes_tables() { Applies::Restart } else { Applies::Now };
        Self {
            name: id.name(),
            about: id.about(),
            applies,
            former: None,
            secret: false,
            bounds,
            slot,
        }
    }

    /// A reload applies it.
    #[must_use]
    pub const fn now(mut self) -> Self {
        self.applies = Applies::Now;
        self
    }

    /// It had another name once, which is told to whoever still uses it.
    #[must_use]
    pub const fn formerly(mut self, name: &'static str) -> Self {
        self.former = Some(name);
        self
    }

    /// Nobody is shown its value.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Its legal range.
    #[must_use]
    pub const fn range(mut self, min: u64, max: u64) -> Self {
        self.bounds.min = min;
        self.bounds.max = max;
        self
    }

    /// It counts bytes.
    #[must_use]
    pub const fn bytes(mut self) -> Self {
        self.bounds.unit = Unit::Bytes;
        self
    }

    /// It counts milliseconds.
    #[must_use]
    pub const fn millis(mut self) -> Self {
        self.bounds.unit = Unit::Millis;
        self
    }

    /// The words after "expected".
    #[must_use]
    pub fn expects(&self) -> String {
        let mut settings = Settings::default();
        match self.slot {
            Slot::Field(field) => field(&mut settings).expects(&self.bounds),
            Slot::Limit(_) => 0_u64.expects(&self.bounds),
        }
    }

    /// Takes the value from TOML; `None` if it does not fit.
    pub fn read(&self, settings: &mut Settings, datum: &Datum) -> Option<()> {
        match self.slot {
            Slot::Field(field) => field(settings).read(datum, &self.bounds),
            Slot::Limit(id) => {
                let mut value = settings.limits.get(id);
                value.read(datum, &self.bounds)?;
                settings.limits.set(id, value);
                Some(())
            }
        }
    }

    /// A wrong value for an error message.
    pub(super) fn shown(&self, datum: &Datum) -> String {
        if self.secret { MASK.to_owned() } else { masked(&datum.show()) }
    }

    /// The value as anybody may see it.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        let text = masked(&self.render(settings));
        if self.secret && text != "\"\"" { MASK.to_owned() } else { text }
    }

    /// The value in TOML.
    #[must_use]
    pub fn render(&self, settings: &Settings) -> String {
        match self.slot {
            // Rendering reads through the same accessor as reading, on a copy: it is not hot.
            Slot::Field(field) => field(&mut settings.clone()).render(),
            Slot::Limit(id) => settings.limits.get(id).render(),
        }
    }
}

/// One table of the configuration file.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys, in the order of the file.
    pub keys: Vec<Key>,
}

impl Section {
    /// A section of fixed keys.
    #[must_use]
    pub fn new(name: &'static str, about: &'static str, keys: &[Key]) -> Self {
        Self { name, about, keys: keys.to_vec() }
    }

    /// The full name of one of its keys.
    #[must_use]
    pub fn full(&self, key: &Key) -> String {
        if self.name.is_empty() {
            key.name.to_owned()
        } else {
            format!("{}.{}", self.name, key.name)
        }
    }

    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Every section, in the order of the file.
#[must_use]
pub fn sections() -> Vec<Section> {
    let mut sections = vec![super::root::section()];
    sections.extend(super::auth::sections());
    sections.extend(super::listeners::sections());
    sections.extend([
        super::tls::section(),
        super::acme::section(),
        super::limits::section(),
        super::penalties::section(),
        super::shards::section(),
        super::reactor::section(),
        super::egress::section(),
        super::streams::section(),
        super::stream::section(),
        super::hls::section(),
        super::recording::section(),
        super::session::section(),
        super::srt::section(),
    ]);
    sections.extend(super::coordinator::sections());
    sections.extend([
        super::events::section(),
        super::usage::section(),
        super::node::section(),
        super::log::section(),
        super::data::section(),
        super::demo::section(),
    ]);
    sections
}
