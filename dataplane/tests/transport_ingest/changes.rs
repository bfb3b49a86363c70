//! Streams that change while they go on: losses, clocks, configurations, tracks.

use codecs::h264::AvcDecoderConfigurationRecord;
use codecs::media::{Codec, TrackKind};
use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;

use super::bench::{Bench, Told, all, configs, dropped, of_kind, pool, shape, units};
use super::transport::{
    AUDIO, Field, SPS, Stream, VIDEO, adts, annex_b, keyframe, listed, picture, pmt, slice,
};

/// From one picture to the next, in 90 kHz.
const STEP: i64 = 3_600;
/// An SPS of another size: 640x352.
const OTHER_SPS: &[u8] = &[0x67, 66, 0xc0, 30, 0xf4, 2, 0x80, 0xb7, 0x20];
const PPS: &[u8] = super::transport::PPS;

/// A stream of pictures with a GOP of ten, each with two frames of sound.
struct Show {
    stream: Stream,
    number: i64,
}

impl Show {
    fn new() -> Self {
        Self { stream: Stream::of(&[0x1b, 0x0f]), number: 0 }
    }

    /// The next picture, and its sound, at these times of 90 kHz.
    fn add(&mut self, at: i64) {
        let at = at.rem_euclid(1 << 33);
        let bytes = if self.number % 10 == 0 { keyframe(700) } else { picture(400) };
        self.stream.pes(VIDEO, at, &bytes);
        self.stream.pes(AUDIO, at, &adts(100, self.number as u8));
        self.number += 1;
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stream.bytes)
    }
}

fn times(told: &[Told], kind: TrackKind) -> Vec<i64> {
    of_kind(told, kind).iter().map(|unit| unit.dts).collect()
}

#[test]
fn lost_packets_cost_their_picture_and_nothing_else() {
    let mut show = Show::new();
    (0..30).for_each(|number| show.add(900_000 + number * STEP));
    let whole = show.take();
    let is_video = |packet: &&[u8]| packet[1] & 0x1f == 1 && packet[2] == 0;
    // The second packet of the picture of number 14: a keyframe has five, any other three.
    let nth = whole.chunks(PACKET_LEN).enumerate().filter(|(_, packet)| is_video(packet));
    let starts: Vec<usize> = nth.filter(|(_, p)| p[1] & 0x40 != 0).map(|(at, _)| at).collect();
    let mut cut = whole.clone();
    let from = (starts[14] + 1) * PACKET_LEN;
    cut.drain(from..from + PACKET_LEN);
    let (told, good) = (all(&cut), all(&whole));
    assert_eq!((dropped(&good), units(&good).len()), (vec![], 60));
    assert_eq!(dropped(&told), ["packet_loss"]);
    assert_eq!(times(&told, TrackKind::Audio), times(&good, TrackKind::Audio));
    let mut expected = times(&good, TrackKind::Video);
    expected.remove(14);
    assert_eq!(times(&told, TrackKind::Video), expected);
}

#[test]
fn who_comes_in_the_middle_begins_with_a_keyframe() {
    let mut show = Show::new();
    show.number = 6;
    (0..8).for_each(|number| show.add(900_000 + number * STEP));
    let told = all(&show.take());
    let reasons = dropped(&told);
    assert!(reasons.len() == 4 && reasons.iter().all(|&r| r == "no_config"), "{reasons:?}");
    assert!(of_kind(&told, TrackKind::Video)[0].keyframe);
    assert_eq!(of_kind(&told, TrackKind::Video).len(), 4);
    // The sets of a picture that is none to begin with.
    let mut stream = Stream::of(&[0x1b]);
    stream.pes(VIDEO, 0, &annex_b(&[&[9, 0xf0], SPS, PPS, &slice(false, true, 300)]));
    stream.pes(VIDEO, STEP, &picture(300));
    stream.pes(VIDEO, 2 * STEP, &keyframe(300));
    let told = all(&stream.bytes);
    assert_eq!(dropped(&told), ["before_keyframe"; 2]);
    assert_eq!((shape(&told).replace('x', ""), configs(&told).len()), ("mcV".to_owned(), 1));
}

