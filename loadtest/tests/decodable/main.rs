//! What the synthetic encoder makes, decoded by ffmpeg.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

mod decoder;
mod flv_file;

use loadtest::encoder::PictureSize;
use loadtest::source::{Source, SourceSettings};

use decoder::{frame_sums, keyframes, loudness, samples};
use flv_file::FlvFile;

/// A stream, with a little of everything that can differ.
struct Case {
    size: &'static str,
    bitrate: u64,
    fps: u32,
    gop_frames: u32,
}

const CASES: [Case; 8] = [
    Case { size: "1280x720", bitrate: 2_000_000, fps: 30, gop_frames: 60 },
    // More than noise has room for.
    Case { size: "320x180", bitrate: 20_000_000, fps: 25, gop_frames: 10 },
    // Less than the pictures need.
    Case { size: "1920x1080", bitrate: 64_000, fps: 30, gop_frames: 15 },
    // Nothing but keyframes.
    Case { size: "640x360", bitrate: 1_000_000, fps: 10, gop_frames: 1 },
    // The number of a reference picture wraps many times, and so do digits.
    Case { size: "128x144", bitrate: 300_000, fps: 60, gop_frames: 1000 },
    // No room for digits, nor for noise.
    Case { size: "16x16", bitrate: 80_000, fps: 30, gop_frames: 7 },
    // Cropped on both sides.
    Case { size: "86x250", bitrate: 150_000, fps: 30, gop_frames: 30 },
    Case { size: "640x480", bitrate: 801_001, fps: 24, gop_frames: 48 },
];

fn settings(case: &Case, audio: bool) -> SourceSettings {
    let Case { size, bitrate, fps, gop_frames } = *case;
    let size = PictureSize::parse(size).unwrap();
    SourceSettings { size, bitrate, fps, gop_frames, audio }
}

/// The first frames of a stream, as a file.
fn recorded(settings: SourceSettings, frames: u32) -> FlvFile {
    let mut source = Source::new(settings);
    let mut file = FlvFile::new();
    file.video(0, &source.video_config());
    if let Some(config) = source.audio_config() {
        file.audio(0, &config);
    }
    for _ in 0..frames {
        while let Some(frame) = source.audio() {
            file.audio(frame.timestamp_ms, frame.body);
        }
        let frame = source.video(u64::MAX / 3);
        file.video(frame.timestamp_ms, frame.body);
    }
    file
}

#[test]
fn every_picture_decodes_and_differs_from_the_others() {
    for case in &CASES {
        let frames = (2 * case.gop_frames).clamp(40, 130);
        let file = recorded(settings(case, false), frames);
        let mut sums = frame_sums(&file);
        assert_eq!(sums.len(), frames as usize, "{}", case.size);
        assert!(sums.windows(2).all(|pair| pair[0] != pair[1]), "{}", case.size);
        if case.size != "16x16" {
            sums.sort_unstable();
            sums.dedup();
            assert_eq!(sums.len(), frames as usize, "{}", case.size);
        }
    }
}

#[test]
fn keyframes_stand_where_the_gop_says() {
    for case in &CASES {
        let frames = (2 * case.gop_frames).clamp(40, 130);
        let is_key = keyframes(&recorded(settings(case, false), frames));
        let wanted: Vec<bool> = (0..frames).map(|frame| frame % case.gop_frames == 0).collect();
        assert_eq!(is_key, wanted, "{}", case.size);
    }
}

#[test]
fn the_bit_rate_is_kept_to_the_byte() {
    for (case, allowed) in CASES.iter().zip([6, 6, u64::MAX, 6, 6, u64::MAX, 6, 6]) {
        let mut source = Source::new(settings(case, false));
        let lens: Vec<u64> =
            (0..case.gop_frames).map(|_| source.video(0).body.len() as u64).collect();
        let wanted = case.bitrate / 8 * u64::from(case.gop_frames) / u64::from(case.fps);
        let bytes: u64 = lens.iter().sum();
        // A frame too small for filler data may lack some bytes, a division others.
        let tolerance = allowed.saturating_mul(u64::from(case.gop_frames));
        assert!(bytes.abs_diff(wanted) <= tolerance, "{}: {bytes} of {wanted}", case.size);
    }
}

#[test]
fn the_tone_decodes_and_can_be_heard() {
    let file = recorded(settings(&CASES[0], true), 90);
    // 3 s are 140 frames and a part of one more, which is due before the last picture.
    assert_eq!(samples(&file), 140 * 1024);
    let loudness = loudness(&file);
    assert!((-30.0..-10.0).contains(&loudness), "{loudness} dB");
}
