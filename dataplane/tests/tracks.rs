//! Several tracks of one stream: each player gets the one of its number as a plain stream.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod node;

use codecs::media::TrackKind;
use codecs::rtmp::command::code;
use codecs::rtmp::message::{Csid, MessageKind};
use dataplane::config::{Config, LimitId};
use dataplane::control::StreamState;
use node::{
    Content, FRAME_MS, FlvPlayer, GOP_FRAMES, Item, Player, Publisher, RtmpPlayer, Server,
    TsPlayer, WsPlayer, asc, assert_contiguous, audio_body, avcc, join_head, video_body,
};

on_both_backends! {
    every_player_gets_the_track_of_its_number
    every_format_has_the_track_of_its_number
    who_comes_before_the_tracks_waits_for_them
    a_number_that_is_not_there_is_refused
    late_players_begin_at_a_keyframe_of_their_track
    a_new_configuration_concerns_the_players_of_its_track
    players_fall_back_when_their_track_does_not_return
    every_track_is_told_with_its_rate
    a_flood_of_tracks_closes_its_publisher_alone
    what_a_track_says_of_itself_reaches_everybody
}

/// Numbers of the frames of a track begin here, so that each tells whose it is.
const fn base(track: u8) -> u32 {
    track as u32 * 100_000
}

/// A legacy tag body as one track of a multitrack message.
fn one_track(kind: MessageKind, track: u8, body: &[u8]) -> Vec<u8> {
    if kind == MessageKind::Video {
        // Frame type and packet type stay; a frame keeps its composition time.
        let (first, packet_type, rest) = (body[0] & 0x70, body[1], &body[5..]);
        let mut out = vec![0x80 | first | 6, packet_type];
        out.extend_from_slice(b"avc1");
        out.push(track);
        if packet_type == 1 {
            out.extend_from_slice(&body[2..5]);
        }
        return [&out, rest].concat();
    }
    [&[0x95, body[1]][..], b"mp4a", &[track], &body[2..]].concat()
}

/// Sends a tag of a track.
fn send(publisher: &mut Publisher, kind: MessageKind, track: u8, ms: u32, body: &[u8]) {
    let csid = if kind == MessageKind::Video { Csid::VIDEO } else { Csid::AUDIO };
    let body = if track == 0 { body.to_vec() } else { one_track(kind, track, body) };
    publisher.message(csid, kind, 1, ms, &body);
}

/// Announces a track of each kind.
fn announce(publisher: &mut Publisher, track: u8, pictures: bool, sound: bool) {
    // Each has a size and a rate of its own.
    if pictures {
        let record = avcc(40 - 10 * u32::from(track), 30, 0x80);
        let body = [&[0x17, 0, 0, 0, 0][..], &record].concat();
        send(publisher, MessageKind::Video, track, 0, &body);
    }
    if sound {
        let body = [&[0xaf, 0][..], &asc(4 - track)].concat();
        send(publisher, MessageKind::Audio, track, 0, &body);
    }
}

/// Sends a picture of a track.
fn picture(publisher: &mut Publisher, track: u8, number: u32, keyframe: bool) {
    let ms = number * FRAME_MS + u32::from(track);
    let body = video_body(base(track) + number, keyframe, 0, 300);
    send(publisher, MessageKind::Video, track, ms, &body);
}

/// Sends a frame of sound of a track.
fn sound(publisher: &mut Publisher, track: u8, number: u32) {
    let ms = number * FRAME_MS + FRAME_MS / 2 + u32::from(track);
    let body = audio_body(base(track) + number, 90);
    send(publisher, MessageKind::Audio, track, ms, &body);
}

/// Pictures of tracks 0 and 1, sound of tracks 0, 1 and 2.
fn frames(publisher: &mut Publisher, from: u32, to: u32) {
    for number in from..to {
        for track in [0, 1] {
            // The GOPs of the second track begin in the middle of those of the first.
            let at = number + u32::from(track) * GOP_FRAMES / 2;
            picture(publisher, track, number, at.is_multiple_of(GOP_FRAMES));
        }
        for track in [0, 1, 2] {
            sound(publisher, track, number);
        }
    }
    publisher.flush();
}

