//! Transport streams that go through as they came: to players of SRT and of HTTP, from wherever
//! they join, and beyond the end of their publisher.

mod feed;
mod sources;

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use codecs::mpegts::PACKET_LEN;
use codecs::mpegts::demux::packet::TransportPacket;
use codecs::mpegts::demux::{Carriage, DataFormat, RawPacket};
use codecs::time::MediaTime;
use dataplane::config::Config;
use dataplane::control::{Grant, Verdict};
use dataplane::session::mpegts::TransportTerms;
use socket2::SockRef;

use feed::*;

use super::node::{self, Publisher, Server, TIME_BOUND};
use super::transport::*;
use super::{SrtPeer, listening};
use crate::on_both_backends;

on_both_backends! {
    everything_of_a_program_arrives_as_it_was_sent
    another_publisher_is_told_and_nobody_is_dropped
    of_a_multiplex_the_chosen_program_goes_out
    passthrough_can_be_switched_off
    what_nobody_plays_is_kept_for_one_group_of_pictures
    a_slow_player_goes_on_at_a_keyframe
}

fn packets(bytes: &[u8]) -> Vec<RawPacket> {
    bytes.chunks_exact(PACKET_LEN).map(|packet| packet.try_into().unwrap()).collect()
}

fn pid(packet: &RawPacket) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Without tables, without what fills, and without what tells of a gap.
fn media(bytes: &[u8]) -> Vec<RawPacket> {
    let is_media = |packet: &RawPacket| {
        packet[3] & 0x10 != 0 && ![0, MAP_PID, 0x1000, NULL].contains(&pid(packet))
    };
    packets(bytes).into_iter().filter(is_media).collect()
}

/// What a receiver may rely on; the versions of the maps that it saw, by PID and in order.
fn check(received: &[u8]) -> Vec<(u16, u8)> {
    let all = packets(received);
    assert_eq!((pid(&all[0]), pid(&all[1])), (0, map_pid(&all[0])), "tables first");
    let mut counters: HashMap<u16, u8> = HashMap::new();
    let mut clocks: HashMap<u16, i64> = HashMap::new();
    let mut versions = Vec::new();
    let mut maps = HashSet::new();
    for raw in &all {
        let packet = TransportPacket::parse(raw);
        assert!(raw[0] == 0x47 && !packet.damaged && !packet.scrambled && !packet.malformed);
        let (pid, counter) = (packet.pid.get(), packet.counter);
        let splices = packet.adaptation.discontinuity;
        if splices {
            clocks.remove(&pid);
        }
        if let Some(last) = counters.insert(pid, counter).filter(|_| !splices) {
            let next = last.wrapping_add(u8::from(packet.has_payload)) & 15;
            assert_eq!(counter, next, "pid {pid:#x}");
        }
        if let Some(pcr) = packet.adaptation.pcr
            && let Some(before) = clocks.insert(pid, pcr)
        {
            let step_ms = (pcr - before).rem_euclid(CLOCK_WRAP) / 27_000;
            assert!((0..=100).contains(&step_ms), "{step_ms} ms from clock to clock");
        }
        if pid == 0 && packet.has_payload {
            maps.insert(map_pid(raw));
        }
        if maps.contains(&pid) && packet.start {
            let version = packet.payload[6] >> 1 & 0x1f;
            if versions.last() != Some(&(pid, version)) {
                versions.push((pid, version));
            }
        }
    }
    versions
}

/// Where the map is that an association names.
fn map_pid(association: &RawPacket) -> u16 {
    u16::from_be_bytes([association[15] & 0x1f, association[16]])
}

const CLOCK_WRAP: i64 = 300 << 33;

/// A player over HTTP that does not look at what comes.
struct HttpPlayer {
    socket: TcpStream,
    received: Vec<u8>,
}

impl HttpPlayer {
    fn start(addr: SocketAddr, name: &str) -> Self {
        let mut player = Self::ask(addr, name);
        player.answered();
        player
    }

