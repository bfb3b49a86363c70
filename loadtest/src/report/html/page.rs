//! The page: one file, which needs nothing from anywhere.
//!
//! Spec: HTML, written so that it is XML, too.

use std::fmt::Write;

use serde_json::Value;

use super::markup::escape;
use super::unit::Unit;
use super::{plots, tables};
use crate::report::{Report, Section};
use crate::scenario::Knee;

const STYLE: &str = include_str!("page.css");

/// The report as a page.
#[must_use]
pub fn page(report: &Report) -> String {
    let json = serde_json::to_value(report).unwrap_or(Value::Null);
    let mut text = head(report);
    let sections = &report.measurements;
    if let [first, second, ..] = sections.as_slice() {
        let _ = writeln!(text, "<h2>Comparison</h2>\n{}", tables::comparison(sections));
        debug_assert!(first.window_to_s <= second.window_to_s);
        let _ = writeln!(text, "<div class=\"plots\">\n{}</div>", plots::of_all(sections));
    }
    for (at, section) in sections.iter().enumerate() {
        let told = &json["measurements"][at];
        let name = tables::name(at, section, sections.len());
        text.push_str(&section_text(report, section, told, &name));
    }
    text.push_str(&rest(&json));
    let _ = write!(
        text,
        "<footer>Latency is from the moment when a frame is given to the publisher's socket until \
         a sampled player has its last byte. Shaded: the window in which all that came counts. The \
         results as JSON are in this page's source.</footer>\n</main>\n\
         <script type=\"application/json\" id=\"results\">{}</script>\n</body>\n</html>\n",
        embedded(&json)
    );
    text
}

fn head(report: &Report) -> String {
    let title = match &report.server {
        Some(server) => escape(&format!("Load on {server}")),
        None => "Load".to_owned(),
    };
    let machine = &report.machine;
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n\
         <meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"soft\">{} on {}, {}</p>\n\
         <p class=\"soft\">{}, {} of {} CPUs, {} of memory, Linux {}</p>\n\
         <pre>{}</pre>\n",
        escape(&report.generator),
        escape(&report.started_at),
        Unit::Seconds.write(report.duration_s.round()),
        escape(&machine.cpu),
        machine.cpus,
        machine.cpus_online,
        Unit::Bytes.write(machine.memory_bytes as f64),
        escape(&machine.kernel),
        escape(&report.command),
    );
    if report.interrupted {
        text.push_str(
            "<p class=\"warning\">Interrupted: this is what was measured until then.</p>\n",
        );
    }
    if let Some(fault) = &report.fault {
        let _ = writeln!(text, "<p class=\"warning\">Not seen to the end: {}</p>", escape(fault));
    }
    text.extend(report.knee.as_ref().and_then(unjudged));
    for breach in &report.breaches {
        let _ = writeln!(text, "<p class=\"warning\">Failed: {}</p>", escape(breach));
    }
    text
}

/// Of what number of players nothing is known, because the generator was late itself.
fn unjudged(of: &Knee) -> Option<String> {
    let (players, late) = (of.unknown_at?, escape(of.unknown_by.as_deref()?));
    Some(format!(
        "<p class=\"warning\">{players} players are unknown, not the server's limit: {late}</p>\n"
    ))
}

fn section_text(report: &Report, section: &Section, told: &Value, name: &str) -> String {
    let of = &section.measurement;
    let mut text = format!("<h2>{name}</h2>\n{}", tiles(section));
    if let Some(reason) = &of.first_loss {
        let _ = writeln!(
            text,
            "<p class=\"warning\">The first player was lost because: {}</p>",
            escape(reason)
        );
    }
    let _ = writeln!(text, "<div class=\"plots\">\n{}</div>", plots::of_section(report, section));
    // Beside others its numbers stand in the comparison.
    let numbers = match report.measurements.len() {
        1 => tables::comparison(std::slice::from_ref(section)),
        _ => String::new(),
    };
    for (title, table) in [
        ("Numbers", numbers),
        ("Players lost, by reason", tables::losses(section)),
        ("Players who play alike", tables::parts(section)),
        ("Shards", tables::shards(section)),
        ("Threads of the server", tables::threads(section)),
    ] {
        if !table.is_empty() {
            let _ = writeln!(text, "<h3>{title}</h3>\n{table}");
        }
    }
    let _ = writeln!(
        text,
        "<details><summary>All its numbers</summary>\n{}</details>",
        tables::everything(told)
    );
    text
}

/// What is to be seen first.
fn tiles(section: &Section) -> String {
    let of = &section.measurement;
    let mut text = String::from("<div class=\"tiles\">\n");
    let mut tile = |value: String, name: &str, is_bad: bool| {
        let class = if is_bad { "tile bad" } else { "tile" };
        let (value, name) = (escape(&value), escape(name));
        let _ = writeln!(text, "<div class=\"{class}\"><b>{value}</b><span>{name}</span></div>");
    };
    let count = |number: f64| Unit::Count.write(number);
    let wanted = format!("players held of {}", count(of.players as f64));
    tile(count(of.held as f64), &wanted, of.held < of.players);
    if let Some(latency) = of.latency {
        tile(Unit::Ms.write(latency.p99_ms), "p99 latency", false);
    }
    tile(count(of.lost as f64), "lost frames", of.lost > 0);
    tile(count(of.stalls as f64), "stalls", of.stalls > 0);
    let rate = of.received_bytes as f64 * 8.0 / of.window_s.max(1e-9);
    tile(Unit::BitsPerSecond.write(rate), "received", false);
    if let Some(server) = &of.server {
        tile(format!("{:.3}", server.cpu_s_per_gb), "CPU seconds per GB", false);
        tile(Unit::Bytes.write(server.rss_bytes as f64), "resident memory", false);
    }
    text + "</div>\n"
}

/// What belongs to the run and to no measurement.
fn rest(json: &Value) -> String {
    let Value::Object(fields) = json else { return String::new() };
    let mut of_run = fields.clone();
    of_run.remove("measurements");
    let series = of_run.remove("series").unwrap_or(Value::Null);
    format!(
        "<h2>The run</h2>\n{}{}{}",
        tables::everything(&Value::Object(of_run)),
        seconds("Players, second by second", &series["players"]),
        seconds("The server, second by second", &series["server"]),
    )
}

fn seconds(title: &str, samples: &Value) -> String {
    let table = tables::samples(samples);
    if table.is_empty() {
        return String::new();
    }
    format!("<details><summary>{title}</summary>\n{table}</details>\n")
}

/// JSON inside a page: no sign in it is markup.
fn embedded(json: &Value) -> String {
    let text = json.to_string();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_could_not_be_judged() {
        let late = Some("late by <p99>".to_owned());
        let knee = Knee { unknown_at: Some(48), unknown_by: late, ..Knee::default() };
        let told = unjudged(&knee).unwrap();
        let end = "48 players are unknown, not the server's limit: late by &lt;p99&gt;</p>\n";
        assert!(told.ends_with(end), "{told}");
        assert_eq!(unjudged(&Knee { broke_at: Some(48), ..Knee::default() }), None);
    }
}