fn begin(server: &Server) -> Publisher {
    let mut publisher = Publisher::bare(server.rtmp, "many");
    for track in [0, 1] {
        announce(&mut publisher, track, true, true);
    }
    announce(&mut publisher, 2, false, true);
    publisher.flush();
    server.control.until("all tracks", |t| t.stream("many").is_some_and(|s| s.tracks.len() == 5));
    publisher
}

/// The numbers of the tracks that the items are of: pictures, sound.
fn assert_of(items: &[Item], video: u8, audio: u8) {
    for item in items {
        let (frame, track) = match (item.video(), item.audio()) {
            (Some(frame), _) => (frame, video),
            (_, Some(frame)) => (frame, audio),
            _ => continue,
        };
        let of = frame.number / base(1);
        assert_eq!(of, u32::from(track), "{frame:?} is not of track {track}");
    }
    assert_contiguous(items);
}

fn every_player_gets_the_track_of_its_number(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    let tracks = [(0, 0), (1, 1), (0, 2)];
    let mut players: Vec<_> = (0..3)
        .map(|wanted| {
            let name = if wanted == 0 { "many".into() } else { format!("many?track={wanted}") };
            let flv = FlvPlayer::ask(server.http, &format!("/many.flv?track={wanted}"));
            assert!(flv.head.starts_with("HTTP/1.1 200 "), "{}", flv.head);
            (RtmpPlayer::start(server.rtmp, &name), flv)
        })
        .collect();
    // The second track's first keyframe is number 5: everybody joins before there is a newer one.
    frames(&mut publisher, 0, 6);
    let mut joined: Vec<_> = players
        .iter_mut()
        .zip(tracks)
        .map(|((rtmp, flv), (_, audio))| {
            let last = base(audio) + 5;
            [rtmp.items_to_audio(last), flv.items_to_audio(last)]
        })
        .collect();
    frames(&mut publisher, 6, 40);
    for (wanted, (rtmp, flv)) in players.iter_mut().enumerate() {
        let (video, audio) = tracks[wanted];
        let last = base(audio) + 39;
        joined[wanted][0].extend(rtmp.items_to_audio(last));
        joined[wanted][1].extend(flv.items_to_audio(last));
        for items in &joined[wanted] {
            assert_of(items, video, audio);
            let pictures = items.iter().filter(|item| item.video().is_some()).count();
            assert_eq!(pictures, if video == 0 { 40 } else { 35 }, "from its first keyframe on");
            let configs = items.iter().filter_map(|item| match &item.content {
                Content::VideoConfig(record) => Some(record.clone()),
                _ => None,
            });
            let own = avcc(40 - 10 * u32::from(video), 30, 0x80);
            assert!(configs.into_iter().all(|record| record == own));
        }
    }
    let totals = server.control.snapshot();
    let logs = &totals.stream("many").unwrap().logs;
    let mut kinds: Vec<_> = logs.iter().map(|log| (log.format, log.track)).collect();
    kinds.sort_unstable();
    let each = ["flv", "rtmp"].map(|format| [0, 1, 2].map(|track| (format, track))).concat();
    assert_eq!(kinds, each, "one log for each number and format in use");
}

fn every_format_has_the_track_of_its_number(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    let mut ws = WsPlayer::ask(server.http, "/many.flv?track=1");
    let mut ts = TsPlayer::ask(server.http, "/many.ts?track=1");
    assert!(ts.head.starts_with("HTTP/1.1 200 "), "{}", ts.head);
    frames(&mut publisher, 0, 40);
    for items in [ws.items_to_audio(base(1) + 39), ts.items_to_audio(base(1) + 39)] {
        assert_of(&items, 1, 1);
        assert!(items.iter().any(|item| item.video().is_some()));
    }
}

