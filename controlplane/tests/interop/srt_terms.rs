//! On what terms peers of SRT are served: what streams say of them, what is told of them, and what
//! a reload leaves as it was.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::clip::Clip;
use crate::server::{Backend, Server};
use crate::srt::{
    Encoder, PASSPHRASE, Receiver, listening, refused, serve_at_once, session, srt, start,
};

const OTHER: &str = "a secret of players";

fn publishes(stream: &str) -> impl Fn(&Value) -> bool + '_ {
    move |s| {
        let seen = s["protocol"] == "srt" && s["role"] == "publish" && s["stream"] == stream;
        seen && s["bytes_in"].as_u64() > Some(20_000)
    }
}

fn encrypted(backend: Backend) {
    let config = format!(
        "[[streams.template]]\ncode = \"t\"\ninputs = [{{ url = \"publish://\" }}]\n\
         srt_passphrase = \"{PASSPHRASE}\"\n\
         [[streams.stream]]\ncode = \"vault\"\ntemplate = \"t\"\n\
         srt_passphrase = {{ play = \"{OTHER}\" }}\n[log]\nlevel = \"debug\"\n"
    );
    let server = start(backend, &config);
    let secret = format!("streamid=publish:vault&passphrase={PASSPHRASE}&pbkeylen=24");
    let encoders = [secret.as_str(), "streamid=publish:studio"]
        .map(|query| Encoder::endless(srt(&server), Clip::Small, query));
    ["vault", "studio"].iter().for_each(|name| drop(session(&server, publishes(name))));
    let players = [("vault", format!("passphrase={OTHER}")), ("studio", String::new())]
        .map(|(name, query)| Receiver::start(&server, name, &query));
    players.iter().for_each(Receiver::wait_for_media);
    for (name, secret) in [("vault", None), ("vault", Some(PASSPHRASE)), ("studio", Some(OTHER))] {
        let secret = secret.map(|secret| format!("&passphrase={secret}")).unwrap_or_default();
        let said = refused(&server, "play", &format!("streamid={name}{secret}")).to_lowercase();
        assert!(said.contains("password") || said.contains("passphrase"), "{name}{secret}: {said}");
    }
    let shown = server.api("/api/v1/streams/vault?expand=template");
    assert_eq!(shown["spec"]["srt_passphrase"], json!({ "play": "***" }));
    assert_eq!(shown["resolved"]["srt_passphrase"], json!({ "publish": "***", "play": "***" }));
    let told = [server.api("/api/v1/config").to_string(), shown.to_string(), server.log()].concat();
    assert!(!told.contains(PASSPHRASE) && !told.contains(OTHER), "{told}");
    encoders.into_iter().for_each(Encoder::interrupt);
    server.stop();
}

#[test]
fn what_connections_count_is_told_of_each_and_of_their_shards() {
    let server = serve_at_once("");
    let encoder = Encoder::endless(srt(&server), Clip::Small, "streamid=publish:studio");
    let seen = session(&server, publishes("studio"));
    let player = Receiver::start(&server, "studio", "latency=200");
    player.wait_for_media();
    let told = |session: &Value| {
        let id = session["id"].as_str().expect("it has a number");
        let path = format!("/api/v1/sessions/{id}");
        let told = server.api_until(&path, |session| session["srt"]["pktSentACK"] != json!(0));
        told["srt"].clone()
    };
    let publisher = told(&seen);
    let received = publisher["pktRecv"].as_u64().expect("packets are counted");
    assert!(received > 10 && publisher["pktRecvUnique"].as_u64() <= Some(received), "{publisher}");
    assert_eq!((&publisher["encrypted"], &publisher["pktSent"]), (&json!(false), &json!(0)));
    assert_eq!(publisher["msRcvTsbPdDelay"], 120, "{publisher}");
    assert!(publisher["msRTT"].as_f64() > Some(0.0), "{publisher}");
    let plays = |s: &Value| s["protocol"] == "srt" && s["role"] == "play";
    let id = session(&server, plays)["id"].as_str().expect("it has a number").to_owned();
    let path = format!("/api/v1/sessions/{id}");
    server.api_until(&path, |session| {
        let srt = &session["srt"];
        srt["pktSentUnique"].as_u64() > Some(10) && srt["pktRecvACK"].as_u64() > Some(0)
    });
    // Those who left are counted on.
    let sums = || {
        let metrics = server.metrics();
        ["received", "sent"].map(|way| metrics.sum(&format!("srt_packets_{way}_total")))
    };
    let [in_, out] = sums();
    assert!(in_ >= 10.0 && out >= 10.0, "{in_} {out}");
    let (status, said) = move_to_other(&server, &seen);
    assert_eq!((status, &said["error"]["code"]), (409, &json!("publisher_bound")), "{said}");
    encoder.interrupt();
    player.finish();
    let [in_later, out_later] = sums();
    assert!(in_later >= in_ && out_later >= out, "{in_later} {out_later}");
    server.stop();
}

