//! Every player on every way to it: for long, over a return of the encoder, and over a change of
//! what it sends.

use serde_json::json;

use super::watch::{Watch, assert_plays, assert_smooth};
use crate::clip::Clip;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// Watched without a stall.
const LONG_SECONDS: u32 = 20;
/// Watched after something happened.
const AFTER_SECONDS: u32 = 4;
/// More than any player holds when the encoder leaves.
const HELD_SECONDS: u32 = 16;

fn start(clip: Clip) -> (Server, Publisher, String) {
    let server = Server::start(&Options::on(Backend::Auto));
    let url = server.rtmp_url("studio");
    let publisher = Publisher::ffmpeg_endless(clip, &url);
    (server, publisher, url)
}

fn plays_for_long(player: &str) {
    let (server, publisher, _) = start(Clip::Small);
    let report = Watch::start(&server, "studio", player, LONG_SECONDS, json!({})).report();
    assert_smooth(&report);
    publisher.interrupt();
    server.stop();
}

/// The encoder's connection breaks and it comes back: the player goes on beyond what it held.
fn goes_on_when_the_encoder_reconnects(player: &str) {
    let (server, publisher, url) = start(Clip::Small);
    let until = json!({ "until": { "seconds": HELD_SECONDS } });
    let mut watch = Watch::start(&server, "studio", player, AFTER_SECONDS, until);
    watch.wait_until_it_plays();
    publisher.kill();
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &url);
    assert_plays(&watch.report());
    publisher.interrupt();
    server.stop();
}

/// Another encoder takes over with another size, profile and kind of sound.
fn goes_on_with_another_picture_and_sound(player: &str) {
    let (server, publisher, url) = start(Clip::H264);
    let until = json!({ "until": { "width": 320 } });
    let mut watch = Watch::start(&server, "studio", player, AFTER_SECONDS, until);
    watch.wait_until_it_plays();
    publisher.kill();
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &url);
    let report = watch.report();
    assert_plays(&report);
    assert_eq!(report["after"]["width"], 320, "{report:#}");
    publisher.interrupt();
    server.stop();
}

macro_rules! for_each_player {
    ($($name:ident: $player:literal;)*) => {$(
        mod $name {
            #[test]
            fn plays_for_long() {
                super::plays_for_long($player);
            }

            #[test]
            fn goes_on_when_the_encoder_reconnects() {
                super::goes_on_when_the_encoder_reconnects($player);
            }

            #[test]
            fn goes_on_with_another_picture_and_sound() {
                super::goes_on_with_another_picture_and_sound($player);
            }
        }
    )*};
}

for_each_player! {
    page: "page";
    hls_js: "hls.js";
    mpegts_js_on_http_flv: "mpegts.flv";
    mpegts_js_on_websocket_flv: "mpegts.ws";
    mpegts_js_on_http_ts: "mpegts.ts";
}
