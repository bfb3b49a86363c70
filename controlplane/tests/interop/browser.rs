//! A picture in a real browser: the server's own page, and mpegts.js.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clip::Clip;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

const SECONDS: u32 = 6;
const FRAMES_PER_SECOND: f64 = 30.0;

/// Where the browser is.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    files.find(|file| file.exists()).expect("chromium is there: run .ci/setup")
}

/// Runs `watch.mjs` and gives its report.
fn watch(server: &Server, stream: &str, player: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/watch.mjs");
    let job = json!({
        "base": format!("http://{}", server.http),
        "stream": stream,
        "player": player,
        "seconds": SECONDS,
        "chromium": chromium(),
    });
    let mut command = Command::new("node");
    command.arg(script).arg(job.to_string());
    let mut process = Process::start(&mut command);
    process.finish(Duration::from_secs(120));
    let output = process.output();
    let report = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(report.expect("a report is printed")).expect("the report is JSON")
}

/// Time went on without a stall, and at least 95 % of the pictures were shown.
fn assert_smooth(report: &Value) {
    assert!(report["failed"].is_null(), "{report:#}");
    let number = |when: &str, what: &str| report[when][what].as_f64().expect("a number");
    let played = number("after", "time") - number("before", "time");
    let passed = number("after", "clock") - number("before", "clock");
    assert!(played >= 0.9 * passed, "{played} s were played in {passed} s: {report:#}");
    let shown = number("after", "total") - number("before", "total");
    let dropped = number("after", "dropped") - number("before", "dropped");
    let expected = played * FRAMES_PER_SECOND;
    assert!(shown - dropped >= 0.95 * expected, "{shown} of {expected} pictures: {report:#}");
    assert_eq!(report["after"]["seen"]["waiting"], 0, "{report:#}");
    assert_eq!(report["picturesDiffer"], true, "{report:#}");
    assert!(number("after", "audioBytes") > number("before", "audioBytes"), "{report:#}");
    assert!(report["errors"].as_array().is_some_and(Vec::is_empty), "{report:#}");
}

fn with_demo() -> Server {
    let mut options = Options::on(Backend::Auto);
    options.demo = true;
    Server::start(&options)
}

#[test]
fn the_demo_plays_on_the_page() {
    let server = with_demo();
    let report = watch(&server, "demo", "page");
    assert_smooth(&report);
    assert_eq!(report["after"]["stats"]["state"], "live", "{report:#}");
    assert_eq!(report["after"]["width"], 640);
    assert_eq!(report["console"], json!([]), "{report:#}");
    server.stop();
}

#[test]
fn the_demo_is_on_the_list() {
    let server = with_demo();
    let report = watch(&server, "demo", "index");
    assert_eq!(report["links"], json!(["/demo"]), "{report:#}");
    server.stop();
}

#[test]
fn the_demo_plays_in_mpegts_js() {
    let server = with_demo();
    assert_smooth(&watch(&server, "demo", "mpegts"));
    server.stop();
}

#[test]
fn an_encoder_plays_on_the_page() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    assert_smooth(&watch(&server, "studio", "page"));
    publisher.interrupt();
    server.stop();
}
