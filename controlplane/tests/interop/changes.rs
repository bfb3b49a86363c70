//! Streams are declared and changed by the API while clients publish and play them: a change drops
//! only whom it must, and a dry run tells who that is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::hls::wait_for_list;
use crate::http_flv::get;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

const STUDIO: &str = "/api/v1/streams/studio";
const DRY: &str = "/api/v1/streams/studio?dry_run=true";

/// The sessions that publish or play `studio`.
fn sessions(answer: &Value) -> BTreeSet<String> {
    let sessions = answer["sessions"].as_array().expect("sessions are listed");
    let here = sessions.iter().filter(|session| session["stream"] == "studio");
    let here = here.filter(|session| session["protocol"] != "hls" && !session["role"].is_null());
    here.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

/// The sessions that a dry run would drop.
fn dropped(answer: &(u16, Value)) -> BTreeSet<String> {
    assert_eq!(answer.0, 202, "{:#}", answer.1);
    let sessions = answer.1["dropped"]["sessions"].as_array().expect("sessions are told");
    let told = sessions.iter().filter(|session| session["protocol"] != "hls");
    told.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_change_drops_only_whom_it_must() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        let spec = json!({ "description": "One", "inputs": [{ "url": "publish://" }] });
        assert_eq!(server.send("PUT", STUDIO, &spec).0, 201);
        let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("studio"));
        server.api_until(STUDIO, |stream| stream["state"] == "live");
        let players = [Client::RML, Client::PLAIN, Client(Tool::Plain, Way::Ts)]
            .map(|client| Player::start(client, &server, "studio"));
        players.iter().for_each(Player::wait_for_media);
        wait_for_list(&server.http.into(), "studio");
        let all = sessions(&server.api("/api/v1/sessions"));
        assert_eq!(all.len(), 4, "one publishes, three play: {all:?}");

        // A word for people: nobody notices.
        let words = json!({ "description": "Two", "tags": ["news"] });
        assert_eq!(dropped(&server.send("PATCH", DRY, &words)), BTreeSet::new());
        assert_eq!(server.api(STUDIO)["spec"]["description"], "One", "a dry run changes nothing");
        let (status, changed) = server.send("PATCH", STUDIO, &words);
        assert_eq!((status, &changed["spec"]["description"]), (200, &json!("Two")), "{changed:#}");
        assert_eq!(sessions(&server.api("/api/v1/sessions")), all);

        // One protocol: its players alone.
        let off =
            json!({ "protocols": { "rtmp": false, "flv": true, "mpegts": true, "hls": true } });
        let told = dropped(&server.send("PATCH", DRY, &off));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(server.send("PATCH", STUDIO, &off).0, 200);
        let rest: BTreeSet<_> = all.difference(&told).cloned().collect();
        server.api_until("/api/v1/sessions", |answer| sessions(answer) == rest);
        let sent = |answer: &Value| {
            let sessions = answer["sessions"].as_array().expect("sessions are listed");
            let flv = sessions.iter().find(|session| session["protocol"] == "http-flv");
            flv.unwrap_or_else(|| panic!("{answer:#}"))["bytes_out"].as_u64().expect("bytes")
        };
        let before = sent(&server.api("/api/v1/sessions"));
        server.api_until("/api/v1/sessions", |answer| sent(answer) > before);
        assert_eq!(get(server.http, "/studio/index.m3u8", "").0, 200, "HLS is played on");

        // The whole stream: everybody, and nobody may come back.
        let disabled = json!({ "disabled": true });
        assert_eq!(dropped(&server.send("PATCH", DRY, &disabled)), rest);
        assert_eq!(server.send("PATCH", STUDIO, &disabled).0, 200);
        server.api_until("/api/v1/sessions", |answer| sessions(answer).is_empty());
        server.api_until(STUDIO, |stream| stream["state"] == "disabled");
        assert_ne!(get(server.http, "/studio.flv", "").0, 200);
        assert_eq!(server.send("DELETE", STUDIO, &Value::Null).0, 204);
        publisher.kill();
        server.stop();
    }
}

#[test]
fn streams_and_templates_are_kept_as_they_are_wanted() {
    let server = Server::start(&Options::on(Backend::Auto));
    let template =
        json!({ "prefixes": ["news/"], "description": "News", "protocols": { "flv": true } });
    assert_eq!(server.send("PUT", "/api/v1/templates/news", &template).0, 201);
    // Both ways to write a name.
    let (plain, folded) = ("/api/v1/streams/news/studio/1", "/api/v1/streams/news%2Fstudio%2F1");
    assert_eq!(server.send("PUT", plain, &json!({ "template": "news" })).0, 201);
    assert_eq!(server.send("PUT", folded, &json!({ "template": "news" })).0, 200);
    let stream = server.api(&format!("{folded}?expand=template"));
    assert_eq!(stream["name"], "news/studio/1", "{stream:#}");
    assert_eq!(stream["resolved"]["description"], "News", "{stream:#}");
    assert!(stream["spec"]["description"].is_null(), "overrides only: {stream:#}");
    assert_eq!((&stream["state"], &stream["origin"]), (&json!("idle"), &json!("api")));

    let (status, refused) = server.send("DELETE", "/api/v1/templates/news", &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("template_in_use")));
    let wrong = json!({ "inputs": [{ "url": "rtsp://origin.example/live/x" }] });
    let (status, refused) = server.send("PUT", plain, &wrong);
    assert_eq!((status, &refused["error"]["field"]), (422, &json!("inputs[0].url")), "{refused}");

    // All of many, or none.
    let put = |name: &str| json!({ "op": "put", "name": name, "spec": { "tags": ["many"] } });
    let missing = json!({ "op": "delete", "name": "missing" });
    let bulk = "/api/v1/streams/bulk";
    let none = json!({ "changes": [put("a"), put("b"), missing] });
    assert_eq!(server.send("POST", bulk, &none).0, 404);
    assert_eq!(server.api("/api/v1/streams?tag=many")["streams"], json!([]));
    let many: Vec<_> = (0..5).map(|n| put(&format!("many/{n}"))).collect();
    let (status, done) = server.send("POST", bulk, &json!({ "changes": many }));
    assert_eq!((status, &done["changed"]), (200, &json!(5)), "{done}");
    // As many as there may be are longer than the body of any other request.
    let long = |n: usize| {
        let spec = json!({ "description": "x".repeat(500) });
        json!({ "op": "put", "name": format!("long/{n}"), "spec": spec })
    };
    let long: Vec<_> = (0..1_000).map(long).collect();
    let (status, done) = server.send("POST", bulk, &json!({ "changes": long }));
    assert_eq!((status, &done["changed"]), (200, &json!(1_000)), "{done}");
    let page = server.api("/api/v1/streams?tag=many&limit=3&state=idle");
    assert_eq!(page["streams"].as_array().map(Vec::len), Some(3), "{page:#}");
    let next = page["next"].as_str().expect("there is a next page");
    let page = server.api(&format!("/api/v1/streams?tag=many&limit=3&cursor={next}"));
    assert_eq!(page["streams"].as_array().map(Vec::len), Some(2), "{page:#}");
    assert!(page["next"].is_null(), "{page:#}");
    server.stop();
}
