//! A fault for each indicator, made by damaging the good stream.

use loadtest::mpegts::{Indicator, Tr101290};

use crate::multiplex::{
    AUDIO_PID, FRAME_MS, NULL_PID, PMT_PID, Stream, VIDEO_PID, has_pcr, is_start, pcr_ms, pid_of,
    pmt, table,
};

/// What is done to the good stream.
type Damage = fn(&mut Stream) -> Option<Vec<u8>>;

/// Every indicator's faults; a new indicator does not compile without one.
fn faults(indicator: Indicator) -> Vec<(&'static str, Damage)> {
    match indicator {
        Indicator::SyncLoss => vec![
            ("a byte too many between two packets", one_byte_more),
            ("two packets without sync byte", two_sync_bytes),
        ],
        Indicator::SyncByte => vec![("one packet without sync byte", one_sync_byte)],
        Indicator::Pat => vec![
            ("no PAT for 600 ms", |stream| without_table(stream, 0)),
            ("a scrambled PAT", |stream| scramble(stream, 0)),
            ("a CAT where a PAT belongs", |stream| other_table(stream, 0)),
        ],
        Indicator::ContinuityCount => vec![
            ("a packet missing", one_packet_less),
            ("a packet three times", three_times),
            ("two packets with one number", two_of_one_number),
            ("two packets in the wrong order", wrong_order),
        ],
        Indicator::Pmt => vec![
            ("no PMT for 600 ms", |stream| without_table(stream, PMT_PID)),
            ("a scrambled PMT", |stream| scramble(stream, PMT_PID)),
            ("no PMT at all", no_pmt),
        ],
        Indicator::Pid => vec![("a PID that never comes", absent_pid)],
        Indicator::Transport => vec![("a packet marked as damaged", marked)],
        Indicator::Crc => vec![
            ("a PMT with another byte", |stream| damage_section(stream, PMT_PID)),
            ("a PAT with another byte", |stream| damage_section(stream, 0)),
        ],
        Indicator::PcrRepetition => vec![
            ("PCRs 60 ms apart", |stream| without_pcrs(stream, 100..102)),
            ("no PCR any more", |stream| without_pcrs(stream, 200..350)),
            ("no PCR at all", |stream| without_pcrs(stream, 0..350)),
        ],
        Indicator::PcrDiscontinuity => vec![
            ("the clock goes back", |stream| move_clock(stream, -50)),
            ("the clock stands", |stream| move_clock(stream, -20)),
            ("the clock jumps ahead", |stream| move_clock(stream, 150)),
            ("120 ms without a PCR", |stream| without_pcrs(stream, 100..105)),
        ],
        Indicator::PcrAfterDts => vec![("a unit too late to be decoded", late_unit)],
        Indicator::Pts => vec![
            ("no PTS of sound for 800 ms", |stream| without_times(stream, AUDIO_PID)),
            ("no PTS of pictures for 800 ms", |stream| without_times(stream, VIDEO_PID)),
            ("no sound for 800 ms", no_sound),
        ],
        Indicator::Cat => vec![
            ("scrambled sound without a CAT", |stream| {
                let at = stream.continuing(VIDEO_PID, 400);
                stream.packets[at][3] |= 0x80;
                None
            }),
            ("another table where a CAT belongs", |stream| other_table(stream, 1)),
        ],
        Indicator::Syntax => vec![
            ("an adaptation field without end", |stream| {
                let at = stream.packets.len() - 3;
                let at = stream.continuing(VIDEO_PID, at - 20);
                stream.packets[at][3] |= 0x20;
                stream.packets[at][4] = 184;
                None
            }),
            ("a unit without its start code", |stream| {
                let at = stream.nth_start(AUDIO_PID, 50);
                let payload = stream.payload_at(at);
                stream.packets[at][payload + 2] = 2;
                None
            }),
        ],
    }
}

#[test]
fn each_fault_is_told_by_its_indicator_alone() {
    for indicator in Indicator::ALL {
        for (name, damage) in faults(indicator) {
            let mut stream = Stream::good();
            let bytes = damage(&mut stream).unwrap_or_else(|| stream.bytes());
            let verdict = Tr101290::check(&bytes);
            let told: Vec<_> = verdict.counts.iter().map(|(told, _)| *told).collect();
            assert_eq!(told, [indicator], "{name}:\n{verdict}");
            assert!(!verdict.is_clean());
            assert!(verdict.to_string().contains(indicator.name()), "{name}");
        }
    }
}

#[test]
fn every_indicator_has_a_fault() {
    for indicator in Indicator::ALL {
        assert!(!faults(indicator).is_empty(), "{}", indicator.name());
    }
    let mut all = Indicator::ALL.to_vec();
    all.dedup();
    assert_eq!(all.len(), Indicator::ALL.len());
}

