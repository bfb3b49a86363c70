//! Counts the instructions of every scenario and compares them with those that are committed.
//!
//! `check` runs each scenario in a process of its own under valgrind's callgrind, which counts
//! what is executed between the begin and the end of [`measured_scenario`] and nothing else. So
//! that a count depends on our code and the compiler alone, this program brings what it would
//! otherwise take from the C library of the machine: `copies.rs` moves bytes, `blocks.rs` hands out
//! memory. valgrind shows every program the same processor, so what is chosen by its features is
//! the same everywhere, too.
//!
//! Not here: time, which is what `hot/` measures; system calls, which no scenario makes.

mod blocks;
mod callgrind;
mod copies;
mod counts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::{SCENARIOS, Scenario, named};

use callgrind::Count;
use counts::{Counts, Verdict};

const USAGE: &str = "\
instructions check [--update] FILE   counts all scenarios and compares with FILE, or writes it
instructions run GROUP/NAME          runs one scenario, as valgrind is given it
instructions list                    names the scenarios
";

/// Runs before the count: windows are full then, and memory was handed out before.
const WARM_UP_RUNS: u32 = 40;
/// Runs that are counted.
const COUNTED_RUNS: u32 = 8;

/// What callgrind counts; its name must not change on the way through the compiler.
#[unsafe(no_mangle)]
#[inline(never)]
fn measured_scenario(scenario: &mut dyn Scenario) {
    scenario.run();
}

fn run(name: &str) -> Result<(), String> {
    let mut scenario = named(name).ok_or_else(|| format!("no scenario is called {name}"))?;
    for _ in 0..WARM_UP_RUNS {
        scenario.prepare();
        scenario.run();
    }
    for _ in 0..COUNTED_RUNS {
        scenario.prepare();
        measured_scenario(&mut *scenario);
    }
    Ok(())
}

/// Counts every scenario; true if all is as it was recorded.
fn check(file: &Path, update: bool) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let profiles = program.with_file_name("callgrind");
    std::fs::create_dir_all(&profiles)
        .map_err(|error| format!("{}: {error}", profiles.display()))?;
    let mut counted = Counts { compiler: compiler()?, scenarios: Vec::new() };
    for (name, _) in SCENARIOS {
        let profile = profiles.join(format!("{}.out", name.replace('/', "_")));
        let Count { own, foreign } = callgrind::count(&program, name, &profile)?;
        if let Some((object, instructions)) = foreign.filter(|(_, n)| *n > own / 100) {
            return Err(format!(
                "{name}: {instructions} instructions ran in {object} beside {own} of ours, so the \
                 count depends on the machine; let the scenario do without"
            ));
        }
        counted.scenarios.push(((*name).to_owned(), own / u64::from(COUNTED_RUNS)));
    }
    if update {
        std::fs::write(file, counted.to_string())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        println!("{}: {} counts written", file.display(), counted.scenarios.len());
        return Ok(true);
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `make instructions UPDATE=1`", file.display()))?;
    let recorded = Counts::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(report(&recorded, &counted, &profiles))
}

/// Says what differs; true if nothing does that matters.
fn report(recorded: &Counts, counted: &Counts, profiles: &Path) -> bool {
    let verdicts = counts::compare(recorded, counted);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    let differ = verdicts.iter().filter(|verdict| !matches!(verdict, Verdict::Same { .. })).count();
    if differ == 0 {
        return true;
    }
    println!("{differ} of {} differ; profiles: {}", verdicts.len(), profiles.display());
    if recorded.compiler == counted.compiler {
        println!("wanted? `make instructions UPDATE=1` records them; the commit says why");
        return false;
    }
    println!(
        "counted with rustc {}, recorded with {}: `make instructions UPDATE=1` on an unchanged \
         checkout tells the compiler's part",
        counted.compiler, recorded.compiler
    );
    // Where changes are judged the compiler is known; elsewhere a newer one is nobody's fault.
    std::env::var_os("CI").is_none()
}

/// The version of the compiler, which this program was built by a moment ago.
fn compiler() -> Result<String, String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.trim().strip_prefix("rustc ").map(str::to_owned);
    version.ok_or_else(|| format!("rustc says `{text}` of its version"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["run", name] => run(name).map(|()| true),
        ["list"] => {
            SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(true)
        }
        ["check", "--update", file] => check(&PathBuf::from(file), true),
        ["check", file] => check(&PathBuf::from(file), false),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}
