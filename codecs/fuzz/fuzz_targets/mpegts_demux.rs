//! Transport streams of a peer: units that are sound, in any pieces, whatever comes.
#![no_main]

use codecs::mpegts::demux::{
    Carriage, DamagedUnits, Demuxer, Event, Framer, MemoryStore, PacketIndex, Settings, TRACKS_MAX,
};
use codecs::nal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, cut], mut input)) = data.split_first_chunk() else { return };
    let settings = Settings {
        program: (choice & 1 == 1).then_some(u16::from(choice >> 4)),
        damaged_units: if choice & 2 == 0 { DamagedUnits::Drop } else { DamagedUnits::Keep },
        unit_bytes_max: if choice & 4 == 0 { 1 << 20 } else { 500 },
        ..Settings::default()
    };
    let most = settings.unit_bytes_max;
    let (mut demuxer, mut store) = (Demuxer::new(settings), MemoryStore::default());
    let mut tracks = [None; TRACKS_MAX];
    let mut take = |event: Event<Vec<u8>>| match event {
        Event::Track(track) => tracks[track.slot.index()] = Some(track.carriage),
        Event::TrackEnded(slot) => tracks[slot.index()] = None,
        Event::Unit(unit) => {
            assert!(!unit.bytes.is_empty() && unit.bytes.len() <= most);
            let carriage = tracks[unit.track.index()].expect("its track was told");
            if let Carriage::AnnexB(_) = carriage {
                let mut units = nal::length_prefixed(&unit.bytes, 4).expect("a known width");
                assert!(units.all(|unit| unit.is_ok()), "lengths lead to the end");
            }
        }
        Event::Data(data) => assert!(data.bytes.len() <= most),
        Event::Config { .. } | Event::ClockJump(_) => {}
    };
    let (mut framer, mut index, mut whole) = (Framer::default(), PacketIndex::default(), input);
    let mut packets = 0;
    while !input.is_empty() {
        let (mut piece, later) = input.split_at(input.len().min(usize::from(cut) + 1));
        while let Some(event) = demuxer.feed(&mut piece, &mut store) {
            take(event);
        }
        input = later;
    }
    demuxer.finish(&mut store);
    while let Some(event) = demuxer.poll() {
        take(event);
    }
    if let Some(program) = demuxer.program() {
        index.follow(program);
    }
    while let Some(packet) = framer.next(&mut whole) {
        packets += index.take(packet).map_or(0, |group| u64::from(group.packets));
    }
    packets += index.flush().map_or(0, |group| u64::from(group.packets));
    assert!(packets <= demuxer.counters().packets, "no packet is in two groups");
});
