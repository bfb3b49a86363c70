//! Recordings: what is published is in the files, whatever becomes of the disk and of the node.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::clip::{Clip, FFMPEG, SECONDS};
use crate::http_flv::Answer;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};
use crate::verify::Media;

/// What a node has to be told to record streams that are declared so.
pub(crate) const RECORDS: &str = "[recording]\npolicy = \"flv\"\n";

/// Pictures of a second of every clip.
const PICTURES_PER_SECOND: u64 = 30;

/// Those of a node that records, and is told `more`, of that first.
fn records(backend: Backend, more: &str) -> Options {
    Options { config: format!("{RECORDS}{more}"), ..Options::on(backend) }
}

/// What is said of a stream that is recorded, or not.
pub(crate) fn stream(record: &str) -> Value {
    json!({ "inputs": [{ "url": "publish://" }], "record": record })
}

/// Declares `name`, to be recorded or not.
pub(crate) fn declare(server: &Server, name: &str, record: &str) {
    let (status, answer) = server.send("PUT", &format!("/api/v1/streams/{name}"), &stream(record));
    assert!([200, 201].contains(&status), "{answer}");
}

/// The files that are whole, once there are `count` of them and no other.
pub(crate) fn finished(server: &Server, count: usize) -> Vec<Value> {
    let answer = server.api_until("/api/v1/recordings", |answer| {
        let files = answer["recordings"].as_array().expect("a list");
        files.len() == count && files.iter().all(|file| file["active"] == false)
    });
    answer["recordings"].as_array().expect("a list").clone()
}

/// Where a file is.
pub(crate) fn path(file: &Value) -> PathBuf {
    PathBuf::from(file["path"].as_str().expect("a path"))
}

/// What ffprobe says: pictures that it decodes, and seconds. It finds no error.
pub(crate) fn probe(file: &Path) -> (u64, f64) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries"]);
    command.args(["stream=nb_read_frames:format=duration", "-of", "json"]).arg(file);
    let output = command.output().expect("ffprobe runs: run .ci/setup");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", file.display());
    let said: Value = serde_json::from_slice(&output.stdout).expect("ffprobe speaks JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let frames = text(&said["streams"][0]["nb_read_frames"]).parse().expect("a number");
    (frames, text(&said["format"]["duration"]).parse().expect("a number"))
}

fn recording(server: &Server, name: &str) -> Value {
    server.api_until(&format!("/api/v1/streams/{name}"), |stream| {
        stream["recording"]["state"] == "recording"
    })
}

on_both_backends! { what_is_recorded }

fn what_is_recorded(backend: Backend) {
    let server = Server::start(&records(backend, ""));
    declare(&server, "app/cam", "flv");
    let publisher = Publisher::ffmpeg(Clip::H264, &format!("rtmp://{}/app/cam", server.rtmp));
    let shown = recording(&server, "app/cam");
    assert_eq!(shown["players"], 0, "it is no player: {shown}");
    let id = shown["recording"]["id"].as_str().expect("a name").to_owned();
    let (status, refused) =
        server.send("DELETE", &format!("/api/v1/recordings/{id}"), &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("recording_active")));
    let sessions = server.api("/api/v1/sessions?stream=app/cam");
    let listed = sessions["sessions"].as_array().expect("a list");
    assert_eq!(listed.len(), 1, "the publisher alone: {sessions}");
    let published = publisher.finish();
    let files = finished(&server, 1);
    let file = path(&files[0]);
    assert!(file.starts_with(server.folder().join("data/recordings/app/cam")), "{files:?}");
    let bytes = fs::read(&file).expect("the file is there");
    assert_eq!(files[0]["bytes"], bytes.len());
    let media = Media::of_flv(&bytes);
    assert!(media.video == published.video, "every picture, once, in order");
    assert!(media.audio == published.audio, "every sound");
    let (frames, seconds) = probe(&file);
    assert_eq!(frames, u64::from(SECONDS) * PICTURES_PER_SECOND);
    let told = files[0]["duration_ms"].as_u64().expect("a number") as f64 / 1_000.0;
    assert!((seconds - told).abs() < 0.05, "{seconds} of {told}");
    assert!((seconds - f64::from(SECONDS)).abs() < 0.2, "{seconds}");
    let metrics = server.metrics();
    assert_eq!(metrics.sum_where("events_total", "recording.started"), 1.0);
    assert_eq!(metrics.sum_where("events_total", "recording.finished"), 1.0);
    assert_eq!(metrics.sum_where("events_total", "session.opened"), 0.0);
    assert_eq!(metrics.sum_where("recordings_total", "finished"), 1.0);
    assert!(metrics.sum("recording_written_bytes_total") > 100_000.0);
    let (status, _) = server.send("DELETE", &format!("/api/v1/recordings/{id}"), &Value::Null);
    assert_eq!(status, 204);
    assert!(!file.exists());
    finished(&server, 0);
    server.stop();
}

