//! Readers of MPEG-TS and HLS that complain about whatever is not quite right.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clip::{Clip, FFMPEG, SECONDS, ffmpeg_newer};
use crate::hls::wait_for_list;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// A program reads a stream to its end within this.
const END: Duration = Duration::from_secs(60);
const FRAMES_PER_SECOND: u32 = 30;

/// Asks ffprobe about `url` while the stream is live: kinds and codecs, and no warning.
fn ffprobe(url: &str) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "warning", "-show_entries", "stream=codec_name,width,sample_rate"]);
    command.args(["-of", "csv=p=0", url]);
    let output = command.output().expect("ffprobe runs: run .ci/setup");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{url}");
    assert!(output.status.success(), "{url}: {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    // With HLS each stream is listed for its program and for itself.
    let mut streams: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams, ["aac,48000", "h264,640"], "{url}");
}

#[test]
fn ffprobe_reads_without_a_warning() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    wait_for_list(&server.http.into(), "studio");
    ffprobe(&format!("http://{}/studio/index.m3u8", server.http));
    ffprobe(&format!("http://{}/studio.ts", server.http));
    publisher.interrupt();
    server.stop();
}

/// Records two seconds of `url`, and tells which tracks the file has.
fn recorded(program: &Path, url: &str, file: &Path) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(["-v", "error", "-nostdin", "-y", "-i", url, "-t", "2", "-c", "copy"]);
    let output = command.arg(file).output().expect("ffmpeg runs: run .ci/setup");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
    let output = command.arg(file).output().expect("ffprobe runs: run .ci/setup");
    let mut tracks: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    tracks.sort_unstable();
    tracks
}

/// Metadata that bears a time is a text track to ffmpeg, which Matroska waits for without end.
#[test]
fn who_joins_late_records_two_tracks() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    wait_for_list(&server.http.into(), "studio");
    let file = server.folder().join("recorded.mkv");
    for program in [Path::new(FFMPEG), &ffmpeg_newer()] {
        for url in [server.rtmp_url("studio"), format!("http://{}/studio.flv", server.http)] {
            assert_eq!(recorded(program, &url, &file), ["aac", "h264"], "{url}");
        }
    }
    publisher.interrupt();
    server.stop();
}

/// Decodes all pictures of `url` and counts them.
fn decoded_by_ffmpeg(program: &Path, url: &str) -> u32 {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-v", "warning", "-nostdin", "-live_start_index", "0"]);
    command.args(["-i", url, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framecrc", "-"]);
    let output = command.output().expect("ffmpeg runs: run .ci/setup");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{url}");
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| !line.starts_with('#')).count() as u32
}

/// Plays `url` by GStreamer's newer demultiplexer and counts the pictures.
fn decoded_by_gstreamer(url: &str, file: &Path) -> u32 {
    const PIXELS: u64 = 16 * 16;
    let mut command = Command::new("gst-launch-1.0");
    // The older one of the same name may be installed, too.
    command.env("GST_PLUGIN_FEATURE_RANK", "hlsdemux:NONE,hlsdemux2:MAX");
    command.args(["-q", "uridecodebin3", &format!("uri={url}"), "name=in"]);
    command.args(["in.", "!", "video/x-raw(ANY)", "!", "queue", "!", "videoconvert"]);
    command.args(["!", "videoscale", "!", "video/x-raw,format=GRAY8,width=16,height=16"]);
    command.args(["!", "filesink", &format!("location={}", file.display())]);
    command.args(["in.", "!", "audio/x-raw(ANY)", "!", "queue", "!", "fakesink"]);
    Process::start(&mut command).finish(END);
    let bytes = std::fs::metadata(file).expect("the player wrote a file").len();
    assert_eq!(bytes % PIXELS, 0, "whole pictures");
    (bytes / PIXELS) as u32
}

#[test]
fn every_picture_of_a_list_is_decoded() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    // The first request of a list has its bytes kept from then on.
    wait_for_list(&server.http.into(), "studio");
    publisher.finish();
    let url = format!("http://{}/studio/index.m3u8", server.http);
    let expected = SECONDS * FRAMES_PER_SECOND;
    assert_eq!(decoded_by_ffmpeg(Path::new(FFMPEG), &url), expected);
    assert_eq!(decoded_by_ffmpeg(&ffmpeg_newer(), &url), expected);
    assert_eq!(decoded_by_gstreamer(&url, &server.folder().join("pictures")), expected);
    server.stop();
}
