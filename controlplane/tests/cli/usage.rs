//! What is billed and bounded, as the operator of a running server sees it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::program::{Dir, PATIENCE, Server, get, status};
use crate::receiver::Api;

/// The demo is acme's, with `quota`.
fn configure(dir: &Dir, quota: &str) {
    let text = format!(
        "[auth]\nmode = \"open\"\n[demo]\nenabled = true\n[usage]\nflush_ms = 100\n\
         [[streams.stream]]\ncode = \"demo\"\ntenant = \"acme\"\nquota = {quota}\n"
    );
    dir.write("grandstand.toml", &text);
}

/// Bytes in and out of the demo by HLS, as they are billed to acme.
fn billed(api: &Api) -> (u64, u64) {
    let path = "/api/v1/usage?tenant=acme&per=tenant&by=month";
    let report = api.ask("GET", path, &Value::Null);
    let lines = report["lines"].as_array().unwrap();
    let hls = lines.iter().filter(|line| line["protocol"] == "hls");
    let sum = |field: &str| hls.clone().map(|line| line[field].as_u64().unwrap()).sum();
    (sum("bytes_in"), sum("bytes_out"))
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < late, "never: {what}");
        std::thread::yield_now();
    }
}

/// Reads the playlist once: the bytes of the request and of its answer.
fn watch(server: &Server) -> (u64, u64) {
    let reply = get(server.addr("http"), "/demo/index.m3u8", "");
    assert_eq!(status(&reply), "200", "{reply}");
    let head = "GET /demo/index.m3u8 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    (head.len() as u64, reply.len() as u64)
}

#[test]
fn what_viewers_counted_is_billed_over_crashes_and_restarts() {
    let dir = Dir::new("billed");
    configure(&dir, "{}");
    let mut sum = (0, 0);
    let mut watch_some = |server: &Server, api: &Api, before: (u64, u64)| {
        assert_eq!(billed(api), before, "nothing was lost or counted twice");
        for _ in 0..5 {
            let (up, down) = watch(server);
            sum = (sum.0 + up, sum.1 + down);
        }
        until("everything is told", || billed(api) == sum);
        sum
    };
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let first = watch_some(&server, &api, (0, 0));
    let is_saved =
        || get(server.addr("control"), "/metrics", "").contains("usage_rows_unsaved 0\n");
    until("everything is written", is_saved);
    server.signal(libc::SIGKILL);
    server.end();

    // Nothing is written before the end of this one.
    let server = Server::start(dir.command(&[]).env("GRANDSTAND_USAGE__FLUSH_MS", "60000"));
    let api = Api::of(&server, &dir);
    let second = watch_some(&server, &api, first);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));

    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    watch_some(&server, &api, second);
}

fn play(server: &Server) -> (TcpStream, String) {
    let mut player = TcpStream::connect(server.addr("http")).unwrap();
    player.set_read_timeout(Some(PATIENCE)).unwrap();
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 12];
    player.read_exact(&mut head).unwrap();
    (player, String::from_utf8(head.to_vec()).unwrap())
}

#[test]
fn a_player_too_many_is_refused_and_told_of() {
    let dir = Dir::new("quota-players");
    configure(&dir, "{ players_max = 1 }");
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let mut told = api.listen("?types=quota.*", None);
    let (mut first, head) = play(&server);
    assert_eq!(head, "HTTP/1.1 200");
    assert_eq!(play(&server).1, "HTTP/1.1 503");
    let event = told.event();
    assert_eq!(event["type"], "quota.exceeded");
    assert_eq!(event["stream"], "demo");
    assert_eq!(event["data"]["quota"], "players_max");
    assert_eq!(event["data"]["max"], 1);
    first.read_exact(&mut [0; 32 << 10]).unwrap();
    // More may play once the file says so.
    configure(&dir, "{ players_max = 2 }");
    server.signal(libc::SIGHUP);
    until("another one may play", || play(&server).1 == "HTTP/1.1 200");
    first.read_exact(&mut [0; 32 << 10]).unwrap();
}

