//! Who may play, in each mode, and what nobody is told of the keys.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::program::{Dir, Server, get, output, plays};
use crate::receiver::Api;
use crate::requests::{TAKEN, serve};

/// An application that answers by the key: `open` yes, `move` another name, `slow` never, and no
/// to everybody else. It keeps what it was asked.
struct Application {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Application {
    fn start() -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        let addr = serve(move |head, body| {
            let body = String::from_utf8_lossy(body);
            kept.lock().unwrap().push(format!("{head}{body}"));
            let key = |key: &str| body.contains(&format!(r#""key":"{key}""#));
            let moved = r#"{"stream":"demo"}"#;
            match () {
                () if key("open") => Some(TAKEN.to_owned()),
                () if key("move") => Some(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     \r\n{moved}",
                    moved.len()
                )),
                () if key("slow") => None,
                () => Some("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_owned()),
            }
        });
        Self { addr, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
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
        assert_eq!(plays(&server, path, ""), expected, "{path}");
    }
    let asked = application.asked();
    let about = |part: &str| asked.iter().filter(|text| text.contains(part)).count();
    assert_eq!(about(r#""protocol":"http-flv","#), 5, "the last one was remembered: {asked:#?}");
    assert_eq!(about("authorization: Bearer t0k3n-of-ours\r\n"), asked.len());
    assert_eq!(about("grandstand-signature: t="), asked.len());
    assert_eq!(about(r#""query":"key=hunter2""#), 1);

    let (addr, api) = (server.addr("control"), Api::of(&server, &dir));
    let token = api.authorization();
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
    assert_eq!(plays(&server, "/demo.flv?key=open", ""), "200");
    assert_eq!(application.asked().len(), asked.len() + 1, "a reload forgets");

    let config = get(addr, "/api/v1/config", &token);
    let metrics = get(addr, "/metrics", "");
    for part in [
        "\ngrandstand_auth_plays_total{outcome=\"allowed\"} 5\n",
        "\ngrandstand_auth_shared_total{how=\"remembered\"} 1\n",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let events = api.told("?types=authorisation.*", "authorisation.", 7);
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
        assert_eq!(plays(&server, &path, ""), expected, "{path}");
    }
    drop(server);
    let plain = "[auth]\nmode = \"keys\"\n[[auth.keys]]\nstream = \"*\"\nkey = \"hunter2\"\n";
    dir.write("g.toml", plain);
    let (code, _, error) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert!(code == Some(1) && error.contains("`grandstand key hash`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