#[test]
fn sound_alone_is_recorded() {
    let server = Server::start(&records(Backend::Auto, ""));
    declare(&server, "radio", "flv");
    let published = Publisher::ffmpeg(Clip::AudioOnly, &server.rtmp_url("radio")).finish();
    let files = finished(&server, 1);
    let media = Media::of_flv(&fs::read(path(&files[0])).expect("the file is there"));
    assert!(media.audio == published.audio && media.video.is_empty());
    server.stop();
}

#[test]
fn files_are_cut_before_a_keyframe() {
    let server = Server::start(&records(Backend::Auto, "segment_ms = 1500\n"));
    declare(&server, "cam", "flv");
    let published = Publisher::ffmpeg(Clip::Small, &server.rtmp_url("cam")).finish();
    // A keyframe comes each second.
    let files = finished(&server, SECONDS as usize / 2);
    let mut video = Vec::new();
    for file in &files {
        let (frames, seconds) = probe(&path(file));
        assert_eq!(frames, 2 * PICTURES_PER_SECOND, "{file}");
        assert!((seconds - 2.0).abs() < 0.15, "{seconds}");
        video.extend(Media::of_flv(&fs::read(path(file)).expect("the file is there")).video);
    }
    assert!(video == published.video, "nothing is lost between them");
    server.stop();
}

#[test]
fn a_stream_is_recorded_from_the_word_on_and_nobody_is_dropped() {
    let server = Server::start(&records(Backend::Auto, ""));
    declare(&server, "cam", "off");
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("cam"));
    server.api_until("/api/v1/streams/cam", |stream| stream["tracks"][0]["codec"].is_string());
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]);
    command.arg(format!("http://{}/cam.flv", server.http)).args(["-c", "copy", "-f", "null", "-"]);
    let mut player = Process::start(&mut command);
    let session = |server: &Server| {
        server.api_until("/api/v1/streams/cam", |stream| stream["players"] == 1)["publisher"]
            .clone()
    };
    let before = session(&server);
    for round in 1..=2 {
        declare(&server, "cam", "flv");
        recording(&server, "cam");
        declare(&server, "cam", "off");
        finished(&server, round);
        let shown = server.api("/api/v1/streams/cam");
        assert_eq!(shown["recording"], Value::Null);
    }
    assert_eq!(session(&server), before, "the same publisher, the same player");
    for file in finished(&server, 2) {
        assert!(probe(&path(&file)).0 > 0);
    }
    publisher.interrupt();
    player.wait(std::time::Duration::from_secs(30));
    server.stop();
}

