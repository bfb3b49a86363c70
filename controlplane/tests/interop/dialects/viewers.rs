//! Viewers of HLS, of whom the application of nginx-rtmp is asked whether they may stay.

use std::sync::OnceLock;

use super::application::{Application, Request};
use super::scenario::{empty, node};
use crate::clip::Clip;
use crate::http_flv::get;
use crate::publisher::Publisher;
use crate::server::Server;

/// The address of the playlist that a new viewer is given.
fn playlist(server: &Server, query: &str) -> String {
    let (status, index) = get(server.http, &format!("/cam/index.m3u8?{query}"), "");
    let index = String::from_utf8(index).expect("a playlist is text");
    let media = index.lines().find(|line| line.starts_with("media.m3u8?"));
    format!("/cam/{}", media.unwrap_or_else(|| panic!("{status} without a list: {index}")))
}

#[test]
fn nginx_rtmp_sends_away_one_viewer_of_hls_and_keeps_another() {
    let first = OnceLock::new();
    let application = Application::start(move |request| {
        let client = request.field("clientid");
        match request.field("call") {
            "play" => drop(first.get_or_init(|| client.to_owned())),
            "update_play" if first.get().is_some_and(|first| first == client) => {
                return empty("403 Forbidden");
            }
            _ => {}
        }
        empty(if request.field("token") == "wrong" { "403 Forbidden" } else { "200 OK" })
    });
    let update = format!("http://{}/update", application.addr);
    let more = [
        ("GRANDSTAND_AUTH__CALLBACK__ON_UPDATE", update.as_str()),
        ("GRANDSTAND_AUTH__CALLBACK__UPDATE_MS", "1000"),
        ("GRANDSTAND_HLS__SESSION", "token"),
    ];
    let server = node("nginx-rtmp", &application, &more);
    let _publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("cam"));
    let of = |call: &'static str| move |request: &Request| request.field("call") == call;
    application.wait(of("publish"));
    // They come with the same, from the same address, and are asked about one by one.
    let viewers = ["token=right&who=1", "token=right&who=1"].map(|query| {
        let media = playlist(&server, query);
        assert_eq!(get(server.http, &media, "").0, 200);
        media
    });
    let told = [1, 2].map(|count| application.wait_for(count, of("play")));
    let done = application.wait(of("play_done"));
    // Whoever was refused is refused with the next request, and shows its token in vain.
    let status = |media: &str| get(server.http, media, "").0;
    assert_eq!(viewers.each_ref().map(|media| status(media)), [403, 200]);
    let who = |request: &Request| {
        let fields = ["clientid", "token", "who", "app", "name", "addr"];
        fields.map(|field| request.field(field).to_owned())
    };
    assert_ne!(who(&told[0]), who(&told[1]));
    let asked =
        |request: &Request| request.field("call") == "update_play" && who(request) == who(&told[1]);
    application.wait(asked);
    assert_eq!(who(&done), who(&told[0]), "it is told of by the number that it was asked about by");
    assert_eq!(get(server.http, "/cam/index.m3u8?token=wrong", "").0, 403);
}
