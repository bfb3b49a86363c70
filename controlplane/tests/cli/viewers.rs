//! Viewers of HLS against the program: they are counted wherever players are, and who came in by an
//! address that was signed stays when its time is over, whatever is read again.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::program::{Dir, PATIENCE, Server, get, http, output, status};
use crate::shards::api;

const SECRET: &str = "5igning-5ecret-of-this-very-test";
/// Many requests, so that both shards have some of them.
const REQUESTS: usize = 16;

/// Who may view does not hang on what else the machine does.
fn config(enforce: bool) -> String {
    format!(
        "[auth]\nmode = \"signed\"\n[auth.signed]\nenforce = {enforce}\nleeway_ms = 0\n\
         [[auth.signed.keys]]\nid = \"main\"\nsecret = \"{SECRET}\"\n\
         [limits]\nadmission = \"off\"\n[demo]\nenabled = true\n[hls]\nsegment_ms = 1000\n\
         verdict_ms = 600000\n"
    )
}

/// An address of the demo that is over in so many seconds.
fn signature(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires = now + seconds;
    let text = format!("grandstand-signed-url-1\nplay\ndemo\n{expires}\n\n\nmain");
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).unwrap();
    let signature = mac.chain_update(text).finalize().into_bytes();
    format!("exp={expires}&kid=main&sig={}", URL_SAFE_NO_PAD.encode(signature))
}

fn ask(server: &Server, target: &str) -> String {
    get(server.addr("http"), target, "")
}

/// Asks again and again until the answer has that status; while it has another one, `view` is
/// watched.
fn until(server: &Server, target: &str, expected: &str, view: Option<&str>) -> String {
    let late = Instant::now() + PATIENCE;
    loop {
        let answer = ask(server, target);
        if status(&answer) == expected {
            return answer;
        }
        assert!(Instant::now() < late, "{target}: {answer}");
        if let Some(view) = view {
            watch(server, view, 1);
        }
        std::thread::yield_now();
    }
}

fn watch(server: &Server, view: &str, requests: usize) {
    for _ in 0..requests {
        assert_eq!(status(&ask(server, view)), "200", "{view}");
    }
}

/// The sum of a counter over all shards.
fn counted(server: &Server, name: &str) -> u64 {
    let metrics = get(server.addr("control"), "/metrics", "");
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("grandstand_{name}")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_viewer_is_seen_wherever_players_are() {
    let dir = Dir::new("counted");
    dir.write(
        "g.toml",
        "[auth]\nmode = \"open\"\n[limits]\nadmission = \"off\"\n[demo]\nenabled = true\n\
         [hls]\nsession = \"token\"\nsegment_ms = 1000\nsession_idle_ms = 600000\n",
    );
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let control = server.addr("control");
    until(&server, "/demo/index.m3u8", "200", None);
    let viewers_of = |stream: &Value| {
        assert_eq!(stream["players"], 0, "{stream}");
        stream["viewers"].as_u64().unwrap()
    };
    for viewers in 0..=2 {
        // Whoever reads a playlist of renditions and no more is none.
        let index = ask(&server, "/demo/index.m3u8");
        let media = index.lines().find(|line| line.starts_with("media.m3u8?")).expect("a token");
        agree(viewers, &|| viewers_of(&api(&dir, control, "/api/v1/streams/demo")));
        agree(viewers, &|| viewers_of(&api(&dir, control, "/api/v1/streams")["streams"][0]));
        agree(viewers, &|| {
            let told = api(&dir, control, "/api/v1/sessions");
            let sessions = told["sessions"].as_array().unwrap().iter();
            sessions.filter(|session| session["protocol"] == "hls").count() as u64
        });
        agree(viewers, &|| {
            let told = api(&dir, control, "/api/v1/shards");
            let shards = told["shards"].as_array().unwrap().iter();
            shards.map(|shard| shard["viewers"].as_u64().unwrap()).sum()
        });
        agree(viewers, &|| counted(&server, "viewers{"));
        let url = format!("http://{control}/");
        let (_, shown, _) = output(&mut dir.command(&["top", "--once", "--url", &url]));
        assert!(shown.contains(&format!("\n0 players, {viewers} viewers, ")), "{shown}");
        let row = shown.lines().find(|line| line.starts_with("demo ")).expect("the demo");
        let columns: Vec<_> = row.split_whitespace().skip(2).take(3).collect();
        assert_eq!(columns, ["live", "0", &viewers.to_string()], "{shown}");
        watch(&server, &format!("/demo/{media}"), REQUESTS);
    }
}

/// Asks until that many viewers are told of.
fn agree(viewers: u64, told: &dyn Fn() -> u64) {
    let late = Instant::now() + PATIENCE;
    loop {
        let told = told();
        if told == viewers {
            return;
        }
        assert!(Instant::now() < late, "{told} viewers, not {viewers}");
    }
}

#[test]
fn who_came_in_by_a_signature_stays_when_it_is_over() {
    let dir = Dir::new("stays");
    dir.write("g.toml", &config(false));
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    // There is something to view.
    until(&server, &format!("/demo/index.m3u8?{}", signature(3_600)), "200", None);
    let entrance = format!("/demo/index.m3u8?{}", signature(4));
    let index = ask(&server, &entrance);
    assert_eq!(status(&index), "200", "{index}");
    let media = index.lines().find(|line| line.starts_with("media.m3u8?")).expect("a token");
    let view = format!("/demo/{media}");
    watch(&server, &view, REQUESTS);
    // Nobody else comes in by it once it is over, though it was allowed a moment ago.
    until(&server, &entrance, "403", Some(&view));
    let asked = counted(&server, "authorize_asked_total");
    server.signal(libc::SIGHUP);
    server.reloaded();
    watch(&server, &view, REQUESTS);
    server.settled();
    let again = counted(&server, "authorize_asked_total");
    assert!(again > asked, "he was asked about");
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let forget = format!(
        "DELETE /api/v1/auth/cache HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    let forgotten = http(server.addr("control"), &forget);
    assert!(status(&forgotten).starts_with('2'), "{forgotten}");
    server.settled();
    watch(&server, &view, REQUESTS);
    server.settled();
    assert!(counted(&server, "authorize_asked_total") > again, "he was asked about again");
    watch(&server, &view, REQUESTS);
    assert_eq!(status(&ask(&server, &entrance)), "403");
    assert_eq!(counted(&server, "views_ended_total"), 0);
    // Where the time is kept to he leaves when he is asked about.
    dir.write("g.toml", &config(true));
    server.signal(libc::SIGHUP);
    server.reloaded();
    until(&server, &view, "403", None);
}
