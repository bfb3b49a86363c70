//! Encoders: ffmpeg and GStreamer publish to the server in real time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clip::{Clip, FFMPEG, SECONDS, ffmpeg_newer};
use crate::process::Process;
use crate::verify::Media;

/// A publication may take this much longer than the clip.
const SLACK: Duration = Duration::from_secs(30);

/// An encoder at work.
pub(crate) struct Publisher {
    process: Process,
    record: PathBuf,
}

impl Publisher {
    /// The distribution's ffmpeg sends a clip as it is.
    pub(crate) fn ffmpeg(clip: Clip, url: &str) -> Self {
        Self::ffmpeg_at(Path::new(FFMPEG), clip, url, &[])
    }

    /// The newer ffmpeg sends a clip as it is.
    pub(crate) fn ffmpeg_newer(clip: Clip, url: &str) -> Self {
        Self::ffmpeg_at(&ffmpeg_newer(), clip, url, &[])
    }

    /// The distribution's ffmpeg repeats a clip until it is stopped.
    pub(crate) fn ffmpeg_endless(clip: Clip, url: &str) -> Self {
        Self::ffmpeg_at(Path::new(FFMPEG), clip, url, &["-stream_loop", "-1"])
    }

    fn ffmpeg_at(program: &Path, clip: Clip, url: &str, input: &[&str]) -> Self {
        let record = clip.file();
        let mut command = Command::new(program);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-re"]).args(input);
        command.arg("-i").arg(&record).args(["-map", "0", "-c", "copy"]);
        if url.starts_with("rtmps:") {
            // The certificate is the test's own.
            command.args(["-tls_verify", "0"]);
        }
        command.args(["-f", "flv", url]);
        Self { process: Process::start(&mut command), record }
    }

    /// GStreamer encodes live pictures and sound; the same tags go to a file.
    pub(crate) fn gstreamer(url: &str, folder: &Path) -> Self {
        let record = folder.join("gstreamer.flv");
        let pictures = SECONDS * 30;
        let sounds = SECONDS * 48_000 / 1024;
        let pipeline = format!(
            "videotestsrc is-live=true pattern=ball num-buffers={pictures} \
             ! video/x-raw,width=640,height=360,framerate=30/1 \
             ! x264enc key-int-max=30 bitrate=600 speed-preset=veryfast tune=zerolatency \
             ! h264parse ! queue ! mux. \
             audiotestsrc is-live=true num-buffers={sounds} samplesperbuffer=1024 \
             ! audio/x-raw,rate=48000,channels=2 ! avenc_aac bitrate=96000 ! aacparse \
             ! queue ! mux. \
             flvmux name=mux streamable=true ! tee name=t \
             t. ! queue ! rtmp2sink location={url} async-connect=false \
             t. ! queue ! filesink location={}",
            record.display()
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split_whitespace());
        Self { process: Process::start(&mut command), record }
    }

    /// Waits for the end of the publication and gives what was published.
    pub(crate) fn finish(mut self) -> Media {
        self.process.finish(Duration::from_secs(u64::from(SECONDS)) + SLACK);
        Media::of_flv(&fs::read(&self.record).expect("the record can be read"))
    }

    /// Waits until it is told that it may not.
    pub(crate) fn is_refused(&mut self) {
        let status = self.process.wait(SLACK);
        assert!(!status.success(), "it published: {}", self.process.output());
    }

    /// Waits until it was made to end.
    pub(crate) fn ends(mut self) {
        self.process.wait(SLACK);
    }

    /// Cuts the connection without a farewell.
    pub(crate) fn kill(mut self) {
        self.process.signal("KILL");
        self.process.wait(SLACK);
    }

    /// Ends the publication as a person would.
    pub(crate) fn interrupt(mut self) {
        self.process.signal("INT");
        self.process.wait(SLACK);
    }
}
