//! The dialect of nginx-rtmp-module.

use dataplane::control::{AuthorizeRequest, Intent, Protocol};

use super::super::tests::{Bench, stream_of};
use super::rig::*;
use crate::dialect::{Dialect, Verb};
use crate::outbound::scripted::{Application as Scripted, Reply};

#[tokio::test]
async fn nginx_rtmp_is_a_form_and_a_location_renames() {
    let scripted = Scripted::start(|_| Reply::status(201, "", ""));
    let url = scripted.url("/on?app=mine");
    let told = ask(speaking(Dialect::NginxRtmp, &url), &scripted, &ALL).await;
    let client = "flashver=OBS%2F1%20%28%C3%A9%29&swfurl=\
                  &tcurl=rtmp%3A%2F%2Fvideo.example%3A1935%2Flive\
                  &pageurl=http%3A%2F%2Fpage.example%2F%3Fa%3Db&addr=192.0.2.7&clientid=7";
    // What a peer calls like a field of ours is not passed on.
    let forms = [
        format!("app=live&{client}&epoch=0&call=connect&token=a%26b&name=x"),
        format!("app=live&{client}&call=publish&name=cam-1&type=live&token=a%26b"),
        format!(
            "app=live&{client}&call=play&name=cam-1&start=4294965296&duration=0&reset=0&\
             token=a%26b"
        ),
    ];
    for ((verdict, seen), (form, name)) in
        told.iter().zip(forms.iter().zip(["live", "cam-1", "cam-1"]))
    {
        assert!(seen.starts_with("POST /on?app=mine HTTP/1.1\r\n"), "{seen}");
        assert_eq!(header(seen, "content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!((body(seen), verdict.as_str()), (form.as_str(), name));
    }
    let mut rules = speaking(Dialect::NginxRtmp, &url);
    if let Some(application) = &mut rules.application {
        application.verb = Verb::Get;
    }
    let told = ask(rules, &scripted, &[Intent::Publish]).await;
    let line = format!("GET /on?app=mine&{} HTTP/1.1\r\n", forms[1]);
    assert!(told[0].1.starts_with(&line) && body(&told[0].1).is_empty(), "{}", told[0].1);

    let to = |location: &str| Reply::status(302, &format!("location: {location}\r\n"), "");
    let mut table = vec![
        (Reply::status(200, "", "whatever"), "news/cam"),
        (Reply::status(204, "", ""), "news/cam"),
        (to("other"), "news/other"),
        (Reply::status(301, "location: other-2\r\n", ""), "news/other-2"),
        (Reply::status(302, "", ""), "news/cam"),
        (to("../etc"), "unavailable"),
        (to("http://elsewhere.example/x"), "unavailable"),
        (to("//elsewhere.example/x"), "unavailable"),
        (to("rtmp://h/live/other"), "other"),
        (to("RTMP://H:1935/sport/other"), "sport/other"),
        (to("rtmp://h.elsewhere.example/live/other"), "rtmp://h.elsewhere.example/live/other"),
        (to("RTMP://h:1936/live/other?a=b"), "rtmp://h:1936/live/other?a=b"),
        (to("rtmps://h/live/other"), "rtmps://h/live/other"),
        (to("rtmp://h"), "unavailable"),
        (to("rtmp:///live/other"), "unavailable"),
        (to("rtmp://elsewhere/"), "unavailable"),
        (to("rtmp://user:pw@elsewhere/live/other"), "unavailable"),
        (to("rtmp://elsewhere/live/a b"), "unavailable"),
        (to("rtmp://elsewhere/live/\"a"), "unavailable"),
        (to("javascript://elsewhere/live/a"), "unavailable"),
        (to(&format!("rtmp://elsewhere/{}", "x".repeat(256))), "unavailable"),
        (to("a b"), "unavailable"),
        (to(&"x".repeat(200)), "unavailable"),
        (to("\u{e9}"), "unavailable"),
    ];
    table.extend(nonsense());
    answers(Dialect::NginxRtmp, &table).await;
    // A connection cannot be told that it is in another application.
    let elsewhere = Scripted::start(|_| Reply::status(302, "location: other\r\n", ""));
    let rules = speaking(Dialect::NginxRtmp, &elsewhere.url("/"));
    assert_eq!(ask(rules, &elsewhere, &[Intent::Connect]).await[0].0, "unavailable");
}

/// A player of HTTP goes to the same host by the port and in the format that it asked for here.
#[tokio::test]
async fn nginx_rtmp_sends_players_of_http_where_it_sends_those_of_rtmp() {
    let hls = "edge-1.example:8080/live/cam-1/index.m3u8";
    for (location, url, tls, expected) in [
        (
            "rtmp://edge-2.example/live/other",
            hls,
            false,
            "http://edge-2.example:8080/live/other/index.m3u8",
        ),
        (
            "rtmp://edge-2.example:1936/a/b?t=1",
            "h/live/cam-1.flv",
            true,
            "https://edge-2.example/a/b.flv?t=1",
        ),
        ("rtmp://[::1]:1936/a/b", "[::2]:99/cam-1.ts", false, "http://[::1]:99/a/b.ts"),
        ("https://cdn.example/x.m3u8?y", hls, false, "https://cdn.example/x.m3u8?y"),
        ("rtmp://edge-1.example/live/other", hls, false, "other"),
        ("rtmp://EDGE-1.example:1935/live/other", hls, false, "other"),
        ("rtmp://edge-1.example:1940/sport/other", hls, false, "sport/other"),
        // Another server of the same host.
        (
            "rtmp://edge-1.example:1936/live/other",
            hls,
            false,
            "http://edge-1.example:8080/live/other/index.m3u8",
        ),
        (
            "rtmp://edge-1.example:99999/live/other",
            hls,
            false,
            "http://edge-1.example:8080/live/other/index.m3u8",
        ),
        // Where RTMP comes here by another port than ours, the same would be asked for anew.
        ("rtmp://EDGE-1.example:1936/live/cam-1?t=1", hls, false, "cam-1"),
        ("rtmp://edge-1.example:1936/live/cam%2D1", hls, true, "cam-1"),
        (
            "rtmp://edge-1.example:1936/sport/cam-1",
            hls,
            false,
            "http://edge-1.example:8080/sport/cam-1/index.m3u8",
        ),
        ("rtmp://[::2]/a/b", "[::2]:99/cam-1.ts", false, "a/b"),
        ("rtmp://[::2]:1936/a/b", "[::2]:99/cam-1.ts", false, "http://[::2]:99/a/b.ts"),
    ] {
        let head = format!("location: {location}\r\n");
        let scripted = Scripted::start(move |_| Reply::status(302, &head, ""));
        let asked = AuthorizeRequest {
            protocol: if url == hls { Protocol::Hls } else { Protocol::HttpFlv },
            tls,
            url: url.into(),
            ..peer(Intent::Play)
        };
        let mut bench = Bench::new(speaking(Dialect::NginxRtmp, &scripted.url("/")));
        assert_eq!(stream_of(&bench.verdict(asked).await), expected, "{location}");
    }
}

/// Who wants to switch to WebSocket goes where that is spoken, and a connection elsewhere whole.
#[tokio::test]
async fn nginx_rtmp_sends_elsewhere_by_the_protocol_that_is_spoken() {
    for (location, protocol, tls, expected) in [
        ("rtmp://edge-2.example/a/b", Protocol::WsFlv, false, "ws://edge-2.example:8080/a/b.flv"),
        ("rtmp://edge-2.example/a/b", Protocol::WsTs, true, "wss://edge-2.example:8080/a/b.flv"),
        ("wss://edge-2.example/x", Protocol::WsFlv, false, "wss://edge-2.example/x"),
        ("ws://edge-2.example/x", Protocol::WsTs, false, "ws://edge-2.example/x"),
        ("https://edge-2.example/x", Protocol::WsFlv, false, "https://edge-2.example/x"),
        ("ws://edge-2.example/x", Protocol::HttpFlv, false, "unavailable"),
    ] {
        let head = format!("location: {location}\r\n");
        let scripted = Scripted::start(move |_| Reply::status(302, &head, ""));
        let url = "edge-1.example:8080/cam-1.flv".into();
        let asked = AuthorizeRequest { protocol, tls, url, ..peer(Intent::Play) };
        let mut bench = Bench::new(speaking(Dialect::NginxRtmp, &scripted.url("/")));
        assert_eq!(stream_of(&bench.verdict(asked).await), expected, "{location}");
    }
    // One of RTMP cannot be sent to an address of HTTP; a connection goes to another server whole.
    for (location, expected) in [
        ("https://cdn.example/x.m3u8", "unavailable"),
        ("rtmp://edge-2.example/live", "rtmp://edge-2.example/live"),
        ("rtmp://video.example/live", "unavailable"),
    ] {
        let head = format!("location: {location}\r\n");
        let scripted = Scripted::start(move |_| Reply::status(302, &head, ""));
        let rules = speaking(Dialect::NginxRtmp, &scripted.url("/"));
        assert_eq!(ask(rules, &scripted, &[Intent::Connect]).await[0].0, expected, "{location}");
    }
}
