//! Players are sent to another server, as the application of nginx-rtmp says.

use serde_json::json;
use tungstenite::HandshakeError;

use super::application::{Application, Request};
use super::scenario::{empty, node, node_of, play};
use crate::clip::Clip;
use crate::http_flv::{Answer, Endpoint};
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

/// Where a player that wants to switch to WebSocket is sent instead.
fn sent(edge: &Server, path: &str) -> (u16, String) {
    let url = format!("ws://{}{path}", edge.http);
    match tungstenite::client(url, Endpoint::from(edge.http).connect()) {
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let location = answer.headers().get("location").expect("an address");
            (answer.status().as_u16(), location.to_str().expect("it is text").to_owned())
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the server switches"),
    }
}

#[test]
fn nginx_rtmp_sends_players_where_they_speak_as_they_did_here() {
    let application = Application::start(|request| match request.field("call") {
        "play" => "302 Found\r\nLocation: rtmp://elsewhere.example/a/b\r\n\r\n".to_owned(),
        _ => empty("200 OK"),
    });
    let trusted = [("GRANDSTAND_SESSION__PROXIES", "[\"127.0.0.1\"]")];
    let options = Options { tls: true, ..Options::on(Backend::Auto) };
    let edge = node_of(options, "nginx-rtmp", &application, &trusted);
    let port = edge.http.port();
    let at =
        |scheme: &str, ending: &str| format!("{scheme}://elsewhere.example:{port}/a/b{ending}");
    assert_eq!(sent(&edge, "/live/cam.flv"), (302, at("ws", ".flv")));
    // A proxy ends TLS in front: whoever is sent on speaks it again.
    for (path, fields, expected) in [
        ("/live/cam.flv", "X-Forwarded-Proto: https\r\n", at("https", ".flv")),
        ("/live/cam/index.m3u8", "X-Forwarded-Proto: https\r\n", at("https", "/index.m3u8")),
        ("/live/cam.flv", "X-Forwarded-Proto: https, http\r\n", at("http", ".flv")),
        ("/live/cam.flv", "", at("http", ".flv")),
    ] {
        let answer = Answer::request(edge.http, path, fields);
        assert_eq!((answer.status, answer.header("location")), (302, Some(&*expected)), "{fields}");
    }
    // What its client speaks counts where the proxy says it, though it speaks TLS to this server.
    let web = edge.web(true);
    for (fields, scheme) in [("X-Forwarded-Proto: http\r\n", "http"), ("", "https")] {
        let answer = Answer::request(&web, "/live/cam.flv", fields);
        let there = format!("{scheme}://elsewhere.example:{}/a/b.flv", web.addr.port());
        assert_eq!((answer.status, answer.header("location")), (302, Some(&*there)), "{fields}");
    }
    // Nobody else is believed.
    let edge = node("nginx-rtmp", &application, &[]);
    let answer = Answer::request(edge.http, "/live/cam.flv", "X-Forwarded-Proto: https\r\n");
    let here = format!("http://elsewhere.example:{}/a/b.flv", edge.http.port());
    assert_eq!(answer.header("location"), Some(&*here));
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
