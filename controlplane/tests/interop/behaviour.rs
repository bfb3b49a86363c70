//! What the operator and the application developer rely on, seen from outside.

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::rml::{self, Rml};
use crate::server::{Backend, Options, Server};
use crate::verify::{Media, tags};

#[test]
fn a_late_player_begins_at_a_keyframe_and_gets_the_rest() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let mut options = Options::on(backend);
        options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
        let server = Server::start(&options);
        let first = Player::start(Client::PLAIN, &server, "studio");
        server.wait_for_players("studio", 1);
        let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
        first.wait_for_media();
        let late: Vec<Player> = [
            Client::RML,
            Client::PLAIN,
            Client(Tool::Ffmpeg, Way::Flv),
            Client(Tool::Library, Way::WsFlv),
            Client(Tool::Plain, Way::Ts),
            Client(Tool::Library, Way::WsTs),
        ]
        .map(|client| Player::start(client, &server, "studio"))
        .into();
        let published = publisher.finish();
        let (who, got) = first.finish();
        got.assert_whole(&published, &format!("{who:?}"));
        for player in late {
            let (who, got) = player.finish();
            got.assert_played(&published, &format!("{who:?}"));
        }
        server.stop();
    }
}

#[test]
fn each_format_is_packaged_once_for_any_number_of_players() {
    let mut options = Options::on(Backend::Auto);
    options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
    let server = Server::start(&options);
    let players: Vec<Player> =
        (0..20).map(|_| Player::start(Client::PLAIN, &server, "studio")).collect();
    server.wait_for_players("studio", 20);
    rml::publish(server.rtmp, "live", "studio", &tags(&Clip::H264.bytes()));
    let published = Media::of_flv(&Clip::H264.bytes());
    for player in players {
        player.finish().1.assert_whole(&published, "one of twenty");
    }
    let metrics = server.metrics();
    // One entry for each frame and configuration; none in a format that nobody reads.
    let units = published.video.len() + published.audio.len() + 2;
    assert_eq!(metrics.sum("entries_packaged_flv_total"), units as f64);
    assert_eq!(metrics.sum("entries_packaged_rtmp_total"), 0.0);
    assert!(metrics.sum_where("reactor_operations_total", "opcode=\"send") > 0.0);
    server.stop();
}

#[test]
fn a_new_configuration_in_mid_stream_reaches_every_player() {
    let mut options = Options::on(Backend::Auto);
    options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
    let server = Server::start(&options);
    let players = [Client::RML, Client::PLAIN].map(|c| Player::start(c, &server, "studio"));
    server.wait_for_players("studio", 2);
    let mut published = tags(&Clip::H264.bytes());
    let end = published.last().expect("the clip has tags").timestamp + 40;
    published.extend(tags(&Clip::Small.bytes()).into_iter().map(|mut tag| {
        tag.timestamp += end;
        tag
    }));
    rml::publish(server.rtmp, "live", "studio", &published);
    let published = Media::of_tags(&published);
    assert_eq!((published.video_configs.len(), published.audio_configs.len()), (2, 2));
    for player in players {
        let (who, got) = player.finish();
        got.assert_whole(&published, &format!("{who:?}"));
        assert_eq!(got.video_configs, published.video_configs, "{who:?}");
        assert_eq!(got.audio_configs, published.audio_configs, "{who:?}");
    }
    server.stop();
}

#[test]
fn players_stay_while_a_lost_publisher_comes_back() {
    let mut options = Options::on(Backend::Auto);
    options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
    let server = Server::start(&options);
    let players = [Client::RML, Client::PLAIN].map(|c| Player::start(c, &server, "studio"));
    let lost = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    players.iter().for_each(Player::wait_for_media);
    lost.kill();
    rml::publish(server.rtmp, "live", "studio", &tags(&Clip::H264.bytes()));
    let second = Media::of_flv(&Clip::H264.bytes());
    for player in players {
        let tags = player.tags();
        let media: Vec<_> = tags.iter().filter(|tag| tag.body.len() > 64).collect();
        let falls = media.windows(2).filter(|pair| pair[1].timestamp + 500 < pair[0].timestamp);
        assert_eq!(falls.count(), 0, "the timeline goes on");
        let got = Media::of_tags(&tags);
        assert!(got.video.len() > second.video.len(), "both publications were seen");
        let tail = &got.video[got.video.len() - second.video.len()..];
        assert!(tail == second.video, "the second publication is whole");
    }
    server.stop();
}

#[test]
fn a_second_publisher_is_refused_while_the_first_one_delivers() {
    let mut options = Options::on(Backend::Auto);
    options.config = "[session]\nplay_wait_ms = 30000\n".to_owned();
    let server = Server::start(&options);
    let player = Player::start(Client::PLAIN, &server, "studio");
    let first = Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url("studio"));
    player.wait_for_media();
    let second = std::panic::catch_unwind(|| {
        Rml::connect(server.rtmp, "live").publish("studio");
    });
    assert!(second.is_err(), "the second publisher was let in");
    first.interrupt();
    player.finish();
    server.stop();
}

#[test]
fn unknown_names_and_pages_are_answered() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        assert_eq!(get(server.http, "/nobody.flv", "").0, 404);
        assert_eq!(get(server.http, "/", "").0, 200);
        assert_eq!(get(server.http, "/nobody", "").0, 200, "the page waits for the stream");
        assert_eq!(get(server.http, "/player.js", "").0, 200);
        let (status, body) = get(server.http, "/streams.json", "");
        assert_eq!(status, 200);
        let streams: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert!(streams["streams"].as_array().is_some_and(Vec::is_empty));
        assert_eq!(get(server.control, "/healthz", "").0, 200);
        assert_eq!(get(server.control, "/api/v1/streams", "").0, 401, "without the token");
        assert!(server.api("/api/v1/streams").is_object());
        server.stop();
    }
}

#[test]
fn stream_keys_are_never_logged() {
    let mut options = Options::on(Backend::Auto);
    options.config = "[log]\nlevel = \"debug\"\n".to_owned();
    let server = Server::start(&options);
    let name = "studio?key=s3cr3tk3y";
    rml::publish(server.rtmp, "live", name, &tags(&Clip::AudioOnly.bytes())[..20]);
    get(server.http, "/studio.flv?token=s3cr3tk3y", "");
    let log = server.log();
    assert!(log.contains("studio"), "the session is logged:\n{log}");
    assert!(!log.contains("s3cr3tk3y"), "the key is in the log:\n{log}");
    server.stop();
}

#[test]
fn the_end_of_the_server_is_an_end_for_its_players() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let mut options = Options::on(backend);
        options.demo = true;
        let server = Server::start(&options);
        let players = [Client::RML, Client::PLAIN].map(|c| Player::start(c, &server, "demo"));
        players.iter().for_each(Player::wait_for_media);
        server.stop();
        for player in players {
            assert!(!player.finish().1.video.is_empty());
        }
    }
}
