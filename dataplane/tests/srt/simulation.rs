//! Whole streams over bad lines.

use std::time::Duration;

use codecs::srt::{KeyLength, Passphrase, RejectReason, SeqNumber};
use dataplane::session::srt::{CloseReason, Settings};

use crate::endpoint::Source;
use crate::line::{Line, Weather};
use crate::world::{Meeting, World};

const MS: Duration = Duration::from_millis(1);
const LATENCY: Duration = Duration::from_millis(400);

/// 8 Mb/s for three seconds.
const STREAM: Source = Source { first_us: 0, interval_us: 1_200, count: 2_500 };

pub(crate) const FINE: Weather = Weather {
    loss: 0,
    burst: 0,
    burst_packets: 0,
    duplicate: 0,
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
};

fn with_latency(meeting: Meeting) -> Meeting {
    let latency = |settings: Settings| Settings { latency: LATENCY, ..settings };
    Meeting { caller: latency(meeting.caller), listener: latency(meeting.listener), ..meeting }
}

fn encrypted(meeting: Meeting, key_length: KeyLength) -> Meeting {
    let passphrase = Some(Passphrase::new(b"a secret of both").unwrap());
    let secret = |settings: Settings| Settings {
        passphrase: passphrase.clone(),
        key_length,
        key_refresh_packets: 600,
        key_announce_packets: 200,
        ..settings
    };
    Meeting { caller: secret(meeting.caller), listener: secret(meeting.listener), ..meeting }
}

fn assert_whole(world: &World, what: &str) {
    for (at, other) in [(0, 1), (1, 0)] {
        let end = &world.ends[at];
        let sent = world.ends[other].source.count;
        let counts = (end.received, end.skipped, end.connection.closed());
        assert_eq!(counts, (sent, 0, None), "{what}, end {at}: {:?}", end.connection.statistics());
    }
}

#[test]
fn everything_arrives_over_every_line_both_ways() {
    let weathers = [
        ("nothing is lost", FINE),
        ("5 % are lost", Weather { loss: 50, ..FINE }),
        ("bursts take 10 %", Weather { burst: 10, burst_packets: 10, ..FINE }),
        ("packets overtake", Weather { jitter: MS * 15, ..FINE }),
        ("packets come twice", Weather { duplicate: 200, jitter: MS * 3, ..FINE }),
        ("all of it", Weather { loss: 30, duplicate: 50, jitter: MS * 10, ..FINE }),
    ];
    for (seed, (what, weather)) in (1..).zip(weathers) {
        let meeting = with_latency(Meeting::new(weather, seed));
        let mut world = meeting.hold([STREAM, STREAM]).unwrap();
        world.run_to_the_end();
        assert_whole(&world, what);
    }
}

#[test]
fn keys_are_replaced_while_packets_are_lost() {
    for (seed, length) in (1..).zip([KeyLength::Aes128, KeyLength::Aes192, KeyLength::Aes256]) {
        let weather = Weather { loss: 50, jitter: MS * 2, ..FINE };
        let meeting = encrypted(with_latency(Meeting::new(weather, seed)), length);
        let mut world = meeting.hold([STREAM, STREAM]).unwrap();
        world.run_to_the_end();
        assert_whole(&world, "encrypted");
        for end in &world.ends {
            assert!(end.connection.is_encrypted());
            assert_eq!(end.connection.statistics().pkt_rcv_undecrypt, 0);
        }
    }
}

#[test]
fn numbers_wrap_while_packets_are_lost() {
    let weather = Weather { loss: 20, delay: MS * 10, ..FINE };
    let mut meeting = with_latency(Meeting::new(weather, 5));
    meeting.initial = SeqNumber::new(SeqNumber::MAX - 500);
    let meeting = encrypted(meeting, KeyLength::Aes128);
    let mut world = meeting.hold([STREAM, Source::NONE]).unwrap();
    world.run_to_the_end();
    assert_whole(&world, "wrapped numbers");
}

#[test]
fn a_stream_runs_for_days() {
    let weather = Weather { loss: 20, duplicate: 5, delay: MS * 30, jitter: MS * 5, ..FINE };
    let mut meeting = with_latency(Meeting::new(weather, 6));
    meeting.initial = SeqNumber::new(SeqNumber::MAX - 10_000);
    // A packet every 2.5 seconds for two days: 40 wraps of the timestamp, and one of the numbers.
    let days = Source { first_us: 0, interval_us: 2_500_000, count: 69_120 };
    let mut world = meeting.hold([days, Source::NONE]).unwrap();
    let end = world.now + Duration::from_secs(2 * 86_400 + 10);
    world.run_until(end);
    let receiver = &world.ends[1];
    // What is lost is sent again unasked, long before the next packet shows the gap.
    assert_eq!(receiver.received + receiver.skipped, days.count);
    assert_eq!(receiver.skipped, receiver.connection.statistics().pkt_rcv_drop);
    assert!(receiver.skipped < days.count / 1_000, "{}", receiver.skipped);
    assert_eq!(receiver.connection.closed(), None);
    assert!(receiver.connection.gauges().rtt_us < 100_000);
}

