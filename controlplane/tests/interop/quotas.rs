//! Quotas in the hands of real encoders.

use crate::clip::Clip;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// Each stream has as many bits a second as are told, and what becomes of an encoder above them.
fn configured(streams: &[(&str, u64, &str)]) -> String {
    let table = |&(stream, bps, over): &(&str, u64, &str)| {
        format!(
            "[[streams.stream]]\ncode = \"{stream}\"\ninputs = [{{ url = \"publish://\" }}]\n\
             quota = {{ publish_bps_max = {bps}, publish_over = \"{over}\" }}\n"
        )
    };
    streams.iter().map(table).collect()
}

#[test]
fn an_encoder_that_sends_more_than_it_may_is_sent_away_or_told_of() {
    let config = configured(&[
        ("thin", 10_000, "close"),
        ("told", 10_000, "warn"),
        ("wide", 100_000_000, "close"),
    ]);
    let server = Server::start(&Options { config, ..Options::on(Backend::Auto) });
    let publish = |stream| Publisher::ffmpeg_endless(Clip::H264, &server.rtmp_url(stream));
    let encoders = ["thin", "told", "wide"].map(publish);
    server.api_until("/api/v1/sessions?stream=thin&status=closed", |answer| {
        answer["sessions"][0]["close_reason"] == "quota_exceeded"
    });
    let tells = |stream: &str| {
        let is = |line: &str| line.contains("a quota is used up") && line.contains(stream);
        server.log().lines().any(is)
    };
    // Who is only told of goes on, as does who sends no more than it may.
    for (stream, is_told) in [("told", true), ("wide", false)] {
        server.api_until(&format!("/api/v1/streams?q={stream}&state=on_air"), |answer| {
            answer["streams"][0]["name"] == stream && tells(stream) == is_told
        });
    }
    assert!(tells("thin"));
    let [_thin, told, wide] = encoders;
    told.interrupt();
    wide.interrupt();
    server.stop();
}
