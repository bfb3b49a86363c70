//! The built-in pages.

use serde_json::json;

use super::watch::{assert_plays, assert_smooth, watch, with_demo};
use crate::clip::Clip;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

const SECONDS: u32 = 6;

#[test]
fn the_demo_plays_on_the_page() {
    let server = with_demo();
    let report = watch(&server, "demo", "page", SECONDS);
    assert_smooth(&report);
    assert_eq!(report["after"]["stats"]["state"], "live", "{report:#}");
    assert_eq!(report["after"]["stats"]["way"], "flv", "{report:#}");
    assert_eq!(report["after"]["width"], 640);
    assert_eq!(report["console"], json!([]), "{report:#}");
    server.stop();
}

#[test]
fn the_demo_is_on_the_list() {
    let server = with_demo();
    let report = watch(&server, "demo", "index", SECONDS);
    assert_eq!(report["links"], json!(["/demo"]), "{report:#}");
    let http = server.http;
    let addresses = json!([
        format!("rtmp://{}/live/NAME", server.rtmp),
        format!("http://{http}/NAME/index.m3u8"),
        format!("http://{http}/NAME.flv"),
        format!("ws://{http}/NAME.flv"),
        format!("http://{http}/NAME.ts"),
    ]);
    assert_eq!(report["addresses"], addresses, "{report:#}");
    server.stop();
}

#[test]
fn the_demo_plays_in_mpegts_js() {
    let server = with_demo();
    assert_smooth(&watch(&server, "demo", "mpegts.flv", SECONDS));
    server.stop();
}

#[test]
fn an_encoder_plays_on_the_page() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    assert_smooth(&watch(&server, "studio", "page", SECONDS));
    publisher.interrupt();
    server.stop();
}

#[test]
fn the_page_leaves_hls_to_a_browser_that_plays_nothing_else() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("phone"));
    let report = watch(&server, "phone", "plain", SECONDS);
    assert_plays(&report);
    assert_eq!(report["after"]["stats"]["way"], "hls", "{report:#}");
    assert_eq!(report["after"]["stats"]["state"], "live", "{report:#}");
    assert_eq!(report["after"]["width"], 640);
    let source = report["after"]["source"].as_str().expect("the video has a source");
    assert!(source.ends_with("/phone/index.m3u8"), "{report:#}");
    assert_eq!(report["console"], json!([]), "{report:#}");
    publisher.interrupt();
    server.stop();
}