#[test]
fn clocks_drift_apart_for_days() {
    // 20 seconds in two days, 50 times the latency; 40 wraps of each timestamp, and some keys.
    let weather = Weather { loss: 20, duplicate: 5, jitter: MS * 5, ..FINE };
    let meeting = Meeting { ppm: [60, -60], ..with_latency(Meeting::new(weather, 14)) };
    let mut meeting = encrypted(meeting, KeyLength::Aes128);
    meeting.initial = SeqNumber::new(SeqNumber::MAX - 10_000);
    let days = Source { first_us: 0, interval_us: 10_000_000, count: 2 * 8_640 };
    let mut world = meeting.hold([days, days]).unwrap();
    let end = world.now + Duration::from_secs(2 * 86_400 + 60);
    world.run_until(end);
    for end in &world.ends {
        let counts = end.connection.statistics();
        assert_eq!((end.received + end.skipped, end.connection.closed()), (days.count, None));
        assert!(end.skipped < days.count / 1_000, "{counts:?}");
        assert_eq!(counts.pkt_rcv_undecrypt, 0);
    }
}

#[test]
fn times_wrap_while_packets_are_lost() {
    let weather = Weather { loss: 50, ..FINE };
    let mut meeting = with_latency(Meeting::new(weather, 13));
    meeting.initial = SeqNumber::new(SeqNumber::MAX - 900);
    // A clock begins with 60 seconds; a second before the wrap, after 70 minutes of silence, the
    // stream begins.
    let stream = Source { first_us: (1 << 32) - 61_000_000, ..STREAM };
    let mut world = meeting.hold([stream, Source::NONE]).unwrap();
    world.run_to_the_end();
    assert_whole(&world, "wrapped times");
    let counts = world.ends[1].connection.statistics();
    assert!(counts.pkt_rcv_loss > 50 && counts.pkt_rcv_drop == 0, "{counts:?}");
}

#[test]
fn what_is_too_late_is_given_up_and_the_rest_goes_on() {
    // Six in ten are lost: hardly anything lives through the latency without luck.
    let weather = Weather { loss: 600, ..FINE };
    let mut world = Meeting::new(weather, 7).hold([STREAM, Source::NONE]).unwrap();
    world.run_for(MS * 5_000);
    let receiver = &world.ends[1];
    let counts = receiver.connection.statistics();
    assert!(receiver.received > STREAM.count / 4, "{counts:?}");
    assert!(receiver.skipped > 0 && counts.pkt_rcv_drop >= receiver.skipped, "{counts:?}");
    assert_eq!(receiver.connection.closed(), None);
    // What is sent again stays within the budget, whatever is asked for.
    let sent = world.ends[0].connection.statistics();
    let budget = (sent.byte_sent - sent.byte_retrans) / 4 + 5 * 125_000 + 250_000;
    assert!(sent.byte_retrans <= budget, "{sent:?}");
}

#[test]
fn a_stream_goes_on_after_an_outage_of_more_than_a_window() {
    // 60 Mb/s: a window is 1.4 seconds of it.
    let stream = Source { first_us: 0, interval_us: 175, count: 40_000 };
    let dead = Weather { loss: 1_000, ..FINE };
    for outage in [2_000, 3_000, 4_500] {
        let mut world = Meeting::new(FINE, 12).hold([stream, Source::NONE]).unwrap();
        world.run_for(MS * 1_000);
        world.lines[0] = Line::new(dead, 1);
        world.run_for(MS * outage);
        let before = world.ends[1].received;
        world.lines[0] = Line::new(FINE, 1);
        world.run_for(MS * 500);
        let counts = *world.ends[1].connection.statistics();
        assert!(world.ends[1].received > before + 2_000, "after {outage} ms: {counts:?}");
        world.run_to_the_end();
        let receiver = &world.ends[1];
        assert_eq!(receiver.received + receiver.skipped, stream.count, "after {outage} ms");
        let counts = receiver.connection.statistics();
        assert_eq!(receiver.skipped, counts.pkt_rcv_drop, "after {outage} ms");
        assert_eq!(receiver.connection.closed(), None);
    }
}

#[test]
fn much_is_sent_again_from_the_first_packet_on() {
    // 60 Mb/s for two seconds, and a join of four megabytes at once.
    let fast = Source { first_us: 0, interval_us: 175, count: 11_500 };
    let join = Source { first_us: 0, interval_us: 1, count: 3_200 };
    for (seed, (loss, stream)) in (20..).zip([(50, fast), (100, fast), (50, join)]) {
        let weather = Weather { loss, ..FINE };
        let meeting = with_latency(Meeting::new(weather, seed));
        let mut world = meeting.hold([stream, Source::NONE]).unwrap();
        world.run_to_the_end();
        let receiver = &world.ends[1];
        let counts = receiver.connection.statistics();
        // Luck takes a packet at times, and an empty budget takes hundreds.
        assert!(receiver.skipped < 10, "seed {seed}: {counts:?}");
        assert_eq!(receiver.received + receiver.skipped, stream.count, "seed {seed}");
    }
}

