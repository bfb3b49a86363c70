//! How long segments stay, and what happens when there is no room.

use codecs::media::Codec;
use dataplane::config::StreamConfig;

use super::rules::{Rules, media};
use super::stream::{AVCC, Stream, window};

fn play(
    stream: &mut Stream,
    range: std::ops::Range<i64>,
    gop_ms: i64,
    mut see: impl FnMut(&Stream),
) {
    for ms in range.step_by(40) {
        stream.unit(Codec::H264, ms, ms % gop_ms == 0, 2_000);
        stream.pass(40);
        see(stream);
    }
}

#[test]
fn six_are_listed_and_the_others_stay_for_their_time() {
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    play(&mut stream, 0..9_000, 1_000, |_| {});
    let log = stream.watch();
    let mut rules = Rules::default();
    play(&mut stream, 9_000..90_000, 1_000, |stream| rules.see(&log, stream.now));
    let shown = window(&log).unwrap();
    assert_eq!(media(&shown).segments.len(), 6);
    assert!((13..=16).contains(&shown.segments.len()), "{} kept", shown.segments.len());
    assert!(rules.windows >= 39);
    stream.end();
}

#[test]
fn a_long_target_keeps_short_segments_for_their_time() {
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    play(&mut stream, 0..20_000, 10_000, |_| {});
    let log = stream.watch();
    let mut rules = Rules::default();
    play(&mut stream, 20_000..60_000, 10_000, |stream| rules.see(&log, stream.now));
    play(&mut stream, 60_000..160_000, 1_000, |stream| rules.see(&log, stream.now));
    let shown = window(&log).unwrap();
    let list = media(&shown);
    assert_eq!(list.target_duration, 10);
    assert!(list.segments.len() >= 15, "three targets: {}", list.segments.len());
    assert!(shown.segments.len() >= 2 * list.segments.len(), "{} kept", shown.segments.len());
    stream.end();
}

#[test]
fn bytes_end_what_time_would_keep() {
    let mut config = StreamConfig { bytes_max: 256 << 10, ..StreamConfig::default() };
    config.gop_bytes_max = 192 << 10;
    config.hls.bytes_max = 1 << 20;
    let mut stream = Stream::new(&config);
    stream.configure(Codec::H264, AVCC);
    play(&mut stream, 0..3_000, 1_000, |_| {});
    let log = stream.watch();
    let mut most = 0;
    play(&mut stream, 3_000..60_000, 1_000, |_| {
        most = most.max(log.committed() - log.tail());
        if let Some(shown) = window(&log) {
            assert!(shown.segments[0].from >= log.tail(), "what is shown is there");
        }
    });
    assert!(most <= (1 << 20) + (64 << 10), "{most} bytes");
    assert!(most >= 900 << 10, "segments may take more than a live log: {most} bytes");
    stream.end();
}

#[test]
fn pressure_leaves_one_segment_to_those_who_watch() {
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    play(&mut stream, 0..9_000, 1_000, |_| {});
    let log = stream.watch();
    play(&mut stream, 9_000..40_200, 1_000, |_| {});
    let before = window(&log).unwrap();
    assert!(stream.with(dataplane::hub::Hub::relieve));
    stream.turn();
    let after = window(&log).unwrap();
    assert_eq!(after.segments.len(), 1);
    assert_eq!(after.segments[0].number, before.segments.last().unwrap().number);
    stream.with(dataplane::hub::Hub::forget);
    stream.turn();
    assert!(log.window().is_none(), "nothing is left to be listed");
    play(&mut stream, 41_000..50_000, 1_000, |_| {});
    let again = window(&log).expect("and then there is");
    assert!(again.segments[0].number > before.segments.last().unwrap().number);
    stream.end();
}
