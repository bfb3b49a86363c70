//! A busy server: everything that has a metric has happened once, or is at least there.

use crate::client::Client;
use crate::clip::Clip;
use crate::http_flv::get;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

use super::series::Series;

/// What a server tells that has publishers, players, viewers, a hook and callers.
pub(super) fn series() -> Series {
    let mut options = Options::on(Backend::Auto);
    options.tls = true;
    options.demo = true;
    options.config = "[[hooks]]\nid = \"log\"\ntype = \"file\"\ntarget = \"events.jsonl\"\n\
                      types = [\"stream.*\"]\n\
                      [[auth.signed.keys]]\nid = \"main\"\n\
                      secret = \"a secret of thirty-two letters, at least\"\n\
                      [[streams.stream]]\ncode = \"guarded\"\nauth = \"signed\"\n\
                      [[streams.tenant]]\ncode = \"acme\"\n"
        .to_owned();
    let server = Server::start(&options);
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("busy"));
    server.api_until("/api/v1/streams?state=live&q=busy", |answer| {
        answer["streams"][0]["name"] == "busy"
    });
    let player = Player::start(Client::PLAIN, &server, "busy");
    player.wait_for_media();
    assert_eq!(get(server.web(true), "/busy/index.m3u8", "").0, 200);
    get(server.control, "/nothing", "");
    assert_eq!(get(server.web(true), "/guarded.flv?sig=x", "").0, 403);
    let (status, body) = get(server.control, "/metrics", "");
    assert_eq!(status, 200);
    drop(player);
    publisher.kill();
    server.stop();
    Series::parse(&String::from_utf8(body).expect("metrics are text"))
}