#[test]
fn times_go_on_through_a_wrap() {
    let mut show = Show::new();
    (-20..20).for_each(|number| show.add((1 << 33) + number * STEP));
    let told = all(&show.take());
    for kind in [TrackKind::Video, TrackKind::Audio] {
        let times = times(&told, kind);
        assert_eq!(times.len(), 40);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 40), "{times:?}");
    }
}

#[test]
fn another_clock_goes_on_where_the_stream_is() {
    for (from, to) in [(900_000, 8_000_000_000), (900_000, 0), (8_589_930_000, 4_000_000_000)] {
        let mut bench = Bench::new();
        let mut show = Show::new();
        let mut told = Vec::new();
        let mut play = |base: i64, flags: u8, told: &mut Vec<Told>| {
            for number in 0..20 {
                let at = base + number * STEP;
                let flags = if number == 0 { flags } else { 0 };
                show.stream.clock(VIDEO, (at.rem_euclid(1 << 33) - 900) * 300, flags);
                show.add(at);
                bench.wall_ms += 40;
                told.extend(bench.feed(&show.take()));
            }
        };
        play(from, 0, &mut told);
        play(to, 0x80, &mut told);
        told.extend(bench.end());
        assert_eq!(dropped(&told), Vec::<&str>::new());
        for kind in [TrackKind::Video, TrackKind::Audio] {
            let times = times(&told, kind);
            assert_eq!(times.len(), 40);
            let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(
                steps.clone().all(|step| (20..=120).contains(&step)),
                "{to} {kind:?} {times:?}"
            );
        }
        let apart =
            |at: usize| times(&told, TrackKind::Video)[at] - times(&told, TrackKind::Audio)[at];
        assert_eq!((apart(5), apart(30)), (0, 0), "sound and picture stay together");
    }
}

#[test]
fn another_configuration_comes_right_before_its_keyframe() {
    let mut show = Show::new();
    (0..10).for_each(|number| show.add(900_000 + number * STEP));
    let at = 900_000 + 10 * STEP;
    let first = annex_b(&[&[9, 0xf0], OTHER_SPS, PPS, &slice(true, true, 500)]);
    show.stream.pes(VIDEO, at, &first);
    show.stream.pes(VIDEO, at + STEP, &picture(300));
    show.stream.pes(VIDEO, at + 2 * STEP, &picture(300));
    let told = all(&show.take());
    let shape = shape(&told);
    assert!(shape.starts_with("mcc"), "{shape}");
    assert_eq!(shape.matches("mcV").count(), 1, "{shape}");
    let configs: Vec<_> = configs(&told).into_iter().filter(|c| c.1 == Codec::H264).collect();
    let sps =
        |at: usize| AvcDecoderConfigurationRecord::parse(configs[at].2).unwrap().sps[0].to_vec();
    assert_eq!((configs.len(), sps(0), sps(1)), (2, SPS.to_vec(), OTHER_SPS.to_vec()));
}

#[test]
fn a_track_that_takes_the_place_of_another_has_its_number() {
    let mut stream = Stream::new();
    stream.tables(0, &[(0x1b, VIDEO, b""), (0x0f, AUDIO, b"")]);
    let play = |stream: &mut Stream, video: u16, audio: &[u16], from: i64| {
        for number in 0..4 {
            let at = 900_000 + (from + number) * STEP;
            let bytes = if number == 0 { keyframe(300) } else { picture(300) };
            stream.pes(video, at, &bytes);
            audio.iter().for_each(|&pid| stream.pes(pid, at, &adts(50, 1)));
        }
    };
    play(&mut stream, VIDEO, &[AUDIO], 0);
    stream.tables(1, &[(0x1b, 0x200, b""), (0x0f, AUDIO, b""), (0x0f, 0x201, b"")]);
    play(&mut stream, 0x200, &[AUDIO, 0x201], 4);
    let told = all(&stream.bytes);
    assert_eq!(dropped(&told), Vec::<&str>::new());
    assert!(of_kind(&told, TrackKind::Video).iter().all(|unit| unit.track == 0));
    assert_eq!(of_kind(&told, TrackKind::Video).len(), 8);
    let sound = of_kind(&told, TrackKind::Audio);
    let of = |track| sound.iter().filter(|unit| unit.track == track).count();
    assert_eq!((of(0), of(1)), (8, 4));
}

