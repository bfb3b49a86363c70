//! Peers that a node calls by itself: it pulls from them, pushes to them, and calls again.

mod retries;
mod sockets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codecs::amf0::Value;
use codecs::srt::{KeyLength, Passphrase, RejectReason};
use dataplane::config::Config;
use dataplane::control::{
    Command, Dial, DialFailure, DialNews, DialNumber, DialPeer, DialState, Event, Role,
    SrtPeer as Said, StreamState,
};
use dataplane::ids::{Secret, SessionId, StreamName};
use dataplane::session::mpegts::TransportTerms;
use dataplane::session::srt::{CloseReason, Settings};

use super::host::Host;
use super::node::{self, Publisher, Server};
use super::{SrtPeer, assert_played, listening, recorded};
use crate::on_both_backends;

on_both_backends! {
    a_node_pulls_from_another_and_pushes_to_a_third
    encrypted_peers_have_one_secret
    a_refusal_is_told_with_its_code
    a_peer_that_vanishes_is_called_again
    one_that_never_answers_is_given_up_after_its_last_attempt
    a_push_waits_for_its_stream_and_ends_with_it
    who_publishes_is_not_disturbed_by_a_pull
    of_a_multiplex_the_chosen_program_is_pulled
    a_change_of_one_push_leaves_the_others_alone
    a_peer_hears_that_the_node_goes_down
    two_nodes_meet
}

/// Two programs: 7 of H.264, 9 of HEVC and AAC.
const TWO_PROGRAMS: &[u8] =
    include_bytes!("../../../codecs/testdata/mpegts/ffmpeg_two_programs.ts");
const PASSPHRASE: &[u8] = b"a secret of two";

/// A peer at `addr` that is called for `stream_id`.
pub(super) fn peer(number: u64, addr: SocketAddr, stream_id: &str) -> Dial {
    let said = Said {
        rendezvous: false,
        stream_id: Secret(stream_id.to_owned()),
        passphrase: None,
        key_length: KeyLength::Aes128,
        latency: None,
        peer_latency: None,
        connect_timeout: Duration::from_millis(500),
        local: None,
        transport: TransportTerms::default(),
    };
    Dial {
        number: DialNumber(number),
        addrs: [addr].into(),
        peer: Arc::new(DialPeer::Srt(said)),
        pause: Duration::from_millis(50),
        attempts_max: 0,
    }
}

fn with_secret(dial: Dial, secret: &[u8], key_length: KeyLength) -> Dial {
    let DialPeer::Srt(said) = &*dial.peer else { panic!("{dial:?}") };
    let passphrase = Some(Passphrase::new(secret).unwrap());
    let said = Said { passphrase, key_length, ..said.clone() };
    Dial { peer: Arc::new(DialPeer::Srt(said)), ..dial }
}

/// The peers of a stream are these.
pub(super) fn dial(server: &Server, stream: &str, role: Role, dials: &[Dial]) {
    let stream = StreamName::parse(stream).unwrap();
    let dials: Arc<[Dial]> = dials.into();
    let command = || Command::Dial { stream: stream.clone(), role, dials: Arc::clone(&dials) };
    server.control.send_all(command);
}

/// Waits until a peer is as `is` says.
fn news(server: &Server, number: u64, what: &str, is: impl Fn(&DialState) -> bool) -> DialNews {
    let (_, event) = server.control.event(what, |event| match event {
        Event::Dialled(news) => news.number == DialNumber(number) && is(&news.state),
        _ => false,
    });
    let Event::Dialled(news) = event else { unreachable!("it was matched") };
    *news
}

fn connected(server: &Server, number: u64) -> SessionId {
    let is = |state: &DialState| matches!(state, DialState::Connected { .. });
    let DialState::Connected { session, .. } = news(server, number, "it is connected", is).state
    else {
        unreachable!("it was matched")
    };
    session
}

fn failure(server: &Server, number: u64) -> DialFailure {
    let is = |state: &DialState| matches!(state, DialState::Pausing { .. });
    match news(server, number, "it fails", is).state {
        DialState::Pausing { reason } => reason,
        state => unreachable!("{state:?} was not matched"),
    }
}

/// The publisher ends on purpose.
fn end(publisher: &mut Publisher) {
    publisher.stream_command("deleteStream", &[Value::Number(1.0)]);
    publisher.flush();
}

