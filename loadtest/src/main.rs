//! `grandstand-load`: load generation against a running server.

use std::process::ExitCode;

use anyhow::{Context, Result};
use loadtest::mirror::MirrorTotals;
use loadtest::mpegts::Verdict;
use loadtest::observe::Machine;
use loadtest::report::{self, Report};
use loadtest::run::News;
use loadtest::scenario::{self, Action, Outcome, Plot, Scenario};
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

/// Does what is asked; false if a stream that was judged breaks a rule, or the server an
/// expectation.
fn run(scenario: &Scenario) -> Result<bool> {
    if let Action::Help(text) = &scenario.action {
        print!("{text}");
        return Ok(true);
    }
    socket::watch_interrupt().context("cannot watch for Ctrl-C")?;
    let is_canonical = is_plot(scenario, |plot| plot == Plot::Canonical);
    let outcome = scenario::perform(scenario, socket::interrupted(), &mut |news| match news {
        News::Measured(of) if !is_canonical => println!("{}", report::measurement(of)),
        News::Said(line) => eprintln!("{line}"),
        News::Measured(_) | News::Progress(_) => {}
    })?;
    if is_canonical {
        print!("{}", report::three_numbers(&outcome));
    } else if is_plot(scenario, |plot| plot == Plot::Hold) && outcome.measurements.len() > 1 {
        print!("{}", report::table(&outcome.measurements));
    } else if is_plot(scenario, |plot| matches!(plot, Plot::Storm(_))) {
        print!("{}", report::rounds(&outcome.measurements));
    }
    if let Some(published) = outcome.published.filter(|_| !is_canonical) {
        print!("{}", report::published(&published));
    }
    if let Some(MirrorTotals { segments, bytes }) = outcome.mirrored {
        println!("mirrored    {segments} segments, {:.1} MB", bytes as f64 / 1e6);
    }
    if let Some(soak) = &outcome.soak {
        print!("{}", report::soak(soak));
    }
    if let Some(knee) = &outcome.knee {
        print!("{}", report::knee(knee));
    }
    if let Some(verdict) = &outcome.verdict {
        print!("{verdict}");
    }
    for breach in &outcome.breaches {
        println!("FAILED      {breach}");
    }
    write_json(scenario, &outcome)?;
    let is_clean = outcome.verdict.as_ref().is_none_or(Verdict::is_clean);
    Ok(is_clean && outcome.breaches.is_empty())
}

fn is_plot(scenario: &Scenario, is: impl Fn(Plot) -> bool) -> bool {
    matches!(&scenario.action, Action::Load(load) if is(load.plot))
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
        knee: outcome.knee.as_ref(),
        soak: outcome.soak.as_ref(),
        breaches: &outcome.breaches,
    };
    let text = serde_json::to_string_pretty(&report).context("cannot write JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