fn one_byte_more(stream: &mut Stream) -> Option<Vec<u8>> {
    let mut bytes = stream.bytes();
    bytes.insert(188 * 300, 0);
    Some(bytes)
}

fn two_sync_bytes(stream: &mut Stream) -> Option<Vec<u8>> {
    // Null packets, so that nothing else is missing while the rhythm is looked for.
    let null = *stream.packets.last().unwrap();
    assert_eq!(pid_of(&null), NULL_PID);
    stream.packets.splice(300..300, [null; 8]);
    for at in 300..302 {
        stream.packets[at][0] = 0;
    }
    None
}

fn one_sync_byte(stream: &mut Stream) -> Option<Vec<u8>> {
    stream.packets[300][0] = 0xb8;
    None
}

/// From 2 s on for 600 ms.
fn without_table(stream: &mut Stream, pid: u16) -> Option<Vec<u8>> {
    let from = stream.nth_start(pid, 20);
    let until = stream.nth_start(pid, 26);
    stream.take_out(|index, packet| pid_of(packet) == pid && (from..until).contains(&index));
    None
}

fn no_pmt(stream: &mut Stream) -> Option<Vec<u8>> {
    stream.take_out(|_, packet| pid_of(packet) == PMT_PID);
    None
}

fn scramble(stream: &mut Stream, pid: u16) -> Option<Vec<u8>> {
    let at = stream.nth_start(pid, 20);
    stream.packets[at][3] |= 0xc0;
    None
}

fn other_table(stream: &mut Stream, pid: u16) -> Option<Vec<u8>> {
    let mut other = Stream { packets: vec![stream.packets[stream.nth_start(0, 20)]] };
    let id = if pid == 0 { 1 } else { 2 };
    other.rewrite_sections(0, &table(id, 1, &[]));
    let mut packet = other.packets[0];
    packet[2] = pid as u8;
    if pid == 0 {
        let at = stream.nth_start(0, 20);
        stream.packets[at] = packet;
    } else {
        stream.packets.insert(300, packet);
    }
    None
}

fn one_packet_less(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = stream.continuing(VIDEO_PID, 300);
    stream.packets.remove(at);
    None
}

fn three_times(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = stream.continuing(VIDEO_PID, 300);
    let packet = stream.packets[at];
    stream.packets.splice(at..at, [packet, packet]);
    None
}

fn two_of_one_number(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = stream.continuing(VIDEO_PID, 300);
    let mut packet = stream.packets[at];
    packet[100] ^= 1;
    stream.packets.insert(at, packet);
    None
}

fn wrong_order(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = (300..).find(|at| {
        let pair = &stream.packets[*at..*at + 2];
        pair.iter().all(|packet| pid_of(packet) == VIDEO_PID && !is_start(packet))
    });
    stream.packets.swap(at.unwrap(), at.unwrap() + 1);
    None
}

fn absent_pid(stream: &mut Stream) -> Option<Vec<u8>> {
    let streams = [(0x1b, VIDEO_PID), (0x0f, AUDIO_PID), (0x0f, 0x102)];
    stream.rewrite_sections(PMT_PID, &pmt(&streams));
    None
}

fn marked(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = stream.continuing(VIDEO_PID, 300);
    stream.packets[at][1] |= 0x80;
    None
}

fn damage_section(stream: &mut Stream, pid: u16) -> Option<Vec<u8>> {
    let at = stream.nth_start(pid, 20);
    stream.packets[at][5 + 9] ^= 0x10;
    None
}

fn without_pcrs(stream: &mut Stream, frames: std::ops::Range<usize>) -> Option<Vec<u8>> {
    for frame in frames {
        let at = stream.nth_start(VIDEO_PID, frame);
        assert!(has_pcr(&stream.packets[at]));
        stream.packets[at][5] &= !0x10;
    }
    None
}

/// From PCR 100 on.
fn move_clock(stream: &mut Stream, by_ms: i64) -> Option<Vec<u8>> {
    for frame in 100..7000 / FRAME_MS as usize {
        let at = stream.nth_start(VIDEO_PID, frame);
        stream.move_pcr(at, by_ms);
    }
    None
}

fn late_unit(stream: &mut Stream) -> Option<Vec<u8>> {
    let at = stream.nth_start(VIDEO_PID, 100);
    stream.set_dts_ms(at, pcr_ms(100) - 1);
    None
}

fn without_times(stream: &mut Stream, pid: u16) -> Option<Vec<u8>> {
    for unit in 100..140 {
        let at = stream.nth_start(pid, unit);
        stream.strip_times(at);
    }
    None
}

fn no_sound(stream: &mut Stream) -> Option<Vec<u8>> {
    let (from, until) = (stream.nth_start(AUDIO_PID, 100), stream.nth_start(AUDIO_PID, 140));
    stream.take_out(|index, packet| pid_of(packet) == AUDIO_PID && (from..until).contains(&index));
    None
}
