//! `grandstand-load`: load generation against a running server.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use loadtest::mirror::MirrorTotals;
use loadtest::mpegts::Verdict;
use loadtest::observe::Machine;
use loadtest::report::html::page;
use loadtest::report::{self, Live, Manner, Observation, Report, Seen};
use loadtest::run::News;
use loadtest::scenario::{self, Action, Outcome, Plot, Scenario};
use loadtest::socket;

/// The arguments cannot be followed.
const EXIT_USAGE: u8 = 2;

/// The run was ended before it was over, as shells tell of SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let scenario = match scenario::parse(std::env::args_os().skip(1)) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("grandstand-load: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&scenario) {
        Ok(true) if is_cut_short(&scenario) => ExitCode::from(EXIT_INTERRUPTED),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("grandstand-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked; false if a stream that was judged breaks a rule, the server an expectation,
/// or the run could not go on.
fn run(scenario: &Scenario) -> Result<bool> {
    if let Action::Help(text) = &scenario.action {
        print!("{text}");
        return Ok(true);
    }
    socket::watch_interrupt().context("cannot watch for Ctrl-C")?;
    for path in [&scenario.json, &scenario.html].into_iter().flatten() {
        check_writable(path)?;
    }
    let (outcome, seen) = observe(scenario)?;
    // What was seen is told and written, whatever has failed.
    let outcome = outcome.unwrap_or_else(|error| Outcome {
        fault: Some(format!("{error:#}")),
        ..Outcome::default()
    });
    tell(scenario, &outcome, &seen);
    let is_clean = outcome.verdict.as_ref().is_none_or(Verdict::is_clean);
    let is_as_expected = outcome.breaches.is_empty() && outcome.fault.is_none();
    write_results(scenario, outcome, seen)?;
    Ok(is_clean && is_as_expected)
}

/// Does it, and shows how far it has come.
fn observe(scenario: &Scenario) -> Result<(Result<Outcome>, Seen)> {
    let stderr = io::stderr();
    let columns = socket::columns(&stderr);
    let manner = Manner::of(scenario.quiet, columns, stderr.is_terminal());
    let mut observation = Observation::start(&scenario.watch, Live::new(stderr, manner))?;
    let is_canonical = is_plot(scenario, |plot| plot == Plot::Canonical);
    let outcome = scenario::perform(scenario, socket::interrupted(), &mut |news| match news {
        News::Progress(progress) => observation.progress(progress),
        News::Measured(of) => {
            observation.clear();
            let section = observation.measured(of);
            if !is_canonical {
                println!("{}{}", report::measurement(of), report::observed(section));
            }
        }
        News::Said(_) if scenario.quiet => {}
        News::Said(line) => {
            observation.clear();
            eprintln!("{line}");
        }
    });
    Ok((outcome, observation.finish()))
}

/// Tells what came of all of it.
fn tell(scenario: &Scenario, outcome: &Outcome, seen: &Seen) {
    let is_canonical = is_plot(scenario, |plot| plot == Plot::Canonical);
    if is_canonical {
        print!("{}", seen.sections.last().map(report::three_numbers).unwrap_or_default());
    } else if is_plot(scenario, |plot| plot == Plot::Hold) && outcome.measurements.len() > 1 {
        print!("{}", report::table(&outcome.measurements));
    } else if is_plot(scenario, |plot| matches!(plot, Plot::Storm(_)))
        && !outcome.measurements.is_empty()
    {
        print!("{}", report::rounds(&outcome.measurements));
    }
    if let Some(published) = outcome.published.as_ref().filter(|_| !is_canonical) {
        print!("{}", report::published(published));
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
    if let Some(impaired) = &outcome.impaired {
        print!("{}", report::impaired(impaired));
    }
    if let Some(listing) = &outcome.listing {
        print!("{listing}");
    }
    if let Some(verdict) = &outcome.verdict {
        print!("{verdict}");
    }
    for breach in &outcome.breaches {
        println!("FAILED      {breach}");
    }
    if let Some(fault) = &outcome.fault {
        eprintln!("grandstand-load: {fault}");
    }
}

fn is_plot(scenario: &Scenario, is: impl Fn(Plot) -> bool) -> bool {
    matches!(&scenario.action, Action::Load(load) if is(load.plot))
}

/// Whether the run was ended before it was over; some last until then.
fn is_cut_short(scenario: &Scenario) -> bool {
    let lasts = match &scenario.action {
        Action::Publish(plan) => plan.duration_ns.is_none(),
        Action::Mirror(plan) => plan.duration_ns.is_none(),
        Action::Impair(plan) => plan.duration_ns.is_none(),
        _ => false,
    };
    !lasts && socket::interrupted().load(Ordering::Relaxed)
}

fn write_results(scenario: &Scenario, outcome: Outcome, seen: Seen) -> Result<()> {
    let report = Report {
        generator: concat!("grandstand-load ", env!("CARGO_PKG_VERSION")).to_owned(),
        server: seen.server,
        command: report::command(std::env::args_os()),
        started_at: seen.started_at,
        duration_s: seen.duration_s,
        interrupted: is_cut_short(scenario),
        machine: Machine::read(),
        measurements: seen.sections,
        published: outcome.published,
        mirrored: outcome.mirrored,
        impaired: outcome.impaired,
        verdict: outcome.verdict,
        listing: outcome.listing,
        knee: outcome.knee,
        soak: outcome.soak,
        breaches: outcome.breaches,
        fault: outcome.fault.or(seen.fault),
        series: seen.series,
    };
    if let Some(path) = &scenario.json {
        let text = serde_json::to_string_pretty(&report).context("cannot write JSON")?;
        write(path, &(text + "\n"))?;
    }
    if let Some(path) = &scenario.html {
        write(path, &page(&report))?;
    }
    Ok(())
}

/// A long run must not end without its results because of a wrong path.
fn check_writable(path: &Path) -> Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
