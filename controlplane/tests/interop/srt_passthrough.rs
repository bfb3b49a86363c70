//! A transport stream that goes through: what ffmpeg sends by SRT, data included, is what ffprobe
//! finds in what it is sent by SRT and by HTTP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::client::{Client, Tool, Way};
use crate::clip::{Clip, FFMPEG};
use crate::player::Player;
use crate::process::Process;
use crate::server::Backend;
use crate::srt::{session, srt, start};

const END: Duration = Duration::from_secs(60);

/// A clip as a transport stream with a stream of data of no known kind.
pub(crate) fn stream_with_data(folder: &Path) -> PathBuf {
    let (data, file) = (folder.join("data.bin"), folder.join("data.ts"));
    std::fs::write(&data, [0x5a; 20_000]).expect("the folder can be written");
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i"]);
    command.arg(Clip::H264.file()).args(["-f", "data", "-i"]).arg(&data);
    command.args(["-map", "0", "-map", "1", "-c", "copy", "-f", "mpegts"]).arg(&file);
    Process::start(&mut command).finish(END);
    file
}

/// Type and number of each stream, as ffprobe finds them.
pub(crate) fn streams(file: &Path) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    let entries = "stream=codec_name,codec_type,id";
    command.args(["-v", "error", "-show_entries", entries, "-of", "compact=p=0:nk=1"]).arg(file);
    let output = command.output().expect("ffprobe runs: run .ci/setup");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut streams: Vec<_> = text.lines().filter(|line| line.contains("0x")).collect();
    streams.sort_unstable();
    // Programs list their streams once more.
    streams.dedup();
    streams.into_iter().map(str::to_owned).collect()
}

/// What somebody wrote to `file`, once it is more than the clip, which comes again and again.
fn taken(mut player: Process, file: &Path, clip: &Path) -> Vec<String> {
    let bytes = |file: &Path| std::fs::metadata(file).map_or(0, |found| found.len());
    let deadline = std::time::Instant::now() + END;
    while bytes(file) < bytes(clip) * 5 / 4 {
        assert!(std::time::Instant::now() < deadline, "{}: {}", bytes(file), player.output());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    player.signal("INT");
    player.wait(END);
    streams(file)
}

fn everything(backend: Backend) {
    let server = start(backend, "[session]\nplay_wait_ms = 30000\n");
    let source = stream_with_data(server.folder());
    let sent = streams(&source);
    assert!(sent.len() == 3 && sent.iter().any(|line| line.contains("bin_data")), "{sent:?}");
    let player = Player::start(Client(Tool::Plain, Way::Flv), &server, "live/cam");
    let url = format!("srt://{}?streamid=publish:live/cam&pkt_size=1316", srt(&server));
    let mut encoder = Command::new(FFMPEG);
    encoder.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1"]);
    encoder.arg("-i").arg(&source);
    encoder.args(["-map", "0", "-c", "copy", "-copy_unknown", "-f", "mpegts", &url]);
    let mut encoder = Process::start(&mut encoder);
    session(&server, |s| s["role"] == "publish" && s["bytes_in"].as_u64() > Some(20_000));
    let [by_srt, by_http] = ["srt.ts", "http.ts"].map(|name| server.folder().join(name));
    let mut over_srt = Command::new("sh");
    let url = format!("srt://{}?streamid=read:live/cam", srt(&server));
    let to = by_srt.display();
    let script = format!("exec srt-live-transmit -a:no -q '{url}' file://con >'{to}'");
    over_srt.args(["-c", &script]);
    let mut over_http = Command::new("curl");
    over_http.args(["--silent", "--no-buffer", "--output"]).arg(&by_http);
    over_http.arg(format!("http://{}/live/cam.ts", server.http));
    let players = [over_srt, over_http].map(|mut command| Process::start(&mut command));
    for (player, file) in players.into_iter().zip([&by_srt, &by_http]) {
        assert_eq!(taken(player, file, &source), sent, "{}", file.display());
    }
    let shown = server.api("/api/v1/streams/cam");
    let listed = shown["transport"]["streams"].as_array().expect("they are listed");
    assert_eq!(shown["transport"]["passthrough"], true);
    let unknown: Vec<_> = listed.iter().filter(|stream| stream["kind"] == "unknown").collect();
    assert_eq!((listed.len(), unknown.len()), (3, 1), "{shown:#}");
    assert_eq!((&unknown[0]["pid"], &unknown[0]["stream_type"]), (&258.into(), &6.into()));
    encoder.signal("INT");
    encoder.wait(END);
    player.ends();
    server.stop();
}

on_both_backends! { everything }