fn who_comes_before_the_tracks_waits_for_them(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "many");
    server.control.stream_started("many");
    // Nobody knows yet whether these are there, and nobody packages for them.
    let mut second = RtmpPlayer::ask(server.rtmp, "many?track=1");
    let mut ninth = RtmpPlayer::ask(server.rtmp, "many?track=9");
    server.control.until("both ask", |t| {
        t.sessions().filter(|session| session.state == "asking_play").count() == 2
    });
    assert!(server.control.snapshot().stream("many").unwrap().logs.is_empty());
    for track in [0, 1] {
        announce(&mut publisher, track, true, true);
    }
    for number in 0..10 {
        for track in [0, 1] {
            picture(&mut publisher, track, number, number == 0);
            sound(&mut publisher, track, number);
        }
    }
    publisher.flush();
    second.peer.expect_status(code::PLAY_START);
    let items = second.items_to_audio(base(1) + 9);
    assert_of(&items, 1, 1);
    assert_eq!(items.iter().filter(|item| item.video().is_some()).count(), 10, "from the first");
    assert_eq!(ninth.peer.statuses_to_end(), [code::PLAY_STREAM_NOT_FOUND]);
}

fn a_number_that_is_not_there_is_refused(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    frames(&mut publisher, 0, 1);
    let mut rtmp = RtmpPlayer::ask(server.rtmp, "many?track=3");
    let statuses = rtmp.peer.statuses_to_end();
    assert_eq!(statuses, [code::PLAY_STREAM_NOT_FOUND]);
    for target in ["/many.flv?track=3", "/many.flv?track=256", "/many.flv?track=x"] {
        let flv = FlvPlayer::ask(server.http, target);
        assert!(flv.head.starts_with("HTTP/1.1 404 "), "{target}: {}", flv.head);
    }
    let totals = server.control.snapshot();
    assert!(totals.stream("many").unwrap().logs.is_empty(), "nothing is packaged for nobody");
}

fn late_players_begin_at_a_keyframe_of_their_track(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    frames(&mut publisher, 0, 33);
    server
        .control
        .until("33 frames", |t| t.stream("many").is_some_and(|stream| stream.units_in >= 33 * 5));
    for (wanted, keyframe) in [(0, 30), (1, base(1) + 25)] {
        let mut rtmp = RtmpPlayer::start(server.rtmp, &format!("many?track={wanted}"));
        let (head, first) = join_head(&mut rtmp);
        let frame = first.video().expect("a picture comes first");
        assert_eq!((frame.number, frame.keyframe), (keyframe, true));
        let own = avcc(40 - 10 * wanted, 30, 0x80);
        assert!(head.contains(&Content::VideoConfig(own)), "{head:?}");
    }
}

fn a_new_configuration_concerns_the_players_of_its_track(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    let mut first = RtmpPlayer::start(server.rtmp, "many");
    let mut second = RtmpPlayer::start(server.rtmp, "many?track=1");
    frames(&mut publisher, 0, 10);
    first.items_to_audio(9);
    second.items_to_audio(base(1) + 9);
    let record = avcc(20, 20, 0x80);
    let body = [&[0x17, 0, 0, 0, 0][..], &record].concat();
    send(&mut publisher, MessageKind::Video, 1, 400, &body);
    frames(&mut publisher, 10, 20);
    let told = |items: &[Item]| {
        let configs = |item: &&Item| matches!(item.content, Content::VideoConfig(_));
        items.iter().filter(configs).map(|item| item.content.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&first.items_to_audio(19)), []);
    let items = second.items_to_audio(base(1) + 19);
    assert_eq!(told(&items), [Content::VideoConfig(record)]);
    assert_of(&items, 1, 1);
}

fn players_fall_back_when_their_track_does_not_return(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    let mut player = RtmpPlayer::start(server.rtmp, "many?track=1");
    frames(&mut publisher, 0, 10);
    player.items_to_audio(base(1) + 9);
    publisher.socket.shutdown(std::net::Shutdown::Both).unwrap();
    server.control.until("grace", |t| {
        t.stream("many").is_some_and(|stream| stream.state == StreamState::Grace)
    });
    // Its successor has one track of each kind.
    let mut again = Publisher::start(server.rtmp, "many");
    again.send_frames(80);
    let items = player.items_to_audio(79);
    let first = items.iter().find_map(Item::video).unwrap();
    assert!(first.keyframe && first.number < 80, "{first:?}");
    assert!(items.iter().any(|item| matches!(item.content, Content::VideoConfig(_))));
    assert_of(&items, 0, 0);
    let late = RtmpPlayer::ask(server.rtmp, "many?track=2").peer.statuses_to_end();
    assert_eq!(late, [code::PLAY_STREAM_NOT_FOUND], "a track that is silent is none");
}