#[test]
fn a_full_disk_stops_the_recording_alone() {
    let folder = Folder::new();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("the folder can be written");
    let disk = disk.display();
    let config = format!("[recording]\ndir = \"{disk}\"\nfree_min = 0\nsegment_ms = 1000\n");
    let inner = Options { config, ..Options::on(Backend::Auto) }.command(&folder);
    let mut command = Command::new("unshare");
    // A small disk that is the server's alone.
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!("mount -t tmpfs -o size=400k tmpfs {disk} && exec \"$@\""));
    command.arg("sh").arg(inner.get_program()).args(inner.get_args()).current_dir(folder.path());
    let server = Server::run(&mut command, folder);
    declare(&server, "cam", "flv");
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("cam"));
    recording(&server, "cam");
    let mut player = Answer::request(server.http, "/cam.flv", "");
    let failed =
        server.api_until("/api/v1/streams/cam", |stream| stream["recording"]["state"] == "failed");
    assert_eq!(failed["recording"]["reason"], "disk_full", "{failed}");
    assert_eq!(failed["state"], "live");
    assert!(server.log().contains("not recorded; it is tried again"), "{}", server.log());
    // Who plays goes on.
    let mut media = vec![0; 200_000];
    player.body.read_exact(&mut media).expect("the stream goes on");
    // What was recorded before is whole, and can go; then it is recorded again.
    let answer = server.api("/api/v1/recordings");
    let files = answer["recordings"].as_array().expect("a list").clone();
    let whole: Vec<_> = files.iter().filter(|file| file["duration_ms"].is_u64()).collect();
    assert!(whole.len() > 1, "{files:?}");
    for file in whole {
        let id = file["id"].as_str().expect("a name");
        let (status, _) = server.send("DELETE", &format!("/api/v1/recordings/{id}"), &Value::Null);
        assert_eq!(status, 204);
    }
    recording(&server, "cam");
    assert!(server.metrics().sum_where("recordings_total", "failed") >= 1.0);
    assert!(server.metrics().sum_where("events_total", "recording.failed") >= 1.0);
    drop(player);
    publisher.interrupt();
    server.stop();
}

#[test]
fn the_end_of_the_server_makes_files_whole_and_tells_of_them() {
    let options = records(Backend::Auto, "[session]\nrefuse_ms = 0\ndrain_ms = 1000\n");
    let server = Server::start(&options);
    declare(&server, "cam", "flv");
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("cam"));
    let active = server.api_until("/api/v1/recordings", |answer| {
        answer["recordings"][0]["bytes"].as_u64().is_some_and(|bytes| bytes > 300_000)
    });
    let file = path(&active["recordings"][0]);
    let mark = file.with_extension("untold");
    assert!(mark.exists());
    let folder = server.stop_in_place();
    publisher.kill();
    let (frames, seconds) = probe(&file);
    assert!(frames > 30 && seconds > 0.9, "{frames} {seconds}");
    assert!(!mark.exists(), "the next start has nothing to tell");
    let server = Server::run(&mut options.command(&folder), folder);
    let files = finished(&server, 1);
    let shown = files[0]["duration_ms"].as_u64().expect("a number") as f64 / 1_000.0;
    assert!((seconds - shown).abs() < 0.05, "{seconds} {shown}");
    server.stop();
}

#[test]
fn a_publisher_who_returns_goes_on_in_the_same_file() {
    let server = Server::start(&records(Backend::Auto, "[stream]\ngrace_ms = 60000\n"));
    declare(&server, "cam", "flv");
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("cam"));
    let id = recording(&server, "cam")["recording"]["id"].clone();
    publisher.kill();
    server.api_until("/api/v1/streams/cam", |stream| stream["state"] == "grace");
    let before = server.api(&format!("/api/v1/recordings/{}", id.as_str().expect("a name")));
    let published = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("cam")).finish();
    let files = finished(&server, 1);
    assert_eq!(files[0]["id"], id);
    assert!(files[0]["bytes"].as_u64() > before["bytes"].as_u64(), "{before} {}", files[0]);
    let file = path(&files[0]);
    let media = Media::of_flv(&fs::read(&file).expect("the file is there"));
    assert!(media.video.ends_with(&published.video), "every picture of the second, too");
    assert_eq!(probe(&file).0, media.video.len() as u64);
    server.stop();
}
