//! Whoever guesses is shut out, on media and API alike, and nobody else is: whoever shares his
//! balancer, whoever shares an address with two hundred others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::program::{Dir, PATIENCE, Server, get, http, output, status};

/// Nobody is exempt, and the first address of this machine is a proxy.
const FILE: &str = "[auth]\nmode = \"keys\"\nplay = \"open\"\n[[auth.keys]]\nstream = \"*\"\n\
    key = \"sha256:000102030405060708090a0b0c0d0e0f:\
    74eb5d5280a326b4036850fb55e71d40e4dd08046b1a40193c81793f8b843eea\"\n[limits]\nexempt = []\n\
    [session]\nproxies = [\"127.0.0.1\"]\n[penalties]\nguesses_max = 5\n\
    [log]\nsecurity_file = \"security.log\"\n[demo]\nenabled = true\n";
/// Its one key.
const KEY: &str = "the-k3y-of-this-very-test";
const GUESSER: &str = "198.51.100.7";
const NEIGHBOUR: &str = "198.51.100.8";

fn token(dir: &Dir) -> String {
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    token.trim().to_owned()
}

/// A request to the API, through the proxy, for that client.
fn call(server: &Server, line: &str, client: &str, token: &str) -> String {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {client}\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    http(server.addr("control"), &request)
}

