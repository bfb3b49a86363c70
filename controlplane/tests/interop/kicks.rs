//! Sessions of every live protocol are closed by the API while real clients publish and play them:
//! the client ends, nobody else does, and the end is told with its reason.

use std::io::BufRead;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::http_flv::Answer;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

const SESSIONS: &str = "/api/v1/sessions";
/// A peer has read its last words within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who plays: with what, and as what the API lists it.
const PLAYERS: [(Client, &str, bool); 6] = [
    (Client(Tool::Ffmpeg, Way::Rtmp), "rtmp", false),
    (Client(Tool::Ffmpeg, Way::Rtmps), "rtmp", true),
    (Client(Tool::Ffmpeg, Way::Flv), "http-flv", false),
    (Client(Tool::Ffmpeg, Way::HttpsTs), "http-ts", true),
    (Client(Tool::Ffmpeg, Way::Ts), "http-ts", false),
    (Client(Tool::Library, Way::WsFlv), "ws-flv", false),
];

/// The ids of those who do `role` by `protocol`, inside TLS or not.
fn ids(answer: &Value, role: &str, (protocol, tls): (&str, bool)) -> Vec<String> {
    let sessions = answer["sessions"].as_array().expect("sessions are listed");
    let is = |session: &&Value| {
        session["role"] == role
            && session["protocol"] == protocol
            && session["tls"].is_null() != tls
    };
    let id = |session: &Value| session["id"].as_str().expect("an id").to_owned();
    sessions.iter().filter(is).map(id).collect()
}

/// The only one of them, once it is there.
fn one(server: &Server, role: &str, kind: (&str, bool)) -> String {
    let answer = server.api_until(SESSIONS, |answer| ids(answer, role, kind).len() == 1);
    ids(&answer, role, kind).remove(0)
}

/// Closes a session, which is remembered with its reason.
fn kick(server: &Server, id: &str) {
    let path = format!("{SESSIONS}/{id}");
    assert_eq!(server.send("DELETE", &path, &Value::Null).0, 204, "{id}");
    let closed = server.api_until(&path, |session| session["status"] == "closed");
    assert_eq!(closed["close_reason"], "kicked", "{closed:#}");
    // Its connection can be closed again until the peer has read its last words.
    let late = Instant::now() + PATIENCE;
    loop {
        let (status, again) = server.send("DELETE", &path, &Value::Null);
        if status == 404 {
            assert_eq!(again["error"]["code"], "unknown_session");
            return;
        }
        assert_eq!(status, 204, "{again:#}");
        assert!(Instant::now() < late, "{id} is never gone");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The sessions whose ends are told, until `count` were.
fn told(events: &mut Answer, count: usize) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut line = String::new();
    while told.len() < count {
        line.clear();
        assert!(events.body.read_line(&mut line).expect("events go on") > 0, "{told:?}");
        let Some(event) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(event).expect("events are JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        told.push((text(&event["data"]["party"]["session"]), text(&event["data"]["reason"])));
    }
    told
}

fn every_session_is_closed_by_the_api(backend: Backend) {
    let config = "[session]\nplay_wait_ms = 60000\n".to_owned();
    let server = Server::start(&Options { tls: true, config, ..Options::on(backend) });
    let authorization = format!("Authorization: Bearer {}\r\n", server.token());
    let types = "/api/v1/events?types=session.closed,publish.ended";
    let mut events = Answer::request(server.control, types, &authorization);
    let plain = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("studio"));
    let secure = Publisher::ffmpeg_endless(Clip::Small, &server.rtmps_url("vault"));
    let mut players = PLAYERS.map(|(client, protocol, tls)| {
        (Some(Player::start(client, &server, "studio")), (protocol, tls))
    });
    let waits = Player::start(Client(Tool::Ffmpeg, Way::Rtmp), &server, "nobody");

    // Who waits for its stream is listed, and is closed like the others.
    let idle = |answer: &Value| {
        let sessions = answer["sessions"].as_array().expect("sessions are listed");
        let mut nobody = sessions.iter().filter(|session| session["stream"] == "nobody");
        let found = nobody.find(|session| session["state"] == "idle")?;
        Some(found["id"].as_str().expect("an id").to_owned())
    };
    let answer = server.api_until(SESSIONS, |answer| idle(answer).is_some());
    let id = idle(&answer).expect("it is listed");
    assert_eq!(server.send("DELETE", &format!("{SESSIONS}/{id}"), &Value::Null).0, 204);
    waits.ends();

    let playing = players.each_ref().map(|&(_, kind)| one(&server, "play", kind));
    for at in 0..playing.len() {
        kick(&server, &playing[at]);
        players[at].0.take().expect("it plays").ends();
        let answer = server.api(SESSIONS);
        for (id, (_, kind)) in playing.iter().zip(&players).skip(at + 1) {
            assert!(ids(&answer, "play", *kind).contains(id), "{kind:?} plays on");
        }
    }
    let publishing = [("rtmp", false), ("rtmp", true)].map(|kind| one(&server, "publish", kind));
    for id in &publishing {
        kick(&server, id);
    }
    plain.ends();
    secure.ends();
    // Without grace: nobody's return is waited for.
    for stream in ["studio", "vault"] {
        let path = format!("/api/v1/streams?q={stream}&state=on_air");
        assert_eq!(server.api(&path)["streams"], json!([]), "{stream}");
    }
    let ended: Vec<_> = playing.into_iter().chain(publishing).collect();
    let expected: Vec<_> = ended.iter().map(|id| (id.clone(), "kicked".to_owned())).collect();
    assert_eq!(told(&mut events, ended.len()), expected);
    drop(events);
    server.stop();
}

#[test]
fn every_session_is_closed_by_the_api_on_io_uring() {
    every_session_is_closed_by_the_api(Backend::IoUring);
}

#[test]
fn every_session_is_closed_by_the_api_on_epoll() {
    every_session_is_closed_by_the_api(Backend::Epoll);
}
