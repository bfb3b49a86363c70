//! Screen: the lines of one frame, for a terminal or a pipe.

use super::figures::{Figures, Shard, Sort, Stream};

/// Columns that every frame fits in.
pub(super) const COLUMNS_MIN: usize = 80;
/// Columns of a stream's name at least.
const NAME_COLUMNS: usize = 21;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// How a line looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// The names of columns.
    Head,
    /// Something that wants to be seen.
    Alert,
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// The server's address.
    pub(super) authority: &'a str,
    pub(super) figures: Option<&'a Figures>,
    pub(super) sort: Sort,
    /// Why the figures are not of now.
    pub(super) trouble: Option<&'a str>,
    /// Says which keys do what.
    pub(super) keys: bool,
}

impl Frame<'_> {
    /// The lines: `columns` wide at most, and `rows` of them at most.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<Line> {
        let columns = columns.max(COLUMNS_MIN);
        let mut lines = vec![line(Style::Plain, self.title(columns))];
        if let Some(trouble) = self.trouble {
            lines.push(line(Style::Alert, printable(trouble)));
        }
        if let Some(figures) = self.figures {
            lines.push(line(Style::Plain, totals(figures)));
            if !figures.missing.is_empty() {
                let ids: Vec<_> = figures.missing.iter().map(ToString::to_string).collect();
                let text = format!("no answer in time from shard {}", ids.join(", "));
                lines.push(line(Style::Alert, text));
            }
            lines.push(line(Style::Plain, String::new()));
            tables(figures, columns, rows, &mut lines);
        }
        for line in &mut lines {
            line.text = cut(&line.text, columns);
        }
        lines.truncate(rows.max(1));
        lines
    }

    fn title(&self, columns: usize) -> String {
        let keys = if self.keys { "   q quit  s sort" } else { "" };
        let right = format!("by {}{keys}", self.sort.name());
        let left = format!("grandstand top  {}", printable(self.authority));
        let gap = columns.saturating_sub(left.chars().count() + right.chars().count()).max(2);
        format!("{left}{:gap$}{right}", "")
    }
}

fn totals(figures: &Figures) -> String {
    let sum = |of: fn(&Shard) -> u64| figures.shards.iter().map(of).sum::<u64>();
    format!(
        "{} players, {} viewers, {} publishers, {} connections, {} streams, {} out",
        sum(|s| s.players),
        sum(|s| s.viewers),
        sum(|s| s.publishers),
        sum(|s| s.connections),
        figures.streams.len(),
        rate(sum(|s| s.bytes_sent_per_second).saturating_mul(8)),
    )
}

/// Shards, then streams, as many of each as there is room for.
fn tables(figures: &Figures, columns: usize, rows: usize, lines: &mut Vec<Line>) {
    let head = SHARD_COLUMNS.map(str::to_owned);
    lines.push(line(Style::Head, shard_line(head)));
    // Both tables have a head, and streams a gap before theirs: at least three rows of them show.
    let room = rows.saturating_sub(lines.len());
    let shown = figures.shards.len().min(room.saturating_sub(6).max(1));
    lines.extend(figures.shards[..shown].iter().map(|s| line(Style::Plain, shard_row(s))));
    more(figures.shards.len() - shown, "shards", lines);
    lines.push(line(Style::Plain, String::new()));
    let name = (columns - (COLUMNS_MIN - NAME_COLUMNS)).max(NAME_COLUMNS);
    let head = STREAM_COLUMNS.map(str::to_owned);
    lines.push(line(Style::Head, stream_line(name, head)));
    let room = rows.saturating_sub(lines.len());
    let all = figures.streams.len();
    let shown = if all <= room { all } else { room.saturating_sub(1) };
    lines.extend(figures.streams[..shown].iter().map(|s| line(Style::Plain, stream_row(s, name))));
    more(all - shown, "streams", lines);
}

fn more(left: usize, what: &str, lines: &mut Vec<Line>) {
    if left > 0 {
        lines.push(line(Style::Plain, format!("and {left} more {what}")));
    }
}

const SHARD_COLUMNS: [&str; 13] = [
    "SHARD", "CORE", "STATE", "UTIL", "SEND", "FLUSH", "LAG", "MAX", "LIVE", "PLAY", "VIEW", "OUT",
    "MEM",
];

fn shard_row(shard: &Shard) -> String {
    shard_line([
        shard.id.to_string(),
        shard.core.map_or_else(|| "any".to_owned(), |core| core.to_string()),
        cut(&printable(shard.state.strip_suffix("ning").unwrap_or(&shard.state)), 5),
        percent(shard.utilisation),
        percent(shard.egress_turn_share),
        millis(shard.flush_interval_ms),
        millis(shard.loop_lag_ms.p99),
        millis(shard.loop_lag_ms.max),
        shard.streams.to_string(),
        shard.players.to_string(),
        shard.viewers.to_string(),
        rate(shard.bytes_sent_per_second.saturating_mul(8)),
        percent(shard.memory()),
    ])
}

fn shard_line(columns: [String; 13]) -> String {
    let [id, core, state, util, send, flush, lag, max, streams, players, views, out, mem] = columns;
    format!(
        "{id:>5} {core:>4} {state:<5} {util:>4} {send:>4} {flush:>6} {lag:>6} {max:>6} \
         {streams:>5} {players:>5} {views:>5} {out:>9} {mem:>4}"
    )
}

const STREAM_COLUMNS: [&str; 8] =
    ["STREAM", "SHARD", "STATE", "PLAY", "VIEW", "IN", "SILENT", "CODECS"];

