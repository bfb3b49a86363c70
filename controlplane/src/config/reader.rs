//! Reader: the lines of the file and the variables of the environment become typed values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::{self, Datum, Entry, Node};
use super::environment;
use super::key::{Key, Section, sections};
use super::load::Loaded;
use super::nearest::nearest;
use super::settings::Settings;
use crate::error::{Error, Place};

/// Variables that override keys start with this and separate section and key by two underscores.
pub(super) const PREFIX: &str = "GRANDSTAND_";
/// Bytes of the file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Takes values one by one, each with its place.
pub(super) struct Reader {
    sections: Vec<Section>,
    loaded: Loaded,
}

impl Reader {
    /// Starts from `loaded`.
    pub(super) fn new(loaded: Loaded) -> Self {
        Self { sections: sections(), loaded }
    }

    /// All values that were taken.
    pub(super) fn into_loaded(self) -> Loaded {
        self.loaded
    }

    /// Takes every value of a file.
    ///
    /// Errors: the first wrong line.
    pub(super) fn file(&mut self, file: &Path) -> Result<(), Error> {
        let mend = "name another file with --config";
        let size = std::fs::metadata(file).map_err(|e| Error::file("read", file, &e, mend))?.len();
        if size > FILE_BYTES_MAX {
            return Err(Error::Document {
                place: Place::File(file.to_owned()),
                what: format!("{size} bytes are more than a configuration can need"),
                mend: mend.to_owned(),
            });
        }
        let text =
            std::fs::read_to_string(file).map_err(|e| Error::file("read", file, &e, mend))?;
        let mut wrong = Vec::new();
        self.table(file, "", &document::parse(file, &text)?, &mut wrong);
        wrong.into_iter().min_by_key(|&(line, _)| line).map_or(Ok(()), |(_, error)| Err(error))
    }

    fn table(
        &mut self,
        file: &Path,
        table: &str,
        entries: &[Entry],
        wrong: &mut Vec<(usize, Error)>,
    ) {
        for entry in entries {
            let full = join(table, &entry.key);
            let place = Place::Line { file: file.to_owned(), line: entry.line };
            let within = |s: &Section| s.name == full || s.name.starts_with(&format!("{full}."));
            let known = self.sections.iter().any(within);
            let result = match &entry.node {
                Node::Table(entries) if known => {
                    self.table(file, &full, entries, wrong);
                    Ok(())
                }
                // A value may be a table, in braces or in lines of its own.
                Node::Table(_) if self.has_key(table, &entry.key) => {
                    self.value(place, table, &entry.key, &entry.node.datum())
                }
                Node::Table(_) => Err(self.unknown_table(place, &full)),
                Node::Value(_) if known => Err(Error::Document {
                    place,
                    what: format!("{full} is a section, not a value"),
                    mend: format!("write `[{full}]` on a line of its own"),
                }),
                Node::Value(datum) => self.value(place, table, &entry.key, datum),
            };
            if let Err(error) = result {
                wrong.push((entry.line, error));
            }
        }
    }

    fn has_key(&self, table: &str, key: &str) -> bool {
        self.sections.iter().any(|section| section.name == table && section.key(key).is_some())
    }

    /// Takes the variables of the coordinator's family that `env` has; `dotenv` came from a file.
    ///
    /// Errors: the first of them that cannot be read.
    pub(super) fn family(
        &mut self,
        env: &BTreeMap<String, String>,
        dotenv: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let read =
            environment::read(env, dotenv, &self.loaded.settings, |key| self.loaded.place(key))?;
        for (name, full, datum) in read.values {
            let (table, key) = full.rsplit_once('.').expect("the table has full keys");
            self.value(Place::Env(name.to_owned()), table, key, &datum)?;
        }
        self.loaded.variables = read.used;
        self.loaded.warnings.extend(read.warnings);
        Ok(())
    }

    /// Takes the value of a variable that stands for a key, and ignores all others.
    pub(super) fn variable(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else {
            return Ok(());
        };
        let path = path.to_ascii_lowercase().replace("__", ".");
        let Some((table, key)) = path.rsplit_once('.') else { return Ok(()) };
        let place = Place::Env(name.to_owned());
        if !self.sections.iter().any(|section| section.name == table) {
            return Err(self.unknown_table(place, table));
        }
        self.value(place, table, key, &document::parse_variable(value))
    }

    fn value(&mut self, place: Place, table: &str, key: &str, datum: &Datum) -> Result<(), Error> {
        let section = self.sections.iter().find(|section| section.name == table);
        let Some(&known) = section.and_then(|section| section.key(key)) else {
            return Err(self.unknown_key(place, table, key));
        };
        let full = join(table, key);
        known.read(&mut self.loaded.settings, datum).ok_or_else(|| Error::Value {
            place: place.clone(),
            key: full.clone(),
            what: format!("expected {}, got {}", known.expects(), known.shown(datum)),
            mend: mend(&place, &known),
        })?;
        self.loaded.places.insert(full, place);
        Ok(())
    }

    fn unknown_table(&self, place: Place, table: &str) -> Error {
        let near = nearest(table, self.sections.iter().map(|section| section.name));
        Error::Document {
            mend: match (near, &place) {
                (Some(near), Place::Env(_)) => {
                    format!("the nearest is {PREFIX}{}__KEY", variable_of(near))
                }
                (Some(near), _) => format!("the nearest is [{near}]"),
                (None, _) => "remove it".to_owned(),
            },
            place,
            what: format!("there is no section [{table}]"),
        }
    }

    fn unknown_key(&self, place: Place, table: &str, key: &str) -> Error {
        let within = self.sections.iter().find(|section| section.name == table);
        let near = within.and_then(|section| {
            let renamed = section.keys.iter().find(|known| known.former == Some(key));
            let near = || nearest(key, section.keys.iter().map(|key| key.name));
            renamed.map(|known| known.name).or_else(near).map(|near| join(table, near))
        });
        let elsewhere = || {
            let same = |section: &&Section| section.key(key).is_some();
            self.sections.iter().find(same).map(|section| join(section.name, key))
        };
        Error::Document {
            mend: match (near.or_else(elsewhere), &place) {
                (Some(near), Place::Env(_)) => {
                    format!("the nearest is {PREFIX}{}", variable_of(&near))
                }
                (Some(near), _) => format!("the nearest is {near}"),
                (None, _) => "remove it".to_owned(),
            },
            place,
            what: format!("there is no key {}", join(table, key)),
        }
    }
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// The part of a variable's name that stands for the full key `key`.
fn variable_of(key: &str) -> String {
    key.replace('.', "__").to_ascii_uppercase()
}

fn mend(place: &Place, key: &Key) -> String {
    let default = key.render(&Settings::default());
    match place {
        Place::Env(name) if !name.starts_with(PREFIX) => {
            "correct it, or unset it for the default".to_owned()
        }
        Place::Env(name) => format!("unset it for the default, {name}={default}"),
        _ => format!("remove the line for the default, {} = {default}", key.name),
    }
}
