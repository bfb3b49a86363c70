//! The alerts: promtool takes them and their unit tests, each is tested and says what to do, and
//! what it tells people to set exists.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{file, output, read, tool};
use crate::server::Folder;

/// The rules, as JSON.
fn rules() -> Vec<Value> {
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let mut python = Command::new(tool("venv").join("bin/python"));
    let text = output(python.args(["-c", program]).arg(file("prometheus/alerts.yml")));
    let parsed: Value = serde_json::from_str(&text).expect("it is JSON now");
    let groups = parsed["groups"].as_array().expect("groups").clone();
    let rules = |group: Value| group["rules"].as_array().expect("rules").clone();
    groups.into_iter().flat_map(rules).collect()
}

/// Each alert with its expression; labels in its texts count as a legend.
pub(super) fn expressions() -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let legend = |rule: &Value| {
        let words =
            ["summary", "description", "runbook"].map(|name| text(&rule["annotations"][name]));
        let all = words.join(" ");
        let labels = all.split("{{ $labels.").skip(1).filter_map(|rest| rest.split(" }}").next());
        labels.map(|label| format!("{{{{{label}}}}}")).collect::<String>()
    };
    rules().iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"]), legend(rule))).collect()
}

#[test]
fn promtool_takes_the_rules_and_their_unit_tests() {
    let promtool = || Command::new(tool("promtool"));
    output(promtool().args(["check", "rules"]).arg(file("prometheus/alerts.yml")));
    output(promtool().args(["test", "rules"]).arg(file("prometheus/alerts.test.yml")));
}

#[test]
fn each_alert_is_tested_and_says_what_to_do() {
    let tests = read("prometheus/alerts.test.yml");
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name");
        // Both that it fires, and that it did not before.
        let states = format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}");
        assert_eq!(tests.matches(&states).count(), 2, "{name}");
        assert!(tests.contains(&format!("alertname=\"{name}\",alertstate=\"firing\",")));
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}");
        for words in ["summary", "description", "runbook"] {
            let text = rule["annotations"][words].as_str().unwrap_or_default();
            assert!(text.len() > 15, "{name} has no {words}");
        }
    }
}

#[test]
fn keys_and_metrics_that_texts_name_exist() {
    let folder = Folder::new();
    let path = folder.path().join("all.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand"));
    output(command.args(["config", "init"]).arg(&path));
    let template = std::fs::read_to_string(path).expect("it was written");
    let keys = keys_of(&template);
    let sections: BTreeSet<_> = keys.iter().filter_map(|key| key.rsplit_once('.')).collect();
    let sections: BTreeSet<_> = sections.into_iter().map(|(section, _)| section).collect();
    let texts = ["prometheus/alerts.yml", "grafana/grandstand.json", "systemd/grandstand.service"]
        .map(read);
    for text in &texts {
        let is_part = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        for word in text.split(|c| !is_part(c)).map(|word| word.trim_end_matches('.')) {
            let Some((section, _)) = word.rsplit_once('.') else { continue };
            assert!(!sections.contains(section) || keys.contains(word), "there is no key {word}");
        }
    }
}

/// Every `section.key` of a file that has them all.
fn keys_of(template: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in template.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{section}.{key}"));
        }
    }
    assert!(keys.contains("egress.batch_ms_max"), "{keys:?}");
    keys
}
