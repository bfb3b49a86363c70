//! The client against the server, both ways.

use codecs::amf0::Value;
use codecs::rtmp::handshake::{Kind, Scheme};
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};
use dataplane::Error;
use dataplane::config::Limits;
use dataplane::session::rtmp::client::{Address, Client, ClientConfig, ClientEvent, Intent};
use dataplane::session::{Command, Refusal};

use crate::peer::*;

const PLAY: Intent = Intent::Play { start: -2.0, duration: -1.0, reset: true };

fn client(intent: Intent, handshake: Kind) -> Client {
    let address = Address::parse("rtmp://h/live/cam?key=k").unwrap();
    let config = ClientConfig { handshake, ..ClientConfig::default() };
    Client::new(epoch(), address, intent, &config, &Limits::default(), [3; 32])
}

/// Carries bytes both ways until both are silent; the client's events.
fn talk(client: &mut Client, bench: &mut Bench) -> Result<Vec<ClientEvent>, Error> {
    let mut events = Vec::new();
    loop {
        let (mut up, down) = (Vec::new(), std::mem::take(&mut bench.sent));
        client.poll_transmit(&mut up);
        if up.is_empty() && down.is_empty() {
            return Ok(events);
        }
        if bench.server.wants_bytes() {
            bench.feed(&up)?;
        }
        let mut at = 0;
        while at < down.len() {
            at += client.handle_bytes(&down[at..])?;
            events.extend(std::iter::from_fn(|| client.poll_event()));
        }
    }
}

#[test]
fn publishes_with_every_handshake() {
    let digest = |scheme| Kind::Digest { scheme };
    for kind in [Kind::Plain, digest(Scheme::DigestFirst), digest(Scheme::KeyFirst)] {
        let mut client = client(Intent::Publish, kind);
        let mut bench = Bench::answered(Some(Command::PublishStarted));
        let events = talk(&mut client, &mut bench).unwrap();
        assert!(matches!(events[0], ClientEvent::Connected { .. }), "{events:?}");
        assert!(events.contains(&ClientEvent::PublishStarted), "{events:?}");
        assert_eq!(client.poll_timeout(), None);
        let body = [0xaf, 1, 2, 3];
        let header = MessageHeader {
            csid: Csid::AUDIO,
            timestamp: 5,
            len: 4,
            kind: MessageKind::Audio,
            msid: 0,
        };
        client.send_message(&header, &body).unwrap();
        client.send_message(&MessageHeader { timestamp: 28, ..header }, &body).unwrap();
        talk(&mut client, &mut bench).unwrap();
        assert!(bench.events[0].starts_with("publish cam k "), "{:?}", bench.events);
        assert_eq!(&**bench.server.agent(), "FMLE/3.0 (compatible; Grandstand)");
        assert!(bench.events[1].starts_with("aac/0 dts 5000000 "), "{:?}", bench.events);
        assert!(bench.events[2].starts_with("aac/0 dts 28000000 "), "{:?}", bench.events);
        client.delete_stream().unwrap();
        talk(&mut client, &mut bench).unwrap();
        assert_eq!(bench.events.last().unwrap(), "PublishEnded");
        bench.close();
    }
}

#[test]
fn plays_pauses_seeks_and_calls() {
    let mut client = client(PLAY, Kind::Plain);
    let mut bench = Bench::answered(Some(Command::PlayStarted));
    let events = talk(&mut client, &mut bench).unwrap();
    assert!(events.contains(&ClientEvent::PlayStarted), "{events:?}");
    // What the shared log sends: a type 0 chunk on message stream 1.
    bench.sent = message(6, MessageKind::Video, 40, 1, b"\x17\x01\x00\x00\x00abc");
    let media = talk(&mut client, &mut bench).unwrap();
    let [ClientEvent::Media(media)] = media.as_slice() else { panic!("{media:?}") };
    assert_eq!((media.timestamp, media.body.len()), (40, 8));
    client.pause(true, 0).unwrap();
    client.pause(false, 0).unwrap();
    client.seek(7).unwrap();
    client.receive(false, true).unwrap();
    let transaction = client.call("unknownProcedure", vec![Value::Null]).unwrap();
    let events = talk(&mut client, &mut bench).unwrap();
    let said = |wanted: &str| {
        events.iter().any(|e| matches!(e, ClientEvent::Status { code, .. } if code == wanted))
    };
    for code in ["NetStream.Pause.Notify", "NetStream.Unpause.Notify", "NetStream.Seek.Notify"] {
        assert!(said(code), "{code}: {events:?}");
    }
    let failed = |e: &ClientEvent| match e {
        ClientEvent::CallResult { transaction: number, ok, .. } => *number == transaction && !ok,
        _ => false,
    };
    assert!(events.iter().any(failed), "{events:?}");
    bench.command(Command::StreamEnded).unwrap();
    let events = talk(&mut client, &mut bench).unwrap();
    assert!(events.contains(&ClientEvent::StreamEof), "{events:?}");
    bench.close();
}

#[test]
fn a_refusal_is_an_error_with_its_status_before() {
    for (intent, word) in [(Intent::Publish, "publish"), (PLAY, "play")] {
        let mut client = client(intent, Kind::Plain);
        let mut bench = Bench::answered(Some(Command::Refused(Refusal::Denied)));
        assert_eq!(talk(&mut client, &mut bench), Err(Error::Rejected(word)));
        let last = client.poll_event();
        assert!(matches!(last, Some(ClientEvent::Status { .. })), "{last:?}");
        assert!(!client.wants_bytes());
        bench.close();
    }
}

#[test]
fn a_client_in_the_wrong_state_is_told() {
    let mut client = client(Intent::Call, Kind::Plain);
    assert!(client.call("x", Vec::new()).is_err());
    assert!(client.pause(true, 0).is_err());
    assert!(client.delete_stream().is_err());
    let deadline = client.poll_timeout().unwrap();
    assert_eq!(client.handle_timeout(deadline), Err(Error::Timeout { what: "client_deadline" }));
}

#[test]
fn a_client_survives_noise() {
    for seed in 0..200_u32 {
        let mut client = client(PLAY, Kind::Plain);
        let mut bench = Bench::answered(Some(Command::PlayStarted));
        talk(&mut client, &mut bench).unwrap();
        let mut state = seed;
        let noise: Vec<u8> = (0..600)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let kind = MessageKind::from_wire(noise[0] % 24);
        let mut framed = message(3, kind, 0, 1, &noise);
        framed.extend_from_slice(&noise);
        let mut at = 0;
        while at < framed.len() {
            match client.handle_bytes(&framed[at..]) {
                Ok(taken) => at += taken,
                Err(_) => break,
            }
            while client.poll_event().is_some() {}
        }
        bench.close();
    }
}
