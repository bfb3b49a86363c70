//! The running server: the control listener, the demo, signals and reloads.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::{Dir, PATIENCE, Server, get, http, status};

#[test]
fn the_control_listener_tells_everybody_how_it_is_and_the_rest_to_the_token() {
    let dir = Dir::new("api");
    let server = Server::start(&mut dir.command(&[]));
    let addr = server.addr("control");
    for (path, part) in [
        ("/healthz", "\r\n\r\nok\n"),
        ("/readyz", "\r\n\r\nready\n"),
        ("/metrics", "\ngrandstand_shard_up{shard=\"1\"} 1\n"),
        ("/metrics", "\nprocess_resident_memory_bytes "),
        ("/api/v1/version", concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"")),
    ] {
        let reply = get(addr, path, "");
        assert_eq!(status(&reply), "200", "{path}");
        assert!(reply.contains(part), "{path}: {part:?}\n{reply}");
    }
    let path = dir.0.join("grandstand-data/api-token");
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
            & 0o777
    };
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    let token = std::fs::read_to_string(&path).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    for (path, part) in [
        ("/api/v1/shards", "\"missing\":[]"),
        ("/api/v1/shards", "\"room\":{\"players\":"),
        ("/api/v1/shards", "\"limited_by\":\""),
        ("/api/v1/streams", "\"name\":\"demo\""),
        ("/api/v1/sessions", "\"sessions\":["),
    ] {
        assert_eq!(status(&get(addr, path, "")), "401", "{path}");
        assert_eq!(status(&get(addr, path, "Authorization: Bearer x\r\n")), "401", "{path}");
        let reply = get(addr, path, &right);
        assert!(status(&reply) == "200" && reply.contains(part), "{path}\n{reply}");
    }
    let reply = get(addr, "/nothing", &right);
    assert!(reply.contains(r#"{"error":{"code":"not_found","#), "{reply}");
    let post = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    assert_eq!(status(&http(addr, &format!("{post}Content-Length: 0\r\n\r\n"))), "405");
    let other = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&http(addr, other)), "421");
    assert!(!server.banner.contains(token.trim()), "the token is in its file alone");
}

