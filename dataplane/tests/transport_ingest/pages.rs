//! Units in pages: when none are left, and when the session moves.

use codecs::mpegts::demux::{Framer, Settings};
use dataplane::config::Limits;

use super::bench::{Bench, all, dropped, in_use, pool, shape, units};
use super::transport::{AUDIO, Field, Stream, VIDEO, adts, endless, keyframe, picture};

const STEP: i64 = 3_600;

fn add(stream: &mut Stream, number: i64, bytes: &[u8]) {
    stream.pes_bytes(VIDEO, Field::default(), &endless(900_000 + number * STEP, bytes));
}

#[test]
fn a_picture_without_a_page_is_dropped_and_a_keyframe_awaited() {
    let mut bench = Bench::with(Settings::default(), &Limits::default(), pool(3, 4));
    let mut stream = Stream::of(&[0x1b]);
    add(&mut stream, 0, &keyframe(10_000));
    add(&mut stream, 1, &picture(300_000));
    add(&mut stream, 2, &picture(1_000));
    add(&mut stream, 3, &picture(1_000));
    add(&mut stream, 4, &keyframe(1_000));
    add(&mut stream, 5, &picture(1_000));
    let mut told = bench.feed(&stream.bytes);
    told.extend(bench.end());
    assert_eq!(dropped(&told), ["memory", "awaits_keyframe", "awaits_keyframe"]);
    assert_eq!(shape(&told).replace('x', ""), "mcVVv");
}

#[test]
fn units_over_their_bound_are_dropped_and_told() {
    let settings = Settings { unit_bytes_max: 5_000, open_bytes_max: 8_000, ..Settings::default() };
    let mut bench = Bench::with(settings, &Limits::default(), pool(8, 8));
    let mut stream = Stream::of(&[0x1b]);
    add(&mut stream, 0, &keyframe(4_000));
    add(&mut stream, 1, &picture(6_000));
    add(&mut stream, 2, &picture(1_000));
    let mut told = bench.feed(&stream.bytes);
    told.extend(bench.end());
    assert_eq!((dropped(&told), units(&told).len()), (vec!["unit_bytes"], 2));
}

#[test]
fn a_session_moves_in_the_middle_of_a_unit() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    for number in 0..6 {
        let bytes = if number == 0 { keyframe(100_000) } else { picture(100_000) };
        add(&mut stream, number, &bytes);
        stream.pes(AUDIO, 900_000 + number * STEP, &adts(100, 1));
    }
    let whole = all(&stream.bytes);
    let at = stream.bytes.len() / 2 / 188 * 188;
    let mut bench = Bench::new();
    let mut told = bench.feed(&stream.bytes[..at]);
    bench.ingest.pack_pages(&bench.pool);
    assert_eq!(in_use(&bench.pool), 0, "nothing stays behind");
    assert!(bench.ingest.buffer_bytes() > 40_000, "what is open is counted");
    bench.pool = pool(64, 64);
    told.extend(bench.feed(&stream.bytes[at..]));
    told.extend(bench.end());
    assert_eq!(units(&told), units(&whole));
}

#[test]
fn a_session_that_moves_before_all_have_spoken_waits_for_a_keyframe() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    (0..4).for_each(|n| add(&mut stream, n, &if n == 0 { keyframe(900) } else { picture(900) }));
    let mut bench = Bench::new();
    assert_eq!(bench.feed(&stream.bytes), []);
    bench.ingest.pack_pages(&bench.pool);
    assert_eq!(in_use(&bench.pool), 0);
    bench.pool = pool(8, 8);
    stream.bytes.clear();
    add(&mut stream, 4, &picture(900));
    add(&mut stream, 5, &keyframe(900));
    stream.pes(AUDIO, 900_000, &adts(100, 1));
    let mut told = bench.feed(&stream.bytes);
    told.extend(bench.end());
    assert_eq!(dropped(&told), ["moved"; 2]);
    assert_eq!(shape(&told).replace('x', ""), "mccaV");
}

#[test]
fn packets_that_were_found_before_say_the_same() {
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    for number in 0..20 {
        let bytes = if number % 5 == 0 { keyframe(900) } else { picture(500) };
        add(&mut stream, number, &bytes);
        stream.pes(AUDIO, 900_000 + number * STEP, &adts(100, 1));
    }
    let whole = all(&stream.bytes);
    let (mut bench, mut framer, mut told) = (Bench::new(), Framer::default(), Vec::new());
    let mut input = &stream.bytes[..];
    while let Some(packet) = framer.next(&mut input) {
        bench.ingest.push(bench.now(), packet, &bench.pool);
        while let Some(event) = bench.ingest.poll() {
            told.extend(bench.told(event));
        }
    }
    told.extend(bench.end());
    assert_eq!(told, whole);
}
