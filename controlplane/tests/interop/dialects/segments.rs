//! Each segment of a stream, told as SRS tells it, is where that says it is.

use std::time::{Duration, Instant};

use serde_json::json;

use super::application::{Application, Request};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};

/// A line of the log is there within this.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn srs_is_told_of_each_segment_that_it_can_fetch() {
    let application = Application::start(|_| "200 OK\r\n\r\n0".to_owned());
    let config = format!(
        "[hls]\nsession = \"off\"\n\
         [[hooks]]\nid = \"segments\"\ntype = \"http\"\ndialect = \"srs\"\n\
         target = \"http://{}/hls\"\ncalls = [\"on_hls\", \"on_unpublish\"]\n",
        application.addr
    );
    let options = Options { config, ..Options::on(Backend::Auto) };
    let server = Server::start(&options);
    let url = format!("rtmp://{}/app/cam", server.rtmp);
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &format!("{url}?token=t"));
    // A viewer keeps them: without one none is packaged.
    application.wait(|request| request.json()["action"] == "on_hls");
    let list = get(server.http, "/app/cam/index.m3u8", "");
    assert_eq!(list.0, 200);
    get(server.http, "/app/cam/media.m3u8", "");
    let first = application.seen()[0].json()["seq_no"].as_u64().expect("a number");
    let numbered =
        |number: u64| move |request: &Request| request.json()["seq_no"].as_u64() == Some(number);
    for number in first..first + 4 {
        let told = application.wait(numbered(number)).json();
        for (field, value) in [
            ("action", json!("on_hls")),
            ("app", json!("app")),
            ("stream", json!("cam")),
            ("param", json!("?token=t")),
            ("ip", json!("127.0.0.1")),
            ("url", json!(format!("app/cam/seg.{number}.ts"))),
            ("m3u8_url", json!("app/cam/index.m3u8")),
        ] {
            assert_eq!(told[field], value, "{field} of {told}");
        }
        let seconds = told["duration"].as_f64().expect("a number");
        assert!(seconds > 0.0 && seconds < 10.0, "{told}");
    }
    let last = application.wait(numbered(first + 3)).json();
    let url = format!("/{}", last["url"].as_str().expect("a text"));
    let (status, segment) = get(server.http, &url, "");
    assert_eq!((status, segment.first()), (200, Some(&0x47)), "{url} is a transport stream");
    publisher.interrupt();
    let end = application.wait(|request| request.json()["action"] == "on_unpublish");
    assert_eq!(end.json()["client_id"], last["client_id"]);
    let numbers: Vec<_> =
        application.seen().iter().filter_map(|request| request.json()["seq_no"].as_u64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "each once: {numbers:?}");
}

/// A hook that the API makes is warned of as one of the file is, when it is made and at each start.
#[test]
fn who_makes_a_hook_of_segments_that_nobody_keeps_is_warned() {
    let options = Options::on(Backend::Auto);
    let folder = Folder::new();
    let mut server = Server::run(&mut options.command(&folder), folder);
    let hook = |id: &str, calls: &[&str]| {
        json!({
            "id": id, "type": "http", "target": "http://127.0.0.1:1/", "dialect": "srs",
            "calls": calls,
        })
    };
    for (id, calls) in [("quiet", ["on_stop"]), ("told", ["on_hls"])] {
        let (status, answer) = server.post("/api/v1/hooks", &hook(id, &calls).to_string());
        assert_eq!(status, 201, "{answer}");
    }
    for start in 0..2 {
        if start > 0 {
            let folder = server.kill();
            server = Server::run(&mut options.command(&folder), folder);
        }
        let warning = "\"told\" is told of segments (on_hls), but segments are kept only once";
        let deadline = Instant::now() + PATIENCE;
        while !server.log().contains(warning) {
            assert!(Instant::now() < deadline, "never warned:\n{}", server.log());
            // Asked again when the reader of the log had the processor for a moment.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert!(!server.log().contains("quiet\" is told of segments"));
    }
}
