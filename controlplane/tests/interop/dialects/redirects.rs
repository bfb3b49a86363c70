//! Players are sent to another server, as the application of nginx-rtmp says.

use serde_json::json;

use super::application::{Application, Request};
use super::scenario::{empty, node, play};
use crate::clip::Clip;
use crate::http_flv::Answer;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// The stream is at another server, whose players come to this one first.
#[test]
fn nginx_rtmp_sends_a_player_of_http_to_the_server_that_has_the_stream() {
    let origin = Server::start(&Options::on(Backend::Auto));
    let _publisher = Publisher::ffmpeg_endless(Clip::Small, &origin.rtmp_url("cam"));
    let there = format!("http://{}/live/cam.flv", origin.http);
    let location = there.clone();
    let application = Application::start(move |request| match request.field("call") {
        "play" if request.field("name") == "cam" => {
            format!("302 Found\r\nLocation: {location}\r\n\r\n")
        }
        "play" => "302 Found\r\nLocation: rtmp://elsewhere.example/a/b\r\n\r\n".to_owned(),
        _ => empty("200 OK"),
    });
    let edge = node("nginx-rtmp", &application, &[]);
    // ffmpeg follows, and plays what the other server has.
    play(&format!("http://{}/live/cam.flv", edge.http));
    assert!(application.seen().iter().any(|request: &Request| request.field("call") == "play"));
    let mut answer = Answer::request(edge.http, "/live/cam.flv", "");
    assert_eq!((answer.status, answer.header("location")), (302, Some(there.as_str())));
    // An address of RTMP is taken for the same host, by the port that the player used here.
    answer = Answer::request(edge.http, "/live/other/index.m3u8?x=1", "");
    let port = edge.http.port();
    let expected = format!("http://elsewhere.example:{port}/a/b/index.m3u8");
    assert_eq!((answer.status, answer.header("location")), (302, Some(expected.as_str())));
}

#[test]
fn nginx_rtmp_sends_a_publisher_away_who_is_to_go_elsewhere() {
    let application = Application::start(|request| match request.field("call") {
        "publish" => "302 Found\r\nLocation: rtmp://192.0.2.1/live/cam\r\n\r\n".to_owned(),
        _ => empty("200 OK"),
    });
    let server = node("nginx-rtmp", &application, &[]);
    Publisher::ffmpeg(Clip::Small, &server.rtmp_url("cam")).is_refused();
    assert_eq!(server.api("/api/v1/streams")["streams"], json!([]), "nobody publishes here");
}
