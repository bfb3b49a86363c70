//! Clips to publish, made once from ffmpeg's test sources and kept in the target folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ffmpeg of the distribution.
pub(crate) const FFMPEG: &str = "ffmpeg";

/// A newer ffmpeg, which publishes and plays Enhanced RTMP.
pub(crate) fn ffmpeg_newer() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/ffmpeg-newer");
    path.canonicalize().expect("the newer ffmpeg is there: run .ci/setup")
}

/// What a clip holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clip {
    /// H.264 with B-frames, several slices a picture, AAC.
    H264,
    /// HEVC in an enhanced tag, AAC.
    Hevc,
    /// AV1 in an enhanced tag, AAC.
    Av1,
    /// H.264 without sound.
    VideoOnly,
    /// AAC without pictures.
    AudioOnly,
    /// H.264 of another size, with sound of another rate.
    Small,
    /// VP9 in an enhanced tag, with its colours, AAC.
    Vp9,
    /// H.264, Opus.
    Opus,
    /// H.264, AC-3.
    Ac3,
    /// H.264, E-AC-3.
    Eac3,
    /// H.264, FLAC.
    Flac,
    /// H.264, AAC, and MP3 as a second track.
    TwoSounds,
    /// H.264, a smaller one as a second track, AAC.
    TwoPictures,
}

/// How long a clip is.
pub(crate) const SECONDS: u32 = 6;

impl Clip {
    const fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::VideoOnly => "video-only",
            Self::AudioOnly => "audio-only",
            Self::Small => "small",
            Self::Vp9 => "vp9",
            Self::Opus => "opus",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Flac => "flac",
            Self::TwoSounds => "two-sounds",
            Self::TwoPictures => "two-pictures",
        }
    }

    fn encoder(self) -> &'static str {
        match self {
            Self::H264 | Self::VideoOnly => {
                "-c:v libx264 -preset veryfast -bf 2 -g 30 -sc_threshold 0 -b:v 600k \
                 -x264-params slices=2"
            }
            Self::Small => {
                "-c:v libx264 -preset veryfast -profile:v baseline -g 30 -b:v 200k -s 320x180"
            }
            Self::Hevc => {
                "-c:v libx265 -preset ultrafast -b:v 500k -bf 2 \
                 -x265-params keyint=30:min-keyint=30:scenecut=0:log-level=error"
            }
            Self::Av1 => "-c:v libsvtav1 -preset 12 -g 30 -b:v 500k -svtav1-params lookahead=0",
            Self::AudioOnly => "-vn",
            Self::Opus | Self::Ac3 | Self::Eac3 | Self::Flac => {
                "-c:v libx264 -preset veryfast -g 30 -b:v 300k -s 320x180"
            }
            Self::Vp9 => {
                "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -b:v 300k -s 320x180"
            }
            Self::TwoSounds => {
                "-map 0:v -map 1:a -map 1:a \
                 -c:v libx264 -preset veryfast -g 30 -b:v 300k -s 320x180"
            }
            Self::TwoPictures => {
                "-map 0:v -map 0:v -map 1:a -c:v libx264 -preset veryfast -sc_threshold 0 \
                 -g:v:0 30 -b:v:0 600k -g:v:1 45 -b:v:1 200k -s:v:1 320x180"
            }
        }
    }

    const fn sound(self) -> &'static str {
        match self {
            Self::VideoOnly => "-an",
            Self::Small => "-c:a aac -b:a 48k -ar 44100 -ac 1",
            Self::Opus => "-c:a libopus -b:a 96k -ar 48000 -ac 2",
            Self::Ac3 => "-c:a ac3 -b:a 192k -ar 48000 -ac 2",
            Self::Eac3 => "-c:a eac3 -b:a 128k -ar 48000 -ac 2",
            Self::Flac => "-c:a flac -ar 48000 -ac 2",
            Self::TwoSounds => {
                "-c:a:0 aac -b:a:0 96k -c:a:1 libmp3lame -b:a:1 128k -ar 48000 -ac 2"
            }
            _ => "-c:a aac -b:a 96k -ar 48000 -ac 2",
        }
    }

    /// The FLV file, made if it is not there yet.
    pub(crate) fn file(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("clip-{}-{SECONDS}s.flv", self.name()));
        if file.exists() {
            return file;
        }
        let mut command = Command::new(ffmpeg_newer());
        command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
        command.args(["-f", "lavfi", "-i", &format!("testsrc2=s=640x360:r=30:d={SECONDS}")]);
        command.args(["-f", "lavfi", "-i", &format!("sine=f=440:r=48000:d={SECONDS}")]);
        command.args(["-pix_fmt", "yuv420p"]).args(self.encoder().split_whitespace());
        command.args(self.sound().split_whitespace()).args(["-f", "flv"]);
        // Tests run at the same time: the name appears when the file is whole, and whoever comes
        // second takes what is there. Not every encoder gives the same bytes twice.
        let part = folder.join(format!("clip-{}-{}.part", self.name(), std::process::id()));
        let output = command.arg(&part).output().expect("the newer ffmpeg runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        match fs::hard_link(&part, &file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("{error}"),
            _ => fs::remove_file(&part).expect("a file of ours can be removed"),
        }
        file
    }

    /// The bytes of the file.
    pub(crate) fn bytes(self) -> Vec<u8> {
        fs::read(self.file()).expect("the clip can be read")
    }
}
