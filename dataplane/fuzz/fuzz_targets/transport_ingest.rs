//! A publisher's transport stream in pieces of the first byte's size; the second byte says after
//! how many of them the session moves to another shard. At the end every page must be back.
#![no_main]

use std::time::{Duration, Instant};

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::Settings;
use dataplane::config::Limits;
use dataplane::session::Event;
use dataplane::session::mpegts::Ingest;
use dataplane::slab::{PageClass, Pool, Region, RegionConfig};
use libfuzzer_sys::fuzz_target;

/// Bytes of tables and buffers at most, whatever comes, and of open units that are packed.
const BUFFER_BYTES_MAX: usize = 2 << 20;
/// Bytes of pages at most, of a pool that has more: what is held until all tracks have spoken, what
/// is open, and two pages of each of eight tracks.
const PAGE_BYTES_MAX: usize = (4 << 20) + (256 << 10) + (128 << 10) + 2 * 8 * (64 << 10);

fn pool() -> Pool {
    let config = RegionConfig {
        shards: 1,
        large_pages_per_shard: 256,
        small_pages_per_shard: 256,
        poison: true,
    };
    Region::map(&config).expect("memory for a few pages").1.remove(0)
}

fn take(event: Event, pool: &Pool) {
    match event {
        Event::Media(unit) => {
            assert!(!unit.payload.is_empty(), "no unit is empty");
            pool.release(unit.payload);
        }
        Event::Relay(run) => {
            let packets = run.packets.len() / PACKET_LEN;
            assert!((1..=7).contains(&packets) && run.packets.len() % PACKET_LEN == 0);
            pool.release(run.packets);
        }
        _ => {}
    }
}

fn assert_returned(pool: &Pool) {
    let in_use = |class| pool.usage(class).in_use;
    assert_eq!(in_use(PageClass::Large) + in_use(PageClass::Small), 0, "every page came back");
}

fuzz_target!(|data: &[u8]| {
    let Some((&[step, moves_after], bytes)) = data.split_first_chunk() else { return };
    let settings =
        Settings { unit_bytes_max: 128 << 10, open_bytes_max: 256 << 10, ..Settings::default() };
    let mut ingest = Ingest::new(settings, &Limits::default()).relaying(step % 2 == 0);
    let (mut pool, mut now) = (pool(), Instant::now());
    for (number, mut piece) in bytes.chunks(1 + 8 * usize::from(step)).enumerate() {
        now += Duration::from_millis(10);
        while let Some(event) = ingest.feed(now, &mut piece, &pool) {
            take(event, &pool);
        }
        assert!(piece.is_empty(), "all is taken");
        assert!(ingest.buffer_bytes() <= BUFFER_BYTES_MAX);
        let bytes = |class: PageClass| pool.usage(class).in_use as usize * class.bytes() as usize;
        assert!(bytes(PageClass::Large) + bytes(PageClass::Small) <= PAGE_BYTES_MAX);
        while ingest.take_ended().is_some() {}
        if number == usize::from(moves_after) {
            ingest.pack_pages(&pool);
            assert_returned(&pool);
            pool = self::pool();
        }
    }
    ingest.finish(now, &pool);
    while let Some(event) = ingest.poll() {
        take(event, &pool);
    }
    ingest.close(&pool);
    assert_returned(&pool);
});
