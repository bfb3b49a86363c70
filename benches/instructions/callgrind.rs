//! One scenario under callgrind, and what its profile says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Instructions of one scenario.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// In this program.
    pub(crate) own: u64,
    /// In the object that has most of the rest, and its name.
    pub(crate) foreign: Option<(String, u64)>,
}

/// Runs `program run NAME` under callgrind; its profile stays at `profile`.
pub(crate) fn count(program: &Path, name: &str, profile: &Path) -> Result<Count, String> {
    let output = Command::new("valgrind")
        // Neither the user's options nor the environment take part.
        .args(["--command-line-only=yes", "--tool=callgrind"])
        .args(["--toggle-collect=measured_scenario", "--separate-threads=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(["run", name])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .map_err(|error| format!("valgrind: {error}; `make setup` installs it"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = std::fs::read_to_string(profile)
        .map_err(|error| format!("{}: {error}", profile.display()))?;
    let mut objects = parse(&text).map_err(|line| format!("{name}: unread line `{line}`"))?;
    let own = objects.remove(&*program.to_string_lossy()).unwrap_or(0);
    if own == 0 {
        return Err(format!("{name}: nothing was counted, was `measured_scenario` inlined?"));
    }
    Ok(Count { own, foreign: objects.into_iter().max_by_key(|(_, instructions)| *instructions) })
}

/// Instructions of each object, without those of what its functions call.
///
/// Shape: `ob=` names the object of the functions that follow, a line of numbers is a position and
/// its cost; the one behind `calls=` is the cost of the called function and counted there.
fn parse(profile: &str) -> Result<BTreeMap<String, u64>, String> {
    let (mut objects, mut object, mut of_call) = (BTreeMap::new(), "", false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("ob=") {
            object = name;
        } else if line.starts_with("calls=") {
            of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            let cost = cost.ok_or_else(|| line.to_owned())?;
            if !std::mem::take(&mut of_call) {
                *objects.entry(object.to_owned()).or_insert(0) += cost;
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_belong_to_their_object_once() {
        let profile = "version: 1\nevents: Ir\n\nob=/a\nfl=x.rs\nfn=one\n10 5\n11 2\n\
            cob=/c\ncfi=y.c\ncfn=two\ncalls=3 20\n12 900\n13 1\n\nob=/c\nfn=two\n20 900\n\n\
            ob=/a\nfn=three\n1 4\n\ntotals: 912\n";
        let objects = parse(profile).unwrap();
        assert_eq!(objects, BTreeMap::from([("/a".to_owned(), 12), ("/c".to_owned(), 900)]));
    }

    #[test]
    fn a_line_that_is_not_understood_is_told() {
        assert_eq!(parse("ob=/a\n10 many\n").unwrap_err(), "10 many");
    }
}
