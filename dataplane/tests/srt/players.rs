//! A player of a stream over a line that loses.

use std::time::Duration;

use codecs::media::Codec;
use codecs::srt::PACKET_BYTES_MAX;
use codecs::time::MediaTime;
use dataplane::config::StreamConfig;
use dataplane::log::Succession;
use dataplane::package::{DatagramCursor, Due, PlayTerms};
use dataplane::session::{Dialect, Format, Join, LogKey};

use crate::endpoint::Source;
use crate::line::Weather;
use crate::simulation::FINE;
use crate::stream::{ASC, AVCC, Stream, bytes, packets};
use crate::world::Meeting;

const KEY: LogKey = LogKey { format: Format::MpegTs, dialect: Dialect::Native, track: 0 };
const TERMS: PlayTerms =
    PlayTerms { join: Join::NewestKeyframe, not_before: 0, lag_max: MediaTime::from_millis(5_000) };
const MS: Duration = Duration::from_millis(1);

#[test]
fn a_player_gets_every_packet_over_a_line_that_loses() {
    let weather = Weather { loss: 50, jitter: MS * 3, ..FINE };
    let mut meeting = Meeting::new(weather, 21);
    (meeting.caller.latency, meeting.listener.latency) = (MS * 400, MS * 400);
    let mut world = meeting.hold([Source::NONE; 2]).unwrap();
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    stream.configure(Codec::Aac, ASC);
    stream.unit(Codec::H264, 0, true, 9_000);
    let log = stream.subscribe(KEY).unwrap();
    let logs = Succession::new(log.clone());
    let (mut cursor, mut received, mut now) = (DatagramCursor::new(), Vec::new(), world.now);
    for ms in 1..5_000 {
        now += MS;
        if ms % 40 == 0 && ms < 4_000 {
            stream.unit(Codec::H264, ms, ms % 1_000 == 0, 5_000);
            stream.unit(Codec::Aac, ms, true, 300);
        }
        let [sender, receiver] = &mut world.ends;
        while let Some(mut datagram) = world.lines[0].receive(now) {
            let got = receiver.connection.handle_datagram(now, &mut datagram);
            received.extend(got.into_iter().flat_map(|payload| payload.bytes.to_vec()));
            while let Some(payload) = receiver.connection.poll_payload() {
                received.extend_from_slice(payload.bytes);
            }
        }
        while let Some(mut datagram) = world.lines[1].receive(now) {
            sender.connection.handle_datagram(now, &mut datagram);
        }
        let mut out = [0; PACKET_BYTES_MAX];
        for (end, line) in [sender, receiver].into_iter().zip(&mut world.lines) {
            end.connection.handle_timeout(now);
            while let Some(len) = end.connection.poll_transmit(now, &mut out) {
                line.send(now, &out[..len]);
            }
        }
        let connection = &mut world.ends[0].connection;
        while let Due::Datagram(transmit, payload) = cursor.poll(connection, &logs, &TERMS, now) {
            let len = cursor.index(&logs).read(transmit.number, &mut out).unwrap();
            assert_eq!(len, payload.len());
            world.lines[0].send(now, &[&transmit.header[..], &out[..len]].concat());
        }
    }
    let connection = &world.ends[0].connection;
    assert!(world.lines[0].lost_data > 10, "the line loses");
    assert!(connection.statistics().pkt_retrans > 10, "{:?}", connection.statistics());
    assert_eq!((connection.is_sent(), connection.unacknowledged()), (true, 0));
    let from = log.entry(0).map(|entry| entry.offset).unwrap();
    assert!(received == bytes(&log, from, log.committed()), "{} bytes", received.len());
    let pids: Vec<_> = packets(&received).take(3).map(|packet| packet.pid).collect();
    assert_eq!(pids, [0, 0x1000, 0x100], "a join begins with the tables");
    stream.end();
}