#[test]
fn a_stream_is_moved_or_it_is_said_why_not() {
    let dir = Dir::new("move");
    let server = Server::start(dir.command(&[]).env("GRANDSTAND_SHARDS__COUNT", "2"));
    let addr = server.addr("control");
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let post = |token: &str, json: &str| {
        http(
            addr,
            &format!(
                "POST /api/v1/shards/move HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{json}",
                token.trim(),
                json.len()
            ),
        )
    };
    assert_eq!(status(&post("x", r#"{"stream":"demo","shard":1}"#)), "401");
    for (json, code, word) in [
        (r#"{"stream":"nobody","shard":1}"#, "404", "unknown_stream"),
        (r#"{"stream":"demo","shard":2}"#, "404", "unknown_shard"),
        (r#"{"stream":"demo","shard":65535}"#, "404", "unknown_shard"),
        (r#"{"stream":"../demo","shard":1}"#, "400", "bad_stream_name"),
        (r#"{"stream":"demo","shard":65536}"#, "422", "bad_body"),
        (r#"{"stream":"demo","shard":1,"now":true}"#, "422", "bad_body"),
        (r#"{"stream":"demo"}"#, "422", "bad_body"),
        ("move it", "400", "bad_body"),
    ] {
        let reply = post(&token, json);
        assert_eq!(status(&reply), code, "{json}: {reply}");
        assert!(reply.contains(&format!("\"code\":\"{word}\"")), "{json}: {reply}");
    }
    let mut player = TcpStream::connect(server.addr("http")).unwrap();
    player.set_read_timeout(Some(PATIENCE)).unwrap();
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for shard in [0, 1, 0, 1] {
        let reply = post(&token, &format!("{{\"stream\":\"demo\",\"shard\":{shard}}}"));
        assert_eq!(status(&reply), "200", "{reply}");
        assert!(reply.contains(&format!("\"shard\":{shard},")), "{reply}");
        player.read_exact(&mut [0; 32 << 10]).unwrap();
    }
    let reply = post(&token, r#"{"stream":"demo","shard":1}"#);
    assert!(reply.contains(r#""from":1,"moved":false"#), "{reply}");
    assert_eq!(
        status(&get(
            addr,
            "/api/v1/shards/move",
            &format!("Authorization: Bearer {}\r\n", token.trim())
        )),
        "405"
    );
}

#[test]
fn the_demo_plays_without_a_file_and_stops_with_one() {
    let dir = Dir::new("demo");
    let server = Server::start(&mut dir.command(&[]));
    let mut stream = TcpStream::connect(server.addr("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reply = vec![0; 4096];
    stream.read_exact(&mut reply).unwrap();
    let body = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(&reply[body..body + 3], b"FLV");
    drop((stream, server));
    dir.write("g.toml", "[auth]\nmode = \"open\"\n");
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(!server.banner.contains("demo"), "{}", server.banner);
    assert_eq!(status(&get(server.addr("http"), "/demo.flv", "")), "404");
    drop(server);
    let url = ("EVENT_CALLBACK_URL", "http://127.0.0.1:1/");
    let mut server = Server::start(dir.command(&[]).env(url.0, url.1));
    assert!(!server.banner.contains("demo"), "{}", server.banner);
    server.log_line("variables of the coordinator's family are in use");
}

#[test]
fn a_signal_ends_the_server_in_order_and_in_time() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = Dir::new(&format!("signal-{signal}"));
        let server = Server::start(&mut dir.command(&[]));
        let mut player = TcpStream::connect(server.addr("http")).unwrap();
        player.set_read_timeout(Some(PATIENCE)).unwrap();
        player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        player.read_exact(&mut [0; 1024]).unwrap();
        let asked = Instant::now();
        server.signal(signal);
        let mut rest = Vec::new();
        player.read_to_end(&mut rest).unwrap();
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{log}");
        assert!(log.contains("ending: nobody new is accepted"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let dir = Dir::new("twice");
    let mut server = Server::start(&mut dir.command(&[]));
    // A player that reads nothing keeps the farewell waiting.
    let mut player = TcpStream::connect(server.addr("http")).unwrap();
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    player.read_exact(&mut [0; 64]).unwrap();
    server.signal(libc::SIGTERM);
    server.log_line("ending: nobody new is accepted");
    let asked = Instant::now();
    server.signal(libc::SIGTERM);
    let (code, log) = server.end();
    // The first may have been enough by now.
    assert!(matches!(code, Some(0 | 1)), "{code:?}: {log}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{log}");
}

#[test]
fn a_hangup_reloads_what_can_be_and_names_the_rest() {
    let dir = Dir::new("hangup");
    let auth = "[auth]\nmode = \"open\"\n";
    let http = "[listeners.http]\naddr = \"127.0.0.1:0\"\n";
    let auth = format!("{auth}{http}");
    dir.write("g.toml", &auth);
    let mut command = dir.command(&["--config", "g.toml"]);
    let mut server = Server::start(command.env_remove("GRANDSTAND_LISTENERS__HTTP__ADDR"));
    dir.write("g.toml", &format!("{auth}[egress]\nbatch_ms_max = \"soon\"\n"));
    server.signal(libc::SIGHUP);
    let line = server.log_line("reload refused");
    assert!(line.contains("g.toml:6: egress.batch_ms_max: expected"), "{line}");
    // An address that no other test takes while nobody holds it.
    let held = TcpListener::bind("127.0.0.77:0").unwrap();
    let addr = held.local_addr().unwrap();
    let listener = format!("[listeners.http]\naddr = [\"127.0.0.1:0\", \"{addr}\"]\n");
    dir.write("g.toml", &auth.replace(http, &listener));
    server.signal(libc::SIGHUP);
    assert!(
        server.log_line("reload refused").contains("for listeners.http: address already in use")
    );
    drop(held);
    // A program that another test starts just now may hold a copy of the socket until it runs.
    let tries = (0..100).position(|_| {
        server.signal(libc::SIGHUP);
        server.log_line("server::reload").contains("reloaded")
    });
    assert!(tries.is_some(), "{addr} is free now");
    server.settled();
    for addr in [server.addr("http"), addr] {
        assert_eq!(status(&get(addr, "/streams.json", "")), "200");
    }
    let fresh = "[egress]\nbatch_ms_max = 50\n[limits]\nstreams_max = 77\n[reactor]\n\
                 recv_buffers = 256\n";
    dir.write("g.toml", &format!("{auth}{fresh}"));
    server.signal(libc::SIGHUP);
    let line = server.reloaded();
    assert!(
        line.contains("applied=\"listeners.http.addr limits.streams_max egress.batch_ms_max\""),
        "{line}"
    );
    let line = server.log_line("needs a restart");
    assert!(line.contains("key=\"reactor.recv_buffers\""), "{line}");
    let metrics = get(server.addr("control"), "/metrics", "");
    assert!(metrics.contains("\ngrandstand_limit{limit=\"streams_max\"} 77\n"), "{metrics}");
    dir.write("g.toml", &format!("{auth}[log]\nlevel = \"debug\"\n"));
    server.signal(libc::SIGHUP);
    server.reloaded();
    assert_eq!(status(&get(server.addr("http"), "/streams.json", "")), "200");
    server.log_line("DEBUG");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn commands_want_their_own_credential_and_tell_of_this_node() {
    let dir = Dir::new("commands");
    let mut command = dir.command(&[]);
    command.env("COMMANDS_API_AUTH", "Basic").env("COMMANDS_API_AUTH_USER", "app");
    command.env("COMMANDS_API_AUTH_PASSWORD", "pw").env("SERVER_CAPACITY", "8");
    command.env("EXTERNAL_IP", "192.0.2.9");
    let server = Server::start(&mut command);
    let control = server.addr("control");
    let right = "Authorization: Basic YXBwOnB3\r\n";
    let reply = get(control, "/commands/capacity", right);
    assert_eq!(status(&reply), "200", "{reply}");
    assert!(reply.contains("\r\ncontent-type: application/json\r\n"), "{reply}");
    assert!(reply.contains("\r\ncache-control: no-cache\r\n"), "{reply}");
    assert!(reply.ends_with("{\"load\":0,\"capacity\":8,\"encoderCount\":1}"), "{reply}");
    let reply = get(control, "/commands/report", right);
    let port = server.addr("rtmp").port();
    let expected = format!(
        "{{\"streamingServers\":[{{\"id\":1,\"ip\":\"192.0.2.9\",\"port\":{port},\"ssl\":false,\
         \"serverType\":\"RTMP\"}}],\"encoders\":[{{\"id\":1,\"capacity\":8,\"load\":0}}],\
         \"activeStreams\":[]}}"
    );
    assert!(reply.ends_with(&expected), "{reply}");
    let close = |headers: &str| {
        let head = "POST /commands/close HTTP/1.1\r\nHost: coordinator.example\r\n\
                    Connection: close\r\nContent-Length: 0\r\nx-streaming-channel: nobody\r\n\
                    x-streaming-id: *\r\n";
        http(control, &format!("{head}{headers}\r\n"))
    };
    let reply = close(right);
    assert!(status(&reply) == "200" && reply.ends_with("SUCCESS"), "{reply}");
    for wrong in ["", "Authorization: Basic YXBwOnB4\r\n", "Authorization: Bearer pw\r\n"] {
        assert_eq!(status(&close(wrong)), "401");
        assert_eq!(status(&get(control, "/commands/capacity", wrong)), "401");
        assert_eq!(status(&get(control, "/commands/report", wrong)), "401");
    }
}
