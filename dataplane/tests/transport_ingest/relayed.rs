//! Packets as they are: in runs of a datagram, whatever the pieces that they come in, and with
//! their pages.

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;
use dataplane::session::Event;
use dataplane::session::mpegts::TransportProgram;
use proptest::prelude::*;

use super::bench::{Bench, in_use, pool};
use super::transport::*;

/// What was told of packets.
#[derive(Default)]
struct Relayed {
    bytes: Vec<u8>,
    /// Packets of each run, the time of its start in milliseconds, and whether a reader may begin
    /// with it.
    runs: Vec<(usize, Option<i64>, bool)>,
    programs: Vec<TransportProgram>,
    dropped: usize,
}

fn relay(bench: &mut Bench, bytes: &[u8], step: usize) -> Relayed {
    let mut relayed = Relayed::default();
    for mut piece in bytes.chunks(step) {
        while let Some(event) = bench.ingest.feed(bench.now(), &mut piece, &bench.pool) {
            match event {
                Event::Relay(run) => {
                    let at = run.at.map(|at| at.as_millis());
                    relayed.runs.push((run.packets.len() / PACKET_LEN, at, run.join));
                    let chunks = bench.pool.chunks(&run.packets);
                    chunks.for_each(|chunk| relayed.bytes.extend_from_slice(chunk));
                    bench.pool.release(run.packets);
                }
                Event::Program(program) => relayed.programs.push(*program),
                Event::Media(unit) => bench.pool.release(unit.payload),
                Event::MediaDropped { .. } => relayed.dropped += 1,
                _ => {}
            }
        }
    }
    relayed
}

fn with_pages(large: u32, small: u32, keeps_null: bool) -> Bench {
    let mut bench = Bench::with(Settings::default(), &Limits::default(), pool(large, small));
    let ingest = dataplane::session::mpegts::Ingest::new(Settings::default(), &Limits::default());
    bench.ingest = ingest.relaying(keeps_null);
    bench
}

/// Two seconds of pictures, a keyframe each, with what fills the rate.
fn stream() -> Stream {
    let mut stream = Stream::of(&[0x1b, 0x86]);
    for number in 0..50 {
        let pts = 90_000 + 3_600 * number;
        let field = Field { flags: 0, pcr: Some((pts - 9_000) * 300) };
        let bytes = if number % 25 == 0 { keyframe(1_500) } else { picture(900) };
        stream.pes_bytes(VIDEO, field, &pes(pts, None, &bytes));
        stream.packet(0x1fff, false, Field::default(), &[0xff; 184]);
    }
    stream
}

fn picture(len: usize) -> Vec<u8> {
    annex_b(&[&[9, 0xf0], &slice(false, true, len)])
}

/// From the first packet behind the map on, which is where the program is known.
fn expected(stream: &Stream, keeps_null: bool) -> Vec<u8> {
    let packets = stream.bytes.chunks(PACKET_LEN).skip(1);
    let stays = |packet: &&[u8]| keeps_null || packet[1..3] != [0x1f, 0xff];
    packets.filter(stays).flatten().copied().collect()
}

#[test]
fn packets_come_in_runs_of_a_datagram_with_their_times() {
    let stream = stream();
    for keeps_null in [false, true] {
        let mut bench = with_pages(8, 64, keeps_null);
        let relayed = relay(&mut bench, &stream.bytes, 1_316);
        assert!(relayed.bytes == expected(&stream, keeps_null), "{keeps_null}");
        assert!(relayed.runs.iter().all(|(packets, ..)| (1..=7).contains(packets)));
        let joins: Vec<_> = relayed.runs.iter().filter(|run| run.2).map(|run| run.1).collect();
        assert_eq!(joins, [Some(900), Some(1_900)], "the clock there");
        assert!(relayed.runs.is_sorted_by_key(|run| run.1), "times rise");
        let programs = relayed.programs.iter().map(|it| (it.number, it.streams.len()));
        assert_eq!(programs.collect::<Vec<_>>(), [(None, 0), (Some(1), 2)], "with each table");
        bench.end();
    }
}

#[test]
fn without_a_page_a_run_is_missing_as_a_whole() {
    let stream = stream();
    let mut bench = with_pages(8, 64, false);
    let held: Vec<_> =
        std::iter::from_fn(|| bench.pool.alloc(dataplane::slab::PageClass::Small)).collect();
    let mut relayed = relay(&mut bench, &stream.bytes[..100 * PACKET_LEN], 1_316);
    assert!(relayed.bytes.is_empty() && relayed.dropped > 3);
    held.into_iter().for_each(|page| bench.pool.free(page));
    relayed = relay(&mut bench, &stream.bytes[100 * PACKET_LEN..], 1_316);
    assert!(expected(&stream, false).ends_with(&relayed.bytes) && !relayed.bytes.is_empty());
    bench.end();
}

#[test]
fn a_session_that_moves_keeps_its_program() {
    let stream = stream();
    let mut bench = with_pages(8, 64, false);
    let cut = 60 * PACKET_LEN;
    relay(&mut bench, &stream.bytes[..cut], 1_316);
    bench.ingest.pack_pages(&bench.pool);
    assert_eq!(in_use(&bench.pool), 0);
    let later = relay(&mut bench, &stream.bytes[cut..], 1_316);
    assert!(expected(&stream, false).ends_with(&later.bytes) && later.programs.is_empty());
    bench.end();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pieces_do_not_matter(step in 1..4_000_usize) {
        let stream = stream();
        let mut bench = with_pages(8, 64, false);
        let relayed = relay(&mut bench, &stream.bytes, step);
        // The last few packets wait for those that would make sure of them.
        prop_assert!(expected(&stream, false).starts_with(&relayed.bytes));
        prop_assert!(relayed.bytes.len() + 5 * PACKET_LEN > expected(&stream, false).len());
        bench.end();
    }
}
