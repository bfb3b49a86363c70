//! A live stream is moved by the API while ffmpeg publishes it and real clients play it.

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

#[test]
fn a_stream_moves_and_no_client_notices() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let mut options = Options::on(backend);
        options.tls = true;
        options.config = "[session]\nplay_wait_ms = 30000\n[hls]\nmode = \"always\"\n".to_owned();
        let server = Server::start(&options);
        let players: Vec<Player> = [
            Client(Tool::Ffmpeg, Way::Rtmp),
            Client::RML,
            Client::PLAIN,
            Client(Tool::Ffmpeg, Way::Flv),
            Client(Tool::Library, Way::WsFlv),
            Client(Tool::Ffmpeg, Way::Ts),
            Client(Tool::Library, Way::WsTs),
            Client(Tool::Ffmpeg, Way::Rtmps),
            Client(Tool::Plain, Way::HttpsTs),
        ]
        .map(|client| Player::start(client, &server, "studio"))
        .into();
        server.wait_for_players("studio", players.len());
        let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
        players[1].wait_for_media();
        let lists = [Client(Tool::Ffmpeg, Way::Hls), Client(Tool::Plain, Way::Hls)]
            .map(|client| Player::start(client, &server, "studio"));
        let home = server.api("/api/v1/streams")["streams"][0]["shard"].clone();
        let home = home.as_u64().expect("a shard");
        for (from, to) in [(home, 1 - home), (1 - home, home), (home, 1 - home)] {
            let order = format!("{{\"stream\":\"studio\",\"shard\":{to}}}");
            let (status, answer) = server.post("/api/v1/shards/move", &order);
            assert_eq!(status, 200, "{answer}");
            let told = ["from", "shard"].map(|key| answer[key].as_u64());
            assert_eq!((told, &answer["moved"]), ([Some(from), Some(to)], &true.into()));
            let units = |answer: &serde_json::Value| {
                let stream = &answer["streams"][0];
                assert_eq!(stream["shard"].as_u64(), Some(to), "{answer:#}");
                stream["units_in"].as_u64().expect("a number")
            };
            let now = units(&server.api("/api/v1/streams"));
            // Some of it comes at each home, and the clip is not over before the last.
            server.api_until("/api/v1/streams", |answer| units(answer) > now + 30);
        }
        let published = publisher.finish();
        for player in players.into_iter().chain(lists) {
            let (who, got) = player.finish();
            got.assert_whole(&published, &format!("{who:?} on {backend:?}"));
        }
        let metrics = server.metrics();
        assert_eq!(metrics.sum("streams_moved_total"), 3.0);
        assert_eq!(metrics.sum("player_jumps_total"), 0.0);
        server.stop();
    }
}
