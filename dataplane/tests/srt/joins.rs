//! Players that join a stream which began before their connection.

use codecs::srt::Header;

use crate::endpoint::Source;
use crate::simulation::FINE;
use crate::world::Meeting;

/// What a clock shows when its connection begins.
const HEAD_START_US: i64 = 60_000_000;

/// 8 Mb/s, the first packet made so long before the connection.
fn stream_since(before_us: i64) -> Source {
    Source { first_us: -before_us, interval_us: 1_200, count: 4_000 }
}

#[test]
fn a_join_in_the_past_misses_nothing() {
    for before_us in [0, 500_000, 2_000_000, 3_000_000] {
        let mut world =
            Meeting::new(FINE, 1).hold([stream_since(before_us), Source::NONE]).unwrap();
        world.run_to_the_end();
        let receiver = &world.ends[1];
        let got = (receiver.received, receiver.skipped);
        assert_eq!(got, (4_000, 0), "{before_us} us: {:?}", receiver.connection.statistics());
        assert_eq!(world.ends[0].connection.statistics().pkt_snd_drop, 0);
    }
}

#[test]
fn no_time_lies_before_the_connection_and_distances_stay() {
    for before_us in [0, 2_000_000, i64::MAX / 2] {
        let mut world = Meeting::new(FINE, 1).hold([Source::NONE; 2]).unwrap();
        let (source, mut now) = (stream_since(before_us), world.now);
        let connection = &mut world.ends[0].connection;
        let now_us = connection.micros(now);
        connection.offer(10);
        let mut times = Vec::new();
        while times.len() < 10 {
            if let Some(transmit) = connection.poll_data(now, &source) {
                let Ok(Header::Data(header)) = Header::parse(&transmit.header) else { panic!() };
                times.push(i64::from(header.timestamp));
            } else {
                now = connection.poll_timeout().unwrap();
            }
        }
        let took = (now - world.now).as_micros();
        assert_eq!(took, 9 * 1_200 / 4, "four times as fast as it was made");
        let first = HEAD_START_US + now_us;
        let expected: Vec<_> = (0..10).map(|number| first + number * 1_200).collect();
        assert_eq!(times, expected, "{before_us}");
    }
}

#[test]
fn what_a_live_stream_says_now_is_said_as_it_is() {
    // Both clocks of a handshake are those of the data that follows.
    let mut world = Meeting::new(FINE, 1).hold([Source::NONE; 2]).unwrap();
    let now = world.now;
    for end in &mut world.ends {
        let now_us = end.connection.micros(now);
        let source = Source { first_us: now_us, interval_us: 1_000, count: 1 };
        end.connection.offer(1);
        let transmit = end.connection.poll_data(now, &source).unwrap();
        let Ok(Header::Data(header)) = Header::parse(&transmit.header) else { panic!() };
        assert_eq!(i64::from(header.timestamp), HEAD_START_US + now_us);
    }
    let listener_us = world.ends[1].connection.micros(now);
    assert!(listener_us < 1_000_000, "its clock began with the connection: {listener_us}");
}
