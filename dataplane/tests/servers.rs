//! Pulls by RTMP: a node plays the streams of other servers.

#![expect(clippy::disallowed_types, reason = "servers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use codecs::amf0::Value;
use codecs::rtmp::command::encode_data;
use codecs::rtmp::message::{Csid, MessageKind};
use dataplane::config::Config;
use dataplane::control::{
    Command, Dial, DialFailure, DialNumber, DialPeer, DialState, Event, Role, RtmpPeer,
};
use dataplane::ids::StreamName;
use dataplane::session::rtmp::client::Address;
use node::{Peer, Server, TIME_BOUND};

on_both_backends! {
    a_server_that_sends_all_it_keeps_is_read_to_the_end
}

/// The stream is played from a server that listens there.
fn pull(server: &Server, listener: &TcpListener) {
    let addr = listener.local_addr().unwrap();
    let peer = RtmpPeer {
        address: Address::parse(&format!("rtmp://{addr}/live/source")).unwrap(),
        trust: None,
        connect_timeout: TIME_BOUND,
        publication: None,
    };
    let dial = Dial {
        number: DialNumber(1),
        addrs: [addr].into(),
        peer: Arc::new(DialPeer::Rtmp(peer)),
        // Once is enough.
        pause: TIME_BOUND * 10,
        attempts_max: 0,
    };
    let (stream, dials) = (StreamName::parse("cam").unwrap(), Arc::from([dial]));
    let command =
        || Command::Dial { stream: stream.clone(), role: Role::Publish, dials: Arc::clone(&dials) };
    server.control.send_all(command);
}

/// The end of a server that was connected to: whatever it is asked, it plays.
fn plays(listener: &TcpListener) -> Peer {
    let (socket, _) = listener.accept().unwrap();
    let mut peer = Peer::raw(socket);
    peer.hello();
    peer.command("_result", 0, Value::Null, &[Value::Null]);
    peer.command("_result", 0, Value::Null, &[Value::Number(1.0)]);
    peer.set_chunk_size(4_096);
    let start = [("level", "status"), ("code", "NetStream.Play.Start")];
    let start = Value::object(start.map(|(key, text)| (key, Value::from(text))).to_vec());
    peer.stream_command("onStatus", &[start]);
    peer
}

fn a_server_that_sends_all_it_keeps_is_read_to_the_end(mut config: Config) {
    // The frames are those of three seconds, and more bytes than wait beside a session.
    config.limits.rtmp_messages_per_second_max = 70;
    config.session.publish_idle = Duration::from_secs(60);
    let server = Server::start(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    pull(&server, &listener);
    let mut peer = plays(&listener);
    peer.video_bytes = 8_000;
    peer.configure(0);
    peer.frames(0, 100);
    peer.flush();
    server.control.until("all units came", |totals| {
        totals.stream("cam").is_some_and(|stream| stream.units_in == 200)
    });
    let mut complete = Vec::new();
    let code = Value::object(vec![("code", Value::from("NetStream.Play.Complete"))]);
    encode_data(&[Value::from("onPlayStatus"), code], &mut complete);
    peer.message(Csid::DATA, MessageKind::DataAmf0, 1, 0, &complete);
    peer.flush();
    let (_, event) = server.control.event("the pull is over", |event| {
        matches!(event, Event::Dialled(news) if matches!(news.state, DialState::Pausing { .. }))
    });
    let Event::Dialled(news) = event else { unreachable!("it was matched") };
    let reason = DialFailure::Ended("stream_ended");
    assert_eq!((news.state, news.attempt), (DialState::Pausing { reason }, 1));
}
