//! What the playlist of renditions says is true.

use codecs::media::Codec;
use dataplane::config::StreamConfig;
use dataplane::segment::Window;
use m3u8_rs::VariantStream;

use super::stream::{ASC, AVCC, Stream, window};

fn variant(shown: &Window) -> VariantStream {
    let (_, list) = m3u8_rs::parse_master_playlist(shown.multivariant.body()).unwrap();
    let [variant] = list.variants.as_slice() else { panic!("{list:?}") };
    variant.clone()
}

/// Pictures every `step_ms`, a keyframe a second, and sound; large pictures from `large_ms` on.
fn play(stream: &mut Stream, ms: i64, step_ms: i64, large_ms: i64) {
    for at in (0..ms).step_by(usize::try_from(step_ms).unwrap()) {
        let bytes = if at >= large_ms { 9_000 } else { 3_000 };
        stream.unit(Codec::H264, at, at % 1_000 == 0, bytes);
        stream.unit(Codec::Aac, at + 5, true, 200);
        stream.pass(step_ms);
    }
}

#[test]
fn pictures_and_sound_are_told_as_they_are() {
    for (step_ms, frame_rate) in [(40, 25.0), (20, 50.0), (200, 5.0)] {
        let mut stream = Stream::new(&StreamConfig::default());
        stream.configure(Codec::H264, AVCC);
        stream.configure(Codec::Aac, ASC);
        play(&mut stream, 9_000, step_ms, i64::MAX);
        let log = stream.watch();
        let told = variant(&window(&log).unwrap());
        assert_eq!(told.codecs.as_deref(), Some("avc1.42c01e,mp4a.40.2"));
        let size = told.resolution.unwrap();
        assert_eq!((size.width, size.height), (640, 480));
        assert_eq!(told.frame_rate, Some(frame_rate), "measured");
        stream.end();
    }
}

#[test]
fn rates_are_those_of_the_bytes() {
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    stream.configure(Codec::Aac, ASC);
    play(&mut stream, 10_000, 40, 6_000);
    let log = stream.watch();
    let shown = window(&log).unwrap();
    let told = variant(&shown);
    let bits = |(from, to): (u64, u64)| (to - from) * 8;
    let all = bits((shown.segments[0].from, shown.segments.last().unwrap().to));
    let seconds = shown.segments.len() as u64 * 2;
    assert_eq!(told.average_bandwidth, Some(all.div_ceil(seconds)));
    let largest = shown.segments.iter().map(|s| bits((s.from, s.to))).max().unwrap();
    assert_eq!(told.bandwidth, largest.div_ceil(2), "segments of half a target duration count");
    assert!(told.bandwidth > told.average_bandwidth.unwrap());
    stream.end();
}

#[test]
fn sound_alone_has_no_pictures() {
    let mut stream = Stream::new(&StreamConfig::default());
    for ms in (0..6_000).step_by(24) {
        // A frame of layer III: 128 kb/s, 48 kHz.
        stream.sound_of_layer_iii(ms);
        stream.pass(24);
    }
    let log = stream.watch();
    let told = variant(&window(&log).unwrap());
    assert_eq!(told.codecs.as_deref(), Some("mp4a.40.34"));
    assert!(told.resolution.is_none() && told.frame_rate.is_none());
    assert!((128_000..200_000).contains(&told.bandwidth), "{}", told.bandwidth);
    stream.end();
}
