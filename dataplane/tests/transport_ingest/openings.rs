//! What comes first is held until all tracks have spoken, and not for ever.

use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;

use super::bench::{Bench, all, in_use, pool, shape, units};
use super::transport::{AUDIO, Stream, VIDEO, adts, keyframe, picture};

const STEP: i64 = 3_600;

#[test]
fn a_late_track_is_told_before_the_first_picture() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    stream.pes(VIDEO, 900_000, &keyframe(700));
    (1..6).for_each(|n| stream.pes(VIDEO, 900_000 + n * STEP, &picture(300)));
    stream.pes(AUDIO, 900_000, &[adts(80, 1), adts(80, 2), adts(80, 3)].concat());
    stream.pes(VIDEO, 900_000 + 6 * STEP, &picture(300));
    let told = all(&stream.bytes);
    let shape = shape(&told);
    assert!(shape.starts_with("mccV"), "{shape}");
    assert_eq!((shape.matches('m').count(), units(&told).len()), (1, 10));
}

#[test]
fn a_track_that_says_nothing_is_waited_for_two_seconds() {
    // On the stream's time, and on the wall where that stands still.
    for (step, wall_step) in [(STEP, 0), (90, 40)] {
        let mut bench = Bench::new();
        let mut stream = Stream::of(&[0x1b, 0x0f]);
        let mut first = None;
        for number in 0..80 {
            let bytes = if number % 10 == 0 { keyframe(300) } else { picture(300) };
            stream.pes(VIDEO, 900_000 + number * step, &bytes);
            let told = bench.feed(&std::mem::take(&mut stream.bytes));
            bench.wall_ms += wall_step;
            if first.is_none() && !told.is_empty() {
                first = Some((number, shape(&told)));
            }
        }
        let (number, shape) = first.unwrap();
        assert!((48..56).contains(&number), "{number}");
        assert!(shape.starts_with("mcVvvvvvvvvvV"), "{shape}");
        bench.end();
    }
}

#[test]
fn what_is_held_is_bounded_in_units_and_in_bytes() {
    // Sound alone, in a program that lists pictures: 511 frames that last no time.
    let mut bench = Bench::new();
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    let mut held = 0;
    for number in 0..600 {
        stream.pes(AUDIO, 900_000, &adts(8, number as u8));
        let told = bench.feed(&std::mem::take(&mut stream.bytes));
        if !told.is_empty() {
            held = units(&told).len();
            break;
        }
    }
    assert!((500..=512).contains(&held), "{held}");
    bench.end();
    // Large pictures that last no time.
    let limits = Limits::default();
    let mut bench = Bench::with(Settings::default(), &limits, pool(256, 64));
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    let mut most = 0;
    for number in 0..60 {
        stream.pes_bytes(
            VIDEO,
            super::transport::Field::default(),
            &super::transport::endless(900_000 + number, &keyframe(200_000)),
        );
        bench.feed(&std::mem::take(&mut stream.bytes));
        most = most.max(in_use(&bench.pool));
    }
    assert!((60..80).contains(&most), "{most} pages of 64 KiB for 4 MiB, and the open unit");
    bench.end();
}

#[test]
fn what_is_held_comes_out_at_the_end() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    stream.pes(VIDEO, 900_000, &keyframe(700));
    stream.pes(VIDEO, 900_000 + STEP, &picture(300));
    let mut bench = Bench::new();
    assert_eq!(bench.feed(&stream.bytes.repeat(1)), []);
    assert_eq!(shape(&bench.end()), "mcVv");
    // Without anybody who asks for it, its pages come back.
    let mut bench = Bench::new();
    bench.feed(&stream.bytes);
    bench.ingest.close(&bench.pool);
    assert_eq!(in_use(&bench.pool), 0);
}
