//! What no transport stream can carry, on purpose or by damage.

use codecs::rtmp::message::{Csid, MessageKind};
use dataplane::config::Config;

use crate::node::{
    self, Content, FRAME_MS, GOP_FRAMES, Player, Publisher, Server, Totals, TsPlayer,
    assert_contiguous, avcc, payload,
};
use crate::on_both_backends;
use crate::publish;
use crate::witness::Witness;

on_both_backends! {
    what_no_transport_stream_carries_is_left_out
    a_stream_that_no_packets_carry_is_not_found
    broken_pictures_are_left_out_to_the_next_keyframe
    hostile_units_harm_nobody
    sound_that_its_header_cannot_tell_is_left_out
}

fn what_no_transport_stream_carries_is_left_out(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    publisher.audio_config(&node::asc(4), 0);
    let frame = |publisher: &mut Publisher, number: u32| {
        // VP9 by its FourCC, keyframes and others.
        let kind = if number.is_multiple_of(GOP_FRAMES) { 0x91 } else { 0xa1 };
        let body = [&[kind][..], b"vp09", &payload(number, 100)].concat();
        publisher.message(Csid::VIDEO, MessageKind::Video, 1, number * FRAME_MS, &body);
        publisher.audio(number, number * FRAME_MS);
        publisher.flush();
    };
    frame(&mut publisher, 0);
    server.control.until("both tracks", |t| t.sum(|c| c.units_received) == 2);
    let mut player = TsPlayer::start(server.http, "ts");
    let mut items = player.items_to_audio(0);
    (1..40).for_each(|number| frame(&mut publisher, number));
    items.extend(player.items_to_audio(39));
    assert_contiguous(&items);
    assert_eq!((items.len(), player.streams.as_slice()), (40, &[(0x110, 0x0f)][..]));
    let totals = server.control.snapshot();
    assert_eq!(totals.sum(|c| c.units_left_out_ts), 40);
    assert_eq!(totals.sum(|c| c.units_dropped_memory), 0);
}

fn a_stream_that_no_packets_carry_is_not_found(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    for number in 0..100_u32 {
        let kind = if number.is_multiple_of(GOP_FRAMES) { 0x91 } else { 0xa1 };
        let body = [&[kind][..], b"vp09", &payload(number, 100)].concat();
        publisher.message(Csid::VIDEO, MessageKind::Video, 1, number * FRAME_MS, &body);
    }
    publisher.flush();
    server.control.until("all units", |t| t.sum(|c| c.units_received) == 100);
    let refused = TsPlayer::ask(server.http, "/ts.ts");
    assert!(refused.head.starts_with("HTTP/1.1 404 "), "{}", refused.head);
    assert_eq!(server.control.snapshot().sum(|c| c.units_left_out_ts), 0);
}

fn broken_pictures_are_left_out_to_the_next_keyframe(config: Config) {
    let server = Server::start(config);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    let mut items = player.items_to_audio(0);
    publisher.send_frames(3);
    // A NAL unit that ends behind its picture.
    let body = [0x27, 1, 0, 0, 0, 0, 0, 1, 0, 0x41, 1, 2, 3];
    let ms = 4 * FRAME_MS;
    publisher.message(Csid::VIDEO, MessageKind::Video, 1, ms, &body);
    publisher.send_frames(GOP_FRAMES);
    items.extend(player.items_to_audio(GOP_FRAMES + 3));
    let pictures: Vec<_> = items.iter().filter_map(|item| Some(item.video()?.number)).collect();
    assert_eq!(pictures, [0, 1, 2, 3, 10, 11, 12, 13]);
    assert!(!items.iter().any(|item| matches!(item.content, Content::Data(_))));
    let totals = server.control.snapshot();
    // It, and those that may refer to it.
    assert_eq!(totals.sum(|c| c.units_left_out_ts), 1 + u64::from(GOP_FRAMES - 4));
    assert_eq!(totals.sum(|c| c.units_dropped_memory), 0);
}

fn hostile_units_harm_nobody(config: Config) {
    let server = Server::start(config);
    let mut witness = Witness::start(&server);
    let mut publisher = publish(&server, "ts");
    publisher.send_frames(1);
    let mut player = TsPlayer::start(server.http, "ts");
    player.items_to_audio(0);
    let unit = |nal: &[u8]| [&u32::try_from(nal.len()).unwrap().to_be_bytes()[..], nal].concat();
    let picture = |units: &[u8]| [&[0x17, 1, 0, 0, 0][..], units].concat();
    let attacks = [
        ("nothing", picture(&[])),
        ("empty units", picture(&[0; 4_000])),
        ("a million units", picture(&unit(&[0x65]).repeat(1 << 20))),
        ("a unit of all lengths", picture(&[0xff; 4_000])),
        ("delimiters alone", picture(&unit(&[9, 0xf0]).repeat(400))),
        ("half a length", picture(&[0, 0, 0])),
        ("a frame over its 13 bits", [&[0xaf, 1][..], &[7; 9_000]].concat()),
        ("an empty frame", vec![0xaf, 1]),
    ];
    let before = server.control.snapshot();
    for (number, (what, body)) in (1..).zip(&attacks) {
        let kind = if body[0] == 0x17 { MessageKind::Video } else { MessageKind::Audio };
        let csid = if body[0] == 0x17 { Csid::VIDEO } else { Csid::AUDIO };
        // All of it before the next frame, and behind the sound of the first.
        publisher.message(csid, kind, 1, FRAME_MS / 2 + number, body);
        publisher.flush();
        witness.works();
        let after = server.control.snapshot();
        assert_eq!(after.sum(|c| c.sessions_malformed), 0, "{what}");
    }
    publisher.send_frames(2 * GOP_FRAMES);
    let items = player.items_to_audio(2 * GOP_FRAMES);
    let pictures: Vec<_> = items.iter().filter_map(|item| Some(item.video()?.number)).collect();
    let after_the_attack: Vec<_> = (GOP_FRAMES..=2 * GOP_FRAMES).collect();
    assert_eq!(pictures, after_the_attack, "from the next keyframe on");
    assert_eq!(player.discontinuities, 0);
    let after = server.control.snapshot();
    let left_out = |t: &Totals| t.sum(|c| c.units_left_out_ts + c.units_dropped_malformed);
    assert!(left_out(&after) - left_out(&before) >= 7, "{}", left_out(&after));
    assert_eq!(after.sum(|c| c.panics), 0);
}

fn sound_that_its_header_cannot_tell_is_left_out(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::bare(server.rtmp, "ts");
    publisher.video_config(&avcc(40, 30, 0x80), 0);
    // Low delay AAC, 48 kHz stereo.
    publisher.audio_config(&[0xf8, 0xe6, 0x40], 0);
    publisher.send_frames(1);
    server.control.until("the first frame", |t| t.sum(|c| c.units_received) == 2);
    let mut player = TsPlayer::start(server.http, "ts");
    let mut items = player.items_to_video(0);
    publisher.send_frames(20);
    items.extend(player.items_to_video(20));
    assert_contiguous(&items);
    assert_eq!((items.len(), player.streams.as_slice()), (21, &[(0x100, 0x1b)][..]));
    server.control.until("all sound", |t| t.sum(|c| c.units_left_out_ts) == 21);
}
