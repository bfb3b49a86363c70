//! One publication and one player in each dialect: both are asked about, somebody else is refused,
//! and each end is told.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::application::{Application, Request};
use crate::clip::{Clip, FFMPEG};
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};
use crate::tls;

/// A player is done within this.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "a-secret-of-both";

/// A server whose application speaks `dialect`, asked and told at one address.
pub(super) fn node(dialect: &str, application: &Application, more: &[(&str, &str)]) -> Server {
    node_of(Options::on(Backend::Auto), dialect, application, more)
}

/// The same with these options.
pub(super) fn node_of(
    options: Options,
    dialect: &str,
    application: &Application,
    more: &[(&str, &str)],
) -> Server {
    let addr = application.addr;
    let hook = match dialect {
        "mediamtx" => String::new(),
        _ => format!(
            "[[hooks]]\nid = \"app\"\ntype = \"http\"\ndialect = \"{dialect}\"\n\
             target = \"http://{addr}/told\"\nsecret = \"{SECRET}\"\n"
        ),
    };
    let callback = format!(
        "[auth.callback]\ndialect = \"{dialect}\"\nurl = \"http://{addr}/asked\"\n\
         signing_secret = \"{SECRET}\"\n"
    );
    let options = Options { config: options.config + &callback + &hook, ..options };
    let folder = Folder::new();
    let certificate = options.tls.then(|| tls::certify(folder.path()));
    let mut command = options.command(&folder);
    // A player may be there before the publisher is let in.
    command.env("GRANDSTAND_SESSION__PLAY_WAIT_MS", "30000");
    command.env("GRANDSTAND_AUTH__MODE", "callback").envs(more.iter().copied());
    match certificate {
        Some(certificate) => Server::run_with(&mut command, folder, certificate),
        None => Server::run(&mut command, folder),
    }
}

/// Plays two seconds of `url` and leaves.
pub(super) fn play(url: &str) {
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i", url]);
    command.args(["-t", "2", "-c", "copy", "-f", "null", "-"]);
    Process::start(&mut command).finish(PATIENCE);
}

/// The clock of a stream that is published, watched and ended; who has no key is refused.
fn publication(server: &Server, name: &str, played: &str, application: &Application) -> usize {
    let url = |name: &str, query: &str| format!("rtmp://{}/{name}?{query}", server.rtmp);
    Publisher::ffmpeg(Clip::Small, &url(name, "token=wrong")).is_refused();
    let refused = application.seen().len();
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &url(name, "token=right&x=a%20b"));
    play(&url(played, "token=right"));
    publisher.interrupt();
    refused
}

pub(super) fn empty(status: &str) -> String {
    format!("{status}\r\n\r\n")
}

#[test]
fn nginx_rtmp_renames_the_secret_name_of_a_publisher() {
    let application = Application::start(|request| {
        let wrong = request.field("token") != "right";
        match (request.field("call"), request.field("name")) {
            ("publish", _) if wrong => empty("403 Forbidden"),
            ("publish", _) => "302 Found\r\nLocation: public\r\n\r\n".to_owned(),
            ("play", name) if name != "public" => empty("404 Not Found"),
            _ => empty("200 OK"),
        }
    });
    let server = node("nginx-rtmp", &application, &[("GRANDSTAND_AUTH__CONNECT", "true")]);
    let refused = publication(&server, "live/s3cr3t", "live/public", &application);
    let told = |call: &str| application.wait(|request| request.field("call") == call);
    told("play_done");
    let ended = told("publish_done");
    assert_eq!(ended.field("name"), "s3cr3t", "as the publisher wrote it");
    assert_eq!((ended.field("x"), ended.field("app")), ("a%20b", "live"));
    for call in ["publish", "play"] {
        let of = |request: &&Request| request.field("call") == call;
        let seen = application.seen();
        let asked: Vec<_> = seen[refused..].iter().filter(of).collect();
        assert_eq!(asked.len(), 1, "{call}");
        let done = told(&format!("{call}_done"));
        let who = |request: &Request| {
            ["app", "name", "addr", "clientid", "flashver", "tcurl", "token"]
                .map(|field| request.field(field).to_owned())
        };
        assert_eq!(who(asked[0]), who(&done), "{call}");
        assert_eq!((done.field("addr"), done.field("token")), ("127.0.0.1", "right"));
        assert!(done.line.starts_with("POST /told "));
    }
    assert!(application.seen().iter().any(|request| request.field("call") == "connect"));
}

