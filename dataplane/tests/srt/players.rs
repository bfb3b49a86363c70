//! Players of a stream: over a line that loses, by a socket that has no room, in the clear and
//! encrypted; and one that fell behind.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::media::Codec;
use codecs::srt::{HEADER_BYTES, KeyLength, PACKET_BYTES_MAX, Passphrase};
use codecs::time::MediaTime;
use codecs::writer::Writer;
use dataplane::config::StreamConfig;
use dataplane::log::{Log, Succession, Trail};
use dataplane::package::{DatagramCursor, Due, Payload, PlayTerms};
use dataplane::session::srt::{DataTransmit, Returned};
use dataplane::session::{Dialect, Format, Join, LogKey};

use crate::endpoint::Source;
use crate::line::Weather;
use crate::simulation::FINE;
use crate::stream::{ASC, AVCC, Stream, bytes, packets};
use crate::world::{Meeting, World};

const KEY: LogKey = LogKey { format: Format::MpegTs, dialect: Dialect::Native, track: 0 };
const TERMS: PlayTerms =
    PlayTerms { join: Join::NewestKeyframe, not_before: 0, lag_max: MediaTime::from_millis(5_000) };
const MS: Duration = Duration::from_millis(1);

/// A stream, and its player behind a line.
struct Show {
    world: World,
    stream: Stream,
    log: Arc<Log>,
    logs: Succession,
    trail: Trail,
    cursor: DatagramCursor,
    terms: PlayTerms,
    now: Instant,
    received: Vec<u8>,
    jumps: u32,
    /// One datagram of so many finds no room.
    no_room_each: u64,
    made: u64,
}

impl Show {
    fn begin(mut meeting: Meeting, terms: PlayTerms) -> Self {
        (meeting.caller.latency, meeting.listener.latency) = (MS * 400, MS * 400);
        let world = meeting.hold([Source::NONE; 2]).unwrap();
        let mut stream = Stream::new(&StreamConfig::default());
        stream.configure(Codec::H264, AVCC);
        stream.configure(Codec::Aac, ASC);
        stream.unit(Codec::H264, 0, true, 9_000);
        let log = stream.subscribe(KEY).unwrap();
        let logs = Succession::new(log.clone());
        let (cursor, now) = (DatagramCursor::new(), world.now);
        let (received, jumps, no_room_each, made) = (Vec::new(), 0, u64::MAX, 0);
        let trail = Trail::new(now);
        Self {
            world,
            stream,
            log,
            logs,
            trail,
            cursor,
            terms,
            now,
            received,
            jumps,
            no_room_each,
            made,
        }
    }

    /// Time passes, in which media comes, and is sent if the player has its turn.
    fn pass(&mut self, time: Range<i64>, has_media: bool, has_turn: bool) {
        for ms in time {
            self.now += MS;
            if has_media && ms % 40 == 0 {
                self.stream.unit(Codec::H264, ms, ms % 1_000 == 0, 5_000);
                self.stream.unit(Codec::Aac, ms, true, 300);
                let newest = self.logs.newest();
                self.trail.step(newest.committed(), newest.groups_committed(), self.now);
            }
            self.exchange();
            if has_turn {
                self.serve();
            }
        }
    }

    fn exchange(&mut self) {
        let Self { world, now, received, .. } = self;
        let now = *now;
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
    }

    /// Sends what is due, as a shard does.
    fn serve(&mut self) {
        loop {
            let connection = &mut self.world.ends[0].connection;
            let seen = (&self.logs, &self.trail);
            match self.cursor.poll(connection, seen, &self.terms, self.now) {
                Due::Datagram(transmit, payload) => self.send(&transmit, &payload),
                Due::Jumped => self.jumps += 1,
                Due::Nothing => return,
                Due::Ended => panic!("the stream goes on"),
            }
        }
    }