#[test]
fn a_track_that_ends_for_good_is_told_once() {
    let mut bench = Bench::new();
    let mut show = Show::new();
    (0..5).for_each(|number| show.add(900_000 + number * STEP));
    bench.feed(&show.take());
    show.stream.tables(1, &[(0x1b, 0x200, b"")]);
    show.stream.pes(0x200, 900_000 + 5 * STEP, &keyframe(300));
    bench.feed(&show.take());
    assert_eq!(bench.ingest.take_ended(), Some((TrackKind::Audio, 0)));
    assert_eq!(bench.ingest.take_ended(), None, "the other one's number was taken");
    show.stream.tables(2, &[(0x1b, 0x200, b""), (0x0f, AUDIO, b"")]);
    show.stream.tables(3, &[(0x1b, 0x200, b"")]);
    bench.feed(&show.take());
    assert_eq!(bench.ingest.take_ended(), None, "it never said anything");
    bench.end();
}

#[test]
fn another_program_goes_on_in_its_place() {
    let mut stream = Stream::new();
    stream.tables(0, &listed(&[0x1b]));
    (0..5).for_each(|n| stream.pes(VIDEO, 900_000 + n * STEP, &keyframe(300)));
    // Program 2 takes the place of program 1.
    stream.section(0, &super::transport::pat(1, &[(2, 0x30)]));
    stream.section(0x30, &pmt(2, 0, 0x300, &[(0x1b, 0x300, b"")]));
    (0..5).for_each(|n| stream.pes(0x300, 5_000_000_000 + n * STEP, &keyframe(300)));
    let told = all(&stream.bytes);
    let pictures = of_kind(&told, TrackKind::Video);
    assert_eq!((pictures.len(), dropped(&told)), (10, vec![]));
    assert!(pictures.iter().all(|unit| unit.track == 0 && unit.keyframe));
    let times = times(&told, TrackKind::Video);
    assert!(times.windows(2).all(|pair| (20..=60).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn streams_that_are_too_many_or_unknown_are_left_out() {
    let limits = Limits { tracks_max: 2, ..Limits::default() };
    let mut bench = Bench::with(Settings::default(), &limits, pool(8, 8));
    let mut stream = Stream::new();
    let types: [(u8, u16, &[u8]); 5] = [
        (0x02, 0x180, b""),
        (0x86, 0x181, b""),
        (0x1b, VIDEO, b""),
        (0x0f, AUDIO, b""),
        (0x0f, 0x182, b""),
    ];
    stream.tables(0, &types);
    assert_eq!(bench.ingest.tables_version(), 0);
    for number in 0..10 {
        let at = 900_000 + number * STEP;
        stream.pes(VIDEO, at, &if number == 0 { keyframe(300) } else { picture(300) });
        stream.pes(0x180, at, &[0, 0, 1, 0xb3, 5, 5]);
        stream.pes(AUDIO, at, &adts(50, 1));
        stream.pes(0x182, at, &adts(50, 2));
    }
    let told = bench.feed(&stream.bytes);
    assert!(bench.ingest.tables_version() > 0);
    assert_eq!(bench.ingest.program().map(|program| program.streams.len()), Some(5));
    assert_eq!(dropped(&told), Vec::<&str>::new());
    assert!(units(&told).iter().all(|unit| unit.track == 0));
    let left = bench.end();
    assert_eq!(units(&told).len() + units(&left).len(), 20);
    // Nothing but what nobody reads: no error, and no unit.
    let mut stream = Stream::new();
    stream.tables(0, &[(0x02, 0x180, b"")]);
    stream.packet(0x180, true, Field::default(), &[7; 184]);
    assert_eq!(all(&stream.bytes.repeat(4)), []);
}
