//! One browser that watches one stream, and what is expected of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Process;
use crate::server::{Backend, Options, Server};

const FRAMES_PER_SECOND: f64 = 30.0;
/// A browser starts, watches and ends within this.
const END: Duration = Duration::from_secs(200);

/// A browser at work.
pub(crate) struct Watch {
    process: Process,
}

/// Where the browser is.
fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    files.find(|file| file.exists()).expect("chromium is there: run .ci/setup")
}

impl Watch {
    /// Opens `player` on `stream`; `more` are further words of the job, as `watch.mjs` tells them.
    pub(crate) fn start(
        server: &Server,
        stream: &str,
        player: &str,
        seconds: u32,
        more: Value,
    ) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/watch.mjs");
        let mut job = json!({
            "base": format!("http://{}", server.http),
            "stream": stream,
            "player": player,
            "seconds": seconds,
            "chromium": chromium(),
        });
        if let (Value::Object(job), Value::Object(more)) = (&mut job, more) {
            job.extend(more);
        }
        let mut command = Command::new("node");
        command.arg(script).arg(job.to_string());
        Self { process: Process::start(&mut command) }
    }

    /// Waits until the picture moves and the start-up is over.
    pub(crate) fn wait_until_it_plays(&mut self) {
        let line = self.process.line(END).expect("the browser says that it plays");
        assert!(line.contains("playing"), "{line}");
    }

    /// Its report.
    pub(crate) fn report(mut self) -> Value {
        self.process.finish(END);
        let output = self.process.output();
        let report = output.lines().find(|line| line.contains(r#""event":"report""#));
        serde_json::from_str(report.expect("a report is printed")).expect("the report is JSON")
    }
}

/// A server whose built-in stream plays.
pub(crate) fn with_demo() -> Server {
    let mut options = Options::on(Backend::Auto);
    options.demo = true;
    Server::start(&options)
}

/// Works through the console of `server`, on which `stream` is live.
pub(crate) fn console(server: &Server, stream: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/console.mjs");
    let job = json!({
        "base": format!("http://{}", server.control),
        "token": server.token(),
        "stream": stream,
        "chromium": chromium(),
        "shots": std::env::var("CONSOLE_SHOTS").ok(),
    });
    let mut command = Command::new("node");
    command.arg(script).arg(job.to_string());
    Watch { process: Process::start(&mut command) }.report()
}

/// Runs one browser to its end.
pub(crate) fn watch(server: &Server, stream: &str, player: &str, seconds: u32) -> Value {
    Watch::start(server, stream, player, seconds, json!({})).report()
}

/// The picture went on with its sound, and no player reported an error.
pub(crate) fn assert_plays(report: &Value) {
    assert!(report["failed"].is_null(), "{report:#}");
    assert_eq!(report["picturesDiffer"], true, "{report:#}");
    assert!(grown(report, "audioBytes") > 0.0, "{report:#}");
    assert!(grown(report, "total") > 0.0, "{report:#}");
    assert!(report["errors"].as_array().is_some_and(Vec::is_empty), "{report:#}");
}

/// Beyond that: it never ran dry, and at least 95 % of the pictures came.
///
/// How many of them a browser without a graphics card shows, and how fast its clock runs, is up to
/// the machine that it shares.
pub(crate) fn assert_smooth(report: &Value) {
    assert_plays(report);
    let came = grown(report, "total");
    let expected = grown(report, "time") * FRAMES_PER_SECOND;
    assert!(came >= 0.95 * expected, "{came} of {expected} pictures: {report:#}");
    assert_eq!(report["after"]["seen"]["waiting"], 0, "{report:#}");
}

fn grown(report: &Value, what: &str) -> f64 {
    let number = |when: &str| report[when][what].as_f64().expect("a number");
    number("after") - number("before")
}
