//! What the program leaves behind: a page, JSON, and lines, also when it is interrupted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use roxmltree::{Document, ParsingOptions};
use serde_json::Value;

use crate::server::{Manner, Ports, start};

/// A folder that goes with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("grandstand-results-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file("out.json")).unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn program(line: &str, folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand-load"));
    command.args(line.split_whitespace());
    command.arg("--json").arg(folder.file("out.json"));
    command.arg("--html").arg(folder.file("out.html"));
    command.stdin(Stdio::null());
    command
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// Every number of a JSON text, as it is written there.
fn numbers(json: &str) -> BTreeSet<String> {
    let (mut found, mut number) = (BTreeSet::new(), String::new());
    let mut signs = json.chars();
    while let Some(sign) = signs.next() {
        if sign == '"' {
            // A string ends at the next quote that no backslash precedes.
            while let Some(inside) = signs.next() {
                match inside {
                    '\\' => drop(signs.next()),
                    '"' => break,
                    _ => {}
                }
            }
        }
        let is_part = sign.is_ascii_digit() || (!number.is_empty() && "+-.eE".contains(sign));
        match is_part || sign == '-' {
            true => number.push(sign),
            false if number.is_empty() => {}
            false => drop(found.insert(std::mem::take(&mut number))),
        }
    }
    found
}

#[test]
fn the_page_is_sound_and_shows_every_number_of_the_json() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let folder = Folder::new("page");
    let line = format!(
        "fanout --url rtmp://127.0.0.1:{rtmp}/live/fake?key=sesame --players 2,4 --sampled 2 \
         --window 2500ms --gop 200ms --bitrate 400k --server-pid {} --server-name <fake&server>",
        std::process::id()
    );
    let output = program(&line, &folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let json = folder.json();
    assert_eq!(json["interrupted"], false);
    assert_eq!(json["server"], "<fake&server>");
    let sections = json["measurements"].as_array().unwrap();
    // Of the two who come later every other one is sampled, as two are of four.
    let sampled: Vec<_> = sections.iter().map(|of| of["sampled"].as_u64().unwrap()).collect();
    assert_eq!(sampled, [2, 3]);
    for section in sections {
        let window_s = section["window_s"].as_f64().unwrap();
        let told_s =
            section["window_to_s"].as_f64().unwrap() - section["window_from_s"].as_f64().unwrap();
        assert!((window_s - told_s).abs() < 1e-6, "{section}");
        let bins = section["latency_bins"].as_array().unwrap();
        let counted: u64 = bins.iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
        assert_eq!(Some(counted), section["latency"]["count"].as_u64());
        assert!(!section["server"]["threads"].as_array().unwrap().is_empty());
        assert!(section["observed"]["tcp_bytes_max"].as_u64().is_some(), "{section}");
    }
    let players = json["series"]["players"].as_array().unwrap();
    let server = json["series"]["server"].as_array().unwrap();
    assert!(players.len() >= 5 && server.len() >= 5, "{} {}", players.len(), server.len());
    assert!(players.iter().any(|sample| sample["held"] == 4), "{players:?}");
    let received = |of: &Value| of["received_bytes"].as_u64().unwrap();
    assert!(players.iter().map(received).sum::<u64>() > 0);

    let page = std::fs::read_to_string(folder.file("out.html")).unwrap();
    assert!(!page.contains("sesame"), "a key in the page");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).unwrap();
    let cells: BTreeSet<String> = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", "td")))
        .map(|cell| cell.text().unwrap_or_default().to_owned())
        .collect();
    let wanted = numbers(&std::fs::read_to_string(folder.file("out.json")).unwrap());
    let missing: Vec<_> = wanted.iter().filter(|number| !cells.contains(*number)).collect();
    assert!(wanted.len() > 200 && missing.is_empty(), "{missing:?}");
    let embedded = document
        .descendants()
        .find(|node| node.attribute("id") == Some("results"))
        .and_then(|script| script.text());
    assert_eq!(serde_json::from_str::<Value>(embedded.unwrap()).unwrap(), json);
    for attribute in document.descendants().flat_map(|node| node.attributes()) {
        assert!(!["src", "href"].contains(&attribute.name()), "needs {}", attribute.value());
    }
    let titles: Vec<_> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "figcaption")
        .filter_map(|caption| caption.text())
        .map(str::trim)
        .collect();
    for title in [
        "Latency by players",
        "Latency from encoder to player",
        "Latency over time",
        "Players over time",
        "Received by all players",
        "Server CPU by thread",
        "Server memory over time",
    ] {
        assert!(titles.contains(&title), "{title}: {titles:?}");
    }
}

#[test]
fn an_interrupt_ends_a_run_with_what_was_measured() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let folder = Folder::new("interrupt");
    let line = format!(
        "fanout --url rtmp://127.0.0.1:{rtmp}/live/fake --players 3,6 --window 10m --gop 200ms \
         --bitrate 400k --sampled 2"
    );
    let mut command = program(&line, &folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut progress =
        || told.find(|line| line.as_ref().is_ok_and(|line| line.contains("3 of 3 held")));
    // The second line comes in the window.
    assert!(progress().and(progress()).is_some(), "lines come where no terminal is");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    let Output { status, stdout, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130), "{rest:?}");
    assert!(text(&stdout).contains("3 of 3 held"), "{}", text(&stdout));
    let json = folder.json();
    assert_eq!(json["interrupted"], true);
    let sections = json["measurements"].as_array().unwrap();
    assert_eq!(sections.len(), 1, "the second step did not begin");
    assert!(sections[0]["frames"].as_u64().unwrap() > 0, "{}", sections[0]);
    assert!(sections[0]["window_s"].as_f64().unwrap() < 600.0);
    assert!(folder.file("out.html").exists());
}

#[test]
fn a_wrong_path_is_told_before_the_run() {
    for option in ["--json", "--html"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand-load"));
        command.args(["publish", "--url", "rtmp://127.0.0.1:1/live/fake"]);
        let output = command.args([option, "/nowhere/out"]).output().unwrap();
        let told = text(&output.stderr);
        assert!(told.starts_with("grandstand-load: cannot write /nowhere/out: "), "{told}");
        assert_eq!((told.lines().count(), output.status.code()), (1, Some(1)), "{told}");
    }
}

#[test]
fn what_cannot_be_watched_is_one_clear_line() {
    let Ports { rtmp, http, .. } = start(Manner::Honest);
    let folder = Folder::new("watch");
    let url = format!("--url rtmp://127.0.0.1:{rtmp}/live/fake --players 1 --quiet");
    let pid = u32::MAX;
    for (watched, wanted) in [
        (format!("--server-pid {pid}"), "there is no process".to_owned()),
        (
            format!("--server-api http://127.0.0.1:{http}"),
            format!("--server-api http://127.0.0.1:{http}/api/v1/version: "),
        ),
        ("--server-api 127.0.0.1:1".to_owned(), "--server-api is http[s]://HOST:PORT".to_owned()),
        (
            format!("--server-api http://127.0.0.1:{http} --token-file /nowhere/token"),
            "cannot read --token-file /nowhere/token".to_owned(),
        ),
    ] {
        let output = program(&format!("fanout {url} {watched}"), &folder).output().unwrap();
        let told = text(&output.stderr);
        assert!(told.starts_with(&format!("grandstand-load: {wanted}")), "{told}");
        assert_eq!((told.lines().count(), output.status.code()), (1, Some(1)), "{told}");
    }
}