#[test]
fn above_the_bits_of_its_players_nobody_new_is_let_in_and_nobody_is_slowed() {
    let dir = Dir::new("quota-egress");
    configure(&dir, "{ egress_bps_max = 1 }");
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let mut told = api.listen("?types=quota.*", None);
    let (mut first, head) = play(&server);
    assert_eq!(head, "HTTP/1.1 200");
    let event = told.event();
    assert_eq!(event["data"]["quota"], "egress_bps_max");
    assert_eq!(play(&server).1, "HTTP/1.1 503");
    first.read_exact(&mut [0; 64 << 10]).unwrap();
}

#[test]
fn bytes_that_are_used_up_stay_so_over_a_restart() {
    let dir = Dir::new("quota-bytes");
    configure(&dir, "{ bytes_max = 100000, bytes_over = \"close\" }");
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let mut told = api.listen("?types=quota.*", None);
    let (mut player, head) = play(&server);
    assert_eq!(head, "HTTP/1.1 200");
    let event = told.event();
    assert_eq!(event["data"]["quota"], "bytes_max");
    assert_eq!(event["data"]["closes_players"], true);
    player.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(play(&server).1, "HTTP/1.1 503");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));

    let server = Server::start(&mut dir.command(&[]));
    // What was used before is known before the first one asks.
    assert_eq!(play(&server).1, "HTTP/1.1 503");
    let api = Api::of(&server, &dir);
    let event = api.listen("?types=quota.*", Some(&"0".repeat(32))).event();
    assert_eq!(event["data"]["quota"], "bytes_max");
    assert!(event["data"]["used"].as_u64().unwrap() >= 100_000, "{event}");
}

#[test]
fn a_tenant_that_the_api_declared_bounds_its_streams_over_a_restart() {
    let dir = Dir::new("quota-tenant");
    configure(&dir, "{}");
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    api.ask("PUT", "/api/v1/tenants/acme", &json!({ "quota": { "players_max": 1 } }));
    let refused = |server: &Server, api: &Api| {
        let mut told = api.listen("?types=quota.*", None);
        let (mut first, head) = play(server);
        assert_eq!(head, "HTTP/1.1 200");
        assert_eq!(play(server).1, "HTTP/1.1 503");
        let event = told.event();
        assert_eq!(event["stream"], Value::Null);
        assert_eq!(event["data"]["tenant"], "acme");
        assert_eq!(event["data"]["quota"], "players_max");
        first.read_exact(&mut [0; 32 << 10]).unwrap();
    };
    refused(&server, &api);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));

    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    refused(&server, &api);
    // It is in force until it is no more.
    api.ask("DELETE", "/api/v1/tenants/acme", &Value::Null);
    until("another one may play", || {
        let (_first, head) = play(&server);
        head == "HTTP/1.1 200" && play(&server).1 == "HTTP/1.1 200"
    });
    let metrics = get(server.addr("control"), "/metrics", "");
    assert!(!metrics.contains("tenant=\"acme\""), "it is declared no more");
}

#[test]
fn a_declared_tenant_has_metrics_of_its_own() {
    let dir = Dir::new("tenant-metrics");
    configure(&dir, "{}");
    let config = std::fs::read_to_string(dir.0.join("grandstand.toml")).unwrap();
    dir.write("grandstand.toml", &format!("{config}[[streams.tenant]]\ncode = \"acme\"\n"));
    let server = Server::start(&mut dir.command(&[]));
    let metrics = || get(server.addr("control"), "/metrics", "");
    until("it is shown", || {
        metrics().contains("usage_tenant_out_bytes_total{tenant=\"acme\"} 0\n")
    });
    let (up, down) = watch(&server);
    let shown = |way: &str, bytes: u64| {
        metrics().contains(&format!("usage_tenant_{way}_bytes_total{{tenant=\"acme\"}} {bytes}\n"))
    };
    until("it is counted", || shown("in", up) && shown("out", down));
}
