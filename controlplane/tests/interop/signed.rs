//! Signed addresses with real encoders and players: they open what they were signed for, for as
//! long as they were.

use std::process::Command;
use std::time::Duration;

use crate::client::{Client, Tool, Way};
use crate::clip::{Clip, FFMPEG};
use crate::http_flv::get;
use crate::player::Player;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Folder, Options, Server};

/// Longer than whatever ends by itself takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn start(backend: Backend, hls: &str) -> Server {
    let mut options = Options::on(backend);
    options.config = format!(
        "[auth.signed]\nenforce = true\nleeway_ms = 0\n[[auth.signed.keys]]\nid = \"main\"\n\
         secret = \"0123456789abcdef0123456789abcdef\"\n\
         [hls]\nmode = \"always\"\nsession = \"{hls}\"\nverdict_ms = 1000\n"
    );
    let folder = Folder::new();
    let mut command = options.command(&folder);
    command.env("GRANDSTAND_AUTH__MODE", "signed");
    Server::run(&mut command, folder)
}

/// `NAME?QUERY`, as `grandstand sign` prints it.
fn signed(server: &Server, name: &str, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand"));
    command.arg("--config").arg(server.folder().join("test.toml"));
    command.args(["sign", "--stream", &format!("live/{name}")]).args(args);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let query = text.lines().find_map(|line| line.strip_prefix("query")).expect("a query");
    format!("{name}?{}", query.trim())
}

#[test]
fn an_encoder_and_its_players_are_let_in_by_what_was_signed_for_them() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = start(backend, "token");
        let play = signed(&server, "cam", &["--for", "1h"]);
        let publish = signed(&server, "cam", &["--for", "1h", "--publish"]);
        for wrong in
            ["cam", &play, &publish.replace("cam?", "cam2?"), &publish[..publish.len() - 1]]
        {
            Publisher::ffmpeg(Clip::Small, &server.rtmp_url(wrong)).is_refused();
        }
        let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url(&publish));
        server.api_until("/api/v1/streams/cam", |stream| stream["state"] == "live");
        let stay = [Client::RML, Client::PLAIN, Client(Tool::Library, Way::WsFlv)]
            .map(|client| Player::start(client, &server, &play));
        stay.iter().for_each(Player::wait_for_media);
        let sessions = |answer: &serde_json::Value| {
            let all = answer["sessions"].as_array().expect("sessions are listed");
            all.iter().filter(|session| session["role"] == "play").count()
        };
        // Who may for a moment is sent away after it, and nobody else is.
        let brief = signed(&server, "cam", &["--for", "4s", "--address", "127.0.0.0/8"]);
        let gone = [Client(Tool::Ffmpeg, Way::Rtmp), Client::PLAIN, Client(Tool::Ffmpeg, Way::Ts)]
            .map(|client| Player::start(client, &server, &brief));
        server.api_until("/api/v1/sessions", |answer| sessions(answer) == 6);
        for player in gone {
            let (_, media) = player.finish();
            assert!(!media.video.is_empty(), "it played until then");
        }
        server.api_until("/api/v1/sessions", |answer| sessions(answer) == 3);
        assert_eq!(server.log().matches("reason=expired").count(), 3, "{}", server.log());
        // So is an encoder, and its stream is over.
        let brief = signed(&server, "brief", &["--for", "4s", "--publish"]);
        Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url(&brief)).ends();
        server.api_until("/api/v1/streams", |answer| {
            answer["streams"].as_array().is_some_and(|streams| streams.len() == 1)
        });
        publisher.interrupt();
        for player in stay {
            player.tags();
        }
        server.stop();
    }
}

#[test]
fn viewers_of_hls_go_on_by_what_their_playlists_carry() {
    for (backend, hls) in
        [(Backend::IoUring, "token"), (Backend::Epoll, "cookie"), (Backend::IoUring, "off")]
    {
        let server = start(backend, hls);
        let publish = signed(&server, "cam", &["--for", "1h", "--publish"]);
        let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url(&publish));
        let play = signed(&server, "cam", &["--for", "1h"]);
        let (_, query) = play.split_once('?').expect("a query");
        assert_eq!(get(server.http, "/cam/index.m3u8", "").0, 403, "{hls}");
        let mut command = Command::new(FFMPEG);
        let url = format!("http://{}/cam/index.m3u8?{query}", server.http);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-i", &url]);
        command.args(["-t", "5", "-c", "copy", "-f", "null", "-"]);
        let mut player = Process::start(&mut command);
        player.finish(PATIENCE);
        // Who shows nothing is no more let in than before, also from the same address.
        for piece in ["index.m3u8", "media.m3u8", "seg.1.ts"] {
            let status = get(server.http, &format!("/cam/{piece}"), "").0;
            assert!(matches!(status, 302 | 307 | 403), "{hls} {piece}: {status}");
        }
        publisher.interrupt();
        server.stop();
    }
}