fn every_track_is_told_with_its_rate(config: Config) {
    let server = Server::start(config);
    let mut publisher = begin(&server);
    frames(&mut publisher, 0, 60);
    let totals = server.control.until("rates", |t| {
        t.stream("many").is_some_and(|stream| stream.tracks.iter().all(|track| track.bps > 0))
    });
    let tracks: Vec<_> = totals.stream("many").unwrap().tracks.iter().collect();
    let widths: Vec<_> = tracks
        .iter()
        .filter(|track| track.kind == TrackKind::Video)
        .map(|track| (track.id, track.config.as_ref().and_then(|c| c.video).unwrap().width))
        .collect();
    assert_eq!(widths, [(0, 640), (1, 480)]);
    let rates: Vec<_> = tracks
        .iter()
        .filter(|track| track.kind == TrackKind::Audio)
        .map(|track| (track.id, track.config.as_ref().and_then(|c| c.audio).unwrap().sample_rate))
        .collect();
    assert_eq!(rates, [(0, 44_100), (1, 48_000), (2, 64_000)]);
}

fn a_flood_of_tracks_closes_its_publisher_alone(config: Config) {
    let server = Server::start(config);
    let mut witness = Publisher::start(server.rtmp, "witness");
    let mut player = RtmpPlayer::start(server.rtmp, "witness");
    let mut publisher = Publisher::bare(server.rtmp, "flood");
    for track in 1..=255 {
        sound(&mut publisher, track, 0);
        announce(&mut publisher, track.min(3), false, true);
    }
    publisher.try_flush();
    publisher.statuses_to_end();
    let totals = server.control.until("closed", |t| t.limit(LimitId::TracksMax) == 1);
    assert!(totals.stream("flood").is_none_or(|stream| stream.tracks.len() <= 8));
    witness.send_frames(10);
    assert_contiguous(&player.items_to_audio(9));
}

/// The bodies of sound messages up to and with that frame.
fn sounds_to(player: &mut RtmpPlayer, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    while bodies.last().is_none_or(|body| body != frame) {
        let message = player.peer.next().unwrap();
        if message.header.kind == MessageKind::Audio {
            bodies.push(message.body);
        }
    }
    bodies
}

fn what_a_track_says_of_itself_reaches_everybody(config: Config) {
    const HEAD: &[u8] = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    const MAPS: [&[u8]; 2] = [b"\x94Opus\x01\x02\0\0\0\x03", b"\x94Opus\x01\x02\0\0\0\x30"];
    const FRAMES: [&[u8]; 3] = [b"\x91Opus\xfc1", b"\x91Opus\xfc2", b"\x91Opus\xfc3"];
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "surround");
    let mut send = |ms: u32, bodies: &[&[u8]]| {
        for body in bodies {
            publisher.message(Csid::AUDIO, MessageKind::Audio, 1, ms, body);
        }
        publisher.flush();
    };
    send(0, &[HEAD, MAPS[0], FRAMES[0]]);
    server.control.until("a unit", |t| t.stream("surround").is_some_and(|s| s.units_in == 1));
    let mut player = RtmpPlayer::start(server.rtmp, "surround");
    assert_eq!(sounds_to(&mut player, FRAMES[0]), [HEAD, MAPS[0], FRAMES[0]]);
    // The same map again is no news; another one is, and counts for those who come later.
    send(20, &[MAPS[0], FRAMES[1], MAPS[1], FRAMES[2]]);
    assert_eq!(sounds_to(&mut player, FRAMES[2]), [FRAMES[1], MAPS[1], FRAMES[2]]);
    let mut late = RtmpPlayer::start(server.rtmp, "surround");
    assert_eq!(sounds_to(&mut late, FRAMES[2])[..2], [HEAD, MAPS[1]]);
}
