//! Template: the commented configuration file, written from the keys themselves.

use super::key::{Applies, sections};
use super::settings::Settings;

const COLUMNS: usize = 96;

const HEAD: &str = "\
# Grandstand's configuration. Every key is shown with its default; remove the # to change it.
# A variable of the environment overrides a key: GRANDSTAND_EGRESS__BATCH_MS_MAX=130.
# `grandstand check` validates the file and prints what it costs in memory.
# SIGHUP reloads it; keys marked (restart) keep their value until the next start.
";

/// The file that `grandstand config init` writes.
#[must_use]
pub fn template() -> String {
    let settings = Settings::default();
    let mut text = HEAD.to_owned();
    for section in sections() {
        text.push('\n');
        comment(&mut text, section.about);
        if !section.name.is_empty() {
            text.push_str(&format!("[{}]\n", section.name));
        }
        for key in &section.keys {
            let note = if key.applies == Applies::Restart { " (restart)" } else { "" };
            comment(&mut text, &format!("{}{note}", key.about.trim()));
            // Only the section without a default is in force: a file must choose.
            let mark = if section.name == "auth" { "" } else { "#" };
            text.push_str(&format!("{mark}{} = {}\n", key.name, key.render(&settings)));
        }
    }
    text
}

/// `sentence` as comment lines.
fn comment(text: &mut String, sentence: &str) {
    let mut width = 0;
    for word in sentence.split_whitespace() {
        if width == 0 || width + 1 + word.len() > COLUMNS {
            text.push_str(if width == 0 { "# " } else { "\n# " });
            width = 2;
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{load, sections};

    fn loaded(name: &str, text: &str) -> crate::config::Loaded {
        let dir = std::env::temp_dir().join(format!("grandstand-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("grandstand.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = load(Some(&path), []);
        std::fs::remove_dir_all(&dir).unwrap();
        loaded.unwrap()
    }

    fn values(settings: &Settings) -> Vec<String> {
        let keys = sections().into_iter().flat_map(|section| section.keys);
        keys.map(|key| key.render(settings)).collect()
    }

    #[test]
    fn the_file_loads_as_it_is_and_changes_nothing() {
        let loaded = loaded("as-is", &template());
        assert_eq!(values(&loaded.settings), values(&Settings::default()));
    }

    #[test]
    fn every_shown_default_is_legal() {
        let uncommented: String = template()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let loaded = loaded("uncommented", &uncommented);
        assert_eq!(values(&loaded.settings), values(&Settings::default()));
        let keys = sections().iter().map(|section| section.keys.len()).sum::<usize>();
        let set = sections()
            .iter()
            .flat_map(|s| s.keys.iter().map(|key| s.full(key)))
            .filter(|key| loaded.is_set(key))
            .count();
        assert_eq!(set, keys);
    }

    #[test]
    fn lines_are_not_too_long() {
        assert_eq!(template().lines().find(|line| line.len() > 100), None);
    }
}