/// What is published from now on comes to a node as another stream, which had the last GOP before:
/// who calls is told that it is connected before the play on the other side begins.
fn publish_to(publisher: &mut Publisher, server: &Server, stream: &str) {
    server.control.until("its first frames come", |totals| {
        totals.stream(stream).is_some_and(|stream| stream.units_in > 0)
    });
    // Three GOPs: fewer than a player may be behind.
    publisher.send_frames(30);
    server.control.until("it comes", |totals| {
        totals.stream(stream).is_some_and(|stream| stream.units_in > 20)
    });
}

fn over_three_nodes(config: &Config, secret: Option<KeyLength>) {
    let mut encrypted = config.clone();
    if secret.is_some() {
        encrypted.srt.passphrase = Some(Passphrase::new(PASSPHRASE).unwrap());
    }
    let (source, at) = listening(encrypted.clone(), 1);
    let (puller, _) = listening(config.clone(), 1);
    let (third, third_at) = listening(encrypted, 0);
    let with = |dial: Dial| match secret {
        Some(length) => with_secret(dial, PASSPHRASE, length),
        None => dial,
    };
    let mut publisher = Publisher::start(source.rtmp, "source");
    publisher.send_frames(10);
    dial(&puller, "copy", Role::Publish, &[with(peer(1, at, "#!::r=source,m=request"))]);
    dial(&source, "source", Role::Play, &[with(peer(1, third_at, "publish:pushed"))]);
    let pulled = connected(&puller, 1);
    let pushed = connected(&source, 1);
    publish_to(&mut publisher, &puller, "copy");
    publish_to(&mut publisher, &third, "pushed");
    assert_played(&puller, "copy");
    assert_played(&third, "pushed");
    let totals = puller.control.snapshot();
    let session = totals.sessions().find(|session| session.id == pulled).expect("it is listed");
    assert_eq!((session.role, session.peer), (Some(Role::Publish), at));
    let totals = source.control.snapshot();
    let session = totals.sessions().find(|session| session.id == pushed).expect("it is listed");
    assert_eq!((session.role, session.peer), (Some(Role::Play), third_at));
    assert!(session.bytes_out > 0, "what is pushed is counted");
}

fn a_node_pulls_from_another_and_pushes_to_a_third(config: Config) {
    over_three_nodes(&config, None);
}

fn encrypted_peers_have_one_secret(config: Config) {
    over_three_nodes(&config, Some(KeyLength::Aes256));
    let settings =
        Settings { passphrase: Some(Passphrase::new(PASSPHRASE).unwrap()), ..Settings::default() };
    let mut host = Host::start(settings);
    let (server, _) = listening(config, 1);
    let wrong = with_secret(peer(1, host.addr(), "x"), b"another secret", KeyLength::Aes128);
    dial(&server, "copy", Role::Publish, &[wrong, peer(2, host.addr(), "y")]);
    host.until("both called", |host| host.calls.len() >= 2);
    assert_eq!(failure(&server, 1), DialFailure::Refused(RejectReason::BAD_SECRET.0));
    dial(&server, "copy", Role::Publish, &[peer(3, host.addr(), "y")]);
    host.until("it called", |host| host.calls.iter().filter(|id| *id == "y").count() >= 2);
    assert_eq!(failure(&server, 3), DialFailure::Refused(RejectReason::UNSECURE.0));
}

fn a_refusal_is_told_with_its_code(config: Config) {
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default()).refusing(RejectReason::UNAUTHORIZED);
    dial(&server, "copy", Role::Publish, &[peer(1, host.addr(), "read:x?key=wrong")]);
    host.until("it called", |host| !host.calls.is_empty());
    assert_eq!(host.calls[0], "read:x?key=wrong");
    assert_eq!(failure(&server, 1), DialFailure::Refused(1401));
    let before = host.calls.len();
    host.until("it calls again", |host| host.calls.len() > before);
}