#[test]
fn srs_is_asked_about_each_and_told_of_its_end() {
    let application = Application::start(|request| {
        let fields = request.json();
        let right = fields["param"].as_str().is_some_and(|param| param.contains("token=right"));
        let asks = ["on_publish", "on_play"].map(Value::from).contains(&fields["action"]);
        format!("200 OK\r\n\r\n{}", if asks && !right { r#"{"code":1}"# } else { "0" })
    });
    let server = node("srs", &application, &[]);
    let refused = publication(&server, "app/cam", "app/cam", &application);
    let is = |request: &Request, action: &str| request.json()["action"] == action;
    for (asks, ends) in [("on_publish", "on_unpublish"), ("on_play", "on_stop")] {
        let end = application.wait(|request| is(request, ends)).json();
        let seen = application.seen();
        let asked: Vec<_> =
            seen[refused..].iter().filter(|request| is(request, asks)).map(Request::json).collect();
        assert_eq!(asked.len(), 1, "{asks}");
        for field in
            ["client_id", "ip", "vhost", "app", "stream", "param", "stream_url", "stream_id"]
        {
            assert_eq!(asked[0][field], end[field], "{field}");
        }
        assert_eq!((&end["app"], &end["stream"]), (&json!("app"), &json!("cam")));
        let closes = |request: &Request| {
            is(request, "on_close") && request.json()["client_id"] == end["client_id"]
        };
        let close = application.wait(closes).json();
        let bytes = if asks == "on_play" { "send_bytes" } else { "recv_bytes" };
        assert!(close[bytes].as_u64().is_some_and(|bytes| bytes > 10_000), "{close}");
        assert_eq!((&close["app"], &close["ip"]), (&json!("app"), &end["ip"]));
        assert_eq!(application.seen().iter().filter(|request| closes(request)).count(), 1);
    }
}

#[test]
fn zlmediakit_is_asked_about_each_and_told_of_flows_and_changes() {
    let application = Application::start(|request| {
        let fields = request.json();
        let right = fields["params"].as_str().is_none_or(|params| params.contains("token=right"));
        format!("200 OK\r\n\r\n{{\"code\":{},\"msg\":\"\"}}", if right { 0 } else { -1 })
    });
    let server = node("zlmediakit", &application, &[]);
    publication(&server, "live/cam", "live/cam", &application);
    for player in [true, false] {
        let flow = application.wait(|request| request.json()["player"] == player).json();
        assert!(flow["totalBytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{flow}");
        assert_eq!(
            (&flow["app"], &flow["stream"], &flow["ip"]),
            (&json!("live"), &json!("cam"), &json!("127.0.0.1"))
        );
    }
    for regist in [true, false] {
        let changed = |request: &Request| {
            let fields = request.json();
            fields["regist"] == regist && fields["schema"] == "rtmp" && fields["stream"] == "cam"
        };
        application.wait(changed);
    }
}

#[test]
fn mediamtx_is_told_who_logs_in() {
    let application = Application::start(|request| {
        let fields = request.json();
        let known = fields["token"] == "right" && fields["path"] == "live/cam";
        empty(if known { "200 OK" } else { "401 Unauthorized" })
    });
    let server = node("mediamtx", &application, &[]);
    publication(&server, "live/cam", "live/cam", &application);
    for (action, query) in [("publish", "token=right&x=a%20b"), ("read", "token=right")] {
        let asked = application.wait(|request| {
            let fields = request.json();
            fields["action"] == action && fields["token"] == "right"
        });
        let fields = asked.json();
        assert_eq!((&fields["query"], &fields["protocol"]), (&json!(query), &json!("rtmp")));
    }
}

#[test]
fn rtmp_event_starts_with_an_id_and_stops_with_it() {
    let claims = |request: &Request| -> Value {
        let token = request.header("rtmp-event");
        let part = token.split('.').nth(1).expect("a token has three parts");
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64");
        serde_json::from_slice(&bytes).expect("claims are JSON")
    };
    let id = "0000019af0c3d2e100000007a1b2c3d4";
    let application = Application::start(move |request| {
        let claims = claims(request);
        match claims["event"] == "start" && claims["key"] != "r1ght" {
            true => empty("403 Forbidden"),
            false => format!("200 OK\r\nstream-id: {id}\r\n\r\n"),
        }
    });
    let server = node("rtmp-event", &application, &[("GRANDSTAND_SESSION__URL", "channel_key")]);
    let url = |key: &str| format!("rtmp://{}/cam/{key}", server.rtmp);
    Publisher::ffmpeg(Clip::Small, &url("wrong")).is_refused();
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &url("r1ght"));
    play(&url("r1ght"));
    publisher.interrupt();
    let stop = claims(&application.wait(|request| claims(request)["event"] == "stop"));
    let port = server.rtmp.port();
    for (field, value) in [
        ("sub", json!("rtmp_event")),
        ("channel", json!("cam")),
        ("key", json!("r1ght")),
        ("stream_id", json!(id)),
        ("client_ip", json!("127.0.0.1")),
        ("rtmp_host", json!("127.0.0.1")),
        ("rtmp_port", json!(port)),
    ] {
        assert_eq!(stop[field], value, "{field}");
    }
    let starts = application.seen().iter().filter(|seen| claims(seen)["event"] == "start").count();
    assert_eq!(starts, 2, "players show the key, and are not asked about");
}

#[test]
fn nginx_rtmp_sends_away_who_may_not_stay() {
    let asked = AtomicU32::new(0);
    let application = Application::start(move |request| match request.field("call") {
        "update_publish" if asked.fetch_add(1, Ordering::Relaxed) > 0 => empty("403 Forbidden"),
        _ => empty("200 OK"),
    });
    let update = format!("http://{}/update", application.addr);
    let more = [
        ("GRANDSTAND_AUTH__CALLBACK__ON_UPDATE", update.as_str()),
        ("GRANDSTAND_AUTH__CALLBACK__UPDATE_MS", "1000"),
    ];
    let server = node("nginx-rtmp", &application, &more);
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("cam"));
    let first = application.wait(|request| request.field("call") == "update_publish");
    assert_eq!(first.field("name"), "cam");
    assert!(first.field("time").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{first:?}");
    assert_eq!(first.line, "POST /update HTTP/1.1");
    publisher.ends();
    application.wait(|request| request.field("call") == "publish_done");
}