/// Tells the stream of a publisher to go to the other one of two shards.
fn move_to_other(server: &Server, publisher: &Value) -> (u16, Value) {
    let stream = &server.api("/api/v1/streams/studio");
    assert_eq!(stream["publisher"], publisher["id"]);
    let shard = 1 - stream["shard"].as_u64().expect("it is on a shard");
    server.post("/api/v1/shards/move", &json!({ "stream": "studio", "shard": shard }).to_string())
}

/// Where SRT is spoken, in the order of the file.
fn ports(server: &Server) -> Vec<SocketAddr> {
    let config = server.api("/api/v1/config");
    let all = config["listeners"].as_array().expect("listeners are listed");
    let addr = |l: &Value| l["addr"].as_str().and_then(|addr| addr.parse().ok());
    all.iter().filter(|l| l["kind"] == "srt").filter_map(addr).collect()
}

#[test]
fn a_reload_leaves_ports_as_they_were_opened() {
    let also = |streams: &[&str]| {
        let one = |name: &&str| {
            format!("{{ addr = \"127.0.0.1:0\", stream = \"{name}\", mode = \"publish\" }}")
        };
        format!("also = [{}]\n", streams.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let mut options = listening(Backend::Auto, &also(&["a", "b"]));
    // Three ports of two shards each: what they receive into is memory, too.
    options.memory_max = 1 << 30;
    let server = Server::start(&options);
    let [first, a, b] = ports(&server)[..] else { panic!("three ports: {:?}", ports(&server)) };
    let file = server.folder().join("test.toml");
    let text = fs::read_to_string(&file).expect("the file is there");
    let reload = |text: &str| {
        fs::write(&file, text).expect("it can be written");
        server.post("/api/v1/config/reload", "")
    };
    let fewer = text.replace(&also(&["a", "b"]), &also(&["b"]));
    let off = fewer.replace("[listeners.srt]\nenabled = true", "[listeners.srt]\nenabled = false");
    assert!(fewer != text && off != fewer);
    for (text, waits) in [
        (&fewer, &["listeners.srt.also"][..]),
        (&off, &["listeners.srt.enabled", "listeners.srt.also"]),
        // Nobody else has the ports.
        (&fewer, &["listeners.srt.also"]),
    ] {
        let (status, said) = reload(text);
        assert_eq!((status, &said["restart"]), (200, &json!(waits)), "{said}");
        assert_eq!(ports(&server), [first, a, b]);
    }
    // Encoders that name no stream go on where they were.
    let encoders = [a, b].map(|port| Encoder::endless(port, Clip::Small, "mode=caller"));
    ["a", "b"].iter().for_each(|name| drop(session(&server, publishes(name))));
    encoders.into_iter().for_each(Encoder::interrupt);
    assert_eq!(reload(&text).1["restart"], json!([]));
    server.stop();
}

on_both_backends! { encrypted }
