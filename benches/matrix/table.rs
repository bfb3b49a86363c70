//! All cells, some at once; what fails is tried again alone, and then with libsrt in our place.

use std::collections::VecDeque;
use std::fmt::{self, Write};
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

/// A cell, and what became of it.
struct Row {
    cell: Cell,
    shown: Shown,
    tries: usize,
    /// What became of it with libsrt in our place, if it was not whole.
    theirs: Option<Outcome>,
}

impl Row {
    /// Tries a cell again that is not whole, and then libsrt in our place, which has one try.
    fn settle(cell: Cell, mut shown: Shown) -> Self {
        let mut tries = 1;
        while shown.outcome != Outcome::Whole && tries < TRIES {
            eprintln!("again: {cell:?}: {:?}", shown.outcome);
            shown = trial::run(cell);
            tries += 1;
        }
        let is_settled = shown.outcome == Outcome::Whole || cell.called == Peer::Libsrt;
        let theirs = (!is_settled).then(|| trial::run(cell.with_libsrt()).outcome);
        Self { cell, shown, tries, theirs }
    }

    fn is_worse(&self) -> bool {
        self.theirs.as_ref().is_some_and(|theirs| self.shown.outcome.is_worse_than(theirs))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = &self.shown.outcome;
        match (&self.theirs, self.tries) {
            (Some(theirs), _) => {
                let bold = if self.is_worse() { "**" } else { "" };
                write!(f, "{bold}{ours}{bold} libsrt {theirs}")
            }
            (None, 1) => write!(f, "{ours}"),
            (None, tries) => write!(f, "{ours} of {tries}"),
        }
    }
}

/// Runs them and writes the table; fails if one with us is worse than with libsrt.
pub(crate) fn write(cells: Vec<Cell>) {
    let cells: Vec<Cell> = cells.into_iter().filter(is_there).collect();
    let all = at_once(&cells);
    let all: Vec<_> = all.into_iter().map(|(cell, shown)| Row::settle(cell, shown)).collect();
    let text = render(&all);
    println!("{text}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix/README.md");
    fs::write(file, text).unwrap();
    let worse: Vec<_> = all.iter().filter(|row| row.is_worse()).map(|row| row.cell).collect();
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
through the relay of `grandstand-load impair`, every byte compared. What is called is our session of
SRT over a socket of its own; the whole server over such lines, with libsrt on both sides, is in
`controlplane/tests/interop/srt_lines.rs`.

`=` is bit-identical from where it begins to its end, `-N` is what is missing, in packets of 1,316
bytes. A cell that is not whole is tried up to three times in all, because the machine keeps no time
for foreign programs: `= of 2` was whole at the second try. What is never whole is tried once with
libsrt in our place, too, and stands beside what came then; **bold** is worse than that. The last
rows are libsrt to libsrt through the same relay.

";

fn render(all: &[Row]) -> String {
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
            let of = |row: &&Row| {
                let Cell { caller: a, called: b, role: c, key: d, .. } = row.cell;
                (a, b, c, d) == (caller, called, role, key)
            };
            let cells: Vec<_> = all.iter().filter(of).collect();
            if cells.is_empty() {
                continue;
            }
            write!(text, "| {} | {role:?} | {key:?} |", title(caller, called)).unwrap();
            for cell in cells {
                write!(text, " {cell} |").unwrap();
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
        let told = all.iter().filter(|row| row.cell.caller == peer);
        if let Some(version) = told.filter_map(|row| row.shown.version).next() {
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
    let gaps = |gaps| Outcome::Gaps { gaps, tail: 0 };
    let whole = |cell| Row { cell, shown: shown(Outcome::Whole), tries: 1, theirs: None };
    let cells = crate::cell::references().chain(crate::cell::all()).filter(is_there);
    let mut all: Vec<_> = cells.map(whole).collect();
    let others = [(gaps(100), Outcome::Whole), (gaps(100), gaps(80)), (gaps(100), gaps(99))];
    for (row, (ours, theirs)) in all.iter_mut().zip(others) {
        *row = Row { shown: shown(ours), tries: TRIES, theirs: Some(theirs), ..whole(row.cell) };
    }
    all.last_mut().unwrap().tries = 2;
    let text = render(&all);
    // Three are not whole, and beside one of them libsrt is; one was tried twice.
    assert_eq!(text.matches(" = |").count() + 3, all.len(), "{text}");
    for (cell, times) in [
        (" **-100** libsrt = |", 1),
        (" **-100** libsrt -80 |", 1),
        (" -100 libsrt -99 |", 1),
        (" = of 2 |", 1),
    ] {
        assert_eq!(text.matches(cell).count(), times, "{cell}");
    }
}
