//! The console at the control listener.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use super::watch::{console, with_demo};

#[test]
fn the_console_shows_the_node_to_whoever_has_the_token() {
    let server = with_demo();
    let mut player = TcpStream::connect(server.http).expect("the server listens");
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    server.wait_for_players("demo", 1);
    let report = console(&server, "demo");
    drop(player);
    assert!(report["failed"].is_null(), "{report:#}");
    assert_eq!(report["problems"], json!([]), "{report:#}");
    assert_eq!(report["refused"], "This is not the token.", "{report:#}");
    let policy = report["policy"].as_str().expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let seen = |view: &str| report["views"][view].as_str().expect("text").to_owned();
    assert!(seen("streams").contains("live") && seen("streams").contains("h264"), "{report:#}");
    assert_eq!(report["play"], format!("http://127.0.0.1:{}/demo", server.http.port()));
    assert!(seen("shards").contains("Shard 0") && seen("shards").contains("Shard 1"));
    let views = report["views"].as_object().expect("texts");
    assert!(views.values().all(|view| !view.to_string().contains("[object")), "{report:#}");
    assert!(seen("config").contains("auth.mode"), "{report:#}");
    assert_eq!(report["health"], "ready", "{report:#}");
    assert_eq!(report["wide"], false, "{report:#}");
    assert_eq!(report["wideOnTelephone"], false, "{report:#}");
    assert_eq!(report["left"], 0, "nothing of the token stays: {report:#}");
    server.stop();
}