#[test]
fn little_is_sent_that_was_not_lost() {
    let weather = Weather { loss: 50, jitter: MS, ..FINE };
    let meeting = with_latency(Meeting::new(weather, 8));
    let stream = Source { first_us: 1_000_000, ..STREAM };
    let mut world = meeting.hold([stream, Source::NONE]).unwrap();
    world.run_to_the_end();
    let again = world.ends[0].connection.statistics().pkt_retrans;
    let lost = world.lines[0].lost_data;
    assert!(lost > 100, "{lost}");
    assert!(again <= lost * 5 / 4, "{again} sent again for {lost} lost packets");
    let acks = world.ends[1].connection.statistics().pkt_sent_ack;
    assert!(acks < 500, "{acks} in three seconds");
}

#[test]
fn a_burst_that_overtakes_itself_is_not_sent_again() {
    let weather = Weather { jitter: MS, ..FINE };
    for seed in 1..5 {
        let meeting = with_latency(Meeting::new(weather, seed));
        let burst = Source { first_us: 0, interval_us: 1, count: 277 };
        let mut world = meeting.hold([burst, Source::NONE]).unwrap();
        world.run_to_the_end();
        assert_whole(&world, "a burst");
        let counts = world.ends[0].connection.statistics();
        assert_eq!((counts.pkt_retrans, counts.pkt_snd_loss), (0, 0), "seed {seed}");
        let receiver = &world.ends[1].connection;
        let (counts, gauges) = (receiver.statistics(), receiver.gauges());
        assert!(counts.pkt_reordered > 0, "{counts:?}");
        assert!((1..277).contains(&counts.pkt_reorder_distance), "{counts:?}");
        assert!((1..=50_000).contains(&gauges.us_reorder_tolerance), "{gauges:?}");
    }
}

#[test]
fn a_source_that_is_ahead_is_paced_and_keeps_to_the_window() {
    let mut meeting = with_latency(Meeting::new(FINE, 9));
    meeting.caller.bandwidth_max = 2_500_000;
    meeting.listener.receive_window = 256;
    // All of it is there at once, as when somebody joins.
    let burst = Source { first_us: 0, interval_us: 1, count: 600 };
    let mut world = meeting.hold([burst, Source::NONE]).unwrap();
    world.run_for(MS * 60);
    let sender = &world.ends[0].connection;
    assert!(sender.gauges().pkt_flight_size <= 256);
    assert!((256..600).contains(&sender.gauges().pkt_snd_buf), "{:?}", sender.gauges());
    let bytes = sender.statistics().byte_sent;
    assert!(bytes <= 2_500_000 * 60 / 1_000 + 2 * 25_000, "{bytes} in 60 ms");
    world.run_to_the_end();
    assert_whole(&world, "paced");
}

#[test]
fn silence_and_shutdown_end_a_connection() {
    let mut world = Meeting::new(FINE, 10).hold([Source::NONE; 2]).unwrap();
    // Keep-alives hold it.
    world.run_for(MS * 30_000);
    assert!(world.ends.iter().all(|end| end.connection.closed().is_none()));
    world.ends[0].connection.close(CloseReason::Closed("ended"));
    world.run_for(MS * 100);
    assert_eq!(world.ends[0].connection.closed().map(CloseReason::name), Some("ended"));
    assert_eq!(world.ends[1].connection.closed(), Some(CloseReason::Shutdown));

    let mut world = Meeting::new(FINE, 11).hold([Source::NONE; 2]).unwrap();
    let dead = Weather { loss: 1_000, ..FINE };
    world.lines[0] = Line::new(dead, 1);
    world.run_for(MS * 6_000);
    assert_eq!(world.ends[1].connection.closed(), Some(CloseReason::Idle));
    assert_eq!(world.ends[0].connection.closed(), Some(CloseReason::Shutdown));
}

#[test]
fn ends_meet_over_a_bad_line_or_give_up() {
    for seed in 0..50 {
        let weather = Weather { loss: 400, duplicate: 300, jitter: MS * 300, ..FINE };
        let met = Meeting::new(weather, seed).hold([Source::NONE; 2]);
        assert!(met.is_ok(), "seed {seed}: {:?}", met.err());
    }
    let dead = Weather { loss: 1_000, ..FINE };
    let met = Meeting::new(dead, 1).hold([Source::NONE; 2]);
    assert_eq!(met.err(), Some(RejectReason::TIMEOUT));
}
