//! Applications of other servers are told of files, each once, and where it is.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::application::{Application, Request};
use super::scenario::{empty, node};
use crate::clip::{Clip, SECONDS};
use crate::publisher::Publisher;
use crate::recordings::{RECORDS, declare, finished, path, probe};
use crate::server::{Backend, Folder, Options, Server};

/// The text that a form's field was sent as.
fn decoded(text: &str) -> String {
    text.replace("%2F", "/").replace("%3A", ":")
}

#[test]
fn nginx_rtmp_is_told_of_a_file_when_it_is_done() {
    let application = Application::start(|_| empty("200 OK"));
    let server = node("nginx-rtmp", &application, &[("GRANDSTAND_RECORDING__POLICY", "flv")]);
    declare(&server, "app/cam", "flv");
    let url = format!("rtmp://{}/app/cam?token=right", server.rtmp);
    Publisher::ffmpeg(Clip::H264, &url).finish();
    let is = |call: &'static str| move |request: &Request| request.field("call") == call;
    let done = application.wait(is("record_done"));
    let file = decoded(done.field("path"));
    let (frames, seconds) = probe(Path::new(&file));
    assert_eq!(frames, u64::from(SECONDS) * 30);
    assert!((seconds - f64::from(SECONDS)).abs() < 0.2, "{seconds}");
    assert_eq!(Path::new(&file), path(&finished(&server, 1)[0]));
    let ended = application.wait(is("publish_done"));
    for field in ["app", "name", "addr", "clientid", "flashver", "tcurl", "token"] {
        assert_eq!(done.field(field), ended.field(field), "{field}");
    }
    assert_eq!((done.field("name"), done.field("recorder")), ("cam", ""));
    let started = application.wait(is("record_started"));
    assert_eq!(started.field("path"), done.field("path"));
    let plays = |request: &Request| ["play", "play_done"].contains(&request.field("call"));
    assert!(!application.seen().iter().any(plays), "a recording is nobody's player");
    let told = application.seen().iter().filter(|request| is("record_done")(request)).count();
    assert_eq!(told, 1);
    server.stop();
}

fn srs(application: &Application, folder: Folder) -> Server {
    let config = format!(
        "{RECORDS}[[hooks]]\nid = \"files\"\ntype = \"http\"\ndialect = \"srs\"\n\
         target = \"http://{}/dvr\"\ncalls = [\"on_dvr\"]\n",
        application.addr
    );
    let options = Options { config, ..Options::on(Backend::Auto) };
    let mut command: Command = options.command(&folder);
    Server::run(&mut command, folder)
}

/// Where a call says that its file is.
fn place(told: &Value) -> std::path::PathBuf {
    Path::new(told["cwd"].as_str().expect("a folder")).join(told["file"].as_str().expect("a file"))
}

#[test]
fn srs_is_told_of_a_file_that_a_crash_cut_short_at_the_next_start() {
    let application = Application::start(|_| "200 OK\r\n\r\n0".to_owned());
    let server = srs(&application, Folder::new());
    declare(&server, "app/cam", "flv");
    let publisher =
        Publisher::ffmpeg_endless(Clip::H264, &format!("rtmp://{}/app/cam?x=1", server.rtmp));
    let active = server.api_until("/api/v1/recordings", |answer| {
        answer["recordings"][0]["bytes"].as_u64().is_some_and(|bytes| bytes > 300_000)
    });
    let file = path(&active["recordings"][0]);
    // It can be played while it is being written.
    assert!(probe(&file).0 > 30);
    let folder = server.kill();
    publisher.kill();
    let torn = std::fs::metadata(&file).expect("the file is there").len();
    // The kernel has what was written; a machine that stops loses more.
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(torn - 7).unwrap();
    let server = srs(&application, folder);
    let told = application.wait(|request| request.json()["action"] == "on_dvr").json();
    assert_eq!(place(&told).canonicalize().unwrap(), file.canonicalize().unwrap());
    assert_eq!((&told["app"], &told["stream"]), (&json!("app"), &json!("cam")));
    let files = finished(&server, 1);
    let (frames, seconds) = probe(&file);
    let shown = files[0]["duration_ms"].as_u64().expect("a number") as f64 / 1_000.0;
    assert!(frames > 30 && (seconds - shown).abs() < 0.05, "{frames} {seconds} {shown}");
    // A file that is whole is told of once.
    let server = srs(&application, server.stop_in_place());
    assert_eq!(finished(&server, 1)[0], files[0]);
    let url = format!("rtmp://{}/app/cam?x=1", server.rtmp);
    Publisher::ffmpeg(Clip::H264, &url).finish();
    let second = application.wait_for(2, |request| request.json()["action"] == "on_dvr").json();
    assert_eq!(second["param"], "?x=1");
    assert_eq!(second["ip"], "127.0.0.1");
    let files = finished(&server, 2);
    assert_eq!(place(&second).canonicalize().unwrap(), path(&files[1]).canonicalize().unwrap());
    assert_eq!(application.seen().len(), 2);
    server.stop();
}
