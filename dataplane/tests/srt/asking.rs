//! Whoever waits for its verdict, and what is heard of it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use codecs::srt::{PACKET_BYTES_MAX, Passphrase, SeqNumber, SocketId};
use dataplane::config::{AuthConfig, SrtListener, Terms, UrlDialect};
use dataplane::session::srt::{Call, Caller, Incoming, Listener, Server, Settings, Target};
use dataplane::session::{Command, Event, Refusal};

use crate::world::{caller_addr, epoch};

/// A session that asks to play, of a caller with these settings.
fn asking(settings: &Settings) -> (Server, Listener) {
    let mut listener = Listener::new(settings, [5; 32], epoch());
    let call = Call {
        peer: "192.0.2.9:8890".parse().unwrap(),
        socket: SocketId(11),
        initial: SeqNumber::new(7),
        stream_id: Some(b"read:cam".to_vec()),
    };
    let mut caller = Caller::new(settings.clone(), call, [3; 32], epoch());
    let mut out = [0; PACKET_BYTES_MAX];
    loop {
        let len = caller.poll_transmit(epoch(), &mut out).unwrap();
        let said = out[..len].to_vec();
        match listener.handle_datagram(epoch(), caller_addr(), &said, &mut out) {
            Incoming::Reply(len) => drop(caller.handle_datagram(epoch(), &out[..len])),
            Incoming::Call(request) => {
                let (url, auth) = (UrlDialect::Name, AuthConfig::default());
                let listens = SrtListener::default();
                let target = Target::of(request.stream_id(), &listens, url, auth).unwrap();
                return (Server::new(*request, target, 0, &Arc::new(Terms::default())), listener);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The words with which a session says that it is over.
fn over(server: &mut Server) -> Vec<&'static str> {
    let events = std::iter::from_fn(|| server.poll_event());
    let close = |event| if let Event::Close { reason } = event { Some(reason) } else { None };
    events.filter_map(close).collect()
}

#[test]
fn who_calls_again_is_waited_for_and_who_does_not_is_gone() {
    let at = |ms| epoch() + Duration::from_millis(ms);
    let (mut server, _) = asking(&Settings::default());
    assert!(matches!(server.poll_event(), Some(Event::Authorize { .. })));
    assert_eq!(server.poll_timeout(), Some(at(3_000)), "some say it once");
    let mut now = 0;
    for _ in 0..1_000 {
        now += 1_999;
        server.handle_timeout(at(now)).unwrap();
        server.called_again(at(now));
    }
    assert_eq!(over(&mut server), [""; 0]);
    assert_eq!(server.poll_timeout(), Some(at(now + 2_000)));
    server.handle_timeout(at(now + 2_000)).unwrap();
    assert_eq!(over(&mut server), ["idle"]);
    assert!(server.request().is_some(), "its call was told nothing");
    let mut out = [0; PACKET_BYTES_MAX];
    assert_eq!(server.poll_datagram(at(now + 2_000), &mut out), None);
}

#[test]
fn who_was_answered_need_not_call_again() {
    let settings = Settings {
        passphrase: Some(Passphrase::new(b"a secret of both").unwrap()),
        ..Settings::default()
    };
    let mut out = [0; PACKET_BYTES_MAX];
    let (mut server, mut listener) = asking(&settings);
    assert!(server.awaits_keys(&settings));
    assert!(!server.awaits_keys(&Settings::default()), "without a secret none are derived");
    server.derive_keys(&settings, [9; 32]);
    assert!(!server.awaits_keys(&settings));
    let ids = (SocketId(77), [9; 32]);
    let let_in = server.let_in(epoch(), &mut listener, &settings, ids, &mut out);
    assert!(matches!(let_in, Ok(true)));
    assert_eq!(server.poll_timeout(), None);
    server.handle_timeout(epoch() + Duration::from_secs(4)).unwrap();
    server.handle_command(epoch(), Command::PlayStarted).unwrap();
    assert!(server.playing().is_some());

    let (mut server, _) = asking(&settings);
    server.handle_command(epoch(), Command::Refused(Refusal::NotFound)).unwrap();
    server.handle_timeout(epoch() + Duration::from_secs(4)).unwrap();
    assert_eq!(over(&mut server), [Refusal::NotFound.name()], "once");
}
