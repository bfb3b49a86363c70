//! What `grandstand-load` publishes is played as any other stream is, and measured.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use loadtest::scenario::{self, Outcome};

use crate::clip::{Clip, FFMPEG};
use crate::hls;
use crate::process::Process;
use crate::server::{Backend, Options, Server};

on_both_backends! { decoders_take_synthetic_streams recorded_streams_are_measured }

const NAME: &str = "synthetic";
const FPS: usize = 30;
const SECONDS: usize = 6;

/// A stream ends, and its decoders with it, within this.
const END: Duration = Duration::from_secs(60);

/// ffmpeg decodes a stream to its end and tells a hash of each picture.
fn decoder(url: &str, input: &[&str]) -> Process {
    let mut command = Command::new(FFMPEG);
    command.args(["-nostdin", "-v", "error", "-err_detect", "explode"]).args(input);
    command.args(["-i", url, "-map", "0:v", "-map", "0:a", "-fps_mode", "passthrough"]);
    Process::start(command.args(["-f", "framemd5", "-"]))
}

/// What ffmpeg 5.1 says at the end of a body that ends with its connection, though all of it came.
const AT_THE_END: [&str; 3] =
    ["Stream ends prematurely", ": Input/output error", "Last message repeated"];

/// Pictures and sounds, of which no picture may be like the one before; nothing else was said.
fn decoded(mut process: Process) -> (usize, usize) {
    process.finish(END);
    let output = process.output();
    let (mut pictures, mut sounds, mut last) = (0, 0, "");
    for line in output.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        match fields[..] {
            ["0", _, _, _, _, sum] => {
                assert_ne!(sum, last, "a picture came twice");
                (last, pictures) = (sum, pictures + 1);
            }
            ["1", ..] => sounds += 1,
            _ if line.trim().is_empty() || AT_THE_END.iter().any(|end| line.contains(end)) => {}
            _ => panic!("ffmpeg complains: {output}"),
        }
    }
    (pictures, sounds)
}

/// What came of a command.
fn run(line: &str) -> Outcome {
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).expect("it is a line");
    let stop = AtomicBool::new(false);
    scenario::perform(&scenario, &stop, &mut |_| ()).expect("the server takes the stream")
}

fn decoders_take_synthetic_streams(backend: Backend) {
    let mut options = Options::on(backend);
    options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
    let server = Server::start(&options);
    let base = format!("http://{}/{NAME}", server.http);
    let transport = decoder(&format!("{base}.ts"), &[]);
    let rtmp = decoder(&server.rtmp_url(NAME), &[]);
    server.wait_for_players(NAME, 2);
    let line = format!(
        "publish --url {} --audio --gop 1s --fps {FPS} --size 640x360 \
         --bitrate 800k --duration {SECONDS}s --quiet",
        server.rtmp_url(NAME)
    );
    let publisher = thread::spawn(move || run(&line));
    hls::wait_for_list(&server.http.into(), NAME);
    let segments = decoder(&format!("{base}/index.m3u8"), &["-live_start_index", "0"]);
    let published = publisher.join().expect("no panic").published.expect("it published");
    let frames = usize::try_from(published.frames).expect("a few frames");
    assert!(frames >= (SECONDS - 1) * FPS, "{published:?}");
    for (way, process) in [("RTMP", rtmp), ("HTTP-TS", transport), ("HLS", segments)] {
        let (pictures, sounds) = decoded(process);
        assert_eq!(pictures, frames, "{way}");
        assert!(sounds > (SECONDS - 1) * 46, "{way}: {sounds}");
    }
    server.stop();
}

fn recorded_streams_are_measured(backend: Backend) {
    let server = Server::start(&Options::on(backend));
    for clip in [Clip::H264, Clip::Hevc] {
        let outcome = run(&format!(
            "fanout --url {} --file {} --players 4 --sampled 2 --window 2s --quiet",
            server.rtmp_url("recorded"),
            clip.file().display()
        ));
        let of = &outcome.measurements[0];
        assert_eq!((of.held, of.lost, of.reordered, of.timestamps_back), (4, 0, 0, 0), "{of:?}");
        assert!(of.frames > 60 && of.undecodable_starts == 0, "{clip:?}: {of:?}");
        assert!(of.latency.is_some_and(|latency| latency.count > 60), "{clip:?}: {of:?}");
    }
    server.stop();
}
