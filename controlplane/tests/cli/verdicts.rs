//! Who may play, in each mode, and what nobody is told of the keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::program::{Dir, PATIENCE, Server, get, output, status};

/// An application that answers by the key: `open` yes, `move` another name, `slow` never, and no
/// to everybody else. It keeps what it was asked.
struct Application {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Application {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::default());
        let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self { addr, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Until the connection ends.
fn answer(stream: TcpStream, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if let Some(text) = head[from..].strip_prefix("content-length: ") {
                length = text.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        asked.lock().unwrap().push(format!("{head}{body}"));
        let json = r#"{"stream":"demo"}"#;
        let reply = match body.as_str() {
            body if body.contains(r#""key":"open""#) => "204 No Content\r\n\r\n".to_owned(),
            body if body.contains(r#""key":"move""#) => format!(
                "200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
                json.len()
            ),
            body if body.contains(r#""key":"slow""#) => continue,
            _ => "403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        writer.write_all(format!("HTTP/1.1 {reply}").as_bytes()).ok()?;
    }
}

/// The status with which a player of `path` begins.
fn plays(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.addr("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    status(&line).to_owned()
}

/// What the events told of the first `count` verdicts.
fn events(addr: SocketAddr, token: &str, count: usize) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /api/v1/events?types=authorisation.* HTTP/1.1\r\nHost: localhost\r\n\
         Last-Event-ID: {}\r\n{token}\r\n",
        "0".repeat(32)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut reader, mut told) = (BufReader::new(stream), String::new());
    while told.matches("event: authorisation.").count() < count || !told.ends_with("\n\n") {
        assert!(reader.read_line(&mut told).unwrap() > 0, "{told}");
    }
    told
}

#[test]
fn an_application_is_asked_who_may_play_and_nothing_tells_its_keys() {
    let (dir, application) = (Dir::new("callback"), Application::start());
    dir.write(
        "g.toml",
        &format!(
            "[auth]\nmode = \"callback\"\n[auth.callback]\nurl = \"http://{}/verdict\"\n\
             auth = \"bearer\"\ntoken = \"t0k3n-of-ours\"\nsigning_secret = \"s3cret-of-ours\"\n\
             [demo]\nenabled = true\n[log]\nlevel = \"debug\"\n",
            application.addr
        ),
    );
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(!server.banner.contains("warning"), "{}", server.banner);
    // The one that is never answered is asked first, and holds nobody up.
    let mut slow = TcpStream::connect(server.addr("http")).unwrap();
    slow.write_all(b"GET /demo.flv?key=slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for (path, expected) in [
        ("/demo.flv?key=open", "200"),
        ("/demo.ts?key=open", "200"),
        ("/demo.flv?key=hunter2", "403"),
        ("/demo.flv", "403"),
        ("/other.flv?key=move", "200"),
        ("/demo.flv?key=open", "200"),
    ] {
        assert_eq!(plays(&server, path), expected, "{path}");
    }
    let asked = application.asked();
    let about = |part: &str| asked.iter().filter(|text| text.contains(part)).count();
    assert_eq!(about(r#""protocol":"http-flv","#), 5, "the last one was remembered: {asked:#?}");
    assert_eq!(about("authorization: Bearer t0k3n-of-ours\r\n"), asked.len());
    assert_eq!(about("grandstand-signature: t="), asked.len());
    assert_eq!(about(r#""query":"key=hunter2""#), 1);

    let addr = server.addr("control");
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let token = format!("Authorization: Bearer {}\r\n", token.trim());
    let standing = get(addr, "/api/v1/auth", &token);
    for part in [
        r#""play":["callback"]"#,
        &format!(r#""application":"http://{}/verdict""#, application.addr),
        r#""questions":1"#,
        r#"{"intent":"play","outcome":"allowed","count":4}"#,
        r#"{"intent":"play","outcome":"denied","count":2}"#,
        r#""from_cache":1"#,
    ] {
        assert!(standing.contains(part), "{part}: {standing}");
    }
    server.signal(libc::SIGHUP);
    server.reloaded();
    assert_eq!(plays(&server, "/demo.flv?key=open"), "200");
    assert_eq!(application.asked().len(), asked.len() + 1, "a reload forgets");

    let config = get(addr, "/api/v1/config", &token);
    let metrics = get(addr, "/metrics", "");
    for part in [
        "\ngrandstand_auth_plays_total{outcome=\"allowed\"} 5\n",
        "\ngrandstand_auth_shared_total{how=\"remembered\"} 1\n",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let events = events(addr, &token, 7);
    assert!(events.contains("authorisation.denied"), "{events}");
    server.signal(libc::SIGTERM);
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    for secret in ["hunter2", "t0k3n-of-ours", "s3cret-of-ours", "key=open"] {
        for (what, text) in
            [("log", &log), ("config", &config), ("metrics", &metrics), ("events", &events)]
        {
            assert!(!text.contains(secret), "{what} tells {secret}: {text}");
        }
    }
}

#[test]
fn keys_are_hashed_by_the_program_and_open_their_streams() {
    let dir = Dir::new("keys");
    let (code, made, _) = output(&mut dir.command(&["key", "make"]));
    let word = |name| {
        let line = made.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    let (key, hash) = (word("key"), word("hash"));
    assert_eq!(code, Some(0));
    dir.write(
        "g.toml",
        &format!(
            "[auth]\nmode = \"keys\"\n[[auth.keys]]\nstream = \"demo*\"\nkey = \"{hash}\"\n\
             allows = \"play\"\n[demo]\nenabled = true\n"
        ),
    );
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    for (path, expected) in [
        (format!("/demo.flv?key={key}"), "200"),
        (format!("/demo.flv?token={key}"), "200"),
        (format!("/demo.flv?key={}", &key[1..]), "403"),
        (format!("/demo.flv?key={hash}"), "403"),
        ("/demo.flv".to_owned(), "403"),
        (format!("/else.flv?key={key}"), "403"),
    ] {
        assert_eq!(plays(&server, &path), expected, "{path}");
    }
    drop(server);
    let plain = "[auth]\nmode = \"keys\"\n[[auth.keys]]\nstream = \"*\"\nkey = \"hunter2\"\n";
    dir.write("g.toml", plain);
    let (code, _, error) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert!(code == Some(1) && error.contains("`grandstand key hash`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
