//! One packaging per format, however many players on whatever shard.

mod node;

use dataplane::config::Config;
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Server, assert_contiguous};

on_both_backends! { both_formats_play_what_is_published }

fn both_formats_play_what_is_published(config: Config) {
    let server = Server::start(config);
    let mut publisher = Publisher::start(server.rtmp, "one");
    publisher.send_frames(15);
    let mut rtmp = RtmpPlayer::start(server.rtmp, "one");
    let mut flv = FlvPlayer::start(server.http, "one");
    publisher.send_frames(30);
    let items = rtmp.items_to_audio(44);
    assert_contiguous(&items);
    let items = flv.items_to_audio(44);
    assert_contiguous(&items);
}