fn a_peer_that_vanishes_is_called_again(mut config: Config) {
    config.srt.idle_timeout = Duration::from_millis(500);
    let (source, srt) = listening(config.clone(), 1);
    let packets = recorded(&source, srt);
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default());
    let addr = host.addr();
    dial(&server, "copy", Role::Publish, &[peer(1, addr, "x")]);
    host.until("it is let in", |host| host.guest.is_some());
    host.play(&packets);
    host.until("it is on the air", |_| {
        server.control.snapshot().stream("copy").is_some_and(|stream| stream.units_in > 10)
    });
    // Nobody says goodbye.
    drop(host);
    assert_eq!(failure(&server, 1), DialFailure::Ended("idle"));
    let state = |server: &Server| server.control.snapshot().stream("copy").map(|s| s.state);
    server.control.until("the stream waits for it", |totals| {
        totals.stream("copy").is_some_and(|stream| stream.state == StreamState::Grace)
    });
    let mut host = Host::at(addr, Settings::default());
    host.until("it is let in again", |host| host.guest.is_some());
    host.play(&packets);
    host.until("it is on the air again", |_| state(&server) == Some(StreamState::Live));
    // One that says goodbye is called again, too.
    let (guest, _) = host.guest.as_mut().unwrap();
    guest.close(CloseReason::Closed("done"));
    let before = host.calls.len();
    host.until("it calls again", |host| host.calls.len() > before);
    assert_eq!(failure(&server, 1), DialFailure::Ended("peer_closed"));
}

fn one_that_never_answers_is_given_up_after_its_last_attempt(config: Config) {
    let (server, _) = listening(config, 1);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_at = silent.local_addr().unwrap();
    let dial_once = Dial { attempts_max: 2, ..peer(1, silent_at, "x") };
    dial(&server, "copy", Role::Publish, &[dial_once]);
    assert_eq!(failure(&server, 1), DialFailure::NoAnswer);
    let failed = |state: &DialState| matches!(state, DialState::Failed { .. });
    let news = news(&server, 1, "it is given up", failed);
    assert_eq!(news.state, DialState::Failed { reason: DialFailure::NoAnswer });
    assert_eq!(news.attempt, 2);
}

fn a_push_waits_for_its_stream_and_ends_with_it(config: Config) {
    let (server, _) = listening(config, 1);
    let mut host = Host::start(Settings::default());
    dial(&server, "cam", Role::Play, &[peer(1, host.addr(), "publish:cam")]);
    let waits = |state: &DialState| *state == DialState::Waiting;
    news(&server, 1, "it waits", waits);
    for _ in 0..2 {
        let mut publisher = Publisher::start(server.rtmp, "cam");
        publisher.send_frames(10);
        host.until("it is called", |host| host.guest.is_some());
        connected(&server, 1);
        publisher.send_frames(30);
        host.until("media comes", |host| host.received.len() > 5_000);
        assert!(host.received.chunks(188).all(|packet| packet[0] == 0x47));
        end(&mut publisher);
        host.until("it hears the end", |host| {
            host.guest.as_ref().is_some_and(|(guest, _)| guest.closed().is_some())
        });
        news(&server, 1, "it waits again", waits);
        (host.guest, host.received) = (None, Vec::new());
    }
    assert_eq!(host.calls, ["publish:cam", "publish:cam"]);
}

fn who_publishes_is_not_disturbed_by_a_pull(config: Config) {
    let (server, srt) = listening(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "copy");
    publisher.send_frames(10);
    let mut host = Host::start(Settings::default());
    dial(&server, "copy", Role::Publish, &[peer(1, host.addr(), "x")]);
    news(&server, 1, "it waits", |state| *state == DialState::Waiting);
    publisher.send_frames(10);
    assert!(host.calls.is_empty());
    end(&mut publisher);
    host.until("it is called", |host| host.guest.is_some());
    connected(&server, 1);
    // Now the encoder is the second.
    let packets = {
        let mut source = Publisher::start(server.rtmp, "source");
        source.send_frames(10);
        super::played_gops(SrtPeer::start(srt, "read:source"), &mut source)
    };
    host.play(&packets);
    let mut encoder = SrtPeer::new(srt, "publish:copy");
    assert_eq!(encoder.refusal(), RejectReason::CONFLICT);
}

