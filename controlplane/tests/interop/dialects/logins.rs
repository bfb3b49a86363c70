//! Players log in by user and password, as those of MediaMTX do.

use serde_json::json;

use super::application::{Application, Request};
use super::scenario::{empty, node, play};
use crate::clip::Clip;
use crate::http_flv::Answer;
use crate::publisher::Publisher;

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
