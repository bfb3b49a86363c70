//! Recorded streams, published round and round.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

#[path = "../decodable/decoder.rs"]
#[allow(dead_code, reason = "made for synthetic streams, which have more to be looked at")]
mod decoder;
#[path = "../decodable/flv_file.rs"]
mod flv_file;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use loadtest::clip::{Clip, ClipPlayer};
use loadtest::piece::{Piece, PieceKind};
use loadtest::source::SourceFrame;
use loadtest::verify::{Findings, Verifier};

use decoder::{frame_sums, samples};
use flv_file::FlvFile;

/// Two seconds of 25 pictures each, and sound, encoded as `options` say.
fn recorded(name: &str, options: &str) -> PathBuf {
    let file = format!("recorded-{name}-{}.flv", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let newer = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.tools/ffmpeg-newer");
    let mut command = Command::new(newer);
    command.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi"]);
    command.args(["-i", "testsrc2=s=320x180:r=25:d=2", "-f", "lavfi"]);
    command.args(["-i", "sine=f=440:r=48000:d=2", "-pix_fmt", "yuv420p"]);
    command.args(options.split_whitespace()).args(["-c:a", "aac", "-f", "flv"]).arg(&path);
    let output = command.output().expect("the newer ffmpeg is there: run .ci/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn open(name: &str, options: &str) -> Clip {
    let path = recorded(name, options);
    let clip = Clip::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    clip
}

/// So many pictures of a clip as a file, and what a player who checks everything finds.
fn played(clip: &Arc<Clip>, stamps: bool, pictures: u64) -> (FlvFile, Findings) {
    let mut player = ClipPlayer::new(Arc::clone(clip), stamps);
    let mut file = FlvFile::new();
    let (mut verifier, mut findings) = (Verifier::default(), Findings::default());
    let mut message = |kind, timestamp_ms, body: &[u8]| {
        match kind {
            PieceKind::Video => file.video(timestamp_ms, body),
            PieceKind::Audio => file.audio(timestamp_ms, body),
        }
        let piece = Piece { kind, timestamp_ms, offset: 0, data: body, last: true };
        verifier.piece(&piece, 2_000, &mut findings);
    };
    for (kind, body) in clip.heads() {
        message(kind, 0, body);
    }
    let (mut sent, mut due_ns) = (0, 0);
    while sent < pictures {
        assert!(player.due_ns() >= due_ns, "time never goes back");
        due_ns = player.due_ns();
        let SourceFrame { kind, is_picture, timestamp_ms, body } = player.tag(1_000);
        assert_eq!(u64::from(timestamp_ms), due_ns / 1_000_000);
        message(kind, timestamp_ms, body);
        sent += u64::from(is_picture);
    }
    (file, findings)
}

#[test]
fn rounds_are_one_stream_that_decodes_and_is_stamped() {
    let table = [
        ("baseline", "-c:v libx264 -profile:v baseline -g 25"),
        ("delimited", "-c:v libx264 -bf 2 -g 25 -x264-params aud=1"),
        ("hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=error:aud=1:keyint=25"),
    ];
    for (name, options) in table {
        let clip = Arc::new(open(name, options));
        let (file, findings) = played(&clip, true, 125);
        assert_eq!((findings.frames, findings.unstamped), (125, 0), "{name}");
        assert_eq!(findings.corrupt, 0, "{name}");
        assert_eq!(
            (findings.missing, findings.duplicated, findings.reordered),
            (0, 0, 0),
            "{name}"
        );
        assert_eq!((findings.timestamps_back, findings.undecodable_starts), (0, 0), "{name}");
        assert_eq!(findings.latency.quantile(1000), 1_000, "{name}");
        if name != "hevc" {
            // Two rounds and a half; the same pictures come again.
            let sums = frame_sums(&file);
            assert_eq!(sums.len(), 125, "{name}");
            assert_eq!(sums[..50], sums[50..100], "{name}");
            assert!(samples(&file) >= 4 * 48_000, "{name}");
        }
    }
}

#[test]
fn without_stamps_a_clip_is_sent_as_it_is() {
    let clip = Arc::new(open("plain", "-c:v libx264 -g 25"));
    let (file, findings) = played(&clip, false, 60);
    assert_eq!((findings.frames, findings.unstamped), (60, 60));
    assert_eq!(frame_sums(&file).len(), 60);
    assert!(clip.metadata().is_some_and(|body| body.windows(10).any(|ten| ten == b"onMetaData")));
}

#[test]
fn what_cannot_be_published_is_one_clear_line() {
    let missing = Clip::open("no/such.flv".as_ref()).unwrap_err();
    assert!(format!("{missing:#}").starts_with("cannot read no/such.flv: No such file"));
    let file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
    let broken = [&file[..], &[9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x82, 0, 0, 0, 12]].concat();
    let no_key = [
        &file[..],
        &[9, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 16],
        &[9, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0x27, 1, 0, 0, 0, 9, 0, 0, 0, 17],
    ]
    .concat();
    let table = [
        (&b"RIFF and more than thirteen bytes"[..], "it is no FLV file"),
        (&file[..], "it has neither pictures nor sound"),
        (&broken, "at byte 13: "),
        (&no_key, "it has no keyframe to begin with"),
    ];
    for (bytes, start) in table {
        let error = format!("{:#}", Clip::parse(bytes.to_vec()).unwrap_err());
        assert!(error.starts_with(start) && !error.contains('\n'), "{error}");
    }
    for len in 0..no_key.len() {
        let _ = Clip::parse(no_key[..len].to_vec());
    }
}
