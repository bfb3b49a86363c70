//! Streams that are right: ours, with everything that is allowed, and what ffmpeg writes.

use std::process::Command;

use loadtest::mpegts::{Tr101290, Verdict};

use crate::multiplex::{AUDIO_PID, Packet, Stream, VIDEO_PID, pid_of, table};

#[test]
fn a_good_stream_passes_and_is_described() {
    let verdict = Tr101290::check(&Stream::good().bytes());
    assert!(verdict.is_clean(), "{verdict}");
    let [program] = verdict.programs.as_slice() else { panic!("{verdict}") };
    assert_eq!((program.number, program.pcr_pid), (1, Some(VIDEO_PID)));
    assert_eq!((program.seconds, program.pcr_interval_max_ms), (6.98, 20.0));
    let [video, audio] = program.streams.as_slice() else { panic!("{verdict}") };
    assert_eq!((video.pid, video.units, video.pcr_lead_min_ms), (VIDEO_PID, 350, Some(200.0)));
    assert_eq!((audio.pid, audio.units, audio.pts_interval_max_ms), (AUDIO_PID, 350, 20.0));
    assert!(verdict.to_string().ends_with("nothing is wrong\n"), "{verdict}");
}

#[test]
fn what_the_standard_allows_is_not_told() {
    type Change = fn(&mut Stream);
    let allowed: [(&str, Change); 5] = [
        ("a second of scrambled sound, and the table that goes with it", |stream| {
            let (from, until) =
                (stream.nth_start(AUDIO_PID, 100), stream.nth_start(AUDIO_PID, 160));
            for packet in &mut stream.packets[from..until] {
                packet[3] |= if pid_of(packet) == AUDIO_PID { 0x80 } else { 0 };
            }
            let mut cat = Stream { packets: vec![stream.packets[stream.nth_start(0, 0)]] };
            cat.rewrite_sections(0, &table(1, 0xffff, &[]));
            cat.packets[0][2] = 1;
            stream.packets.insert(0, cat.packets[0]);
        }),
        ("a packet repeated once, its PCR written anew", |stream| {
            let at = stream.nth_start(VIDEO_PID, 60);
            let again = stream.packets[at];
            stream.packets.insert(at + 1, again);
            stream.move_pcr(at + 1, 1);
        }),
        ("an announced gap", |stream| {
            // All of half a second is missing, as after a skip; the counters are announced.
            let (from, until) = (stream.nth_start(0, 20), stream.nth_start(0, 25));
            let cut: Vec<Packet> = stream.packets.drain(from..until).collect();
            let mut splice = Vec::new();
            for pid in [0, 0x1000, VIDEO_PID, AUDIO_PID] {
                let last = cut.iter().rev().find(|packet| pid_of(packet) == pid).unwrap();
                let mut packet = [0xff; 188];
                packet[..4].copy_from_slice(&last[..4]);
                packet[1] &= !0x40;
                packet[3] = 0x20 | packet[3] & 0x0f;
                packet[4] = 183;
                packet[5] = 0x80;
                splice.push(packet);
            }
            stream.packets.splice(from..from, splice);
        }),
        ("adaptation fields that carry nothing", |stream| {
            let at = stream.nth_start(AUDIO_PID, 60);
            let mut packet = [0xff; 188];
            packet[..4].copy_from_slice(&stream.packets[at - 1][..4]);
            let of_the_same = stream.packets[..at].iter().rev().find(|p| pid_of(p) == AUDIO_PID);
            packet[..4].copy_from_slice(&of_the_same.unwrap()[..4]);
            packet[1] &= !0x40;
            packet[3] = 0x20 | packet[3] & 0x0f;
            packet[4] = 183;
            packet[5] = 0;
            stream.packets.splice(at..at, [packet; 2]);
        }),
        ("anything on null packets", |stream| {
            let mut null = *stream.packets.last().unwrap();
            for counter in [3, 9, 9, 9] {
                null[3] = 0x10 | counter;
                stream.packets.insert(500, null);
            }
        }),
    ];
    for (name, change) in allowed {
        let mut stream = Stream::good();
        change(&mut stream);
        let verdict = Tr101290::check(&stream.bytes());
        assert!(verdict.is_clean(), "{name}:\n{verdict}");
    }
}

#[test]
fn an_unannounced_gap_is_told() {
    let mut stream = Stream::good();
    let (from, until) = (stream.nth_start(0, 20), stream.nth_start(0, 22));
    stream.packets.drain(from..until);
    let verdict = Tr101290::check(&stream.bytes());
    assert!(!verdict.is_clean(), "{verdict}");
}

#[test]
fn pieces_of_any_size_give_one_verdict() {
    let mut stream = Stream::good();
    let at = stream.continuing(VIDEO_PID, 300);
    stream.packets[at][0] = 0;
    stream.packets.remove(at + 40);
    let mut bytes = stream.bytes();
    bytes.insert(188 * 900, 0x47);
    bytes.truncate(bytes.len() - 100);
    let whole = Tr101290::check(&bytes);
    assert_eq!(whole.trailing_bytes, 88);
    for size in [1, 7, 188, 189, 1000, 65_537] {
        let mut checker = Tr101290::default();
        bytes.chunks(size).for_each(|piece| checker.feed(piece));
        assert_eq!(checker.finish(), whole, "pieces of {size}");
    }
}

#[test]
fn nothing_is_no_stream() {
    assert!(!Tr101290::check(&[]).is_clean());
    let verdict = Tr101290::check(b"<html>not a transport stream</html>".repeat(100).as_slice());
    assert_eq!((verdict.packets, verdict.is_clean()), (0, false), "{verdict}");
}

/// What ffmpeg multiplexes of its test picture and tone.
fn ffmpeg(options: &[&str]) -> Verdict {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=8"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=8"])
        .args(options)
        .args(["-f", "mpegts", "-pcr_period", "20", "-"])
        .output()
        .expect("ffmpeg is installed by the set-up of the tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() > 188 * 500, "{} bytes", output.stdout.len());
    Tr101290::check(&output.stdout)
}

#[test]
fn what_ffmpeg_writes_passes() {
    let x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-bf", "2"];
    let table: [(&str, &[&str]); 3] = [
        ("aac", &["-c:a", "aac"]),
        ("mp2, constant rate", &["-c:a", "mp2", "-muxrate", "4M"]),
        ("ac3", &["-c:a", "ac3"]),
    ];
    for (name, options) in table {
        let verdict = ffmpeg(&[&x264[..], options].concat());
        assert!(verdict.is_clean(), "{name}:\n{verdict}");
        let [program] = verdict.programs.as_slice() else { panic!("{name}:\n{verdict}") };
        let units: Vec<u64> = program.streams.iter().map(|stream| stream.units).collect();
        assert!(units[0] == 200 && units[1] > 8, "{name}:\n{verdict}");
    }
}
