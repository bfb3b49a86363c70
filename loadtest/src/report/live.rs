//! What is seen while a run lasts: on a terminal one block of lines that is written again and
//! again, elsewhere a line every [`PLAIN_S`] seconds.
//!
//! Shape: the block is the last thing on the screen; whoever wants to write something else takes it
//! away first ([`Live::clear`]), and the next progress draws it anew below.

use std::io::Write;

use super::html::{Unit, number};
use crate::observe::{PlayerSample, ServerSample};

/// Seconds between two lines where there is no terminal.
pub const PLAIN_S: f64 = 5.0;

/// Columns where nobody tells how many there are.
const COLUMNS: usize = 80;

/// Threads and shards that are named in the block.
const NAMED_MAX: usize = 8;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Not at all.
    Quiet,
    /// A line now and then.
    Plain,
    /// A block of lines on a terminal of so many columns.
    Block {
        /// Columns of the terminal.
        columns: usize,
    },
}

impl Manner {
    /// The one for the standard error: a block if it is a terminal, whose columns are told.
    #[must_use]
    pub fn of(is_quiet: bool, columns: Option<usize>, is_terminal: bool) -> Self {
        match is_terminal {
            _ if is_quiet => Self::Quiet,
            true => Self::Block { columns: columns.unwrap_or(COLUMNS) },
            false => Self::Plain,
        }
    }
}

/// What there is to show.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What the players do: `joining`, `watching`.
    pub stage: &'a str,
    /// Players wanted.
    pub wanted: usize,
    /// What players did in the last second.
    pub players: &'a PlayerSample,
    /// Bytes received since the run began.
    pub received_bytes: u64,
    /// What the server spent, if it is watched.
    pub server: Option<&'a ServerSample>,
}

/// Shows progress.
#[derive(Debug)]
pub struct Live<W: Write> {
    out: W,
    manner: Manner,
    /// Lines of the block that is on the screen.
    lines: usize,
    next_plain_s: f64,
}

impl<W: Write> Live<W> {
    /// Shows it there.
    pub const fn new(out: W, manner: Manner) -> Self {
        Self { out, manner, lines: 0, next_plain_s: 0.0 }
    }

    /// Shows how far the run has come. A terminal that is gone ends no run.
    pub fn show(&mut self, moment: &Moment<'_>) {
        match self.manner {
            Manner::Quiet => {}
            Manner::Plain => {
                let at_s = moment.players.at_s;
                // The samples come once a second, so a hundredth early is in time.
                if at_s + 0.01 >= self.next_plain_s {
                    self.next_plain_s = at_s + PLAIN_S;
                    let _ = writeln!(self.out, "{}", line(moment));
                }
            }
            Manner::Block { columns } => {
                let mut text = self.erasure();
                let lines = block(moment);
                self.lines = lines.len();
                for line in lines {
                    let shown = line.chars().filter(|sign| !sign.is_control());
                    // The last column stays free, or some terminals begin a new line.
                    text.extend(shown.take(columns.saturating_sub(1)));
                    text.push('\n');
                }
                let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            }
        }
    }

