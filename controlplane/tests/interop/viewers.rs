//! Viewers of HLS who are told apart, with real players: listed, counted, kicked one by one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Watch;
use crate::clip::FFMPEG;
use crate::http_flv::get;
use crate::process::Process;
use crate::server::{Backend, Options, Server};

/// Who is kicked notices with its next request; this is many of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that only somebody has who was sent segments.
const SEGMENTS: u64 = 50_000;
const SESSIONS: &str = "/api/v1/sessions?protocol=hls&stream=demo";

fn with(session: &str) -> Server {
    let mut options = Options::on(Backend::Auto);
    options.demo = true;
    options.config = format!("[hls]\nsession = \"{session}\"\n");
    Server::start(&options)
}

/// An ffmpeg that views the built-in stream until it is refused.
fn ffmpeg(server: &Server) -> Process {
    let mut command = std::process::Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-i"]);
    command.arg(format!("http://{}/demo/index.m3u8", server.http));
    Process::start(command.args(["-c", "copy", "-f", "null", "-"]))
}

/// The sessions of those who were sent segments, once there are so many.
fn viewers(server: &Server, count: usize) -> Vec<Value> {
    let watch = |answer: &Value| -> Vec<Value> {
        let sessions = answer["sessions"].as_array().expect("sessions are listed");
        let bytes = |session: &&Value| session["bytes_out"].as_u64() > Some(SEGMENTS);
        sessions.iter().filter(bytes).cloned().collect()
    };
    watch(&server.api_until(SESSIONS, |answer| watch(answer).len() == count))
}

/// Kicks a session, and sees how its end is told.
fn kick(server: &Server, session: &Value) {
    let path = format!("/api/v1/sessions/{}", session["id"].as_str().expect("a number"));
    assert_eq!(server.send("DELETE", &path, &Value::Null).0, 204);
    let told = server.api(&path);
    assert_eq!((&told["status"], &told["close_reason"]), (&json!("closed"), &json!("kicked")));
    assert!(told["bytes_out"].as_u64() >= session["bytes_out"].as_u64(), "{told:#}");
}

#[test]
fn two_players_are_two_viewers_and_one_is_kicked() {
    for session in ["token", "cookie"] {
        let server = with(session);
        let mut players = [ffmpeg(&server), ffmpeg(&server)];
        let both = viewers(&server, 2);
        for viewer in &both {
            let agent = viewer["agent"].as_str().expect("an agent");
            assert!(agent.starts_with("Lavf/"), "{session}: {agent}");
            assert_eq!((&viewer["role"], &viewer["state"]), (&json!("play"), &json!("viewing")));
        }
        kick(&server, &both[0]);
        let late = Instant::now() + PATIENCE;
        let refused = loop {
            let over = |player: &mut Process| !player.is_running();
            if let Some(at) = players.iter_mut().position(over) {
                break at;
            }
            assert!(Instant::now() < late, "{session}: nobody was refused");
            std::thread::park_timeout(Duration::from_millis(50));
        };
        assert!(players[refused].output().contains("403"), "{}", players[refused].output());
        // The other one goes on.
        let [left] = &viewers(&server, 1)[..] else { unreachable!() };
        assert_eq!(left["id"], both[1]["id"]);
        let more = |answer: &Value| {
            answer["sessions"][0]["bytes_out"].as_u64() > left["bytes_out"].as_u64()
        };
        server.api_until(SESSIONS, more);
        assert!(players[1 - refused].is_running());
        players[1 - refused].signal("KILL");
        server.stop();
    }
}

#[test]
fn a_token_of_before_is_good_from_the_first_request_after_a_restart() {
    let server = with("token");
    let index = crate::hls::wait_for_list(&server.http.into(), "demo");
    let media = index.lines().find(|line| line.starts_with("media.m3u8?s=")).expect("a token");
    let media = format!("/demo/{media}");
    assert_eq!(get(server.http, &media, "").0, 200);
    let folder = server.stop_in_place();
    let mut options = Options::on(Backend::Auto);
    options.demo = true;
    let server = Server::run(&mut options.command(&folder), folder);
    // A first segment may not be finished yet, which is no refusal.
    let status = get(server.http, &media, "").0;
    assert!(matches!(status, 200 | 503), "{status}");
    server.stop();
}

#[test]
fn two_tabs_are_two_viewers_by_token_and_one_by_cookie() {
    for (session, count) in [("token", 2), ("cookie", 1)] {
        let server = with(session);
        let mut watch = Watch::start(&server, "demo", "hls.tabs", 3, json!({ "lost": 3 - count }));
        watch.wait_until_it_plays();
        let tabs = viewers(&server, count);
        for tab in &tabs {
            let agent = tab["agent"].as_str().expect("an agent");
            assert!(agent.contains("Chrome"), "{session}: {agent}");
        }
        kick(&server, &tabs[0]);
        let report = watch.report();
        assert!(report["failed"].is_null(), "{session}: {report:#}");
        let errors = report["tabs"].as_array().expect("two tabs");
        let lost = errors.iter().filter(|errors| !errors.as_array().expect("a list").is_empty());
        assert_eq!(lost.count(), 3 - count, "{session}: {report:#}");
        server.stop();
    }
}