    fn send(&mut self, transmit: &DataTransmit, payload: &Payload) {
        let connection = &mut self.world.ends[0].connection;
        self.made += 1;
        if self.made.is_multiple_of(self.no_room_each) {
            let DataTransmit { number, retransmitted, .. } = *transmit;
            connection.take_back(&Returned { number, len: payload.len(), retransmitted });
            return;
        }
        let mut datagram = transmit.header.to_vec();
        match payload {
            Payload::Log(ranges) if transmit.key.is_none() => {
                for range in ranges.as_slice() {
                    // SAFETY: the log keeps its pages until the stream's next turn.
                    let bytes =
                        unsafe { std::slice::from_raw_parts(range.ptr, range.len as usize) };
                    datagram.extend_from_slice(bytes);
                }
            }
            payload => {
                datagram.resize(HEADER_BYTES + payload.len(), 0);
                let place = &mut datagram[HEADER_BYTES..];
                match payload {
                    Payload::Splice(splice) => splice.encode(&mut Writer::new(place)),
                    Payload::Entrance(_) => unreachable!("these packets are made here"),
                    Payload::Log(_) => {
                        let read = self.cursor.index(&self.logs).read(transmit.number, place);
                        assert_eq!(read, Some(place.len()));
                    }
                }
                connection.encrypt(transmit, place);
            }
        }
        self.world.lines[0].send(self.now, &datagram);
    }

    /// All that there was from where the player joined.
    fn whole(&self) -> Vec<u8> {
        let from = self.log.entry(0).map(|entry| entry.offset).unwrap();
        bytes(&self.log, from, self.log.committed())
    }
}

fn encrypted(mut meeting: Meeting) -> Meeting {
    for settings in [&mut meeting.caller, &mut meeting.listener] {
        settings.passphrase = Some(Passphrase::new(b"a secret of both").unwrap());
        settings.key_length = KeyLength::Aes256;
        (settings.key_refresh_packets, settings.key_announce_packets) = (80, 30);
    }
    meeting
}

/// A player gets everything over a line that loses, whatever finds no room at first.
fn assert_played(meeting: Meeting, no_room_each: u64) {
    let mut show = Show::begin(meeting, TERMS);
    show.no_room_each = no_room_each;
    show.pass(1..4_000, true, true);
    show.pass(4_000..5_000, false, true);
    let connection = &show.world.ends[0].connection;
    let counts = connection.statistics();
    assert!(show.world.lines[0].lost_data > 10, "the line loses");
    assert!(counts.pkt_retrans > 10, "{counts:?}");
    assert_eq!((connection.is_sent(), connection.unacknowledged()), (true, 0));
    let sent = show.made - show.made / no_room_each;
    assert_eq!(counts.pkt_sent, sent, "what did not leave is not counted");
    assert_eq!(counts.pkt_sent, counts.pkt_sent_unique + counts.pkt_retrans);
    let whole = show.whole();
    assert!(show.received == whole, "{} of {} bytes", show.received.len(), whole.len());
    let pids: Vec<_> = packets(&show.received).take(3).map(|packet| packet.pid).collect();
    assert_eq!(pids, [0, 0x1000, 0x100], "a join begins with the tables");
    show.stream.end();
}

fn bad_line(seed: u64) -> Meeting {
    Meeting::new(Weather { loss: 50, jitter: MS * 3, ..FINE }, seed)
}

#[test]
fn a_player_gets_every_packet_over_a_line_that_loses() {
    assert_played(bad_line(21), u64::MAX);
}

#[test]
fn an_encrypted_player_gets_every_packet_over_a_line_that_loses() {
    assert_played(encrypted(bad_line(22)), u64::MAX);
}

#[test]
fn what_finds_no_room_is_sent_later() {
    assert_played(bad_line(23), 3);
    assert_played(encrypted(bad_line(24)), 3);
}

#[test]
fn who_fell_behind_goes_on_at_a_keyframe_behind_a_splice() {
    for meeting in [Meeting::new(FINE, 25), encrypted(Meeting::new(FINE, 26))] {
        let terms = PlayTerms { lag_max: MediaTime::from_millis(600), ..TERMS };
        let mut show = Show::begin(meeting, terms);
        show.pass(1..1_500, true, true);
        show.pass(1_500..3_500, true, false);
        show.pass(3_500..4_500, true, true);
        show.pass(4_500..5_000, false, true);
        assert_eq!(show.jumps, 1);
        let (whole, got) = (show.whole(), &show.received);
        let same = whole.chunks(188).zip(got.chunks(188)).take_while(|(one, other)| one == other);
        let rest = &got[same.count() * 188..];
        let splice = packets(rest).take_while(|p| p.discontinuity && !p.has_payload).count();
        assert!(splice > 0, "counters go on behind a splice");
        let after = &rest[splice * 188..];
        let pids: Vec<_> = packets(after).take(3).map(|packet| packet.pid).collect();
        assert_eq!(pids, [0, 0x1000, 0x100], "it goes on at a join point");
        assert!(whole.ends_with(after) && after.len() < whole.len() / 2, "{}", after.len());
        show.stream.end();
    }
}
