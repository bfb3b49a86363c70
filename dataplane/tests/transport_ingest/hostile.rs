//! Any bytes: nothing panics, nothing grows, every page comes back.

use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;
use proptest::prelude::*;

use super::bench::{Bench, bytes_in_use, pool, units};
use super::transport::{AUDIO, Stream, VIDEO, adts, keyframe, picture};

/// Bytes of tables and buffers at most, whatever was sent.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Bytes that may be open at one time.
const OPEN_BYTES_MAX: usize = 256 << 10;
/// Bytes of one unit.
const UNIT_BYTES_MAX: usize = 128 << 10;
/// Bytes that are held until all tracks have spoken, before the unit that is too much.
const HELD_BYTES_MAX: usize = 4 << 20;
/// A page that each track fills, and one that its first unit begins in.
const TAIL_BYTES_MAX: usize = 2 * TRACKS_MAX * (64 << 10);
/// Tracks that are carried, unless it is said otherwise.
const TRACKS_MAX: usize = 8;
/// Far more pages than may ever be in use.
const LARGE_PAGES: u32 = 512;

fn settings() -> Settings {
    Settings {
        unit_bytes_max: UNIT_BYTES_MAX,
        open_bytes_max: OPEN_BYTES_MAX,
        ..Settings::default()
    }
}

/// Feeds all of it, with its bounds looked at.
fn survive(bytes: &[u8], step: usize) {
    let mut bench = Bench::with(settings(), &Limits::default(), pool(LARGE_PAGES, 512));
    let mut is_opening = true;
    for piece in bytes.chunks(step.max(1)) {
        is_opening &= units(&bench.feed(piece)).is_empty();
        assert!(bench.ingest.buffer_bytes() <= BUFFER_BYTES_MAX);
        let held = if is_opening { HELD_BYTES_MAX } else { 0 };
        let pages = bytes_in_use(&bench.pool);
        assert!(pages <= held + OPEN_BYTES_MAX + UNIT_BYTES_MAX + TAIL_BYTES_MAX, "{pages}");
    }
    bench.end();
}

/// Packets with a right first byte, on few PIDs, and all else at random.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let packet = (0..6_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 184));
    prop::collection::vec(packet, 1..80).prop_map(|packets| {
        let packet = |(pid, flags, body): (u8, u8, Vec<u8>)| {
            let pid = [0, 0x20, 0x100, 0x101, 0x102, 0x1ff][usize::from(pid)] as u16;
            let [high, low] = pid.to_be_bytes();
            [&[0x47, high | flags & 0x40, low, flags][..], &body].concat()
        };
        packets.into_iter().flat_map(packet).collect()
    })
}

/// A good stream of everything.
fn good() -> Vec<u8> {
    let mut stream = Stream::of(&[0x1b, 0x0f, 0x24, 0x11, 0x81, 0x03, 0x86]);
    for number in 0..20 {
        let at = 900_000 + number * 3_600;
        stream.clock(VIDEO, (at - 900) * 300, 0);
        stream.pes(VIDEO, at, &if number % 5 == 0 { keyframe(900) } else { picture(500) });
        (AUDIO..AUDIO + 6).for_each(|pid| stream.pes(pid, at, &adts(100, number as u8)));
    }
    stream.bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..20_000),
        step in 1..3_000_usize,
    ) {
        survive(&bytes, step);
    }

    #[test]
    fn any_packets_do_no_harm(bytes in packets(), step in 1..3_000_usize) {
        survive(&[Stream::of(&[0x1b, 0x0f, 0x24]).bytes, bytes].concat(), step);
    }

    #[test]
    fn a_stream_with_wrong_bytes_does_no_harm(
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..200),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..400_usize), 0..6),
        step in 1..3_000_usize,
    ) {
        let mut bytes = good();
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for (at, len) in cuts {
            let at = at.index(bytes.len());
            let end = (at + len).min(bytes.len());
            bytes.drain(at..end);
        }
        survive(&bytes, step);
    }
}

#[test]
fn a_track_that_never_speaks_holds_no_more_than_it_may() {
    // Twice as much as may be held, within a second.
    let mut stream = Stream::of(&[0x1b, 0x0f]);
    for number in 0..128 {
        let picture = if number == 0 { keyframe(64_000) } else { picture(64_000) };
        stream.pes(VIDEO, 900_000 + number * 600, &picture);
    }
    assert!(stream.bytes.len() > HELD_BYTES_MAX + HELD_BYTES_MAX / 2);
    survive(&stream.bytes, 1_316);
}

#[test]
fn short_nal_units_without_end_cost_no_more_than_their_bytes() {
    let mut stream = Stream::of(&[0x1b]);
    let units = [&keyframe(200)[..], &[0, 0, 1, 0x0c].repeat(60_000)].concat();
    let endless = super::transport::endless(900_000, &units);
    stream.pes_bytes(VIDEO, super::transport::Field::default(), &endless);
    survive(&stream.bytes.repeat(8), 1_316);
}

#[test]
fn tables_that_change_without_end_take_no_room() {
    let mut bytes = Vec::new();
    for round in 0..400_u16 {
        let mut stream = Stream::new();
        let version = (round % 32) as u8;
        let listed: Vec<(u8, u16, &[u8])> = (0..40)
            .map(|n| ([0x1b, 0x0f, 0x02, 0x86][usize::from(n % 4)], 0x30 + round * 4 + n, &[][..]))
            .collect();
        stream.tables(version, &listed);
        for (_, pid, _) in &listed {
            stream.pes(*pid, i64::from(round) * 3_600, &keyframe(300));
        }
        bytes.extend(stream.bytes);
    }
    survive(&bytes, 1_316);
}
