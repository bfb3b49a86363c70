//! A player whose stream nobody publishes, a stream that nobody plays, and a server that comes and
//! goes, as ZLMediaKit tells of them.

use std::io::Read;

use serde_json::{Value, json};

use super::application::{Application, Request};
use super::scenario::{node, play};
use crate::clip::Clip;
use crate::http_flv::{Answer, get};
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

fn answer(fields: &Value) -> String {
    format!("200 OK\r\n\r\n{fields}")
}

fn asked(path: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.line.starts_with(&format!("POST {path} "))
}

#[test]
fn zlmediakit_brings_a_stream_to_who_waits_for_it_and_ends_it_when_nobody_plays() {
    let application = Application::start(|request| {
        let waited_for = asked("/not_found")(request) && request.json()["stream"] == "cam";
        answer(&json!({ "code": 0, "close": !waited_for }))
    });
    let at = |path: &str| format!("http://{}{path}", application.addr);
    let (not_found, none_reader) = (at("/not_found"), at("/none_reader"));
    let server = node(
        "zlmediakit",
        &application,
        &[
            ("GRANDSTAND_AUTH__CALLBACK__ON_STREAM_NOT_FOUND", &not_found),
            ("GRANDSTAND_AUTH__CALLBACK__ON_STREAM_NONE_READER", &none_reader),
            ("GRANDSTAND_AUTH__CALLBACK__NONE_READER_MS", "1000"),
            ("GRANDSTAND_HLS__SESSION", "token"),
        ],
    );
    let url = server.rtmp_url("cam");
    let publisher = std::thread::scope(|scope| {
        scope.spawn(|| play(&format!("{url}?token=right")));
        let told = application.wait(asked("/not_found")).json();
        assert_eq!((&told["app"], &told["params"]), (&json!("live"), &json!("token=right")));
        // As an application does that has a camera behind it.
        Publisher::ffmpeg_endless(Clip::Small, &url)
    });
    let told = application.wait(asked("/none_reader")).json();
    assert_eq!((&told["app"], &told["stream"]), (&json!("live"), &json!("cam")));
    // The answer ends the publication, though its encoder would go on.
    publisher.ends();
    application.wait(|request| asked("/told")(request) && request.json()["regist"] == false);
    // Who waits for what is not to be had is sent away before its time is over.
    assert_eq!(get(server.http, "/live/none.flv", "").0, 403);
}

#[test]
fn zlmediakit_hears_that_the_server_comes_lives_and_goes() {
    let application = Application::start(|_| answer(&json!({ "code": 0 })));
    let hook = |id: &str, call: &str| {
        format!(
            "[[hooks]]\nid = \"{id}\"\ntype = \"http\"\ndialect = \"zlmediakit\"\n\
             target = \"http://{}/{id}\"\ncalls = [\"{call}\"]\ninterval_ms = 200\n",
            application.addr
        )
    };
    let config = hook("came", "on_server_started")
        + &hook("lives", "on_server_keepalive")
        + &hook("goes", "on_server_exited");
    let server = Server::start(&Options { config, ..Options::on(Backend::Auto) });
    application.wait(asked("/came"));
    application.wait_for(3, asked("/lives"));
    assert!(!application.seen().iter().any(|seen| asked("/goes")(seen)));
    server.stop();
    let gone = application.wait(asked("/goes")).json();
    assert!(gone["mediaServerId"].is_string(), "{gone}");
}

/// The answer about a publisher comes after players were let in who wait for its stream.
#[test]
fn zlmediakit_binds_players_who_waited_by_what_it_says_of_their_publisher() {
    let application = Application::start(|request| {
        let publishes = request.json().get("originType").is_some();
        answer(&match publishes {
            true => json!({ "code": 0, "enable_rtmp": false, "enable_ts": true }),
            false => json!({ "code": 0 }),
        })
    });
    let server = node("zlmediakit", &application, &[]);
    let web = server.http;
    let mut players = ["flv", "ts"].map(|format| {
        let path = format!("/live/cam.{format}?as={format}");
        Some(std::thread::spawn(move || Answer::request(web, &path, "")))
    });
    for format in ["flv", "ts"] {
        let params = format!("as={format}");
        application.wait(|request| request.json()["params"] == params.as_str());
    }
    let _publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("cam"));
    // It may have begun to play before it was known that it may not.
    let [flv, ts] = players.each_mut().map(|player| player.take().expect("each is joined once"));
    let mut ts = ts.join().expect("it is answered");
    let mut bytes = [0; 188 * 100];
    ts.body.read_exact(&mut bytes).expect("it plays");
    assert_eq!((ts.status, bytes[0]), (200, 0x47));
    let mut flv = flv.join().expect("it is answered");
    flv.body.read_to_end(&mut Vec::new()).expect("it ends");
    ts.body.read_exact(&mut bytes).expect("the other one plays on");
    assert_eq!(get(web, "/live/cam.flv", "").0, 404);
}