    /// Asks, and hears nothing yet.
    fn ask(addr: SocketAddr, name: &str) -> Self {
        let mut socket = TcpStream::connect(addr).unwrap();
        SockRef::from(&socket).set_recv_buffer_size(16 << 10).unwrap();
        socket.set_read_timeout(Some(TIME_BOUND)).unwrap();
        write!(socket, "GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self { socket, received: Vec::new() }
    }

    /// Waits for its answer.
    fn answered(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "));
    }

    /// Reads at most so many bytes.
    fn take(&mut self, bytes: usize) {
        let mut piece = vec![0; bytes];
        let len = self.socket.read(&mut piece).unwrap();
        self.received.extend_from_slice(&piece[..len]);
    }

    /// Reads until `is` holds of what came.
    fn until(&mut self, is: impl Fn(&[u8]) -> bool) {
        let mut piece = vec![0; 64 << 10];
        while !is(&self.received) {
            match self.socket.read(&mut piece) {
                Ok(0) => panic!("it was ended"),
                Ok(len) => self.received.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// True if the last packet of `sent` came, but for tables and filling.
fn has_last(received: &[u8], sent: &[u8]) -> bool {
    let last = *media(sent).last().unwrap();
    received.chunks_exact(PACKET_LEN).rev().take(20).any(|packet| *packet == last)
}

/// The publisher's packets from the one in which its newest keyframe begins.
fn from_newest_key(sent: &[u8]) -> Vec<RawPacket> {
    let all = media(sent);
    let begins_key = |raw: &RawPacket| {
        let packet = TransportPacket::parse(raw);
        packet.pid.get() == VIDEO
            && packet.start
            && packet.payload.windows(2).any(|w| w == [1, 0x67])
    };
    let at = all.iter().rposition(begins_key).unwrap();
    all[at..].to_vec()
}

/// Publishes, and waits until both tracks are there.
fn published(server: &Server, peer: &mut SrtPeer, bytes: &[u8]) {
    peer.publish(bytes);
    peer.published();
    server.control.until("both tracks", |t| t.stream("cam").is_some_and(|s| s.tracks.len() == 2));
}

fn everything_of_a_program_arrives_as_it_was_sent(config: Config) {
    let (server, srt) = listening(config, 1);
    let mut feed = Feed::new(3);
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    let mut sent = feed.frames(2 * GOP + 6);
    published(&server, &mut publisher, &sent);
    let mut expected = from_newest_key(&sent);
    let mut player = SrtPeer::start(srt, "read:cam");
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    player.until("it joins", |player| has_last(&player.received, &sent));
    http.until(|received| has_last(received, &sent));
    let later = feed.frames(3 * GOP);
    expected.extend(media(&later));
    sent.extend(&later);
    publisher.publish(&later);
    publisher.published();
    // One more joins in the middle.
    let mut second = SrtPeer::start(srt, "read:cam");
    for peer in [&mut player, &mut second] {
        peer.until("all of it came", |peer| has_last(&peer.received, &sent));
    }
    http.until(|received| has_last(received, &sent));
    assert!(media(&player.received) == expected, "SRT, packet by packet");
    assert!(media(&http.received) == expected, "HTTP, packet by packet");
    assert!(media(&second.received) == from_newest_key(&sent), "from the newest keyframe on");
    for received in [&player.received, &http.received, &second.received] {
        assert_eq!(check(received), [(MAP_PID, 3)], "its own map");
        let pids: HashSet<u16> = packets(received).iter().map(pid).collect();
        assert!(!pids.contains(&NULL), "what fills is left out");
    }
    let pids: HashSet<u16> = packets(&player.received).iter().map(pid).collect();
    assert!([CUES, METADATA, UNKNOWN].iter().all(|pid| pids.contains(pid)), "{pids:?}");
    assert_listed(&server);
    assert_flv(&server);
}

/// True if packets came that are made of units.
fn is_made(received: &[u8]) -> bool {
    packets(received).iter().filter(|packet| pid(packet) == 0x110).count() > 4
}

/// Players of other formats get what is made of the units.
fn assert_flv(server: &Server) {
    let mut player = HttpPlayer::start(server.http, "cam.flv");
    player.until(|received| received.len() > 4_000);
    assert!(player.received.starts_with(b"FLV"));
}

/// The API can list what nobody reads.
fn assert_listed(server: &Server) {
    let totals = server.control.snapshot();
    let transport = totals.stream("cam").unwrap().transport.clone().unwrap();
    let found: Vec<_> = transport.streams.iter().map(|it| (it.pid, it.carriage)).collect();
    assert_eq!(transport.number, Some(1));
    assert!(transport.relay.is_some());
    assert_eq!(
        found[1..],
        [
            (AUDIO, Some(Carriage::Adts)),
            (CUES, Some(Carriage::Data(DataFormat::Scte35))),
            (METADATA, Some(Carriage::Data(DataFormat::Klv))),
            (UNKNOWN, None),
        ]
    );
}

fn silent(server: &Server, ms: u64) {
    server.control.until("its publisher is silent", |t| {
        t.stream("cam").is_some_and(|stream| stream.silent_ms > ms)
    });
}

fn another_publisher_is_told_and_nobody_is_dropped(mut config: Config) {
    config.stream.takeover_after = Duration::from_millis(200);
    let (server, srt) = listening(config, 1);
    let mut feed = Feed::new(3);
    let mut first = SrtPeer::start(srt, "publish:cam");
    let sent = feed.frames(GOP + 5);
    published(&server, &mut first, &sent);
    let mut player = SrtPeer::start(srt, "read:cam");
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    player.until("it joins", |player| has_last(&player.received, &sent));
    // Another transport stream, which has other counters and times, and the same map.
    silent(&server, 200);
    let mut second = SrtPeer::start(srt, "publish:cam");
    let mut other = Feed::new(3);
    other.number = 5_000;
    let sent = other.frames(2 * GOP);
    second.publish(&sent);
    second.published();
    player.until("the second came", |player| has_last(&player.received, &sent));
    http.until(|received| has_last(received, &sent));
    assert!(media(&http.received).ends_with(&media(&sent)[..]), "all of it");
    // An encoder of RTMP.
    silent(&server, 200);
    let mut third = Publisher::start(server.rtmp, "cam");
    third.send_frames(30);
    player.until("the third came", |player| is_made(&player.received));
    http.until(is_made);
    // A transport stream again.
    silent(&server, 200);
    let mut fourth = SrtPeer::start(srt, "publish:cam");
    let mut feed = Feed::new(3);
    let sent = feed.frames(2 * GOP);
    fourth.publish(&sent);
    fourth.published();
    player.until("the fourth came", |player| has_last(&player.received, &sent));
    http.until(|received| has_last(received, &sent));
    for received in [&player.received, &http.received] {
        let versions = check(received);
        assert_eq!(versions, [(MAP_PID, 3), (0x1000, 4), (MAP_PID, 3)], "a reader looks at each");
    }
    assert!(media(&http.received).ends_with(&media(&sent)[..]), "all of it");
}

fn of_a_multiplex_the_chosen_program_goes_out(config: Config) {
    let (server, srt) = listening(config, 1);
    let terms = TransportTerms { program: Some(7), ..TransportTerms::default() };
    server.control.judge(Box::new(move |request| {
        let grant = Grant::to(request.stream.clone());
        Some(Verdict::Allow(Grant { transport: Some(Box::new(terms.clone())), ..grant }))
    }));
    let mut stream = Stream::new();
    let seven = pmt(7, 2, 0x200, &[(0x1b, 0x200, &[]), (0x0f, 0x201, &[]), (0x86, 0x202, &[])]);
    for number in 0..3 * GOP {
        if number % 4 == 0 {
            stream.section(0, &pat(1, &[(1, MAP_PID), (7, 0x30)]));
            stream.section(MAP_PID, &pmt(1, 0, VIDEO, &[(0x1b, VIDEO, &[])]));
            stream.section(0x30, &seven);
        }
        let pts = 900_000 + 3_600 * number;
        let field = Field { flags: 0, pcr: Some((pts - 9_000) * 300) };
        for pid in [VIDEO, 0x200] {
            let picture = if number % GOP == 0 { keyframe(900) } else { picture(500) };
            stream.pes_bytes(pid, field, &pes(pts, None, &picture));
        }
        stream.pes(0x201, pts, &adts(100 + number as usize, 0x21));
        stream.section(0x202, &sealed(vec![0xfc, 0, 0, number as u8, 2, 3]));
    }
    while !(stream.bytes.len() / PACKET_LEN).is_multiple_of(GROUP) {
        stream.packet(NULL, false, Field::default(), &[0xff; 184]);
    }
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    published(&server, &mut publisher, &stream.bytes);
    let mut player = SrtPeer::start(srt, "read:cam");
    player.until("it joins", |player| {
        packets(&player.received).iter().any(|packet| pid(packet) == 0x202)
    });
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    let last = *packets(&stream.bytes).iter().rfind(|packet| pid(packet) == 0x202).unwrap();
    let has_it = |received: &[u8]| received.chunks_exact(PACKET_LEN).any(|packet| *packet == last);
    http.until(has_it);
    player.until("all of it", |player| has_it(&player.received));
    for received in [&player.received, &http.received] {
        assert_eq!(check(received), [(0x30, 2)]);
        let pids: HashSet<u16> = packets(received).iter().map(pid).collect();
        assert_eq!(pids, HashSet::from([0, 0x30, 0x200, 0x201, 0x202]));
    }
    let totals = server.control.snapshot();
    let transport = totals.stream("cam").unwrap().transport.clone().unwrap();
    assert_eq!((transport.number, transport.programs.as_slice()), (Some(7), &[1, 7][..]));
}

fn passthrough_can_be_switched_off(config: Config) {
    let (server, srt) = listening(config, 1);
    let terms = TransportTerms { passthrough: false, ..TransportTerms::default() };
    server.control.judge(Box::new(move |request| {
        let grant = Grant::to(request.stream.clone());
        Some(Verdict::Allow(Grant { transport: Some(Box::new(terms.clone())), ..grant }))
    }));
    let mut feed = Feed::new(3);
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    published(&server, &mut publisher, &feed.frames(GOP + 5));
    let mut player = SrtPeer::start(srt, "read:cam");
    let pids =
        |player: &SrtPeer| -> HashSet<u16> { packets(&player.received).iter().map(pid).collect() };
    player.until("sound and pictures came", |player| pids(player).len() >= 4);
    publisher.publish(&feed.frames(GOP));
    publisher.published();
    let came = player.received.len();
    player.until("more of both", |player| player.received.len() > came + 20 * PACKET_LEN);
    assert_eq!(pids(&player), HashSet::from([0, 0x1000, 0x100, 0x110]), "and nothing else");
    let totals = server.control.snapshot();
    let transport = totals.stream("cam").unwrap().transport.clone().unwrap();
    assert!(transport.relay.is_none() && transport.streams.len() == 5, "listed all the same");
}

fn what_nobody_plays_is_kept_for_one_group_of_pictures(config: Config) {
    let (server, srt) = listening(config, 1);
    let mut feed = Feed::new(3);
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    let one = feed.frames(GOP).len() as u64;
    let sent = Feed::new(3).frames(12 * GOP);
    published(&server, &mut publisher, &sent);
    let held = |server: &Server| {
        let totals = server.control.snapshot();
        let logs = totals.stream("cam").unwrap().logs.clone();
        logs.iter().find(|log| log.format == "mpegts-relayed").map(|log| log.held_bytes)
    };
    let kept = held(&server).expect("it is there before anybody asks");
    assert!(kept > 0 && kept <= one + 20 * PACKET_LEN as u64, "{kept} of {one} a group");
    assert_flv(&server);
    let totals = server.control.snapshot();
    let stream = totals.stream("cam").unwrap();
    assert!(stream.logs.iter().all(|log| log.format != "mpegts"), "nothing is made anew");
}

fn a_slow_player_goes_on_at_a_keyframe(mut config: Config) {
    config.egress.send_buffer_bytes = 16 << 10;
    config.egress.notsent_lowat_bytes = 16 << 10;
    config.egress.player_lag_max = MediaTime::from_millis(1_000);
    let (server, srt) = listening(config, 1);
    let mut feed = Feed::new(3);
    let mut publisher = SrtPeer::start(srt, "publish:cam");
    let mut sent = feed.frames(GOP + 5);
    published(&server, &mut publisher, &sent);
    let mut http = HttpPlayer::start(server.http, "cam.ts");
    http.until(|received| has_last(received, &sent));
    // It reads nothing more until it was left behind.
    let jumps = |server: &Server| server.control.snapshot().sum(|c| c.player_jumps);
    for _ in 0..100 {
        let later = feed.frames(5 * GOP);
        publisher.publish(&later);
        publisher.published();
        sent = later;
        if jumps(&server) > 0 {
            break;
        }
        // It takes what fills its socket.
        http.take(64 << 10);
    }
    http.until(|received| has_last(received, &sent));
    assert!(jumps(&server) > 0, "it was never too slow");
    assert_eq!(check(&http.received), [(MAP_PID, 3)], "and its counters fit");
    let splices = packets(&http.received)
        .iter()
        .map(TransportPacket::parse)
        .filter(|packet| packet.adaptation.discontinuity && !packet.has_payload)
        .count();
    assert!(splices >= 5, "{splices}: tables and streams");
}
