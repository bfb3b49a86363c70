//! `grandstand-load`: load generation against a running server.

use std::process::ExitCode;

use anyhow::{Context, Result};
use loadtest::mirror::MirrorTotals;
use loadtest::observe::Machine;
use loadtest::report::{self, Report};
use loadtest::scenario::{self, Action, Outcome, Scenario};
use loadtest::socket;

/// The arguments cannot be followed.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let scenario = match scenario::parse(std::env::args_os().skip(1)) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("grandstand-load: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&scenario) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("grandstand-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked; false if a stream that was judged breaks a rule.
fn run(scenario: &Scenario) -> Result<bool> {
    let is_canonical = matches!(scenario.action, Action::Canonical { .. });
    if scenario.action == Action::Help {
        print!("{}", scenario::USAGE);
        return Ok(true);
    }
    socket::watch_interrupt().context("cannot watch for Ctrl-C")?;
    let outcome = scenario::perform(scenario, |measurement| {
        if !is_canonical {
            println!("{}", report::measurement(measurement));
        }
    })?;
    match scenario.action {
        Action::Canonical { .. } => print!("{}", report::three_numbers(&outcome)),
        Action::Fanout { .. } => print!("{}", report::table(&outcome.measurements)),
        _ => {}
    }
    if let Some(published) = outcome.published.filter(|_| !is_canonical) {
        print!("{}", report::published(&published));
    }
    if let Some(MirrorTotals { segments, bytes }) = outcome.mirrored {
        println!("mirrored    {segments} segments, {:.1} MB", bytes as f64 / 1e6);
    }
    if let Some(verdict) = &outcome.verdict {
        print!("{verdict}");
    }
    write_json(scenario, &outcome)?;
    Ok(outcome.verdict.is_none_or(|verdict| verdict.is_clean()))
}

fn write_json(scenario: &Scenario, outcome: &Outcome) -> Result<()> {
    let Some(path) = &scenario.json else {
        return Ok(());
    };
    // A query may hold a key, which no file of results may show.
    let words = std::env::args().map(|word| match word.split_once('?') {
        Some((before, _)) => format!("{before}?..."),
        None => word,
    });
    let command = words.collect::<Vec<_>>().join(" ");
    let report = Report {
        command: &command,
        machine: Machine::read(),
        measurements: &outcome.measurements,
        published: outcome.published,
        mirrored: outcome.mirrored,
        verdict: outcome.verdict.as_ref(),
    };
    let text = serde_json::to_string_pretty(&report).context("cannot write JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
