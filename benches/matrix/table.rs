//! All cells, some at once; what fails is tried again alone, and then with libsrt in our place.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

use crate::cell::{Cell, KEYS, LINES, PEERS, Peer, RATES_MBPS, ROLES};
use crate::content::Outcome;
use crate::program;
use crate::trial::{self, Shown};

/// A cell that fails is tried so often in all: the machine keeps no time for foreign programs.
const TRIES: usize = 3;

/// Runs them and writes the table; fails if one with us is not whole that is with libsrt.
pub(crate) fn write(cells: Vec<Cell>) {
    let cells: Vec<Cell> = cells.into_iter().filter(is_there).collect();
    let mut all = at_once(&cells);
    let mut worse = Vec::new();
    for (cell, shown) in &mut all {
        for _ in 1..TRIES {
            if shown.outcome != Outcome::Whole {
                eprintln!("again: {cell:?}: {:?}", shown.outcome);
                *shown = trial::run(*cell);
            }
        }
        if shown.outcome == Outcome::Whole || cell.called == Peer::Libsrt {
            continue;
        }
        // libsrt has one try.
        let theirs = trial::run(cell.with_libsrt()).outcome;
        eprintln!("{cell:?}: {:?}, with libsrt in our place {theirs:?}", shown.outcome);
        if theirs == Outcome::Whole {
            worse.push(*cell);
        }
    }
    let text = render(&all, &worse);
    println!("{text}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix/README.md");
    fs::write(file, text).unwrap();
    assert!(worse.is_empty(), "worse than libsrt in our place: {worse:#?}");
}

/// One peer is there only if it was built.
fn is_there(cell: &Cell) -> bool {
    let is_missing = program::name(Peer::SrtTokio).as_os_str().is_empty();
    cell.caller != Peer::SrtTokio || !is_missing
}

fn at_once(cells: &[Cell]) -> Vec<(Cell, Shown)> {
    let jobs = env::var("JOBS").ok().and_then(|jobs| jobs.parse().ok());
    let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let waiting: Mutex<VecDeque<(usize, Cell)>> =
        Mutex::new(cells.iter().copied().enumerate().collect());
    let mut done: Vec<(usize, Cell, Shown)> = thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let next = waiting.lock().unwrap().pop_front();
                let Some((at, cell)) = next else { return done };
                let shown = trial::run(cell);
                eprintln!("{at} of {}: {cell:?}: {}", cells.len(), shown.outcome);
                done.push((at, cell, shown));
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    done.sort_by_key(|(at, ..)| *at);
    done.into_iter().map(|(_, cell, shown)| (cell, shown)).collect()
}

const HEAD: &str = "\
# SRT with every peer

What `make matrix` found: a stream of 2.5 seconds from one peer to the other with 400 ms of latency,
through the relay of `grandstand-load impair`, every byte compared. `=` is bit-identical from where
it begins to its end, `-N` is what is missing, in packets of 1,316 bytes. The last rows are libsrt
to libsrt through the same relay. **Bold** is worse than with libsrt in our place.

";

fn render(all: &[(Cell, Shown)], worse: &[Cell]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| caller | does | key |");
    for line in LINES {
        for mbps in RATES_MBPS {
            write!(text, " {} {mbps} |", format!("{line:?}").to_lowercase()).unwrap();
        }
    }
    write!(text, "\n|---|---|---|{}\n", "---|".repeat(LINES.len() * RATES_MBPS.len())).unwrap();
    let rows = PEERS.into_iter().map(|peer| (peer, Peer::Ours));
    for (caller, called) in rows.chain([(Peer::Libsrt, Peer::Libsrt)]) {
        for (role, key) in ROLES.into_iter().flat_map(|role| KEYS.map(|key| (role, key))) {
            let of = |cell: &&(Cell, Shown)| {
                let Cell { caller: a, called: b, role: c, key: d, .. } = cell.0;
                (a, b, c, d) == (caller, called, role, key)
            };
            let row: Vec<_> = all.iter().filter(of).collect();
            if row.is_empty() {
                continue;
            }
            write!(text, "| {} | {role:?} | {key:?} |", title(caller, called)).unwrap();
            for (cell, shown) in row {
                let bold = if worse.contains(cell) { "**" } else { "" };
                write!(text, " {bold}{}{bold} |", shown.outcome).unwrap();
            }
            text.push('\n');
        }
    }
    text.push_str("\nLines, both ways (`--seed 7`), and rates in Mb/s:\n\n");
    for line in LINES {
        writeln!(text, "- {}: `{}`", format!("{line:?}").to_lowercase(), line.words()).unwrap();
    }
    text.push_str("\nPeers, and the SRT that they tell:\n\n");
    for peer in PEERS.into_iter().filter(|peer| *peer != Peer::Ours) {
        let told = all.iter().filter(|(cell, _)| cell.caller == peer);
        if let Some(version) = told.filter_map(|(_, shown)| shown.version).next() {
            let [_, major, minor, patch] = version.to_be_bytes();
            let of = program_version(peer);
            writeln!(text, "- {}: {of}, SRT {major}.{minor}.{patch}", title(peer, Peer::Ours))
                .unwrap();
        }
    }
    text
}

fn title(caller: Peer, called: Peer) -> &'static str {
    match (caller, called) {
        (_, Peer::Libsrt) => "libsrt to libsrt",
        (Peer::Libsrt, _) => "srt-live-transmit",
        (Peer::Ffmpeg, _) => "ffmpeg",
        (Peer::Newer, _) => "newer ffmpeg",
        (Peer::Gstreamer, _) => "GStreamer",
        (Peer::SrtTokio, _) => "srt-tokio",
        (Peer::Ours, _) => "ourselves",
    }
}

/// The line in which a program tells its version.
fn program_version(peer: Peer) -> String {
    let option = match peer {
        Peer::Libsrt | Peer::Ffmpeg | Peer::Newer => "-version",
        _ => "--version",
    };
    let told = Command::new(program::name(peer)).arg(option).output().unwrap();
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    let line = told.lines().find(|line| line.to_lowercase().contains("version")).unwrap_or("");
    line.split(" Copyright").next().unwrap_or(line).trim().to_owned()
}

#[test]
fn every_cell_has_its_place() {
    let shown = |outcome| Shown { outcome, version: Some(0x0001_0501) };
    let all: Vec<_> = crate::cell::references()
        .chain(crate::cell::all())
        .filter(is_there)
        .map(|cell| (cell, shown(Outcome::Whole)))
        .collect();
    let text = render(&all, &[all.last().unwrap().0]);
    assert_eq!(text.matches(" = |").count() + 1, all.len(), "{text}");
    assert_eq!(text.matches(" **=** |").count(), 1);
}
