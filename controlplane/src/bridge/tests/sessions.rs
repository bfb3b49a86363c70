//! Sessions: one of them is told of without a question to every shard, if it can be.

use std::time::{Duration, Instant};

use dataplane::control::{
    CloseReason, Command, Detail, Event, Protocol, Role, SessionEvent, SessionStatus,
};
use dataplane::ids::{SessionId, ShardId};
use tokio::sync::oneshot;

use super::rig::{TwoShards, exchange, name, snapshot};
use crate::bridge::{Ask, Exchange, GATHER_DEADLINE, SessionSight};

fn session_word(stream: &str, ended: bool) -> (ShardId, Event) {
    let (session, peer) = (SessionId(7), "192.0.2.1:5".parse().unwrap());
    let (role, protocol) = (Role::Play, Protocol::Rtmp);
    let (stream, agent) = (name(stream), "test".into());
    let word = match ended {
        false => SessionEvent::Started {
            session,
            shard: ShardId(0),
            role,
            protocol,
            tls: false,
            stream,
            peer,
            agent,
            at_ms: 0,
        },
        true => SessionEvent::Ended {
            session,
            role,
            protocol,
            stream,
            peer,
            agent,
            bytes_in: 30,
            bytes_out: 0,
            age_ms: 0,
            reason: CloseReason::PeerClosed,
        },
    };
    (ShardId(0), Event::Session(Box::new(word)))
}

fn session_status(id: u64, stream: Option<&str>, bytes_in: u64) -> SessionStatus {
    SessionStatus {
        id: SessionId(id),
        shard: ShardId(0),
        protocol: Protocol::Rtmp,
        role: stream.map(|_| Role::Play),
        stream: stream.map(name),
        peer: "192.0.2.1:5".parse().unwrap(),
        agent: "test".into(),
        tls: None,
        state: "playing",
        age_ms: 0,
        started: None,
        bytes_in,
        bytes_out: 0,
        jumps: 0,
        srt: None,
    }
}

/// What is told of session `id` at once: a word, and the bytes of figures.
fn sight(exchange: &mut Exchange<TwoShards>, id: u64, now: Instant) -> Option<(&'static str, u64)> {
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Session { id: SessionId(id), reply }, now);
    answer.try_recv().ok().map(word)
}

fn word(sight: SessionSight) -> (&'static str, u64) {
    match sight {
        SessionSight::Told { id, gathered } => ("told", gathered.session(id).unwrap().bytes_in),
        SessionSight::Began { .. } => ("began", 0),
        SessionSight::Closed(closed) => ("closed", closed.bytes_in),
        SessionSight::Unknown => ("unknown", 0),
    }
}

#[test]
fn one_session_is_told_from_what_is_known_unless_a_look_is_cheap() {
    let now = Instant::now();
    let mut exchange = exchange(now);
    exchange.fleet.events.push_back(session_word("a", false));
    // Shards may be asked: that is waited for.
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Session { id: SessionId(7), reply }, now);
    assert!(answer.try_recv().is_err());
    let told = |exchange: &mut Exchange<TwoShards>, sessions: Vec<SessionStatus>, shards, now| {
        let asked = exchange.fleet.sent.drain(..).find_map(|(_, command)| match command {
            Command::Snapshot { id, detail: Detail::SESSIONS } => Some(id),
            _ => None,
        });
        let id = asked.expect("they are asked");
        for shard in shards {
            let (shard, mut event) = snapshot(shard, id, &[]);
            if let Event::Snapshot(snapshot) = &mut event
                && shard == ShardId(0)
            {
                snapshot.sessions.clone_from(&sessions);
            }
            exchange.fleet.events.push_back((shard, event));
        }
        exchange.pump(now);
    };
    let sessions = vec![session_status(7, Some("a"), 10), session_status(8, None, 3)];
    told(&mut exchange, sessions, vec![0, 1], now);
    assert_eq!(answer.try_recv().map(word), Ok(("told", 10)));
    // It does another thing now, and no shard may be asked so soon.
    for event in [session_word("a", true), session_word("b", false)] {
        exchange.fleet.events.push_back(event);
    }
    let soon = now + Duration::from_millis(100);
    assert_eq!(sight(&mut exchange, 7, soon), Some(("began", 0)));
    exchange.fleet.events.push_back(session_word("b", true));
    assert_eq!(sight(&mut exchange, 7, soon), Some(("closed", 30)));
    assert!(exchange.fleet.sent.is_empty(), "nobody was asked");
    // Of one that only waits no shard tells by itself.
    assert_eq!(sight(&mut exchange, 8, soon), None);
    // A shard that is silent holds up nobody who plays.
    exchange.fleet.events.push_back(session_word("a", false));
    let later = now + Duration::from_millis(300);
    exchange.tick(later);
    told(&mut exchange, Vec::new(), vec![1], later);
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Session { id: SessionId(7), reply }, later);
    assert_eq!(answer.try_recv().map(word), Ok(("told", 10)), "as it was seen last");
    let late = later + GATHER_DEADLINE;
    exchange.tick(late);
    let (reply, mut answer) = oneshot::channel();
    exchange.ask(Ask::Session { id: SessionId(7), reply }, late);
    exchange.tick(late + GATHER_DEADLINE);
    assert_eq!(answer.try_recv().map(word), Ok(("began", 0)), "it is there all the same");
}
