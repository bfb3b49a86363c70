//! A publisher whose stream moves to another shard, as SRS tells of it.

use std::io::BufRead;

use serde_json::{Value, json};

use super::application::{Application, Request};
use super::scenario::node;
use crate::clip::Clip;
use crate::http_flv::Answer;
use crate::publisher::Publisher;

#[test]
fn srs_is_told_of_the_end_of_a_connection_whose_stream_moved() {
    let application = Application::start(|_| "200 OK\r\n\r\n0".to_owned());
    let server = node("srs", &application, &[]);
    let authorization = format!("Authorization: Bearer {}\r\n", server.token());
    let path = "/api/v1/events?types=connection.*";
    let events = Answer::request(server.control, path, &authorization);
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("cam"));
    let streams = "/api/v1/streams";
    let began = server.api_until(streams, |answer| answer["streams"][0]["units_in"] != json!(null));
    let home = began["streams"][0]["shard"].as_u64().expect("a shard");
    let order = json!({ "stream": "cam", "shard": 1 - home }).to_string();
    let (status, answer) = server.post("/api/v1/shards/move", &order);
    assert_eq!((status, &answer["moved"]), (200, &json!(true)), "{answer}");
    publisher.interrupt();
    let is = |action: &'static str| move |request: &Request| request.json()["action"] == action;
    let (end, close) = (application.wait(is("on_unpublish")), application.wait(is("on_close")));
    assert_eq!(close.json()["client_id"], end.json()["client_id"]);
    // It published, wherever that was: news of those who did nothing may be lost in a crowd.
    let mut lines = events.body.lines().map(|line| line.expect("events go on"));
    let told = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
    let told: Value = serde_json::from_str(&told.expect("an event")).expect("events are JSON");
    assert_eq!((&told["type"], &told["stream"]), (&json!("connection.closed"), &json!("cam")));
}