/// The status of a player's request through the proxy, for that client.
fn plays(server: &Server, client: &str) -> String {
    let mut stream = TcpStream::connect(server.addr("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fields = format!("Host: localhost\r\nX-Forwarded-For: {client}\r\n");
    stream.write_all(format!("GET /demo.flv HTTP/1.1\r\n{fields}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    status(&line).to_owned()
}

/// A connection from that address of this machine.
fn from(source: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let source: IpAddr = source.parse().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The lines of the security log, once `is` holds of them.
fn security(dir: &Dir, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(dir.0.join("security.log")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let lines: Vec<Value> =
            whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if is(&lines) {
            return lines;
        }
        assert!(Instant::now() < deadline, "never:\n{text}");
        // Looked at again when its writer had the processor for a moment.
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
}

fn events<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// What is listed, asked for by somebody else.
fn listed(server: &Server, right: &str) -> Value {
    let listed = call(server, "GET /api/v1/penalties", NEIGHBOUR, right);
    serde_json::from_str(listed.rsplit("\r\n\r\n").next().unwrap()).unwrap()
}

#[test]
fn a_penalty_survives_a_restart_until_it_is_lifted() {
    let dir = Dir::new("guessing-again");
    // However long it takes, the penalty is not over meanwhile.
    let long = "[penalties]\nfirst_ms = 3600000\nlongest_ms = 3600000\n";
    dir.write("g.toml", &FILE.replace("[penalties]\n", long));
    let start = || Server::start(&mut dir.command(&["--config", "g.toml"]));
    let end = |server: Server| {
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().0, Some(0));
    };
    let (mut server, shards) = (start(), "GET /api/v1/shards");
    let right = token(&dir);
    for guess in 0..5 {
        call(&server, shards, GUESSER, &format!("gue5s-{guess}"));
    }
    assert_eq!(status(&call(&server, shards, GUESSER, &right)), "429");
    let before = listed(&server, &right);
    for _ in 0..2 {
        end(server);
        server = start();
        let after = listed(&server, &right);
        let shown = |listed: &Value, field: &str| listed["penalties"][0][field].clone();
        assert_eq!(after["total"], 1, "{after}");
        for field in ["range", "strikes", "guesses", "reason"] {
            assert_eq!(shown(&after, field), shown(&before, field), "{field}");
        }
        assert_eq!(status(&call(&server, shards, GUESSER, &right)), "429");
        assert_eq!(plays(&server, GUESSER), "403");
        assert_eq!(plays(&server, NEIGHBOUR), "200");
    }
    let lift = format!("DELETE /api/v1/penalties?range={GUESSER}");
    assert_eq!(status(&call(&server, &lift, NEIGHBOUR, &right)), "204");
    end(server);
    let server = start();
    assert_eq!(listed(&server, &right)["total"], 0);
    assert_eq!(status(&call(&server, shards, GUESSER, &right)), "200");
    assert_eq!(plays(&server, GUESSER), "200");
}

#[test]
fn who_guesses_tokens_is_shut_out_everywhere_and_his_neighbours_are_not() {
    let dir = Dir::new("guessing");
    dir.write("g.toml", FILE);
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let (right, shards) = (token(&dir), "GET /api/v1/shards");
    // One that was changed is shown again and again: that is one guess.
    for _ in 0..20 {
        assert_eq!(status(&call(&server, shards, NEIGHBOUR, "former")), "401");
    }
    for guess in 0..5 {
        let answer = call(&server, shards, GUESSER, &format!("gue5s-{guess}"));
        assert_eq!(status(&answer), "401", "{answer}");
    }
    let answer = call(&server, shards, GUESSER, &right);
    assert_eq!(status(&answer), "429", "{answer}");
    assert!(answer.contains("\r\nretry-after: ") && answer.contains("too_many_calls"), "{answer}");
    assert_eq!(status(&call(&server, shards, NEIGHBOUR, &right)), "200");
    assert_eq!((plays(&server, GUESSER), plays(&server, NEIGHBOUR)), ("403".into(), "200".into()));

    let listed = call(&server, "GET /api/v1/penalties", NEIGHBOUR, &right);
    let body = listed.rsplit("\r\n\r\n").next().unwrap();
    let listed: Value = serde_json::from_str(body).unwrap();
    assert_eq!(listed["total"], 1, "{listed}");
    assert_eq!(listed["penalties"][0]["range"], format!("{GUESSER}/32"));
    assert_eq!(listed["penalties"][0]["reason"], "api_token");
    let metrics = get(server.addr("control"), "/metrics", "");
    assert!(metrics.contains("\ngrandstand_penalties 1\n"), "{metrics}");
    assert!(
        metrics.contains("\ngrandstand_penalties_begun_total{of=\"address\"} 1\n"),
        "{metrics}"
    );

    // The log tells all of it, in its fields, and none of what was shown.
    let lines = security(&dir, |lines| !events(lines, "rate_limited").is_empty());
    let begun = events(&lines, "penalty_begun");
    assert_eq!(begun.len(), 1);
    let Value::Object(fields) = begun[0] else { panic!("{lines:?}") };
    assert_eq!(fields.len(), 10);
    assert_eq!((begun[0]["addr"].as_str(), begun[0]["count"].as_u64()), (Some(GUESSER), Some(5)));
    assert!(begun[0]["until"].as_str() > begun[0]["time"].as_str());
    assert_eq!(events(&lines, "api_auth_failed").len(), 25);
    let text = std::fs::read_to_string(dir.0.join("security.log")).unwrap();
    for secret in ["gue5s", "former", &right] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(found_by_filter(&dir.0.join("security.log")), format!("{GUESSER}\n"));

    let lift = format!("DELETE /api/v1/penalties?range={GUESSER}");
    assert_eq!(status(&call(&server, &lift, NEIGHBOUR, &right)), "204");
    assert_eq!(status(&call(&server, shards, GUESSER, &right)), "200");
    assert_eq!(plays(&server, GUESSER), "200");
    let lines = security(&dir, |lines| !events(lines, "penalty_ended").is_empty());
    assert_eq!(events(&lines, "penalty_ended")[0]["reason"], "lifted");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

/// Reads a filter as fail2ban does: the time is cut out of a line before the expression is tried,
/// and `<HOST>` is an address. Prints whom it finds in a log.
const FILTER: &str = r#"
import configparser, re, sys
filter = configparser.ConfigParser()
filter.read(sys.argv[1])
filter = filter["Definition"]
time = filter["datepattern"]
for mark, pattern in [("%Y", r"\d{4}"), ("%f", r"\d{1,6}"), ("%z", r"(?:Z|[+-]\d\d:?\d\d)")]:
    time = time.replace(mark, pattern)
time = re.compile(re.sub("%[mdHMS]", lambda _: r"\d\d", time))
host = r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)"
guesser = re.compile(filter["failregex"].replace("<HOST>", host))
for line in open(sys.argv[2]):
    assert time.search(line), line
    if found := guesser.search(time.sub("", line, count=1)):
        print(found["host"])
"#;

/// Whom the filter that we give for fail2ban finds.
fn found_by_filter(log: &Path) -> String {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("operations/fail2ban/grandstand.conf");
    let (code, found, error) =
        output(Command::new("python3").args(["-c", FILTER]).arg(filter).arg(log));
    assert_eq!(code, Some(0), "{error}");
    found
}

#[test]
fn who_guesses_keys_is_refused_at_once_and_the_right_key_of_another_is_not() {
    let dir = Dir::new("keys");
    let file = FILE.replace("play = \"open\"", "play = \"keys\"");
    dir.write("g.toml", &file);
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let plays = |server: &Server, source: &str, key: &str| {
        let mut stream = from(source, server.addr("http"));
        // Who is closed at once may not be able to write.
        let request = format!("GET /demo.flv?key={key} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line);
        read.is_ok_and(|len| len > 0).then(|| status(&line).to_owned())
    };
    for guess in 0..5 {
        assert_eq!(plays(&server, "127.0.0.2", &format!("gue5s-{guess}")).as_deref(), Some("403"));
    }
    // Whatever it would show next is refused.
    security(&dir, |lines| !events(lines, "penalty_begun").is_empty());
    assert_eq!(plays(&server, "127.0.0.2", KEY).as_deref(), Some("403"));
    let mut rtmp = from("127.0.0.2", server.addr("rtmp"));
    let _ = rtmp.write_all(&[3; 1_537]);
    assert!(rtmp.read(&mut [0; 16]).map_or(true, |len| len == 0));
    assert_eq!(plays(&server, "127.0.0.3", KEY).as_deref(), Some("200"));
    // A header of a stranger makes nobody another one.
    let mut forged = from("127.0.0.2", server.addr("http"));
    let _ = forged
        .write_all(b"GET /demo.flv HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    let mut line = String::new();
    BufReader::new(forged).read_line(&mut line).unwrap();
    assert_eq!(status(&line), "403");
    let mut forged = from("127.0.0.2", server.addr("control"));
    let _ = forged.write_all(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    );
    assert!(forged.read(&mut [0; 16]).map_or(true, |len| len == 0));
    let lines = security(&dir, |lines| {
        let limited = events(lines, "rate_limited").into_iter();
        limited.filter_map(|line| line["count"].as_u64()).sum::<u64>() >= 4
    });
    let refused = events(&lines, "auth_refused");
    assert_eq!(refused.len(), 5);
    assert_eq!(
        (refused[0]["listener"].as_str(), refused[0]["stream"].as_str()),
        (Some("http"), Some("demo"))
    );
    let text = std::fs::read_to_string(dir.0.join("security.log")).unwrap();
    assert!(!text.contains("gue5s") && !text.contains("k3y"), "{text}");
    // Whoever is exempt by a reload is let in at once.
    dir.write("g.toml", &file.replace("exempt = []", "exempt = [\"127.0.0.2\"]"));
    server.signal(libc::SIGHUP);
    server.reloaded();
    assert_eq!(plays(&server, "127.0.0.2", KEY).as_deref(), Some("200"));
}

#[test]
fn two_hundred_viewers_behind_one_address_are_nobody_to_be_refused() {
    let dir = Dir::new("nat");
    dir.write("g.toml", FILE);
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let to = server.addr("http");
    let get = |stream: &mut TcpStream, target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut line, mut len) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        let status = status(&line).to_owned();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let name = "content-length: ";
            if line.to_ascii_lowercase().starts_with(name) {
                len = line[name.len()..].trim().parse().unwrap();
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        (status, body)
    };
    // Each keeps its connection, as players do, and asks again and again.
    let mut viewers: Vec<_> = (0..200)
        .map(|_| {
            let mut viewer = from("127.0.0.2", to);
            let (code, list) = get(&mut viewer, "/demo/index.m3u8");
            assert_eq!(code, "200");
            let list = String::from_utf8(list).unwrap();
            let media = list.lines().find(|line| !line.starts_with('#')).unwrap();
            (viewer, format!("/demo/{media}"))
        })
        .collect();
    for _ in 0..3 {
        for (viewer, media) in &mut viewers {
            assert_eq!(get(viewer, media).0, "200");
        }
    }
    drop(viewers);
    // And so do two hundred whose players begin a connection for each request.
    for _ in 0..400 {
        assert_eq!(get(&mut from("127.0.0.2", to), "/demo/index.m3u8").0, "200");
    }
    let metrics = crate::program::get(server.addr("control"), "/metrics", "");
    let limited = |line: &&str| {
        line.starts_with("grandstand_limit_exceeded_total") && line.contains("connects_per_")
    };
    let limited: Vec<_> = metrics.lines().filter(limited).collect();
    // Of an address and of what is around it, by each of both shards.
    assert_eq!(limited.len(), 4, "{metrics}");
    assert!(limited.iter().all(|line| line.ends_with(" 0")), "{limited:?}");
    assert!(metrics.contains("\ngrandstand_penalties 0\n"), "{metrics}");
}

/// Without a file of its own the security log is in the log of everything, whatever its level.
#[test]
fn the_security_log_is_told_though_the_level_is_above_it() {
    let dir = Dir::new("quiet");
    let own = "security_file = \"security.log\"";
    let file = FILE.replace(own, "level = \"error\"").replace("play = \"open\"", "play = \"keys\"");
    assert!(!file.contains("security_file"));
    dir.write("g.toml", &file);
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let answer =
        get(server.addr("http"), "/demo.flv?key=gue5s", "X-Forwarded-For: 198.51.100.7\r\n");
    assert_eq!(status(&answer), "403");
    let line = server.log_line("auth_refused");
    let told: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
    let fields = ["addr", "listener", "stream"].map(|field| told[field].as_str());
    assert_eq!(fields, [Some(GUESSER), Some("http"), Some("demo")], "{line}");
    server.signal(libc::SIGTERM);
    let (code, rest) = server.end();
    assert_eq!(code, Some(0));
    // Nothing else that is told at its level is.
    assert!(!rest.contains("INFO"), "{rest}");
}
