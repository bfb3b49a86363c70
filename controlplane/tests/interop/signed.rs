//! Signed addresses and tokens in the hands of real encoders and players.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clip::{Clip, FFMPEG};
use crate::hls::wait_for_signed_list;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

const SIGNING: &str = "5igning-5ecret-of-encoders-here!";
const ISSUING: &str = "i55uing-5ecret-of-encoders-here!";
/// A program ends within this after it was refused, or sent away.
const END: Duration = Duration::from_secs(40);

fn start() -> Server {
    let config = format!(
        "[auth.signed]\nenforce = true\n[[auth.signed.keys]]\nid = \"main\"\n\
         secret = \"{SIGNING}\"\ntenant = \"acme\"\n[[auth.jwt.keys]]\nsecret = \"{ISSUING}\"\n\
         [[streams.stream]]\ncode = \"studio\"\nauth = [\"signed\", \"jwt\"]\n\
         inputs = [{{ url = \"publish://\" }}]\n\
         [[streams.stream]]\ncode = \"other\"\ntenant = \"nobody\"\nauth = [\"signed\", \"jwt\"]\n\
         inputs = [{{ url = \"publish://\" }}]\n\
         [log]\nlevel = \"trace\"\n"
    );
    Server::start(&Options { config, ..Options::on(Backend::Auto) })
}

/// The query that `grandstand sign` prints for the configuration of this server.
fn signed(server: &Server, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand"));
    command.arg("--config").arg(server.folder().join("test.toml")).arg("sign").args(args);
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let query = said.lines().find_map(|line| line.strip_prefix("query"));
    query.expect("a query is printed").trim().to_owned()
}

/// A token with which an encoder may publish.
fn token(stream: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let claims = format!(
        r#"{{"exp":{},"streams":"{stream}","publish":true,"tenant":"globex"}}"#,
        now + 3600
    );
    let letters = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let unsigned = format!("{}.{}", letters(br#"{"alg":"HS256"}"#), letters(claims.as_bytes()));
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(ISSUING.as_bytes()).expect("any length is one");
    let signature = mac.chain_update(&unsigned).finalize().into_bytes();
    format!("{unsigned}.{}", letters(&signature))
}

/// The addresses of a stream for a player, with a query.
fn addresses(server: &Server, name: &str, query: &str) -> [String; 4] {
    let web = format!("http://{}/{name}", server.http);
    [
        format!("{}?{query}", server.rtmp_url(name)),
        format!("{web}.flv?{query}"),
        format!("{web}.ts?{query}"),
        format!("{web}/index.m3u8?{query}"),
    ]
}

/// What ffprobe is let see of an address: its kinds of streams, or nothing.
fn seen(url: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url]);
    let output = command.output().expect("ffprobe runs: run .ci/setup");
    let said = String::from_utf8_lossy(&output.stdout);
    // With HLS each stream is listed for its program and for itself; scripts of FLV are one, too.
    let mut kinds: Vec<_> = said.lines().filter(|line| !matches!(*line, "" | "text")).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(output.status.success(), !kinds.is_empty(), "{url}: {said}");
    kinds.join(" ")
}

/// Nothing that was shown is told by what the server wrote: `sig=` or the last part of a token.
fn assert_hidden(server: &Server, shown: &[&String]) {
    let log = server.log();
    for shown in shown {
        let signature = shown.rsplit(['=', '.']).next().expect("it has a last part");
        assert!(signature.len() > 40, "{signature} is a signature");
        assert!(!log.contains(signature), "a signature is in the log");
    }
    assert!(!log.contains(SIGNING) && !log.contains(ISSUING), "a secret is in the log");
}

/// Waits until all that was published of a stream is written down as that of `tenant`, and no one
/// else's is.
fn wait_for_bill(server: &Server, stream: &str, tenant: &str) {
    let bill = server.api_until(&format!("/api/v1/usage?stream={stream}"), |bill| {
        let lines = bill["lines"].as_array().expect("there are lines");
        lines.iter().any(|line| line["publish_seconds"].as_f64() > Some(0.0))
    });
    for line in bill["lines"].as_array().expect("there are lines") {
        assert_eq!(line["tenant"], tenant, "{line}");
    }
}

#[test]
fn signed_addresses_open_one_stream_in_one_direction() {
    let server = start();
    let publish = signed(&server, &["--stream", "studio", "--publish", "--for", "1h"]);
    let play = signed(&server, &["--stream", "studio", "--for", "1h"]);
    let other = signed(&server, &["--stream", "other", "--publish", "--for", "1h"]);

    // Neither without, nor with what opens the other direction or another stream.
    let studio = server.rtmp_url("studio");
    for query in ["", &play, &other, &publish.replace("exp=1", "exp=2")] {
        Publisher::ffmpeg(Clip::Small, &format!("{studio}?{query}")).is_refused();
    }
    let encoder = Publisher::ffmpeg_endless(Clip::H264, &format!("{studio}?{publish}"));
    wait_for_signed_list(&server.http.into(), "studio", &play);
    for url in addresses(&server, "studio", &play) {
        assert_eq!(seen(&url), "aac h264", "{url}");
    }
    for query in ["", &publish, &other, &play.replace("kid=main", "kid=mine")] {
        for url in addresses(&server, "studio", query) {
            assert_eq!(seen(&url), "", "{url}");
        }
    }
    assert_eq!(server.api("/api/v1/streams/studio")["tenant"], "acme");
    encoder.interrupt();
    // The stream is its publisher's, whose key has a tenant.
    wait_for_bill(&server, "studio", "acme");
    assert_hidden(&server, &[&publish, &play, &other]);
    server.stop();
}

#[test]
fn a_token_lets_gstreamer_publish_and_a_short_signature_ends_a_player() {
    let server = start();
    let token = token("oth*");
    let play = signed(&server, &["--stream", "other", "--for", "1h"]);
    let url = format!("{}?token={token}", server.rtmp_url("other"));
    let folder = server.folder().to_path_buf();
    // It plays to its end: what ends a player is not the publisher's.
    let encoder = Publisher::ffmpeg_endless(Clip::H264, &url);
    server.api_until("/api/v1/streams?q=other&state=on_air", |answer| {
        answer["streams"][0]["name"] == "other"
    });
    let short = signed(&server, &["--stream", "other", "--for", "5s"]);
    let watch = |query: &str| {
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-i"]);
        command.arg(format!("http://{}/other.flv?{query}", server.http));
        Process::start(command.args(["-c", "copy", "-f", "null", "-"]))
    };
    let (mut sent_away, mut stays) = (watch(&short), watch(&play));
    sent_away.wait(END);
    assert!(stays.is_running(), "{}", stays.output());
    let closed = "/api/v1/sessions?stream=other&status=closed";
    server.api_until(closed, |answer| answer["sessions"][0]["close_reason"] == "expired");
    encoder.interrupt();
    stays.wait(END);

    // GStreamer's own encoders, with the token in the address; not into a stream of another name.
    let foreign = format!("{}?token={token}", server.rtmp_url("studio"));
    Publisher::gstreamer(&foreign, &folder).is_refused();
    let published = Publisher::gstreamer(&url, &folder).finish();
    assert!(!published.video.is_empty(), "it was let in to the end");
    // Whoever let the publisher in knows better than the file whose the stream is.
    wait_for_bill(&server, "other", "globex");
    assert_hidden(&server, &[&play, &short, &token]);
    server.stop();
}
