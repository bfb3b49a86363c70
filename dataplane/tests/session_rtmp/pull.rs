//! What a pull makes of the servers that it plays from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::amf0::Value;
use codecs::rtmp::command::encode_data;
use codecs::rtmp::message::MessageKind;
use dataplane::Error;
use dataplane::config::{Limits, Terms};
use dataplane::control::{DialFailure, RtmpPeer};
use dataplane::ids::StreamName;
use dataplane::session::rtmp::Puller;
use dataplane::session::rtmp::client::Address;
use dataplane::session::{Command, Event};
use dataplane::slab::Pool;

use crate::peer::{call, call_with, epoch, hello, message, pool, text};

/// A pull, whose shard gives it the name that it claims.
struct Pull {
    pool: Pool,
    now: Instant,
    puller: Puller,
    events: Vec<String>,
}

impl Pull {
    /// A pull whose server knows of it, and answers nothing yet.
    fn asking(limits: Limits) -> Self {
        let (pool, now) = (pool(16, 64), epoch());
        let peer = RtmpPeer {
            address: Address::parse("rtmp://h/live/s3cret?key=hunter2").unwrap(),
            trust: None,
            connect_timeout: Duration::from_secs(5),
            publication: None,
        };
        let terms = Arc::new(Terms { limits, ..Terms::default() });
        let stream = StreamName::parse("cam").unwrap();
        let mut puller = Puller::new(now, stream, &peer, &terms, [9; 32]);
        puller.reached();
        puller.connected();
        let mut pull = Self { pool, now, puller, events: Vec::new() };
        pull.say(&hello());
        pull.say(&call_with("_result", 1.0, 0, Value::Null, &[Value::Null]));
        pull.say(&call("_result", 2.0, 0, &[Value::Number(1.0)]));
        pull
    }

    fn waiting(limits: Limits) -> Self {
        let mut pull = Self::asking(limits);
        pull.say(&status("status", "NetStream.Play.Start", ""));
        assert_eq!(pull.puller.state_name(), "waiting");
        pull
    }

    fn publishing() -> Self {
        let mut pull = Self::waiting(Limits::default());
        pull.say(&config());
        assert_eq!(pull.puller.state_name(), "publishing");
        pull.events.clear();
        pull
    }

    /// The server says all of that.
    fn say(&mut self, bytes: &[u8]) {
        assert_eq!(self.hear(bytes), Ok(bytes.len()));
    }

    /// Gives the bytes, draining and answering as a shard does; returns how many were consumed.
    fn hear(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut at = 0;
        while at < bytes.len() && self.puller.wants_bytes() {
            let result = self.puller.handle_bytes(self.now, &bytes[at..], &self.pool);
            while let Some(event) = self.puller.poll_event() {
                let asks = matches!(event, Event::Authorize { .. });
                self.events.push(text(event, &self.pool));
                if asks {
                    self.puller.handle_command(self.now, Command::PublishStarted).unwrap();
                }
            }
            at += result?;
        }
        Ok(at)
    }

    fn failure(&self) -> String {
        match self.puller.failure() {
            None => String::new(),
            Some(DialFailure::Said(words)) => format!("says {words}"),
            Some(DialFailure::Elsewhere(place)) => format!("at {place}"),
            Some(other) => format!("{other:?}"),
        }
    }
}

fn status_of(members: Vec<(&str, Value)>) -> Vec<u8> {
    call("onStatus", 0.0, 1, &[Value::object(members)])
}

fn status(level: &str, code: &str, description: &str) -> Vec<u8> {
    let members = [("level", level), ("code", code), ("description", description)];
    status_of(members.map(|(key, text)| (key, Value::from(text))).to_vec())
}

fn data(name: &str, members: Vec<(&str, Value)>) -> Vec<u8> {
    let mut body = Vec::new();
    encode_data(&[Value::from(name), Value::object(members)], &mut body);
    message(5, MessageKind::DataAmf0, 0, 1, &body)
}

fn config() -> Vec<u8> {
    message(4, MessageKind::Audio, 0, 1, &[0xaf, 0, 0x12, 0x10])
}

fn frame(timestamp: u32) -> Vec<u8> {
    message(4, MessageKind::Audio, timestamp, 1, &[0xaf, 1, 1, 2, 3])
}

#[test]
fn only_media_claims_the_name() {
    let mut pull = Pull::waiting(Limits::default());
    let deadline = pull.puller.poll_timeout();
    for said in [
        data("onMetaData", vec![("width", Value::Number(640.0))]),
        data("onCuePoint", vec![("name", Value::from("x"))]),
        message(6, MessageKind::Video, 0, 1, &[]),
        data("onMetaData", vec![]),
        message(4, MessageKind::Audio, 0, 1, &[0x0f]),
    ] {
        pull.say(&said);
        assert_eq!((pull.puller.state_name(), pull.events.len()), ("waiting", 0));
        assert_eq!(pull.puller.poll_timeout(), deadline, "it is waited for media no longer");
    }
    pull.say(&config());
    assert_eq!(pull.puller.state_name(), "publishing");
    let [claim, metadata, config] = pull.events.as_slice() else { panic!("{:?}", pull.events) };
    assert!(claim.starts_with("publish cam "), "{claim}");
    let mut last = Vec::new();
    encode_data(&[Value::from("onMetaData"), Value::object(Vec::<(&str, _)>::new())], &mut last);
    assert!(metadata.starts_with(&format!("metadata {} bytes ", last.len())), "{metadata}");
    assert!(config.starts_with("config aac/0 2 bytes "), "{config}");
}

