//! Publishers that return, and names that begin anew.

use codecs::media::Codec;
use dataplane::config::{HlsMode, StreamConfig};

use super::rules::{Rules, media, periods};
use super::stream::{ASC, AVCC, OTHER_AVCC, Stream, window};

fn play(stream: &mut Stream, from_ms: i64, to_ms: i64, mut see: impl FnMut(&Stream)) {
    for ms in (from_ms..to_ms).step_by(40) {
        stream.unit(Codec::H264, ms, ms % 1_000 == 0, 400);
        stream.unit(Codec::Aac, ms, true, 100);
        see(stream);
        stream.pass(40);
    }
}

fn stream(config: &StreamConfig) -> Stream {
    let mut stream = Stream::new(config);
    stream.configure(Codec::H264, AVCC);
    stream.configure(Codec::Aac, ASC);
    stream
}

#[test]
fn a_return_is_a_break_for_every_list_once() {
    for record in [AVCC, OTHER_AVCC] {
        let mut stream = stream(&StreamConfig::default());
        play(&mut stream, 0, 9_000, |_| {});
        let log = stream.watch();
        let mut rules = Rules::default();
        rules.see(&log, stream.now);
        let before = periods(&media(&window(&log).unwrap()))[0];
        stream.pass(3_000);
        stream.returns();
        stream.configure(Codec::H264, record);
        stream.configure(Codec::Aac, ASC);
        let mut most = 0;
        play(&mut stream, 0, 60_000, |stream| {
            rules.see(&log, stream.now);
            let list = media(&window(&log).unwrap());
            most = most.max(list.segments.iter().filter(|s| s.discontinuity).count());
            let newest = *periods(&list).last().unwrap();
            assert!(newest == before || newest == before + 1);
        });
        assert_eq!(most, 1, "one break is listed");
        let list = media(&window(&log).unwrap());
        assert_eq!(list.discontinuity_sequence, before + 1, "and counted when it has left");
        assert!(list.independent_segments);
        stream.end();
    }
}

#[test]
fn numbers_of_a_name_never_go_back() {
    let mut config = StreamConfig::default();
    config.hls.mode = HlsMode::Always;
    let mut stream = stream(&config);
    let (mut sequence, mut break_sequence) = (0, 0);
    for life in 0..6 {
        // The third life is delivered a hundred times faster than time passes.
        let log = stream.subscribe(dataplane::session::LogKey::SEGMENTS);
        assert!(log.is_ok() || life == 0);
        for ms in (0..if life == 3 { 400_000 } else { 9_000 }).step_by(40) {
            stream.unit(Codec::H264, ms, ms % 1_000 == 0, 400);
            if life != 3 || ms % 4_000 == 0 {
                stream.pass(40);
            }
        }
        let log = stream.watch();
        let list = media(&window(&log).unwrap());
        assert!(list.media_sequence > sequence, "life {life}: {sequence}, {list:?}");
        assert!(list.discontinuity_sequence > break_sequence);
        sequence = list.media_sequence + list.segments.len() as u64;
        break_sequence = *periods(&list).last().unwrap();
        stream.begin_anew(&config);
        stream.configure(Codec::H264, AVCC);
    }
    stream.end();
}

#[test]
fn the_last_playlist_has_all_of_the_stream_and_says_so() {
    let mut stream = stream(&StreamConfig::default());
    play(&mut stream, 0, 9_100, |_| {});
    let log = stream.watch();
    let mut rules = Rules::default();
    rules.see(&log, stream.now);
    let config = StreamConfig::default();
    let numbers = window(&log).unwrap().segments.len();
    // What is sealed stays until its pages are given back, which the shard does later.
    let shown = {
        let Stream { pool, gc, counters, now, wall, hub, .. } = &mut stream;
        let fresh = dataplane::hub::Hub::new(
            hub.name().clone(),
            &config,
            60_000,
            8,
            dataplane::hub::Source::new(
                dataplane::hub::Publisher::Demo,
                dataplane::control::Protocol::Demo,
            ),
            hub.numbering(),
            *now,
        );
        let sink = &mut dataplane::hub::Sink { pool, gc, counters, now: *now, wall: *wall };
        let logs = std::mem::replace(hub, fresh).end(sink);
        rules.see(&log, *now);
        let shown = window(&log).unwrap();
        assert!(logs.iter().any(|log| log.serves_segments()));
        logs.into_iter().for_each(|log| log.close(pool, gc));
        shown
    };
    assert!(rules.ended && shown.ended);
    assert_eq!(shown.segments.len(), numbers + 1, "the open segment is finished");
    let list = media(&shown);
    let total: f32 = list.segments.iter().map(|segment| segment.duration).sum();
    assert!((total - 9.12).abs() < 0.03, "{total} s of 9.1 s");
    stream.end();
}