fn stream_row(stream: &Stream, name: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a time is shown with four digits")]
    let silent = millis(stream.silent_ms as f64);
    let columns = [
        cut(&printable(&stream.name), name),
        stream.shard.to_string(),
        cut(&printable(&stream.state), 6),
        stream.players.to_string(),
        stream.viewers.to_string(),
        rate(stream.bps()),
        silent,
        printable(&stream.codecs()),
    ];
    stream_line(name, columns)
}

fn stream_line(width: usize, columns: [String; 8]) -> String {
    let [name, shard, state, players, views, rate, silent, codecs] = columns;
    format!(
        "{name:<width$} {shard:>5} {state:<6} {players:>6} {views:>6} {rate:>9} {silent:>6}  \
         {codecs}"
    )
}

const fn line(style: Style, text: String) -> Line {
    Line { text, style }
}

/// `text` without letters that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// At most `columns` letters of `text`, the last one a sign that some are left out.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}~")
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0)
}

/// Milliseconds as four digits and a unit.
fn millis(ms: f64) -> String {
    if ms < 100.0 {
        format!("{ms:.1}ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0}ms")
    } else {
        format!("{:.0}s", ms / 1000.0)
    }
}

/// Bits per second as four digits and a unit.
fn rate(bps: u64) -> String {
    for (unit, scale) in [("Tb/s", 12), ("Gb/s", 9), ("Mb/s", 6), ("kb/s", 3)] {
        let one = 10_u64.pow(scale);
        if bps >= one {
            let tenths = bps / (one / 10);
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bps}b/s")
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::figures;
    use super::*;

    fn frame(figures: &Figures) -> Frame<'_> {
        let (authority, sort) = ("127.0.0.1:8090", Sort::Players);
        Frame { authority, figures: Some(figures), sort, trouble: None, keys: true }
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect()
    }

    #[test]
    fn a_frame_shows_shards_and_streams_in_eighty_columns() {
        let mut figures = figures();
        figures.sort(Sort::Players);
        let lines = frame(&figures).lines(80, 24);
        assert_eq!(text(&lines), EXPECTED);
        assert!(lines.iter().all(|line| line.text.chars().count() <= 80));
        let heads = lines.iter().filter(|line| line.style == Style::Head).count();
        let alerts = lines.iter().filter(|line| line.style == Style::Alert).count();
        assert_eq!((heads, alerts), (2, 1));
    }

    const EXPECTED: &str = "\
grandstand top  127.0.0.1:8090                       by players   q quit  s sort
14 players, 3 viewers, 2 publishers, 16 connections, 3 streams, 32.0Gb/s out
no answer in time from shard 2

SHARD CORE STATE UTIL SEND  FLUSH    LAG    MAX  LIVE  PLAY  VIEW       OUT  MEM
    1    1 run    25%  90% 20.0ms  2.5ms  5.0ms     2     9     3     80b/s  25%
    0    0 run    25%  90% 20.0ms  0.4ms  0.8ms     2     5     0  32.0Gb/s  25%

STREAM                SHARD STATE    PLAY   VIEW        IN SILENT  CODECS
b                         0 live        9      3    900b/s 40.0ms  h264+aac
news/one                  0 live        5      0   2.0Mb/s 20.0ms  h264+aac
quiet                     0 live        0      0      0b/s    61s  h264+aac
";

    #[test]
    fn a_frame_is_never_larger_than_its_terminal() {
        let mut figures = figures();
        let (shard, stream) = (figures.shards[0].clone(), figures.streams[0].clone());
        figures.shards.resize(64, shard);
        figures.streams.resize(2_000, stream);
        for (columns, rows) in [(80, 24), (80, 5), (200, 60), (1, 1), (80, 90)] {
            let lines = frame(&figures).lines(columns, rows);
            assert!(lines.len() <= rows, "{columns}x{rows}: {}", lines.len());
            let widest = lines.iter().map(|line| line.text.chars().count()).max().unwrap();
            assert!(widest <= columns.max(80), "{columns}x{rows}: {widest}");
        }
        let told = text(&frame(&figures).lines(80, 24));
        assert!(told.contains("more shards\n") && told.contains("more streams\n"), "{told}");
        let all = frame(&figures).lines(80, usize::MAX);
        assert_eq!(all.len(), 5 + 64 + 2 + 2_000);
    }

    #[test]
    fn nothing_that_a_server_says_reaches_the_terminal_as_a_command() {
        let mut figures = figures();
        figures.streams[0].name = "a\u{1b}[2Jb".to_owned();
        figures.shards[0].state = "\u{9b}2J".to_owned();
        let frame = Frame { trouble: Some("x\u{7}"), ..frame(&figures) };
        let text = text(&frame.lines(80, 24));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn numbers_fit_their_columns() {
        for (bps, text) in [
            (0, "0b/s"),
            (999, "999b/s"),
            (1_500, "1.5kb/s"),
            (999_999, "999.9kb/s"),
            (40_000_000_000, "40.0Gb/s"),
            (9_999_900_000_000, "9.9Tb/s"),
        ] {
            assert_eq!(rate(bps), text);
        }
        for (ms, text) in [
            (0.0, "0.0ms"),
            (99.94, "99.9ms"),
            (130.0, "130ms"),
            (9_999.0, "9999ms"),
            (61_000.0, "61s"),
        ] {
            assert_eq!(millis(ms), text);
        }
        assert_eq!((percent(0.256), percent(7.0)), ("26%".to_owned(), "100%".to_owned()));
        assert_eq!((cut("abcdef", 4), cut("abcd", 4)), ("abc~".to_owned(), "abcd".to_owned()));
    }
}