#[test]
fn a_server_that_sends_all_at_once_is_read_as_fast_as_may_be() {
    let quick = |limits: Limits, bytes: &[u8], seconds: u32| {
        let mut pull = Pull::waiting(limits);
        pull.say(&config());
        // A second of its own.
        pull.now += Duration::from_secs(1);
        let (mut at, mut pauses) = (0, 0);
        loop {
            at += pull.hear(&bytes[at..]).unwrap();
            if at == bytes.len() {
                break;
            }
            assert!(!pull.puller.wants_bytes());
            assert_eq!(pull.puller.handle_bytes(pull.now, &bytes[at..], &pull.pool), Ok(0));
            pull.puller.handle_timeout(pull.now).unwrap();
            assert!(!pull.puller.wants_bytes(), "its time is not over");
            let until = pull.puller.poll_timeout().unwrap();
            assert!(until <= pull.now + Duration::from_secs(1));
            pull.now = until;
            pull.puller.handle_timeout(until).unwrap();
            assert!(pull.puller.wants_bytes());
            pauses += 1;
        }
        assert_eq!(pauses, seconds);
        assert_eq!(pull.puller.state_name(), "publishing");
        pull.events.split_off(2)
    };
    let frames: Vec<u8> = (0..50).flat_map(frame).collect();
    // The first message over the limit is the last of its second.
    let limits = Limits { rtmp_messages_per_second_max: 9, ..Limits::default() };
    let media = quick(limits, &frames, 4);
    assert_eq!(media.len(), 50);
    assert!(media.iter().all(|event| event.starts_with("aac/0 dts ")), "{media:?}");
    let limits = Limits { rtmp_control_per_second_max: 19, ..Limits::default() };
    let words = data("onCuePoint", vec![("name", Value::from("x"))]).repeat(50);
    assert_eq!(quick(limits, &words, 2).len(), 50);
}

#[test]
fn only_what_kept_media_from_coming_is_told_as_the_cause() {
    let mut pull = Pull::waiting(Limits::default());
    let failed = "NetStream.Play.Failed";
    pull.say(&status("error", failed, "Failed to play s3cret?key=hunter2; no hunter2"));
    assert_eq!(pull.failure(), format!("says {failed} (Failed to play ***; no ***)"));
    pull.say(&config());
    assert_eq!(pull.failure(), "", "it came");
    pull.say(&status("error", failed, "for a moment"));
    assert_eq!((pull.failure().as_str(), pull.puller.state_name()), ("", "publishing"));
    pull.say(&status("error", "NetStream.Play.Stop", "for good"));
    assert_eq!(pull.failure(), "says NetStream.Play.Stop (for good)");
    assert_eq!(pull.events.last().unwrap(), "Close { reason: \"stream_ended\" }");

    let mut pull = Pull::publishing();
    let closed = "NetConnection.Connect.Closed";
    let end = pull.hear(&status("error", closed, "s3cret was kicked"));
    assert_eq!(end, Err(Error::Rejected("connection_closed")));
    assert_eq!(pull.failure(), format!("says {closed} (*** was kicked)"));

    let mut pull = Pull::publishing();
    pull.say(&status("status", "NetStream.Play.UnpublishNotify", ""));
    assert_eq!(pull.failure(), "");
    assert_eq!(pull.events, ["Close { reason: \"stream_ended\" }"]);
}

#[test]
fn where_a_stream_is_instead_is_told_without_its_name() {
    let mut pull = Pull::asking(Limits::default());
    let place = Value::from("rtmp://other:1936/live/s3cret?key=hunter2");
    let said = status_of(vec![
        ("level", Value::from("error")),
        ("code", Value::from("NetStream.Play.Failed")),
        ("ex", Value::object(vec![("redirect", place)])),
    ]);
    assert_eq!(pull.hear(&said), Err(Error::Rejected("play")));
    assert_eq!(pull.failure(), "at rtmp://other:1936/live/***");
}

#[test]
fn a_recording_that_was_played_ends_the_pull() {
    let play_status = |code: &str| data("onPlayStatus", vec![("code", Value::from(code))]);
    let mut pull = Pull::publishing();
    pull.say(&play_status("NetStream.Play.Switch"));
    pull.say(&frame(20));
    assert_eq!(pull.events.len(), 1, "it is no player's affair: {:?}", pull.events);
    pull.say(&play_status("NetStream.Play.Complete"));
    assert_eq!(pull.events[1..], ["Close { reason: \"stream_ended\" }"]);
    assert_eq!(pull.puller.state_name(), "over");
}
