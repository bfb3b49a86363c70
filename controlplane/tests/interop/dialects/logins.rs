//! Players log in by user and password, as those of MediaMTX do.

use serde_json::json;

use super::application::{Application, Request};
use super::scenario::{empty, node, play};
use crate::clip::Clip;
use crate::http_flv::Answer;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};

/// What is kept of `the-k3y-of-this-very-test`.
const KEY: &str = "sha256:000102030405060708090a0b0c0d0e0f:\
    74eb5d5280a326b4036850fb55e71d40e4dd08046b1a40193c81793f8b843eea";

#[test]
fn mediamtx_is_told_who_logs_in_by_basic_or_by_the_address() {
    let application = Application::start(|request| {
        let fields = request.json();
        let known = (&fields["user"], &fields["password"]) == (&json!("jo"), &json!("p:w"));
        empty(if known { "200 OK" } else { "401 Unauthorized" })
    });
    let server = node("mediamtx", &application, &[]);
    Publisher::ffmpeg(Clip::Small, &server.rtmp_url("cam?user=jo&pass=wrong")).is_refused();
    let publisher =
        Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("cam?user=jo&pass=p%3Aw"));
    // ffmpeg shows what its address says once it is asked for it.
    play(&format!("http://jo:p%3Aw@{}/cam.flv", server.http));
    let read = |user: &'static str| {
        move |request: &Request| {
            let fields = request.json();
            fields["action"] == "read" && fields["user"] == user
        }
    };
    let (asked, told) = (application.wait(read("")), application.wait(read("jo")).json());
    assert_eq!(asked.json()["protocol"], "http-flv");
    assert_eq!(
        (&told["token"], &told["query"], &told["path"]),
        (&json!(""), &json!(""), &json!("cam"))
    );
    for (field, status) in [
        ("", 401),
        ("Authorization: Basic am86cDp3\r\n", 200),
        ("Authorization: Bearer jo:p:w\r\n", 200),
        ("Authorization: Basic am86cHc=\r\n", 403),
        ("Authorization: Basic !!!\r\n", 401),
        ("Authorization: Bearer a.b.c\r\n", 403),
    ] {
        let answer = Answer::request(server.http, "/cam.flv", field);
        assert_eq!(answer.status, status, "{field}");
        let challenge = (status == 401).then_some("Basic realm=\"grandstand\"");
        assert_eq!(answer.header("www-authenticate"), challenge, "{field}");
    }
    publisher.interrupt();
    // What a peer shows is in no log.
    assert!(!server.log().contains("p:w"), "{}", server.log());
}

/// A proxy in front asks for user and password of its own, and browsers show them to everybody
/// behind it.
#[test]
fn what_is_for_a_proxy_in_front_is_no_key_here() {
    let application = Application::start(|_| empty("200 OK"));
    let login = "Authorization: Basic am86cDp3\r\n";
    let config = format!("[[auth.keys]]\nstream = \"*\"\nkey = \"{KEY}\"\n");
    let mut options = Options { config, ..Options::on(Backend::Auto) };
    options.demo = true;
    for (modes, query, status) in [
        ("[\"keys\", \"open\"]", "", 200),
        ("[\"keys\", \"open\"]", "?key=wrong", 403),
        ("keys", "", 403),
        ("keys", "?key=the-k3y-of-this-very-test", 200),
    ] {
        let folder = Folder::new();
        let mut command = options.command(&folder);
        command.env("GRANDSTAND_AUTH__PLAY", modes);
        let server = Server::run(&mut command, folder);
        let answer = Answer::request(server.http, &format!("/demo.flv{query}"), login);
        assert_eq!(answer.status, status, "{modes} {query}");
    }
    // Nor is an application told of it that did not ask for it.
    let waits = [("GRANDSTAND_SESSION__PLAY_WAIT_MS", "0")];
    let server = node("native", &application, &waits);
    assert_eq!(Answer::request(server.http, "/none.flv?key=k", login).status, 404);
    let told = application.wait(|request| request.line.starts_with("POST /asked "));
    assert_eq!(told.json()["key"], "k");
    assert!(!told.body.contains("p:w") && !told.body.contains("am86cDp3"), "{}", told.body);
}
