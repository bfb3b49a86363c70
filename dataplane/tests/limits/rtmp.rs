//! Limits of RTMP.

use codecs::amf0::Value;
use codecs::rtmp::chunk_writer::{HEADER_LEN_MAX, encode_first};
use codecs::rtmp::command::code;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};
use codecs::writer::Writer;

use crate::node::{Peer, Publisher, Server};

/// Bytes of a chunk as the harness announces them.
const CHUNK_BYTES: usize = 4_096;

/// Sends what was said, and sees the server close without a status.
fn is_closed(peer: &mut Peer) {
    // The server may close before everything is written.
    peer.try_flush();
    assert_eq!(peer.statuses_to_end(), [""; 0]);
}

fn first_header(csid: u32, kind: MessageKind, len: u32) -> Vec<u8> {
    let csid = Csid::new(csid).unwrap();
    let header = MessageHeader { csid, timestamp: 0, len, kind, msid: 1 };
    let mut bytes = [0; HEADER_LEN_MAX];
    let mut writer = Writer::new(&mut bytes);
    encode_first(&header, &mut writer);
    let written = writer.written();
    bytes[..written].to_vec()
}

/// Messages of which only the first chunk comes.
fn unfinished(peer: &mut Peer, kind: MessageKind, count: u32) {
    for csid in 10..10 + count {
        peer.out.extend(first_header(csid, kind, 10_000));
        peer.out.extend_from_slice(&[0; CHUNK_BYTES]);
    }
}

pub(crate) fn one_stream_too_many(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    peer.publish("other");
    peer.flush();
    assert_eq!(peer.statuses_to_end(), [code::CONNECT_REJECTED]);
    1
}

pub(crate) fn one_track_too_many(server: &Server) -> u64 {
    // Its own stream ends with it.
    let mut peer = Publisher::start(server.rtmp, "other");
    peer.send_frames(1);
    // One track in a multitrack message: coded frames of H.264, track 1.
    let body = [&[0x96, 0x01][..], b"avc1", &[1, 0, 0, 0], &[0, 0, 0, 1, 0x65]].concat();
    peer.message(Csid::VIDEO, MessageKind::Video, 1, 40, &body);
    is_closed(&mut peer);
    1
}

pub(crate) fn many_chunk_streams(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    for csid in 10..20 {
        peer.out.extend(first_header(csid, MessageKind::Unknown(99), 0));
    }
    is_closed(&mut peer);
    1
}

pub(crate) fn a_long_message(server: &Server) -> u64 {
    let mut peer = Publisher::start(server.rtmp, "other");
    peer.out.extend(first_header(10, MessageKind::Video, 4_097));
    is_closed(&mut peer);
    1
}

pub(crate) fn a_long_command(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    peer.out.extend(first_header(10, MessageKind::CommandAmf0, 1_025));
    // The length is looked at with the first byte of the message.
    peer.out.push(0);
    is_closed(&mut peer);
    1
}

pub(crate) fn many_unfinished_media_messages(server: &Server) -> u64 {
    let mut peer = Publisher::start(server.rtmp, "other");
    unfinished(&mut peer, MessageKind::Video, 6);
    is_closed(&mut peer);
    1
}

pub(crate) fn many_unfinished_commands(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    unfinished(&mut peer, MessageKind::CommandAmf0, 4);
    is_closed(&mut peer);
    1
}

pub(crate) fn more_than_is_left(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    unfinished(&mut peer, MessageKind::CommandAmf0, 15);
    is_closed(&mut peer);
    // Units of a few bytes each: what they cost is their table.
    let mut peer = Publisher::start(server.rtmp, "other");
    (0..3_000).for_each(|n| peer.audio(n, n));
    is_closed(&mut peer);
    2
}

pub(crate) fn a_flood_of_messages(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    for _ in 0..1_000 {
        peer.out.extend(first_header(10, MessageKind::Unknown(99), 0));
    }
    is_closed(&mut peer);
    1
}

pub(crate) fn a_flood_of_chunks(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    peer.set_chunk_size(1);
    peer.message(Csid::COMMAND, MessageKind::CommandAmf0, 0, 0, &[0; 2_000]);
    is_closed(&mut peer);
    1
}

pub(crate) fn a_flood_of_pings(server: &Server, count: u32) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    for time in 0..count {
        let body = [&[0, 6][..], &time.to_be_bytes()].concat();
        peer.message(Csid::CONTROL, MessageKind::UserControl, 0, 0, &body);
    }
    is_closed(&mut peer);
    1
}

pub(crate) fn many_message_streams(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    peer.create_stream();
    peer.create_stream();
    is_closed(&mut peer);
    1
}

pub(crate) fn deep_values(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    let deep = (0..10).fold(Value::Null, |inner, _| Value::StrictArray(vec![inner]));
    peer.command("call", 0, Value::Null, &[deep]);
    is_closed(&mut peer);
    1
}

pub(crate) fn many_elements(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    let wide = Value::StrictArray(vec![Value::Null; 40]);
    peer.command("call", 0, Value::Null, &[wide]);
    is_closed(&mut peer);
    1
}

pub(crate) fn media_before_the_verdict(server: &Server) -> u64 {
    let mut peer = Peer::open(server.rtmp);
    peer.publish("parked");
    peer.configure(0);
    peer.frames(0, 2);
    is_closed(&mut peer);
    1
}
