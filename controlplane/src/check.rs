//! `check` and `config init`: the commands that look and write, but serve nobody.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use dataplane::config::{Latency, ListenerKind};
use dataplane::ids::ShardId;

use crate::config::{Loaded, Outcome, Plan, sections, template};
use crate::error::Error;

/// What `check` prints: the source, the shard map and the table of memory terms.
#[must_use]
pub fn report(loaded: &Loaded, plan: &Plan) -> String {
    let mut text = match &loaded.file {
        Some(file) => format!("{}: valid\n", file.display()),
        None => "no configuration file: the defaults are valid\n".to_owned(),
    };
    for warning in &loaded.warnings {
        writeln!(text, "warning: {warning}").expect("a text grows");
    }
    for note in plan.notes.iter().chain(&plan.doubt) {
        writeln!(text, "note: {note}").expect("a text grows");
    }
    variables(&mut text, loaded);
    text.push_str("\nshard  core  streams\n");
    for (index, shard) in plan.node.shards.iter().enumerate() {
        let core = shard.cpu.map_or_else(|| "any".to_owned(), |cpu| cpu.to_string());
        let pins = plan.node.pins.iter().filter(|pin| pin.shard.index() == index);
        let pins: Vec<_> = pins.map(|pin| pin.pattern.as_str()).collect();
        let by_hash = if pins.is_empty() { "by hash" } else { ", and by hash" };
        writeln!(text, "{index:>5}  {core:>4}  {}{by_hash}", pins.join(", "))
            .expect("a text grows");
    }
    listeners(&mut text, plan);
    text.push_str("\nmemory\n");
    text.push_str(&plan.memory.to_string());
    text
}

/// The variables of the coordinator's family that are set, and what each does.
fn variables(text: &mut String, loaded: &Loaded) {
    let used = &loaded.variables;
    let Some(width) = used.iter().map(|used| used.name.len()).max() else { return };
    writeln!(text, "\n{:<width$}  effect", "variable").expect("a text grows");
    for used in used {
        let origin = if used.dotenv { " (from .env)" } else { "" };
        let mut line = |effect: &str| {
            writeln!(text, "{:<width$}  {effect}{origin}", used.name).expect("a text grows");
        };
        match &used.outcome {
            Outcome::Sets(keys) => keys.iter().for_each(|key| line(&value(loaded, key))),
            Outcome::AsItIs => line("as it is without it"),
            Outcome::Overridden(other) => line(&format!("none: {other} decides")),
            Outcome::Nothing(why) => line(&format!("none: {why}")),
        }
    }
}

/// A key with its value in force.
fn value(loaded: &Loaded, full: &str) -> String {
    let sections = sections();
    let found = full
        .rsplit_once('.')
        .and_then(|(section, key)| sections.iter().find(|known| known.name == section)?.key(key));
    let Some(key) = found else { return full.to_owned() };
    format!("{full} = {}", key.show(&loaded.settings))
}

/// Who accepts where, and how players are served there.
fn listeners(text: &mut String, plan: &Plan) {
    let widest = plan.node.listeners.iter().map(|l| l.addr.to_string().len()).max();
    let width = widest.unwrap_or(0).max("address".len());
    let mut line = |kind: &str, addr: &str, latency: &str, shards: &str| {
        writeln!(text, "{kind:<8}  {addr:<width$}  {latency:<7}  {shards}").expect("a text grows");
    };
    line("\nlistener", "address", "latency", "shards");
    for listener in &plan.node.listeners {
        let kind = match listener.kind {
            ListenerKind::Rtmp => "rtmp",
            ListenerKind::Http => "http",
            ListenerKind::Rtmps => "rtmps",
            ListenerKind::Https => "https",
            ListenerKind::Srt => "srt",
        };
        let latency = match listener.latency {
            Latency::Auto => "auto",
            Latency::Low => "low",
        };
        let count = plan.node.shards.len();
        let all = (0..).map(ShardId).take(count);
        let accepting = all.filter(|&shard| listener.shards.contains(shard));
        let accepting: Vec<_> = accepting.map(|shard| shard.to_string()).collect();
        let shards = if accepting.len() == count { "all".to_owned() } else { accepting.join(", ") };
        line(kind, &listener.addr.to_string(), latency, &shards);
    }
}

/// Writes the commented file to `path`; `force` replaces one that is there.
///
/// Errors: the path cannot be written, or a file is there.
pub fn init(path: &Path, force: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(template().as_bytes()));
    written.map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "--force replaces it",
            _ => "name another path",
        };
        Error::file("write", path, &error, mend)
    })
}
