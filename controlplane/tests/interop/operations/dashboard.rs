//! The dashboard: it is what its generator writes, every panel can be read and drawn, and every
//! metric, label and value that it asks for is told by a busy server.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use super::expression::Expression;
use super::{busy, file, output, read, tool};
use crate::server::Folder;

/// Columns of a dashboard.
const COLUMNS: u64 = 24;

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/grandstand.json")).expect("it is JSON")
}

/// The panels that draw something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels");
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

/// Every expression with its panel and legend.
fn expressions(dashboard: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", panel["title"]);
        let row = |target: &Value| {
            (text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"]))
        };
        targets.iter().map(row).collect::<Vec<_>>()
    };
    let mut found: Vec<_> = panels(dashboard).into_iter().flat_map(of_panel).collect();
    for marks in dashboard["annotations"]["list"].as_array().expect("annotations") {
        found.push((text(&marks["name"]), text(&marks["expr"]), text(&marks["titleFormat"])));
    }
    found
}

#[test]
fn it_is_what_its_generator_writes() {
    let written = output(&mut Command::new(file("grafana/generate")));
    assert!(
        written == read("grafana/grandstand.json"),
        "in controlplane/operations/grafana: ./generate > grandstand.json"
    );
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() {
    let dashboard = dashboard();
    let mut titles = BTreeSet::new();
    let mut drawn = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(titles.insert(title), "two panels are called {title}");
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(x < COLUMNS && drawn.insert((x, y)), "{title} covers another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        let means = panel["description"].as_str().expect("a description");
        assert!(means.ends_with('.') && means != title, "{title}: {means}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(names, [Some("datasource"), Some("node"), Some("shard")]);
    assert!(!read("grafana/grandstand.json").contains("://"), "nothing is loaded from elsewhere");
}

#[test]
fn every_expression_of_dashboard_and_alerts_finds_its_series() {
    let dashboard = dashboard();
    let mut all = expressions(&dashboard);
    all.extend(super::alerts::expressions());
    let series = busy::series();
    let mut missing = String::new();
    for (place, text, legend) in &all {
        for what in Expression::parse(text).misses(&series, legend) {
            writeln!(missing, "{place}: {what}").expect("a text grows");
        }
    }
    // What is written about metrics is about metrics that are.
    let readme = include_str!("../../../../README.md");
    for name in readme.split(|c: char| !c.is_ascii_lowercase() && c != '_') {
        let name = name.trim_end_matches('_');
        let is_metric = name.starts_with("grandstand_") || name.starts_with("process_");
        if is_metric && !series.has(name) && !series.has(&format!("{name}_bucket")) {
            writeln!(missing, "README.md: no metric {name}").expect("a text grows");
        }
    }
    assert!(missing.is_empty(), "{missing}");
    let names = |(_, text, _): &(_, String, _)| Expression::parse(text).metrics();
    let asked: BTreeSet<String> = all.iter().flat_map(names).collect();
    assert!(asked.len() > 100, "only {} metrics are asked for", asked.len());
    assert!(series.names().count() >= asked.len());
}

#[test]
fn promtool_understands_every_expression() {
    let folder = Folder::new();
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    for (number, (_, text, _)) in expressions(&dashboard()).iter().enumerate() {
        // JSON's strings are YAML's.
        let text = Value::from(text.replace("$__rate_interval", "5m"));
        writeln!(rules, "      - record: panel:{number}\n        expr: {text}").expect("it grows");
    }
    let path = folder.path().join("panels.yml");
    std::fs::write(&path, rules).expect("the test's folder can be written");
    output(Command::new(tool("promtool")).args(["check", "rules"]).arg(path));
}
