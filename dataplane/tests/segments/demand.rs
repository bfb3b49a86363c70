//! Segments that are packaged on demand are those that always were.

use codecs::media::Codec;
use dataplane::Error;
use dataplane::config::{HlsMode, StreamConfig};
use dataplane::session::{Dialect, Format, LogKey};

use super::rules::{Rules, media};
use super::stream::{ASC, AVCC, READER, Stream, bytes, reader, window};

fn config(mode: HlsMode) -> StreamConfig {
    let mut config = StreamConfig::default();
    config.hls.mode = mode;
    config
}

fn stream(mode: HlsMode) -> Stream {
    let mut stream = Stream::new(&config(mode));
    stream.configure(Codec::H264, AVCC);
    stream.configure(Codec::Aac, ASC);
    stream
}

/// Groups of pictures whose lengths differ, and sound.
fn play(stream: &mut Stream, from_ms: i64, to_ms: i64) {
    for ms in (from_ms..to_ms).step_by(40) {
        let keyframe = [0, 700, 2_200, 2_900].contains(&(ms % 3_500 / 100 * 100)) && ms % 100 < 40;
        stream.unit(Codec::H264, ms, keyframe || ms == 0, 900);
        stream.unit(Codec::Aac, ms + 3, true, 100);
        stream.unit(Codec::Aac, ms + 23, true, 100);
        stream.pass(40);
    }
}

/// Continuity counters count from the first packet of a log on, and nothing else depends on it.
fn without_counters(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.chunks_exact_mut(188).for_each(|packet| packet[3] &= 0xf0);
    bytes
}

#[test]
fn on_demand_equals_always() {
    let mut always = stream(HlsMode::Always);
    let mut demand = stream(HlsMode::OnDemand);
    play(&mut always, 0, 30_000);
    play(&mut demand, 0, 30_000);
    assert!(demand.hub.log_status().is_empty(), "nobody asked");
    let (late, early) = (demand.watch(), always.watch());
    let first = window(&late).expect("the first playlist is there at once");
    assert!(first.segments.len() >= 2, "what the ring holds is listed");
    for from in [30_000, 31_000, 40_000] {
        play(&mut always, from, from + 10_000);
        play(&mut demand, from, from + 10_000);
        let (a, b) = (window(&early).unwrap(), window(&late).unwrap());
        for segment in &b.segments {
            let same = a.segment(segment.number).expect("the same numbers");
            assert_eq!((same.duration, same.wall), (segment.duration, segment.wall));
            assert_eq!(
                without_counters(bytes(&early, same.from, same.to)),
                without_counters(bytes(&late, segment.from, segment.to)),
                "segment {}",
                segment.number
            );
        }
    }
    let (a, b) = (window(&early).unwrap(), window(&late).unwrap());
    assert_eq!(media(&a), media(&b));
    assert_eq!(a.media.etag(), b.media.etag());
    always.end();
    demand.end();
}

#[test]
fn who_reads_packets_live_holds_no_segments() {
    let mut stream = stream(HlsMode::OnDemand);
    play(&mut stream, 0, 1_000);
    let log = stream.subscribe(LogKey::SEGMENTS).unwrap();
    play(&mut stream, 1_000, 60_000);
    assert!(log.window().is_none(), "nobody asked for segments");
    let oldest = log.entry_containing(log.tail()).unwrap();
    assert!(oldest.dts.as_millis() >= 49_000, "kept as any log, not from {:?}", oldest.dts);
    stream.with(|hub, sink| hub.subscribe_segments(reader(1), sink)).unwrap();
    let shown = window(&log).expect("what is there is listed at once");
    assert!(shown.segments.len() >= 3);
    play(&mut stream, 60_000, 120_000);
    let used = log.committed() - log.tail();
    let kept = window(&log).unwrap().segments.len();
    assert!((13..=18).contains(&kept), "{kept} kept");
    stream.with(|hub, sink| hub.unsubscribe(LogKey::SEGMENTS, reader(1), sink));
    assert!(log.window().is_none());
    play(&mut stream, 120_000, 180_000);
    assert!((log.committed() - log.tail()) * 2 < used, "the window is given back");
    stream.end();
}

#[test]
fn a_log_of_segments_goes_with_its_last_reader() {
    for (mode, logs) in [(HlsMode::OnDemand, 0), (HlsMode::Always, 1)] {
        let mut stream = stream(mode);
        play(&mut stream, 0, 5_000);
        stream.watch();
        stream.with(|hub, sink| hub.unsubscribe(LogKey::SEGMENTS, READER, sink));
        stream.pass(20_000);
        stream.with(|hub, sink| while hub.drop_idle_logs(sink) {});
        assert_eq!(stream.hub.log_status().len(), logs, "{mode:?}");
        stream.with(|hub, sink| hub.drop_unread_logs(sink));
        assert_eq!(stream.hub.log_status().len(), 0, "under pressure it goes in any mode");
        play(&mut stream, 25_000, 30_000);
        assert_eq!(stream.hub.log_status().len(), logs, "and returns when there is room");
        stream.end();
    }
}

#[test]
fn without_hls_nothing_is_cut() {
    let mut stream = stream(HlsMode::Off);
    play(&mut stream, 0, 5_000);
    let log = stream.subscribe(LogKey::SEGMENTS).unwrap();
    let refused = stream.with(|hub, sink| hub.subscribe_segments(reader(1), sink));
    assert_eq!(refused.unwrap_err(), Error::Rejected("not_found"));
    play(&mut stream, 5_000, 20_000);
    assert!(log.window().is_none());
    assert_eq!(stream.counters.segments_begun, 0);
    stream.end();
}

#[test]
fn other_logs_have_no_segments() {
    let mut stream = stream(HlsMode::Always);
    let key = LogKey { format: Format::Flv, dialect: Dialect::Native, track: 0 };
    let log = stream.subscribe(key).unwrap();
    play(&mut stream, 0, 20_000);
    assert!(log.window().is_none());
    stream.end();
}

#[test]
fn who_asks_late_finds_a_target_that_long_groups_of_pictures_fit() {
    let mut stream = stream(HlsMode::OnDemand);
    for ms in (0..41_000).step_by(40) {
        stream.unit(Codec::H264, ms, ms % 8_000 == 0, 400);
        stream.pass(40);
    }
    let log = stream.watch();
    let mut rules = Rules::default();
    rules.see(&log, stream.now);
    assert_eq!(media(&window(&log).unwrap()).target_duration, 8);
    for ms in (41_000..120_000).step_by(40) {
        stream.unit(Codec::H264, ms, ms % 8_000 == 0, 400);
        stream.pass(40);
        rules.see(&log, stream.now);
    }
    let list = media(&window(&log).unwrap());
    assert!(list.independent_segments && list.segments.iter().all(|s| s.duration == 8.0));
    assert_eq!(stream.counters.gops_cut, 0);
    stream.end();
}
