//! Report: a survey as text for people or as JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use codecs::media::TrackKind;
use serde::Serialize;

use super::survey::{Survey, Track};

#[derive(Serialize)]
struct Report<'a> {
    url: &'a str,
    connected_ms: Option<f64>,
    accepted_ms: Option<f64>,
    first_frame_ms: Option<f64>,
    first_keyframe_ms: Option<f64>,
    unknown_messages: u64,
    tracks: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    id: u8,
    codec: &'static str,
    codec_string: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    sample_rate: Option<u32>,
    channels: Option<u8>,
    frames: u64,
    keyframes: u64,
    fps: Option<f64>,
    bps: Option<f64>,
}

impl Row {
    fn new(track: &Track) -> Self {
        let config = track.config.as_ref();
        let video = config.and_then(|config| config.video);
        let audio = config.and_then(|config| config.audio);
        let string = config.map(|config| config.codec_string.clone());
        Self {
            kind: match track.codec.kind() {
                TrackKind::Video => "video",
                TrackKind::Audio => "audio",
                TrackKind::Data => "data",
            },
            id: track.id,
            codec: track.codec.name(),
            codec_string: string.filter(|string| !string.is_empty()),
            width: video.map(|video| video.width),
            height: video.map(|video| video.height),
            sample_rate: audio.map(|audio| audio.sample_rate),
            channels: audio.map(|audio| audio.channels),
            frames: track.frames,
            keyframes: track.keyframes,
            fps: track.fps(),
            bps: track.bps(),
        }
    }
}

fn millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
}

/// The survey as one JSON object on one line.
pub(super) fn json(url: &str, survey: &Survey) -> String {
    let report = Report {
        url,
        connected_ms: millis(survey.connected),
        accepted_ms: millis(survey.accepted),
        first_frame_ms: millis(survey.first_frame),
        first_keyframe_ms: millis(survey.first_keyframe),
        unknown_messages: survey.unknown,
        tracks: survey.tracks.iter().map(Row::new).collect(),
    };
    let mut text = serde_json::to_string(&report).expect("texts and numbers always serialise");
    text.push('\n');
    text
}

/// The survey in lines.
pub(super) fn text(url: &str, survey: &Survey) -> String {
    let mut text = format!("{url}\n");
    for row in survey.tracks.iter().map(Row::new) {
        line(&mut text, &row);
    }
    for (name, time) in [
        ("connected", survey.connected),
        ("accepted", survey.accepted),
        ("first frame", survey.first_frame),
        ("first keyframe", survey.first_keyframe),
    ] {
        if let Some(ms) = millis(time) {
            writeln!(text, "  {name:<15} after {ms:.1} ms").expect("a text grows");
        }
    }
    if survey.unknown > 0 {
        writeln!(text, "  {} messages could not be read", survey.unknown).expect("a text grows");
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let mut words = vec![format!("{} {}", row.kind, row.id)];
    words.push(match &row.codec_string {
        Some(string) => format!("{} ({string})", row.codec),
        None => row.codec.to_owned(),
    });
    if let (Some(width), Some(height)) = (row.width, row.height) {
        words.push(format!("{width}x{height}"));
    }
    if let (Some(rate), Some(channels)) = (row.sample_rate, row.channels) {
        words.push(format!("{rate} Hz, {channels} channels"));
    }
    if let Some(fps) = row.fps {
        words.push(format!("{fps:.2} frames/s"));
    }
    if let Some(bps) = row.bps {
        words.push(format!("{:.0} kb/s", bps / 1000.0));
    }
    words.push(format!("{} frames, {} key", row.frames, row.keyframes));
    writeln!(text, "  {}", words.join(", ")).expect("a text grows");
}
