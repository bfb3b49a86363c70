//! What is told of shards: by the API, by the metrics, and by `top`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::program::{Dir, PATIENCE, Server, failure, get, output, status};

/// A server, and a player of its demo that has its first bytes.
fn watched(dir: &Dir) -> (Server, TcpStream) {
    let server = Server::start(&mut dir.command(&[]));
    let mut player = TcpStream::connect(server.addr("http")).unwrap();
    player.set_read_timeout(Some(PATIENCE)).unwrap();
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    player.read_exact(&mut [0; 1024]).unwrap();
    (server, player)
}

pub(crate) fn api(dir: &Dir, addr: SocketAddr, path: &str) -> Value {
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let reply = get(addr, path, &format!("Authorization: Bearer {}\r\n", token.trim()));
    assert_eq!(status(&reply), "200", "{reply}");
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[test]
fn the_api_tells_how_each_shard_keeps_up_and_whom_it_serves() {
    let dir = Dir::new("shards");
    let (server, _player) = watched(&dir);
    let addr = server.addr("control");
    let late = Instant::now() + PATIENCE;
    // Rates are those of the last whole second, so they appear when one has passed.
    let told = loop {
        let told = api(&dir, addr, "/api/v1/shards");
        let sent = |shard: &Value| shard["sends_per_second"].as_u64().unwrap();
        if told["shards"].as_array().unwrap().iter().map(sent).sum::<u64>() > 0 {
            break told;
        }
        assert!(Instant::now() < late, "{told}");
    };
    let shards = told["shards"].as_array().unwrap();
    assert_eq!((shards.len(), &told["missing"]), (2, &Value::Array(Vec::new())));
    for (id, shard) in shards.iter().enumerate() {
        assert_eq!((&shard["id"], &shard["state"]), (&Value::from(id), &"running".into()));
        assert!(shard["core"].is_u64() || shard["core"].is_null(), "{shard}");
        for share in ["utilisation", "egress_utilisation", "egress_turn_share"] {
            assert!((0.0..=1.0).contains(&shard[share].as_f64().unwrap()), "{share}: {shard}");
        }
        for percentiles in ["loop_lag_ms", "turn_ms"] {
            let of = |name: &str| shard[percentiles][name].as_f64().unwrap();
            assert!(of("p50") <= of("p99") && of("p99") <= of("max"), "{shard}");
        }
        assert!(shard["turn_ms"]["max"].as_f64().unwrap() > 0.0, "{shard}");
        assert!(shard["turns_per_second"].is_u64() && shard["flush_interval_ms"].is_number());
        assert!(shard["bytes_received_per_second"].is_u64(), "{shard}");
        let pools = shard["pools"].as_array().unwrap();
        assert_eq!(pools.len(), 2);
        for pool in pools {
            let of = |name: &str| pool[name].as_u64().unwrap();
            assert!(of("page_bytes") > 0 && of("used") <= of("peak") && of("peak") <= of("total"));
            assert_eq!(of("free"), of("total") - of("used"));
        }
    }
    let sum = |of: fn(&Value) -> &Value| {
        shards.iter().map(|shard| of(shard).as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(sum(|shard| &shard["streams"]), 1);
    assert_eq!((sum(|s| &s["players"]), sum(|s| &s["connections"])), (1, 1));
    assert_eq!(sum(|s| &s["players_by_protocol"]["http-flv"]), 1);
    assert_eq!(sum(|s| &s["players_by_protocol"]["rtmp"]), 0);
    let streams = api(&dir, addr, "/api/v1/streams");
    let demo = &streams["streams"][0];
    assert_eq!((&demo["name"], &demo["players"]), (&"demo".into(), &1.into()), "{streams}");
    assert!(demo["silent_ms"].as_u64().unwrap() < 10_000, "{demo}");
    let sessions = api(&dir, addr, "/api/v1/sessions");
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
}

/// The sum of a family's samples over all shards.
fn sum(metrics: &str, sample: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("grandstand_{sample}{{")));
    let values: Vec<f64> =
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert_eq!(values.len() % 2, 0, "one of each shard: {sample}");
    assert!(!values.is_empty(), "no {sample}");
    values.iter().sum()
}

#[test]
fn the_metrics_of_a_shard_move_while_it_serves() {
    const MOVING: [&str; 6] = [
        "turn_seconds_count",
        "loop_lag_seconds_count",
        "send_bytes_count",
        "send_bytes_sum",
        "busy_seconds_total",
        "egress_seconds_total",
    ];
    let dir = Dir::new("moving");
    let (server, mut player) = watched(&dir);
    let addr = server.addr("control");
    let before = get(addr, "/metrics", "");
    let late = Instant::now() + PATIENCE;
    loop {
        player.read_exact(&mut [0; 1024]).unwrap();
        let after = get(addr, "/metrics", "");
        if MOVING.iter().all(|sample| sum(&after, sample) > sum(&before, sample)) {
            break;
        }
        assert!(Instant::now() < late, "{before}\n{after}");
    }
    for gauge in ["utilisation", "egress_utilisation", "egress_turn_share"] {
        assert!((0.0..=2.0).contains(&sum(&before, gauge)), "{gauge}");
    }
    assert!(before.contains("\ngrandstand_protocol_players{shard=\"0\",protocol=\"rtmp\"} 0\n"));
    let flv = |shard| {
        before.contains(&format!(
            "\ngrandstand_protocol_players{{shard=\"{shard}\",protocol=\"http-flv\"}} 1\n"
        ))
    };
    assert!(flv(0) != flv(1), "{before}");
}

#[test]
fn top_prints_one_frame_of_a_running_server() {
    let dir = Dir::new("top");
    let (server, _player) = watched(&dir);
    let url = format!("http://{}/", server.addr("control"));
    let (code, out, err) = output(&mut dir.command(&["top", "--once", "--url", &url]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert!(out.starts_with("grandstand top  127.0.0.1:"), "{out}");
    assert!(out.contains("\n1 players, ") && out.contains("\nSHARD CORE STATE "), "{out}");
    let row = |name: &str| {
        let mut rows = out.lines().skip_while(|line| !line.starts_with("SHARD"));
        let line = rows.find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}\n{out}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!((row("0")[2], row("1")[2]), ("run", "run"), "{out}");
    assert_eq!(row("demo")[2..4], ["live", "1"], "{out}");
    assert!(!out.contains('\x1b'), "a pipe is no terminal");

    dir.write("wrong", "0123456789abcdef");
    let asked = format!("cannot ask {url}api/v1/shards");
    for (args, line) in [
        (
            &["top", "--once", "--url", &url, "--token-file", "wrong"][..],
            format!(
                "{asked}: the token is not the server's; --token-file names the file api-token of \
                 its data directory"
            ),
        ),
        (
            &["top", "--once", "--url", &url, "--token-file", "none"],
            "cannot read the token none: no such file or directory; --token-file names the file \
             api-token of the server's data directory"
                .to_owned(),
        ),
    ] {
        assert_eq!(failure(&mut dir.command(args), 1), format!("grandstand: {line}"));
    }
    let line = failure(&mut dir.command(&["top", "--url", &url]), 2);
    assert!(line.starts_with("grandstand: top needs a terminal, or --once;"), "{line}");
    drop(server);
    let line = failure(&mut dir.command(&["top", "--once", "--url", &url]), 1);
    assert!(line.contains(": connection refused; --url names the control listener"), "{line}");
}

/// A terminal of its own for a child: the side that a person sits at.
struct Seat {
    master: File,
    slave: OwnedFd,
    seen: String,
}

impl Seat {
    fn new() -> Self {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: both numbers are writable, and nothing but the size is read.
        let opened = unsafe {
            let none = std::ptr::null_mut();
            libc::openpty(&raw mut master, &raw mut slave, none, std::ptr::null(), &raw const size)
        };
        assert_eq!(opened, 0);
        // SAFETY: both were opened just now, and belong to nobody else.
        let owned = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
        Self { master: owned(master).into(), slave: owned(slave), seen: String::new() }
    }

    fn stdio(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// Flags that tell whether letters are echoed and lines are edited.
    fn local_flags(&self) -> libc::tcflag_t {
        use std::os::fd::AsRawFd;
        // SAFETY: zeroes are a legal value of plain numbers.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the modes are writable.
        assert_eq!(unsafe { libc::tcgetattr(self.slave.as_raw_fd(), &raw mut modes) }, 0);
        modes.c_lflag
    }

    /// Reads until `part` has appeared since the last call; the slave is open here, so the end of
    /// the child alone ends nothing.
    fn until(&mut self, part: &str) {
        while !self.seen.contains(part) {
            let mut bytes = [0; 4096];
            let read = self.master.read(&mut bytes).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        self.seen.clear();
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

fn seated(dir: &Dir, seat: &Seat, url: &str) -> Child {
    let mut command = dir.command(&["top", "--url", url]);
    command.stdin(seat.stdio()).stdout(seat.stdio()).stderr(seat.stdio()).spawn().unwrap()
}

#[test]
fn top_sorts_and_quits_by_keys_and_gives_the_terminal_back() {
    let dir = Dir::new("seat");
    let (server, _player) = watched(&dir);
    let url = format!("http://{}", server.addr("control"));
    let mut seat = Seat::new();
    let before = seat.local_flags();
    let mut child = seated(&dir, &seat, &url);
    seat.until("by players   q quit  s sort");
    assert_eq!(seat.local_flags() & (libc::ECHO | libc::ICANON | libc::ISIG), 0);
    seat.press("s");
    seat.until("by bitrate");
    seat.press("s");
    seat.until("by lag");
    seat.press("q");
    seat.until("\x1b[?25h\x1b[?1049l");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(seat.local_flags(), before);

    // A server that ends is told on the screen, and a signal ends in order.
    let mut child = seated(&dir, &seat, &url);
    seat.until("demo ");
    drop(server);
    seat.until("cannot ask http://");
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: the child is ours and not yet waited for, so the number is still its.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    seat.until("\x1b[?25h\x1b[?1049l");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(seat.local_flags(), before);
}
