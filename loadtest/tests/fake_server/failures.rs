//! What is left of a run when the server, or a part of it, goes away.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;

use loadtest::run::{News, Stage};
use loadtest::scenario;

use crate::results::{Folder, program};
use crate::run;
use crate::server::{Manner, Ports, start};

const STREAM: &str = "--gop 200ms --bitrate 400k --size 320x180";

/// A process that stands for a server's, and can be killed.
struct Process(Child);

impl Process {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_publisher_that_is_closed_is_counted_and_the_others_go_on() {
    let Ports { rtmp, .. } = start(Manner::Closing(90));
    let outcome = run(&format!(
        "fanout --url rtmp://127.0.0.1:{rtmp}/live/fake --streams 2 --players 4 --sampled 0 \
         --window 2500ms {STREAM}"
    ));
    let outcome = outcome.unwrap();
    let published = outcome.published.unwrap();
    assert_eq!((published.streams, published.lost), (2, 1), "{published:?}");
    assert!(published.first_loss.unwrap().ends_with("the server closed the connection"));
    let [breach] = outcome.breaches.as_slice() else { panic!("{:?}", outcome.breaches) };
    assert!(breach.starts_with("1 of 2 publishers were lost; the first: stream "), "{breach}");
    assert_eq!(outcome.fault, None);
    let of = &outcome.measurements[0];
    assert!(of.held == 4 && of.window_s >= 2.5 && of.received_bytes > 0, "{of:?}");
}

#[test]
fn what_was_measured_stays_when_nothing_is_published_any_more() {
    let Ports { rtmp, .. } = start(Manner::Closing(90));
    let folder = Folder::new("silence");
    let line = format!(
        "fanout --url rtmp://127.0.0.1:{rtmp}/live/fake --players 3 --sampled 1 --window 10m \
         --quiet {STREAM}"
    );
    let output = program(&line, &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let wanted = "nothing is published any more, all 1 streams are lost: stream 0: the server";
    assert!(told.contains(wanted) && told.lines().count() == 1, "{told}");
    let json = folder.json();
    assert!(json["fault"].as_str().unwrap().contains(wanted), "{json}");
    assert_eq!(json["published"]["lost"], 1);
    let of = &json["measurements"][0];
    assert!(of["held"] == 3 && of["frames"].as_u64().unwrap() > 0, "{of}");
    let page = std::fs::read_to_string(folder.file("out.html")).unwrap();
    assert!(page.contains("Not seen to the end: nothing is published any more"));
}

#[test]
fn a_soak_whose_server_dies_tells_what_was_seen_until_then() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let mut process = Process::start();
    let line = format!(
        "soak --url rtmp://127.0.0.1:{rtmp}/live/fake --players 4 --warm-up 1ms --interval 100ms \
         --server-pid {} {STREAM}",
        process.0.id()
    );
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).unwrap();
    let mut watched = 0;
    let outcome = scenario::perform(&scenario, &AtomicBool::new(false), &mut |news| {
        if let News::Progress(progress) = news {
            watched += u32::from(progress.stage == Stage::Watching);
            if watched == 3 {
                process.kill();
            }
        }
    });
    let outcome = outcome.unwrap();
    let fault = outcome.fault.unwrap();
    assert!(fault.starts_with("the server is gone; did it crash?: "), "{fault}");
    let soak = outcome.soak.unwrap();
    assert!(soak.samples.len() >= 10 && soak.rss.is_some(), "{soak:?}");
    assert_eq!(outcome.measurements[0].held, 4);
    assert!(outcome.published.is_some_and(|published| published.frames > 30));
}

#[test]
fn a_soak_of_nothing_ends_at_once() {
    let Ports { rtmp, .. } = start(Manner::Refusing);
    let pid = std::process::id();
    let url = format!("rtmp://127.0.0.1:{rtmp}/live/fake");
    let told = run(&format!("soak --url {url} --players 2 --server-pid {pid} {STREAM}"));
    let told = format!("{:#}", told.unwrap_err());
    assert!(told.contains("no player got a frame: ") && told.contains("StreamNotFound"), "{told}");
}

#[test]
fn too_few_samples_of_memory_are_told() {
    let Ports { rtmp, .. } = start(Manner::Honest);
    let outcome = run(&format!(
        "soak --url rtmp://127.0.0.1:{rtmp}/live/fake --players 2 --duration 1s --warm-up 1ms \
         --interval 10s --server-pid {} {STREAM}",
        std::process::id()
    ));
    let outcome = outcome.unwrap();
    let [breach] = outcome.breaches.as_slice() else { panic!("{:?}", outcome.breaches) };
    assert!(breach.starts_with("memory was seen too seldom for a slope"), "{breach}");
    assert_eq!(outcome.soak.unwrap().rss, None);
}

#[test]
fn a_run_that_fails_at_once_leaves_its_results_too() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = Folder::new("nobody");
    let line = format!("fanout --url rtmp://127.0.0.1:{port}/live/fake?key=sesame --quiet");
    let output = program(&line, &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let json = folder.json();
    assert!(json["fault"].as_str().unwrap().contains("Connection refused"), "{json}");
    assert!(json["measurements"].as_array().unwrap().is_empty(), "{json}");
    assert!(!json.to_string().contains("sesame"), "{json}");
}
