//! Streams of ffmpeg: every unit arrives, with its bytes and its times.

use std::collections::BTreeMap;

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::demux::{Demuxer, Event, MemoryStore, Settings};

use super::bench::{Bench, Told, Unit, configs, dropped, shape, units};

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../../codecs/testdata/mpegts/ffmpeg_", $name, ".ts"))
                .as_slice(),
        )),*]
    };
}

const CASES: [(&str, &[u8]); 9] = cases![
    "h264_aac",
    "hevc_ac3",
    "wrap_mp2",
    "mp3_eac3",
    "opus",
    "latm",
    "two_programs",
    "timecoded",
    "open_gop",
];

fn told(stream: &[u8], step: usize) -> Vec<Told> {
    let mut bench = Bench::new();
    let mut told = bench.feed_in(stream, step);
    told.extend(bench.end());
    told
}

/// The units of each track, as the demultiplexer gives them, whose own golden files are by an
/// independent reader.
fn expected(stream: &[u8]) -> BTreeMap<(TrackKind, u8), Vec<Unit>> {
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let mut ids = BTreeMap::new();
    let mut counts = BTreeMap::<TrackKind, u8>::new();
    let mut tracks = BTreeMap::<(TrackKind, u8), Vec<Unit>>::new();
    let mut input = stream;
    let mut take = |event| match event {
        Event::Track(track) => {
            let count = counts.entry(track.carriage.kind()).or_default();
            ids.insert(track.slot, *count);
            *count += 1;
        }
        Event::Unit(unit) => {
            let id = ids[&unit.track];
            tracks.entry((unit.codec.kind(), id)).or_default().push(Unit {
                track: id,
                codec: unit.codec,
                dts: unit.dts.as_millis(),
                cts: (unit.pts - unit.dts).as_millis(),
                keyframe: unit.keyframe,
                bytes: unit.bytes,
            });
        }
        _ => {}
    };
    while let Some(event) = demuxer.feed(&mut input, &mut store) {
        take(event);
    }
    demuxer.finish(&mut store);
    while let Some(event) = demuxer.poll() {
        take(event);
    }
    tracks
}

#[test]
fn every_unit_of_every_stream_arrives_however_it_is_cut() {
    for (name, stream) in CASES {
        let expected = expected(stream);
        for step in [7, 188, 1_316, stream.len()] {
            let told = told(stream, step);
            assert_eq!(dropped(&told), Vec::<&str>::new(), "{name}");
            let mut found = BTreeMap::<(TrackKind, u8), Vec<Unit>>::new();
            for unit in units(&told) {
                found.entry((unit.codec.kind(), unit.track)).or_default().push(unit.clone());
            }
            assert_eq!(found, expected, "{name} in pieces of {step}");
        }
    }
}

#[test]
fn all_that_decoders_need_comes_before_the_first_unit() {
    for (name, stream) in CASES {
        let told = told(stream, 1_316);
        let shape = shape(&told);
        let first = shape.find(['a', 'v', 'V']).unwrap();
        assert!(shape.starts_with('m') && !shape[first..].contains(['m', 'c']), "{name} {shape}");
        assert!(shape[first..].find('v') > shape[first..].find('V') || !shape.contains('v'));
        for (_, codec, record) in configs(&told) {
            let config = DecoderConfig::parse(codec, record).unwrap();
            assert!(config.video.is_some() || config.audio.is_some(), "{name} {codec:?}");
        }
        let needs = |codec| matches!(codec, Codec::H264 | Codec::Hevc | Codec::Aac | Codec::Opus);
        let mut wanted: Vec<_> = units(&told).iter().map(|unit| (unit.track, unit.codec)).collect();
        wanted.retain(|(_, codec)| needs(*codec));
        wanted.sort_unstable();
        wanted.dedup();
        let mut had: Vec<_> = configs(&told).iter().map(|&(id, codec, _)| (id, codec)).collect();
        had.sort_unstable();
        assert_eq!(had, wanted, "{name}: one for each track");
    }
}

#[test]
fn times_rise_through_the_wrap_of_thirty_three_bits() {
    let (_, stream) = CASES[2];
    let told = told(stream, 1_316);
    let wrap_ms = (1_i64 << 33) / 90;
    for codec in [Codec::H264, Codec::Mp2] {
        let times: Vec<_> =
            units(&told).iter().filter(|u| u.codec == codec).map(|u| u.dts).collect();
        assert!(times[0] < wrap_ms && times[times.len() - 1] > wrap_ms, "{codec:?} {times:?}");
        assert!(times.windows(2).all(|pair| (1..200).contains(&(pair[1] - pair[0]))), "{times:?}");
    }
}

#[test]
fn the_program_that_is_asked_for_is_read() {
    let (_, stream) = CASES[6];
    let read = |program: u16| {
        let settings = Settings { program: Some(program), ..Settings::default() };
        let limits = dataplane::config::Limits::default();
        let mut bench = Bench::with(settings, &limits, super::bench::pool(64, 64));
        let mut told = bench.feed(stream);
        assert_eq!(bench.ingest.program().unwrap().number, program);
        told.extend(bench.end());
        units(&told).into_iter().cloned().collect::<Vec<_>>()
    };
    let (first, second) = (read(7), read(9));
    assert!(!first.is_empty() && !second.is_empty() && first != second);
    let default: Vec<Unit> = units(&told(stream, 1_316)).into_iter().cloned().collect();
    assert_eq!(default, first, "the first one is read unless another one is asked for");
}