    /// Takes the block from the screen.
    pub fn clear(&mut self) {
        let text = self.erasure();
        self.lines = 0;
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// To the first column (`^C` may stand there), up to the first line, and erase what is below.
    fn erasure(&self) -> String {
        match self.lines {
            0 => String::new(),
            lines => format!("\r\x1b[{lines}A\x1b[J"),
        }
    }
}

/// Where it is written goes back to whoever gave it.
impl<W: Write> Live<W> {
    /// Ends it: nothing stays on the screen.
    pub fn finish(mut self) -> W {
        self.clear();
        self.out
    }
}

fn line(moment: &Moment<'_>) -> String {
    let Moment { players, server, .. } = moment;
    let mut text = format!(
        "{:>5.0} s  {} of {} held, {} connecting, {}, latency p99 {}, {} stalls, {} lost frames",
        players.at_s,
        players.held,
        moment.wanted,
        players.connecting,
        rate(players),
        players.latency.map_or("none".to_owned(), |of| Unit::Ms.write(of.p99_ms)),
        players.stalls,
        players.lost,
    );
    let gone = players.refused + players.failed + players.closed;
    if gone > 0 {
        text.push_str(&format!(", {gone} players lost"));
    }
    if let Some(process) = server.and_then(|server| server.process.as_ref()) {
        let (cpu, rss) =
            (Unit::Share.write(process.cpu), Unit::Bytes.write(process.rss_bytes as f64));
        text.push_str(&format!(", server {cpu} CPU, {rss}"));
    }
    text
}

fn block(moment: &Moment<'_>) -> Vec<String> {
    let Moment { stage, wanted, players, received_bytes, server } = moment;
    let clock = {
        let seconds = players.at_s.max(0.0) as u64;
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    };
    let mut lines = vec![
        format!("{stage:<10} {clock}"),
        format!(
            "players    {} of {wanted} held, {} connecting, {} refused, {} failed, {} closed",
            players.held, players.connecting, players.refused, players.failed, players.closed
        ),
        format!(
            "received   {}, {} in all, {} stalls, {} lost frames",
            rate(players),
            Unit::Bytes.write(*received_bytes as f64),
            players.stalls,
            players.lost
        ),
        match players.latency {
            Some(of) => format!(
                "latency    p50 {}  p90 {}  p99 {}  max {}",
                Unit::Ms.write(of.p50_ms),
                Unit::Ms.write(of.p90_ms),
                Unit::Ms.write(of.p99_ms),
                Unit::Ms.write(of.max_ms)
            ),
            None => "latency    no frame of a sampled player in the last second".to_owned(),
        },
    ];
    let Some(server) = server else { return lines };
    if let Some(process) = &server.process {
        let mut text = format!(
            "server     {}, {} resident, {} context switches a second",
            Unit::Core.write(process.cpu),
            Unit::Bytes.write(process.rss_bytes as f64),
            number((process.voluntary_switches_per_s + process.involuntary_switches_per_s).round())
        );
        if let Some(sockets) = server.sockets {
            text.push_str(&format!(", TCP {}", Unit::Bytes.write(sockets.tcp_bytes as f64)));
        }
        lines.push(text);
        let mut threads: Vec<_> = process.threads.iter().collect();
        threads.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
        let busiest = threads.into_iter().filter(|thread| thread.cpu >= 0.001).take(NAMED_MAX);
        let named = busiest.map(|of| format!("{} {}", of.name, Unit::Share.write(of.cpu)));
        lines.push(format!("threads    {}", named.collect::<Vec<_>>().join(", ")));
    }
    for shard in server.shards.iter().take(NAMED_MAX) {
        let share = |of: Option<f64>| of.map_or("-".to_owned(), |of| Unit::Share.write(of));
        let ms = |of: Option<f64>| of.map_or("-".to_owned(), |of| Unit::Ms.write(of));
        lines.push(format!(
            "shard {:<4} {} players, busy {}, flush {}, loop lag p99 {}",
            shard.reading.shard,
            shard.reading.players,
            share(shard.reading.utilisation),
            ms(shard.reading.flush_interval_ms),
            ms(shard.lag_p99_ms)
        ));
    }
    lines
}

fn rate(players: &PlayerSample) -> String {
    let seconds = players.interval_s.max(1e-9);
    Unit::BitsPerSecond.write(players.received_bytes as f64 * 8.0 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ProcessSample, ShardReading, ShardSample, ThreadSample};
    use crate::stats::Percentiles;

    fn players(at_s: f64) -> PlayerSample {
        let latency = Percentiles {
            count: 30,
            p50_ms: 2.4,
            p90_ms: 5.0,
            p99_ms: 8.1,
            p999_ms: 9.0,
            max_ms: 12.0,
        };
        PlayerSample {
            at_s,
            interval_s: 1.0,
            held: 812,
            connecting: 188,
            received_bytes: 202_500_000,
            latency: Some(latency),
            ..PlayerSample::default()
        }
    }

    fn server() -> ServerSample {
        let thread = |name: &str, cpu| ThreadSample { tid: 1, name: name.to_owned(), cpu };
        let threads = vec![thread("idle", 0.0), thread("shard\x1b[0", 0.71)];
        let rss_bytes = 23_100_000;
        let process = ProcessSample { cpu: 0.74, rss_bytes, threads, ..ProcessSample::default() };
        let reading =
            ShardReading { players: 812, utilisation: Some(0.7), ..ShardReading::default() };
        let shard = ShardSample { reading, ..ShardSample::default() };
        ServerSample { process: Some(process), shards: vec![shard], ..ServerSample::default() }
    }

    fn shown(manner: Manner, seconds: &[f64]) -> String {
        let mut live = Live::new(Vec::new(), manner);
        let server = server();
        for &at_s in seconds {
            let players = players(at_s);
            live.show(&Moment {
                stage: "joining",
                wanted: 1000,
                players: &players,
                received_bytes: 2_400_000_000,
                server: Some(&server),
            });
        }
        String::from_utf8(live.finish()).unwrap()
    }

    /// What a terminal has on its screen, if it knows the three sequences that are used.
    fn screen(text: &str) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut rest = text;
        while let Some(sign) = rest.chars().next() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|sign: char| sign.is_ascii_alphabetic()).unwrap();
                match (&sequence[end..=end], sequence[..end].parse::<usize>()) {
                    ("A", Ok(up)) => {
                        let at = lines.len() - 1;
                        lines.truncate(at.checked_sub(up).unwrap() + 1);
                    }
                    ("J", _) => lines.last_mut().unwrap().clear(),
                    other => panic!("{other:?}"),
                }
                rest = &sequence[end + 1..];
                continue;
            }
            match sign {
                '\n' => lines.push(String::new()),
                '\r' => {}
                sign => lines.last_mut().unwrap().push(sign),
            }
            rest = &rest[sign.len_utf8()..];
        }
        lines
    }

    #[test]
    fn a_terminal_shows_one_block_that_goes_away() {
        let text = shown(Manner::Block { columns: 80 }, &[1.0, 2.0, 3_723.0]);
        assert_eq!(screen(&text), [""], "nothing stays");
        let last = text.rfind("\r\x1b[").unwrap();
        let block = screen(&text[..last]);
        assert_eq!(block[0], "joining    1:02:03");
        assert_eq!(
            block[1],
            "players    812 of 1000 held, 188 connecting, 0 refused, 0 failed, 0 closed"
        );
        assert_eq!(block[2], "received   1.62 Gb/s, 2.4 GB in all, 0 stalls, 0 lost frames");
        assert_eq!(block[3], "latency    p50 2.4 ms  p90 5 ms  p99 8.1 ms  max 12 ms");
        assert!(block[4].starts_with("server     74 % of a core, 23.1 MB resident"), "{block:?}");
        assert_eq!(block[5], "threads    shard[0 71 %", "no sequence of another's reaches it");
        assert!(block[6].starts_with("shard 0    812 players, busy 70 %"), "{block:?}");
        assert_eq!(block.len(), 8, "{block:?}");
    }

    #[test]
    fn a_narrow_terminal_gets_no_line_that_it_would_break() {
        let text = shown(Manner::Block { columns: 20 }, &[1.0]);
        let block = text.split('\r').next().unwrap();
        assert!(block.lines().all(|line| line.chars().count() < 20), "{block}");
    }

    #[test]
    fn elsewhere_a_line_comes_now_and_then() {
        let seconds: Vec<f64> = (1..=11).map(f64::from).collect();
        let text = shown(Manner::Plain, &seconds);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(
            lines[1],
            "    6 s  812 of 1000 held, 188 connecting, 1.62 Gb/s, latency p99 8.1 ms, 0 stalls, \
             0 lost frames, server 74 % CPU, 23.1 MB"
        );
        assert!(!text.contains('\x1b'));
        assert_eq!(shown(Manner::Quiet, &seconds), "");
    }

    #[test]
    fn the_manner_is_that_of_the_standard_error() {
        assert_eq!(Manner::of(true, Some(80), true), Manner::Quiet);
        assert_eq!(Manner::of(false, None, false), Manner::Plain);
        assert_eq!(Manner::of(false, Some(132), true), Manner::Block { columns: 132 });
        assert_eq!(Manner::of(false, None, true), Manner::Block { columns: COLUMNS });
    }
}
