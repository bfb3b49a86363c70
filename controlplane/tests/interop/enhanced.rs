//! Enhanced RTMP as the newer ffmpeg publishes it: every codec, and several tracks.

use codecs::flv::{AudioTagHeader, TagKind, VideoTagHeader};

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};
use crate::verify::{Media, Tag, tags};

const WAIT: &str = "[session]\nplay_wait_ms = 30000\n";

/// Clients that read FourCC tags or do not look into them.
const TAGS: [Client; 5] = [
    Client(Tool::Newer, Way::Rtmp),
    Client(Tool::Newer, Way::Flv),
    Client(Tool::Library, Way::WsFlv),
    Client::RML,
    Client::PLAIN,
];

/// A client of transport streams beside them.
const TRANSPORT: [Client; 1] = [Client(Tool::Plain, Way::Ts)];

/// The number of the track that a tag is of.
fn track_of(tag: &Tag) -> u8 {
    let multitrack = match tag.kind {
        TagKind::Video => VideoTagHeader::parse(&tag.body).ok().and_then(|tag| tag.multitrack),
        TagKind::Audio => AudioTagHeader::parse(&tag.body).ok().and_then(|tag| tag.multitrack),
        _ => None,
    };
    multitrack.map_or(0, |multitrack| multitrack.track_id)
}

/// One track of pictures and one of sound.
fn of_tracks(all: &[Tag], video: u8, audio: u8) -> Media {
    let wanted = |tag: &&Tag| match tag.kind {
        TagKind::Video => track_of(tag) == video,
        TagKind::Audio => track_of(tag) == audio,
        _ => false,
    };
    let mut media = Media::of_tags(&all.iter().filter(wanted).cloned().collect::<Vec<_>>());
    // ffmpeg's last frame of FLAC is empty.
    media.audio.retain(|frame| !frame.is_empty());
    media
}

/// A player, the numbers of the tracks that it must get, and the address that asks for them.
struct Wanted {
    query: &'static str,
    video: u8,
    audio: u8,
}

const FIRST: Wanted = Wanted { query: "", video: 0, audio: 0 };

/// Publishes a clip and plays it with every client and every query.
fn play(backend: Backend, clip: Clip, wanted: &[Wanted], more: &[Client]) {
    let mut options = Options::on(backend);
    options.config = WAIT.to_owned();
    let server = Server::start(&options);
    let mut players = Vec::new();
    for wanted in wanted {
        for &client in TAGS.iter().chain(more) {
            let player = Player::start(client, &server, &format!("enhanced{}", wanted.query));
            players.push((wanted, player));
        }
    }
    server.wait_for_players("enhanced", players.len());
    let publisher = Publisher::ffmpeg_newer(clip, &server.rtmp_url("enhanced"));
    let all = tags(&clip.bytes());
    publisher.finish();
    for (wanted, player) in players {
        let published = of_tracks(&all, wanted.video, wanted.audio);
        assert!(!published.video.is_empty() && !published.audio.is_empty(), "{clip:?} has both");
        let (client, got) = player.finish();
        let who = format!("{client:?}{} of {clip:?}", wanted.query);
        got.assert_whole(&published, &who);
        // ffmpeg writes records of its own, that of VP9 even when it publishes a copy.
        let own = client.0 == Tool::Newer || clip == Clip::Vp9;
        if !own && !client.1.is_transport() {
            // The record at the end of the file, with what the encoder knows then, is not sent.
            let told = |configs: &[Vec<u8>]| configs.iter().find(|one| !one.is_empty()).cloned();
            assert_eq!(told(&got.video_configs), told(&published.video_configs), "{who}: pictures");
            assert_eq!(told(&got.audio_configs), told(&published.audio_configs), "{who}: sound");
        }
    }
    server.stop();
}

fn vp9(backend: Backend) {
    play(backend, Clip::Vp9, &[FIRST], &[]);
}

fn opus(backend: Backend) {
    play(backend, Clip::Opus, &[FIRST], &[]);
}

fn ac3(backend: Backend) {
    play(backend, Clip::Ac3, &[FIRST], &[]);
}

fn eac3(backend: Backend) {
    play(backend, Clip::Eac3, &[FIRST], &[]);
}

fn flac(backend: Backend) {
    play(backend, Clip::Flac, &[FIRST], &[]);
}

fn two_sounds(backend: Backend) {
    let second = Wanted { query: "?track=1", video: 0, audio: 1 };
    play(backend, Clip::TwoSounds, &[FIRST, second], &[]);
}

fn two_pictures(backend: Backend) {
    let second = Wanted { query: "?track=1", video: 1, audio: 0 };
    play(backend, Clip::TwoPictures, &[FIRST, second], &TRANSPORT);
}

on_both_backends!(vp9 opus ac3 eac3 flac two_sounds two_pictures);

#[test]
fn every_track_is_shown_by_the_api_and_probed_alone() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_newer(Clip::TwoPictures, &server.rtmp_url("many"));
    let streams = server.api_until("/api/v1/streams", |streams| {
        streams["streams"][0]["tracks"].as_array().is_some_and(|tracks| {
            tracks.len() == 3 && tracks.iter().all(|track| track["bps"].as_u64() > Some(0))
        })
    });
    let told: Vec<_> = streams["streams"][0]["tracks"]
        .as_array()
        .expect("the stream has tracks")
        .iter()
        .map(|track| (track["kind"].as_str(), track["id"].as_u64(), track["width"].as_u64()))
        .collect();
    for track in [
        (Some("video"), Some(0), Some(640)),
        (Some("video"), Some(1), Some(320)),
        (Some("audio"), Some(0), None),
    ] {
        assert!(told.contains(&track), "{track:?} in {told:?}");
    }
    for (query, size) in [("", "640x360"), ("?track=1", "320x180")] {
        let text = server.probe(&format!("many{query}"));
        assert!(text.contains(size), "{query}: {text}");
        assert!(text.contains("video 0") && !text.contains("video 1"), "one plain track: {text}");
    }
    publisher.interrupt();
    server.stop();
}
