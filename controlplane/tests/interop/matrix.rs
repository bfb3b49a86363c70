//! Every publisher with every player: what was published arrives once, in order, intact.

use crate::client::{ALL, Client, Tool, Way};
use crate::clip::Clip;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::rml;
use crate::server::{Backend, Options, Server};
use crate::verify::{Media, tags};

const WAIT: &str = "[session]\nplay_wait_ms = 30000\n";

/// Players wait for the publisher, so that all of them get the whole publication.
fn serve(backend: Backend) -> Server {
    let mut options = Options::on(backend);
    options.config = WAIT.to_owned();
    options.tls = true;
    Server::start(&options)
}

fn start_all(server: &Server, clients: &[Client], name: &str) -> Vec<Player> {
    let players = clients.iter().map(|&client| Player::start(client, server, name)).collect();
    let waiting = clients.iter().filter(|client| !client.1.is_hls()).count();
    server.wait_for_players(name, waiting);
    players
}

/// Clients for codecs that only Enhanced RTMP has, on some of the ways.
fn enhanced(takes: impl Fn(Way) -> bool) -> Vec<Client> {
    ALL.into_iter().filter(|client| client.is_enhanced() && takes(client.1)).collect()
}

fn check(players: Vec<Player>, published: &Media) {
    for player in players {
        let (who, got) = player.finish();
        got.assert_whole(published, &format!("{who:?}"));
        if who.1.is_transport() {
            continue;
        }
        assert_eq!(got.video_configs, published.video_configs, "{who:?}: video configuration");
        assert_eq!(got.audio_configs, published.audio_configs, "{who:?}: audio configuration");
    }
}

fn ffmpeg(backend: Backend) {
    let server = serve(backend);
    let players = start_all(&server, &ALL, "studio");
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    check(players, &publisher.finish());
    server.stop();
}

fn hevc(backend: Backend) {
    let server = serve(backend);
    let players = start_all(&server, &enhanced(|_| true), "news/uhd");
    let publisher = Publisher::ffmpeg_newer(Clip::Hevc, &server.rtmp_url("news/uhd"));
    check(players, &publisher.finish());
    server.stop();
}

fn av1(backend: Backend) {
    let server = serve(backend);
    let players = start_all(&server, &enhanced(|way| !way.is_transport()), "av1");
    let publisher = Publisher::ffmpeg_newer(Clip::Av1, &server.rtmp_url("av1"));
    check(players, &publisher.finish());
    server.stop();
}

fn gstreamer(backend: Backend) {
    let server = serve(backend);
    let players = start_all(&server, &ALL, "gst");
    let publisher = Publisher::gstreamer(&server.rtmp_url("gst"), server.folder());
    check(players, &publisher.finish());
    server.stop();
}

fn library(backend: Backend) {
    let server = serve(backend);
    let players = start_all(&server, &ALL, "rml");
    let published = tags(&Clip::H264.bytes());
    rml::publish(server.rtmp, "live", "rml", &published);
    check(players, &Media::of_tags(&published));
    server.stop();
}

fn secure(backend: Backend) {
    let server = serve(backend);
    let clients = [
        Client(Tool::Newer, Way::Rtmps),
        Client(Tool::Plain, Way::Https),
        Client(Tool::Plain, Way::HttpsTs),
        Client(Tool::Plain, Way::HttpsHls),
        Client::RML,
    ];
    let players = start_all(&server, &clients, "sealed");
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmps_url("sealed"));
    check(players, &publisher.finish());
    server.stop();
}

fn one_track(backend: Backend) {
    let server = serve(backend);
    let clients = [
        Client(Tool::Ffmpeg, Way::Rtmp),
        Client(Tool::Ffmpeg, Way::Flv),
        Client(Tool::Ffmpeg, Way::Ts),
        Client(Tool::Library, Way::WsFlv),
        Client(Tool::Plain, Way::Ts),
        Client(Tool::Newer, Way::Hls),
        Client(Tool::Plain, Way::Hls),
        Client::RML,
        Client::PLAIN,
    ];
    let video = start_all(&server, &clients, "silent");
    let audio = start_all(&server, &clients, "radio");
    let silent = Publisher::ffmpeg(Clip::VideoOnly, &server.rtmp_url("silent"));
    let radio = Publisher::ffmpeg(Clip::AudioOnly, &server.rtmp_url("radio"));
    check(video, &silent.finish());
    check(audio, &radio.finish());
    server.stop();
}

on_both_backends!(ffmpeg hevc av1 gstreamer library secure one_track);