fn of_a_multiplex_the_chosen_program_is_pulled(config: Config) {
    let (server, _) = listening(config, 1);
    let tracks = [7, 9].map(|program| {
        let mut host = Host::start(Settings::default());
        let dialled = peer(program.into(), host.addr(), "x");
        let DialPeer::Srt(said) = &*dialled.peer else { panic!("it is of SRT") };
        let transport = TransportTerms { program: Some(program), ..TransportTerms::default() };
        let said = Said { transport, ..said.clone() };
        let name = format!("copy{program}");
        let dialled = Dial { peer: Arc::new(DialPeer::Srt(said)), ..dialled };
        dial(&server, &name, Role::Publish, &[dialled]);
        host.until("it is let in", |host| host.guest.is_some());
        host.play(TWO_PROGRAMS);
        let tracks = || {
            let totals = server.control.snapshot();
            let stream = totals.stream(&name).filter(|stream| stream.units_in > 0)?;
            Some(stream.tracks.iter().map(|track| track.codec).collect::<Vec<_>>())
        };
        host.until("it is on the air", |_| tracks().is_some());
        tracks().unwrap()
    });
    assert_ne!(tracks[0], tracks[1], "each has the tracks of its program");
}

fn a_change_of_one_push_leaves_the_others_alone(config: Config) {
    let (server, _) = listening(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    let (mut one, mut two) = (Host::start(Settings::default()), Host::start(Settings::default()));
    let pushes = [peer(1, one.addr(), "publish:one"), peer(2, two.addr(), "publish:two")];
    dial(&server, "cam", Role::Play, &pushes);
    one.until("it is called", |host| host.guest.is_some());
    two.until("it is called", |host| host.guest.is_some());
    let sessions = [connected(&server, 1), connected(&server, 2)];
    dial(&server, "cam", Role::Play, &[pushes[1].clone(), peer(3, one.addr(), "publish:three")]);
    one.until("the first hears its end", |host| {
        host.guest.as_ref().is_some_and(|(guest, _)| guest.closed().is_some())
            || host.calls.len() == 2
    });
    one.until("the new one is called", |host| host.calls.len() == 2);
    let totals = server.control.snapshot();
    let is_there = |id: SessionId| totals.sessions().any(|session| session.id == id);
    assert_eq!(sessions.map(is_there), [false, true]);
    publisher.send_frames(30);
    two.until("media comes", |host| host.received.len() > 5_000);
    assert_eq!(two.calls.len(), 1);
}

/// A port that is free at both addresses.
fn free_port() -> u16 {
    let one = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    one.local_addr().unwrap().port()
}

fn two_nodes_meet(config: Config) {
    let (source, _) = listening(config.clone(), 1);
    let (copy, _) = listening(config, 0);
    let mut publisher = Publisher::start(source.rtmp, "source");
    publisher.send_frames(10);
    for (secret, name) in [(None, "plain"), (Some(PASSPHRASE), "encrypted")] {
        let port = free_port();
        let [here, there] = ["127.0.0.1", "127.0.0.2"].map(|ip| format!("{ip}:{port}"));
        let meet = |from: &str, to: &str| {
            let dial = peer(1, to.parse().unwrap(), "");
            let DialPeer::Srt(said) = &*dial.peer else { panic!("{dial:?}") };
            let passphrase = secret.map(|secret| Passphrase::new(secret).unwrap());
            let local = Some(from.parse().unwrap());
            let said = Said { rendezvous: true, passphrase, local, ..said.clone() };
            Dial { peer: Arc::new(DialPeer::Srt(said)), ..dial }
        };
        dial(&copy, name, Role::Publish, &[meet(&there, &here)]);
        dial(&source, "source", Role::Play, &[meet(&here, &there)]);
        connected(&copy, 1);
        connected(&source, 1);
        publish_to(&mut publisher, &copy, name);
        dial(&copy, name, Role::Publish, &[]);
        dial(&source, "source", Role::Play, &[]);
    }
}

fn a_peer_hears_that_the_node_goes_down(config: Config) {
    let (server, _) = listening(config, 1);
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(10);
    let mut host = Host::start(Settings::default());
    dial(&server, "cam", Role::Play, &[peer(1, host.addr(), "publish:cam")]);
    host.until("it is called", |host| host.guest.is_some());
    connected(&server, 1);
    server.control.send_all(|| Command::Drain);
    host.until("it hears the end", |host| {
        host.guest.as_ref().is_some_and(|(guest, _)| guest.closed().is_some())
    });
    host.turn();
    assert_eq!(host.calls.len(), 1, "nobody is called while the node goes down");
}
